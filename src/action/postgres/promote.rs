//! Promotion, never stalled by the 5 s trap (rules 37 to 41, 89, 96, 97).

use std::time::{Duration, Instant};

use super::fork;
use super::held_replay::Holders;
use super::identity::Identity;
use super::{Cluster, Server, denied, quoted, sqlstate, untouched};
#[cfg(feature = "ssh")]
use crate::action::host::HostControl;
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::version::too_old;
use crate::wire::postgres::{Error, Session, StartupWait};
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};
use failover_core::sample::Lsn;
use failover_core::survival::Forked;
use failover_core::time::Span;

/// How a standby is asked to become the primary.
#[derive(Clone, Copy)]
pub(crate) enum Promotion<'a> {
    /// `pg_promote()` over SQL.
    Sql,
    /// `pg_ctl promote` on the server's host.
    #[cfg(feature = "ssh")]
    PgCtl(&'a HostControl),
    /// A command of the user's. It is run once; its exit is not believed, the server is asked (rule 38).
    Command(&'a (dyn Fn(Deadline, &Cancel) -> Result<String, Failure> + Sync)),
}

/// A standby that does not answer by then is not asked at all: while nothing was sent, another one can be promoted.
const FIRST_CONTACT: Duration = Duration::from_secs(5);
/// The receiver has just ended: wait at most so long for the startup process to fall asleep, because a request that comes while it
/// is on its way there is swallowed (rule 89).
const SLEEP_WAIT: Duration = Duration::from_millis(150);
const SLEEP_POLL: Duration = Duration::from_millis(5);
/// Between two looks while the promotion is young, and after that.
const FAST_POLL: Duration = Duration::from_millis(4);
const SLOW_POLL: Duration = Duration::from_millis(10);
const FAST_FOR: Duration = Duration::from_millis(400);
const RECONNECT_EVERY: Duration = Duration::from_millis(25);
/// Between two nudges of a server that is still in recovery: each is a line in its log, and a long replay needs none.
const NUDGES: [(Duration, Duration); 3] = [
    (Duration::from_secs(1), Duration::from_millis(75)),
    (Duration::from_secs(10), Duration::from_millis(500)),
    (Duration::MAX, Duration::from_secs(2)),
];
/// Between two nudges of a startup process that is seen asleep although it was asked.
const NUDGE_SLEEPER_EVERY: Duration = Duration::from_millis(20);
/// Between two nudges while a command or pg_ctl is still at it: it may be the command that waits for the sleeper, but a reload before
/// the request would only bring a new receiver and its end.
const NUDGE_UNTOLD_EVERY: Duration = Duration::from_millis(500);
/// Between two nudges of one that is seen at work.
const NUDGE_BUSY_EVERY: Duration = Duration::from_secs(2);
/// No single question may eat the deadline: a connection that broke silently is given up after this long.
const QUESTION: Duration = Duration::from_secs(1);

const REQUEST_SQL: &str = "SELECT pg_catalog.pg_promote(false)";
pub(super) const RELOAD_SQL: &str = "SELECT pg_catalog.pg_reload_conf()";
const RIGHTS_SQL: &str = "SELECT coalesce(pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pg_catalog.pg_promote(boolean,integer)'), 'EXECUTE'), false) AS promote, \
     pg_catalog.has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload";
/// The function beneath `pg_stat_activity`, which is planned in a fraction of the time. `backend_type` is hidden without pg_monitor: then no row is found and nothing is waited for (rules 89, 92).
const STARTUP_SQL: &str = "\
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup') AS visible,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'walreceiver') AS receivers,
       (SELECT wait_event FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup') AS wait_event";
const LOOK_SQL: &str = concat!(
    "SELECT ",
    fork::next_xid!(),
    ", pg_catalog.pg_is_in_recovery() AS in_recovery, pg_catalog.pg_last_wal_replay_lsn() AS replayed, \
     (SELECT wait_event_type || '.' || wait_event FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup') AS startup_wait"
);
/// Between two looks at who keeps the replay from going on.
const HOLDERS_EVERY: Duration = Duration::from_secs(1);
/// What the startup process waits for when it sleeps through `wal_retrieve_retry_interval`.
const ASLEEP: &str = "RecoveryRetrieveRetryInterval";

/// What happened on the way, for the message.
struct Course {
    began: Instant,
    waited_for_sleep: Option<Duration>,
    requests: u32,
    /// The server took a request of ours.
    acknowledged: bool,
    reloads: u32,
    reconnects: u32,
    said: Option<Result<String, Failure>>,
    last: String,
    /// Who keeps its replay from going on, as last seen, and when that was looked for.
    holders: Option<Holders>,
    looked_for_holders: Option<Instant>,
    /// What the looks showed of the fork.
    forked: Forked,
}

impl Course {
    fn begun(last: String) -> Course {
        Course {
            began: Instant::now(),
            waited_for_sleep: None,
            requests: 0,
            acknowledged: false,
            reloads: 0,
            reconnects: 0,
            said: None,
            last,
            holders: None,
            looked_for_holders: None,
            forked: Forked::default(),
        }
    }
}

struct Rights {
    promote: bool,
    reload: bool,
}

impl Cluster {
    /// Promotes a standby and waits until it is writable on a new timeline: the point of no return.
    ///
    /// Asked again for a server that has already been promoted, it says so and succeeds. A time-out, a `false` or a broken
    /// connection is no answer: the server is asked until the deadline (rules 37, 97).
    ///
    /// # Errors
    /// `NoEffect`: this call sent nothing, or the server proved that it did not accept the request (not a standby, another
    /// cluster, unreachable, no right). Everything else leaves the effect unknown: find out with [`Cluster::read_role`].
    pub(crate) fn promote(
        &self,
        server: ServerId,
        promotion: Promotion<'_>,
        system_id: u64,
        old_timeline: u32,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let contact = deadline.at_most(FIRST_CONTACT);
        let (mut session, identity) = self.identified(server, place, contact, cancel).map_err(|error| untouched(name, &error))?;
        if let Some(report) = before_promotion(name, &identity, system_id, old_timeline)? {
            self.keep(server, session);
            return Ok(report);
        }
        let by_sql = matches!(promotion, Promotion::Sql);
        fits_its_version(name, identity.version)?;
        let rights = read_rights(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if by_sql && !rights.promote {
            return Err(Failure::no_effect(
                format!("role {} may not promote {name}: no EXECUTE on pg_promote; nothing was touched", identity.role),
                format!("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO {}", quoted(&identity.role)),
            ));
        }
        let mut course = Course::begun(identity.describe());
        course.waited_for_sleep = wait_for_sleep(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if cancel.is_cancelled() {
            return Err(Failure::no_effect(format!("cancelled before {name} was asked to promote itself"), ""));
        }
        let mut run =
            Run { cluster: self, place, session: Some(session), rights, system_id, old_timeline, deadline, cancel, course };
        let outcome = match promotion {
            Promotion::Sql => match run.request() {
                // The server refused: nothing was triggered.
                Err(error) if sqlstate(&error) == Some("42501") => Err(denied(name, "pg_promote", &error)),
                _ => run.watch(true, &|| None).map(|report| (report, run.session)),
            },
            #[cfg(feature = "ssh")]
            Promotion::PgCtl(host) => run.beside(&|deadline: Deadline, cancel: &Cancel| host.promote(deadline, cancel)),
            Promotion::Command(start) => run.beside(start),
        };
        let (report, session) = outcome?;
        if let Some(session) = session {
            self.keep(server, session);
        }
        Ok(report)
    }
}

/// Whether the right server is asked: what it has become, where it was promoted already.
fn before_promotion(name: &str, identity: &Identity, system_id: u64, old_timeline: u32) -> Result<Option<Report>, Failure> {
    if identity.system_id != system_id {
        return Err(Failure::no_effect(
            format!(
                "{name} belongs to another cluster: its system identifier is {}, expected {system_id}; it was not touched",
                identity.system_id
            ),
            "correct the host and port of this server in the configuration",
        ));
    }
    if identity.in_recovery {
        return Ok(None);
    }
    let how = format!("{name} was already promoted");
    let already = promoted(identity, system_id, old_timeline, Forked::default(), &how);
    already.map(Some).ok_or_else(|| {
        Failure::no_effect(
            format!("{name} is not a standby: it is {}; it was not touched", identity.describe()),
            "find out why it takes writes before anything is promoted",
        )
    })
}

/// What one look found.
enum Seen {
    InRecovery { startup_wait: Option<String> },
    Promoted(Box<Identity>),
}

fn nudge_interval(since: Duration) -> Duration {
    NUDGES.iter().find(|(until, _)| since < *until).map_or(Duration::from_secs(2), |(_, interval)| *interval)
}

/// A promotion under way.
struct Run<'a> {
    cluster: &'a Cluster,
    place: &'a Server,
    session: Option<Session>,
    rights: Rights,
    system_id: u64,
    old_timeline: u32,
    deadline: Deadline,
    cancel: &'a Cancel,
    course: Course,
}

impl Run<'_> {
    /// Starts `start` on a thread of its own and watches the server meanwhile: whatever it waits for, the server is nudged.
    fn beside(
        mut self,
        start: &(dyn Fn(Deadline, &Cancel) -> Result<String, Failure> + Sync),
    ) -> Result<(Report, Option<Session>), Failure> {
        let deadline = self.deadline;
        let cancel = self.cancel;
        let answer: parking_lot::Mutex<Option<Result<String, Failure>>> = parking_lot::Mutex::new(None);
        std::thread::scope(|scope| {
            let starter = std::thread::Builder::new().name("promote".into()).spawn_scoped(scope, || {
                *answer.lock() = Some(start(deadline, cancel));
            });
            if let Err(error) = starter {
                return Err(Failure::no_effect(format!("no thread for the promotion of {}: {error}", self.place.name), ""));
            }
            self.watch(false, &|| answer.lock().clone()).map(|report| (report, self.session))
        })
    }

    fn request(&mut self) -> Result<(), Error> {
        self.course.requests += 1;
        let outcome = self.ask(REQUEST_SQL);
        self.course.acknowledged |= outcome.is_ok();
        outcome
    }

    fn ask(&mut self, sql: &str) -> Result<(), Error> {
        let mut session = self.session()?;
        let outcome = session.query(sql, self.deadline.at_most(QUESTION), self.cancel).map(drop);
        // After a refusal the session is as good as before; after anything else it is not to be trusted.
        if !matches!(&outcome, Err(error) if error.server().is_none()) {
            self.session = Some(session);
        }
        outcome
    }

    /// The session at hand, or a new one to the same cluster.
    fn session(&mut self) -> Result<Session, Error> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        self.course.reconnects += 1;
        let part = self.deadline.at_most(QUESTION);
        let mut session = self.cluster.connect(&self.place.target, part, self.cancel)?;
        // The name may lead elsewhere by now, and a nudge is a request to promote.
        let system_id = Identity::read(&mut session, part, self.cancel)?.system_id;
        if system_id == self.system_id {
            Ok(session)
        } else {
            Err(Error::Protocol(format!("a server of another cluster answers now, system identifier {system_id}")))
        }
    }

    /// Looks until the server is promoted, and nudges it while it is not.
    fn watch(&mut self, by_sql: bool, said: &dyn Fn() -> Option<Result<String, Failure>>) -> Result<Report, Failure> {
        let mut nudged = Instant::now();
        let mut asleep = 0u32;
        loop {
            let since = self.course.began.elapsed();
            let mut pause = if since < FAST_FOR { FAST_POLL } else { SLOW_POLL };
            if self.course.said.is_none() {
                self.course.said = said();
            }
            match self.look() {
                Ok(Seen::Promoted(identity)) => {
                    let how = self.course.describe(&self.place.name);
                    let forked = self.course.forked;
                    return promoted(&identity, self.system_id, self.old_timeline, forked, &how).ok_or_else(|| {
                        Failure::unknown(
                            format!(
                                "{} left recovery as {}, expected cluster {} beyond timeline {}",
                                self.place.name,
                                identity.describe(),
                                self.system_id,
                                self.old_timeline
                            ),
                            "compare the timelines of all servers before any of them takes writes",
                        )
                    });
                }
                Ok(Seen::InRecovery { startup_wait }) => {
                    // The method ended with the proof that it did nothing, and nothing else was sent.
                    if let Some(Err(failure)) = &self.course.said
                        && failure.had_no_effect()
                        && self.course.requests == 0
                    {
                        return Err(failure.clone());
                    }
                    let wait = startup_wait.as_deref().map(StartupWait::parse);
                    self.look_for_holders(wait.is_some_and(|wait| wait.is_conflict()));
                    asleep = if wait.is_some_and(|wait| wait.event == ASLEEP) { asleep + 1 } else { 0 };
                    let due = match wait.map(|wait| wait.event) {
                        _ if !by_sql && self.course.said.is_none() => NUDGE_UNTOLD_EVERY,
                        _ if asleep > 1 => NUDGE_SLEEPER_EVERY,
                        // It is busy with the end of recovery, or with replay: it heard, or will look by itself.
                        Some(wait) if !wait.starts_with("Recovery") => NUDGE_BUSY_EVERY,
                        _ => nudge_interval(since),
                    };
                    if nudged.elapsed() >= due {
                        self.nudge(by_sql);
                        nudged = Instant::now();
                    }
                    self.course.last = match wait {
                        Some(wait) => format!("in recovery, startup process in {}", wait.event),
                        None => "in recovery".to_owned(),
                    };
                }
                // A last look that the deadline cut short says less than the one before it.
                Err(error) if error.is_timeout() && self.deadline.is_over() => {}
                Err(error) => {
                    self.course.last = format!("no answer ({error})");
                    pause = RECONNECT_EVERY;
                }
            }
            match self.cancel.pause(pause, self.deadline) {
                Ok(()) => {}
                Err(Interrupted::Cancelled) => {
                    return Err(Failure::cancelled(format!(
                        "cancelled while waiting for the promotion of {}; last seen: {}",
                        self.place.name, self.course.last
                    )));
                }
                Err(Interrupted::TimedOut) => {
                    return Err(self.course.timed_out(&self.place.name));
                }
            }
        }
    }

    /// One look: cheap while nothing has changed, and on the same connection everything that makes a promotion (rule 41).
    fn look(&mut self) -> Result<Seen, Error> {
        let part = self.deadline.at_most(QUESTION);
        let mut session = self.session()?;
        let rows = session.query(LOOK_SQL, part, self.cancel)?;
        let next = fork::read(&rows);
        let seen = if rows.get(0, "in_recovery") == Some("f") {
            let forked = &mut self.course.forked;
            forked.next_after = forked.next_after.or(next);
            forked.at = rows.get(0, "replayed").and_then(Lsn::parse);
            Seen::Promoted(Box::new(Identity::read(&mut session, part, self.cancel)?))
        } else {
            self.course.forked.next_before = next.or(self.course.forked.next_before);
            Seen::InRecovery { startup_wait: rows.get(0, "startup_wait").map(str::to_owned) }
        };
        self.session = Some(session);
        Ok(seen)
    }

    /// Whoever keeps its replay from going on is looked for while he is there: at the end there may be no time.
    fn look_for_holders(&mut self, conflict: bool) {
        if !conflict {
            (self.course.holders, self.course.looked_for_holders) = (None, None);
            return;
        }
        if self.course.looked_for_holders.is_some_and(|at| at.elapsed() < HOLDERS_EVERY) {
            return;
        }
        self.course.looked_for_holders = Some(Instant::now());
        let Some(mut session) = self.session.take() else { return };
        // It is for the message alone, so a failure says nothing; such a session is not used again.
        if let Ok(holders) = Holders::read(&mut session, self.deadline.at_most(QUESTION), self.cancel) {
            self.session = Some(session);
            self.course.holders = holders.filter(Holders::is_conflict).or(self.course.holders.take());
        }
    }

    /// Wakes a startup process that swallowed the request. A reload wakes it and leaves nothing behind; a second request may leave
    /// the file `promote`, so it is the second choice, or the first where no request was acknowledged yet.
    fn nudge(&mut self, by_sql: bool) {
        let asked = self.course.acknowledged || matches!(self.course.said, Some(Ok(_)));
        // What matters is what the next look sees, so the outcomes say nothing here.
        if self.rights.reload && (asked || !by_sql) {
            self.course.reloads += 1;
            let _ = self.ask(RELOAD_SQL);
        } else if self.rights.promote && (by_sql || asked) {
            let _ = self.request();
        }
    }
}

impl Course {
    /// The deadline passed, and it is still no primary.
    fn timed_out(&self, name: &str) -> Failure {
        let course = format!(
            "{}, and is not promoted after {}; last seen: {}",
            self.describe(name),
            Span::from(self.began.elapsed()),
            self.last
        );
        match &self.holders {
            Some(holders) => Failure::timed_out(
                format!("{course}; its replay is held: {}", holders.sentence()),
                format!("on {name}: {}; it becomes the primary once that is over", holders.remedy()),
            ),
            None => Failure::timed_out(course, "read the server's log; it may still become primary"),
        }
    }

    fn describe(&self, name: &str) -> String {
        use std::fmt::Write as _;
        let mut text = match &self.said {
            Some(Ok(said)) if !said.is_empty() => format!("{name} was asked to promote itself ({said})"),
            Some(Err(failure)) => format!("{name} was asked to promote itself (the request ended with: {})", failure.message),
            _ => format!("{name} was asked to promote itself"),
        };
        // Writing to a String cannot fail.
        if let Some(waited) = self.waited_for_sleep {
            let _ = write!(text, " after {} of waiting until its startup process could hear it", Span::from(waited));
        }
        let _ = write!(text, ", took {}", Span::from(self.began.elapsed()));
        if self.reloads > 0 {
            let _ = write!(text, ", nudged {} by a reload", times(self.reloads));
        }
        if self.requests > 1 {
            let _ = write!(
                text,
                ", asked {} times: a file \"promote\" may be left in its data directory, which the next start removes",
                self.requests
            );
        }
        if self.reconnects > 0 {
            let _ = write!(text, ", connected anew {}", times(self.reconnects));
        }
        text
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// The report if the server is promoted: not in recovery, on a later timeline, in the same cluster, all from one answer (rule 41).
fn promoted(identity: &Identity, system_id: u64, old_timeline: u32, forked: Forked, how: &str) -> Option<Report> {
    let flush = identity.flush?;
    (!identity.in_recovery && identity.system_id == system_id && identity.timeline > old_timeline).then(|| Report::Promoted {
        timeline: identity.timeline,
        flush,
        forked,
        message: format!("{how}; timeline {} at {flush}", identity.timeline),
    })
}

fn read_rights(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Rights, Error> {
    let rows = session.query(RIGHTS_SQL, deadline.at_most(QUESTION), cancel)?;
    Ok(Rights { promote: rows.get(0, "promote") == Some("t"), reload: rows.get(0, "reload") == Some("t") })
}

/// If the WAL receiver is gone, waits until the startup process sleeps, at most [`SLEEP_WAIT`]. `None`: nothing was waited for.
fn wait_for_sleep(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Option<Duration>, Error> {
    let began = Instant::now();
    let until = deadline.at_most(SLEEP_WAIT);
    loop {
        let rows = session.query(STARTUP_SQL, deadline.at_most(QUESTION), cancel)?;
        if rows.get(0, "visible") != Some("1") || rows.get(0, "receivers") != Some("0") {
            return Ok(None);
        }
        if rows.get(0, "wait_event") == Some(ASLEEP) || cancel.pause(SLEEP_POLL, until).is_err() {
            return Ok(Some(began.elapsed()));
        }
    }
}

/// Rule 187: a server whose version is not supported is not asked. Before PostgreSQL 13 one whose replay is paused would stay unpromoted
/// until somebody resumes (rule 39).
fn fits_its_version(name: &str, version: u32) -> Result<(), Failure> {
    match too_old(&(version / 10_000).to_string()) {
        Some(why) => Err(Failure::no_effect(
            format!("{name} was not promoted: {why}; nothing was touched"),
            "upgrade the server to a version that is supported",
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::fits_its_version;
    use failover_core::output::FailureKind;

    /// Rules 39 and 187.
    #[test]
    fn a_server_whose_version_is_not_supported_is_not_promoted() {
        let refused = |version| fits_its_version("db2", version).err().map(|failure| (failure.message, failure.kind));
        let why = "db2 was not promoted: PostgreSQL 12 is not supported; 13 to 18 are; nothing was touched".to_owned();
        assert_eq!(refused(120_022), Some((why, FailureKind::NoEffect)));
        assert!(refused(90_624).is_some());
        assert_eq!([refused(130_000), refused(180_006), refused(190_000)], [None, None, None]);
    }
}
