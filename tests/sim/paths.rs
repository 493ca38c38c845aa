//! Questions that the engine asks of servers, hosts and load balancers, and their answers on the way.

use failover_core::id::RunId;
use failover_core::input::Input;
use failover_core::model::CheckKind;
use failover_core::observation::{Close, CloseCause, DownCause, UnknownCause, Verdict};
use failover_core::route::{InstanceKind, InstanceTrouble, InstanceView, RouteState, RouteSurvey, ServerView};
use failover_core::sample::{Readiness, Sample};
use failover_core::time::{Mono, Span};

use super::super::cluster::{Cluster, Instance, Process};
use super::super::swarm::{Damage, Link};
use super::{Asked, Sim, server_id, service_id};

impl Sim {
    #[expect(clippy::too_many_arguments, reason = "one place where a question is put on its way")]
    pub(super) fn ask(
        &mut self,
        run: RunId,
        about: (usize, usize),
        latency: Span,
        deadline: Mono,
        input: Input,
        opens: Option<(usize, usize)>,
        sampled: Option<Mono>,
        alive: bool,
    ) {
        let deadline = self.world(deadline);
        // A stuck thread brings nothing back: the core has to give its question up.
        let lost = self.stuck && self.dice.percent(75);
        let due = if lost { Mono::NEVER } else { self.now + latency };
        self.asked.push(Asked { due, deadline, run, input: Some(input), opens, sampled, about, alive });
    }

    pub(super) fn check(&mut self, run: RunId, service: usize, check: usize, sample: bool, deadline: Mono) {
        let model = &self.setup.model.services[service].checks[check];
        let (server, kind) = (usize::from(model.server), model.kind);
        let began = self.own(self.now);
        let timeout = deadline.since(began);
        let (latency, mut verdict) = self.clusters[service].probe(server, timeout, &mut self.dice);
        if kind != CheckKind::Postgres && self.clusters[service].servers[server].others_fail {
            verdict = Verdict::Down(DownCause::WrongAnswer);
        }
        let mut told = None;
        let asks = sample && kind == CheckKind::Postgres && verdict == Verdict::Up;
        if asks && self.clusters[service].servers[server].damage == Some(Damage::All) {
            verdict = Verdict::Unknown(UnknownCause::Unclassified);
        } else if asks {
            told = Some(self.clusters[service].sample(server, began, self.now));
        }
        let alive = kind == CheckKind::Postgres && verdict.is_sign_of_life();
        let sampled = told.as_ref().map(|_| self.now);
        let finding = Cluster::finding(verdict, began, latency, told);
        self.ask(run, (service, server), latency, deadline, Input::CheckFinished { run, finding }, None, sampled, alive);
    }

    pub(super) fn close_sessions(&mut self, service: usize, server: usize, cause: CloseCause) {
        if !std::mem::take(&mut self.clusters[service].servers[server].session) {
            return;
        }
        let close = Close { cause, message: "by the simulator".into() };
        self.feed(Input::SessionClosed { service: service_id(service), server: server_id(server), close });
    }

    pub(super) fn ping(&mut self, service: usize, server: usize) {
        let interval = self.setup.model.services[service].trigger.ping_interval;
        self.clusters[service].servers[server].next_ping = self.now + interval;
        let one = &self.clusters[service].servers[server];
        let answers = one.port == Link::Open && one.power && one.process == Process::Running && !self.dice.percent(one.flaky);
        let slow = one.slow;
        // What nobody can read is no answer.
        if !answers || one.damage == Some(Damage::All) {
            return;
        }
        let sample = Box::new(self.clusters[service].sample(server, self.own(self.now), self.now));
        if slow == 0 {
            self.session_answers(service, server, sample, self.now);
        } else {
            // It is asked again when it has answered.
            let due = self.now + Span::from_millis(slow);
            self.clusters[service].servers[server].next_ping = due + interval;
            self.late_words.push((due, service, server, sample));
        }
    }

    /// The word of a slow server arrives, if its session is still there.
    pub(super) fn heard_late(&mut self, service: usize, server: usize, sample: Box<Sample>) {
        let one = &self.clusters[service].servers[server];
        if one.session && one.power && one.process == Process::Running && one.port == Link::Open {
            let asked = self.world(sample.asked);
            self.session_answers(service, server, sample, asked);
        }
    }

    fn session_answers(&mut self, service: usize, server: usize, sample: Box<Sample>, asked: Mono) {
        self.watch.answered(service, server, self.now, Some(asked));
        self.hear(service, server, &sample);
        self.feed(Input::SessionAnswered { service: service_id(service), server: server_id(server), sample });
    }

    pub(super) fn survey(&mut self, service: usize, server: Option<usize>) {
        let asked = self.own(self.now);
        if self.surveyless {
            return;
        }
        let cluster = &self.clusters[service];
        if let Some(server) = server {
            if !self.setup.model.services[service].servers[server].ssh {
                return;
            }
            let word = cluster.host_word(server, asked, false).ok_or_else(|| "no answer from the host".to_owned());
            let readiness =
                Readiness { asked, ssh: Some(word), findings: Vec::new(), earlier: Vec::new(), switchover: None, sources: None };
            self.feed(Input::Surveyed { service: service_id(service), server: server_id(server), readiness });
            return;
        }
        self.look_at_route(service);
    }

    /// What the surveys see of the load balancers, and the watch over a route that was moved.
    pub(super) fn look_at_route(&mut self, service: usize) {
        let asked = self.own(self.now);
        let cluster = &self.clusters[service];
        let view = |instance: &Instance| InstanceView {
            name: "lb".into(),
            backend: "db".into(),
            servers: if instance.reachable {
                Ok(cluster
                    .servers
                    .iter()
                    .zip(&instance.serves)
                    .map(|(server, serves)| {
                        let state = if *serves { RouteState::Takes } else { RouteState::Maint };
                        ServerView::new(&server.name, &server.name, state)
                    })
                    .collect())
            } else {
                Err(InstanceTrouble { no_backend: false, message: "refused".into(), remedy: String::new() })
            },
            kind: InstanceKind::Haproxy,
            gate: Vec::new(),
            unnamed: Vec::new(),
        };
        let instances = cluster.instances.iter().map(view).collect();
        self.feed(Input::RouteSurveyed { service: service_id(service), survey: RouteSurvey { asked, instances } });
    }
}
