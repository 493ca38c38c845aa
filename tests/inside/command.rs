//! Child processes as they really behave: slow, loud, deaf, with offspring; and the actions and the check made of them.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::action::command::{PreCheck, Subject, fence, pre_checks, promote};
use crate::check::exec::ExecCheck;
use crate::check::{Check, Context};
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::command::{Command, End, Error, INHERITED, Output};
use crate::wire::resolve::Literals;
use failover_core::observation::{DownCause, Finding, Impairment, UnknownCause, Verdict};
use failover_core::output::FailureKind;
use failover_core::sample::{FenceLevel, RungName};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longer than anything here takes: it ends a hung test.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Short enough to wait for.
const SOON: Duration = Duration::from_millis(300);

fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

fn run(command: &Command, span: Duration) -> Result<Output, Error> {
    command.run(Deadline::after(span), &Cancel::new().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn pid_in(bytes: &[u8]) -> Pid {
    Pid::from_raw(text(bytes).trim().parse().unwrap()).unwrap()
}

/// Gone, or a zombie that whoever inherited it has not taken yet.
fn wait_until_gone(pid: Pid) {
    let until = Deadline::after(WATCHDOG);
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        if test_kill_process(pid) == Err(Errno::SRCH) || stat.contains(") Z ") {
            return;
        }
        assert!(!until.is_over(), "process {pid:?} lives on: {stat}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_command_reports_its_end_and_both_outputs() {
    let output = run(&sh("echo out; echo err >&2; exit 7"), WATCHDOG).unwrap();
    assert_eq!((output.end, text(&output.stdout), text(&output.stderr)), (End::Code(7), "out\n".into(), "err\n".into()));
    assert_eq!((output.line(), output.truncated), ("err".to_owned(), false));
    assert_eq!(run(&sh("kill -9 $$"), WATCHDOG).unwrap().end, End::Signal(9));
    assert_eq!(run(&Command::new(["/bin/true"]), WATCHDOG).unwrap().end, End::Code(0));
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    let output = run(&Command::new(["printf", "%s|", "a b", "$HOME", "`id`", "", "'\";"]), WATCHDOG).unwrap();
    assert_eq!(text(&output.stdout), "a b|$HOME|`id`||'\";|");
}

#[test]
fn standard_input_is_what_was_given_or_empty() {
    assert_eq!(text(&run(&Command::new(["cat"]), WATCHDOG).unwrap().stdout), "");
    let big = vec![b'x'; 1_000_000];
    let output = run(&Command { stdin: big, ..Command::new(["wc", "-c"]) }, WATCHDOG).unwrap();
    assert_eq!(text(&output.stdout).trim(), "1000000");
    // A program that does not read it is not disturbed.
    let ignored = Command { stdin: vec![0; 10_000_000], ..Command::new(["true"]) };
    assert_eq!(run(&ignored, WATCHDOG).unwrap().end, End::Code(0));
}

#[test]
fn the_environment_is_the_documented_one() {
    let output = run(&Command::new(["env"]).env("GIVEN", "1").env("LANG", "C"), WATCHDOG).unwrap();
    let text = text(&output.stdout);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains("PATH") && names.contains("GIVEN"), "{text}");
    assert!(names.iter().all(|name| INHERITED.contains(name) || *name == "GIVEN"), "{text}");
    assert!(text.lines().any(|line| line == "LANG=C"));
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "something was there to be left out");
}

#[test]
fn more_output_than_is_kept_is_read_and_dropped() {
    let command = Command { output_limit: 1_000, ..sh("yes | head -c 20000000; echo err >&2") };
    let output = run(&command, WATCHDOG).unwrap();
    assert_eq!((output.end, output.stdout.len(), output.truncated), (End::Code(0), 1_000, true));
    assert_eq!(text(&output.stderr), "err\n");
}

#[test]
fn endless_output_ends_at_the_deadline() {
    assert!(matches!(run(&Command::new(["yes"]), SOON), Err(Error::Ended { why: Interrupted::TimedOut, gone: true, .. })));
}

#[test]
fn a_grandchild_that_holds_the_pipe_is_not_waited_for() {
    let output = run(&sh("sleep 300 & echo $!"), WATCHDOG).unwrap();
    assert_eq!(output.end, End::Code(0));
    // And it lives on: to start something in the background is allowed.
    let pid = pid_in(&output.stdout);
    assert_eq!(test_kill_process(pid), Ok(()));
    kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn at_the_deadline_the_whole_group_goes_also_those_that_are_deaf() {
    let deaf = sh("trap '' TERM; sleep 300 & echo $!; wait; while :; do sleep 300; done");
    let Err(Error::Ended { why: Interrupted::TimedOut, said, gone: true, .. }) = run(&deaf, SOON) else { panic!() };
    wait_until_gone(pid_in(&said));

    // The child hears it and goes; its own child does not.
    let half = sh("sh -c 'trap \"\" TERM; echo $$; while :; do sleep 300; done' & wait");
    let Err(Error::Ended { said, gone: true, .. }) = run(&half, SOON) else { panic!() };
    wait_until_gone(pid_in(&said));

    // A stopped one hears nothing but SIGKILL.
    let Err(Error::Ended { said, gone: true, .. }) = run(&sh("echo $$; kill -STOP $$"), SOON) else { panic!() };
    wait_until_gone(pid_in(&said));
}

#[test]
fn a_command_may_say_farewell() {
    let polite = sh("trap 'echo farewell; exit 0' TERM; sleep 300 & wait");
    let error = run(&polite, SOON).unwrap_err();
    assert!(error.to_string().contains("deadline") && error.to_string().contains("farewell"), "{error}");
}

#[test]
fn a_cancelled_command_ends() {
    let cancel = Cancel::new().unwrap();
    let other = cancel.clone();
    let waiter = std::thread::spawn(move || Command::new(["sleep", "300"]).run(Deadline::after(WATCHDOG), &other));
    cancel.cancel();
    let outcome = waiter.join().unwrap();
    assert!(
        matches!(
            outcome,
            Err(Error::Ended { why: Interrupted::Cancelled, gone: true, .. }
                | Error::NotBegun { why: Interrupted::Cancelled, .. })
        ),
        "{outcome:?}"
    );
    assert!(matches!(
        Command::new(["true"]).run(Deadline::after(Duration::ZERO), &Cancel::new().unwrap()),
        Err(Error::NotBegun { why: Interrupted::TimedOut, .. })
    ));
}

#[test]
fn what_cannot_be_started_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    for (program, kind) in [
        ("no-such-program-anywhere".to_owned(), std::io::ErrorKind::NotFound),
        ("/no/such/program".to_owned(), std::io::ErrorKind::NotFound),
        (path(&plain), std::io::ErrorKind::PermissionDenied),
        (path(folder.path()), std::io::ErrorKind::PermissionDenied),
    ] {
        let Err(Error::Start { source, .. }) = run(&Command::new([program.as_str()]), WATCHDOG) else { panic!("{program}") };
        assert_eq!(source.kind(), kind, "{program}");
    }
    assert!(matches!(run(&Command::new(Vec::<String>::new()), WATCHDOG), Err(Error::Start { .. })));
    assert!(matches!(run(&Command::new(["echo", "a\0b"]), WATCHDOG), Err(Error::Start { .. })));
}

/// Runs one test of this file again in a process of its own, started with unusual signals by `env`.
fn again_under(option: &str, test: &str) -> bool {
    const MARK: &str = "COMMAND_TEST_AGAIN";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut program = std::process::Command::new("env");
    program.arg(option).arg(std::env::current_exe().unwrap()).env(MARK, "1");
    super::again(&mut program, module_path!(), test);
    let status = program.status().unwrap();
    assert!(status.success(), "under {option}");
    false
}

#[test]
fn a_host_that_ignores_sigchld_gets_the_reason_and_never_a_success() {
    if again_under("--ignore-signal=CHLD", "a_host_that_ignores_sigchld_gets_the_reason_and_never_a_success") {
        for command in [sh("exit 0"), sh("sleep 0.05; exit 0"), sh("exit 3")] {
            let error = run(&command, WATCHDOG).unwrap_err();
            assert!(matches!(error, Error::StatusLost { .. }), "{error}");
            assert!(error.to_string().contains("SIGCHLD"));
        }
        assert!(matches!(run(&Command::new(["/no/such/program"]), WATCHDOG), Err(Error::Start { .. })));
        let failure = fence(&argv("exit 0"), &subject(), Deadline::after(WATCHDOG), &Cancel::new().unwrap()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown, "a lost exit status is no fence");
        assert!(failure.remedy.contains("SIGCHLD"));
        assert!(matches!(run(&Command::new(["sleep", "300"]), SOON), Err(Error::Ended { gone: true, .. })));
    }
}

#[test]
fn a_host_that_blocks_signals_does_not_make_its_commands_deaf() {
    if again_under("--block-signal", "a_host_that_blocks_signals_does_not_make_its_commands_deaf") {
        let output = run(&Command::new(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]), WATCHDOG).unwrap();
        for line in text(&output.stdout).lines() {
            let set = line.split_whitespace().nth(1).and_then(|set| u64::from_str_radix(set, 16).ok());
            // Signals 32 and 33 belong to the C library, which ignores them while it starts a program.
            assert_eq!(set.map(|set| set & !0x1_8000_0000), Some(0), "{line}");
        }
        assert!(matches!(run(&Command::new(["no-such-program-anywhere"]), WATCHDOG), Err(Error::Start { .. })));
    }
}

