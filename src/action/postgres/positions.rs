//! Where each standby stands, once its receiver has drained its buffer (rules 60 to 63, 90).

use std::time::{Duration, Instant};

use super::{Cluster, Server, kept_part};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::{self, Error, Session};
use failover_core::candidate;
use failover_core::id::ServerId;
use failover_core::output::{Failure, Report};
use failover_core::sample::{Lsn, Position, Receiver, Sample};
use failover_core::time::Span;

/// A standby that has not answered at all by then is not waited for: the others are, and the service is down meanwhile.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// Between two reads of one standby.
const READ_EVERY: Duration = Duration::from_millis(10);
/// A receiver that knows of more WAL than it has may still be fed from the kernel's buffers: its position has to rest this long.
const REST: Duration = Duration::from_millis(50);

impl Cluster {
    /// Reads the positions of standbys, all at the same time, each until it settles or `settle` is over. Changes nothing.
    ///
    /// A standby that cannot be asked is in the report with the reason, after at most a second; it takes no time from the others. The sessions stay open for
    /// the promotion that follows.
    ///
    /// # Errors
    /// When a server is not in the configuration, or cancelled.
    pub(crate) fn read_positions(
        &self,
        servers: &[ServerId],
        settle: Span,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let places = servers.iter().map(|server| Ok((*server, self.server(*server)?))).collect::<Result<Vec<_>, Failure>>()?;
        let settle = Duration::from(settle);
        let positions = std::thread::scope(|scope| {
            let readers: Vec<_> = places
                .into_iter()
                .map(|(server, place)| {
                    let reader = std::thread::Builder::new()
                        .name(format!("position-{server}"))
                        .spawn_scoped(scope, move || self.read_position(server, place, settle, deadline, cancel));
                    (server, reader)
                })
                .collect();
            readers
                .into_iter()
                .map(|(server, reader)| match reader {
                    Ok(reader) => reader.join().unwrap_or_else(|_| failed(server, "the reading thread panicked".to_owned())),
                    Err(error) => failed(server, format!("no thread to ask it with: {error}")),
                })
                .collect::<Vec<_>>()
        });
        if cancel.is_cancelled() {
            return Err(Failure::no_effect("cancelled while reading positions", ""));
        }
        Ok(Report::Positions(positions))
    }

    fn read_position(&self, server: ServerId, place: &Server, settle: Duration, deadline: Deadline, cancel: &Cancel) -> Position {
        let first = deadline.at_most(FIRST_ANSWER);
        let (mut session, first) = match self.first_sample(server, place, first, cancel) {
            Ok(pair) => pair,
            Err(error) => return failed(server, error.to_string()),
        };
        let until = deadline.at_most(settle);
        let mut rest = Rest::begin(&first);
        let mut last = first;
        let mut settled = false;
        while last.in_recovery && !settled {
            // Without a receiver nothing can follow what was received before: the second read need not wait.
            let drained = matches!(last.receiver, Receiver::Absent) && last.receive.is_some();
            let pause = if drained && !rest.is_proven() { Duration::ZERO } else { READ_EVERY };
            match cancel.pause(pause, until) {
                Ok(()) => {}
                Err(Interrupted::TimedOut | Interrupted::Cancelled) => break,
            }
            match postgres::sample(&mut session, self.clock.now(), deadline, cancel) {
                Ok(sample) => {
                    settled = rest.next(&sample);
                    last = sample;
                }
                // A standby that answered once and now does not is not one to promote.
                Err(error) => return failed(server, format!("answered once and then not again: {error}")),
            }
        }
        self.keep(server, session);
        Position { server, sample: Ok(last), settled }
    }

    fn first_sample(
        &self,
        server: ServerId,
        place: &Server,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(Session, Sample), Error> {
        if let Some(mut session) = self.take_kept(server)
            && let Ok(sample) = postgres::sample(&mut session, self.clock.now(), kept_part(deadline), cancel)
        {
            return Ok((session, sample));
        }
        let mut session = self.reach(server, place, deadline, cancel)?;
        let sample = postgres::sample(&mut session, self.clock.now(), deadline, cancel)?;
        Ok((session, sample))
    }
}

fn failed(server: ServerId, why: String) -> Position {
    Position { server, sample: Err(why), settled: false }
}

/// How long a position has been resting.
struct Rest {
    position: Option<Lsn>,
    since: Instant,
    equal_reads: u32,
    /// The read before said that it has replayed all that it has, or has received since its start.
    complete: bool,
}

impl Rest {
    fn begin(sample: &Sample) -> Rest {
        Rest { position: position(sample), since: Instant::now(), equal_reads: 1, complete: candidate::is_complete(sample) }
    }

