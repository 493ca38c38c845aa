//! The least that a kind can be: servers whose checks are believed at once. That the core works with it shows that it asks no kind
//! which one it is.

use super::{Examined, Kind, ServiceKind};
use crate::Core;
use crate::candidate::{Candidate, Ended, View, Waiver};
use crate::effects::Effects;
use crate::evidence::{FailureClass, Suspicion};
use crate::health::Health;
use crate::id::ServerId;
use crate::input::Input;
use crate::model::{
    CheckKind, CheckModel, FenceModel, Model, OnLoss, OnNoSyncStandby, Policy, PostgresModel, Role, RouteModel, ServerModel,
    ServiceModel, TriggerModel,
};
use crate::observation::{DownCause, Finding, Verdict};
use crate::output::{Action, EndedHow, Output, Record, Report};
use crate::plan::{Intent, Phase, Plan, Takeover};
use crate::procedure::{Next, OnStop, Step, Table, When, nothing};
use crate::reason::Reason;
use crate::refusal::{CandidateRefusal, Refusal};
use crate::route::InstanceView;
use crate::sample::{FenceLevel, RouteInstance};
use crate::service::gate::Act;
use crate::service::{Service, Surroundings};
use crate::stats::Judgement;
use crate::time::{Mono, Span};

pub(super) struct Bare;

impl Kind for Bare {
    fn as_str(&self) -> &'static str {
        "bare"
    }

    fn holds_data(&self) -> bool {
        false
    }

    fn keeps_sessions(&self) -> bool {
        false
    }

    fn moves_without_route(&self) -> bool {
        false
    }

    fn takes_over_by(&self) -> &'static str {
        "take over"
    }

    fn checked(&self, service: &mut Service, server: ServerId, _: &mut Effects) {
        if service.durable.primary.is_none() && service.is_subject(server) {
            (service.durable.primary, service.primary_seen) = (Some(server), true);
        }
    }

    fn primary_checked(&self, service: &mut Service, model: &CheckModel, finding: &Finding, fx: &mut Effects) {
        if finding.verdict == Verdict::Up {
            service.recovered("it answers", fx);
            return;
        }
        service.suspect(finding.began, fx);
        if let Some(suspicion) = &mut service.detection.suspicion {
            suspicion.answer(fx.now, &model.name, finding);
        }
    }

    fn suspected(&self, _: &mut Service, _: Mono) {}

    fn confirming(&self, _: &mut Service, _: Mono) {}

    fn route_seen(&self, _: &mut Service, _: &[InstanceView], _: &mut Effects) {}

    fn serves(&self, service: &Service, server: ServerId, _: Mono) -> bool {
        service.server_health(server) == Health::Healthy
    }

    fn may_be_adopted(&self, _: &Service, _: ServerId) -> Result<(), String> {
        Err("nobody is adopted here".to_owned())
    }

    fn silence_decides(&self, _: &Service, _: Mono) -> bool {
        false
    }

    fn failing(&self, service: &Service, _: Mono) -> Result<FailureClass, Refusal> {
        service.detection.suspicion.as_ref().map(|_| FailureClass::Dead).ok_or(Refusal::PrimaryHealthy)
    }

    fn failing_again(&self, service: &mut Service, _: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        self.failing(service, now)
    }

    fn may_fail_over(&self, service: &Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal> {
        service.gate(Act::FailOver, around, now)?;
        service.some_candidate(Ended::at(now), &Waiver::default(), now)?;
        self.failing(service, now)
    }

    fn may_come(&self, _: &Service, _: &[(ServerId, CandidateRefusal)]) -> bool {
        true
    }

    fn fence_way(&self, _: &Service, _: Reason, _: bool) -> Result<(FenceLevel, bool), Refusal> {
        Ok((FenceLevel::None, false))
    }

    fn examine(&self, service: &Service, old: Option<ServerId>, _: Ended, _: &Waiver, _: View, _: Mono) -> Examined {
        let others = service.server_ids().filter(|server| Some(*server) != old);
        let well = |server: ServerId| match service.server_health(server) {
            Health::Healthy => Ok(Candidate::of_application(server, 0)),
            _ => Err(CandidateRefusal::NotHealthy { why: "it does not answer".to_owned() }),
        };
        others.map(|server| (server, well(server))).collect()
    }

    fn takeover(&self) -> &'static dyn Takeover {
        &Moved
    }

    fn evidence_at_once(&self, _: &Service, _: Reason, _: &Waiver, _: Mono) -> Option<Vec<String>> {
        None
    }

    fn evidence(&self, _: &Service, _: (Reason, FenceLevel), suspicion: &Suspicion, _: &Waiver, _: Mono) -> Vec<String> {
        suspicion.record()
    }

    fn judgement(&self, reason: Reason, _: &Suspicion) -> Judgement {
        Judgement::of_application(reason)
    }

    fn is_alive_again(&self, service: &Service, begun: &Intent) -> bool {
        service.server_health(begun.old) == Health::Healthy
    }
}

/// The least that a takeover can be: another one that answers gets the traffic.
struct Moved;

static TABLE: Table<Plan> = Table {
    steps: &[
        Step {
            phase: Phase::Choose,
            when: When::Always,
            action: |_, _| None,
            outcome: |_, _, _, _| Next::Onward,
            without: choose,
            pause: Span::from_millis(1_000),
            undone_by: None,
        },
        Step {
            phase: Phase::RouteIn,
            when: When::Always,
            action: |_, plan| Some((Action::RouteIn { server: plan.chosen?.server, share: None }, Span::from_millis(1_000))),
            outcome: |_, plan, _, fx| {
                plan.times.routed = Some(fx.now);
                plan.taken_over();
                Next::Onward
            },
            without: nothing,
            pause: Span::from_millis(1_000),
            undone_by: None,
        },
    ],
    no_return: None,
    goes_on: None,
    on_stop: OnStop::Undone,
};

