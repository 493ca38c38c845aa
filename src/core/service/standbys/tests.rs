//! Who is waited for.

use super::COMES_BACK;
use crate::Core;
use crate::id::ServerId;
use crate::kind::ServiceKind;
use crate::kind::tests::model;
use crate::sample::{Lsn, Sample};
use crate::service::{Service, Streamed};
use crate::time::{Mono, Span};

const STANDBY: ServerId = ServerId(1);

fn with<T>(ask: impl FnOnce(&mut Service, Mono) -> T) -> T {
    let mut core = Core::exhaustive(model(ServiceKind::Postgres));
    ask(&mut core.services[0], Mono::ZERO + Span::from_millis(60_000))
}

/// A failover that lacks answers waits for one that replays what it has, and calls a person beside one that has said all it has.
#[test]
fn one_that_replays_is_waited_for_and_one_that_has_said_everything_is_not() {
    let waits = |change: fn(&mut Sample)| {
        with(|service, now| {
            let mut sample = Sample { in_recovery: true, replay: Some(Lsn(500)), ..Sample::default() };
            change(&mut sample);
            let state = &mut service.servers[1];
            (state.sample, state.session_open) = (Some((now, sample)), true);
            service.is_on_its_way(STANDBY, now)
        })
    };
    assert!(waits(|_| ()));
    assert!(!waits(|sample| sample.at_end = true));
    assert!(!waits(|sample| sample.receive = Some(Lsn(500))));
    assert!(!waits(|sample| sample.replay_paused = true), "that does not end by itself");
    assert!(!waits(|sample| sample.delayed = true), "nor does that");
    assert!(!waits(|sample| sample.in_recovery = false));
}

#[test]
fn one_that_answered_a_moment_ago_is_waited_for_and_a_deposed_one_is_not() {
    let waits = |answered: Option<Span>, deposed| {
        with(|service, now| {
            let state = &mut service.servers[1];
            state.last_answer = answered.map(|ago| now - ago);
            state.deposed = deposed;
            service.is_on_its_way(STANDBY, now)
        })
    };
    let moment = Span::from_millis(1);
    assert!(waits(Some(COMES_BACK - moment), false));
    assert!(!waits(Some(COMES_BACK), false));
    assert!(!waits(Some(moment), true));
    assert!(!waits(None, false), "it never answered");
}

/// Without its receiver a standby shows the timeline of its control file, which may be the one before.
#[test]
fn one_is_on_the_timeline_that_it_streamed_unless_it_went_back() {
    let timeline = |position, at_end, change: fn(&mut Sample)| {
        with(|service, _| {
            service.servers[1].streamed = Some(Streamed { timeline: 2, position: Lsn(500), started: None });
            let replay = Some(Lsn(position));
            let mut sample = Sample { in_recovery: true, timeline: 1, replay, at_end, ..Sample::default() };
            change(&mut sample);
            service.timeline_of(STANDBY, &sample)
        })
    };
    assert_eq!(timeline(500, true, |_| ()), 2);
    assert_eq!(timeline(499, false, |_| ()), 2, "it has yet to replay what it has");
    assert_eq!(timeline(499, true, |_| ()), 1, "it is another copy");
    assert_eq!(timeline(900, true, |sample| sample.timeline = 3), 3);
    assert_eq!(timeline(500, true, |sample| sample.in_recovery = false), 1);
}