fn argv(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

fn subject() -> Subject {
    Subject { service: "orders".into(), server: "db1".into(), host: "10.0.0.1".into(), port: 5432, generation: 3 }
}

#[test]
fn a_fence_command_has_the_last_word_on_level_four() {
    let cancel = Cancel::new().unwrap();
    let script = "echo $FAILOVER_SERVICE $FAILOVER_SERVER $FAILOVER_HOST $FAILOVER_PORT $FAILOVER_GENERATION $FAILOVER_STEP \
                  $FAILOVER_IDEMPOTENCY_KEY";
    let report = fence(&argv(script), &subject(), Deadline::after(WATCHDOG), &cancel).unwrap();
    assert_eq!(report.level, FenceLevel::PowerOff);
    assert!(report.proof.contains("orders db1 10.0.0.1 5432 3 fence orders/3/fence/db1"), "{report:?}");
    assert!(report.rungs.len() == 1 && report.rungs[0].ok && report.rungs[0].name == RungName::Command);

    for (script, span, kind, words) in [
        ("echo cannot reach the BMC >&2; exit 1", WATCHDOG, FailureKind::Unknown, "exit code 1: cannot reach the BMC"),
        ("kill -9 $$", WATCHDOG, FailureKind::Unknown, "signal 9"),
        ("sleep 300", SOON, FailureKind::TimedOut, "deadline"),
        ("exit 0", Duration::ZERO, FailureKind::NoEffect, "no time was left"),
    ] {
        let failure = fence(&argv(script), &subject(), Deadline::after(span), &cancel).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(words), "{failure:?}");
    }
    let missing = fence(&["/no/such/fence".to_owned()], &subject(), Deadline::after(WATCHDOG), &cancel).unwrap_err();
    assert_eq!(missing.kind, FailureKind::NoEffect);
    assert!(!missing.remedy.is_empty());
}

