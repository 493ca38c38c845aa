//! What can be written on the command line.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::terminal::Color;

const OVERVIEW: &str = "\
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
     `rejoin --wait`: the server was changed and does not stream; `survived`: nobody can say";

/// Automatic failover for PostgreSQL: watches a primary, decides when it is really gone, fences it, promotes the standby, moves
/// the traffic, verifies the result, and says what happened and why.
#[derive(Debug, Parser)]
#[command(name = "failover", version, after_help = OVERVIEW, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Write JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,

    /// Colours and tables; `auto`: on a terminal, unless `NO_COLOR` is set or `TERM` is `dumb`
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the engine in the foreground until SIGINT or SIGTERM
    Run(Run),
    /// Run every check once, and say whether a failover would go through
    Check(Check),
    /// Say what would hurt a failover of one service, why, and what mends it
    Doctor(Doctor),
    /// Say everything that is wrong with a configuration
    Validate(Validate),
    /// Ask a running daemon how its services are, and what would happen if a primary died now
    Status(Status),
    /// Ask a running daemon for its numbers, as Prometheus reads them
    Metrics(Metrics),
    /// Show what happened in a running daemon
    Events(Events),
    /// Say yes to a failover that waits for it
    Confirm(Confirm),
    /// Go on watching, decide nothing
    Pause(Pause),
    /// End a pause
    Resume(MaybeService),
    /// Leave `manual_intervention` or `failed_over`: failovers are automatic again, once nothing else blocks them
    Reset(OneService),
    /// Say that a server which takes writes is the primary from here on
    Adopt(Adopt),
    /// Say that a server is not to be promoted, by whatever
    Cordon(Cordon),
    /// Say that a cordoned server may be promoted again
    Uncordon(Cordon),
    /// Let a healthy primary hand over to a standby, without losing a row
    Switchover(Switchover),
    /// Fail over now, whatever the checks say
    Force(Force),
    /// Bring an old primary that is stopped back as a standby
    Rejoin(Rejoin),
    /// Make a standby where nothing is, by a first copy of the primary's data
    Clone(Clone),
    /// Look after the receivers of notifications
    #[command(subcommand)]
    Notify(Notify),
    /// Did a commit whose answer nobody received survive the last failovers?
    Survived(Survived),
    /// Hold the deadline of a closed gate: for the engine's own use
    #[command(hide = true)]
    HoldGate,
    /// Go through a recorded decision again, and compare
    Replay(Replay),
    /// Print the completion script of a shell
    Completions(Completions),
}

/// Names the configuration where the command line does not.
pub const CONFIG: &str = "FAILOVER_CONFIG";
/// Names the control socket where the command line names neither that nor a configuration.
pub const SOCKET: &str = "FAILOVER_SOCKET";

/// Where the daemon listens.
#[derive(Clone, Debug, Args)]
pub struct Daemon {
    /// The daemon's control socket [env: FAILOVER_SOCKET, or that of FAILOVER_CONFIG] [default: /run/failover/control.sock, or else
    /// /var/lib/failover/control.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// Find the control socket in this configuration of the daemon [default: none is read, --socket's default holds]
    #[arg(long, value_name = "CONFIG", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
}

const RUN_HELP: &str = "\
Events go to stderr, with --json to stdout, one object per line. Commands are taken on the control socket.
SIGINT, SIGTERM  stop cleanly: a failover before the promotion is undone,
                 one behind it finishes its step; a second one ends the process
                 at once, and the journal resumes at the next start
SIGHUP           read the configuration again, and say what is different;
                 one with errors changes nothing

Examples:
  failover run /etc/failover/failover.toml
  failover run --json failover.toml > events.jsonl

Exit codes: 0 stopped cleanly, 2 wrong configuration, 5 cannot start or run";

/// `failover run`
#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct Run {
    /// The configuration, TOML or JSON
    #[arg(env = CONFIG)]
    pub config: PathBuf,

    /// Show single observations too
    #[arg(long, short)]
    pub verbose: bool,
}

