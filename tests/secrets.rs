//! No secret in any output. Distinctive ones are planted wherever the configuration takes one, a real failover runs with the most
//! talkative log there is, every way to ask about it is used, every mistake is made; then all that came out is searched: for the
//! secrets as they are, in base64, in hexadecimal and as part of a URL.

use crate::report;
use crate::support;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::engine::{Origin, events_in};
use crate::support::lab::{Lab, random_password, wait_until};
use crate::support::pair::{Pair, PairOptions};
use crate::support::recording::{Member, Recording, rfc3339, shown_config};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use failover::{FileContent, Surroundings};
use rustix::process::Signal;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(60);

/// A secret and what it is, for the message of a failed test.
#[derive(Clone)]
struct Planted {
    what: &'static str,
    text: String,
}

/// Everything that must not come out, in every spelling.
#[derive(Clone)]
struct Needles(Vec<(&'static str, &'static str, Vec<u8>)>);

impl Needles {
    fn new(planted: &[Planted]) -> Needles {
        let mut needles = Vec::new();
        for Planted { what, text } in planted {
            let mut add = |how, needle: String| needles.push((*what, how, needle.into_bytes()));
            add("as it is", text.clone());
            for (how, word) in [("base64", text.clone()), ("base64 behind a user", format!("probe:{text}"))] {
                // Without padding it is also found in front of more.
                add(how, STANDARD_NO_PAD.encode(&word));
                add(how, URL_SAFE_NO_PAD.encode(&word));
            }
            let hex: String = text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            add("hexadecimal, capitals", hex.to_uppercase());
            add("hexadecimal", hex);
            let list = text.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>();
            add("a list of bytes", list.join(", "));
            add("backwards", text.chars().rev().collect());
        }
        Needles(needles)
    }

    /// Which of them are in there.
    fn found_in(&self, haystack: &[u8]) -> Vec<String> {
        let found = |needle: &&(&'static str, &'static str, Vec<u8>)| {
            haystack.len() >= needle.2.len() && haystack.windows(needle.2.len()).any(|window| window == needle.2)
        };
        self.0.iter().filter(found).map(|(what, how, _)| format!("{what}, {how}")).collect()
    }

    #[track_caller]
    fn absent(&self, place: &str, haystack: impl AsRef<[u8]>) {
        let found = self.found_in(haystack.as_ref());
        assert!(found.is_empty(), "{place} holds {found:?}:\n{}", self.around(haystack.as_ref()));
    }

    /// The lines with a needle.
    fn around(&self, haystack: &[u8]) -> String {
        let lines = haystack.split(|byte| *byte == b'\n').filter(|line| !self.found_in(line).is_empty());
        lines
            .take(5)
            .map(|line| String::from_utf8_lossy(&line[..line.len().min(2000)]).into_owned())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn planted(what: &'static str) -> Planted {
    Planted { what, text: format!("Planted{}", random_password().unwrap()) }
}

/// An HTTP server that tells everything back that it hears: in its headers, in its body, and in where it redirects to.
struct Echo {
    port: u16,
    heard: Arc<Mutex<Vec<(String, String)>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(elsewhere: Option<u16>) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (ours, end) = (Arc::clone(&heard), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    break;
                }
                if let Ok(stream) = stream {
                    answer(stream, elsewhere, &ours);
                }
            }
        });
        Echo { port, heard, over, thread: Some(thread) }
    }

    fn heard(&self, path: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(asked, _)| asked.starts_with(path)).map(|(_, head)| head.clone()).collect()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut stream: TcpStream, elsewhere: Option<u16>, heard: &Mutex<Vec<(String, String)>>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => head.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heard.lock().unwrap().push((path.clone(), head.clone()));
    let told = head.replace("\r\n", " | ");
    let status = match path.as_str() {
        "/well" => "200 OK".to_owned(),
        "/away" => format!("302 Found\r\nlocation: http://127.0.0.1:{}/there", elsewhere.unwrap_or_default()),
        _ => format!("500 {told}"),
    };
    let answer =
        format!("HTTP/1.1 {status}\r\nx-heard: {told}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{told}", told.len());
    let _ = stream.write_all(answer.as_bytes());
}

