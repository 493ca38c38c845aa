//! What an old primary's disk has and a standby lacks: carried over as the truth allows, and what the record says of it.

use failover_core::event::{Event, Field};
use failover_core::model::OnSalvage;
use failover_core::output::{Failure, Report};
use failover_core::salvage::Salvaged;
use failover_core::sample::{FenceLevel, Lsn};
use failover_core::time::Mono;

use super::super::cluster::Process;
use super::super::swarm::Fault;
use super::{Sim, ms};

fn number(event: &Event, name: &str) -> Option<u64> {
    event.fields.iter().find_map(|(key, value)| match value {
        Field::Int(value) if *key == name => Some(*value),
        _ => None,
    })
}

fn word<'a>(event: &'a Event, name: &str) -> &'a str {
    let text = event.fields.iter().find_map(|(key, value)| match value {
        Field::Text(text) if *key == name => Some(text.as_str()),
        _ => None,
    });
    text.unwrap_or_default()
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub target: usize,
    pub old: usize,
    pub system_id: u64,
    pub timeline: u32,
    pub from: u64,
}

impl Sim {
    /// The end of a log is carried to a standby, as far as its disk takes it.
    pub(super) fn salvage(&mut self, service: usize, wanted: Wanted) -> Result<Report, Failure> {
        let Wanted { target, old, system_id, timeline, from } = wanted;
        let ssh = |at: usize| self.setup.model.services[service].servers[at].ssh;
        let both = ssh(target) && ssh(old);
        let cluster = &mut self.clusters[service];
        let (source, standby) = (&cluster.servers[old], &cluster.servers[target]);
        if !both || !source.power || !source.host || source.unreadable {
            return Err(Failure::timed_out("the log of the old primary cannot be read", ""));
        }
        if source.process != Process::Gone || source.orphans {
            return Err(Failure::no_effect("a process of the old primary lives", ""));
        }
        if source.system_id != system_id || standby.system_id != system_id || source.timeline != timeline {
            return Err(Failure::no_effect("another cluster, or another timeline", ""));
        }
        if !standby.power || !standby.host || !standby.recovery || standby.branch.number != source.branch.number {
            return Err(Failure::no_effect("the standby's host does not answer, or it is none any more", ""));
        }
        let end = source.lsn;
        let missing = end.saturating_sub(from);
        let takes = standby.process == Process::Running && standby.spool && !standby.replay_paused && !standby.delayed;
        let most = if takes { standby.spool_takes.unwrap_or(u64::MAX) } else { 0 };
        let salvaged = missing.min(most);
        let failed = (salvaged < missing).then(|| "the spool takes no more".to_owned());
        let standby = &mut cluster.servers[target];
        if salvaged > 0 {
            standby.replay_from = standby.replay_from.max(from + salvaged);
            standby.lsn = standby.lsn.max(from + salvaged);
        }
        let replayed = Lsn(standby.lsn);
        Ok(Report::Salvaged(Salvaged { end: Lsn(end), missing, salvaged, commits: None, replayed, failed }))
    }

    /// It is asked for: the old primary was proven stopped, and nothing of it runs unless somebody has started it since.
    pub(super) fn judge_salvage(&mut self, service: usize, generation: u64, old: usize) {
        const NAME: &str = "the_old_log_is_read_only_behind_the_proof";
        self.watch.exercise(NAME);
        if self.watch.fence_level(service, generation) != FenceLevel::ProvenStopped {
            self.watch.fail(NAME, format!("failover {generation} reads it, and its fence is not proven"));
        }
        let (cluster, proved) = (&self.clusters[service], self.proved[service]);
        let server = &cluster.servers[old];
        let lives = server.power && (server.process != Process::Gone || server.orphans);
        if lives && server.started < proved && !cluster.lied && !cluster.returned {
            self.watch.fail(NAME, format!("{} lives, and has since before the proof", server.name));
        }
    }

    /// Where nothing may be lost, nobody is promoted who lacks what a client was told of.
    pub(super) fn judge_required(&mut self, service: usize, target: usize, old: usize) {
        const NAME: &str = "where_salvage_is_required_nothing_is_lost";
        let policy = &self.setup.model.services[service].postgres;
        let cluster = &self.clusters[service];
        let (primary, chosen) = (&cluster.servers[old], &cluster.servers[target]);
        if policy.salvage != OnSalvage::Require || self.watch.accepts_loss(service) || self.is_disturbed(service) {
            return;
        }
        // Who acknowledged is not known of settings that changed right before the death.
        if primary.settings_changed + ms(1_000) > primary.acknowledged_at && primary.settings_changed > Mono::ZERO {
            return;
        }
        self.watch.exercise(NAME);
        let lost = primary.acknowledged.saturating_sub(chosen.lsn);
        if lost > 0 && primary.branch.number == chosen.branch.number {
            self.watch.fail(NAME, format!("{} lacks {lost} acknowledged bytes of {}", chosen.name, primary.name));
        }
    }