const CHECK_HELP: &str = "\
The test before going live. First every configured check, then once everything that the daemon's survey asks: each server over \
SSH and over SQL, each HAProxy, and who answers at the addresses of route.verify. What it finds is `blocking` (a failover would \
be refused or would fail) or a `warning` (it would be slower or riskier). Nothing is changed, and no daemon is needed. Run it as \
the daemon's user, on its machine: keys and sockets are tried with the rights of whoever runs it.

Examples:
  failover check failover.toml
  failover check --json failover.toml | jq '.checks[] | select(.verdict != \"up\")'
  failover check --json failover.toml | jq '.readiness[] | select(.blocking)'

Exit codes: 0 everything is up and nothing is blocking, 1 something is not up or is blocking, 2 wrong configuration, \
5 cannot check";

/// `failover check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub struct Check {
    /// The configuration, TOML or JSON
    #[arg(env = CONFIG)]
    pub config: PathBuf,
}

const DOCTOR_HELP: &str = "\
What `check` finds, of one service and without the table of its checks: rights, SSH, sudo, data directories, settings, slots, \
certificates, space, archive, route, and the warnings about the configuration. Each finding says what is wrong, why it matters at \
failover time, and what mends it. Nothing is changed, and no daemon is needed. Run it as the daemon's user, on its machine.

Examples:
  failover doctor orders
  failover doctor --config failover.toml
  failover doctor orders --json | jq '.findings[] | {code, message, why, remedy}'

Exit codes: 0 nothing is blocking, 1 something is not up or is blocking, 2 wrong configuration or service, 5 cannot check";

/// `failover doctor`
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_HELP)]
pub struct Doctor {
    /// The service; needed where the configuration has several
    pub service: Option<String>,

    /// The configuration, TOML or JSON
    #[arg(long, value_name = "CONFIG", env = CONFIG, default_value = "/etc/failover/failover.toml")]
    pub config: PathBuf,
}

const VALIDATE_HELP: &str = "\
All errors at once, each with its place, value, reason and remedy.

Examples:
  failover validate failover.toml
  failover validate --print-effective failover.toml
  failover validate --schema > failover.schema.json

Exit codes: 0 it can be used, 2 it cannot";

/// `failover validate`
#[derive(Debug, Args)]
#[command(after_help = VALIDATE_HELP)]
pub struct Validate {
    /// The configuration, TOML or JSON
    #[arg(required_unless_present = "schema", env = CONFIG)]
    pub config: Option<PathBuf>,

    /// Print the configuration with every default in force, secrets masked
    #[arg(long)]
    pub print_effective: bool,

    /// Print the JSON Schema of the configuration
    #[arg(long, conflicts_with = "print_effective")]
    pub schema: bool,
}

const STATUS_HELP: &str = "\
Examples:
  failover status
  failover status orders
  failover status --json | jq '.services[] | {name, state, forecast}'

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover status`
#[derive(Debug, Args)]
#[command(after_help = STATUS_HELP)]
pub struct Status {
    /// Only this service
    pub service: Option<String>,

    /// The evidence behind the last failover too
    #[arg(long)]
    pub evidence: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const METRICS_HELP: &str = "\
Failovers by outcome, MTTD, MTTR, success and false positives; refusals, checks, state, forecast: in Prometheus' text format. \
There is no HTTP endpoint: a timer writes them where node_exporter's textfile collector finds them. They grow by some 1.5 KB with each \
service. With --details there is also what each server, each check and each circuit breaker says by itself.

Examples:
  failover metrics
  failover metrics orders --details
  cd /var/lib/node_exporter && failover metrics > f.new && mv f.new failover.prom
  failover metrics --json | jq '.services[] | {name, mttr: .metrics.mttr.mean_ms}'

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover metrics`
#[derive(Debug, Args)]
#[command(after_help = METRICS_HELP)]
pub struct Metrics {
    /// Only this service
    pub service: Option<String>,

