//! The engine around the core: it starts, dies and stops, carries outputs out, and keeps the journal.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use failover_core::Core;
use failover_core::durable::Durable;
use failover_core::event::{Event, EventKind};
use failover_core::id::{ActionId, Generation};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::observation::Verdict;
use failover_core::output::{Action, EndedHow, Failure, Output, Record, Step};
use failover_core::plan::Intent;
use failover_core::time::{Mono, Span};

use super::super::cluster::{Cluster, Process};
use super::super::swarm::Fault;
use super::promises::judge_adopted;
use super::{Sim, WORKERS, When, ms, service_id};

impl Sim {
    pub(super) fn start_engine(&mut self) {
        self.restored = false;
        self.base = self.now;
        self.suspends.clear();
        self.woken.clear();
        self.untold = Span::ZERO;
        self.awake_at = self.now;
        self.core = Some(Core::new(self.setup.model.clone()));
        self.age_pauses();
        for (at, known) in self.known.iter().enumerate() {
            let begun = known.begun.as_ref().map(|begun| begun.generation.0);
            self.watch.new_life(at, self.now, known.facts.as_ref(), known.generation, begun);
            if known.ended.is_some_and(|(when, _)| self.wall > when.wall) {
                // By the clock that was set forward it is over sooner.
                self.watch.cooldown_over(at);
            }
        }
        self.feed(Input::SelfHealth(self.health(Span::ZERO)));
        for at in 0..self.clusters.len() {
            if let Some(facts) = self.facts(at) {
                self.unfinished[at] |= facts.begun.is_some();
                self.feed(Input::Restored { service: service_id(at), facts: Box::new(facts) });
            }
            self.begin_surveys(at);
            self.route_looks[at] = self.now;
        }
        self.restored = true;
    }

    /// What is left of a pause, by the wall clock; none becomes longer by it than it was asked for.
    pub(super) fn age_pauses(&mut self) {
        let now = self.stamp();
        for known in &mut self.known {
            if let Some(facts) = &mut known.facts {
                if let Some(pause) = &mut facts.pause {
                    let left = pause.left(Mono::ZERO).map(|left| later(left, now.since(known.written)));
                    pause.ends = left.map(|left| Mono::ZERO + pause.lasts.map_or(left, |lasts| left.min(lasts)));
                }
                known.written = now;
            }
        }
    }

    pub(super) fn begin_surveys(&mut self, service: usize) {
        for server in 0..self.clusters[service].configured {
            self.surveys.push((self.now + ms(900), service, Some(server)));
        }
        self.surveys.push((self.now + ms(950), service, None));
    }

    /// What the journal and the file of what was seen tell an engine now.
    pub(super) fn facts(&self, service: usize) -> Option<Facts> {
        let known = self.known[service].clone();
        let seen = self.seen.1.get(service).cloned().flatten();
        if known.facts.is_none() && known.generation == 0 && seen.is_none() {
            return None;
        }
        let now = self.stamp();
        let age = known.ended.map(|(when, age)| older(age, now.since(when)));
        let durable = known.facts.unwrap_or_default().with_failover_age(age);
        Some(Facts {
            durable: Durable { generation: Generation(known.generation), ..durable },
            unfinished: known.unfinished.clone(),
            begun: known
                .begun
                .clone()
                .map(|begun| Intent { first_bad: begun.first_bad.map(|age| older(age, now.since(known.intended))), ..begun }),
            // The clock that goes on while the machine sleeps, and that nobody can set.
            knowledge: seen.map(|seen| Box::new(seen.aged(self.now.since(self.seen.0)))),
        })
    }

    pub(super) fn crash(&mut self, down: Span) {
        if self.told {
            self.note("the engine is killed");
        }
        self.core = None;
        self.forget();
        self.asked.clear();
        self.late_words.clear();
        self.inbox.clear();
        self.surveys.clear();
        self.commands.clear();
        self.owed.clear();
        self.unintended.clear();
        self.unfacted.clear();
        // What was on its way to be done is done, or not.
        for doing in std::mem::take(&mut self.doing) {
            if doing.outcome.is_none() && self.dice.percent(50) {
                let _ = self.effect(doing.service, &doing.action);
            }
        }
        for cluster in &mut self.clusters {
            for server in &mut cluster.servers {
                server.session = false;
            }
        }
        self.awake_at = self.now + down;
        self.crash_now = false;
        self.crash_at_record = false;
    }

