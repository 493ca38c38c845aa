//! A check that the host program answers, and does not: what is not known moves nobody.

use crate::world::{application, check, ms, trigger};
use failover_core::Core;
use failover_core::event::EventKind;
use failover_core::health::Health;
use failover_core::id::ServerId;
use failover_core::input::{Input, SelfHealth};
use failover_core::model::{CheckKind, CheckModel, Model, ServiceModel, TriggerModel};
use failover_core::observation::{Finding, Verdict};
use failover_core::output::Output;
use failover_core::time::{Mono, Span};
use failover_core::trigger::State;

/// Two servers of an application, each asked by HTTP, and the first one also by a check of this kind.
fn model(kind: CheckKind) -> Model {
    let web = application("web", vec!["app1".into(), "app2".into()]);
    let checks = vec![check("page1", 0), check("page2", 1), CheckModel { kind, ..check("mine", 0) }];
    let trigger = TriggerModel { confirm_timeout: ms(5_000), ..trigger() };
    Model { seed: 1, services: vec![ServiceModel { checks, trigger, ..web }], max_concurrent_failovers: None }
}

/// Everything is answered at once but the third check, which is answered as long as `answers` says.
fn run(core: &mut Core, now: &mut Mono, span: Span, answers: bool) -> Vec<EventKind> {
    let end = *now + span;
    let mut inputs = vec![Input::SelfHealth(SelfHealth { workers: 4, journal_writable: true, ..SelfHealth::default() })];
    let mut events = Vec::new();
    while *now < end {
        for input in std::mem::take(&mut inputs) {
            for output in core.step(*now, input) {
                match output {
                    Output::RunCheck { run, check, .. } if check.0 < 2 || answers => {
                        let finding =
                            Finding { verdict: Verdict::Up, message: String::new(), began: *now, latency: ms(1), sample: None };
                        inputs.push(Input::CheckFinished { run, finding });
                    }
                    Output::Emit(event) => events.push(event.kind),
                    _ => {}
                }
            }
        }
        *now = if inputs.is_empty() { core.next_deadline().min(end) } else { *now + ms(1) };
        if inputs.is_empty() {
            inputs.push(Input::Tick);
        }
    }
    events
}

#[test]
fn a_host_check_that_nobody_answers_is_unknown_and_fails_nobody_over() {
    for answered_before in [false, true] {
        let mut core = Core::new(model(CheckKind::Host));
        let mut now = Mono::ZERO;
        if answered_before {
            run(&mut core, &mut now, ms(10_000), true);
            assert_eq!(core.snapshot().services[0].servers[0].health, Health::Healthy);
        }
        let events = run(&mut core, &mut now, ms(120_000), false);
        assert!(events.contains(&EventKind::Observed));
        let service = core.snapshot().services.remove(0);
        assert_eq!((service.state, service.primary), (State::Normal, Some(ServerId(0))), "answered before: {answered_before}");
        let check = &service.checks[2];
        let (_, last) = check.last.as_ref().expect("an answer");
        assert!(matches!(last.verdict, Verdict::Unknown(_)), "{last:?}");
        assert_eq!(check.verdicts[2], 0, "no run of it was a failure");
    }
}
