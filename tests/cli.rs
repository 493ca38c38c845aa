//! The command line as its users run it: the program itself, with configuration files, signals and a control socket. No server
//! is needed: the ones in these configurations refuse.

use crate::support::prometheus;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// Whatever hangs this long has failed.
pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// A folder with a configuration whose two servers refuse connections for as long as it lives.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
    _ports: [Socket; 2],
    config: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        let ports = [reserved(), reserved()];
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            r#"version = 1
state_dir = "{folder}/state"
control_socket = "{folder}/control.sock"

[[services]]
name = "orders"

[services.connection]
password = "tell-nobody"

[services.check_defaults]
fast_interval = "5ms"

[[services.servers]]
name = "db1"
role = "primary"
host = "127.0.0.1"
port = {}

[[services.servers]]
name = "db2"
host = "127.0.0.1"
port = {}
"#,
            port(&ports[0]),
            port(&ports[1]),
            folder = folder.path().display(),
        );
        let place = Place { folder, _ports: ports, config };
        place.write(&place.config);
        place
    }

    pub(crate) fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("failover.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// A command about this place's daemon.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Answer {
        let mut command = failover(arguments);
        command.arg("--socket").arg(self.socket());
        answer(command)
    }
}

/// A loopback port that is taken and refuses: bound, never listening.
fn reserved() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket
}

fn port(socket: &Socket) -> u16 {
    socket.local_addr().unwrap().as_socket().unwrap().port()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_failover")
}

