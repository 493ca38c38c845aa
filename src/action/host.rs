//! Everything that is done on the host of a database server: its word, the fence and its proof, `pg_ctl promote`.
//!
//! The work is done by one POSIX shell script, `contrib/failover-host`. It is sent over the kept SSH session, so nothing
//! has to be installed on the host; or it is installed there as the forced command of the engine's key, and then only a
//! verb and its options travel. Why the fence climbs as it does is rules 85 to 87. The verbs of a planned change of places are in
//! `host/server.rs`, those of salvage in `host/log.rs`.

mod copy;
mod log;
mod rejoin;
mod server;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::server_identity::ServerIdentity;
use crate::clock::Clock;
use crate::deadline::{Cancel, Deadline};
use crate::wire::ssh::{ExecOutput, SshError, SshErrorKind, SshHost, command_line, whole_seconds};
use failover_core::finding::FindingCode;
use failover_core::id::Generation;
use failover_core::output::{Failure, FailureKind};
use failover_core::sample::{
    FenceLevel, FenceReport, HostReport, LocalAnswer, LogEnd, Lsn, ProcessState, ReadinessFinding, Rung, RungName, Source,
};
use failover_core::time::Span;

pub(crate) use log::{Log, PIECE, PageCheck, Place, Tail};
#[cfg(test)]
pub(crate) use server::StopOrder;

/// What is sent to `sh -s`.
const SCRIPT: &str = include_str!("../../contrib/failover-host");
/// What the script says first, and by which number it and the engine understand each other.
const GREETING: &str = "failover-host=";
const PROTOCOL: &str = "1";
/// Less free space than this in the data directory is worth a finding.
const LITTLE_SPACE_KIB: u64 = 1024 * 1024;

/// Where a server lives on its host, and how commands may be run there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostParams {
    /// The data directory, absolute, under the name by which the server was started (links are resolved).
    pub data_dir: String,
    /// Where `pg_ctl` and `pg_isready` are; looked for in the usual places where absent.
    pub bin_dir: Option<String>,
    /// The server's port.
    pub port: u16,
    /// The directory of the server's socket; read from `postmaster.pid` where absent.
    pub socket_dir: Option<String>,
    /// The key has a forced command: send only the verb and its options. The data directory is then the one that is
    /// pinned there.
    pub wrapper: bool,
    /// What is put before every command, for example `sudo -n -u postgres`. Not used with `wrapper`.
    pub sudo: Vec<String>,
    /// On that host: how it reaches the other servers. Not used with `wrapper`: the one that is pinned there is.
    pub source_file: Option<String>,
    /// Starts the server by whoever watches over it there; `pg_ctl start` where it is empty. Not used with `wrapper`: the one
    /// that is pinned there is.
    pub start_command: Vec<String>,
}

impl HostParams {
    /// The data directory in a sentence. The one that the wrapper is pinned to is not known here.
    fn named_data_dir(&self) -> &str {
        if self.wrapper || self.data_dir.is_empty() { "the data directory" } else { &self.data_dir }
    }
}

/// What a host had to say in quiet times.
#[derive(Clone, Debug)]
pub(crate) struct HostReadiness {
    /// What the processes of the data directory are doing.
    pub report: HostReport,
    /// Which server that is; `None` where none runs there.
    pub shown: Option<ServerIdentity>,
    /// Each thing that would hurt at failover time.
    pub findings: Vec<ReadinessFinding>,
    /// How it reaches the other servers; `None`: its script is older and does not say.
    pub sources: Option<Vec<Source>>,
}

/// Acts on one host.
#[derive(Debug)]
pub(crate) struct HostControl {
    ssh: Arc<SshHost>,
    params: HostParams,
    clock: Clock,
}

impl HostControl {
    /// Connects to nothing yet.
    #[must_use]
    pub(crate) fn new(ssh: Arc<SshHost>, params: HostParams, clock: Clock) -> HostControl {
        HostControl { ssh, params, clock }
    }

    /// What the host says about the server's processes; with `ask_local` also what `pg_isready` gets there (up to 1 s more).
    /// Changes nothing.
    ///
    /// A postmaster that is not [`ProcessState::Gone`] together with attachments to its shared memory confirms the host's
    /// view (`view_confirmed` of [`HostControl::fence`]): its processes and its segment show here.
    ///
    /// # Errors
    /// When the host could not be asked, answered nonsense, or cannot see the server's processes. Never has an effect.
    pub(crate) fn report(&self, ask_local: bool, deadline: Deadline, cancel: &Cancel) -> Result<HostReport, Failure> {
        self.report_and_end(ask_local, deadline, cancel).map(|(report, _)| report)
    }

