//! What can happen to a service, and what is right then.

use super::lab::mounting_impossible;
use super::network::Network;
use super::pair::PairOptions;

/// What happens, to the primary unless it says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL of the postmaster.
    Kill,
    /// SIGSTOP of all its processes, for good.
    Hang,
    /// SIGSTOP of all its processes, for three seconds.
    Freeze,
    /// `pg_ctl restart -m fast`.
    Restart,
    /// `pg_ctl stop -m fast`, and nobody starts it again.
    Stop,
    /// All sessions of clients ended by an administrator, several times.
    Terminate,
    /// SIGKILL of one backend: the server restarts itself.
    Crash,
    /// Every slot for sessions taken.
    Saturate,
    /// SIGSTOP of the postmaster alone.
    Postmaster,
    /// SIGSTOP of the engine for ten seconds.
    Clock,
    /// The standby dies, then the primary.
    Standby,
    /// The primary dies, and its successor right after the failover.
    Flap,
    /// The engine and the primary lose each other; everybody else sees both.
    Partition,
    /// The primary loses everybody, and runs on.
    Isolate,
    /// The primary's host loses its power; `fence.command` can say so.
    Poweroff,
    /// The same without a `fence.command`.
    PoweroffUnproven,
    /// The same without a `fence.command`, where `route.exclusive` is declared.
    PoweroffExclusive,
    /// SIGKILL of the postmaster while one session commits in a loop and another has its input waiting.
    Orphan,
    /// The file system of the write-ahead log is full.
    DiskFull,
    /// The same on the standby; then the primary dies.
    DiskFullCandidate,
    /// Every answer takes 900 ms, for a minute.
    Slow,
    /// SIGKILL of the postmaster, then of the engine at the fence; it is started again.
    Engine,
    /// The same at the promotion.
    EngineLate,
}