    fn is_disturbed(&self, service: usize) -> bool {
        let cluster = &self.clusters[service];
        cluster.lied || cluster.returned || cluster.meddled || cluster.servers.iter().any(|one| one.by_hand || one.restored)
    }

    /// The record of a failover says what was missing and what is: that is the truth.
    pub(super) fn judge_salvaged(&mut self, service: usize, event: &Event) {
        let cluster = &self.clusters[service];
        let Some(promotion) = cluster.promoted else { return };
        let of_it = event.server == Some(super::server_id(promotion.server));
        if !of_it || promotion.rival || self.is_disturbed(service) {
            return;
        }
        self.judge_figures(service, event);
        self.judge_unlost(service, event);
    }

    fn judge_figures(&mut self, service: usize, event: &Event) {
        const FIGURES: &str = "what_the_record_says_of_a_salvage_is_true";
        const ALL: &str = "after_a_whole_salvage_nothing_is_lost";
        let Some(promotion) = self.clusters[service].promoted else { return };
        let name = self.clusters[service].servers[promotion.server].name.clone();
        let (missing, salvaged) = (number(event, "missing_bytes"), number(event, "salvaged_bytes"));
        if let Some(left) = number(event, "still_missing_bytes") {
            self.watch.exercise(FIGURES);
            let adds_up = missing.zip(salvaged).is_some_and(|(missing, salvaged)| missing == salvaged + left);
            // What came over behind the answer, or by an engine that is gone, is not counted.
            let late = self.late_salvage || self.base > Mono::ZERO;
            if !adds_up || promotion.lacks > left || promotion.lacks < left && !late {
                let why = format!(
                    "{name} lacks {}; of {missing:?} bytes {salvaged:?} were carried over and {left} are missing, it says",
                    promotion.lacks
                );
                self.watch.fail(FIGURES, why);
            }
        }
        if matches!(word(event, "salvage"), "all" | "nothing_missing") {
            self.watch.exercise(ALL);
            if promotion.missing > 0 {
                let why = format!("{} acknowledged bytes are not on {name}: {}", promotion.missing, event.message);
                self.watch.fail(ALL, why);
            }
        }
    }

    /// Where both hosts, the disk and the spool were in order all the time, nothing that a client was told of is lost.
    fn judge_unlost(&mut self, service: usize, event: &Event) {
        const NAME: &str = "where_the_old_disk_can_be_read_nothing_is_lost";
        let (cluster, model) = (&self.clusters[service], &self.setup.model.services[service]);
        let Some(promotion) = cluster.promoted else { return };
        let settled = |at: Mono| at == Mono::ZERO || self.now.since(at) > ms(25_000);
        let sound = |at: usize| {
            let server = &cluster.servers[at];
            let host = server.power && server.host && settled(server.host_shut_at) && settled(server.powered_at);
            model.servers[at].ssh && host && !server.unreadable && server.spool_takes.is_none()
        };
        let standby = &cluster.servers[promotion.server];
        // No fault of the step itself, and nothing else that began or ended in the middle of it.
        let plain = !self.met_executor && self.base == Mono::ZERO && self.woken.is_empty() && self.suspends.is_empty();
        let takes = standby.spool
            && !standby.delayed
            && !standby.replay_paused
            && standby.damage.is_none()
            && settled(standby.damaged_at);
        let tried = model.postgres.salvage != OnSalvage::Off
            && self.watch.fence_level(service, event.generation.0) == FenceLevel::ProvenStopped
            && plain
            && takes
            && !self.surveyless
            && sound(promotion.server)
            && sound(promotion.old);
        // Where commits waited for standbys nothing had to be carried over.
        let asynchronous = cluster.servers[promotion.old].settings.rule.is_none();
        // Who acknowledged is not known of settings that changed right before the death.
        let changed = promotion.settings_changed;
        let known = changed == Mono::ZERO || changed + ms(1_000) <= promotion.acknowledged_at;
        let asynchronous = asynchronous && known;
        if !tried || !asynchronous || self.watch.accepts_loss(service) {
            return;
        }
        self.watch.exercise(NAME);
        if promotion.missing > 0 {
            let why = format!(
                "{} acknowledged bytes are not on {}: {} ({})",
                promotion.missing,
                standby.name,
                event.message,
                word(event, "salvage")
            );
            self.watch.fail(NAME, why);
        }
    }

    /// A fault that makes an answer about the old log come late, or never.
    pub(super) fn note_salvage_fault(&mut self, fault: &Fault) {
        self.met_executor |= matches!(fault, Fault::Unreadable | Fault::SpoolTakes(_));
        if let Fault::Executor(step, _) = fault {
            self.met_executor = true;
            self.late_salvage |= *step == "salvage";
        }
    }
}