    /// Each server, check and circuit breaker too; --json always has them
    #[arg(long)]
    pub details: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const EVENTS_HELP: &str = "\
Every event has its sequence number, which --since takes. Single observations are numbered too and not shown without --all, so \
the numbers shown have gaps. The daemon keeps the last events: single observations and log lines apart from all others, so \
that they cannot push those out. Where events are no longer kept, a line on stderr says so.

Examples:
  failover events
  failover events --follow --service orders
  failover events --all
  failover events --since 1200 --json

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover events`
#[derive(Debug, Args)]
#[command(after_help = EVENTS_HELP)]
pub struct Events {
    /// Go on with what happens from now on
    #[arg(long, short)]
    pub follow: bool,

    /// Only events after this sequence number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub since: u64,

    /// Only events of this service, and of the engine itself
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,

    /// Show everything, single observations too
    #[arg(long = "all", short = 'a', visible_alias = "verbose", visible_short_alias = 'v')]
    pub verbose: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const CONFIRM_HELP: &str = "\
A failover waits for a person where require_confirmation says so, and where as many others have begun within a minute as may \
(engine.max_concurrent_failovers). The evidence has to hold still.

Examples:
  failover status orders
  failover confirm orders
  failover confirm --all

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover confirm`
#[derive(Debug, Args)]
#[command(after_help = CONFIRM_HELP)]
pub struct Confirm {
    /// The service
    #[arg(required_unless_present = "all")]
    pub service: Option<String>,

    /// Every failover that waits
    #[arg(long, conflicts_with = "service")]
    pub all: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const ONE_HELP: &str = "\
Examples:
  failover status orders
  failover reset orders

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// A command on one service.
#[derive(Debug, Args)]
#[command(after_help = ONE_HELP)]
pub struct OneService {
    /// The service
    pub service: String,

    #[command(flatten)]
    pub daemon: Daemon,
}

const PAUSE_HELP: &str = "\
With --for the pause ends by itself: an event says so, every check is asked afresh, and failovers are automatic again. It ends at \
that moment also where the daemon is restarted. Pausing again replaces reason and time.

Examples:
  failover pause orders --reason \"the disk of db1 is swapped\" --for 45m
  failover pause
  failover resume orders

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover pause`
#[derive(Debug, Args)]
#[command(after_help = PAUSE_HELP)]
pub struct Pause {
    /// The service; all of them if not given
    pub service: Option<String>,

    /// Why, for whoever looks later: in status, events and journal
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// After so long it ends by itself, such as 45m or 2h30m; 30 days at most [default: when it is resumed]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub lasts: Option<Duration>,

    #[command(flatten)]
    pub daemon: Daemon,
}

const RESUME_HELP: &str = "\
Examples:
  failover resume orders
  failover resume

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// A command on one service or all.
#[derive(Debug, Args)]
#[command(after_help = RESUME_HELP)]
pub struct MaybeService {
    /// The service; all of them if not given
    pub service: Option<String>,

    #[command(flatten)]
    pub daemon: Daemon,
}

const CORDON_HELP: &str = "\
A cordoned server is no candidate: no failover promotes it, no `failover force`, no service that follows another one. It is observed \
as before, what it has of the log counts, and the primary stays the primary. For the time of a repair, a rebuild, a host that is \
not trusted. It outlives restart and reload, shows in status and check, and ends with uncordon.

Examples:
  failover cordon orders db3
  failover uncordon orders db3

Exit codes: 0 done, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover cordon` and `failover uncordon`
#[derive(Debug, Args)]
#[command(after_help = CORDON_HELP)]
pub struct Cordon {
    /// The service
    pub service: String,

    /// The server
    pub server: String,

