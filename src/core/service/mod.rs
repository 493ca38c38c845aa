//! One service: its servers and checks as observed, its trigger, and the plan in flight.

use serde::{Deserialize, Serialize};
mod aftermath;
mod ask_host;
mod background;
mod branch;
mod cascade;
mod detection;
mod due;
mod evaluate;
mod fence_again;
pub(super) mod follow;
pub(crate) mod gate;
mod judge;
pub(crate) mod keep_sync;
pub(crate) mod limit;
mod names;
mod observe;
mod operator;
pub(crate) mod pause;
pub(crate) mod ramp;
pub(crate) mod repoint;
mod resume;
mod run;
mod salvage;
mod sample;
mod slots;
mod standbys;
mod survival;
mod switchover;
pub(super) mod sync;
mod sync_names;
mod take;
mod tolerance;
mod traffic;

use background::Background;
use detection::{Detection, Trouble};
use gate::Act;
use run::Run;

use crate::candidate::{Ended, Heard};
use crate::doubt::DoubtCause;
use crate::durable::Durable;
use crate::effects::{About, Effects, text, texts};
use crate::event::{EventKind, Field, Severity};
use crate::health::{Counter, Health};
use crate::id::{CheckId, Generation, ServerId, ServiceId};
use crate::input::Facts;
use crate::model::{Model, Places, Role, ServerModel, ServiceModel};
use crate::observation::{DownCause, Finding};
use crate::output::{EndedHow, Output, Record};
use crate::plan::{Intent, Plan};
use crate::procedure::Procedure;
use crate::refusal::{CandidateRefusal, Refusal};
use crate::replay_pace::ReplayPace;
use crate::route::RouteReadiness;
use crate::sample::{Lsn, Readiness, ReadinessFinding, Sample};
use crate::schedule::Slot;
use crate::static_word::Word;
use crate::time::{Mono, Span};
use crate::traffic::Traffic;
use crate::trigger::State;

/// A sample older than this is no longer what a server says.
pub const FRESH: Span = Span::from_millis(3_000);
/// Fast probing of a suspect ends after this; a standing refusal is then watched at the normal interval.
const FAST_FOR: Span = Span::from_millis(20_000);
/// Recent failures kept for the status.
const RECENT: usize = 16;
/// A primary whose bad signs come back within this long is not shown as normal in between.
const STEADY: Span = Span::from_millis(10_000);
/// A standby's lag above the limit must last this long to be an alarm: one sample in a burst is none.
const READINESS_HOLD: Span = Span::from_millis(1_000);
/// A standby counts as receiving if it did so at most this long before the primary's last sign of life: a receiver ends within
/// milliseconds of a kill, sometimes before our own session shows it.
pub(super) const STREAM_GRACE: Span = Span::from_millis(1_000);
/// The proof of a fence is taken again this long after the failover (rule 86).
const PROVE_AGAIN: Span = Span::from_millis(1_000);
/// A promoted server that cannot be verified for so long needs a person, whatever comes of the next try.
pub(super) const VERIFIED_WITHIN: Span = Span::from_millis(10_000);
/// A primary that is in recovery for so long is not about to be told from the server that takes its place.
const IN_RECOVERY_FOR: Span = Span::from_millis(2_000);
/// Between two times that the route is put right: longer than one takes, short enough that a second restart is noticed.
const ASSERT_AGAIN: Span = Span::from_millis(1_000);
/// And where it was of no use, again and again.
const ASSERT_SELDOM: Span = Span::from_millis(60_000);
/// Between two tries to change a name that could not be changed.
const NAMES_AGAIN: Span = Span::from_millis(10_000);
/// Told beside the names of refusals: a person was called.
const CALLED: Word = "a_person";

/// What is known of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckState {
    pub(crate) slot: Slot,
    /// Its health by consecutive answers.
    pub counter: Counter,
    /// Its last answer and when it came.
    pub last: Option<(Mono, Finding)>,
    pub(crate) answers: u32,
    /// Its answers since the engine was started: up, impaired, down, unknown.
    pub verdicts: [u64; 4],
    /// New connections in a row that were not answered while the kept session was.
    #[serde(default)]
    pub(crate) unserved: u32,
}