fn failover(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    for variable in ["RUST_LOG", "NOTIFY_SOCKET", "FAILOVER_CONFIG", "FAILOVER_SOCKET"] {
        command.env_remove(variable);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Answer {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

fn answer(mut command: Command) -> Answer {
    let output = assert_cmd::Command::from_std({
        command.stdin(Stdio::null());
        command
    })
    .timeout(WATCHDOG)
    .output()
    .unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Answer {
    answer(failover(arguments))
}

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + WATCHDOG;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it answers.
    pub(crate) fn start(place: &Place) -> Daemon {
        let daemon = Daemon::start_with(place, failover(&["run", place.path().to_str().unwrap()]));
        daemon.wait_for(place);
        daemon
    }

    pub(crate) fn start_with(place: &Place, mut command: Command) -> Daemon {
        let log = place.folder.path().join("daemon.log");
        command.stderr(fs::File::create(&log).unwrap());
        Daemon { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn wait_for(&self, place: &Place) {
        until("the daemon answers", || {
            let answer = place.ask(&["status", "--json"]);
            assert!(answer.code == 0 || answer.code == 3, "{}{}", answer.stderr, self.log());
            (answer.code == 0).then_some(())
        });
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn logged(&self, text: &str) {
        until(text, || self.log().contains(text).then_some(()));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit code.
    pub(crate) fn end(&mut self) -> i32 {
        let status = until("the daemon ends", || self.child.try_wait().unwrap());
        status.code().unwrap_or_else(|| panic!("{status}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_help_shows_examples_and_exit_codes() {
    let help = run(&["--help"]).ends_with(0);
    expect![[r"
        Automatic failover for PostgreSQL: watches a primary, decides when it is really gone, fences it,
        promotes the standby, moves the traffic, verifies the result, and says what happened and why

        Usage: failover [OPTIONS] <COMMAND>

        Commands:
          run          Run the engine in the foreground until SIGINT or SIGTERM
          check        Run every check once, and say whether a failover would go through
          doctor       Say what would hurt a failover of one service, why, and what mends it
          validate     Say everything that is wrong with a configuration
          status       Ask a running daemon how its services are, and what would happen if a primary died
                       now
          metrics      Ask a running daemon for its numbers, as Prometheus reads them
          events       Show what happened in a running daemon
          confirm      Say yes to a failover that waits for it
          pause        Go on watching, decide nothing
          resume       End a pause
          reset        Leave `manual_intervention` or `failed_over`: failovers are automatic again, once
                       nothing else blocks them
          adopt        Say that a server which takes writes is the primary from here on
          cordon       Say that a server is not to be promoted, by whatever
          uncordon     Say that a cordoned server may be promoted again
          switchover   Let a healthy primary hand over to a standby, without losing a row
          force        Fail over now, whatever the checks say
          rejoin       Bring an old primary that is stopped back as a standby
          clone        Make a standby where nothing is, by a first copy of the primary's data
          notify       Look after the receivers of notifications
          survived     Did a commit whose answer nobody received survive the last failovers?
          replay       Go through a recorded decision again, and compare
          completions  Print the completion script of a shell
          help         Print this message or the help of the given subcommand(s)

        Options:
              --json          Write JSON for programs instead of text for people
              --color <WHEN>  Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM`
                              is `dumb` [default: auto] [possible values: auto, always, never]
          -h, --help          Print help
          -V, --version       Print version

        Examples:
          failover validate failover.toml     everything that is wrong with the file, at once
          failover check failover.toml        every check once, and whether a failover would go through
          failover doctor orders              what would hurt a failover, why, and what mends it
          failover run failover.toml          watch, and fail over when the primary is really gone
          failover status                     who is primary, and what would happen if it died now

        Exit codes:
          0  done; for `check` and `doctor`: everything is up, and nothing would stop a failover
          1  `check` and `doctor`: something is not up, or would stop a failover;
             `notify test`: a receiver did not take the message;
             `force` and `switchover` with --wait: nothing was promoted;
             `switchover --dry-run`: it would be refused; `rejoin --wait`: nothing was changed;
             `survived`: it did not
          2  the configuration or the command line is wrong
          3  the daemon cannot be reached
          4  the daemon refused the command, and said why
          5  the engine cannot start or run, or the system refused something
          6  `force` and `switchover` with --wait: stopped where a person has to look;
             `rejoin --wait`: the server was changed and does not stream; `survived`: nobody can say
    "]]
    .assert_eq(&help.stdout);
    for command in [
        "run",
        "check",
        "validate",
        "status",
        "metrics",
        "events",
        "confirm",
        "pause",
        "resume",
        "reset",
        "adopt",
        "cordon",
        "uncordon",
        "force",
        "switchover",
        "rejoin",
        "clone",
        "survived",
        "completions",
    ] {
        let help = run(&[command, "--help"]).ends_with(0).stdout;
        assert!(help.contains("Examples:\n  failover "), "{help}");
        assert!(command == "completions" || help.contains("Exit codes: 0 "), "{help}");
        assert!(help.contains("--json"), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{help}");
        if help.contains("--socket") {
            let flat = help.split_whitespace().collect::<Vec<&str>>().join(" ");
            assert!(flat.contains("[default: /run/failover/control.sock, or else /var/lib/failover/control.sock]"), "{help}");
            assert!(flat.contains("[default: none is read, --socket's default holds]"), "{help}");
        }
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let missing = run(&["validate", "/nonexist/failover.toml"]).ends_with(2);
    assert!(missing.stderr.starts_with("error: /nonexist/failover.toml\n"), "{}", missing.stderr);
    for arguments in [
        &[][..],
        &["promote"],
        &["run"],
        &["validate"],
        &["confirm"],
        &["adopt", "orders"],
        &["cordon", "db2"],
        &["confirm", "orders", "--all"],
        &["pause", "orders", "--for", "5"],
        &["pause", "orders", "--for", "31d"],
        &["force", "orders", "--accept-loss", "a lot"],
        &["switchover", "orders", "--at", "tonight"],
        &["switchover", "orders", "--dry-run", "--wait"],
        &["switchover", "orders", "--cancel", "--to", "db2"],
        &["status", "--socket", "/a", "--config", "/b"],
    ] {
        let answer = run(arguments).ends_with(2);
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_shipped_completions_are_what_the_program_prints() {
    for (shell, file) in [("bash", "failover.bash"), ("zsh", "_failover"), ("fish", "failover.fish")] {
        let shipped = fs::read_to_string(root().join("packaging/completions").join(file)).unwrap();
        assert_eq!(run(&["completions", shell]).ends_with(0).stdout, shipped, "{file} is out of date: make completions");
    }
}

#[test]
fn a_valid_configuration() {
    let place = Place::new();
    let path = place.path();
    let answer = run(&["validate", path.to_str().unwrap()]).ends_with(0);
    assert_eq!(answer.stdout, format!("{}: valid: 1 service (orders), 2 servers\n", path.display()));
    let json = run(&["validate", "--json", path.to_str().unwrap()]).ends_with(0).json();
    assert_eq!((&json["valid"], &json["errors"]), (&Value::Bool(true), &Value::Array(Vec::new())));
}

/// A configuration may be looked at on another machine than its engine's, so what is missing there is no mistake; it is named.
#[test]
fn a_missing_key_is_a_warning_of_the_configuration() {
    let place = Place::new();
    let ssh = "[services.ssh]\nkeys = [\"/nowhere/key\"]\nknown_hosts = \"/etc/passwd\"\n";
    place.write(
        &place
            .config
            .replace("[services.check_defaults]", &format!("{ssh}\n[services.check_defaults]"))
            .replace("name = \"db1\"\n", "name = \"db1\"\ndata_dir = \"/data1\"\n")
            .replace("name = \"db2\"\n", "name = \"db2\"\ndata_dir = \"/data2\"\n"),
    );
    let path = place.path();
    let answer = run(&["validate", path.to_str().unwrap()]).ends_with(0);
    let told =
        "the SSH key /nowhere/key cannot be read here: No such file or directory (os error 2)\n  remedy: put the file there";
    assert!(answer.stderr.starts_with("warning: /services/0/ssh/keys") && answer.stderr.contains(told), "{}", answer.stderr);
    assert!(answer.stdout.contains("valid"), "{}", answer.stdout);
    let json = run(&["validate", "--json", path.to_str().unwrap()]).ends_with(0).json();
    assert!(json["warnings"].to_string().contains("the SSH key /nowhere/key cannot be read here"), "{json}");
    let check = run(&["check", path.to_str().unwrap()]).ends_with(1);
    assert!(check.stderr.contains(told), "{}", check.stderr);
    let mut daemon = Daemon::start(&place);
    daemon.logged("the SSH key /nowhere/key cannot be read here");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

/// Paths and line wrapping differ between runs and machines; the words do not.
fn same(text: &str, place: &Place, expected: &Expect) {
    expected.assert_eq(&text.replace(&place.folder.path().display().to_string(), "FOLDER"));
}

#[test]
fn every_mistake_is_told_at_once_with_its_remedy() {
    let place = Place::new();
    place.write(
        &place
            .config
            .replace("role = \"primary\"", "roll = \"primary\"")
            .replace("fast_interval = \"5ms\"", "interval = \"often\""),
    );
    let answer = run(&["validate", place.path().to_str().unwrap()]).ends_with(2);
    assert_eq!(answer.stdout, "");
    same(
        &answer.stderr,
        &place,
        &expect![[r#"
            warning: /services/0/fence/require (line 5, column 1) = 3 (default)
              level 3 cannot be proven of server "db1": it has no ssh, and there is no command
              remedy: add ssh or fence.command; until then, or without a step `fence` of the program that embeds the engine, its death ends in manual_intervention
              the same once more: /services/0/fence/require (line 5): "db2"
            error: /services/0/check_defaults/interval (line 12, column 1) = "often"
              this is no duration
              remedy: write a duration such as "1s", "250ms" or "1m30s"
            error: /services/0/servers (line 14, column 12)
              no server has the role of the primary
              remedy: give one server role = "primary"
            error: /services/0/servers/0/roll (line 16, column 1)
              this key is unknown
              remedy: did you mean "role"?
            FOLDER/failover.toml: 3 errors
        "#]],
    );
    let json = run(&["validate", "--json", place.path().to_str().unwrap()]).ends_with(2).json();
    assert_eq!(json["valid"], false);
    let errors = json["errors"].as_array().unwrap();
    assert!(errors.len() >= 2, "{json}");
    assert!(errors.iter().all(|error| ["path", "reason", "remedy"].iter().all(|key| error[key].is_string())), "{json}");
    for command in ["run", "check"] {
        assert_eq!(run(&[command, place.path().to_str().unwrap()]).ends_with(2).stderr, answer.stderr, "{command}");
    }
    let missing = run(&["validate", "/nowhere/failover.toml"]).ends_with(2);
    assert!(missing.stderr.contains("/nowhere/failover.toml"), "{}", missing.stderr);
}

#[test]
fn the_effective_configuration_is_one_itself_and_holds_no_secret() {
    let place = Place::new();
    for (arguments, name) in [(&["--json"][..], "failover.json"), (&[], "failover.toml")] {
        let mut command = failover(&["validate", "--print-effective", place.path().to_str().unwrap()]);
        command.args(arguments);
        let shown = answer(command).ends_with(0).stdout;
        assert!(!shown.contains("tell-nobody"), "{shown}");
        assert!(shown.contains("failure_threshold") && shown.contains("3.4s"), "{shown}");
        let other = place.folder.path().join(format!("effective-{name}"));
        fs::write(&other, shown.replace("********", "changed")).unwrap();
        run(&["validate", other.to_str().unwrap()]).ends_with(0);
    }
}

#[test]
fn the_schema_is_json() {
    let schema = run(&["validate", "--schema"]).ends_with(0).json();
    assert!(schema["$schema"].is_string(), "{schema}");
    assert!(schema["properties"]["services"].is_object(), "{schema}");
}

#[test]
fn check_says_what_is_not_up() {
    let place = Place::new();
    let answer = run(&["check", place.path().to_str().unwrap()]).ends_with(1);
    assert!(
        answer.stdout.contains("db1/postgres  down") && answer.stdout.contains("\n2 checks, 2 not up\n\nreadiness of orders: "),
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("db1/postgres, db2/postgres: refused\n  remedy: start the server"), "{}", answer.stdout);
    assert!(answer.stdout.contains("  blocking no_primary_seen: "), "{}", answer.stdout);
    let json = run(&["check", "--json", place.path().to_str().unwrap()]).ends_with(1).json();
    assert_eq!((&json["all_up"], &json["ready"]), (&Value::Bool(false), &Value::Bool(false)));
    assert_eq!(json["checks"].as_array().unwrap().len(), 2);
    assert_eq!(json["checks"][0]["verdict"], "down");
    assert_eq!(json["checks"][0]["reason"], "refused");
    assert!(!place.folder.path().join("state").exists(), "check must not touch the state directory");
    // What would keep the daemon itself from starting.
    fs::write(place.folder.path().join("state"), "in the way").unwrap();
    fs::create_dir(place.socket()).unwrap();
    let answer = run(&["check", place.path().to_str().unwrap()]).ends_with(1);
    for code in ["blocking state_dir_unusable: ", "blocking control_socket_unusable: "] {
        assert!(answer.stdout.contains(code), "{}", answer.stdout);
    }
}

#[test]
fn check_ends_with_0_when_everything_is_up() {
    let place = Place::new();
    let config = format!(
        r#"version = 1
state_dir = "{}/state"

[[services]]
name = "shop"
kind = "application"

[[services.servers]]
name = "app1"
host = "127.0.0.1"

[[services.checks]]
name = "yes"
server = "app1"
kind = "exec"
command = ["/bin/true"]
"#,
        place.folder.path().display()
    );
    place.write(&config);
    let answer = run(&["check", place.path().to_str().unwrap()]).ends_with(0);
    assert!(answer.stdout.ends_with("1 check, all up\n"), "{}", answer.stdout);
    assert!(!answer.stdout.contains('\x1b'), "no colour in a pipe");
    let coloured = run(&["check", "--color", "always", place.path().to_str().unwrap()]).ends_with(0);
    assert!(coloured.stdout.contains("\x1b["), "{}", coloured.stdout);
}

/// As for any program that is run by scripts: what each call would repeat may stand in the environment.
#[test]
fn the_environment_names_configuration_and_socket_where_the_command_line_does_not() {
    let place = Place::new();
    let config = place.path();
    let asked = |arguments: &[&str], environment: &[(&str, &Path)]| {
        let mut command = failover(arguments);
        command.envs(environment.iter().copied());
        answer(command)
    };
    let by_name = asked(&["validate"], &[("FAILOVER_CONFIG", &config)]);
    assert_eq!(by_name.code, 0, "{}", by_name.stderr);
    // One service: it needs no name.
    let doctor = asked(&["doctor"], &[("FAILOVER_CONFIG", &config)]);
    assert!(doctor.stdout.starts_with("doctor of orders: "), "{}{}", doctor.stdout, doctor.stderr);
    let socket = place.socket();
    let elsewhere = place.folder.path().join("elsewhere.sock");
    for (arguments, environment, looked) in [
        (&["status"][..], &[("FAILOVER_CONFIG", config.as_path())][..], &socket),
        (&["status"], &[("FAILOVER_CONFIG", &config), ("FAILOVER_SOCKET", &elsewhere)], &elsewhere),
        (&["status", "--socket", elsewhere.to_str().unwrap()], &[("FAILOVER_CONFIG", &config)], &elsewhere),
        (&["status", "--config", config.to_str().unwrap()], &[("FAILOVER_SOCKET", &elsewhere)], &socket),
    ] {
        let answer = asked(arguments, environment);
        let path = looked.display().to_string();
        assert!(answer.code == 3 && answer.stderr.contains(&path), "{arguments:?} {environment:?}: {}", answer.stderr);
    }
}

#[test]
fn without_a_daemon_a_command_says_where_it_looked() {
    let place = Place::new();
    for arguments in [
        &["status"][..],
        &["metrics"],
        &["events"],
        &["confirm", "orders"],
        &["pause"],
        &["resume"],
        &["reset", "orders"],
        &["adopt", "orders", "db1"],
        &["cordon", "orders", "db1"],
        &["uncordon", "orders", "db1"],
    ] {
        let answer = place.ask(arguments).ends_with(3);
        same(
            &answer.stderr,
            &place,
            &expect![[r"
                failover: cannot reach the daemon at FOLDER/control.sock: No such file or directory (os error 2)
                  remedy: start it with `failover run CONFIG`, or say where it listens with --socket PATH or --config CONFIG
            "]],
        );
    }
}

#[test]
fn a_daemon_is_asked_and_told() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place);
    let mode = fs::symlink_metadata(place.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the socket is its owner's alone");

    let status = place.ask(&["status", "--json"]).ends_with(0).json();
    assert_eq!(status["engine"], "running");
    assert_eq!(status["services"][0]["name"], "orders");
    assert_eq!(status["services"][0]["forecast"]["would_fail_over"], false);
    let human = place.ask(&["status", "orders"]).ends_with(0).stdout;
    assert!(human.contains("it would NOT fail over\n    no_primary_seen: "), "{human}");
    assert!(human.contains("remedy: if its checks get no answer, start the primary"), "{human}");
    // The same daemon, found by its configuration.
    run(&["status", "--config", place.path().to_str().unwrap()]).ends_with(0);

    let numbers = place.ask(&["metrics", "orders"]).ends_with(0).stdout;
    let samples = prometheus::read(&numbers).unwrap_or_else(|why| panic!("{why}\n{numbers}"));
    assert_eq!(prometheus::value(&samples, "failover_service_paused", &[("service", "orders")]), Some(0.0));
    assert_eq!(prometheus::value(&samples, "failover_forecast_ready", &[("service", "orders")]), Some(0.0));
    let numbers = place.ask(&["metrics", "--json"]).ends_with(0).json();
    assert_eq!(numbers["services"][0]["metrics"]["failovers"]["completed"], 0);
    assert!(numbers["services"][0]["checks"][0]["answers"]["up"] == 0 && numbers["breakers"].is_array(), "{numbers}");
    place.ask(&["metrics", "nothing"]).ends_with(4);

    let unknown = place.ask(&["status", "nothing"]).ends_with(4);
    expect![[r#"
        failover: there is no service "nothing"
          remedy: the services are: orders
    "#]]
    .assert_eq(&unknown.stderr);
    place.ask(&["pause", "nothing"]).ends_with(4);
    place.ask(&["confirm", "orders"]).ends_with(4);
    place.ask(&["confirm", "--all"]).ends_with(4);
    place.ask(&["force", "orders", "--to", "nobody", "--yes"]).ends_with(4);
    let unknown = place.ask(&["adopt", "orders", "nobody"]).ends_with(4);
    assert!(unknown.stderr.contains("orders has no server \"nobody\""), "{}", unknown.stderr);
    for order in [&["adopt", "nothing", "db1"][..], &["cordon", "nothing", "db1"], &["force", "nothing", "--to", "db1", "--yes"]]
    {
        let unknown = place.ask(order).ends_with(4);
        assert!(unknown.stderr.contains("there is no service \"nothing\""), "{order:?}: {}", unknown.stderr);
    }
    let silent = place.ask(&["adopt", "orders", "db1"]).ends_with(4);
    assert!(silent.stderr.contains("db1 does not take writes now"), "{}", silent.stderr);
    let told = place.ask(&["pause", "orders", "--reason", "the disk is swapped", "--for", "2h"]).ends_with(0).stdout;
    assert!(told.contains("orders: paused for 120 min (the disk is swapped)"), "{told}");
    let human = place.ask(&["status", "orders"]).ends_with(0).stdout;
    assert!(human.contains(", paused for ") && human.contains(" more (the disk is swapped)"), "{human}");
    place.ask(&["pause", "orders", "--reason", "two\nlines"]).ends_with(4);
    place.ask(&["pause", "orders", "--for", "1ms"]).ends_with(0);
    while place.ask(&["status", "--json"]).ends_with(0).json()["services"][0]["paused"] == true {}
    let looked = place.ask(&["switchover", "orders", "--dry-run"]).ends_with(1).stdout;
    assert!(looked.starts_with("refused  no_primary_seen: ") && looked.contains("\n         Remedy: "), "{looked}");
    assert!(looked.ends_with("orders: a switchover would be refused\n"), "{looked}");
    let refused = place.ask(&["switchover", "orders"]).ends_with(4).stderr;
    assert!(refused.contains("no switchover: no_primary_seen: "), "{refused}");
    place.ask(&["switchover", "orders", "--at", "2001-01-01T00:00:00Z"]).ends_with(4);
    place.ask(&["switchover", "orders", "--cancel"]).ends_with(4);
    place.ask(&["switchover", "orders", "--to", "db2", "--at", "00:00"]).ends_with(0);
    let human = place.ask(&["status", "orders"]).ends_with(0).stdout;
    assert!(human.contains("A switchover to db2 begins in "), "{human}");
    place.ask(&["switchover", "orders", "--cancel"]).ends_with(0);
    place.ask(&["uncordon", "orders", "db2"]).ends_with(4);
    place.ask(&["cordon", "orders", "nobody"]).ends_with(4);
    let told = place.ask(&["cordon", "orders", "db2"]).ends_with(0).stdout;
    assert!(told.contains("db2 is cordoned: the engine observes it and never promotes it"), "{told}");
    let human = place.ask(&["status", "orders"]).ends_with(0).stdout;
    assert!(human.contains(", cordoned"), "{human}");
    let numbers = place.ask(&["metrics", "orders"]).ends_with(0).stdout;
    assert!(numbers.contains("failover_cordoned_servers{service=\"orders\"} 1"), "{numbers}");
    place.ask(&["uncordon", "orders", "db2"]).ends_with(0);
    let unasked = place.ask(&["force", "orders"]).ends_with(2);
    assert!(unasked.stderr.contains("--yes"), "{}", unasked.stderr);

    place.ask(&["pause", "orders"]).ends_with(0);
    let paused = |yes: bool| {
        until("the pause is seen", || {
            (place.ask(&["status", "--json"]).ends_with(0).json()["services"][0]["paused"] == yes).then_some(())
        });
    };
    paused(true);
    let message = place.ask(&["resume", "--json"]).ends_with(0).json();
    assert!(message["message"].is_string(), "{message}");
    paused(false);
    // Nothing to be done is nothing to be mended.
    for idle in [&["resume", "orders"][..], &["reset", "orders"], &["confirm", "orders"]] {
        let answer = place.ask(idle).ends_with(4);
        assert!(!answer.stderr.contains("remedy:"), "{}", answer.stderr);
    }

    let events = place.ask(&["events", "--json"]).ends_with(0).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["kind"], "engine_started");
    let commands: Vec<&Value> = events.iter().filter(|event| event["kind"] == "operator_command").collect();
    assert!(commands.len() >= 2, "{events:?}");
    assert!(events.iter().all(|event| event["severity"] != "debug"), "single observations are only shown when asked for");
    let since = commands[0]["seq"].as_u64().unwrap();
    let later = place.ask(&["events", "--json", "--since", &since.to_string()]).ends_with(0).stdout;
    assert!(later.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap() > since));
    for flag in ["--all", "-a", "--verbose"] {
        let all = place.ask(&["events", flag]).ends_with(0);
        assert!(all.stdout.contains(" observed: "), "{flag}: {}", all.stdout);
        assert_eq!(all.stderr, "", "{flag}: nothing is left out");
    }
    let some = place.ask(&["events"]).ends_with(0);
    assert!(some.stdout.contains(" orders operator_command: "));
    // But for a pause that ended by itself.
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    for given in commands.iter().filter(|event| event["fields"]["command"] != "resume") {
        assert_eq!(given["fields"]["by"], uid, "{given:#}");
        assert!(given["message"].as_str().unwrap().ends_with(&format!("(ordered by {uid})")), "{given:#}");
    }
    assert_eq!(some.stderr, "failover: these numbers have gaps: --all shows single observations too\n");

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    assert!(!place.socket().exists(), "the socket goes with its daemon");
    assert!(daemon.log().contains("engine_stopped"), "{}", daemon.log());
    assert!(!daemon.log().contains("tell-nobody"));
}

#[test]
fn a_follower_sees_what_happens_and_the_end() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place);
    let mut follower = failover(&["events", "--follow", "--json", "--socket", place.socket().to_str().unwrap()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["kind"], "engine_started");
    place.ask(&["pause"]).ends_with(0);
    daemon.signal(Signal::INT);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    let kinds: Vec<String> =
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()["kind"].as_str().unwrap().to_owned()).collect();
    assert!(kinds.contains(&"operator_command".to_owned()), "{kinds:?}");
    assert_eq!(kinds.last().map(String::as_str), Some("engine_stopped"), "{kinds:?}");
    assert_eq!(follower.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reload_with_mistakes_changes_nothing_and_a_good_one_takes_effect() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place);
    let services = || {
        let status = place.ask(&["status", "--json"]).ends_with(0).json();
        let names: Vec<String> =
            status["services"].as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap().to_owned()).collect();
        names.join(",")
    };
    place.write("version = 7\nservice = []\n");
    daemon.signal(Signal::HUP);
    daemon.logged("the configuration has errors and changes nothing");
    assert!(daemon.log().contains("/version"), "{}", daemon.log());
    assert!(daemon.log().contains("/service"), "every error is logged: {}", daemon.log());
    assert_eq!(services(), "orders");
    place.write(&place.config.replace("name = \"orders\"", "name = \"stock\""));
    daemon.signal(Signal::HUP);
    daemon.logged("the new configuration is in force");
    daemon.logged("changed: services.orders: a table removed; services.stock: a table added");
    place.write(&place.config.replace("name = \"orders\"", "name = \"stock\"").replace("tell-nobody", "tell-no-one"));
    daemon.signal(Signal::HUP);
    daemon.logged("changed: services.stock: a secret");
    let route = "[services.route]\ncommand = [{ name = \"pool\", command = [\"/bin/true\"] }]\nverify = [\"127.0.0.1:9\"]\n\n[[services.servers]]";
    place.write(&place.config.replace("name = \"orders\"", "name = \"stock\"").replacen("[[services.servers]]", route, 1));
    daemon.signal(Signal::HUP);
    daemon.logged("changed: services.stock.route");
    place.write(&place.config.replace("name = \"orders\"", "name = \"stock\""));
    daemon.signal(Signal::HUP);
    daemon.logged("no route is left of stock: a failover would leave the clients where they are");
    assert!(!daemon.log().contains("tell-no"), "{}", daemon.log());
    assert_eq!(services(), "stock");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

#[test]
fn the_service_manager_is_told() {
    let place = Place::new();
    let manager_path = place.folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&manager_path).unwrap();
    manager.set_read_timeout(Some(WATCHDOG)).unwrap();
    let expect_word = |wanted: &str| {
        let mut buffer = [0; 4096];
        let end = Instant::now() + WATCHDOG;
        loop {
            assert!(Instant::now() < end, "{wanted} was not told");
            let count = manager.recv(&mut buffer).unwrap();
            let word = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if word.lines().any(|line| line.starts_with(wanted)) {
                return word;
            }
        }
    };
    let mut command = failover(&["run", place.path().to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", &manager_path).env("WATCHDOG_USEC", "2000000");
    let mut daemon = Daemon::start_with(&place, command);
    expect_word("READY=1");
    place.ask(&["status"]).ends_with(0);
    assert!(expect_word("STATUS=orders: ").contains("would not fail over"));
    expect_word("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    let reloading = expect_word("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    expect_word("READY=1");
    daemon.signal(Signal::TERM);
    expect_word("STOPPING=1");
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

#[test]
fn one_json_object_per_line_from_the_first_event_to_the_last() {
    let place = Place::new();
    let mut command = failover(&["run", "--json", place.path().to_str().unwrap()]);
    command.stdout(Stdio::piped());
    let mut daemon = Daemon::start_with(&place, command);
    let lines = BufReader::new(daemon.child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()).collect::<Vec<Value>>()
    });
    daemon.wait_for(&place);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    let events = reader.join().unwrap();
    assert_eq!(events.first().unwrap()["kind"], "engine_started");
    assert_eq!(events.last().unwrap()["kind"], "engine_stopped");
    assert!(events.iter().any(|event| event["kind"] == "observed"));
    assert!(events.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
}

#[test]
fn a_reader_that_never_reads_stops_nothing() {
    let place = Place::new();
    let mut command = failover(&["run", "--json", place.path().to_str().unwrap()]);
    command.stdout(Stdio::piped());
    let mut daemon = Daemon::start_with(&place, command);
    daemon.wait_for(&place);
    // More than a pipe holds.
    until("many events", || {
        let status = place.ask(&["status", "--json"]).ends_with(0).json();
        (status["events"]["published"].as_u64().unwrap() > 600).then_some(())
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

#[test]
fn clients_that_hang_or_talk_nonsense_hurt_nobody() {
    let place = Place::new();
    let mut daemon = Daemon::start(&place);
    let call = || {
        let stream = UnixStream::connect(place.socket()).unwrap();
        stream.set_read_timeout(Some(WATCHDOG)).unwrap();
        stream
    };
    let says = |bytes: &[u8]| {
        let mut stream = call();
        // The daemon may hang up before it has read everything.
        let _ = stream.write_all(bytes);
        let mut line = String::new();
        let _ = BufReader::new(stream).read_line(&mut line);
        line
    };
    // Silent, for as long as this test lives; one with half a request; one that follows and never reads.
    let silent = call();
    let mut half = call();
    half.write_all(b"{\"command\":").unwrap();
    let mut deaf = call();
    deaf.write_all(b"{\"command\":\"events\",\"follow\":true,\"verbose\":true}\n").unwrap();
    for nonsense in [
        &b"hello\n"[..],
        b"\n",
        b"{}\n",
        b"[1,2]\n",
        b"\xff\xfe\x00\n",
        b"{\"command\":\"confirm\"}\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(says(nonsense).contains("\"bad_request\""), "{:?}", String::from_utf8_lossy(nonsense));
    }
    assert!(says(&vec![b'x'; 1 << 20]).contains("bad_request"));
    // A client that is gone before its answer.
    for _ in 0..50 {
        let mut stream = call();
        let _ = stream.write_all(b"{\"command\":\"status\"}\n");
    }
    // Several requests in one breath, answered in order, as soon as those before have left their places.
    let answers = until("a place is free", || {
        let mut stream = call();
        stream.write_all(b"{\"command\":\"pause\"}\n{\"command\":\"status\"}\n").ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut answers = String::new();
        stream.read_to_string(&mut answers).ok()?;
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (answers.len() == 2).then_some(answers)
    });
    assert!(answers[0]["result"]["message"].is_string());
    assert_eq!(answers[1]["result"]["services"][0]["paused"], true);
    place.ask(&["status"]).ends_with(0);
    // More clients than there are places: those beyond are told so, and nobody is served less than before.
    let crowd: Vec<UnixStream> = (0..60).map(|_| call()).collect();
    until("a place is free again", || (place.ask(&["status"]).code == 0).then_some(()));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    drop((silent, half, deaf, crowd));
}

#[test]
fn a_second_daemon_is_refused_and_a_dead_ones_socket_replaced() {
    let place = Place::new();
    let mut first = Daemon::start(&place);
    let second = run(&["run", place.path().to_str().unwrap()]).ends_with(5);
    assert!(second.stderr.contains("another daemon listens on"), "{}", second.stderr);
    // Another socket, the same state: the lock decides.
    let other = place.folder.path().join("other.toml");
    fs::write(&other, place.config.replace("control.sock", "other.sock")).unwrap();
    let third = run(&["run", other.to_str().unwrap()]).ends_with(5);
    assert!(third.stderr.contains("another engine"), "{}", third.stderr);
    place.ask(&["status"]).ends_with(0);
    first.signal(Signal::KILL);
    until("the first is gone", || first.child.try_wait().unwrap());
    assert!(place.socket().exists(), "a killed daemon leaves its socket behind");
    place.ask(&["status"]).ends_with(3);
    let mut next = Daemon::start(&place);
    next.signal(Signal::TERM);
    assert_eq!(next.end(), 0, "{}", next.log());
}

/// Even where the file's permissions let somebody in, the daemon asks the kernel who is calling.
#[test]
fn another_user_is_not_listened_to() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become somebody else to try it.
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = place.folder.path().join("failover");
    fs::copy(program(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let mut daemon = Daemon::start(&place);
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy);
        command.args(["pause", "--socket"]).arg(place.socket());
        answer(command).ends_with(3).stderr
    };
    let kept_out = as_nobody();
    assert!(kept_out.contains("Permission denied"), "{kept_out}");
    fs::set_permissions(place.socket(), Permissions::from_mode(0o666)).unwrap();
    let refused = as_nobody();
    assert!(refused.contains("only the user that runs the daemon, and root"), "{refused}");
    assert_eq!(place.ask(&["status", "--json"]).ends_with(0).json()["services"][0]["paused"], false);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

/// The configuration in the README can be used as it is, once its files are there.
/// The children of a process, with the state of each: `Z` is one that nobody has waited for.
fn children(pid: u32) -> Vec<(u32, char)> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let state = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, stat.rsplit_once(") ")?.1.chars().next()?))
    };
    list.split_whitespace().filter_map(|pid| state(pid.parse().ok()?)).collect()
}

/// In a container the daemon is the first process, and the command line may be outside of it.
#[test]
fn in_a_container_it_is_asked_from_outside_and_leaves_no_dead_orphans() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make such a namespace.
        return;
    }
    let place = Place::new();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", program(), "run", place.path().to_str().unwrap()]);
    command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    let mut daemon = Daemon::start_with(&place, command);
    daemon.wait_for(&place);
    place.ask(&["pause", "orders"]).ends_with(0);
    assert_eq!(place.ask(&["status", "--json"]).ends_with(0).json()["services"][0]["paused"], true);

    let first = children(daemon.child.id())[0].0;
    let own = children(first).len();
    // Each leaves an orphan behind that ends a moment later.
    for _ in 0..10 {
        let mut inside = Command::new("nsenter");
        inside.args(["--pid", "--target", &first.to_string(), "sh", "-c", "sleep 0.3 >/dev/null 2>&1 &"]);
        assert!(inside.status().unwrap().success());
    }
    assert!(children(first).len() > own, "the orphans are the first process's");
    until("nobody but the daemon is left", || (children(first).len() == own).then_some(()));
    // A reload, and the end, arrive.
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::HUP).unwrap();
    daemon.logged("the new configuration is in force");
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    assert!(daemon.log().contains("SIGTERM: stopping"), "{}", daemon.log());
}

/// A service manager hears the main process alone (`NotifyAccess=main`), and in a container that is not the daemon.
#[test]
fn in_a_container_the_service_manager_hears_the_first_process() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    let manager_path = place.folder.path().join("notify.sock");
    let manager = UnixDatagram::bind(&manager_path).unwrap();
    manager.set_read_timeout(Some(WATCHDOG)).unwrap();
    rustix::net::sockopt::set_socket_passcred(&manager, true).unwrap();
    // The next message, and who sent it.
    let hear = || {
        let (mut buffer, mut space) = ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))]);
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&manager, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::empty()).unwrap();
        let sender = ancillary.drain().find_map(|one| match one {
            RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get().cast_unsigned()),
            _ => None,
        });
        (String::from_utf8_lossy(&buffer[..got.bytes]).into_owned(), sender.unwrap())
    };
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", program(), "run", place.path().to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", &manager_path).env("WATCHDOG_USEC", "2000000").env_remove("WATCHDOG_PID").stdin(Stdio::null());
    let mut daemon = Daemon::start_with(&place, command);
    let (ready, sender) = hear();
    assert!(ready.contains("READY=1"), "{ready}");
    let first = children(daemon.child.id())[0].0;
    assert_eq!(sender, first);
    let mut heard = String::new();
    let mut expect = |word: &str| loop {
        let (text, sender) = hear();
        assert_eq!(sender, first, "{text}");
        heard.push_str(&text);
        if text.contains(word) {
            return;
        }
    };
    expect("WATCHDOG=1");
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::HUP).unwrap();
    expect("RELOADING=1");
    expect("READY=1");
    kill_process(Pid::from_raw(first.cast_signed()).unwrap(), Signal::TERM).unwrap();
    expect("STOPPING=1");
    assert!(heard.contains("STATUS=orders: "), "{heard}");
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

/// How the daemon ends is how its container ends.
#[test]
fn in_a_container_a_daemon_that_cannot_start_says_so_by_its_exit_code() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let place = Place::new();
    place.write("version = 99\n");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", program(), "run", place.path().to_str().unwrap()]);
    answer(command).ends_with(2);
}

#[test]
fn the_configuration_in_the_readme_is_valid() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let block = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    let password = place.path().with_file_name("orders.password");
    fs::write(&password, "secret\n").unwrap();
    assert!(block.contains("/etc/failover/orders.password"));
    place.write(&block.replace("/etc/failover/orders.password", password.to_str().unwrap()));
    let command = failover(&["validate", place.path().to_str().unwrap()]);
    assert!(answer(command).ends_with(0).stdout.ends_with("valid: 1 service (orders), 2 servers\n"));
}

/// What the papers tell people to type exists.
#[test]
fn the_commands_in_the_papers_exist() {
    let root = root();
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    let mut commands = 0;
    for paper in [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/OPERATING.md",
        "docs/RUNBOOK.md",
        "docs/DEMO.md",
        "docs/APPLICATION.md",
    ] {
        let text = fs::read_to_string(root.join(paper)).unwrap();
        for line in code(&text) {
            let words: Vec<&str> = line.split_whitespace().collect();
            for (place, word) in words.iter().enumerate() {
                let rest = &words[place + 1..];
                if *word == "make" && rest.first().is_some_and(|target| target.chars().all(|letter| letter.is_ascii_lowercase()))
                {
                    assert!(makefile.contains(&format!("\n{}:", rest[0])), "{paper}: {line}");
                    commands += 1;
                }
                let first = place == 0 || matches!(words[place - 1], "$" | "sudo" | "|" | "&&" | "postgres");
                if *word == "failover" && first && !rest.is_empty() {
                    exists(paper, &line, rest);
                    commands += 1;
                }
            }
        }
    }
    assert!(commands > 10, "the papers name commands");
}

fn exists(paper: &str, line: &str, words: &[&str]) {
    let flags = |words: &[&str]| -> Vec<String> {
        words
            .iter()
            .take_while(|word| !matches!(**word, "|" | "&&" | "#" | ">"))
            .filter(|word| word.starts_with("--"))
            .map(|word| word.split('=').next().unwrap_or(word).to_owned())
            .collect()
    };
    if words[0].starts_with('-') {
        assert!(["--help", "--version"].contains(&words[0]), "{paper}: {line}");
        return;
    }
    let help = run(&[words[0], "--help"]);
    assert_eq!(help.code, 0, "{paper}: {line}");
    for flag in flags(words) {
        assert!(help.stdout.contains(&flag), "{paper}: {line}: there is no {flag}");
    }
}

/// The lines of code blocks, and what stands between backticks.
fn code(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line.split(" #").next().unwrap_or(line).to_owned());
        } else {
            lines.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    lines
}

/// An application on two servers that are well, and a route that a command moves, once the file `hold` is gone.
impl Place {
    fn switchable(timeout: &str) -> Place {
        let mut place = Place::new();
        place.config = format!(
            r#"version = 1
state_dir = "{folder}/state"
control_socket = "{folder}/control.sock"

[[services]]
name = "site"
kind = "application"

[[services.servers]]
name = "web1"
role = "primary"
host = "127.0.0.1"

[[services.servers]]
name = "web2"
host = "127.0.0.2"

[[services.checks]]
name = "page1"
server = "web1"
kind = "scripted"
interval = "50ms"
answers = ["up"]

[[services.checks]]
name = "page2"
server = "web2"
kind = "scripted"
interval = "50ms"
answers = ["up"]

[[services.route.command]]
name = "balancer"
command = ["/bin/sh", "-c", "while test -e {folder}/hold; do sleep 0.02; done"]
timeout = "{timeout}"
"#,
            folder = place.folder.path().display(),
        );
        place.write(&place.config);
        place
    }

    fn hold(&self) -> PathBuf {
        self.folder.path().join("hold")
    }

    fn status_of_site(&self) -> Value {
        self.ask(&["status", "--json"]).ends_with(0).json()["services"][0].take()
    }

    fn wait_ready(&self) {
        until("a standby can take over", || (self.status_of_site()["forecast"]["would_fail_over"] == true).then_some(()));
    }

    /// An order that is waited for and goes on, and its lines on stderr.
    fn held_order(&self) -> (Child, impl Iterator<Item = String>) {
        fs::write(self.hold(), "").unwrap();
        let mut command = failover(&["force", "site", "--yes", "--wait", "--socket", self.socket().to_str().unwrap()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        lines.by_ref().find(|line| line.contains("step_started: route_in web2")).expect("the route is moved");
        (child, lines)
    }
}

impl Daemon {
    /// How many clients are served.
    fn clients(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "control-client").count()
    }
}

#[test]
fn an_order_that_is_waited_for_is_one_request() {
    let place = Place::switchable("60s");
    let mut daemon = Daemon::start(&place);
    place.wait_ready();
    let ended = place.ask(&["force", "site", "--yes", "--wait", "--json"]).ends_with(0).json();
    assert_eq!((&ended["service"], &ended["failover"]["generation"]), (&"site".into(), &1.into()), "{ended:#}");
    assert_eq!(ended["failover"]["outcome"], "completed", "{ended:#}");

    let mut daemon_says = UnixStream::connect(place.socket()).unwrap();
    daemon_says.write_all(b"{\"command\":\"force\",\"service\":\"site\",\"wait\":true}\n").unwrap();
    let lines: Vec<Value> =
        BufReader::new(daemon_says).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(lines[0]["result"]["generation"], 2, "{lines:#?}");
    assert!(lines[0]["result"]["left_ms"].is_u64(), "{lines:#?}");
    let kinds: Vec<&str> = lines.iter().filter_map(|line| line["event"]["kind"].as_str()).collect();
    assert!(kinds.contains(&"failover_started") && kinds.last() == Some(&"failover_completed"), "{kinds:?}");
    assert!(kinds.iter().filter(|kind| **kind == "step_finished").count() >= 2, "{kinds:?}");
    let end = &lines.last().unwrap()["result"]["failover"];
    assert_eq!((&end["generation"], &end["to"], &end["outcome"]), (&2.into(), &"web1".into(), &"completed".into()), "{end:#}");

    let begun = place.ask(&["force", "site", "--to", "web2", "--yes", "--json"]).ends_with(0).json();
    assert_eq!(begun["generation"], 3, "{begun}");
    assert!(begun["message"].as_str().unwrap().contains("failover 3 has begun"), "{begun}");
    until("its end", || (place.status_of_site()["failover"]["outcome"] == "completed").then_some(()));
    let ended = place.ask(&["switchover", "site", "--wait", "--json"]).ends_with(0).json();
    assert_eq!((&ended["failover"]["class"], &ended["failover"]["to"]), (&"switchover".into(), &"web1".into()), "{ended:#}");
    place.ask(&["switchover", "site", "--to", "web2", "--wait"]).ends_with(0);
    let refused = place.ask(&["force", "site", "--to", "web2", "--yes", "--wait"]).ends_with(4);
    assert!(refused.stderr.contains("web2 is the primary already"), "{}", refused.stderr);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
}

#[test]
fn who_waits_for_an_order_and_goes_away_holds_nothing() {
    let place = Place::switchable("60s");
    let daemon = Daemon::start(&place);
    place.wait_ready();
    let (mut client, _) = place.held_order();
    assert!(daemon.clients() >= 1);
    client.kill().unwrap();
    client.wait().unwrap();
    until("nobody is served", || (daemon.clients() == 0).then_some(()));
    assert_eq!(place.status_of_site()["failover"]["outcome"], "in_progress");
    fs::remove_file(place.hold()).unwrap();
    until("its end", || (place.status_of_site()["failover"]["outcome"] == "completed").then_some(()));
}

#[test]
fn who_waits_for_an_order_is_told_of_the_daemons_end() {
    let place = Place::switchable("1s");
    let mut daemon = Daemon::start(&place);
    place.wait_ready();
    let (mut client, lines) = place.held_order();
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.end(), 0, "{}", daemon.log());
    let rest: Vec<String> = lines.collect();
    let code = client.wait().unwrap().code();
    assert!(rest.iter().any(|line| line.contains("rolled_back")), "{rest:#?}");
    assert_eq!(code, Some(1), "{rest:#?}");
}
