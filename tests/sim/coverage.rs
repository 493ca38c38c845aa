//! What the seeds have reached. A simulator that explores nothing finds nothing: what is not reached fails the test by name.

use std::collections::BTreeSet;

use failover_core::event::{Event, EventKind, Field};
use failover_core::evidence::FailureClass;
use failover_core::output::{Action, EndedHow, Output};
use failover_core::reason::Reason;
use failover_core::refusal::{CandidateRefusal, Refusal};
use failover_core::snapshot::Snapshot;
use failover_core::trigger::State;

/// What no seed can reach, and why.
const BEYOND: &[(&str, &str)] = &[
    ("event engine_started", "the shell's"),
    ("event engine_stopped", "the shell's"),
    ("event task_check", "the shell's"),
    ("event task_action", "the shell's"),
    ("event overflow", "the shell's"),
    ("event faulted", "the shell's"),
    ("event log", "the shell's"),
    ("event breaker_changed", "the shell's"),
    ("event notify_state", "the shell's"),
    ("event notify_lost", "the shell's"),
    ("event notify_test", "the shell's"),
    ("refusal rival", "the answer to an order: tests/scenarios/force_beside_a_rival.txt"),
    ("refusal hand_over", "the answer to an order: tests/scenarios/force_on_a_healthy_primary.txt"),
    ("refusal receipt_unprovable", "the answer to an order: tests/scenarios/force_without_ssh.txt"),
    ("refusal wrong_cluster", "told as an event and by candidate: no guard gives it"),
];

const REFUSALS: &[&str] = &[
    "primary_healthy",
    "threshold_not_reached",
    "policy_not_met",
    "database_answers",
    "evidence_incomplete",
    "impaired",
    "shutdown_held",
    "restart_grace",
    "host_says_serving",
    "host_says_running",
    "standby_sees_primary",
    "paused",
    "doubt",
    "not_warmed_up",
    "no_primary_seen",
    "journal_unwritable",
    "cooldown",
    "awaiting_confirmation",
    "confirmation_timed_out",
    "too_many_at_once",
    "failover_in_flight",
    "manual_intervention",
    "fence_unavailable",
    "receipt_unprovable",
    "hand_over",
    "no_candidate",
    "not_ready",
    "two_primaries",
    "rival",
    "wrong_cluster",
    "second_engine",
    "watched_only",
    "stopping",
];

const CANDIDATES: &[&str] = &[
    "not_a_candidate",
    "cordoned",
    "not_chosen",
    "not_readable",
    "not_in_recovery",
    "other_cluster",
    "other_timeline",
    "replay_paused",
    "delayed",
    "not_streaming",
    "behind",
    "may_be_behind",
    "not_received",
    "quorum_unanswered",
    "loss_too_high",
    "loss_unknown",
    "promotion_refused",
    "login_refused",
    "no_new_sessions",
    "not_salvaged",
];

/// Every step, and what is asked for outside of a plan.
pub(super) const ACTIONS: [&str; 19] = [
    "ask_host",
    "pre_checks",
    "route_out",
    "checkpoint",
    "stop_server",
    "read_receipt",
    "start_server",
    "route_restore",
    "fence",
    "fence_undo",
    "prove_fence",
    "read_positions",
    "promote",
    "read_role",
    "read_history",
    "verify_data",
    "open_sync_gate",
    "route_in",
    "verify_traffic",
];

/// The same, beside what `sweep` goes through: `salvage`, and the followers, have their own courses.
const SALVAGE: &str = "salvage";

/// And this one has its own orders.
const GATE: &str = "close_gate";

/// How an engine ends at a step, and when.
const ENDS: [(&str, &str); 5] =
    [("killed", "before"), ("killed", "during"), ("killed", "after"), ("stopped", "during"), ("stopped", "after")];