    /// The same, and where the log ends of a server that was stopped in an orderly way, or has only to wait for its archiver or a
    /// walsender; `None` where one runs, where it ended otherwise, or where `pg_controldata` is not installed.
    ///
    /// # Errors
    /// As [`HostControl::as_str`].
    pub(crate) fn report_and_end(
        &self,
        ask_local: bool,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(HostReport, Option<LogEnd>), Failure> {
        let asked = self.clock.now();
        let options: &[&str] = if ask_local { &["--ask-local"] } else { &[] };
        let answer = self.ask("word", options, deadline, cancel)?;
        let report = answer.report(asked)?;
        // Behind its last checkpoint a server that is shutting down writes no more, whatever it still waits for.
        let gone = report.postmaster == ProcessState::Gone && report.others == 0;
        let end = answer.log_end().filter(|_| gone || answer.value("stopping") == "1");
        Ok((report, end))
    }

    /// Climbs the fence ladder of rule 87 and proves its end.
    ///
    /// `hung` skips the requests to stop, which a frozen process cannot hear; they are skipped too where any process is
    /// seen to be stopped. They get at most 2 s (fast) and 1 s (immediate), and at most a third and a sixth of what is
    /// left of the deadline. `view_confirmed`: the host once showed this server's processes, so that seeing none of
    /// them is a proof; without it only a process that this fence ended itself, or the server's own shared memory
    /// segment, confirms the view.
    ///
    /// The answer's level is [`FenceLevel::ProvenStopped`] or [`FenceLevel::None`]: the ladder has nothing in between.
    /// Done again it finds its work done. With `require` below level 2 nothing is done. The guard is `generation`'s from then on,
    /// unless a later failover placed it.
    ///
    /// # Errors
    /// When the ladder was not climbed ([`FailureKind::NoEffect`]), or when it is not known how far.
    pub(crate) fn fence(
        &self,
        generation: Generation,
        require: FenceLevel,
        hung: bool,
        view_confirmed: bool,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<FenceReport, Failure> {
        if require < FenceLevel::NoAcknowledgement {
            let proof = "nothing was asked of the host".to_owned();
            return Ok(FenceReport { level: FenceLevel::None, guard_placed: false, rungs: Vec::new(), proof, end: None });
        }
        let left = deadline.remaining();
        let millis = |most: u64, part: u32| (left / part).min(Duration::from_millis(most)).as_millis().to_string();
        let (fast, immediate, kill) = (millis(2000, 3), millis(1000, 6), millis(3000, 3));
        let number = generation.to_string();
        let mut options = vec!["--generation", &number, "--fast-ms", &fast, "--immediate-ms", &immediate, "--kill-ms", &kill];
        if hung {
            options.push("--hung");
        }
        self.ask("fence", &options, deadline, cancel)?.fence(view_confirmed)
    }

    /// The proof alone: whether every process of the data directory is certainly gone. Changes nothing.
    ///
    /// # Errors
    /// When the host could not be asked or answered nonsense. Never has an effect.
    pub(crate) fn prove(&self, view_confirmed: bool, deadline: Deadline, cancel: &Cancel) -> Result<FenceReport, Failure> {
        self.ask("prove", &[], deadline, cancel)?.fence(view_confirmed)
    }

    /// The compensation of [`HostControl::fence`]: removes `standby.signal` if the fence placed it, and lets a postmaster
    /// run on that the fence had frozen. Says what it did. What a failover later than `generation` left is not touched.
    ///
    /// # Errors
    /// When it was not undone ([`FailureKind::NoEffect`]), or it is not known.
    pub(crate) fn undo(&self, generation: Generation, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let answer = self.ask("undo", &["--generation", &generation.to_string()], deadline, cancel)?;
        let mut said = match answer.value("undone") {
            "nothing" => return Ok("no fence had been begun here".to_owned()),
            "later" => {
                let later: u64 = answer.number("generation")?;
                return Ok(format!(
                    "the later failover {later} has fenced this server: its standby.signal stays, and nothing is changed"
                ));
            }
            "removed" => "standby.signal removed".to_owned(),
            "kept" => "standby.signal was there before the fence, and stays".to_owned(),
            other => return Err(nonsense(&format!("undone={other}"))),
        };
        if answer.value("resumed") == "1" {
            said.push_str("; the frozen postmaster runs on");
        }
        if answer.value("postmaster") == "gone" {
            said.push_str("; the server is not running");
        }
        Ok(said)
    }

    /// `pg_ctl promote` without waiting: success means that the server was told, not that it is a primary (rule 38).
    ///
    /// # Errors
    /// When `pg_ctl` refused ([`FailureKind::NoEffect`]), or it is not known.
    pub(crate) fn promote(&self, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let answer = self.ask("promote", &[], deadline, cancel)?;
        let said = answer.all("answer").collect::<Vec<_>>().join("; ");
        match answer.value("code") {
            "0" => Ok("pg_ctl promote: the server was told".to_owned()),
            code if code.parse::<u8>().is_ok() => Err(Failure::no_effect(
                format!("{}: pg_ctl promote ended with {code}: {said}", self.ssh.at()),
                "make sure that the server is a running standby",
            )),
            code => Err(nonsense(&format!("code={code}"))),
        }
    }

    /// The host's word, and everything that would hurt at failover time. Changes nothing.
    ///
    /// # Errors
    /// When the host could not be asked, answered nonsense, or cannot see the server's processes. Never has an effect.
    pub(crate) fn readiness(&self, deadline: Deadline, cancel: &Cancel) -> Result<HostReadiness, Failure> {
        let asked = self.clock.now();
        let answer = self.ask("ready", &[], deadline, cancel)?;
        let report = answer.report(asked)?;
        let shown = answer.identity(report.postmaster != ProcessState::Gone);
        let findings = answer.findings(self.params.named_data_dir(), self.params.wrapper);
        Ok(HostReadiness { report, shown, findings, sources: answer.sources() })
    }

    fn ask(&self, verb: &str, options: &[&str], deadline: Deadline, cancel: &Cancel) -> Result<Answer, Failure> {
        self.exchange(verb, options, Exchange::default(), deadline, cancel)
    }

    /// One request, with bytes that go along or come back.
    fn exchange(
        &self,
        verb: &str,
        options: &[&str],
        bytes: Exchange<'_>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Answer, Failure> {
        let changes = matches!(
            verb,
            "fence" | "undo" | "promote" | "stop" | "start" | "keep" | "rewind" | "rewind-status" | "follow" | "copy" | "swap"
        );
        let mut hearing = Hearing::new(bytes.wanted);
        let mut heard = |piece: &[u8]| hearing.hear(piece);
        let done = if self.params.wrapper {
            let limit = whole_seconds(deadline).to_string();
            let argv = [&[verb], options, &["--limit", &limit]].concat();
            self.ssh.exec_forced(&argv, bytes.sent.unwrap_or_default(), deadline, cancel, &mut heard)
        } else {
            let argv = self.sent_command(verb, options, bytes.sent.is_some())?;
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            let before: Vec<&str> = self.params.sudo.iter().map(String::as_str).collect();
            let stdin = [SCRIPT.as_bytes(), bytes.sent.unwrap_or_default()].concat();
            self.ssh.exec_behind(&before, &argv, &stdin, deadline, cancel, &mut heard)
        };
        match done {
            Ok(output) => self.understand(hearing, &output, changes),
            Err(error) => Err(failure(error, changes, &hearing)),
        }
    }

    /// The command that runs the script which comes by its standard input. A shell may read ahead there, so where bytes follow the
    /// script, `head` takes it off before.
    fn sent_command(&self, verb: &str, options: &[&str], bytes_follow: bool) -> Result<Vec<String>, Failure> {
        let mut argv: Vec<String> = if bytes_follow {
            let take = format!("eval \"$(head -c {})\"", SCRIPT.len());
            vec!["sh".to_owned(), "-c".to_owned(), take, "failover-host".to_owned()]
        } else {
            ["sh", "-s", "--"].map(str::to_owned).to_vec()
        };
        let mut pin = |name: &str, value: &str| argv.extend([name.to_owned(), value.to_owned()]);
        pin("--data-dir", &self.params.data_dir);
        if let Some(bin_dir) = &self.params.bin_dir {
            pin("--bin-dir", bin_dir);
        }
        if self.params.port != 0 {
            pin("--port", &self.params.port.to_string());
        }
        if let Some(socket_dir) = &self.params.socket_dir {
            pin("--socket-dir", socket_dir);
        }
        if let Some(source_file) = &self.params.source_file {
            pin("--source-file", source_file);
        }
        let start_command = self.start_command()?;
        if verb == "start" && !start_command.is_empty() {
            pin("--start-command", &start_command);
        }
        argv.push(verb.to_owned());
        argv.extend(options.iter().map(|option| (*option).to_owned()));
        Ok(argv)
    }

    /// The supervisor's command as one line for a shell.
    fn start_command(&self) -> Result<String, Failure> {
        let words: Vec<&str> = self.params.start_command.iter().map(String::as_str).collect();
        command_line(&words)
            .ok_or_else(|| Failure::no_effect("a word of ssh.start_command holds a NUL", "correct ssh.start_command"))
    }

    fn understand(&self, hearing: Hearing, output: &ExecOutput, changes: bool) -> Result<Answer, Failure> {
        let at = self.ssh.at();
        let fail = |had_effect: bool, message: String, remedy: &str| {
            Err(if had_effect { Failure::unknown(message, remedy) } else { Failure::no_effect(message, remedy) })
        };
        if let Some(other) = hearing.other_protocol.as_ref().filter(|_| !hearing.greeted) {
            let message =
                format!("{at}: the failover-host that is installed there speaks protocol {other}, and this engine {PROTOCOL}");
            let remedy = "install the failover-host of this version, or run the engine of that one";
            // What it did with the request is not known.
            return Err(if changes { Failure::unknown(message, remedy) } else { Failure::refused(message, remedy) });
        }
        if !hearing.greeted {
            let said = last_words(&output.stderr).or_else(|| last_words(&output.stdout));
            let said = said.map_or_else(|| "nothing".to_owned(), |words| format!("\"{words}\""));
            let message = format!("{at} did not answer as failover-host does, but said {said} ({})", ending(output));
            return fail(
                false,
                message,
                "the account needs a POSIX shell and timeout(1); with a forced command set wrapper = true",
            );
        }
        hearing.answer.known_rungs()?;
        if let Some((code, told)) = hearing.answer.error() {
            // A guard that could not be placed was taken back.
            let had_effect = changes && !hearing.answer.rungs.is_empty() && code != "no_guard";
            let remedy = remedy(&code, self.params.wrapper);
            if !had_effect && is_for_good(&code) {
                return Err(Failure::refused(format!("{at}: {told}"), remedy));
            }
            return fail(had_effect, format!("{at}: {told}"), remedy);
        }
        if !hearing.complete {
            let message = format!("{at}: the answer ends too early ({}){}", ending(output), hearing.answer.progress());
            return fail(changes, message, "see the host's own log");
        }
        Ok(hearing.answer)
    }
}

/// Bytes of a request beside its words.
#[derive(Clone, Copy, Default)]
struct Exchange<'a> {
    /// They go along.
    sent: Option<&'a [u8]>,
    /// So many come back.
    wanted: usize,
}

/// How a command ended, in words.
fn ending(output: &ExecOutput) -> String {
    match (output.code, &output.signal) {
        (_, Some(signal)) => format!("ended by SIG{signal}"),
        (Some(124 | 137), None) => "ended by timeout(1)".to_owned(),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "no exit code".to_owned(),
    }
}

/// The last line that has something readable, cut short: a login script may greet before what matters.
fn last_words(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(readable(line, 160))
}

fn readable(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

/// The version of our own script.
fn own_version() -> u32 {
    let told = SCRIPT.lines().find_map(|line| line.strip_prefix("own_version="));
    told.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Of an installed script of another version: what it cannot do, before that is needed.
fn version_finding(told: &str, speaks: &str) -> Option<ReadinessFinding> {
    let own = own_version();
    // Release 0.1 did not say.
    let version = if told.is_empty() { 1 } else { told.parse().unwrap_or(0) };
    let (code, how, remedy) = match version.cmp(&own) {
        Ordering::Less => (FindingCode::HostScriptOutdated, "older", "install the failover-host of this version"),
        Ordering::Greater => (
            FindingCode::HostScriptNewer,
            "later",
            "run the engine of that version too, or install the failover-host of this one",
        ),
        Ordering::Equal => return None,
    };
    let fences = speaks.split(' ').any(|what| what == "generation");
    let then = if fences { "what it does not know it refuses" } else { "it would refuse to fence this server" };
    let message =
        format!("the failover-host that is installed there is of version {version}, {how} than this engine's, {own}: {then}");
    Some(code.found(!fences, message, remedy))
}

/// The host's answer to the same request would be the same: what is missing there, a person has to put right.
fn is_for_good(code: &str) -> bool {
    matches!(
        code,
        "refused"
            | "bad_request"
            | "no_data_dir"
            | "not_a_data_dir"
            | "bad_data_dir"
            | "not_owner"
            | "closed_data_dir"
            | "later"
            | "guarded"
            | "root_start"
            | "hidden"
            | "no_pg_ctl"
            | "no_pg_controldata"
            | "no_pg_waldump"
            | "other_cluster"
            | "no_segment"
            | "no_position"
            | "no_standby"
            | "no_source"
            | "unsafe_source"
            | "inline_password"
            | "rewound"
            | "recovering"
            | "no_pg_rewind"
            | "no_pg_basebackup"
            | "not_empty"
            | "tablespaces"
            | "wal_link"
            | "mount_point"
            | "parent_closed"
            | "copy_elsewhere"
            | "copying"
            | "no_copy"
            | "other_version"
            | "blind"
    )
}

fn remedy(code: &str, wrapper: bool) -> &'static str {
    match code {
        "refused" if !wrapper => "the key has a forced command: set wrapper = true for this server",
        "refused" => "see the forced command in authorized_keys (--allow)",
        "bad_request" if wrapper => "install the failover-host of this version",
        "no_data_dir" | "not_a_data_dir" | "bad_data_dir" => {
            "set data_dir (with the wrapper: --data-dir in authorized_keys) to what SHOW data_directory says on this server"
        }
        "not_owner" | "closed_data_dir" => "log in as the owner of the data directory (usually postgres), or use sudo",
        "runs" => "stop it first, or leave it running",
        "later" => "the engine of the later failover decides what happens to this server",
        "guarded" => "remove standby.signal from the data directory: a running primary needs none",
        "no_guard" => "check that the file system of the data directory is writable",
        "no_signal" | "root_start" | "no_size" => "log in as the account that runs the server",
        "hidden" => HIDDEN,
        "no_history" => "ask a server that has been on this timeline",
        "alive" => "stop it, or fence it again",
        "other_cluster" => "correct host and data_dir of this server",
        "no_standby" => "correct host and data_dir of this server: it is to be a standby",
        "no_source" | "unsafe_source" | "inline_password" => {
            "write the file with the sources on that host, for its account alone (docs/REJOIN.md)"
        }
        "rewound" => "rebuild it as a new standby (failover rejoin --rebuild, docs/REJOIN.md)",
        "recovering" => "remove recovery.signal from its data directory",
        "rewinding" => {
            "wait for it: failover rejoin says how far it is; one that was broken off is put right by failover rejoin --rebuild"
        }
        "copy_full" => "free some space beside the data directory",
        "copy_failed" | "copying" | "no_copy" => "look at DIR.failover-copy and DIR.failover-old beside the data directory",
        "keep_full" => "free some space beside the data directory of the old primary",
        "keep_failed" | "not_kept" => "look at DIR.failover-keep beside the data directory of the old primary",
        "follow_failed" => "look at postgresql.auto.conf in its data directory",
        "spool_full" => "free some space on the standby's disk",
        "spool_failed" | "no_base" => "look at failover-spool and pg_wal in the standby's data directory",
        "unreadable" | "no_segment" | "no_position" => "look at pg_wal in the data directory of the old primary, and at its disk",
        "no_pg_ctl" | "no_pg_controldata" | "no_pg_waldump" | "no_pg_rewind" | "no_pg_basebackup" => {
            "set bin_dir to what pg_config --bindir says on this host"
        }
        "blind" => "install findutils (GNU find) and mount /proc without hidepid for this account",
        _ => "",
    }
}

const HIDDEN: &str =
    "log in as the account that runs the server, and set data_dir to the name by which it was started (SHOW data_directory)";

/// An SSH error as an outcome: what was never sent, or changes nothing, has had no effect.
fn failure(error: SshError, changes: bool, hearing: &Hearing) -> Failure {
    let had_no_effect = !error.sent || !changes;
    let kind = match error.kind {
        SshErrorKind::KnownHosts
        | SshErrorKind::HostKeyUnknown
        | SshErrorKind::HostKeyMismatch
        | SshErrorKind::HostKeyRevoked
        | SshErrorKind::Authentication
        | SshErrorKind::BadArgument
            if had_no_effect =>
        {
            FailureKind::Refused
        }
        _ if had_no_effect => FailureKind::NoEffect,
        SshErrorKind::TimedOut => FailureKind::TimedOut,
        SshErrorKind::Cancelled => FailureKind::Cancelled,
        _ => FailureKind::Unknown,
    };
    Failure { kind, message: format!("{error}{}", hearing.answer.progress()), remedy: error.remedy }
}

fn nonsense(what: &str) -> Failure {
    let what: String = what.chars().filter(|c| !c.is_control()).take(120).collect();
    Failure::unknown(
        format!("failover-host gave an answer that makes no sense: {what}"),
        "install the failover-host of this version",
    )
}

/// Takes the script's lines as they come, so that each rung of the ladder has its own time.
struct Hearing {
    greeted: bool,
    /// It greeted by another number.
    other_protocol: Option<String>,
    complete: bool,
    answer: Answer,
    line: Vec<u8>,
    since: Instant,
    /// So many bytes are expected behind the line that announces them, and so many of them are still to come.
    wanted: usize,
    raw_left: usize,
}

/// What the script said.
#[derive(Default)]
struct Answer {
    values: BTreeMap<String, Vec<String>>,
    rungs: Vec<Rung>,
    /// A rung that this version does not know: what the script did there is not known either.
    unknown_rung: Option<String>,
    /// Bytes that came between the lines.
    raw: Vec<u8>,
}

/// Longer lines and answers are cut: the script writes neither.
const LONGEST_LINE: usize = 8 * 1024;
const MOST_VALUES: usize = 1024;

/// What a host says, in pieces as they come: everything that is made of it.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(said: &[u8]) {
    let mut hearing = Hearing::new(20);
    said.chunks(7).for_each(|piece| hearing.hear(piece));
    assert!(hearing.answer.rungs.len() <= MOST_VALUES + 1);
    let answer = hearing.answer;
    let _ = answer.error();
    let _ = answer.progress();
    let _ = answer.log_end();
    let _ = answer.findings("/nowhere", false);
    let _ = answer.tail(Lsn(1 << 25));
    let _ = answer.control();
    let _ = answer.stopped();
    let _ = answer.size_of_copy();
    let _ = answer.found_copy();
    let _ = answer.swapped();
    let _ = answer.behind(Lsn(1 << 25));
    let _ = answer.history();
    let _ = answer.stop_order();
    let _ = answer.started("a host", false);
    let _ = answer.report(failover_core::time::Mono::default());
    let _ = answer.fence(false);
}

impl Hearing {
    fn new(wanted: usize) -> Hearing {
        Hearing {
            greeted: false,
            other_protocol: None,
            complete: false,
            answer: Answer::default(),
            line: Vec::new(),
            since: Instant::now(),
            wanted,
            raw_left: 0,
        }
    }