    #[command(flatten)]
    pub daemon: Daemon,
}

const ADOPT_HELP: &str = "\
The way out where somebody promoted a server by hand, and the engine cannot prove that it continues the log of the last primary: \
event other_branch. Nothing is promoted, stopped or fenced; from here on this server is the primary, and the route follows it. \
Make sure first that it has the data you want: what only another server has is not brought here. Refused while the server does \
not take writes, or while another one does as well.

Examples:
  failover adopt orders db3

Exit codes: 0 done; 2 wrong command line; 3 no daemon; 4 refused";

/// `failover adopt`
#[derive(Debug, Args)]
#[command(after_help = ADOPT_HELP)]
pub struct Adopt {
    /// The service
    pub service: String,

    /// The server that is the primary
    pub server: String,

    #[command(flatten)]
    pub daemon: Daemon,
}

const FORCE_HELP: &str = "\
An operator's last word: from any state but a failover in flight. A PostgreSQL primary that is healthy is not forced away: that is \
`failover switchover`, unless a loss is accepted. The order of the steps and the verification stay as they are; \
every safety that is waived stands in the record.

A PostgreSQL primary that lives loses nothing: it writes a checkpoint, leaves the route, and is stopped in an orderly way over SSH \
(SIGINT, never more); a standby is promoted once the control file says where the log ends and the standby has all of it. Where \
that cannot be proven within 2 s, nobody is promoted and the primary is started again. Without SSH to its host nothing can be \
proven, and the order is refused. With --accept-loss it goes on behind the fence, within that figure. A primary that is dead or \
does not answer is fenced as in any other failover.

On a terminal it asks before it acts, otherwise it needs --yes. \
It returns when the failover has begun; `failover status` and `failover events` tell how it ends. With --wait it returns when the \
failover has ended, shows the steps on stderr, and waits no longer than the failover itself may take.

Examples:
  failover force orders
  failover force orders --wait
  failover force orders --to db2 --yes
  failover force orders --accept-loss 16MiB --yes

Exit codes: 0 begun, with --wait: completed; 1 (--wait) not completed, nothing was promoted and the primary serves as before; 2 wrong command line; 3 no daemon, or \
it went away before the end; 4 refused; 6 (--wait) a person has to look";

const SWITCHOVER_HELP: &str = "\
Planned work: the primary is healthy and hands over. Everything that could go wrong is looked at first; with --dry-run nothing else \
happens. Then the primary writes a checkpoint, the clients of a PgBouncer wait (switchover.pause_timeout), the primary is stopped in an \
orderly way over SSH, and the standby is promoted once the control file says where the log ends and the standby has all of it. Where \
that cannot be proven nobody is promoted, the primary is started again and the clients go on with it. No committed row is lost.

With --at it begins at that moment, also after a restart of the engine. If no engine runs at that moment, it is reported as missed and \
does not begin later. `failover status` shows it, --cancel takes it back.

Examples:
  failover switchover orders --dry-run
  failover switchover orders --to db2 --wait
  failover switchover orders --at 03:30
  failover switchover orders --at 2026-12-01T03:30:00+01:00
  failover switchover orders --cancel

Exit codes: 0 begun, planned or taken back, with --wait: completed, with --dry-run: it would begin; 1 with --wait: not completed, nothing was \
promoted and the primary serves as before, with --dry-run: it would be refused; 2 wrong command line; 3 no daemon, or it went away \
before the end; 4 refused; 6 (--wait) a person has to look";

/// `failover switchover`
#[derive(Debug, Args)]
#[command(after_help = SWITCHOVER_HELP)]
pub struct Switchover {
    /// The service
    pub service: String,

    /// Promote this standby [default: the best one]
    #[arg(long, value_name = "SERVER")]
    pub to: Option<String>,

    /// Only look: say line by line what was seen, and what mends it
    #[arg(long, conflicts_with_all = ["wait", "at", "cancel"])]
    pub dry_run: bool,

    /// Begin at this moment: HH:MM of this machine's clock, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = super::moment::parse, conflicts_with_all = ["wait", "cancel"])]
    pub at: Option<SystemTime>,

    /// Take the planned switchover back
    #[arg(long, conflicts_with_all = ["to", "wait"])]
    pub cancel: bool,