/// What is known of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerState {
    pub(crate) session: Slot,
    /// A kept session is open and being watched.
    pub session_open: bool,
    /// The last answer that only a living server gives.
    pub last_answer: Option<Mono>,
    /// The last answer after which sessions may have gone on committing: not that of a server which starts or recovers.
    #[serde(default)]
    pub served_at: Option<Mono>,
    /// What it last said about itself, and when that came.
    pub sample: Option<(Mono, Sample)>,
    /// What the survey last found.
    pub readiness: Option<Readiness>,
    /// The host's view of its processes was confirmed while it lived.
    pub view_confirmed: bool,
    /// What its host shows was seen to be another server: not to be believed, and not to be fenced there.
    pub foreign_host: bool,
    /// When it was last fenced again, with proof, after the failover that deposed it.
    pub(crate) proven_again_at: Option<Mono>,
    /// When it was last seen receiving from the primary.
    pub streamed_at: Option<Mono>,
    /// What it had then, and on which timeline: its control file lags behind, and is all that is left when the receiver has ended.
    #[serde(default)]
    pub streamed: Option<Streamed>,
    /// The name by which its receiver was last seen to replicate.
    #[serde(default)]
    pub replicates_as: Option<String>,
    /// It belongs to another cluster.
    pub wrong_cluster: bool,
    /// It is a former primary that was deposed by this engine.
    pub deposed: bool,
    /// It takes writes on a newer timeline that is not known to continue the primary's.
    #[serde(default)]
    pub other_branch: bool,
    /// The history of a timeline that it was seen to write on: the timelines before it, and where each was left; or why it could not be read.
    #[serde(default)]
    pub(crate) history: Option<History>,
    /// Whether it could be promoted, as last announced.
    pub announced: Option<Result<(), CandidateRefusal>>,
    pub(crate) unready_since: Option<Mono>,
    /// Where its replay stands while there is log to replay, and since when it was seen there.
    #[serde(default)]
    pub(crate) replay_at: Option<(Lsn, Mono)>,
    /// That has lasted for [`REPLAY_STANDS`](crate::candidate::REPLAY_STANDS).
    #[serde(default)]
    pub replay_stands: bool,
    /// How fast it replays.
    #[serde(default)]
    pub(crate) replay_pace: ReplayPace,
    pub(crate) progress: Option<Lsn>,
    pub(crate) progress_at: Option<Mono>,
    pub(crate) returned_at: Option<Mono>,
    /// When a failover proved its fence.
    #[serde(default)]
    pub(crate) fenced_at: Option<Mono>,
    /// It took writes while the primary did.
    #[serde(default)]
    pub(crate) wrote_beside: bool,
    /// In recovery since then, by its own word.
    #[serde(default)]
    pub(crate) in_recovery_since: Option<Mono>,
    /// What the host program's own calls to it were reported to come to.
    #[serde(default)]
    pub traffic: Traffic,
}

/// A timeline, and the timelines before it with where each was left; or why that could not be read, and when it is asked again.
pub(crate) type History = (u32, Result<Vec<(u32, Lsn)>, (String, Mono)>);

/// What a standby had when it was last seen receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streamed {
    /// On which timeline.
    pub timeline: u32,
    /// How far it was.
    pub position: Lsn,
    /// Its postmaster.
    pub started: Option<i64>,
}

/// The primary's log as sampled while it lived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogTrack {
    pub flush: Lsn,
    pub at: Mono,
    /// It was so much longer ago: an earlier engine saw it, or the clock stood still since.
    #[serde(default)]
    pub lead: Span,
    /// Bytes per second between the primary's own words, the last ones; `None`: not measured yet.
    pub rates: [Option<u64>; 5],
    /// Where the primary itself said it was, and when it was asked, as the last rate was measured.
    pub measured: (Lsn, Mono),
    pub timeline: u32,
    /// The furthest that a standby was told by the primary.
    #[serde(default)]
    pub heard: Option<Heard>,
    #[serde(default)]
    pub sync: sync::SyncTrack,
}

impl LogTrack {
    /// Bytes per second: the highest of the last second's rates but one, so that bursts count and a single one is not taken for all.
    /// `None`: of one or two nothing can be said.
    pub(crate) fn growth(&self) -> Option<u64> {
        let mut rates: Vec<u64> = self.rates.iter().flatten().copied().collect();
        rates.sort_unstable_by(|one, other| other.cmp(one));
        rates.get(1).copied().filter(|_| rates.len() > 2)
    }
}

/// One failed observation, for the status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentFailure {
    /// When.
    pub at: Mono,
    /// Which check.
    pub check: CheckId,
    /// The cause.
    pub cause: DownCause,
    /// What it saw.
    pub message: String,
}

