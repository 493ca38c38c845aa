//! What an ordered failover away from a living primary does to it: the orderly stop, the proof that a standby has received the whole
//! log, and the way back.

use std::time::{Duration, Instant};

use super::ServiceActions;
use super::host::HostControl;
use crate::deadline::{Cancel, Deadline, Interrupted};
use failover_core::candidate;
use failover_core::handover::{Receipt, Stopped};
use failover_core::id::{Generation, ServerId};
use failover_core::output::{Failure, FailureKind, Report};
use failover_core::sample::{ControlData, ControlState, FenceLevel, LogEnd, Position, ProcessState};
use failover_core::time::Span;

/// Between two looks at the control file, and at the positions.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The processes are counted at every so manieth look at the control file: that takes longer.
const COUNT_EVERY: u32 = 10;
/// So many looks in a row may fail.
const FAILED_LOOKS: u32 = 5;
/// Between two of those.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// One look that takes longer is given up.
const ONE_LOOK: Duration = Duration::from_secs(2);
/// One round of positions that takes longer is given up.
const ONE_ROUND: Duration = Duration::from_secs(1);
/// Another standby than the wanted one counts this long after it has the whole log.
const OTHERS_AFTER: Duration = Duration::from_millis(250);
/// To end what is left of a server whose log has ended: a third of it is for going by itself.
const LEFTOVERS: Duration = Duration::from_secs(3);
/// A checkpoint was made before the order, so a shutdown that takes longer waits for somebody who does not come.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// A server that was started is asked over SQL this long, at most half of what is left.
const SERVES_WITHIN: Duration = Duration::from_secs(10);

/// The log whose end is waited for.
#[derive(Clone, Copy)]
pub(super) struct Log {
    /// Whose.
    pub(super) server: ServerId,
    /// The cluster's identity.
    pub(super) system_id: u64,
    /// On which timeline it has to end.
    pub(super) timeline: u32,
}

impl ServiceActions {
    /// Guard and SIGINT, never more, and nothing is waited for.
    pub(super) fn stop_server(
        &self,
        server: ServerId,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let order = self.control(server)?.stop(generation, deadline, cancel)?;
        let guard = if order.guard_placed { "standby.signal placed" } else { "standby.signal was there before" };
        let asked = order.postmaster.map_or_else(|| "no postmaster runs".to_owned(), |pid| format!("SIGINT to postmaster {pid}"));
        Ok(Report::Done { message: format!("{guard}; {asked}") })
    }

    /// Waits for the end of the log, then for a standby that has all of it.
    pub(super) fn read_receipt(
        &self,
        log: Log,
        standbys: &[ServerId],
        patience: Duration,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let stopped = await_end(self.control(log.server)?, log, deadline.at_most(STOPS_WITHIN), cancel)?;
        let end = match &stopped {
            Stopped::InOrder(end) => Some(*end),
            _ => None,
        };
        let until = deadline.at_most(patience);
        let mut others_since: Option<Instant> = None;
        let mut positions: Vec<Position> = Vec::new();
        loop {
            for read in self.read_once(standbys, deadline.at_most(ONE_ROUND), cancel)? {
                // What one had is not forgotten where it does not answer again.
                match positions.iter_mut().find(|known| known.server == read.server) {
                    Some(known) if read.sample.is_ok() || known.sample.is_err() => *known = read,
                    Some(_) => {}
                    None => positions.push(read),
                }
            }
            let has = |position: &Position| has_all(position, log, end);
            if positions.iter().any(has) {
                others_since.get_or_insert_with(Instant::now);
            }
            let wanted = positions.iter().any(|position| standbys.first() == Some(&position.server) && has(position));
            let enough = end.is_none() || wanted || others_since.is_some_and(|since| since.elapsed() >= OTHERS_AFTER);
            if !enough {
                match cancel.pause(LOOK_EVERY, until) {
                    Ok(()) => continue,
                    Err(Interrupted::Cancelled) => return Err(Failure::cancelled("cancelled while waiting for the receipt")),
                    Err(Interrupted::TimedOut) => {}
                }
            }
            return Ok(Report::Receipt(Receipt { stopped, positions }));
        }
    }

    /// One read of each position, without waiting for any to settle.
    fn read_once(&self, standbys: &[ServerId], deadline: Deadline, cancel: &Cancel) -> Result<Vec<Position>, Failure> {
        match self.cluster.read_positions(standbys, Span::ZERO, deadline, cancel)? {
            Report::Positions(positions) => Ok(positions),
            _ => Err(Failure::no_effect("the action returned an answer that does not fit it", "")),
        }
    }