    /// Wait for the end, show the steps, and end with the outcome
    #[arg(long, short)]
    pub wait: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

/// `failover force`
#[derive(Debug, Args)]
#[command(after_help = FORCE_HELP)]
pub struct Force {
    /// The service
    pub service: String,

    /// Promote this standby [default: the best one]
    #[arg(long, value_name = "SERVER")]
    pub to: Option<String>,

    /// Accept the loss of this much: a number of bytes, a size such as 16MiB, or any, also where it is not known [default: nothing of a primary that lives, else `data.max_lag_bytes`]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub accept_loss: Option<u64>,

    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,

    /// Wait for the end, show the steps, and end with the outcome
    #[arg(long, short)]
    pub wait: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const REJOIN_HELP: &str = "\
After a failover the old primary stays stopped, with standby.signal in its data directory. This brings it back: its fence is proven again, \
what its log has that the new primary lacks is counted and told (event lost_transactions) and copied to DIR.failover-keep, then it is started \
as a standby as it is, or rewound by pg_rewind and started. It is done when it streams on the primary's timeline and has replayed what was \
there. pg_rewind runs once a failover at most; where it cannot be run, or did not end well, the server has to be rebuilt, and that is said. \
With --rebuild it gets a new copy of the primary's data by pg_basebackup, made beside its data directory; that is kept as DIR.failover-old-N, and \
its own configuration is kept. A failover is never delayed by it. Its host needs ssh.source_file, see docs/REJOIN.md.

Examples:
  failover rejoin orders db1 --dry-run
  failover rejoin orders db1 --wait
  failover rejoin orders db1 --rebuild --wait

Exit codes: 0 begun, with --wait: it streams, with --dry-run: it could come back; 1 (--wait) nothing was changed on it, with --dry-run: something is in the way; \
2 wrong command line; 3 no daemon, or it went away before the end; 4 refused; 6 (--wait) it was changed and does not stream";

/// `failover rejoin`
#[derive(Debug, Args)]
#[command(after_help = REJOIN_HELP)]
pub struct Rejoin {
    /// The service
    pub service: String,

    /// The old primary
    pub server: String,

    /// By a new copy of the primary's data; the old data directory is kept
    #[arg(long)]
    pub rebuild: bool,

    /// Only say what would be done and what stands in the way
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// Wait for the end, show the steps, and end with the outcome
    #[arg(long, short)]
    pub wait: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const CLONE_HELP: &str = "\
For a server of the configuration whose data directory is empty or not there: it gets a first copy of the primary's data by pg_basebackup, made \
beside its place and renamed to it when it is whole, and is started as a standby. Settings that lie in DIR.failover-conf replace those of the \
primary. A failover is never delayed by it. Its host needs ssh.source_file, see docs/REJOIN.md.

Examples:
  failover clone orders db3 --dry-run
  failover clone orders db3 --wait

Exit codes: 0 begun, with --wait: it streams, with --dry-run: it could be made; 1 (--wait) nothing was changed, with --dry-run: something is in the way; \
2 wrong command line; 3 no daemon, or it went away before the end; 4 refused; 6 (--wait) the copy is there and does not stream";

/// `failover clone`
#[derive(Debug, Args)]
#[command(after_help = CLONE_HELP)]
pub struct Clone {
    /// The service
    pub service: String,

    /// The server that is to be a standby
    pub server: String,

    /// Only say what would be done and what stands in the way
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// Wait for the end, show the steps, and end with the outcome
    #[arg(long, short)]
    pub wait: bool,

    #[command(flatten)]
    pub daemon: Daemon,
}

const NOTIFY_TEST_HELP: &str = "\
The message says that it is a test. It goes past what waits for the receiver, and past its filters. A receiver that is not named is one of \
several: each is asked in turn, for its `timeout` at most.

Examples:
  failover notify test
  failover notify test pager --json

Exit codes: 0 each of them took it, 1 one did not, 2 wrong command line, 3 no daemon, 4 refused";

/// `failover notify`
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send a test message now, and say what the receiver answers
    Test(NotifyTest),
}

/// `failover notify test`
#[derive(Debug, Args)]
#[command(after_help = NOTIFY_TEST_HELP)]
pub struct NotifyTest {
    /// The receiver; all of them if not given
    pub receiver: Option<String>,