/// What a service does without, or what is left undone while it is paused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its stable name.
    pub code: String,
    /// One sentence.
    pub sentence: String,
}

/// How the last failover ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailover {
    /// The plan as it stood at its end.
    pub plan: Plan,
    /// How.
    pub how: EndedHow,
    /// Why, if it was not completed.
    pub why: String,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    pub(crate) id: ServiceId,
    pub(crate) model: ServiceModel,
    /// What survives a restart, a reload and a take-over.
    pub(crate) durable: Durable,
    /// What is suspected and not confirmed: gone when it starts over.
    pub(crate) detection: Detection,
    /// The failover in flight.
    pub(crate) run: Run,
    /// What is done beside it.
    pub(crate) background: Background,
    pub(crate) trouble: Trouble,
    pub(crate) state: State,
    pub(crate) stopping: bool,
    /// Its servers are others since a reload, and what the journal knows of them has not been told yet: until then nothing is decided.
    pub(crate) unread: bool,
    /// Everything is asked afresh since then: after a start, a pause or a reload.
    pub(crate) afresh_since: Mono,
    // From here on what was observed.
    pub(crate) checks: Vec<CheckState>,
    pub(crate) servers: Vec<ServerState>,
    pub(crate) primary_seen: bool,
    pub(crate) log: Option<LogTrack>,
    pub(crate) recent: std::collections::VecDeque<RecentFailure>,
    /// Another engine that was seen on the servers, as last announced.
    pub(crate) other_engine: Option<String>,
    pub(crate) route: Option<RouteReadiness>,
    /// What hurts on a client's way, seen twice in a row; and what was seen the last time.
    pub(crate) asked_route: Option<RouteReadiness>,
    pub(crate) asked_last: Vec<ReadinessFinding>,
    /// Somebody else promoted another server than the one that was seen as the primary, or an operator adopted it.
    pub(crate) switched_by_hand: bool,
    /// A failover asked it for its promotion and never learned what became of that.
    pub(crate) asked_for_promotion: Option<ServerId>,
    pub(crate) two_primaries: bool,
    /// Refusals that were told, by name, since the engine was started.
    pub(crate) refusals: std::collections::BTreeMap<String, u64>,
}

/// What the rest of the core tells a service at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub doubt: Option<DoubtCause>,
    pub journal_writable: bool,
    /// Where their number is limited: the failovers of other services.
    pub together: Option<limit::Together>,
    /// The service that it follows, where it follows one.
    pub followed: Option<follow::Followed>,
}

impl Default for Surroundings {
    /// Nothing is wrong, and nobody is beside it.
    fn default() -> Surroundings {
        Surroundings { doubt: None, journal_writable: true, together: None, followed: None }
    }
}

impl Surroundings {
    /// What concerns every service is another.
    pub(crate) fn differ_from(&self, before: &Surroundings) -> bool {
        (self.doubt, self.journal_writable) != (before.doubt, before.journal_writable)
    }
}

impl Service {
    pub(crate) fn new(id: ServiceId, model: ServiceModel, now: Mono) -> Service {
        let checks = model
            .checks
            .iter()
            .map(|_| CheckState {
                slot: Slot::due_at(now),
                counter: Counter::default(),
                last: None,
                answers: 0,
                verdicts: [0; 4],
                unserved: 0,
            })
            .collect();
        let servers = model
            .servers
            .iter()
            .map(|_| ServerState {
                session: Slot::due_at(now),
                session_open: false,
                last_answer: None,
                served_at: None,
                sample: None,
                readiness: None,
                view_confirmed: false,
                foreign_host: false,
                proven_again_at: None,
                streamed_at: None,
                streamed: None,
                replicates_as: None,
                wrong_cluster: false,
                deposed: false,
                other_branch: false,
                history: None,
                announced: None,
                unready_since: None,
                replay_at: None,
                replay_stands: false,
                replay_pace: ReplayPace::default(),
                progress: None,
                progress_at: None,
                returned_at: None,
                fenced_at: None,
                wrote_beside: false,
                in_recovery_since: None,
                traffic: Traffic::default(),
            })
            .collect();
        Service {
            id,
            model,
            durable: Durable::default(),
            detection: Detection::default(),
            run: Run::default(),
            background: Background::default(),
            trouble: Trouble::default(),
            state: State::Normal,
            stopping: false,
            unread: false,
            afresh_since: now,
            checks,
            servers,
            primary_seen: false,
            log: None,
            recent: std::collections::VecDeque::new(),
            other_engine: None,
            route: None,
            asked_route: None,
            asked_last: Vec::new(),
            switched_by_hand: false,
            asked_for_promotion: None,
            two_primaries: false,
            refusals: std::collections::BTreeMap::new(),
        }
    }