/// A new variant has to be added to the lists above: this does not compile without it. What only applications have is reached by
/// tests/core/application.rs.
fn every_variant_is_listed(refusal: &Refusal, candidate: &CandidateRefusal, action: &Action) {
    match refusal {
        Refusal::PrimaryHealthy
        | Refusal::ThresholdNotReached { .. }
        | Refusal::PolicyNotMet { .. }
        | Refusal::DatabaseAnswers
        | Refusal::EvidenceIncomplete { .. }
        | Refusal::Impaired { .. }
        | Refusal::ShutdownHeld { .. }
        | Refusal::RestartGrace { .. }
        | Refusal::HostSaysServing
        | Refusal::HostSaysRunning
        | Refusal::StandbySeesPrimary { .. }
        | Refusal::Paused
        | Refusal::Doubt { .. }
        | Refusal::NotWarmedUp
        | Refusal::NoPrimarySeen
        | Refusal::JournalUnwritable
        | Refusal::Cooldown { .. }
        | Refusal::AwaitingConfirmation { .. }
        | Refusal::ConfirmationTimedOut
        | Refusal::TooManyAtOnce { .. }
        | Refusal::FailoverInFlight
        | Refusal::ManualIntervention
        | Refusal::FenceUnavailable { .. }
        | Refusal::ReceiptUnprovable { .. }
        | Refusal::HandOver { .. }
        | Refusal::NoCandidate { .. }
        | Refusal::NotReady { .. }
        | Refusal::TwoPrimaries
        | Refusal::Rival { .. }
        | Refusal::WrongCluster { .. }
        | Refusal::SecondEngine { .. }
        | Refusal::DependencyFailing { .. }
        | Refusal::WatchedOnly
        | Refusal::Stopping => {}
    }
    match candidate {
        CandidateRefusal::NotACandidate
        | CandidateRefusal::Cordoned
        | CandidateRefusal::NotChosen
        | CandidateRefusal::NotReadable { .. }
        | CandidateRefusal::NotInRecovery
        | CandidateRefusal::OtherCluster
        | CandidateRefusal::OtherTimeline { .. }
        | CandidateRefusal::ReplayPaused
        | CandidateRefusal::Delayed
        | CandidateRefusal::NotStreaming
        | CandidateRefusal::Behind { .. }
        | CandidateRefusal::MayBeBehind { .. }
        | CandidateRefusal::NotReceived { .. }
        | CandidateRefusal::QuorumUnanswered { .. }
        | CandidateRefusal::LossTooHigh { .. }
        | CandidateRefusal::LossUnknown { .. }
        | CandidateRefusal::NotSalvaged { .. }
        | CandidateRefusal::NotHealthy { .. }
        | CandidateRefusal::SwitchFailed { .. }
        | CandidateRefusal::NoNewSessions
        | CandidateRefusal::LoginRefused { .. }
        | CandidateRefusal::AnotherAsked
        | CandidateRefusal::PromotionRefused { .. } => {}
    }
    match action {
        Action::AskHost { .. }
        | Action::PreChecks
        | Action::CloseGate { .. }
        | Action::RouteOut { .. }
        | Action::RouteRestore { .. }
        | Action::RouteRollback { .. }
        | Action::Fence { .. }
        | Action::FenceUndo { .. }
        | Action::ProveFence { .. }
        | Action::Checkpoint { .. }
        | Action::StopServer { .. }
        | Action::ReadReceipt { .. }
        | Action::StartServer { .. }
        | Action::ReadPositions { .. }
        | Action::Salvage { .. }
        | Action::EmptySpool { .. }
        | Action::ReadDivergence { .. }
        | Action::MakeSlot { .. }
        | Action::KeepLog { .. }
        | Action::Rewind { .. }
        | Action::ReadRewind { .. }
        | Action::Copy { .. }
        | Action::FollowPrimary { .. }
        | Action::StartStandby { .. }
        | Action::Promote { .. }
        | Action::ReadHistory { .. }
        | Action::ReadRole { .. }
        | Action::VerifyData { .. }
        | Action::RepointStandbys { .. }
        | Action::OpenSyncGate { .. }
        | Action::RestoreSyncNames { .. }
        | Action::SetSyncNames { .. }
        | Action::DropSlot { .. }
        | Action::RouteIn { .. }
        | Action::RouteWeight { .. }
        | Action::PointNames { .. }
        | Action::Follow { .. }
        | Action::VerifyService { .. }
        | Action::VerifyTraffic { .. } => {}
    }
}

/// Everything reached, by name.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    reached: BTreeSet<String>,
    /// Interned, so that the hot path allocates nothing.
    kinds: BTreeSet<EventKind>,
    names: BTreeSet<(u8, &'static str)>,
}

