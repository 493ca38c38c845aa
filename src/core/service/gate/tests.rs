//! A permission that only the tests have: a variant, its refusal, its rows. That it bars whoever acts, and is told everywhere, shows that
//! nobody else has to know of it.

use crate::Core;
use crate::effects::Effects;
use crate::id::{ServerId, ServiceId};
use crate::input::{Command, Input};
use crate::kind::ServiceKind;
use crate::kind::tests::{model, watched};
use crate::model::Model;
use crate::output::Output;
use crate::refusal::Refusal;
use crate::service::{Service, Surroundings};
use crate::time::{Mono, Span};

/// The services of this name are shut.
pub(super) const SHUT: &str = "shut";

fn named(name: &str) -> Model {
    let mut model = model(ServiceKind::Bare);
    name.clone_into(&mut model.services[0].name);
    model
}

/// The first server is dead.
fn after_a_death(name: &str) -> Core {
    watched(named(name), Mono::ZERO + Span::from_millis(10_000))
}

#[test]
fn a_new_bar_holds_for_a_failover_and_is_told_before_and_after() {
    let barred = after_a_death(SHUT).snapshot().services[0].clone();
    assert_eq!((barred.primary, barred.refusal), (Some(ServerId(0)), Some(Refusal::Shut)));
    let foretold = barred.forecast.outcome.expect_err("it is shut");
    assert!(foretold.contains(&Refusal::Shut), "{foretold:?}");
    assert_eq!(after_a_death("open").snapshot().services[0].primary, Some(ServerId(1)));
}

#[test]
fn a_new_hard_bar_holds_for_an_order() {
    let ordered = |name| {
        let mut core = watched(named(name), Mono::NEVER - Span::from_millis(60_000));
        let command = Command::Force { to: None, accept_loss: None };
        let outputs = core.step(core.next_deadline(), Input::Operator { service: None, command, token: 1 });
        let reply =
            |output| if let Output::Reply { result, .. } = output { Some(result.map(|answer| answer.message)) } else { None };
        outputs.into_iter().find_map(reply).expect("an answer")
    };
    assert_eq!(ordered(SHUT), Err("shut: a test has shut the gate".to_owned()));
    assert_eq!(ordered("open"), Ok("open: failover 1 has begun".to_owned()));
}

#[test]
fn a_new_bar_holds_for_what_is_done_beside_a_failover_and_wakes_nobody() {
    let pointed = |name| {
        let now = Mono::ZERO + Span::from_millis(1_000);
        let mut service = Service::new(ServiceId(0), named(name).services.remove(0), now);
        service.durable.primary = Some(ServerId(0));
        service.model.route.names = Some(Span::from_millis(1_000));
        service.names_follow(now);
        let woken = service.background.next(|act| service.may(act, Surroundings::default(), now)) == now;
        let mut fx = Effects::default();
        fx.now = now;
        service.point_names(&mut fx);
        (woken, fx.take().len())
    };
    assert_eq!(pointed(SHUT), (false, 0));
    assert_eq!(pointed("open"), (true, 1));
}