fn choose(service: &mut Service, plan: &mut Plan, fx: &mut Effects) -> Next<Phase> {
    let able = service.kind().examine(
        service,
        Some(plan.old),
        Ended::at(fx.now),
        &Waiver::default(),
        View::Guard { gone: false },
        fx.now,
    );
    plan.chosen = able.into_iter().find_map(|(_, result)| result.ok());
    if plan.chosen.is_some() { Next::Onward } else { Next::Undo("nobody answers".to_owned()) }
}

impl Takeover for Moved {
    fn table(&self) -> &'static Table<Plan> {
        &TABLE
    }

    fn names_chosen(&self, _: &Action) -> bool {
        false
    }

    fn stops_before(&self) -> &'static str {
        ""
    }

    fn stuck(&self) -> &'static str {
        "somewhere"
    }

    fn out_of_time(&self, _: &mut Service, _: &mut Plan, why: String, _: &mut Effects) -> Next<Phase> {
        Next::Undo(why)
    }

    fn deposed(&self, _: &mut Service, _: &Plan) {}

    fn completed(&self, _: &Service, _: &Plan, _: &Candidate, _: Mono, _: &mut Effects) {}

    fn resumes_at(&self) -> (&'static str, Phase) {
        ("the route is looked at", Phase::RouteIn)
    }
}

pub(crate) fn model(kind: ServiceKind) -> Model {
    let ms = Span::from_millis;
    let server = |name: &str, role| ServerModel {
        name: name.to_owned(),
        role,
        priority: 0,
        candidate: true,
        ssh: false,
        fence_command: false,
        replication_name: None,
    };
    let check = |server: u16| CheckModel {
        name: format!("check {server}"),
        server,
        kind: CheckKind::Scripted,
        interval: ms(1_000),
        fast_interval: ms(100),
        timeout: ms(1_000),
        failure_threshold: 3,
        success_threshold: 1,
    };
    let service = ServiceModel {
        name: "cache".to_owned(),
        kind,
        servers: vec![server("one", Role::Primary), server("two", Role::Standby)],
        checks: vec![check(0), check(1)],
        trigger: TriggerModel {
            failure_threshold: 3,
            failure_window: ms(10_000),
            policy: Policy::Count,
            cooldown: ms(60_000),
            require_confirmation: false,
            confirm_timeout: ms(60_000),
            failover_timeout: ms(60_000),
            hang_after: ms(3_000),
            ping_interval: ms(500),
            restart_grace: ms(1_000),
            on_impaired: None,
        },
        fence: FenceModel { require: FenceLevel::ProvenStopped, timeout: ms(1_000) },
        postgres: PostgresModel {
            max_lag_bytes: 0,
            on_loss: OnLoss::Refuse,
            promotion_timeout: ms(1_000),
            on_no_sync_standby: OnNoSyncStandby::Block,
            allow_delayed: false,
            salvage: crate::model::OnSalvage::Off,
            salvage_timeout: Span::ZERO,
            followers: crate::model::OnNewPrimary::Off,
            rejoin: crate::model::OnRejoin::Manual,
            sync: crate::model::SyncModel::default(),
        },
        route: RouteModel { instances: 1, ..RouteModel::none() },
        pre_checks: false,
        follows: None,
    };
    Model { seed: 1, services: vec![service], max_concurrent_failovers: None }
}

/// What becomes of them: each check of the first server fails from `dies` on.
pub(crate) fn watched(model: Model, dies: Mono) -> Core {
    let mut core = Core::new(model);
    let (mut now, mut inputs) = (Mono::ZERO, vec![Input::Tick]);
    for _ in 0..10_000 {
        let input = inputs.pop().unwrap_or(Input::Tick);
        for output in core.step(now, input) {
            match output {
                Output::RunCheck { run, check, .. } => {
                    let down = check.0 == 0 && now >= dies;
                    let verdict = if down { Verdict::Down(DownCause::Refused) } else { Verdict::Up };
                    let message = "as it is".to_owned();
                    let finding = Finding { verdict, message, began: now, latency: Span::ZERO, sample: None };
                    inputs.push(Input::CheckFinished { run, finding });
                }
                Output::RunAction { id, .. } => {
                    let instance = RouteInstance { name: "lb".to_owned(), result: Ok(String::new()) };
                    inputs.push(Input::ActionFinished { action: id, outcome: Ok(Report::Route(vec![instance])) });
                }
                Output::Journal(Record::Ended { how, .. }) => assert_eq!(how, EndedHow::Completed),
                _ => {}
            }
        }
        if now > dies + Span::from_millis(30_000) {
            break;
        }
        if inputs.is_empty() {
            now = core.next_deadline();
        }
    }
    core
}

#[test]
fn another_kind_is_moved_by_the_same_core() {
    for kind in [ServiceKind::Bare, ServiceKind::Application] {
        let moved = |dies| watched(model(kind), dies).snapshot().services[0].primary;
        assert_eq!(moved(Mono::NEVER - Span::from_millis(60_000)), Some(ServerId(0)), "{kind:?}");
        assert_eq!(moved(Mono::ZERO + Span::from_millis(10_000)), Some(ServerId(1)), "{kind:?}");
    }
}