    /// It was asked to stop, and nothing is under way any more.
    pub(super) fn exit(&mut self, down: Span) {
        self.stops = None;
        if let Some(core) = &self.core {
            self.keep(core.knowledge());
        }
        self.doing.clear();
        self.write_owed();
        self.crash(down);
    }

    pub(super) fn health(&self, gap: Span) -> SelfHealth {
        SelfHealth {
            gap,
            suspended: Span::ZERO,
            // Either is reason enough, and half of the seeds have the one.
            stuck_workers: if self.stuck && self.seed.is_multiple_of(2) { WORKERS - 1 } else { 0 },
            workers: WORKERS,
            stuck_loops: u32::from(self.stuck && !self.seed.is_multiple_of(2)),
            journal_writable: self.journal_writable && !self.disk_full,
        }
    }

    pub(super) fn feed(&mut self, input: Input) {
        let now = self.own(self.now);
        if self.core.is_some() && self.now < self.awake_at {
            self.inbox.push_back(input);
            return;
        }
        let Some(core) = &mut self.core else { return };
        if let Input::SelfHealth(health) = &input {
            self.watch.told_health(self.now, health.gap, health.journal_writable);
        }
        let outputs = core.step(now, input);
        if self.restored && self.now.since(self.seen.0) >= ms(1_000) {
            let knowledge = core.knowledge();
            self.keep(knowledge);
        }
        self.after(outputs);
    }

    pub(super) fn after(&mut self, outputs: Vec<Output>) {
        self.steps += 1;
        self.watch.step(self.now);
        if self.steps > 150_000 {
            self.watch.fail("never_spins", format!("{} steps", self.steps));
        }
        let mut unwritten: BTreeSet<usize> = BTreeSet::new();
        let mut refused = Vec::new();
        for output in outputs {
            self.absorb(&output);
            if let Some(action) = self.carry_out(output, &mut unwritten) {
                refused.push(action);
            }
            if self.crash_now {
                self.crash(self.down_for);
                return;
            }
        }
        self.judge_kept();
        for service in std::mem::take(&mut self.called) {
            self.judge_person(service);
        }
        if self.steps.is_multiple_of(64) {
            self.look();
        }
        for (service, generation, id, action) in refused {
            let outcome = Err(Failure::no_effect("not begun, because it could not be written down before", ""));
            self.watch.outcome(service, generation, &action, &outcome);
            self.feed(Input::ActionFinished { action: id, outcome });
        }
    }

    pub(super) fn look(&mut self) {
        if let Some(core) = &self.core {
            let snapshot = core.snapshot();
            self.coverage.snapshot(&snapshot);
            self.watch.exercised.extend(["the_core_never_panics", "the_same_seed_says_the_same"]);
            for (at, service) in snapshot.services.iter().enumerate() {
                let cluster = &self.clusters[at];
                let primary = service.primary.map(|primary| usize::from(primary.0)).filter(|at| *at < cluster.servers.len());
                let serves = primary.is_some_and(|at| cluster.is_writable(at) && cluster.servers[at].process != Process::Frozen);
                let suspected = matches!(service.state.as_str(), "degraded" | "failing");
                if !serves {
                    self.watch.stricken(at, self.now, &self.setup.model);
                } else if suspected && primary.is_some_and(|at| self.now.since(cluster.servers[at].unwell_at) > ms(20_000)) {
                    self.watch.exercise("a_healthy_primary_is_left_alone");
                }
            }
            // Before it has read its journal an engine knows of no pause.
            for (at, service) in snapshot.services.iter().enumerate().filter(|_| self.restored) {
                judge_adopted(&mut self.watch, &self.clusters[at], self.adopted[at], service);
                self.watch.paused(at, self.now, service.paused);
            }
        }
    }

