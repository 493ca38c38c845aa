//! What a seed decides: how the cluster is, which faults happen to it, and when.

use std::fmt;
use std::time::Duration;

use crate::dice::Dice;
use crate::support::cluster::Replication;

/// When the last fault begins, at the latest.
const BEGIN_WITHIN_MS: u64 = 7_000;

/// One fault's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL of the postmaster.
    Kill,
    /// SIGSTOP of the whole server.
    Freeze,
    /// SIGSTOP of the postmaster alone.
    FreezePostmaster,
    /// `pg_ctl restart -m fast`.
    RestartClean,
    /// `pg_ctl restart -m immediate`.
    RestartImmediate,
    /// `pg_ctl stop -m fast`, and nobody starts it.
    Stop,
    /// SIGKILL of the postmaster while one of its backends stands still.
    Orphan,
    /// The engine and the server lose each other.
    CutEngine,
    /// The engine and all servers lose each other.
    CutEngineFromAll,
    /// The server and all other servers lose each other.
    CutServers,
    /// The server's cable is pulled.
    Unplug,
    /// SIGKILL of HAProxy, which is started again.
    HaproxyKilled,
    /// SIGKILL of the engine, which is started again.
    EngineKilled,
    /// SIGTERM of the engine, which is started again.
    EngineStopped,
    /// SIGSTOP of the engine.
    EngineFrozen,
    /// SIGHUP of the engine.
    Reload,
    /// `failover pause`.
    Pause,
    /// The server's host has no sshd.
    SshdGone,
    /// The server's host has an sshd that stands still.
    SshdFrozen,
    /// The file system of `state_dir` is full.
    StateFull,
    /// An operator promotes a standby.
    Promote,
    /// An operator makes a standby follow whoever is primary.
    Follow,
}

impl Kind {
    /// All of them, with how often they are thrown.
    const OFTEN: [(Kind, u64); 22] = [
        (Kind::Kill, 20),
        (Kind::Freeze, 14),
        (Kind::FreezePostmaster, 5),
        (Kind::RestartClean, 6),
        (Kind::RestartImmediate, 6),
        (Kind::Stop, 5),
        (Kind::Orphan, 6),
        (Kind::CutEngine, 7),
        (Kind::CutEngineFromAll, 4),
        (Kind::CutServers, 6),
        (Kind::Unplug, 4),
        (Kind::HaproxyKilled, 6),
        (Kind::EngineKilled, 7),
        (Kind::EngineStopped, 4),
        (Kind::EngineFrozen, 5),
        (Kind::Reload, 4),
        (Kind::Pause, 3),
        (Kind::SshdGone, 5),
        (Kind::SshdFrozen, 3),
        (Kind::StateFull, 4),
        (Kind::Promote, 3),
        (Kind::Follow, 5),
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Freeze => "freeze",
            Kind::FreezePostmaster => "freeze-postmaster",
            Kind::RestartClean => "restart",
            Kind::RestartImmediate => "restart-immediate",
            Kind::Stop => "stop",
            Kind::Orphan => "orphan",
            Kind::CutEngine => "cut-engine",
            Kind::CutEngineFromAll => "cut-engine-from-all",
            Kind::CutServers => "cut-servers",
            Kind::Unplug => "unplug",
            Kind::HaproxyKilled => "haproxy-killed",
            Kind::EngineKilled => "engine-killed",
            Kind::EngineStopped => "engine-stopped",
            Kind::EngineFrozen => "engine-frozen",
            Kind::Reload => "reload",
            Kind::Pause => "pause",
            Kind::SshdGone => "sshd-gone",
            Kind::SshdFrozen => "sshd-frozen",
            Kind::StateFull => "state-full",
            Kind::Promote => "promote-by-hand",
            Kind::Follow => "follow-the-primary",
        }
    }

    /// What it is done to. Of each group but the servers a plan has one at most, because the second would undo the first.
    fn group(self) -> Group {
        match self {
            Kind::HaproxyKilled => Group::Haproxy,
            Kind::EngineKilled | Kind::EngineStopped | Kind::EngineFrozen => Group::Engine,
            Kind::Reload => Group::Reload,
            Kind::Pause => Group::Pause,
            Kind::StateFull => Group::Disk,
            Kind::Promote | Kind::Follow => Group::Operator,
            Kind::CutEngineFromAll => Group::Links,
            _ => Group::Server,
        }
    }

    /// The server itself stops serving, for a moment at least.
    pub fn hurts(self) -> bool {
        matches!(
            self,
            Kind::Kill
                | Kind::Freeze
                | Kind::FreezePostmaster
                | Kind::RestartClean
                | Kind::RestartImmediate
                | Kind::Stop
                | Kind::Orphan
                | Kind::Unplug
        )
    }

    /// It takes a time; otherwise it is a deed of one moment.
    fn lasts(self) -> bool {
        !matches!(
            self,
            Kind::Kill | Kind::RestartClean | Kind::RestartImmediate | Kind::Stop | Kind::Reload | Kind::Promote | Kind::Follow
        )
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Server,
    Haproxy,
    Engine,
    Reload,
    Pause,
    Disk,
    Operator,
    Links,
}

