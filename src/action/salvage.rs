//! Salvage: what only the disk of a dead primary has of the log is carried to a standby, which replays it before it is promoted.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::ServiceActions;
use super::host::{HostControl, Log, PIECE, PageCheck, Place, Tail};
use super::postgres::Replayed;
use crate::deadline::{Cancel, Deadline};
use failover_core::id::ServerId;
use failover_core::output::{Failure, FailureKind, Report};
use failover_core::salvage::Salvaged;
use failover_core::sample::Lsn;

/// The spool is emptied within this part of the patience, at most.
const EMPTYING: Duration = Duration::from_millis(250);
/// To read where a standby is that lacks nothing.
const LOOK: Duration = Duration::from_millis(250);

/// What is to be salvaged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    /// The standby.
    pub(super) server: ServerId,
    /// The dead primary.
    pub(super) old: ServerId,
    /// The cluster's identity, and the timeline on which the log ends.
    pub(super) log: Log,
    /// What the standby has.
    pub(super) from: Lsn,
    /// At most this long for all of it.
    pub(super) patience: Duration,
}

impl ServiceActions {
    /// Finds the end of the old log, carries what the standby lacks, and waits until it has replayed that. Done again, it begins where the
    /// standby is by then.
    ///
    /// # Errors
    /// When the end of the old log could not be read: then nothing is known. What failed after that is in the answer.
    pub(super) fn salvage(&self, order: Order, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let (source, target) = (self.control(order.old)?, self.control(order.server)?);
        let deadline = deadline.at_most(order.patience);
        let Order { log, from, .. } = order;
        let tail = source.tail(log, from, deadline, cancel)?;
        let missing = tail.end.bytes_after(from);
        if missing == 0 {
            let replayed = self.replayed(order, Lsn(0), &mut || {}, deadline.at_most(LOOK), cancel).at.unwrap_or(from);
            return Ok(Report::Salvaged(Salvaged {
                end: tail.end,
                missing: 0,
                salvaged: 0,
                commits: Some(0),
                replayed,
                failed: None,
            }));
        }
        let work = deadline.at_most(deadline.remaining().saturating_sub(EMPTYING.min(deadline.remaining() / 4)));
        let carried = carry(source, target, log, from, tail, work, cancel);
        let wait = if carried.is_ok() { work } else { deadline.at_most(LOOK) };
        let goal = if carried.is_ok() { tail.end } else { Lsn(0) };
        // Whether it helped shows in the next look. A stopped receiver would hold up the promotion, too.
        let mut wake = || {
            let _ = target.wake(log, from, deadline, cancel);
        };
        if carried.is_err() {
            wake();
        }
        let got = self.replayed(order, goal, &mut wake, wait, cancel);
        // PostgreSQL has each segment in its own folder by now. What stays in the spool could be restored in place of a later log. Where all of
        // it lies there and time alone was short, it stays: the promotion replays it, and the spool is emptied after that.
        let to_replay = carried.is_ok() && got.at.is_none_or(|at| at < tail.end);
        let emptied = if to_replay { Ok(()) } else { target.unspool(deadline.at_most(EMPTYING), cancel) };
        if cancel.is_cancelled() {
            return Err(Failure::cancelled("cancelled while the end of the old log was carried over"));
        }
        let replayed = got.at.unwrap_or_default();
        let salvaged = replayed.min(tail.end).bytes_after(from);
        let failed = (salvaged < missing).then(|| {
            let mut why = match carried {
                Err(failure) => failure.message,
                Ok(()) => got.why.unwrap_or_else(|| "the time for it is over".to_owned()),
            };
            if let Err(failure) = emptied {
                why = format!("{why}; failover-spool could not be emptied there: {}", failure.message);
            }
            why
        });
        let commits = tail.commits.filter(|_| failed.is_none());
        Ok(Report::Salvaged(Salvaged { end: tail.end, missing, salvaged, commits, replayed, failed }))
    }

    fn replayed(&self, order: Order, goal: Lsn, wake: &mut dyn FnMut(), deadline: Deadline, cancel: &Cancel) -> Replayed {
        self.cluster.await_replay(order.server, order.log.system_id, goal, wake, deadline, cancel)
    }
}

/// A part of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    at: Lsn,
    bytes: u64,
    /// The last of its segment.
    closes: bool,
}