    pub(crate) fn about(&self) -> About {
        About { service: Some(self.id), server: None, generation: self.durable.generation }
    }

    pub(crate) fn about_server(&self, server: ServerId) -> About {
        About { server: Some(server), ..self.about() }
    }

    pub(crate) fn server_name(&self, server: ServerId) -> String {
        self.model.servers.get(usize::from(server.0)).map_or_else(|| format!("server {server}"), |model| model.name.clone())
    }

    pub(crate) fn sentence(&self, refusal: &Refusal) -> String {
        let sentence = refusal.sentence(&|server| self.server_name(server));
        match refusal {
            Refusal::Paused => self.durable.pause.as_ref().map_or_else(|| sentence.clone(), |pause| pause.sentence(&sentence)),
            Refusal::NoPrimarySeen => match self.no_primary_because() {
                why if why.is_empty() => sentence,
                why => format!("{why}: {sentence}"),
            },
            _ => sentence,
        }
    }

    /// Its servers hold data.
    pub(crate) fn holds_data(&self) -> bool {
        self.kind().holds_data()
    }

    pub(crate) fn server_model(&self, server: ServerId) -> Option<&ServerModel> {
        self.model.servers.get(usize::from(server.0))
    }

    pub(crate) fn server_ids(&self) -> impl Iterator<Item = ServerId> + use<> {
        (0..u16::try_from(self.model.servers.len()).unwrap_or(u16::MAX)).map(ServerId)
    }

    /// The server whose death would matter: the primary, or before one was seen the one the configuration names.
    pub(crate) fn subject(&self) -> Option<ServerId> {
        self.durable.primary.or_else(|| {
            self.model
                .servers
                .iter()
                .position(|server| server.role == Role::Primary)
                .and_then(|at| u16::try_from(at).ok())
                .map(ServerId)
        })
    }

    pub(super) fn is_subject(&self, server: ServerId) -> bool {
        self.subject() == Some(server)
    }

    pub(crate) fn server_health(&self, server: ServerId) -> Health {
        Health::of_server(
            self.model
                .checks
                .iter()
                .zip(&self.checks)
                .filter(|(model, _)| model.server == server.0)
                .map(|(_, state)| state.counter.health()),
        )
    }

    /// Silence, as opposed to refusal, of a server: for the doubt about our own side.
    pub(crate) fn is_silent(&self, server: ServerId, now: Mono) -> bool {
        let state = &self.servers[usize::from(server.0)];
        let last_was_silence = self.model.checks.iter().zip(&self.checks).any(|(model, check)| {
            model.server == server.0 && check.last.as_ref().is_some_and(|(_, finding)| finding.verdict.is_silence())
        });
        let session_is_silent = state.session_open && state.last_answer.is_some_and(|at| now.since(at) > self.notice().times(2));
        last_was_silence || session_is_silent
    }

    /// A kept session that has not answered for this long raises a suspicion.
    pub(super) fn notice(&self) -> Span {
        self.model.trigger.ping_interval.times(2) + Span::from_millis(100)
    }

    /// The moment after which the primary gave no sign of life, or `otherwise` if it lives.
    pub(crate) fn died_at(&self, otherwise: Mono) -> Mono {
        self.trouble.bad.unwrap_or(otherwise)
    }

    /// How the primary ended; of one that is not known to be gone, as if it did now.
    pub(crate) fn ended_by(&self, now: Mono) -> Ended {
        let lived = self.lived_until(now);
        let gone = self.detection.suspicion.as_ref().and_then(|suspicion| suspicion.gone_since);
        gone.map_or(Ended::at(lived), |gone| Ended::gone(lived, gone))
    }

    /// As [`Service::ended_by`], for a failover that begins now: one that fails and is not known to be gone may go on up to its fence.
    pub(crate) fn ends_now(&self, now: Mono) -> Ended {
        let gone = self.detection.suspicion.as_ref().and_then(|suspicion| suspicion.gone_since);
        match self.trouble.bad {
            Some(_) if gone.is_none() => Ended::fenced(self.lived_until(now), now),
            _ => self.ended_by(now),
        }
    }