/// Whom it is done to; who that is, is seen when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Whoever is primary then.
    Primary,
    /// One of the others.
    Standby(usize),
    /// No server, or all.
    Nobody,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Whom.
    pub whom: Whom,
    /// When, after the beginning.
    pub at: Duration,
    /// When it is taken back, after it began; `None`: not before everything is mended.
    pub lasts: Option<Duration>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.as_str())?;
        match self.whom {
            Whom::Primary => write!(f, " primary")?,
            Whom::Standby(place) => write!(f, " standby{}", place + 1)?,
            Whom::Nobody => {}
        }
        write!(f, " {:.2}s", self.at.as_secs_f64())?;
        match self.lasts {
            Some(span) => write!(f, "+{:.2}", span.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl Fault {
    /// Reads what [`Fault`] is printed as: `kill primary 1.0s`, `freeze standby1 2.0s+3.5`, `reload 4.0s`.
    fn parse(text: &str) -> Option<Fault> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let time = words.pop()?;
        let (at, lasts) = time.split_once('+').map_or((time, None), |(at, lasts)| (at, Some(lasts)));
        let span = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
        let (at, lasts) = (span(at.strip_suffix('s').unwrap_or(at))?, lasts.map(span));
        let whom = match words.get(1).copied() {
            None => Whom::Nobody,
            Some("primary") => Whom::Primary,
            Some(standby) => Whom::Standby(standby.strip_prefix("standby")?.parse::<usize>().ok()?.checked_sub(1)?),
        };
        let kind = Kind::OFTEN.iter().map(|(kind, _)| *kind).find(|kind| Some(&kind.as_str()) == words.first())?;
        let lasts = lasts.map_or(Some(None), |lasts| lasts.map(Some))?;
        Some(Fault { kind, whom, at, lasts })
    }
}

/// Everything that a seed decides.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Two or three.
    pub servers: usize,
    /// For whom commits wait.
    pub replication: Replication,
    /// No standby has a name of its own.
    pub equal_names: bool,
    /// `fence.command` is there.
    pub power_switch: bool,
    /// The cooldown is over in moments.
    pub short_cooldown: bool,
    /// The faults, in the order of their moments.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// The plan of a seed; `servers` where somebody wants so many.
    pub fn new(seed: u64, servers: Option<usize>) -> Plan {
        let mut dice = Dice::new(seed);
        let thrown = dice.one(&[2, 3]);
        let servers = servers.unwrap_or(thrown);
        let replication = dice.one(&Replication::ALL);
        let equal_names = dice.percent(30) && servers > 2;
        let power_switch = dice.percent(30);
        let short_cooldown = dice.percent(30);
        let wanted = 1 + dice.index(4);
        let mut faults: Vec<Fault> = Vec::new();
        while faults.len() < wanted {
            let mut fault = throw(&mut dice, servers);
            if let Some(before) = faults.last() {
                fault.at = after(&mut dice, before.at).unwrap_or(fault.at);
            }
            let group = fault.kind.group();
            if group == Group::Server || faults.iter().all(|other| other.kind.group() != group) {
                faults.push(fault);
            }
        }
        faults.sort_by_key(|fault| fault.at);
        Plan { seed, servers, replication, equal_names, power_switch, short_cooldown, faults }
    }

    /// The same with other faults, in the words in which they are printed, with commas between them; `None`: they are none.
    pub fn with_faults(mut self, text: &str) -> Option<Plan> {
        self.faults = text.split(',').map(Fault::parse).collect::<Option<_>>()?;
        self.faults.sort_by_key(|fault| fault.at);
        Some(self)
    }

    /// The cluster in a few words.
    pub fn cluster(&self) -> String {
        let names = if self.equal_names { " equal names" } else { "" };
        let switch = if self.power_switch { " power switch" } else { "" };
        let cooldown = if self.short_cooldown { " short cooldown" } else { "" };
        format!("{} servers {}{names}{switch}{cooldown}", self.servers, self.replication.as_str())
    }

    /// The faults in a few words.
    pub fn told(&self) -> String {
        self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// On the heels of another fault: while its failover is in flight, or while it is about to begin. `None`: at any time.
fn after(dice: &mut Dice, other: Duration) -> Option<Duration> {
    let soon = dice.between(0, 800);
    let later = dice.between(3_000, 6_000);
    match dice.between(0, 10) {
        0..4 => Some(other + Duration::from_millis(soon)),
        4..6 => Some(other + Duration::from_millis(later)),
        _ => None,
    }
}

fn throw(dice: &mut Dice, servers: usize) -> Fault {
    let all: u64 = Kind::OFTEN.iter().map(|(_, often)| often).sum();
    let mut left = dice.between(0, all);
    let found = Kind::OFTEN.iter().find(|(_, often)| {
        let here = left < *often;
        left = left.saturating_sub(*often);
        here
    });
    let kind = found.map_or(Kind::Kill, |(kind, _)| *kind);
    let standby = Whom::Standby(dice.index(servers - 1));
    // Where the primary is spared nothing is decided.
    let often = if matches!(kind, Kind::Kill | Kind::Freeze) { 80 } else { 70 };
    let server = if dice.percent(often) { Whom::Primary } else { standby };
    let whom = match kind.group() {
        Group::Server => server,
        Group::Operator => standby,
        _ => Whom::Nobody,
    };
    let at = Duration::from_millis(dice.between(0, BEGIN_WITHIN_MS));
    let span = Duration::from_millis(dice.between(1_000, 8_000));
    let taken_back = dice.percent(if matches!(kind, Kind::Freeze | Kind::FreezePostmaster) { 60 } else { 90 });
    Fault { kind, whom, at, lasts: (kind.lasts() && taken_back).then_some(span) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_each_time() {
        for seed in 0..200 {
            let (one, other) = (Plan::new(seed, None), Plan::new(seed, None));
            assert_eq!(one.faults, other.faults);
            assert!((1..=4).contains(&one.faults.len()) && (2..=3).contains(&one.servers), "{one:?}");
        }
    }

    #[test]
    fn what_is_printed_of_a_plan_is_read_again() {
        for seed in 0..200 {
            let plan = Plan::new(seed, None);
            let again = plan.clone().with_faults(&plan.told()).map(|again| (again.told(), again.faults.len()));
            assert_eq!(again, Some((plan.told(), plan.faults.len())));
        }
        for wrong in
            ["", "kill", "kill primary", "kill nobody 1.0s", "burn primary 1.0s", "kill primary 1.0s,", "kill standby0 1.0s"]
        {
            assert!(Plan::new(1, None).with_faults(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn every_kind_of_fault_is_thrown() {
        let thrown: std::collections::BTreeSet<Kind> =
            (0..300).flat_map(|seed| Plan::new(seed, None).faults).map(|fault| fault.kind).collect();
        assert_eq!(thrown.len(), Kind::OFTEN.len());
    }
}