    fn hear(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            if self.raw_left > 0 {
                let (raw, rest) = piece.split_at(self.raw_left.min(piece.len()));
                self.answer.raw.extend_from_slice(raw);
                self.raw_left -= raw.len();
                piece = rest;
                continue;
            }
            piece = rest;
            if byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            self.take(String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    }

    fn take(&mut self, line: &str) {
        // A login script may chat before; nothing may follow the end.
        if !self.greeted || self.complete {
            // What chatted did not have to end its line.
            match line.find(GREETING).map(|at| &line[at + GREETING.len()..]) {
                Some(PROTOCOL) => {
                    self.greeted = true;
                    self.since = Instant::now();
                }
                Some(other) if !self.greeted => self.other_protocol = Some(readable(other, 20)),
                _ => {}
            }
            return;
        }
        let Some((key, value)) = line.split_once('=') else { return };
        match key {
            "end" => self.complete = value == "ok",
            // Only what was asked for, and once.
            "bytes" if self.wanted > 0 && value.parse() == Ok(self.wanted) => {
                self.raw_left = std::mem::take(&mut self.wanted);
                self.answer.raw.reserve_exact(self.raw_left);
            }
            "rung" => {
                let mut words = value.splitn(3, ' ');
                let (Some(name), Some(how)) = (words.next(), words.next()) else { return };
                let Ok(name) = name.parse::<RungName>() else {
                    self.answer.unknown_rung.get_or_insert_with(|| name.to_owned());
                    return;
                };
                let took = Span::from(std::mem::replace(&mut self.since, Instant::now()).elapsed());
                let note = words.next().unwrap_or_default().to_owned();
                if self.answer.rungs.len() < MOST_VALUES {
                    self.answer.rungs.push(Rung { name, ok: how == "ok", took, note });
                }
            }
            _ if self.answer.values.len() < MOST_VALUES => {
                let values = self.answer.values.entry(key.to_owned()).or_default();
                // A history has a line for each timeline before; everything else is said once or a few times.
                if values.len() < if key == "history" { MOST_VALUES } else { 16 } {
                    values.push(value.to_owned());
                }
                if key == "proof" && self.answer.rungs.len() < MOST_VALUES {
                    let took = Span::from(std::mem::replace(&mut self.since, Instant::now()).elapsed());
                    self.answer.rungs.push(Rung { name: RungName::Proof, ok: value == "ok", took, note: String::new() });
                }
            }
            _ => {}
        }
    }
}

/// Takes one finding: its code, whether it stands in the way, message and remedy.
type Find<'a> = dyn FnMut(FindingCode, bool, String, &str) + 'a;

impl Answer {
    fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.values.get(key).into_iter().flatten().map(String::as_str)
    }