    /// Starts a server that was stopped, and waits until it takes writes. One that runs on all the time only loses its guard. What is left
    /// of one whose log has ended, such as a sender to a standby that hangs, is ended before: it holds the start, and writes no more.
    pub(super) fn start_server(
        &self,
        server: ServerId,
        generation: Generation,
        view_confirmed: bool,
        overdue: bool,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let control = self.control(server)?;
        let first = match control.start(generation, deadline, cancel) {
            Ok(said) => return self.started(server, &said, deadline, cancel),
            Err(failure) if failure.had_no_effect() => failure,
            Err(failure) => return Err(failure),
        };
        match self.recovers(server, deadline.at_most(ONE_ROUND), cancel) {
            Some(false) => {
                let said = control.undo(generation, deadline, cancel)?;
                return Ok(Report::Done { message: format!("it serves all the time; {said}") });
            }
            Some(true) => return Err(in_recovery("it runs")),
            None => {}
        }
        let ended = control.control(deadline.at_most(ONE_LOOK), cancel).is_ok_and(|data| data.state == ControlState::ShutDown);
        // A sender that its standby does not hear holds a shutdown for as long as wal_sender_timeout.
        if !ended && !overdue {
            return Err(first);
        }
        control.fence(generation, FenceLevel::ProvenStopped, false, view_confirmed, deadline.at_most(LEFTOVERS), cancel)?;
        let said = control.start(generation, deadline, cancel)?;
        self.started(server, &format!("what was left of it was ended; {said}"), deadline, cancel)
    }

    /// After a start that went well: it is back when it takes writes.
    fn started(&self, server: ServerId, said: &str, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let began = Instant::now();
        let until = deadline.at_most(SERVES_WITHIN.min(deadline.remaining() / 2));
        loop {
            let recovers = self.recovers(server, until.at_most(ONE_ROUND), cancel);
            if recovers == Some(false) {
                return Ok(Report::Done { message: format!("{said}; it takes writes after {}", Span::from(began.elapsed())) });
            }
            if cancel.pause(LOOK_EVERY, until).is_err() {
                return Err(match recovers {
                    Some(_) => in_recovery(said),
                    None => Failure::timed_out(format!("{said}; it does not answer yet"), "read its server log"),
                });
            }
        }
    }

    /// Whether it is in recovery; `None` while it does not answer.
    fn recovers(&self, server: ServerId, deadline: Deadline, cancel: &Cancel) -> Option<bool> {
        match self.cluster.read_role(server, deadline, cancel) {
            Ok(Report::Role { in_recovery, .. }) => Some(in_recovery),
            _ => None,
        }
    }
}

fn in_recovery(said: &str) -> Failure {
    Failure::no_effect(
        format!("{said}; it is in recovery and takes no writes"),
        "remove standby.signal from its data directory and restart it, if it is to be the primary",
    )
}

/// Waits until `pg_control` says "shut down", which proves that no more log can be written; whether the processes are gone does not matter.
fn await_end(control: &HostControl, log: Log, deadline: Deadline, cancel: &Cancel) -> Result<Stopped, Failure> {
    let (mut looks, mut failed) = (0_u32, 0_u32);
    loop {
        let mut pause = LOOK_EVERY;
        let state = match control.control(deadline.at_most(ONE_LOOK), cancel) {
            Ok(data) if data.system_id != log.system_id => {
                return Err(Failure::no_effect("the data directory on that host is another cluster's", "correct data_dir"));
            }
            Ok(data) => {
                if let Some(stopped) = in_order(&data, log) {
                    return Ok(stopped);
                }
                failed = 0;
                data.state.as_str().to_owned()
            }
            Err(failure) => {
                failed += 1;
                if failed >= FAILED_LOOKS || failure.kind == FailureKind::Cancelled {
                    return Err(failure);
                }
                pause = AFTER_FAILURE;
                "it could not be read".to_owned()
            }
        };
        looks += 1;
        if looks % COUNT_EVERY == 0
            && let Some(stopped) = ended_otherwise(control, log, deadline, cancel)
        {
            return Ok(stopped);
        }
        match cancel.pause(pause, deadline) {
            Ok(()) => {}
            Err(Interrupted::Cancelled) => return Err(Failure::cancelled("cancelled while the server was stopping")),
            Err(Interrupted::TimedOut) => return Ok(Stopped::NotYet { state }),
        }
    }
}

/// No process is left, or the postmaster stands still: the control file will not change any more.
fn ended_otherwise(control: &HostControl, log: Log, deadline: Deadline, cancel: &Cancel) -> Option<Stopped> {
    let report = control.report(false, deadline.at_most(ONE_LOOK), cancel).ok()?;
    if report.postmaster == ProcessState::Stopped {
        return Some(Stopped::Frozen);
    }
    if report.postmaster != ProcessState::Gone || report.others > 0 {
        return None;
    }
    // It may have been written in between.
    let data = control.control(deadline.at_most(ONE_LOOK), cancel).ok()?;
    Some(in_order(&data, log).unwrap_or_else(|| Stopped::Crashed { state: data.state.as_str().to_owned() }))
}

/// The control file says that the log has ended as it should.
fn in_order(data: &ControlData, log: Log) -> Option<Stopped> {
    (data.state == ControlState::ShutDown && data.timeline == log.timeline)
        .then_some(Stopped::InOrder(LogEnd { at: data.checkpoint, timeline: data.timeline }))
}

/// It has more than the place where the last checkpoint of that log begins: the checkpoint itself, which is the end of it.
fn has_all(position: &Position, log: Log, end: Option<LogEnd>) -> bool {
    position.sample.as_ref().is_ok_and(|sample| {
        sample.in_recovery
            && sample.system_id == log.system_id
            && end.is_some_and(|end| candidate::position(sample).is_some_and(|at| at > end.at))
    })
}