impl Coverage {
    pub fn expected() -> BTreeSet<String> {
        let _ = every_variant_is_listed;
        let mut all = BTreeSet::new();
        for from in State::ALL {
            for to in from.followers() {
                all.insert(format!("transition {} -> {}", from.as_str(), to.as_str()));
            }
        }
        // Each step of a return fails, and the engine ends at each, in a world of its own: `src/core/procedure/rejoin/tests.rs`. Copies are there
        // alone.
        let of_copies = [EventKind::CopyProgress, EventKind::OldDataKept];
        let kinds = EventKind::ALL.iter().filter(|kind| !of_copies.contains(kind));
        all.extend(kinds.map(|kind| format!("event {}", kind.as_str())));
        let steps = ["read_divergence", "make_slot", "keep_log", "rewind", "read_rewind", "follow_primary", "start_standby"];
        all.extend(steps.map(|name| format!("action {name}")));
        all.extend(REFUSALS.iter().map(|name| format!("refusal {name}")));
        all.extend(CANDIDATES.iter().map(|name| format!("candidate {name}")));
        all.extend(ACTIONS.iter().map(|name| format!("action {name}")));
        all.extend(["action salvage", "action empty_spool", "action close_gate"].map(str::to_owned));
        all.insert("action set_sync_names".to_owned());
        all.extend(["before", "during", "after"].map(|when| format!("engine killed {when} set_sync_names")));
        all.extend(super::followers::STEPS.iter().map(|name| format!("action {name}")));
        for step in ACTIONS.into_iter().chain([SALVAGE, super::followers::REPOINT, GATE]) {
            all.extend(ENDS.iter().map(|(how, when)| format!("engine {how} {when} {step}")));
        }
        for class in [FailureClass::Dead, FailureClass::Hung, FailureClass::Unreachable, FailureClass::Unusable] {
            all.insert(format!("class {}", class.as_str()));
        }
        all.insert(format!("class {}", Reason::Forced.as_str()));
        all.insert(format!("class {}", Reason::Switchover.as_str()));
        all.extend(EndedHow::ALL.iter().map(|how| format!("end {how}")));
        all.extend(["gap", "stuck_workers", "everything_silent"].map(|cause| format!("doubt {cause}")));
        all
    }

    fn name(&mut self, group: u8, name: &'static str) {
        self.names.insert((group, name));
    }

    fn refusal(&mut self, refusal: &Refusal) {
        self.name(0, refusal.name());
        if let Refusal::NoCandidate { reasons } = refusal {
            for (_, reason) in reasons {
                self.name(1, reason.name());
            }
        }
    }

    /// The engine ended at this step of a plan.
    pub fn step(&mut self, how: &str, when: &str, step: &str) {
        self.reached.insert(format!("engine {how} {when} {step}"));
    }

    pub fn output(&mut self, output: &Output) {
        match output {
            Output::Emit(event) => self.event(event),
            Output::RunAction { action, .. } => self.name(2, action.name()),
            Output::Journal(failover_core::output::Record::Ended { how, .. }) => self.name(3, how.as_str()),
            _ => {}
        }
    }

    fn event(&mut self, event: &Event) {
        self.kinds.insert(event.kind);
        let text = |name: &str| {
            event.fields.iter().find_map(|(key, value)| match value {
                Field::Text(text) if *key == name => Some(text.as_str()),
                _ => None,
            })
        };
        match event.kind {
            EventKind::StateChanged => {
                let (from, to) = (text("from").unwrap_or_default(), text("to").unwrap_or_default());
                self.reached.insert(format!("transition {from} -> {to}"));
            }
            EventKind::FailoverStarted => {
                self.reached.insert(format!("class {}", text("class").unwrap_or_default()));
            }
            EventKind::DoubtRaised => {
                self.reached.insert(format!("doubt {}", text("cause").unwrap_or_default()));
            }
            EventKind::FailoverRefused | EventKind::FailoverSuppressed => {
                if let Some(refusal) = text("refusal") {
                    self.reached.insert(format!("refusal {refusal}"));
                }
            }
            _ => {}
        }
    }

    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        for service in &snapshot.services {
            if let Err(refusal) = &service.failing {
                self.refusal(refusal);
            }
            if let Some(refusal) = &service.refusal {
                self.refusal(refusal);
            }
            if let Err(refusals) = &service.forecast.outcome {
                for refusal in refusals {
                    self.refusal(refusal);
                }
            }
            for (_, standby) in &service.forecast.standbys {
                if let Err(reason) = standby {
                    self.name(1, reason.name());
                }
            }
        }
    }

    pub fn merge(&mut self, other: &Coverage) {
        self.reached.extend(other.reached.iter().cloned());
        self.kinds.extend(other.kinds.iter().copied());
        self.names.extend(other.names.iter().copied());
    }

    pub fn all(&self) -> BTreeSet<String> {
        let mut all = self.reached.clone();
        all.extend(self.kinds.iter().map(|kind| format!("event {}", kind.as_str())));
        let groups = ["refusal", "candidate", "action", "end"];
        all.extend(self.names.iter().map(|(group, name)| format!("{} {name}", groups[usize::from(*group)])));
        all
    }

    /// What should have been reached and was not.
    pub fn missing(&self) -> Vec<String> {
        let reached = self.all();
        Coverage::expected()
            .into_iter()
            .filter(|name| !reached.contains(name) && !BEYOND.iter().any(|(beyond, _)| beyond == name))
            .collect()
    }

    /// What was reached though it is written down as out of reach, or is not in the lists at all.
    pub fn surprising(&self) -> Vec<String> {
        let expected = Coverage::expected();
        self.all()
            .into_iter()
            .filter(|name| !expected.contains(name) || BEYOND.iter().any(|(beyond, _)| beyond == name))
            .collect()
    }
}