    /// The last moment at which the primary is known to have been able to acknowledge commits: a first bad sign does not end that, as
    /// exhausted slots show.
    pub(crate) fn lived_until(&self, otherwise: Mono) -> Mono {
        let served = self.subject().and_then(|server| self.servers[usize::from(server.0)].served_at);
        let ran = self
            .detection
            .suspicion
            .as_ref()
            .filter(|suspicion| suspicion.gone_since.is_some())
            .and_then(|suspicion| suspicion.ran_at);
        self.died_at(otherwise).max(served.unwrap_or(Mono::ZERO)).max(ran.unwrap_or(Mono::ZERO))
    }

    pub(crate) fn is_warm(&self) -> bool {
        // Taking up what an earlier engine began, it is not for want of a first answer that a standby is passed over.
        let unheard = |state: &ServerState| state.session_open && state.sample.is_none();
        if self.run.begun.is_some() && self.servers.iter().any(unheard) {
            return false;
        }
        self.model.checks.iter().zip(&self.checks).all(|(model, state)| state.answers >= model.success_threshold)
    }

    /// How long the cooldown still runs.
    pub(crate) fn cooldown_left(&self, now: Mono) -> Span {
        self.durable.cooldown_left(self.model.trigger.cooldown, now)
    }

    /// What survives is what the journal says from here on.
    pub(crate) fn journal_facts(&self, fx: &mut Effects) {
        let mut durable = self.durable.recorded(self.model.trigger.cooldown, fx.now);
        durable.cluster.position = self.last_known();
        fx.push(Output::Journal(Record::Facts { service: self.id, durable: Box::new(durable) }));
    }

    pub(crate) fn become_state(&mut self, to: State, why: String, fx: &mut Effects) {
        if self.state == to {
            return;
        }
        assert!(self.state.followers().contains(&to), "impossible transition {} -> {}", self.state.as_str(), to.as_str());
        let from = self.state;
        self.state = to;
        (self.run.called_in_vain, self.run.well_since, self.run.switched_in_call) = (false, None, false);
        let severity = match to {
            State::Normal | State::FailedOver => Severity::Info,
            State::Degraded | State::Failing | State::FailoverInProgress => Severity::Warning,
            State::ManualIntervention => Severity::Alarm,
        };
        fx.emit(
            EventKind::StateChanged,
            severity,
            self.about(),
            format!("{}: {} -> {} ({why})", self.model.name, from.as_str(), to.as_str()),
            vec![("from", text(from.as_str())), ("to", text(to.as_str())), ("why", text(why))],
        );
    }

    /// The primary is well: `normal`, unless something else is missing.
    pub(crate) fn become_calm(&mut self, why: &str, fx: &mut Effects) {
        let missing: Vec<String> = self.missing().into_iter().map(|missing| missing.sentence).collect();
        if missing.is_empty() {
            self.become_state(State::Normal, why.to_owned(), fx);
        } else {
            self.become_state(State::Degraded, missing.join("; "), fx);
        }
    }

    /// What keeps a service whose primary is well from being well itself.
    pub(crate) fn missing(&self) -> Vec<Remark> {
        let mut missing = Vec::new();
        let candidate = |server: ServerId| self.server_model(server).is_some_and(|model| model.candidate);
        let others = || self.server_ids().filter(|server| !self.is_subject(*server) && candidate(*server));
        let lost = |server: ServerId| matches!(self.servers[usize::from(server.0)].announced, Some(Err(_)));
        if self.model.is_moved() && self.primary_seen && others().count() > 0 && others().all(lost) {
            let sentence = "no standby can take over".to_owned();
            missing.push(Remark { code: "no_standby".into(), sentence });
        }
        let findings = self.route.iter().chain(&self.asked_route).flat_map(|route| &route.findings);
        for finding in findings.filter(|finding| !finding.code.is_of_planned_work()) {
            missing.push(Remark { code: finding.code.to_string(), sentence: finding.message.clone() });
        }
        missing
    }

    pub(crate) fn call_a_person(&mut self, why: String, evidence: Vec<String>, fx: &mut Effects) {
        if self.state == State::ManualIntervention {
            return;
        }
        self.detection.awaiting = None;
        self.become_state(State::ManualIntervention, why.clone(), fx);
        self.tell_person("a person has to look", &why, false, evidence, fx);
        self.durable.attention = Some(why);
        self.journal_facts(fx);
    }