/// Looks at the arguments of every process of the machine and at the environment of all but the engine itself, until told to stop.
/// What an engine gets in its environment is there as long as it lives; what it starts must not inherit it.
fn watch_processes(needles: Needles, given: BTreeSet<i32>) -> (Arc<AtomicBool>, JoinHandle<(usize, Vec<String>)>) {
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let thread = std::thread::spawn(move || {
        let (mut leaks, mut seen) = (BTreeSet::new(), BTreeSet::new());
        while !end.load(Ordering::Relaxed) {
            for entry in fs::read_dir("/proc").unwrap().flatten() {
                let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
                let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
                for found in needles.found_in(&read("cmdline")) {
                    leaks.insert(format!("arguments: {found} in {}", String::from_utf8_lossy(&read("cmdline"))));
                }
                // A child of the engine has its environment until it becomes the program it was made for.
                if given.contains(&pid) || read("comm") == b"failover\n" || read("exe").is_empty() && read("environ").is_empty() {
                    continue;
                }
                seen.insert(pid);
                for found in needles.found_in(&read("environ")) {
                    if read("comm") != b"failover\n" {
                        leaks.insert(format!("environment: {found} in {}", String::from_utf8_lossy(&read("cmdline"))));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        (seen.len(), leaks.into_iter().collect())
    });
    (over, thread)
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The command line, as the lab's user, with the variables of the test: its exit code and everything it printed.
struct Cli<'a> {
    lab: &'a Lab,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Cli<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.command(&self.program);
        command.args(arguments).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn ask(&self, arguments: &[&str]) -> String {
        // An error's message has both streams.
        self.lab.run("failover", self.command(arguments), LONG).unwrap_or_else(|error| error.to_string())
    }
}

#[test]
fn no_secret_comes_out_of_a_failover() {
    let mut pair = Pair::start(&PairOptions { fsync: false, ..PairOptions::default() }, |_| {}).unwrap();
    let lab = pair.lab.clone();
    let all = [
        planted("the password, from a file, the environment and a password file"),
        planted("the passphrase of the SSH key"),
        planted("the SSH password"),
        planted("a header in the configuration"),
        planted("a header from a file"),
        planted("a header from the environment"),
        planted("an unrelated secret in the engine's environment"),
    ];
    let [password, passphrase, ssh_password, literal, from_file, from_env, unrelated] = &all;
    pair.db1.script(&format!("ALTER ROLE failover PASSWORD '{}'", password.text)).unwrap();
    lab.write("failover.password", format!("{}\n", password.text), 0o600).unwrap();
    lab.write("engine.pgpass", format!("*:*:*:*:{}\n", password.text), 0o600).unwrap();
    lab.write("passphrase", &passphrase.text, 0o600).unwrap();
    lab.write("token", &from_file.text, 0o600).unwrap();
    let mut keygen = lab.command("ssh-keygen");
    keygen.args(["-q", "-p", "-P", "", "-N", &passphrase.text, "-f"]).arg(pair.ssh1.key());
    lab.run("ssh-keygen", keygen, LONG).unwrap();
    let key = fs::read_to_string(pair.ssh1.key()).unwrap();
    let key = Planted { what: "the SSH key", text: key.lines().nth(2).unwrap().to_owned() };

    let there = Echo::start(None);
    let echo = Echo::start(Some(there.port));
    let environment = lab.path("seen.environment");
    let mut text = fs::read_to_string(&pair.config).unwrap();
    let mut change = |from: &str, to: &str| {
        assert!(text.contains(from), "nothing to change: {from}");
        text = text.replacen(from, to, 1);
    };
    change(
        "wrapper = ",
        &format!(
            "passphrase = {{ file = \"{}\" }}\n  password = \"{}\"\n  wrapper = ",
            lab.path("passphrase").display(),
            ssh_password.text
        ),
    );
    change("name = \"db1\"", "name = \"db1\"\n  connection = { password = { env = \"PLANTED_PASSWORD\" } }");
    let pgpass = lab.path("engine.pgpass");
    change("name = \"db2\"", &format!("name = \"db2\"\n  connection = {{ password = {{ pgpass = \"{}\" }} }}", pgpass.display()));
    for (name, path) in [("well", "/well"), ("ill", "/ill"), ("away", "/away")] {
        text.extend([format!(
            "\n  [[services.checks]]\n  name = \"{name}\"\n  server = \"db2\"\n  kind = \"http\"\n  url = \"http://127.0.0.1:{}{path}\"\n  \
             headers = {{ Authorization = \"Bearer {}\", X-Token = {{ file = \"{}\" }}, X-Key = {{ env = \"PLANTED_HEADER\" }} }}\n",
            echo.port,
            literal.text,
            lab.path("token").display(),
        )]);
    }
    text.extend([format!(
        "\n  [[services.checks]]\n  name = \"environment\"\n  server = \"db2\"\n  kind = \"exec\"\n  \
         command = [\"/bin/sh\", \"-c\", \"env; env > {0}.new && mv {0}.new {0}; sleep 0.1; exit 1\"]\n",
        environment.display()
    )]);
    pair.config = lab.write("planted.toml", text, 0o600).unwrap();
    lab.folder("bin").unwrap();
    let program = lab.path("bin/failover");
    lab.copy_in(&support::engine::program().unwrap(), &program, 0o700).unwrap();

    let mut secrets = all.to_vec();
    secrets.push(key);
    let needles = Needles::new(&secrets);
    let variables = vec![
        ("PLANTED_PASSWORD", password.text.clone()),
        ("PLANTED_HEADER", from_env.text.clone()),
        ("PLANTED_UNRELATED", unrelated.text.clone()),
    ];
    let cli = Cli { lab: &lab, program, variables };
    let config = pair.config.to_str().unwrap().to_owned();
    let control = pair.control.to_str().unwrap().to_owned();
    let mut said = Vec::new();
    let mut ask = |arguments: &[&str]| {
        let answer = cli.ask(arguments);
        needles.absent(&arguments.join(" "), &answer);
        said.push((arguments.join(" "), answer.clone()));
        answer
    };

    for arguments in [
        &["validate", &config][..],
        &["validate", "--print-effective", &config],
        &["validate", "--print-effective", "--json", &config],
        &["check", &config],
        &["check", "--json", &config],
        &["doctor", "orders", "--config", &config],
        &["doctor", "orders", "--json", "--config", &config],
    ] {
        ask(arguments);
    }
    let origin = Origin::now();
    let mut run = cli.command(&["run", "--json", "--verbose", &config]);
    let engine = {
        run.stdin(std::process::Stdio::null());
        lab.spawn("planted-engine", run).unwrap()
    };
    let (over, watcher) = watch_processes(needles.clone(), [engine.pid(), i32::try_from(std::process::id()).unwrap()].into());
    let log = || fs::read_to_string(lab.log_path("planted-engine")).unwrap_or_default();
    let status = || -> Value {
        serde_json::from_str(
            &lab.run("status", quiet(&cli, &["status", "--json", "--socket", &control]), LONG).unwrap_or_default(),
        )
        .unwrap_or_default()
    };
    let ready = wait_until("the engine is ready", LONG, || {
        std::thread::sleep(Duration::from_millis(200));
        Ok((status()["services"][0]["forecast"]["would_fail_over"] == true).then_some(()))
    });
    if let Err(error) = ready {
        panic!("{error}: {}\n{}", status(), log().lines().rev().take(20).collect::<Vec<_>>().join("\n"));
    }
    let mode = fs::metadata(&control).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "the control socket is its owner's alone, not {mode:o}");
    // A reload with a mistake beside a secret changes nothing, and is told.
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("version = 1", &format!("version = 1\npasword = \"{}\"\nbroken", literal.text))).unwrap();
    engine.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(500));
    fs::write(&config, &good).unwrap();

    let fault_at = origin.nanos(Instant::now());
    pair.db1.kill_postmaster().unwrap();
    let until = Instant::now() + LONG;
    while !log().contains("\"failover_completed\"") {
        assert!(Instant::now() < until, "no failover:\n{}", log().lines().rev().take(20).collect::<Vec<_>>().join("\n"));
        std::thread::sleep(Duration::from_millis(100));
    }
    for arguments in [
        &["status", "--socket", &control][..],
        &["status", "--json", "--socket", &control],
        &["events", "--all", "--socket", &control],
        &["events", "--all", "--json", "--socket", &control],
        &["check", "--json", &config],
        &["confirm", "orders", "--socket", &control],
        &["pause", "orders", "--socket", &control],
        &["resume", "orders", "--json", "--socket", &control],
    ] {
        ask(arguments);
    }
    engine.signal(Signal::TERM);
    assert!(engine.wait(LONG).is_some_and(|status| status.success()), "a clean end");
    over.store(true, Ordering::Relaxed);
    let (processes, leaks) = watcher.join().unwrap();
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(processes > 10, "only {processes} processes were seen");

    // The test would prove nothing if the secrets had not been used.
    let heard = echo.heard("/well").pop().expect("the check of the header server ran");
    for secret in [literal, from_file, from_env] {
        assert!(heard.contains(&secret.text), "{} was not sent: {heard}", secret.what);
    }
    let redirected = there.heard("/there").pop().expect("the redirect was followed");
    needles.absent("what another origin hears after a redirect", redirected);
    let inherited = fs::read_to_string(&environment).expect("the command ran");
    assert!(inherited.contains("PATH="), "{inherited}");
    needles.absent("the environment of a command", inherited);
    let lines = log().lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect::<Vec<_>>();
    assert!(lines.iter().any(|line| line.contains("/well")), "the log is as talkative as can be: {lines:#?}");

    // What the demo makes of the same run: all that the engine said, and its configuration.
    let run = Recording {
        fault: "kill".to_owned(),
        began: rfc3339(origin.wall),
        fault_at,
        ended: origin.nanos(Instant::now()),
        servers: [&pair.db1, &pair.db2].map(|server| Member { name: server.name().to_owned(), port: server.port() }).to_vec(),
        events: events_in(&log(), origin),
        config: shown_config(&pair.config, &cli).unwrap(),
        ..Recording::default()
    };
    assert!(run.events.iter().any(|event| event.text("check") == Some("away")) && run.failed_over(), "{:#?}", run.events);
    let page = report::render(&run);
    for word in ["db2 took over", "********", "X-Token", "PLANTED_HEADER"] {
        assert!(page.contains(word), "no {word} in the report:\n{page}");
    }
    needles.absent("the demo's report", &page);
    needles.absent("the demo's recording", serde_json::to_string(&run).unwrap());

    // Everything that was written: the log with the events, the journal, the servers' own logs.
    needles.absent("the engine's log", log());
    let written: Vec<PathBuf> = ["state", "log"].iter().flat_map(|folder| files(&lab.path(folder))).collect();
    assert!(written.iter().any(|path| path.starts_with(lab.path("state"))), "a journal: {written:?}");
    for path in &written {
        // What the test itself says to db1 stands in db1's log, if it logs statements.
        needles.absent(&path.display().to_string(), fs::read(path).unwrap());
    }
    // A private thing is its owner's alone, whatever the umask was.
    for path in files(&lab.path("state")) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    let text: String = said.iter().map(|(_, answer)| answer.as_str()).collect();
    assert!(text.contains("********"), "the literal is masked in what is in force");
}

/// The configuration is read once more by the test, which has the variables of the engine.
impl Surroundings for Cli<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    fn file(&self, path: &Path, limit: u64) -> std::io::Result<FileContent> {
        failover::Process.file(path, limit)
    }
}