    /// The trace of what the core said, as a number: two runs of a seed have to agree on it.
    pub(super) fn absorb(&mut self, output: &Output) {
        let mut hasher = std::collections::hash_map::DefaultHasher::new();
        self.digest.hash(&mut hasher);
        self.now.hash(&mut hasher);
        match output {
            Output::Emit(event) => (event.seq, event.kind, event.generation, &event.message).hash(&mut hasher),
            Output::RunAction { id, service, generation, action, deadline } => {
                (id, service, generation, action.name(), action.server(), deadline).hash(&mut hasher);
            }
            Output::RunCheck { run, deadline, .. } | Output::OpenSession { run, deadline, .. } => {
                (run, deadline).hash(&mut hasher);
            }
            Output::CancelRun(run) => run.hash(&mut hasher),
            Output::CancelAction(id) => id.hash(&mut hasher),
            Output::Journal(Record::Facts { .. }) => 1.hash(&mut hasher),
            Output::Journal(_) => 2.hash(&mut hasher),
            Output::Survey { server, .. } | Output::CloseSession { server, .. } => server.hash(&mut hasher),
            Output::Reply { token, result } => (token, result).hash(&mut hasher),
        }
        self.digest = hasher.finish();
    }

    pub(super) fn carry_out(
        &mut self,
        output: Output,
        unwritten: &mut BTreeSet<usize>,
    ) -> Option<(usize, u64, ActionId, Action)> {
        self.coverage.output(&output);
        let (now, model) = (self.now, &self.setup.model);
        self.watch.output(now, model, &self.clusters, &output);
        if self.told {
            self.tell(&output);
        }
        match output {
            Output::Journal(record) => self.write(record, unwritten),
            Output::RunCheck { run, service, check, sample, deadline } => {
                self.check(run, usize::from(service.0), usize::from(check.0), sample, deadline);
            }
            Output::OpenSession { run, service, server, deadline } => {
                let (service, server) = (usize::from(service.0), usize::from(server.0));
                let timeout = deadline.since(self.own(now));
                let (latency, verdict) = self.clusters[service].probe(server, timeout, &mut self.dice);
                let up = verdict == Verdict::Up;
                let finding = Cluster::finding(verdict, self.own(now), latency, None);
                let input = if up { Input::SessionOpened { run } } else { Input::SessionFailed { run, finding } };
                let alive = up;
                self.ask(run, (service, server), latency, deadline, input, up.then_some((service, server)), None, alive);
            }
            Output::CloseSession { service, server } => {
                self.clusters[usize::from(service.0)].servers[usize::from(server.0)].session = false;
            }
            Output::CancelRun(run) => self.asked.retain(|asked| asked.run != run),
            Output::RunAction { id, service, generation, action, deadline } => {
                let service = usize::from(service.0);
                let needs = matches!(
                    action,
                    Action::PreChecks
                        | Action::CloseGate { .. }
                        | Action::RouteOut { .. }
                        | Action::StopServer { .. }
                        | Action::Fence { .. }
                        | Action::Promote { .. }
                );
                let lost = self.unintended.get(&service) == Some(&generation.0);
                // Behind its intent a promotion waits for no record; what was never intended does nothing.
                let goes_on = matches!(action, Action::Promote { .. }) && self.holds_intent(service, generation);
                let routes = matches!(action, Action::RouteIn { .. });
                let unknown = matches!(action, Action::SetSyncNames { .. }) && self.unfacted.contains(&service);
                if lost && (needs || routes) || needs && unwritten.contains(&service) && !goes_on || unknown {
                    return Some((service, generation.0, id, action));
                }
                if let Some(moment) = self.take_step(action.name(), When::Before)
                    && let Fault::Crash { .. } = moment.fault
                {
                    self.note_fault(&moment, moment.span);
                    self.reach_step("killed", When::Before, action.name());
                    self.down_for = ms(moment.span.min(60_000));
                    self.crash_now = true;
                    return None;
                }
                if let Some(moment) = self.take_step(action.name(), When::During) {
                    match moment.fault {
                        Fault::Crash { .. } => self.reach_step("killed", When::During, action.name()),
                        Fault::CleanStop | Fault::Operator(Command::Stop) => {
                            self.reach_step("stopped", When::During, action.name());
                        }
                        _ => {}
                    }
                    self.moments.push((now, moment));
                }
                if let Action::Salvage { old, .. } = &action {
                    self.judge_salvage(service, generation.0, usize::from(old.0));
                }
                if let Action::Promote { server, .. } = &action {
                    self.promotions += 1;
                    let old = self.watch.old_primary(service);
                    self.judge_required(service, usize::from(server.0), old);
                    self.judge_promotion(service, usize::from(server.0), old);
                    self.judge_awake(service, generation.0);
                }
                self.act(id, service, generation.0, action, deadline);
            }
            Output::CancelAction(id) => self.doing.retain(|doing| doing.id != id),
            Output::Survey { service, server } => {
                let due = now + ms(600);
                let (service, server) = (usize::from(service.0), usize::from(server.0));
                self.surveys.push((due, service, Some(server)));
                self.surveys.push((due, service, None));
            }
            Output::Emit(event) => {
                if let Some(service) = event.service {
                    self.noteworthy(usize::from(service.0), &event);
                }
            }
            Output::Reply { token, result } => {
                self.replies.insert(token, result.clone());
                if let Some((service, command)) = self.commands.remove(&token) {
                    self.watch.command(service, self.now, &command, result.is_ok());
                    if let (Command::Adopt { server }, true) = (&command, result.is_ok()) {
                        self.adopted[service] = Some(usize::from(server.0));
                    }
                    let seen = matches!(command, Command::Reset | Command::Adopt { .. });
                    if result.is_ok() && seen && self.journal_writable {
                        self.known[service].unfinished = None;
                        self.known[service].begun = None;
                    }
                }
            }
        }
        None
    }