    /// A person should look, and the engine goes on looking: what is missing may come, and then it decides. Once since the first bad sign.
    pub(crate) fn call_for_help(&mut self, why: &str, fx: &mut Effects) {
        if self.detection.told.insert(CALLED) {
            let what = "a person should look, and the engine goes on by itself as soon as it can";
            self.tell_person(what, why, true, self.suspicion_record(), fx);
        }
    }

    fn tell_person(&self, what: &str, why: &str, automatic: bool, evidence: Vec<String>, fx: &mut Effects) {
        fx.emit(
            EventKind::ManualIntervention,
            Severity::Alarm,
            self.about(),
            format!("{}: {what}: {why}", self.model.name),
            vec![("why", text(why)), ("automatic", Field::Bool(automatic)), ("evidence", texts(evidence))],
        );
    }

    /// What the journal says, at a start; after a reload with other servers, what it knows besides.
    pub(crate) fn restore(&mut self, facts: Facts, fx: &mut Effects) {
        let Facts { durable, unfinished, begun, knowledge } = facts;
        let (journaled, written) = (durable.primary, durable.generation);
        // After a reload this is known already, and newer than it could be written down.
        if !std::mem::take(&mut self.unread) {
            let generation = self.durable.generation.max(written);
            let attention = self.durable.attention.take().filter(|_| self.state == State::ManualIntervention);
            self.durable = Durable { generation, attention: attention.or(durable.attention.clone()), ..durable.read(fx.now) };
            self.durable.primary = self.durable.primary.filter(|server| usize::from(server.0) < self.servers.len());
        }
        self.run.began_before = self.durable.last_ended;
        // Without data nothing can have gone wrong with it since an earlier engine saw it.
        self.primary_seen = self.durable.primary.is_some() && !self.holds_data();
        if self.durable.generation > Generation(0) && self.durable.primary.is_some() {
            // An earlier engine may have ended before they followed.
            self.names_follow(fx.now);
        }
        self.resume_ramp(fx.now);
        self.depose_again(written);
        if let Some(knowledge) = knowledge.filter(|knowledge| journaled.is_none_or(|primary| primary == knowledge.primary)) {
            self.recall(*knowledge, fx.now);
        }
        // An operator has made another server the primary since.
        let adopted = |begun: &Intent| begun.generation < written && journaled.is_some_and(|primary| primary != begun.old);
        let superseded = begun.as_ref().is_some_and(adopted);
        let attention = self.durable.attention.take_if(|_| self.state != State::ManualIntervention);
        if let Some(begun) = begun.filter(|_| !superseded) {
            self.take_up(begun, fx);
        } else if let Some(step) = unfinished.filter(|_| !superseded) {
            self.call_a_person(
                format!("failover {written} was not completed, and nobody has reset it since (last known: {step})"),
                vec![format!("journal: failover {written} stands at {step}")],
                fx,
            );
        } else if let Some(why) = attention {
            self.call_a_person(why, vec!["journal: nobody has reset it since".into()], fx);
        }
        self.restore_pause(fx);
        #[cfg(test)]
        crate::procedure::tests::Copying::resume(self, fx);
    }

    /// Who was deposed by an earlier engine.
    fn depose_again(&mut self, written: Generation) {
        if let (Some(primary), Generation(1..)) = (self.durable.primary, written) {
            // The configuration's hint names a server that was deposed: the promoted one is still the primary.
            for server in self.server_ids() {
                self.servers[usize::from(server.0)].deposed =
                    server != primary && self.server_model(server).is_some_and(|model| model.role == Role::Primary);
            }
        }
        let (primary, servers) = (self.durable.primary, &mut self.servers);
        self.durable.cluster.deposed.retain(|server, _| primary != Some(*server) && usize::from(server.0) < servers.len());
        let cluster = &mut self.durable.cluster;
        cluster.seen.retain(|server| cluster.deposed.contains_key(server));
        for server in cluster.deposed.keys() {
            self.servers[usize::from(server.0)].deposed = true;
            self.servers[usize::from(server.0)].view_confirmed |= cluster.seen.contains(server);
        }
    }

    /// Why another configuration cannot be taken now.
    pub(crate) fn no_reload(&self, act: Act, around: Surroundings, now: Mono) -> Option<String> {
        let (name, refusal) = (&self.model.name, self.gate(act, around, now).err()?);
        Some(match refusal {
            Refusal::FailoverInFlight => format!("a failover of {name} is in flight; reload after it"),
            Refusal::JournalUnwritable => format!(
                "the journal cannot be written, and with other servers {name} is known by it alone; see the alarm journal_state, then reload"
            ),
            refusal => format!("{name}: {}", self.sentence(&refusal)),
        })
    }