/// What is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// One failover, with at least this level of the fence.
    Failover(u64),
    /// Nothing: the primary stays.
    Nothing,
    /// No standby is promoted, and a person is called or the refusal has its name.
    Person,
    /// One failover, and none for what happens after it.
    FailoverOnce,
    /// Never two primaries, and at the end either one failover or a person called with the evidence.
    FailoverOrPerson,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 23] = [
        Fault::Kill,
        Fault::Hang,
        Fault::Freeze,
        Fault::Restart,
        Fault::Stop,
        Fault::Terminate,
        Fault::Crash,
        Fault::Saturate,
        Fault::Postmaster,
        Fault::Clock,
        Fault::Standby,
        Fault::Flap,
        Fault::Partition,
        Fault::Isolate,
        Fault::Poweroff,
        Fault::PoweroffUnproven,
        Fault::PoweroffExclusive,
        Fault::Orphan,
        Fault::DiskFull,
        Fault::DiskFullCandidate,
        Fault::Slow,
        Fault::Engine,
        Fault::EngineLate,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Hang => "hang",
            Fault::Freeze => "freeze",
            Fault::Restart => "restart",
            Fault::Stop => "stop",
            Fault::Terminate => "terminate",
            Fault::Crash => "crash",
            Fault::Saturate => "saturate",
            Fault::Postmaster => "postmaster",
            Fault::Clock => "clock",
            Fault::Standby => "standby",
            Fault::Flap => "flap",
            Fault::Partition => "partition",
            Fault::Isolate => "isolate",
            Fault::Poweroff => "poweroff",
            Fault::PoweroffUnproven => "poweroff-unproven",
            Fault::PoweroffExclusive => "poweroff-exclusive",
            Fault::Orphan => "orphan",
            Fault::DiskFull => "diskfull",
            Fault::DiskFullCandidate => "diskfull-candidate",
            Fault::Slow => "slow",
            Fault::Engine => "engine",
            Fault::EngineLate => "engine-late",
        }
    }

    /// The fault of that name.
    pub fn named(word: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.as_str() == word)
    }

    /// What is done, for people.
    pub fn deed(self) -> &'static str {
        match self {
            Fault::Kill => "SIGKILL of db1's postmaster",
            Fault::Hang => "SIGSTOP of all processes of db1",
            Fault::Freeze => "SIGSTOP of all processes of db1, for 3 s",
            Fault::Restart => "pg_ctl restart -m fast of db1",
            Fault::Stop => "pg_ctl stop -m fast of db1",
            Fault::Terminate => "pg_terminate_backend for every client session of db1, five times",
            Fault::Crash => "SIGKILL of the writer's backend on db1",
            Fault::Saturate => "every slot of db1 taken, the engine's own included, for 8 s",
            Fault::Postmaster => "SIGSTOP of db1's postmaster alone: who has a session is served, nobody new gets in",
            Fault::Clock => "SIGSTOP of the engine, for 10 s",
            Fault::Standby => "SIGKILL of db2's postmaster, then of db1's",
            Fault::Flap => "SIGKILL of db1's postmaster; db2's after the failover",
            Fault::Partition => "the engine and db1 cut from each other for 12 s; clients and db2 still reach both",
            Fault::Isolate => "db1's cable pulled",
            Fault::Poweroff => "power of db1's host cut; fence.command is there to prove it",
            Fault::PoweroffUnproven => "power of db1's host cut, and nothing can prove it",
            Fault::PoweroffExclusive => "power of db1's host cut; route.exclusive is declared",
            Fault::Orphan => "SIGKILL of db1's postmaster while two sessions go on committing without it",
            Fault::DiskFull => "the file system of db1's write-ahead log is filled",
            Fault::DiskFullCandidate => "the file system of db2's write-ahead log is filled; then SIGKILL of db1's postmaster",
            Fault::Slow => "every answer of db1 takes 900 ms",
            Fault::Engine => "SIGKILL of db1's postmaster, then of the engine at the fence",
            Fault::EngineLate => "SIGKILL of db1's postmaster, then of the engine at the promotion",
        }
    }

    /// What happened, as the headline of a report.
    pub fn past(self) -> &'static str {
        match self {
            Fault::Kill => "The primary was killed",
            Fault::Hang => "The primary hung",
            Fault::Freeze => "The primary froze for a moment",
            Fault::Restart => "The primary was restarted",
            Fault::Stop => "The primary was stopped",
            Fault::Terminate => "All sessions of the primary were ended",
            Fault::Crash => "The primary crashed and recovered",
            Fault::Saturate => "The primary had no slot left",
            Fault::Postmaster => "The primary's postmaster hung",
            Fault::Clock => "The engine was paused",
            Fault::Standby => "The standby died, then the primary",
            Fault::Flap => "The primary was killed, and so was its successor",
            Fault::Partition => "The engine lost sight of the primary",
            Fault::Isolate => "The primary was cut off",
            Fault::Poweroff => "The primary's host lost its power",
            Fault::PoweroffUnproven => "The primary's host lost its power, and nothing could prove it",
            Fault::PoweroffExclusive => "The primary's host lost its power, and the route was the only way to it",
            Fault::Orphan => "The primary was killed, and its sessions went on",
            Fault::DiskFull => "The primary's disk was full",
            Fault::DiskFullCandidate => "The standby's disk was full when the primary died",
            Fault::Slow => "The primary was slow",
            Fault::Engine => "The primary was killed, and the engine at the fence",
            Fault::EngineLate => "The primary was killed, and the engine at the promotion",
        }
    }

    /// What the engine is to do.
    pub fn right(self) -> Right {
        match self {
            Fault::Kill | Fault::Hang | Fault::Stop | Fault::Orphan | Fault::DiskFull => Right::Failover(3),
            Fault::Freeze
            | Fault::Restart
            | Fault::Terminate
            | Fault::Crash
            | Fault::Saturate
            | Fault::Postmaster
            | Fault::Clock
            | Fault::Partition
            | Fault::Slow => Right::Nothing,
            Fault::Isolate | Fault::Poweroff => Right::Failover(4),
            Fault::PoweroffExclusive => Right::Failover(1),
            Fault::Standby | Fault::PoweroffUnproven | Fault::DiskFullCandidate => Right::Person,
            Fault::Engine | Fault::EngineLate => Right::FailoverOrPerson,
            Fault::Flap => Right::FailoverOnce,
        }
    }

    /// Whether acknowledged rows may be missing at the end where replication is asynchronous.
    pub fn may_lose(self) -> bool {
        // A server that is stopped cleanly has sent everything before.
        self.right() != Right::Nothing && self != Fault::Stop
    }

    /// The set-up it needs.
    pub fn set_up(self, options: PairOptions) -> PairOptions {
        match self {
            Fault::Partition | Fault::Isolate | Fault::Poweroff => PairOptions { network: true, power_switch: true, ..options },
            Fault::PoweroffUnproven => PairOptions { network: true, ..options },
            Fault::PoweroffExclusive => PairOptions { network: true, exclusive: true, ..options },
            // What the sessions commit while the engine looks elsewhere is more than the default permits to lose.
            Fault::Orphan => PairOptions { max_lag: "1GiB".to_owned(), ..options },
            // Each segment that is left to fill the disk counts as 16 MiB that a standby may not have yet.
            Fault::DiskFull => PairOptions { small_wal: Some("db1"), max_lag: "1GiB".to_owned(), ..options },
            Fault::DiskFullCandidate => PairOptions { small_wal: Some("db2"), ..options },
            Fault::Slow => PairOptions { slow: true, ..options },
            _ => options,
        }
    }

    /// Why it cannot be done on this machine.
    pub fn impossible(self) -> Option<String> {
        let needs = self.set_up(PairOptions::default());
        if needs.network {
            Network::impossible()
        } else if needs.small_wal.is_some() {
            mounting_impossible()
        } else {
            None
        }
    }
}
