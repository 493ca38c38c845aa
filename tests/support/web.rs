//! Application servers: small ones, each a process of its own that can be killed, frozen, and told to answer wrongly.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::lab::{Lab, free_port, wait_until};
use super::process::Process;

const SCRIPT: &str = include_str!("web.py");

/// One application server.
pub struct WebServer {
    name: String,
    port: u16,
    folder: PathBuf,
    script: PathBuf,
    lab: Lab,
    process: Process,
}

impl WebServer {
    /// Starts one on a free port and waits until it answers.
    pub fn start(lab: &Lab, name: &str) -> io::Result<WebServer> {
        let folder = lab.folder(format!("web-{name}"))?;
        let script = lab.write("web.py", SCRIPT, 0o600)?;
        let port = free_port()?;
        let process = run(lab, name, port, &folder, &script)?;
        let server = WebServer { name: name.to_owned(), port, folder, script, lab: lab.clone(), process };
        server.wait_answering()?;
        Ok(server)
    }

    fn wait_answering(&self) -> io::Result<()> {
        wait_until("the web server answers", Duration::from_secs(20), || {
            if let Some(status) = self.process.status() {
                let log = std::fs::read_to_string(self.lab.log_path(&self.name)).unwrap_or_default();
                return Err(io::Error::other(format!("the web server {} ended ({status}): {}", self.name, log.trim())));
            }
            Ok(get(self.port, Duration::from_secs(1)).ok())
        })
        .map(drop)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port on the loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on it answers every request with status 500.
    pub fn answer_errors(&self, wrong: bool) -> io::Result<()> {
        self.tell("errors", wrong.then_some(""))
    }

    /// From now on it says that it is another one.
    pub fn call_itself(&self, name: Option<&str>) -> io::Result<()> {
        self.tell("name", name)
    }

    /// From now on it takes so long for every answer.
    pub fn slow_down(&self, seconds: Option<&str>) -> io::Result<()> {
        self.tell("slow", seconds)
    }

    fn tell(&self, what: &str, text: Option<&str>) -> io::Result<()> {
        let path = self.folder.join(what);
        match text {
            Some(text) => std::fs::write(path, text),
            None => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10));
    }

    /// SIGSTOP, or SIGCONT.
    pub fn freeze(&self, frozen: bool) {
        self.process.signal(if frozen { Signal::STOP } else { Signal::CONT });
    }

    /// Starts it again on its port.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.process = run(&self.lab, &self.name, self.port, &self.folder, &self.script)?;
        self.wait_answering()
    }
}

fn run(lab: &Lab, name: &str, port: u16, folder: &PathBuf, script: &PathBuf) -> io::Result<Process> {
    let mut command = lab.command("python3");
    command.arg(script).arg(name).arg(port.to_string()).arg(folder);
    lab.spawn(name, command)
}

/// One request to a port of the loopback: the status and who answered, by the header `X-Server`.
pub fn get(port: u16, timeout: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(1 << 16).read_to_string(&mut answer)?;
    let mut lines = answer.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no answer of HTTP: {answer:?}")))?;
    let header = lines.find_map(|line| line.strip_prefix("X-Server: ").or_else(|| line.strip_prefix("x-server: ")));
    Ok((status, header.unwrap_or_default().to_owned()))
}