    #[command(flatten)]
    pub daemon: Daemon,
}

const SURVIVED_HELP: &str = "\
A client that lost its connection while it waited for the answer to COMMIT does not know whether it committed. Inside the transaction it takes \
pg_current_xact_id() and the timeline; afterwards it asks here. Yes and no are certain as of now; what cannot be told apart is unknown, with the \
reason. It goes by the forks that the journal has, and by what the present primary says of the transaction. See docs/SURVIVED.md.

Examples:
  failover survived orders --xid 742 --timeline 1
  failover survived orders --lsn 0/3000148 --timeline 1
  failover survived orders --xid 742 --json | jq -r .reason

Exit codes: 0 it survived; 1 it did not; 2 wrong command line; 3 no daemon; 4 refused, or no such service; 6 nobody can say";

/// `failover survived`
#[derive(Debug, Args)]
#[command(after_help = SURVIVED_HELP, group(clap::ArgGroup::new("commit").required(true).args(["xid", "lsn"])))]
pub struct Survived {
    /// The service
    pub service: String,

    /// The transaction: what pg_current_xact_id() said inside it
    #[arg(long, value_name = "XID")]
    pub xid: Option<u64>,

    /// A position of the log, such as 0/3000148: whether everything before it survived
    #[arg(long, value_name = "LSN", requires = "timeline")]
    pub lsn: Option<String>,

    /// The timeline of the transaction, or of the position
    #[arg(long, value_name = "TIMELINE")]
    pub timeline: Option<u32>,

    #[command(flatten)]
    pub daemon: Daemon,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  failover completions bash > /usr/share/bash-completion/completions/failover
  failover completions zsh > ~/.zfunc/_failover
  failover completions fish > ~/.config/fish/completions/failover.fish";

/// `failover completions`
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

fn size(text: &str) -> Result<u64, String> {
    if text == "any" {
        return Ok(failover::ANY_LOSS);
    }
    text.parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "write a number of bytes, a size such as 16MiB, or any".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let lasts = humantime::parse_duration(text).map_err(|_| "write a time with its unit, such as 45m, 2h30m or 1d".to_owned())?;
    let in_bounds = lasts >= Duration::from_millis(1) && lasts <= failover::LONGEST_PAUSE;
    in_bounds.then_some(lasts).ok_or_else(|| "from 1ms to 30d; without --for it lasts until it is resumed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_line_of_the_help_is_broken_twice() {
        for command in Arguments::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            let raw = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // What is set out in columns must fit; what is prose is broken where the terminal ends, and nowhere else.
            for line in raw.lines().filter(|line| line.starts_with(' ')) {
                assert!(line.len() <= 100, "{name}: {line}");
            }
            let prose: Vec<&str> = raw.lines().take_while(|line| !line.starts_with("Examples:") && !line.is_empty()).collect();
            assert!(prose.len() <= 1 || name == "run", "{name}: {prose:?}");
            let help = command.clone().term_width(100).render_long_help().to_string();
            assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        }
    }

    #[test]
    fn losses_are_sizes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert!(size("a lot").is_err());
        assert!(size("-1").is_err());
    }
}

const REPLAY_HELP: &str = "\
The engine records every failover it begins and every one it refuses in evidence/ of its state_dir: the state of the decision core \
some time before, and everything that reached it since. The core is pure, so the same input gives the same decision.

Examples:
  failover replay /var/lib/failover/evidence/2026-01-31T120000123Z-0-orders-failover-1.json
  failover replay --json RECORD

Exit codes: 0 the same decision, 1 another one (another version of the library), 2 no record of a decision";

/// `failover replay`
#[derive(Debug, Args)]
#[command(after_help = REPLAY_HELP)]
pub struct Replay {
    /// The record
    pub record: PathBuf,
}