    /// The engine ends at this step, or is asked to.
    pub(super) fn reach_step(&mut self, how: &str, when: When, step: &str) {
        self.coverage.step(how, when.as_str(), step);
    }

    fn noteworthy(&mut self, service: usize, event: &Event) {
        match event.kind {
            EventKind::FailoverStarted => self.note_start(service, event),
            EventKind::FailoverCompleted => {
                self.completed.insert(service);
                self.deaths[service] = None;
                self.judge_record(service, event);
                self.judge_salvaged(service, event);
            }
            EventKind::FailoverFailed => self.turned[service] = self.now,
            EventKind::ManualIntervention => {
                self.called.insert(service);
                self.people.insert(service);
            }
            EventKind::PrimaryKnown => {
                let who = event.server.map(|server| usize::from(server.0));
                self.adopted[service] = self.adopted[service].filter(|adopted| who == Some(*adopted));
                self.judge_followed(service, event);
                let restored = event.server.is_some_and(|server| self.clusters[service].servers[usize::from(server.0)].restored);
                let known = self.known[service].facts.as_ref().is_some_and(|facts| facts.primary.is_some());
                // What became another one while it was being promoted is found out by nobody.
                let settled = event.server.is_some_and(|server| {
                    self.now.since(self.clusters[service].servers[usize::from(server.0)].started) > ms(2_000)
                });
                // A person has been told of one that is not what was chosen.
                let settled = settled && !self.people.contains(&service);
                if restored && known && settled && !event.message.contains("an operator adopted it") {
                    let why = format!("{}, an old backup that was restored", event.message);
                    self.watch.fail("only_our_own_history_is_followed", why);
                }
            }
            _ => {}
        }
    }

    pub(super) fn tell(&mut self, output: &Output) {
        let line = match output {
            Output::Emit(event) if event.kind == EventKind::Observed && event.message.contains(" up") => return,
            Output::Emit(event) => {
                let service = event.service.map_or_else(String::new, |service| format!("s{service} "));
                format!("{service}{} {}: {}", event.severity.as_str(), event.kind.as_str(), event.message)
            }
            Output::Journal(Record::Facts { .. })
            | Output::RunCheck { .. }
            | Output::Survey { .. }
            | Output::OpenSession { .. }
            | Output::CloseSession { .. }
            | Output::CancelRun(_) => return,
            Output::Journal(record) => format!("journal {record:?}").chars().take(120).collect(),
            Output::RunAction { id, service, generation, action, .. } => {
                format!("s{service} action {id} of {generation}: {action:?}")
            }
            other => format!("{other:?}"),
        };
        self.note(line);
    }

