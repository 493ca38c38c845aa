use super::*;

/// Timeline 1 was left at 1,000 with the numbers up to 50, timeline 2 at 2,000 with those up to 80.
fn forks() -> Vec<Fork> {
    let fork = |from, at, next| Fork {
        from,
        to: from + 1,
        seen: Some(Forked { at: Some(Lsn(at)), next_before: Some(next), next_after: Some(next + 2) }),
    };
    vec![fork(1, 1_000, 50), fork(2, 2_000, 80)]
}

fn present(xact: XactStatus) -> Present {
    Present { timeline: 3, flush: Lsn(3_000), xact }
}

fn said(forks: &[Fork], xact: XactStatus, question: Question) -> (Survival, Because) {
    let verdict = answer(forks, &present(xact), question);
    (verdict.survival, verdict.because)
}

fn xid(xid: u64, timeline: impl Into<Option<u32>>) -> Question {
    Question::Xid { xid, timeline: timeline.into() }
}

fn position(at: u64, timeline: u32) -> Question {
    Question::Position { at: Lsn(at), timeline }
}

const REUSED: (Survival, Because) = (Survival::Unknown, Because::MayBeReused);
const BEHIND: (Survival, Because) = (Survival::No, Because::BehindFork);
const COMMITTED: (Survival, Because) = (Survival::Yes, Because::Committed);
const NO_TIMELINE: (Survival, Because) = (Survival::Unknown, Because::TimelineNotKnown);
const NO_RECORD: (Survival, Because) = (Survival::Unknown, Because::ForkNotRecorded);

/// Rule 237.
#[test]
fn a_number_that_may_have_been_given_out_again_is_unknown() {
    for (question, wanted) in [
        (xid(49, None), COMMITTED),
        (xid(50, None), REUSED),
        (xid(79, None), REUSED),
        (xid(80, None), REUSED),
        (xid(500, None), REUSED),
        (xid(49, 1), COMMITTED),
        (xid(50, 1), REUSED),
        (xid(51, 1), REUSED),
        (xid(52, 1), BEHIND),
        (xid(79, 1), BEHIND),
        (xid(79, 2), COMMITTED),
        (xid(81, 2), REUSED),
        (xid(82, 2), BEHIND),
        (xid(500, 3), COMMITTED),
    ] {
        assert_eq!(said(&forks(), XactStatus::Committed, question), wanted, "{question:?}");
    }
}

#[test]
fn what_the_primary_says_of_a_transaction_is_the_answer_before_the_fork() {
    for (xact, wanted) in [
        (XactStatus::Committed, COMMITTED),
        (XactStatus::Aborted, (Survival::No, Because::RolledBack)),
        (XactStatus::InProgress, (Survival::Unknown, Because::InProgress)),
        (XactStatus::TooOld, (Survival::Unknown, Because::TooOld)),
        (XactStatus::Future, (Survival::Unknown, Because::NotAssigned)),
        (XactStatus::NotAsked, (Survival::Unknown, Because::NotAsked)),
    ] {
        for question in [xid(49, None), xid(49, 1), xid(500, 3)] {
            assert_eq!(said(&forks(), xact.clone(), question), wanted, "{question:?}");
        }
    }
}

/// Rule 239.
#[test]
fn a_position_survived_up_to_the_fork_of_its_timeline() {
    for (question, wanted) in [
        (position(1_000, 1), (Survival::Yes, Because::BeforeFork)),
        (position(1_001, 1), BEHIND),
        (position(2_000, 2), (Survival::Yes, Because::BeforeFork)),
        (position(2_001, 2), BEHIND),
        (position(3_000, 3), (Survival::Yes, Because::Written)),
        (position(3_001, 3), (Survival::Unknown, Because::NotWritten)),
        (position(1, 4), NO_TIMELINE),
        (position(1, 0), NO_TIMELINE),
    ] {
        assert_eq!(said(&forks(), XactStatus::NotAsked, question), wanted, "{question:?}");
    }
}

/// Rule 238.
#[test]
fn a_fork_that_nobody_recorded_ends_what_is_known() {
    let both = forks();
    // By hand, from nobody knows where.
    let by_hand = [both[0], Fork { seen: None, ..both[1] }];
    assert_eq!(said(&by_hand, XactStatus::Committed, xid(49, 1)), NO_RECORD);
    assert_eq!(said(&by_hand, XactStatus::Committed, xid(49, None)), NO_RECORD);
    assert_eq!(said(&by_hand, XactStatus::NotAsked, position(1, 2)), NO_RECORD);
    assert_eq!(said(&by_hand, XactStatus::Committed, xid(500, 3)), COMMITTED);
    // The engine that promoted it did not live to say what it saw.
    let blind = [both[0], Fork { seen: Some(Forked::default()), ..both[1] }];
    assert_eq!(said(&blind, XactStatus::Committed, xid(49, 1)), COMMITTED);
    assert_eq!(said(&blind, XactStatus::Committed, xid(49, 2)), NO_RECORD);
    assert_eq!(said(&blind, XactStatus::Committed, xid(49, None)), NO_RECORD);
    assert_eq!(said(&blind, XactStatus::NotAsked, position(1, 2)), NO_RECORD);
    // Of the first fork nothing is known at all.
    assert_eq!(said(&both[1..], XactStatus::Committed, xid(49, None)), NO_TIMELINE);
    assert_eq!(said(&both[1..], XactStatus::Committed, xid(49, 1)), NO_TIMELINE);
    assert_eq!(said(&both[1..], XactStatus::Committed, xid(49, 2)), COMMITTED);
}

