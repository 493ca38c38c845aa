//! moto's server: a Route 53 that keeps zones in memory and, when told to, checks signatures. Set up over its own API.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cloud::Asked;
use super::lab::{Lab, free_port, wait_until};
use super::process::{Process, context};

/// A running server. It runs as ourselves: the user of the servers may not be able to read where it is installed.
pub struct Moto {
    port: u16,
    process: Process,
}

impl Moto {
    /// Starts a server without zones that believes every signature. Installs it first where it is missing.
    pub fn start(lab: &Lab) -> io::Result<Moto> {
        let program = program()?;
        let port = free_port()?;
        let log = lab.log("moto")?;
        let mut command = Command::new(program);
        command
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(lab.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = Process::spawn("moto", &mut command, lab.watchdog())?;
        let moto = Moto { port, process };
        wait_until("moto answers", Duration::from_secs(60), || {
            if let Some(status) = moto.process.status() {
                let log = std::fs::read_to_string(lab.log_path("moto")).unwrap_or_default();
                return Err(io::Error::other(format!("moto ended ({status}): {}", log.trim())));
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).ok())
        })?;
        Ok(moto)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A zone; its ID.
    pub fn zone(&self, name: &str) -> io::Result<String> {
        let body = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>\
             <CallerReference>{name}</CallerReference></CreateHostedZoneRequest>"
        );
        let answer = self.post("route53", "/2013-04-01/hostedzone", &body)?;
        Ok(element(&answer, "Id")?.trim_start_matches("/hostedzone/").to_owned())
    }

    /// An HTTP health check of an address, with threshold 3; its ID.
    pub fn health_check(&self, ip: &str) -> io::Result<String> {
        let body = format!(
            "<CreateHealthCheckRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><CallerReference>{ip}\
             </CallerReference><HealthCheckConfig><IPAddress>{ip}</IPAddress><Port>80</Port><Type>HTTP</Type>\
             <RequestInterval>10</RequestInterval><FailureThreshold>3</FailureThreshold></HealthCheckConfig>\
             </CreateHealthCheckRequest>"
        );
        element(&self.post("route53", "/2013-04-01/healthcheck", &body)?, "Id")
    }

    /// Makes a name of a zone hold an address.
    pub fn hold(&self, zone: &str, name: &str, value: &str, ttl: u32) -> io::Result<()> {
        let body = format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes><Change>\
             <Action>UPSERT</Action><ResourceRecordSet><Name>{name}</Name><Type>A</Type><TTL>{ttl}</TTL><ResourceRecords>\
             <ResourceRecord><Value>{value}</Value></ResourceRecord></ResourceRecords></ResourceRecordSet></Change></Changes>\
             </ChangeBatch></ChangeResourceRecordSetsRequest>"
        );
        self.post("route53", &format!("/2013-04-01/hostedzone/{zone}/rrset"), &body).map(drop)
    }

    /// Makes a name of a zone another zone's, which these servers speak for.
    pub fn delegate(&self, zone: &str, name: &str, servers: &[&str]) -> io::Result<()> {
        let records: Vec<String> =
            servers.iter().map(|server| format!("<ResourceRecord><Value>{server}</Value></ResourceRecord>")).collect();
        let values = records.concat();
        let body = format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes><Change>\
             <Action>UPSERT</Action><ResourceRecordSet><Name>{name}</Name><Type>NS</Type><TTL>60</TTL><ResourceRecords>{values}\
             </ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        );
        self.post("route53", &format!("/2013-04-01/hostedzone/{zone}/rrset"), &body).map(drop)
    }

    /// The address that a name of a zone holds, and its TTL.
    pub fn held(&self, zone: &str, name: &str) -> io::Result<(String, u32)> {
        let answer = self.ask("GET", "route53", &format!("/2013-04-01/hostedzone/{zone}/rrset?name={name}&type=A"), "")?;
        let ttl = element(&answer, "TTL")?.parse().map_err(io::Error::other)?;
        Ok((element(&answer, "Value")?, ttl))
    }

    /// The threshold of a health check, and whether it is disabled.
    pub fn health_check_settings(&self, id: &str) -> io::Result<(u8, bool)> {
        let answer = self.ask("GET", "route53", &format!("/2013-04-01/healthcheck/{id}"), "")?;
        let threshold = element(&answer, "FailureThreshold")?.parse().map_err(io::Error::other)?;
        // What is not there is off.
        Ok((threshold, element(&answer, "Disabled").is_ok_and(|word| word.eq_ignore_ascii_case("true"))))
    }

    /// A user that may do everything; the ID and the secret of its access key.
    pub fn user(&self, name: &str) -> io::Result<(String, String)> {
        let ask = |action: &str, more: &str| {
            self.post("iam", "/", &format!("Action={action}&Version=2010-05-08&UserName={name}{more}"))
        };
        ask("CreateUser", "")?;
        let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
                      %22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D";
        ask("PutUserPolicy", &format!("&PolicyName=all&PolicyDocument={policy}"))?;
        let answer = ask("CreateAccessKey", "")?;
        Ok((element(&answer, "AccessKeyId")?, element(&answer, "SecretAccessKey")?))
    }

    /// Checks every signature from now on.
    pub fn check_signatures(&self) -> io::Result<()> {
        self.post("moto", "/moto-api/reset-auth", "0").map(drop)
    }

    fn post(&self, service: &str, path: &str, body: &str) -> io::Result<String> {
        self.ask("POST", service, path, body)
    }

    fn ask(&self, method: &str, service: &str, path: &str, body: &str) -> io::Result<String> {
        let content = if service == "iam" { "application/x-www-form-urlencoded" } else { "application/xml" };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Type: {content}\r\nContent-Length: {}\r\n\
             X-Amz-Date: 20200101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential=any/20200101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=any\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| context(&error, path))?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') { Ok(answer) } else { Err(io::Error::other(format!("{path}: {answer}"))) }
    }
}

/// Where its server is, installed first where it is missing.
fn program() -> io::Result<PathBuf> {
    let script = super::root().join("scripts/moto.sh").to_string_lossy().into_owned();
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{script} ended with {}", output.status)));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Requests to Route 53 that are not signed with this key as botocore, which moto comes with, signs them: a line for each.
pub fn wrongly_signed(asked: &[Asked], (id, secret): (&str, &str)) -> io::Result<Vec<String>> {
    let script = super::root().join("tests/support/sigv4.py").to_string_lossy().into_owned();
    let mut judge = Command::new(program()?.with_file_name("python3"))
        .args([script.as_str(), id, secret, "route53", "us-east-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()?;
    let mut input = judge.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    for asked in asked {
        let url = format!("http://{}{}", asked.header("host"), asked.path);
        let line = serde_json::json!({ "method": asked.method, "url": url, "headers": asked.headers, "body": asked.body });
        writeln!(input, "{line}")?;
    }
    drop(input);
    let output = judge.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{script} ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn element(answer: &str, name: &str) -> io::Result<String> {
    let found = answer.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<')).map(|(text, _)| text);
    found.map(str::to_owned).ok_or_else(|| io::Error::other(format!("no {name} in {answer}")))
}