    pub(super) fn write(&mut self, record: Record, unwritten: &mut BTreeSet<usize>) {
        // What a failover needs has its place on the disk before it begins.
        let reserved = matches!(record, Record::StepBegun { .. } | Record::StepEnded { .. } | Record::Ended { .. });
        let mut written = self.journal_writable && (!self.disk_full || reserved);
        if self.crash_at_record && !matches!(record, Record::Facts { .. }) {
            // Killed while it wrote: the record is whole, or torn and gone.
            written = written && self.dice.percent(50);
            self.crash_now = true;
        }
        let service = match &record {
            Record::Intent { service, .. }
            | Record::StepBegun { service, .. }
            | Record::StepEnded { service, .. }
            | Record::Ended { service, .. }
            | Record::Facts { service, .. } => usize::from(service.0),
        };
        if matches!(record, Record::Ended { .. }) {
            self.unintended.remove(&service);
        }
        if !written {
            match &record {
                Record::Intent { generation, .. } => drop(self.unintended.insert(service, generation.0)),
                Record::StepBegun { .. } => drop(unwritten.insert(service)),
                Record::Facts { .. } => drop(self.unfacted.insert(service)),
                _ => {}
            }
            let late = match &record {
                Record::Ended { .. } => true,
                Record::StepBegun { generation, chosen: Some(_), .. } => self.holds_intent(service, *generation),
                _ => false,
            };
            if late {
                self.owed.push((service, record));
            }
            return;
        }
        self.write_owed();
        if matches!(record, Record::Facts { .. }) {
            self.unfacted.remove(&service);
        }
        self.learn(service, record);
    }

    fn holds_intent(&self, service: usize, generation: Generation) -> bool {
        self.known[service].begun.as_ref().is_some_and(|begun| begun.generation == generation)
    }

    pub(super) fn write_owed(&mut self) {
        for (service, end) in std::mem::take(&mut self.owed) {
            self.learn(service, end);
        }
    }

    pub(super) fn learn(&mut self, service: usize, record: Record) {
        let now = self.stamp();
        let known = &mut self.known[service];
        match record {
            Record::Intent { generation, begun, .. } => {
                known.generation = known.generation.max(generation.0);
                known.unfinished = Some("intent".into());
                known.begun = Some(*begun);
                known.intended = now;
            }
            Record::StepBegun { step, chosen, .. } => {
                known.unfinished = Some(step.as_str().into());
                if let Some(begun) = &mut known.begun {
                    begun.route_touched |= matches!(step, Step::CloseGate | Step::RouteOut);
                    begun.fence_tried |= step == Step::Fence;
                    begun.stop_tried |= step == Step::StopServer;
                    begun.chosen = chosen.or(begun.chosen);
                }
            }
            Record::StepEnded { .. } => {}
            Record::Ended { how, .. } => {
                known.begun = None;
                known.unfinished = (!matches!(how, EndedHow::Completed | EndedHow::Stopped)).then(|| how.as_str().to_owned());
            }
            Record::Facts { durable, .. } => {
                known.generation = known.generation.max(durable.generation.0);
                // How old the last one is for the cooldown, which an operator may have ended.
                known.ended = durable.recorded_age().map(|age| (now, age));
                known.facts = Some(*durable);
                known.written = now;
            }
        }
    }
}

/// An age after so many milliseconds by a clock that may have gone back: then it is as young as can be.
fn older(age: Span, passed: i64) -> Span {
    let gone = Span::from_millis(passed.unsigned_abs());
    if passed < 0 { age - gone } else { age + gone }
}

/// What is left after so many milliseconds by the same clock.
fn later(left: Span, passed: i64) -> Span {
    let gone = Span::from_millis(passed.unsigned_abs());
    if passed < 0 { left + gone } else { left - gone }
}