/// The parts from the page of a position up to the last byte, in whole pages, each within one segment.
fn pieces(from: Lsn, tail: &Tail) -> impl Iterator<Item = Piece> + use<> {
    let (page, segment, last) = (tail.page.max(1), tail.segment.max(1), tail.last_byte.0);
    let mut at = from.0 / page * page;
    std::iter::from_fn(move || {
        if at >= last {
            return None;
        }
        let segment_end = (at / segment + 1).saturating_mul(segment);
        let pages_end = last.checked_next_multiple_of(page)?.min(segment_end);
        let bytes = (pages_end - at).min(PIECE);
        let piece = Piece { at: Lsn(at), bytes, closes: at + bytes == pages_end };
        at += bytes;
        Some(piece)
    })
}

/// Carries what is missing, piece by piece: while one is written the next one is read, and no more than these are held.
fn carry(
    source: &HostControl,
    target: &HostControl,
    log: Log,
    from: Lsn,
    tail: Tail,
    deadline: Deadline,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let segments = (tail.last_byte.0.saturating_sub(1) / tail.segment).saturating_sub(from.0 / tail.segment).saturating_add(1);
    let total = segments.saturating_mul(tail.segment);
    let (sender, receiver) = sync_channel(0);
    std::thread::scope(|scope| {
        let read = move || {
            let mut check = PageCheck::new(log, tail);
            for piece in pieces(from, &tail) {
                let got = source.segment(log, piece.at, piece.bytes, deadline, cancel).and_then(|mut bytes| {
                    let checked = check.check(piece.at, &mut bytes);
                    checked.map(|()| bytes).map_err(|why| Failure::no_effect(format!("the old log is not whole: {why}"), ""))
                });
                let failed = got.is_err();
                if sender.send((piece, got)).is_err() || failed {
                    return;
                }
            }
        };
        let reader = std::thread::Builder::new().name("salvage".to_owned()).spawn_scoped(scope, read);
        let reader = reader.map_err(|error| Failure::no_effect(format!("no thread to read the old log with: {error}"), ""))?;
        let mut first = Some(total);
        let mut written = from.0 / tail.page.max(1) * tail.page;
        let mut outcome = Ok(());
        for (piece, got) in receiver {
            let place = Place { first: first.take(), closes: piece.closes, wakes: piece.at.0 + piece.bytes >= tail.last_byte.0 };
            outcome = got.and_then(|bytes| target.spool(log, piece.at, &bytes, place, deadline, cancel));
            if outcome.is_err() {
                break;
            }
            written = piece.at.0 + piece.bytes;
        }
        match reader.join() {
            Ok(()) if outcome.is_ok() && written < tail.last_byte.0 => Err(Failure {
                kind: FailureKind::NoEffect,
                message: format!("the old log was read up to {} only", Lsn(written)),
                remedy: String::new(),
            }),
            Ok(()) => outcome,
            Err(_) => Err(Failure::unknown("an internal error (panic)", "")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn cut(from: u64, last: u64) -> Vec<(u64, u64, bool)> {
        let tail = Tail { end: Lsn(last), last_byte: Lsn(last), commits: None, segment: 16 * MIB, page: 8192 };
        pieces(Lsn(from), &tail).map(|piece| (piece.at.0, piece.bytes, piece.closes)).collect()
    }

    #[test]
    fn the_log_is_cut_at_segments_and_into_pieces_of_whole_pages() {
        assert_eq!(cut(100, 200), [(0, 8192, true)]);
        assert_eq!(cut(8192, 8192), []);
        assert_eq!(cut(8191, 8193), [(0, 16384, true)]);
        // Up to the edge of a segment, and from it on.
        assert_eq!(cut(16 * MIB - 8192, 16 * MIB), [(16 * MIB - 8192, 8192, true)]);
        assert_eq!(cut(16 * MIB, 16 * MIB + 48), [(16 * MIB, 8192, true)]);
        let (first, rest) = (8 * MIB, 8 * MIB - 8192);
        assert_eq!(
            cut(8200, 33 * MIB),
            [
                (8192, first, false),
                (8192 + first, rest, true),
                (16 * MIB, first, false),
                (24 * MIB, first, true),
                (32 * MIB, MIB, true)
            ]
        );
    }
}
