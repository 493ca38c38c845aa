//! The kinds of services. What a kind does its own way is a method of `Kind`, and all of one kind stands in its file: the rest of the
//! core asks the kind for it, and never which one it is.

mod application;
pub(super) mod postgres;
#[cfg(test)]
pub(super) mod tests;

use serde::{Deserialize, Serialize};

use super::candidate::{Candidate, Ended, View, Waiver};
use super::effects::Effects;
use super::evidence::{FailureClass, Suspicion};
use super::id::ServerId;
use super::model::CheckModel;
use super::observation::Finding;
use super::plan::{Intent, Takeover};
use super::reason::Reason;
use super::refusal::{CandidateRefusal, Refusal};
use super::route::InstanceView;
use super::sample::FenceLevel;
use super::service::{Service, Surroundings};
use super::stats::Judgement;
use super::time::Mono;

/// The kind of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceKind {
    /// A primary with streaming standbys.
    #[default]
    Postgres,
    /// Application servers without data of their own: the traffic goes from a failed one to one that is well.
    Application,
    /// Of the tests: the least that a kind can be.
    #[cfg(test)]
    Bare,
}

impl ServiceKind {
    pub(crate) fn rules(self) -> &'static dyn Kind {
        match self {
            ServiceKind::Postgres => &postgres::Postgres,
            ServiceKind::Application => &application::Application,
            #[cfg(test)]
            ServiceKind::Bare => &tests::Bare,
        }
    }

    /// The word used in configuration and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.rules().as_str()
    }

    /// The kind with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<ServiceKind> {
        [ServiceKind::Postgres, ServiceKind::Application].into_iter().find(|kind| kind.as_str() == word)
    }

    /// What happens to a server that becomes the primary, for people: `be promoted`.
    #[must_use]
    pub fn takes_over_by(self) -> &'static str {
        self.rules().takes_over_by()
    }

    /// Its servers hold data: something can be lost, who takes writes is one, and behind a promotion nothing is undone.
    #[must_use]
    pub fn holds_data(self) -> bool {
        self.rules().holds_data()
    }
}

/// Examined servers, each with what came of it.
pub(crate) type Examined = Vec<(ServerId, Result<Candidate, CandidateRefusal>)>;

/// What a kind of service does its own way.
pub(crate) trait Kind: Sync {
    // What it is.

    /// The word used in configuration and status.
    fn as_str(&self) -> &'static str;
    /// Its servers hold data: see [`ServiceKind::holds_data`].
    fn holds_data(&self) -> bool;
    /// Sessions to its servers are kept open and watched.
    fn keeps_sessions(&self) -> bool;
    /// It can be moved without a managed route.
    fn moves_without_route(&self) -> bool;
    /// What a server does that gets to be the primary, for people.
    fn takes_over_by(&self) -> &'static str;

    // What is seen.

    /// A check of a server is back.
    fn checked(&self, service: &mut Service, server: ServerId, fx: &mut Effects);
    /// A check of the primary is back; its failures are counted already.
    fn primary_checked(&self, service: &mut Service, model: &CheckModel, finding: &Finding, fx: &mut Effects);
    /// The first bad sign: who is asked at once.
    fn suspected(&self, service: &mut Service, now: Mono);
    /// The threshold is reached: who is asked once more.
    fn confirming(&self, service: &mut Service, now: Mono);
    /// What the load balancers do, before a primary is known.
    fn route_seen(&self, service: &mut Service, instances: &[InstanceView], fx: &mut Effects);
    /// It serves as the primary now, and has said so since it came back: the route may be sent there.
    fn serves(&self, service: &Service, server: ServerId, now: Mono) -> bool;
    /// A server that an operator names may be made the primary as it stands; why not.
    fn may_be_adopted(&self, service: &Service, server: ServerId) -> Result<(), String>;

    // What is decided.

    /// Silence has lasted for so long that its time decides, and not a count.
    fn silence_decides(&self, service: &Service, now: Mono) -> bool;
    /// The class that the evidence shows now, or why there is none.
    fn failing(&self, service: &Service, now: Mono) -> Result<FailureClass, Refusal>;
    /// The same of a server that took over and fails within the cooldown.
    fn failing_again(&self, service: &mut Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal>;
    /// Every guard before an automatic failover, in the order in which a person would ask.
    fn may_fail_over(&self, service: &Service, around: Surroundings, now: Mono) -> Result<FailureClass, Refusal>;
    /// Nobody can take over, and that may pass by itself: no person is called for it yet.
    fn may_come(&self, service: &Service, reasons: &[(ServerId, CandidateRefusal)]) -> bool;
    /// Which fence level is to be reached, and whether only a command can reach it.
    fn fence_way(&self, service: &Service, reason: Reason, host_silent: bool) -> Result<(FenceLevel, bool), Refusal>;
    /// Every other server by what is known of it: who would take over.
    fn examine(&self, service: &Service, old: Option<ServerId>, end: Ended, waiver: &Waiver, view: View, now: Mono) -> Examined;

    // The failover.

    /// How its primary is replaced.
    fn takeover(&self) -> &'static dyn Takeover;
    /// The reasoning by the checks that suspect it, looked at before the suspicion is set aside. `None`: [`Kind::evidence`] has all.
    fn evidence_at_once(&self, service: &Service, reason: Reason, waiver: &Waiver, now: Mono) -> Option<Vec<String>>;
    /// The whole reasoning behind a decision, one line each.
    fn evidence(
        &self,
        service: &Service,
        decided: (Reason, FenceLevel),
        suspicion: &Suspicion,
        waiver: &Waiver,
        now: Mono,
    ) -> Vec<String>;
    /// Whether the failover is needed, by what the old primary showed before anything was done to it.
    fn judgement(&self, reason: Reason, suspicion: &Suspicion) -> Judgement;

    // What an earlier engine began.

    /// The old primary serves again: what was begun can be undone.
    fn is_alive_again(&self, service: &Service, begun: &Intent) -> bool;
}

impl Service {
    /// What its kind does its own way.
    pub(crate) fn kind(&self) -> &'static dyn Kind {
        self.model.kind.rules()
    }
}