/// Rule 238.
#[test]
fn a_timeline_that_began_twice_is_of_nobody() {
    let twice = [forks()[0], forks()[1], Fork { from: 3, to: 3, seen: None }];
    for question in [xid(49, None), xid(49, 1), xid(79, 2), xid(500, 3), position(1, 3)] {
        assert_eq!(said(&twice, XactStatus::Committed, question), NO_TIMELINE, "{question:?}");
    }
}

#[test]
fn the_oldest_fork_is_forgotten_first() {
    let mut known = Vec::new();
    for from in 1..=u32::try_from(FORKS).unwrap() + 2 {
        remember(&mut known, Fork { from, to: from + 1, seen: None });
    }
    assert_eq!((known.len(), known[0].from), (FORKS, 3));
}

/// A cluster whose truth the answer does not see: a line of timelines, and what its former primaries wrote behind each fork.
struct World {
    dice: u64,
    /// The transactions of the present line, and those that were lost: timeline, number, where the commit ends, or that it was rolled back.
    line: Vec<(u32, u64, Option<u64>)>,
    lost: Vec<(u32, u64, Option<u64>)>,
    forks: Vec<Fork>,
    timeline: u32,
    lsn: u64,
    next: u64,
}

impl World {
    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn write(&mut self, count: u64) -> Vec<(u32, u64, Option<u64>)> {
        let mut written = Vec::new();
        for _ in 0..count {
            self.lsn += 1 + self.roll(9);
            let commit = (self.roll(4) > 0).then_some(self.lsn);
            written.push((self.timeline, self.next, commit));
            self.next += 1;
        }
        written
    }

    /// Some of it is lost: the standby has the log up to a point. The new primary has given out some numbers before anybody looked.
    fn fail_over(&mut self) {
        let (lsn, next) = (self.lsn, self.next);
        let behind = 1 + self.roll(12);
        let mut lost = self.write(behind);
        self.lost.append(&mut lost);
        (self.lsn, self.next) = (lsn, next);
        let from = self.timeline;
        let late = self.roll(3);
        let before = next.saturating_sub(self.roll(3));
        // By hand now and then, also to a number that was there already.
        let by_hand = self.roll(8) == 0;
        self.timeline += u32::from(!by_hand || self.roll(2) == 0);
        let mut begun = self.write(late);
        self.line.append(&mut begun);
        let known = self.roll(6) > 0;
        let seen = Forked {
            at: known.then_some(Lsn(lsn)),
            next_before: known.then_some(before),
            next_after: known.then_some(self.next),
        };
        remember(&mut self.forks, Fork { from, to: self.timeline, seen: (!by_hand).then_some(seen) });
    }

    fn present(&self, xid: u64) -> Present {
        let status = |(_, _, commit): &(u32, u64, Option<u64>)| match commit {
            Some(_) => XactStatus::Committed,
            None => XactStatus::Aborted,
        };
        let xact = self.line.iter().find(|(_, number, _)| *number == xid).map_or(XactStatus::Future, status);
        Present { timeline: self.timeline, flush: Lsn(self.lsn), xact }
    }
}

/// Rules 237 to 239: whatever happened, "yes" is said of nothing that is lost, and "no" of nothing that is there.
#[test]
fn no_answer_is_ever_wrong() {
    let mut answers = [0; 3];
    for seed in 0..2_000 {
        let mut world =
            World { dice: seed, line: Vec::new(), lost: Vec::new(), forks: Vec::new(), timeline: 1, lsn: 100, next: 10 };
        for _ in 0..=world.roll(5) {
            let count = world.roll(12);
            let mut written = world.write(count);
            world.line.append(&mut written);
            world.fail_over();
        }
        let (line, lost) = (world.line.clone(), world.lost.clone());
        let all = line.iter().map(|one| (one, true)).chain(lost.iter().map(|one| (one, false)));
        for ((timeline, xid, commit), there) in all {
            let truth = there && commit.is_some();
            let mut questions =
                vec![Question::Xid { xid: *xid, timeline: None }, Question::Xid { xid: *xid, timeline: Some(*timeline) }];
            questions.extend(commit.map(|at| Question::Position { at: Lsn(at), timeline: *timeline }));
            for question in questions {
                let verdict = answer(&world.forks, &world.present(*xid), question);
                let wrong = match verdict.survival {
                    Survival::Yes => !truth,
                    Survival::No => truth,
                    Survival::Unknown => false,
                };
                assert!(!wrong, "seed {seed}: {question:?} is answered {verdict:?}; forks {:?}", world.forks);
                answers[verdict.survival as usize] += 1;
            }
        }
    }
    assert!(answers.iter().all(|count| *count > 1_000), "{answers:?}");
}