#[test]
fn a_promotion_command_and_the_pre_checks_report_what_they_said() {
    let cancel = Cancel::new().unwrap();
    let deadline = Deadline::after(WATCHDOG);
    let said = promote(&argv("echo promoting $FAILOVER_SERVER"), &subject(), deadline, &cancel).unwrap();
    assert!(said.ends_with("promoting db1"), "{said}");

    let check = |name: &str, script: &str, timeout| PreCheck { name: name.into(), argv: argv(script), timeout };
    let good = check("good", "test $FAILOVER_STEP = pre_checks", WATCHDOG);
    assert!(pre_checks(std::slice::from_ref(&good), &subject(), deadline, &cancel).unwrap().contains("1 pre-check"));
    assert!(pre_checks(&[], &subject(), deadline, &cancel).is_ok());
    for bad in [check("bad", "exit 1", WATCHDOG), check("bad", "sleep 300", SOON)] {
        let failure = pre_checks(&[good.clone(), bad], &subject(), deadline, &cancel).unwrap_err();
        assert_eq!(failure.kind, FailureKind::NoEffect);
        assert!(failure.message.contains("pre-check \"bad\""), "{failure:?}");
    }
}

fn check(command: Command, impaired_exit_code: Option<i32>, span: Duration) -> Finding {
    let (cancel, clock) = (Cancel::new().unwrap(), Clock::start());
    let context = Context { deadline: Deadline::after(span), cancel: &cancel, clock: &clock, sample: true, addresses: &Literals };
    ExecCheck { command, impaired_exit_code }.run(&context)
}

#[test]
fn the_exit_code_is_the_checks_answer() {
    for (command, impaired, span, verdict, words) in [
        (sh("echo fine"), None, WATCHDOG, Verdict::Up, "fine"),
        (sh("echo full >&2; exit 2"), None, WATCHDOG, Verdict::Down(DownCause::WrongAnswer), "exit code 2: full"),
        (sh("exit 2"), Some(2), WATCHDOG, Verdict::Impaired(Impairment::QueryRefused), "exit code 2"),
        (sh("exit 1"), Some(2), WATCHDOG, Verdict::Down(DownCause::WrongAnswer), "exit code 1"),
        (sh("kill -9 $$"), None, WATCHDOG, Verdict::Down(DownCause::WrongAnswer), "signal 9"),
        (sh("sleep 300"), None, SOON, Verdict::Down(DownCause::AnswerTimedOut), "deadline"),
        (Command::new(["/no/such/check"]), None, WATCHDOG, Verdict::Unknown(UnknownCause::Internal), "/no/such/check"),
        (sh("exit 1"), None, Duration::ZERO, Verdict::Unknown(UnknownCause::OwnPause), "no time"),
    ] {
        let finding = check(command, impaired, span);
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(finding.message.contains(words), "{finding:?}");
    }
}