    /// The configuration has this service with the same servers: its state can be kept.
    pub(crate) fn is_kept_in(&self, model: &Model) -> bool {
        model.services.iter().any(|other| other.name == self.model.name && names_of(other) == names_of(&self.model))
    }

    /// The configuration has this service without its primary, which takes writes: what would watch the rest knows nobody to replace.
    pub(crate) fn loses_its_primary_in(&self, model: &Model, now: Mono) -> Option<String> {
        let primary = self.durable.primary.filter(|server| self.is_writable_now(*server, now))?;
        let (service, name) = (&self.model.name, self.server_name(primary));
        let after = model.services.iter().find(|other| other.name == *service && other.kind == self.model.kind)?;
        let kept = after.servers.iter().any(|server| server.name == name);
        (!kept).then(|| {
            format!("{name} is the primary of {service} and takes writes, and the new configuration has it no more: first move it (failover switchover {service} --to SERVER), then reload; if it was only renamed, restart the engine")
        })
    }

    /// The servers are the same by name, in the same places: everything that is known of them can be kept.
    pub(crate) fn has_servers_of(&self, other: &Service) -> bool {
        names_of(&self.model) == names_of(&other.model)
    }

    /// Under this configuration, with the same servers, what `before` was: all of it but what was under way. Only every check is asked
    /// afresh before anything is decided.
    pub(crate) fn continuing(mut self, mut before: Service, fx: &mut Effects) -> Service {
        before.abandon_checks(fx);
        before.let_go(fx);
        self.inherit_durable(&before);
        self.inherit_detection(&before);
        for server in &mut before.servers {
            // Every session is opened anew: address, user and certificate may have changed.
            server.session_open = false;
            server.session = Slot::due_at(fx.now);
        }
        let follow = self.inherited_follow(&before, fx.now);
        Service {
            id: self.id,
            model: self.model,
            durable: self.durable,
            detection: self.detection,
            run: Run { well_since: None, ..before.run },
            background: Background { follow, ..before.background },
            checks: self.checks,
            recent: self.recent,
            afresh_since: fx.now,
            unread: false,
            ..before
        }
    }

    /// Where other servers are configured: what survives, and what was seen of those that are the same. What was begun, and what was seen of
    /// a primary's log, is told by the journal, as after a start.
    pub(crate) fn inherit_from_other_servers(&mut self, before: &Service) {
        self.unread = true;
        self.inherit_durable(before);
        self.durable.cluster.position = before.last_known();
        // That others wait because of it, or it because of them, is in no journal.
        self.run.held = before.run.held;
        self.run.began_at = before.run.began_at;
        if self.model.kind != before.model.kind {
            return;
        }
        let places = Places { before: &before.model, now: &self.model };
        for (old, known) in before.server_ids().zip(&before.servers) {
            if let Some(new) = places.server(old) {
                let state = &mut self.servers[usize::from(new.0)];
                // Every session is opened anew.
                *state = ServerState { session_open: false, session: state.session.clone(), ..known.clone() };
            }
        }
        let same = before.subject().and_then(|subject| places.server(subject));
        if same.is_some() && self.subject() == same {
            self.inherit_detection(before);
            self.trouble.failing = None;
        }
    }

    fn inherit_durable(&mut self, before: &Service) {
        let places = Places { before: &before.model, now: &self.model };
        self.durable = before.durable.clone().mapped(&|server| places.server(server), &|server| places.followed(server));
    }

    /// What was seen of the same primary since its first bad sign, and what was decided on it. Of a check that is another one now, nothing.
    fn inherit_detection(&mut self, before: &Service) {
        let places = Places { before: &before.model, now: &self.model };
        let detection = before.detection.clone().mapped(&|server| places.server(server));
        // Who was asked is not waited for any more.
        self.detection = Detection { host_asked: None, ..detection };
        self.trouble = before.trouble;
        self.run.confirmed_by_operator = before.run.confirmed_by_operator;
        if self.model.checks == before.model.checks {
            self.recent.clone_from(&before.recent);
        } else {
            self.detection.window.clear();
        }
        for (model, check) in self.model.checks.iter().zip(&mut self.checks) {
            let same = before.model.checks.iter().zip(&before.checks).find(|(other, _)| *other == model);
            if let Some((_, known)) = same {
                check.counter = known.counter;
                check.last.clone_from(&known.last);
                check.verdicts = known.verdicts;
            }
        }
    }