fn quiet(cli: &Cli<'_>, arguments: &[&str]) -> Command {
    let mut command = cli.command(arguments);
    command.env_remove("RUST_LOG");
    command
}

/// Every mistake that can be made with a secret, one configuration each.
#[test]
fn no_mistake_in_a_configuration_shows_the_secret_beside_it() {
    let lab = Lab::new().unwrap();
    lab.folder("bin").unwrap();
    lab.folder("state").unwrap();
    let program = lab.path("bin/failover");
    lab.copy_in(&support::engine::program().unwrap(), &program, 0o700).unwrap();
    let secret = planted("the secret").text;
    let needles = Needles::new(&[Planted { what: "the secret", text: secret.clone() }]);
    let two_lines = format!("{secret}\n{secret}\n");
    lab.write("two-lines", &two_lines, 0o600).unwrap();
    lab.write("not-utf8", [secret.as_bytes(), &[0xff, 0xfe]].concat(), 0o600).unwrap();
    lab.write("readable", &secret, 0o644).unwrap();
    let dir = lab.dir().display().to_string();
    let basic = STANDARD.encode(format!("probe:{secret}"));
    let service = |connection: &str, more: &str| {
        format!(
            "version = 1\nstate_dir = \"{dir}/state\"\n[[services]]\nname = \"orders\"\n[services.connection]\n{connection}\n\
             [[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"127.0.0.1\"\nport = 1\n\
             [[services.servers]]\nname = \"db2\"\nhost = \"127.0.0.1\"\nport = 1\n{more}\n"
        )
    };
    let http =
        |lines: &str| service("", &format!("[[services.checks]]\nname = \"web\"\nserver = \"db1\"\nkind = \"http\"\n{lines}"));
    let ssh = |lines: &str| {
        service(
            "",
            &format!(
                "data_dir = \"/nowhere\"\n[services.ssh]\nknown_hosts = \"{dir}/none\"\nkeys = [\"{dir}/two-lines\"]\n{lines}"
            ),
        )
    };
    let wrong = [
        ("a wrong password", service(&format!("password = \"{secret}\""), "")),
        ("no end of the text", service(&format!("password = \"{secret}"), "")),
        ("no quotes", service(&format!("password = {secret}"), "")),
        ("two of them", service(&format!("password = \"{secret}\"\npassword = \"{secret}\""), "")),
        ("an escape that is none", service(&format!("password = \"{secret}\\q\""), "")),
        ("a key that is none", service(&format!("pasword = \"{secret}\""), "")),
        ("a key that is none, in a table", service(&format!("password = {{ flie = \"{secret}\" }}"), "")),
        ("the secret as the name of a variable", service(&format!("password = {{ env = \"{secret}-x!\" }}"), "")),
        ("the secret as the name of a file", service(&format!("password = {{ file = \"{secret}\" }}"), "")),
        ("the secret as a password file", service(&format!("password = {{ pgpass = \"{secret}\" }}"), "")),
        ("a list", service(&format!("password = [\"{secret}\"]"), "")),
        ("a list in a table", service(&format!("password = {{ file = [\"{secret}\"] }}"), "")),
        ("two places", service(&format!("password = {{ env = \"HOME\", text = \"{secret}\" }}"), "")),
        ("two lines", service(&format!("password = \"{secret}\\n{secret}\""), "")),
        ("a file with two lines", service(&format!("password = {{ file = \"{dir}/two-lines\" }}"), "")),
        ("a file that is no text", service(&format!("password = {{ file = \"{dir}/not-utf8\" }}"), "")),
        ("a file that all can read", service(&format!("password = {{ file = \"{dir}/readable\" }}"), "")),
        ("a variable with two lines", service("password = { env = \"PLANTED_LINES\" }", "")),
        ("no password file", service(&format!("password = {{ pgpass = \"{dir}/two-lines\" }}"), "")),
        ("a URL with a password", http(&format!("url = \"http://probe:{secret}@127.0.0.1:1/\""))),
        ("a wrong URL with a password", http(&format!("url = \"http://probe:{secret}@[::1/\""))),
        ("a URL of another kind with a password", http(&format!("url = \"ftp://probe:{secret}@127.0.0.1/\""))),
        (
            "a connection string as a host",
            service(
                "",
                &format!(
                    "replication_name = \"db2\"\n[[services.servers]]\nname = \"db3\"\nhost = \"postgres://probe:{secret}@db3/postgres\""
                ),
            ),
        ),
        (
            "a connection string of key and value",
            service("", &format!("[[services.servers]]\nname = \"db3\"\nhost = \"host=db3 password={secret}\"")),
        ),
        ("a header", http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = {{ Authorization = \"Basic {basic}\" }}"))),
        (
            "a header with two lines",
            http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = {{ X-Token = \"{secret}\\n{secret}\" }}")),
        ),
        (
            "a header of the check's own",
            http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = {{ Content-Length = \"{secret}\" }}")),
        ),
        ("headers that are a text", http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = \"Authorization: {secret}\""))),
        (
            "headers that are a list",
            http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = [[\"Authorization\", \"{secret}\"]]")),
        ),
        (
            "a header that is a list",
            http(&format!("url = \"http://127.0.0.1:1/\"\nheaders = {{ Authorization = [\"{secret}\"] }}")),
        ),
        ("a passphrase", ssh(&format!("passphrase = \"{secret}\"\npassword = \"{secret}\""))),
        ("a passphrase that is none", ssh(&format!("passphrase = {{ {secret} = 1 }}"))),
        ("an SSH password that is a list", ssh(&format!("password = [\"{secret}\"]"))),
    ];
    let cli = Cli { lab: &lab, program, variables: vec![("PLANTED_LINES", two_lines)] };
    let mut leaks = Vec::new();
    for (mistake, text) in &wrong {
        let path = lab.write("wrong.toml", text, 0o600).unwrap();
        let path = path.to_str().unwrap();
        let checks =
            ["a wrong password", "a URL with a password", "a header", "a passphrase", "no password file"].contains(mistake);
        let mut ways = vec![vec!["validate", path], vec!["validate", "--print-effective", "--json", path]];
        if checks {
            ways.push(vec!["check", "--json", path]);
            ways.push(vec!["check", path]);
        }
        for arguments in ways {
            let answer = cli.ask(&arguments);
            let found = needles.found_in(answer.as_bytes());
            if !found.is_empty() {
                leaks.push(format!("{mistake}, {}: {found:?}\n{}", arguments[0], needles.around(answer.as_bytes())));
            }
        }
    }
    // The same in JSON, where the parser's words are another library's.
    for (mistake, text) in [
        ("no end", format!("{{ \"version\": 1, \"password\": \"{secret}")),
        ("no quotes", format!("{{ \"version\": 1, \"password\": {secret} }}")),
        ("a number", format!("{{ \"version\": \"{secret}\" }}")),
        (
            "two of them",
            format!(
                "{{ \"version\": 1, \"services\": [{{ \"connection\": {{ \"password\": \"{secret}\", \"password\": \"{secret}\" }} }}] }}"
            ),
        ),
    ] {
        let path = lab.write("wrong.json", text, 0o600).unwrap();
        let answer = cli.ask(&["validate", path.to_str().unwrap()]);
        // A version is no secret: its value is shown.
        if mistake != "a number" && !needles.found_in(answer.as_bytes()).is_empty() {
            leaks.push(format!("JSON, {mistake}:\n{answer}"));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n\n"));
}