    /// The first value of a key, or nothing.
    fn value(&self, key: &str) -> &str {
        self.all(key).next().unwrap_or_default()
    }

    fn known_rungs(&self) -> Result<(), Failure> {
        self.unknown_rung.as_ref().map_or(Ok(()), |word| Err(nonsense(&format!("rung={word}"))))
    }

    fn error(&self) -> Option<(String, String)> {
        let error = self.all("error").next()?;
        let (code, told) = error.split_once(' ').unwrap_or((error, ""));
        Some((code.to_owned(), told.to_owned()))
    }

    /// How far a ladder got, for an error's message.
    fn progress(&self) -> String {
        match self.rungs.last() {
            Some(rung) => format!("; the last rung was {} ({})", rung.name, if rung.ok { "ok" } else { "failed" }),
            None => String::new(),
        }
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, Failure> {
        let text = self.value(key);
        text.parse().map_err(|_| nonsense(&format!("{key}={text}")))
    }

    fn report(&self, asked: failover_core::time::Mono) -> Result<HostReport, Failure> {
        let hidden = self.value("hidden");
        if !hidden.is_empty() {
            return Err(Failure::no_effect(
                format!(
                    "postmaster.pid names the live process {hidden}, but its working directory does not show as the data directory"
                ),
                HIDDEN,
            ));
        }
        let postmaster = match self.value("postmaster") {
            "running" => ProcessState::Running,
            "stopped" => ProcessState::Stopped,
            "uninterruptible" => ProcessState::Uninterruptible,
            "gone" => ProcessState::Gone,
            other => return Err(nonsense(&format!("postmaster={other}"))),
        };
        let (others, stopped) = (self.number("others")?, self.number("stopped")?);
        let local_answer = match self.value("local") {
            "accepting" => LocalAnswer::Accepting,
            "rejecting" => LocalAnswer::Rejecting,
            "silent" => LocalAnswer::Silent,
            _ => LocalAnswer::NotAsked,
        };
        let shm_attached = match self.value("shm") {
            // Processes that live, and no segment: it is in another namespace, so nothing is known about it.
            "gone" if postmaster != ProcessState::Gone || others > 0 => None,
            "gone" => Some(0),
            number => number.parse().ok(),
        };
        let mut parts = vec![match (postmaster, self.value("pid")) {
            (ProcessState::Gone, _) if self.value("pidfile") == "absent" => {
                "no postmaster.pid: the server has removed it itself, as it does when somebody stops it".to_owned()
            }
            (ProcessState::Gone, pid) => format!("the postmaster {pid} is gone"),
            (ProcessState::Running, pid) => format!("the postmaster {pid} runs"),
            (ProcessState::Stopped, pid) => format!("the postmaster {pid} is stopped (state T)"),
            (ProcessState::Uninterruptible, pid) => format!("the postmaster {pid} is in an uninterruptible wait (state D)"),
        }];
        parts.push(format!("{others} other processes"));
        if stopped > 0 {
            parts.push(format!("{stopped} stopped"));
        }
        if let Some(attached) = shm_attached {
            parts.push(format!("{attached} attached to the shared memory"));
        }
        match local_answer {
            LocalAnswer::NotAsked => {}
            LocalAnswer::Accepting => parts.push("pg_isready: accepting".to_owned()),
            LocalAnswer::Rejecting => parts.push("pg_isready: rejecting".to_owned()),
            LocalAnswer::Silent => parts.push("pg_isready: no answer".to_owned()),
        }
        let holds: Vec<String> = self.value("holds").split_whitespace().take(8).map(|word| readable(word, 40)).collect();
        if self.value("stopping") == "1" {
            let what = if holds.is_empty() { "something".to_owned() } else { holds.join(" and ") };
            parts.push(format!("it is shutting down and waits for {what}"));
        }
        let message = parts.join(", ");
        let stopped_by_order = postmaster == ProcessState::Gone && self.value("pidfile") == "absent";
        Ok(HostReport { asked, postmaster, others, stopped, shm_attached, local_answer, stopped_by_order, holds, message })
    }

    /// The checkpoint of an orderly shutdown: position and timeline.
    fn log_end(&self) -> Option<LogEnd> {
        let (at, timeline) = self.value("shut_down").split_once(' ')?;
        Some(LogEnd { at: Lsn::parse(at)?, timeline: timeline.parse().ok()? })
    }

    fn identity(&self, runs: bool) -> Option<ServerIdentity> {
        // In a container of its own a process has another number than the server knows.
        let checkpointer = if self.value("contained").is_empty() { self.value("checkpointer").parse().ok() } else { None };
        runs.then(|| ServerIdentity {
            system_id: self.value("system_id").parse().ok(),
            port: self.value("port").parse().ok(),
            checkpointer,
        })
    }

    fn sources(&self) -> Option<Vec<Source>> {
        let of = |line: &str| {
            let (server, trouble) = line.split_once(' ').unwrap_or((line, ""));
            let trouble = Some(readable(trouble, 300)).filter(|trouble| !trouble.is_empty());
            Source { server: if server == "-" { String::new() } else { readable(server, 200) }, trouble }
        };
        (self.value("sources") == "told").then(|| self.all("source").map(of).collect())
    }

    fn fence(mut self, view_confirmed: bool) -> Result<FenceReport, Failure> {
        let clear = match self.value("proof") {
            "ok" => true,
            "failed" => false,
            other => return Err(nonsense(&format!("proof={other}"))),
        };
        let view = match self.value("view") {
            "seen" => Some("its postmaster was seen here"),
            "killed" => Some("its processes were ended here"),
            "segment" => Some("its shared memory was made here"),
            _ if view_confirmed => Some("it was seen here while it lived"),
            _ => None,
        };
        let shm = match self.value("shm") {
            "0" => "its shared memory has no attachments",
            "gone" => "its shared memory is gone",
            _ => "no postmaster.pid is left",
        };
        let (level, proof) = match (clear, view) {
            (true, Some(view)) => {
                (FenceLevel::ProvenStopped, format!("no process has the data directory as its working directory, {shm}; {view}"))
            }
            (true, None) => (
                FenceLevel::None,
                "not proven: no process is seen, but this server's processes were never seen on this host (a container or another host?)"
                    .to_owned(),
            ),
            (false, _) => (FenceLevel::None, format!("not proven: {}", self.value("reason"))),
        };
        let guard_placed = self.value("guard") == "placed";
        if let Some(last) = self.rungs.iter_mut().rfind(|rung| rung.name == RungName::Proof) {
            last.ok = level == FenceLevel::ProvenStopped;
            last.note.clone_from(&proof);
        }
        let end = self.log_end().filter(|_| level == FenceLevel::ProvenStopped);
        Ok(FenceReport { level, guard_placed, rungs: self.rungs, proof, end })
    }

    /// `wrapper`: the script is installed there, and its own line says where the programs are.
    fn findings(&self, data_dir: &str, wrapper: bool) -> Vec<ReadinessFinding> {
        let mut findings: Vec<ReadinessFinding> =
            version_finding(self.value("version"), self.value("speaks")).into_iter().collect();
        let mut find = |code: FindingCode, blocking: bool, message: String, remedy: &str| {
            findings.push(code.found(blocking, message, remedy));
        };
        let postmaster_seen = self.value("postmaster") != "gone";
        self.rights(postmaster_seen, &mut find);
        self.programs(wrapper, &mut find);
        if self.value("uid") == "0" {
            find(
                FindingCode::HostRootLogin,
                false,
                "the login is root's: more rights than needed, and pg_ctl refuses to promote as root".to_owned(),
                "log in as the owner of the data directory (usually postgres)",
            );
        }
        self.data_directory(data_dir, postmaster_seen, &mut find);
        findings
    }

    /// What the account of the login may not do.
    fn rights(&self, postmaster_seen: bool, find: &mut Find<'_>) {
        if postmaster_seen && self.value("signal") == "0" {
            find(
                FindingCode::HostCannotSignal,
                true,
                "this account may not signal the server's processes, so the engine could not fence the server".to_owned(),
                "log in as the account that runs the server, or let sudo run the commands as that account",
            );
        }
        if postmaster_seen && self.value("shm").parse::<u32>().is_err() {
            find(
                FindingCode::HostSegmentHidden,
                true,
                "the server's System V segment does not show here (another IPC namespace?): its end could not be proven"
                    .to_owned(),
                "log in on the host or container in which the server runs",
            );
        }
        if self.value("writable") != "1" {
            find(
                FindingCode::HostDataDirNotWritable,
                false,
                "standby.signal could not be placed: a restart of the fenced server would make a second primary".to_owned(),
                "log in as the owner of the data directory, and check that its file system is writable",
            );
        }
    }

    /// What the engine calls on this host and is not there.
    fn programs(&self, wrapper: bool, find: &mut Find<'_>) {
        let place = if wrapper {
            "write --bin-dir and what pg_config --bindir says on this host behind failover-host in its authorized_keys"
        } else {
            "set bin_dir to what pg_config --bindir says on this host"
        };
        if self.value("pg_ctl").is_empty() {
            find(FindingCode::HostPgCtlMissing, false, "pg_ctl was not found: promotion by pg_ctl would fail".to_owned(), place);
        }
        if self.value("pg_isready").is_empty() {
            find(
                FindingCode::HostPgIsreadyMissing,
                false,
                "pg_isready was not found: the host cannot say whether the server answers locally".to_owned(),
                &format!("{place}, or install the client programs of PostgreSQL"),
            );
        }
        // A script before version 3 does not say.
        if self.all("pg_waldump").next() == Some("") {
            find(
                FindingCode::HostPgWaldumpMissing,
                false,
                "pg_waldump was not found: where the log of this server ends could not be told after its death".to_owned(),
                &format!("{place}, or install the server's programs there"),
            );
        }
        if self.value("timeout").is_empty() {
            find(
                FindingCode::HostTimeoutMissing,
                false,
                "timeout(1) was not found: a command that hangs on this host is not ended there".to_owned(),
                "install coreutils",
            );
        }
    }

    /// What lies in the data directory, and how much room there is.
    fn data_directory(&self, data_dir: &str, postmaster_seen: bool, find: &mut Find<'_>) {
        if let Ok(free) = self.value("free_kib").parse::<u64>()
            && let size = self.value("size_kib").parse::<u64>().unwrap_or(0)
            && (free < LITTLE_SPACE_KIB || free < size / 10)
        {
            let part = free.saturating_mul(100).checked_div(size).map_or_else(String::new, |part| format!(" ({part} %)"));
            find(
                FindingCode::HostDiskNearlyFull,
                false,
                format!("only {} MiB{part} are free in {data_dir}: a server that runs full stops", free / 1024),
                "free some space, or look for a replication slot that holds WAL back",
            );
        }
        if self.value("recovery_signal") == "1" {
            find(
                FindingCode::HostRecoverySignal,
                false,
                "recovery.signal is present: the server would leave recovery by itself".to_owned(),
                "a standby needs standby.signal instead",
            );
        }
        if self.value("marker") == "1" && postmaster_seen {
            find(
                FindingCode::HostFenceMarker,
                false,
                format!("{data_dir}/failover.fenced was left by an earlier fence of this server"),
                "once the server is a standby of the new primary again, remove that file (and keep standby.signal)",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use failover_core::time::Mono;

    /// An answer with these lines, from its greeting to its end.
    pub(super) fn answered(lines: &str) -> Answer {
        heard(&format!("failover-host=1\n{lines}end=ok\n"))
    }

    fn heard(text: &str) -> Answer {
        let mut hearing = Hearing::new(0);
        // In small pieces, as a network may bring it.
        for piece in text.as_bytes().chunks(7) {
            hearing.hear(piece);
        }
        assert!(hearing.greeted && hearing.complete, "{text}");
        hearing.answer
    }

    #[test]
    fn a_disk_is_nearly_full_by_size_or_by_part() {
        let told = |free: &str, size: &str| {
            let text = format!("failover-host=1\nfree_kib={free}\n{size}end=ok\n");
            let found = heard(&text).findings("/data", false);
            found.into_iter().find(|finding| finding.code == FindingCode::HostDiskNearlyFull).map(|finding| finding.message)
        };
        let (gib, tib) = (1u64 << 20, 1u64 << 30);
        let size = format!("size_kib={}\n", 3 * tib);
        assert_eq!(
            told(&(200 * gib).to_string(), &size).unwrap(),
            "only 204800 MiB (6 %) are free in /data: a server that runs full stops"
        );
        assert_eq!(told("5000", &size).unwrap(), "only 4 MiB (0 %) are free in /data: a server that runs full stops");
        assert_eq!(told(&(900 * gib).to_string(), &size), None);
        // An older script says nothing of the whole.
        assert_eq!(told("5000", "").unwrap(), "only 4 MiB are free in /data: a server that runs full stops");
        assert_eq!(told(&(2 * gib).to_string(), ""), None);
    }

    #[test]
    fn chatter_before_and_lines_from_a_later_version_do_no_harm() {
        let answer = heard(
            "Welcome to db1!\npostmaster=running\nfailover-host=1\r\nweather=fine\nno equals sign\npostmaster=gone\npid=7\n\
             others=2\nstopped=1\nshm=2\nlocal=silent\nend=ok\nothers=99\n",
        );
        let report = answer.report(Mono::ZERO).unwrap();
        assert_eq!((report.postmaster, report.others, report.stopped, report.shm_attached), (ProcessState::Gone, 2, 1, Some(2)));
        assert_eq!(report.local_answer, LocalAnswer::Silent);
        assert_eq!(
            report.message,
            "the postmaster 7 is gone, 2 other processes, 1 stopped, 2 attached to the shared memory, pg_isready: no answer"
        );
    }

    #[test]
    fn every_rung_that_the_script_prints_is_known_and_no_other() {
        let printed: std::collections::BTreeSet<&str> = SCRIPT
            .split_inclusive([';', '\n', '{'])
            .filter_map(|part| part.trim_start().trim_start_matches("then ").trim_start_matches("else ").strip_prefix("rung "))
            .filter_map(|rest| rest.split(' ').next())
            .collect();
        assert!(printed.iter().all(|word| word.parse::<RungName>().is_ok()), "{printed:?}");
        assert!(SCRIPT.contains("say \"proof=ok\""));
        // These three are not rungs of the script.
        let ours = [RungName::Proof, RungName::Command, RungName::Ssh];
        let known = RungName::ALL.iter().filter(|name| !ours.contains(name)).map(|name| name.as_str());
        assert_eq!(printed, known.collect());
    }

    #[test]
    fn a_rung_that_is_not_known_makes_the_answer_nonsense_and_its_effect_unknown() {
        let answer = heard("failover-host=1\nrung=guard ok placed\nrung=melt_cpu ok done\nproof=ok\nview=killed\nend=ok\n");
        let failure = answer.known_rungs().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Unknown);
        assert!(failure.message.contains("rung=melt_cpu"), "{failure:?}");
    }

    #[test]
    fn what_is_missing_is_not_proven() {
        let level = |lines: &str, view_confirmed| {
            heard(&format!("failover-host=1\n{lines}end=ok\n")).fence(view_confirmed).map(|report| report.level)
        };
        assert_eq!(level("proof=ok\nview=seen\n", false), Ok(FenceLevel::ProvenStopped));
        assert_eq!(level("proof=ok\nview=segment\n", false), Ok(FenceLevel::ProvenStopped));
        assert_eq!(level("proof=ok\nview=unseen\n", true), Ok(FenceLevel::ProvenStopped));
        assert_eq!(level("proof=ok\nview=unseen\n", false), Ok(FenceLevel::None));
        assert_eq!(level("proof=ok\n", false), Ok(FenceLevel::None));
        assert_eq!(level("proof=failed\nview=killed\n", true), Ok(FenceLevel::None));
        assert!(level("view=killed\n", true).is_err());
        assert!(heard("failover-host=1\nend=ok\n").report(Mono::ZERO).is_err());
        let hidden = heard("failover-host=1\npostmaster=gone\nothers=0\nstopped=0\nhidden=7\nend=ok\n");
        assert!(hidden.report(Mono::ZERO).unwrap_err().message.contains("process 7"));
        // Live processes whose segment does not show: another namespace, so nothing is known about it.
        let contained = heard("failover-host=1\npostmaster=running\npid=1\nothers=5\nstopped=0\nshm=gone\nend=ok\n");
        assert_eq!(contained.report(Mono::ZERO).unwrap().shm_attached, None);
    }

    /// An SSH error is "no effect" only where the order was not sent, or changes nothing.
    #[test]
    fn what_was_sent_and_timed_out_may_have_had_an_effect() {
        let kind = |kind, sent, changes| {
            let error = SshError {
                kind,
                at: "postgres@db1:22".into(),
                message: "the deadline passed".into(),
                remedy: String::new(),
                sent,
            };
            failure(error, changes, &Hearing::new(0)).kind
        };
        assert_eq!(kind(SshErrorKind::TimedOut, true, true), FailureKind::TimedOut);
        assert_eq!(kind(SshErrorKind::Cancelled, true, true), FailureKind::Cancelled);
        assert_eq!(kind(SshErrorKind::Protocol, true, true), FailureKind::Unknown);
        for of in [SshErrorKind::TimedOut, SshErrorKind::Cancelled, SshErrorKind::Protocol] {
            assert_eq!(kind(of, false, true), FailureKind::NoEffect, "{of:?}: it was not sent");
            assert_eq!(kind(of, true, false), FailureKind::NoEffect, "{of:?}: it changes nothing");
        }
    }

    #[test]
    fn what_a_shutdown_waits_for_is_told() {
        let said = |lines: &str| {
            let text = format!("failover-host=1\npostmaster=running\npid=7\nothers=3\nstopped=0\nshm=4\n{lines}end=ok\n");
            heard(&text).report(Mono::ZERO).unwrap()
        };
        let held = said("stopping=1\nholds=archiver walsender\n");
        assert_eq!(held.holds, ["archiver", "walsender"]);
        assert!(held.message.ends_with("it is shutting down and waits for archiver and walsender"), "{}", held.message);
        assert!(said("stopping=1\nholds=\n").message.ends_with("waits for something"));
        assert_eq!(said("").holds, [""; 0]);
    }

    /// Rules 84 and 91: the three answers lead to three classes.
    #[test]
    fn what_pg_isready_says_there_keeps_its_meaning() {
        let local = |said: &str| {
            let text = format!("failover-host=1\npostmaster=running\npid=7\nothers=3\nstopped=0\nshm=4\nlocal={said}\nend=ok\n");
            heard(&text).report(Mono::ZERO).unwrap().local_answer
        };
        assert_eq!(local("accepting"), LocalAnswer::Accepting);
        assert_eq!(local("rejecting"), LocalAnswer::Rejecting);
        assert_eq!(local("silent"), LocalAnswer::Silent);
        assert_eq!(local("not_asked"), LocalAnswer::NotAsked);
    }

    #[test]
    fn a_script_of_another_protocol_is_named_and_what_it_did_is_not_known() {
        let of = |text: &str| {
            let mut hearing = Hearing::new(0);
            hearing.hear(text.as_bytes());
            (hearing.greeted, hearing.other_protocol)
        };
        assert_eq!(of("failover-host=2\nproof=ok\nend=ok\n"), (false, Some("2".to_owned())));
        assert_eq!(of("failover-host=1\nfailover-host=2\nend=ok\n"), (true, None));
        assert_eq!(of("failover-host=\n"), (false, Some(String::new())));
        assert_eq!(own_version(), 5);
    }

    #[test]
    fn each_trouble_has_its_finding_and_a_healthy_host_has_none() {
        let healthy = "failover-host=1\npostmaster=running\nsignal=1\nshm=6\nwritable=1\npg_ctl=/b/pg_ctl\npg_isready=/b/pg_isready\n\
             version=5\nspeaks=generation\ntimeout=/usr/bin/timeout\nuid=101\nfree_kib=72922972\nend=ok\n";
        let codes = |from: &str, to: &str| {
            let findings = heard(&healthy.replace(from, to)).findings("/data", false);
            findings.into_iter().map(|finding| (finding.code.to_string(), finding.blocking)).collect::<Vec<_>>()
        };
        assert_eq!(codes("", ""), []);
        for (from, to, code, blocking) in [
            ("signal=1", "signal=0", "host_cannot_signal", true),
            ("version=5\nspeaks=generation\n", "", "host_script_outdated", true),
            ("version=5", "version=2", "host_script_outdated", false),
            ("version=5\nspeaks=generation", "version=6\nspeaks=control", "host_script_newer", true),
            ("version=5", "version=later", "host_script_outdated", false),
            ("version=5", "version=6", "host_script_newer", false),
            ("shm=6", "shm=gone", "host_segment_hidden", true),
            ("writable=1", "writable=0", "host_data_dir_not_writable", false),
            ("pg_ctl=/b/pg_ctl", "pg_ctl=", "host_pg_ctl_missing", false),
            ("pg_isready=/b/pg_isready", "", "host_pg_isready_missing", false),
            ("end=ok", "pg_waldump=\nend=ok", "host_pg_waldump_missing", false),
            ("timeout=/usr/bin/timeout", "timeout=", "host_timeout_missing", false),
            ("uid=101", "uid=0", "host_root_login", false),
            ("free_kib=72922972", "free_kib=1000", "host_disk_nearly_full", false),
            ("end=ok", "recovery_signal=1\nend=ok", "host_recovery_signal", false),
            ("end=ok", "marker=1\nend=ok", "host_fence_marker", false),
        ] {
            assert_eq!(codes(from, to), [(code.to_owned(), blocking)], "{to}");
        }
    }
}