    /// No check that is under way is waited for any more.
    fn abandon_checks(&mut self, fx: &mut Effects) {
        for check in &mut self.checks {
            if let Some(flight) = check.slot.abandon(fx.now) {
                fx.push(Output::CancelRun(flight.run));
            }
            check.answers = 0;
        }
    }

    /// Forgets every unconfirmed verdict: after our own pause or a resume (rules 7, 8). That a stop was announced is none.
    pub(crate) fn start_over(&mut self, fx: &mut Effects) {
        let now = fx.now;
        self.afresh_since = now;
        let announced = self.detection.suspicion.as_ref().and_then(|suspicion| suspicion.announced);
        self.trouble.leaving = announced.or(self.trouble.leaving);
        self.detection = Detection::default();
        self.abandon_checks(fx);
        for server in &mut self.servers {
            if server.last_answer.is_some() {
                server.last_answer = Some(now);
            }
        }
        if matches!(self.state, State::Failing | State::Degraded) {
            self.become_calm("counters restarted", fx);
        }
    }

    /// The clock stood still for so long: what was seen before is so much older.
    pub(crate) fn was_suspended(&mut self, span: Span) {
        if let Some(pause) = &mut self.durable.pause {
            pause.was_suspended(span);
        }
        if let Some(log) = &mut self.log {
            log.lead = log.lead + span;
            if let Some(heard) = &mut log.heard {
                heard.lead = heard.lead + span;
            }
        }
    }

    /// The engine did not run for a while: a proof of the fence is not of this moment any more.
    pub(crate) fn slept(&mut self) {
        if let Some(plan) = &mut self.run.plan {
            plan.slept();
        }
    }

    /// Nobody waits any more for what is under way.
    pub(crate) fn let_go(&mut self, fx: &mut Effects) {
        for server in &mut self.servers {
            if let Some(flight) = server.session.abandon(fx.now) {
                fx.push(Output::CancelRun(flight.run));
            }
        }
        self.drop_tasks(|_| true, fx);
        // What is durable says where it goes on.
        if let Some((id, ..)) = self.background.rejoin.take().and_then(|run| run.course().action.clone()) {
            fx.push(Output::CancelAction(id));
        }
    }

    /// When something has to happen here even if no input comes.
    pub(crate) fn next(&self, around: Surroundings, now: Mono) -> Mono {
        let (trigger, watched) = (&self.model.trigger, self.run.plan.is_none());
        self.next_question(around, now)
            .min(self.next_silence())
            .min(self.durable.next(self.state, trigger.cooldown, now))
            .min(self.detection.next(self.state, trigger.failure_window, watched, now))
            .min(self.run.next())
            .min(self.next_step(now))
            .min(self.background.next(|act| self.may(act, around, now)))
            .min(self.next_follow(around, now))
            .min(self.next_repoint(around, now))
            .min(self.next_sync_restore(around, now))
            .min(self.next_keep_sync(around, now))
            .min(self.next_planned())
    }

    /// When a check or a session is due, or overdue.
    fn next_question(&self, around: Surroundings, now: Mono) -> Mono {
        // Where it may ask nobody any more, only what is out has a deadline.
        let may_ask = self.may(Act::Ask, around, now);
        let wanted = |slot: &&Slot| may_ask || slot.flight().is_some();
        let checks = self.checks.iter().map(|check| &check.slot);
        let sessions =
            self.servers.iter().filter(|state| self.kind().keeps_sessions() && !state.session_open).map(|state| &state.session);
        checks.chain(sessions).filter(wanted).map(Slot::next).min().unwrap_or(Mono::NEVER)
    }

    /// When the silence of the primary's kept session is a first bad sign.
    fn next_silence(&self) -> Mono {
        let watched = self.detection.suspicion.is_none() && self.run.plan.is_none();
        let subject = self.subject().filter(|_| watched).map(|server| &self.servers[usize::from(server.0)]);
        let last = subject.filter(|state| state.session_open).and_then(|state| state.last_answer);
        last.map_or(Mono::NEVER, |last| last + self.notice() + Span::from_nanos(1))
    }
}

fn names_of(service: &ServiceModel) -> Vec<&String> {
    service.servers.iter().map(|server| &server.name).collect()
}