    /// Takes the next read; true when the position has settled.
    fn next(&mut self, sample: &Sample) -> bool {
        let here = position(sample);
        if here != self.position {
            *self = Rest::begin(sample);
            return false;
        }
        self.equal_reads += 1;
        // One that has not received since its start may still replay what it had: that says it only at its end.
        let known = std::mem::replace(&mut self.complete, candidate::is_complete(sample)) && self.complete;
        here.is_some() && known && (!expects_more(sample) || self.since.elapsed() >= REST)
    }

    fn is_proven(&self) -> bool {
        self.equal_reads > 1
    }
}

/// The end of the WAL a standby has, durable: received or replayed, whichever is further (rule 61). The received position alone may
/// lie before what was replayed, and while local WAL is still being replayed the sum is not known yet.
fn position(sample: &Sample) -> Option<Lsn> {
    sample.receive.max(sample.replay)
}

/// Its receiver is there, and was told of WAL that it does not have yet, or cannot be seen.
fn expects_more(sample: &Sample) -> bool {
    match &sample.receiver {
        Receiver::Absent => false,
        Receiver::Hidden => true,
        Receiver::Seen { latest_end, .. } => *latest_end > position(sample),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(receive: Option<u64>, replay: Option<u64>, receiver: Receiver) -> Sample {
        Sample {
            in_recovery: true,
            system_id: 1,
            timeline: 1,
            receive: receive.map(Lsn),
            replay: replay.map(Lsn),
            receiver,
            ..Sample::default()
        }
    }

    fn streaming(latest_end: u64) -> Receiver {
        Receiver::Seen {
            streaming: true,
            latest_end: Some(Lsn(latest_end)),
            last_message_age: Span::ZERO,
            application_name: None,
            slot: None,
        }
    }

    #[test]
    fn two_equal_reads_settle_a_standby_without_a_receiver() {
        let mut rest = Rest::begin(&sample(Some(5), Some(4), Receiver::Absent));
        assert!(rest.next(&sample(Some(5), Some(5), Receiver::Absent)));
    }

    #[test]
    fn progress_of_the_receiver_begins_anew() {
        let mut rest = Rest::begin(&sample(Some(5), Some(4), streaming(6)));
        assert!(!rest.next(&sample(Some(6), Some(4), streaming(6))));
        assert!(rest.next(&sample(Some(6), Some(6), streaming(6))));
    }

    #[test]
    fn replay_beyond_a_stale_receive_position_counts() {
        // Rule 60: after a restart the received position is the start of a segment, while local WAL is still replayed.
        let mut rest = Rest::begin(&sample(Some(5), Some(7), Receiver::Absent));
        assert!(!rest.next(&sample(Some(5), Some(9), Receiver::Absent)));
        assert!(rest.next(&sample(Some(5), Some(9), Receiver::Absent)));
    }

    #[test]
    fn a_receiver_that_was_told_of_more_does_not_settle_at_once() {
        let mut rest = Rest::begin(&sample(Some(5), Some(5), streaming(9)));
        assert!(!rest.next(&sample(Some(5), Some(5), streaming(9))));
    }

    #[test]
    fn one_that_has_not_received_since_its_start_settles_only_at_the_end_of_its_log() {
        let mut rest = Rest::begin(&sample(None, Some(5), Receiver::Absent));
        assert!(!rest.next(&sample(None, Some(5), Receiver::Absent)));
        assert!(!rest.next(&sample(None, Some(5), Receiver::Absent)));
        let at_its_end = Sample { at_end: true, ..sample(None, Some(5), Receiver::Absent) };
        assert!(!rest.next(&at_its_end), "seen once");
        assert!(rest.next(&at_its_end));
        let mut rest = Rest::begin(&at_its_end);
        assert!(!rest.next(&Sample { replay_paused: true, ..at_its_end }));
    }

    #[test]
    fn no_position_at_all_never_settles() {
        let mut rest = Rest::begin(&sample(None, None, Receiver::Absent));
        assert!(!rest.next(&sample(None, None, Receiver::Absent)));
    }
}
