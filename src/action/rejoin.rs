//! What brings an old primary back as a standby, on its host and on the new primary.

use super::ServiceActions;
use super::host::Log;
use crate::deadline::{Cancel, Deadline};
use failover_core::id::{Generation, ServerId};
use failover_core::output::{Action, Failure, Report};
use failover_core::rejoin::{Divergence, Rewound};
use failover_core::sample::Lsn;

impl ServiceActions {
    /// Carries out one of its steps.
    ///
    /// # Errors
    /// Why it did not do what it should.
    pub(super) fn rejoin(
        &self,
        action: &Action,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let done = |message: String| Report::Done { message };
        match action {
            Action::ReadDivergence { server, primary, system_id, timeline, switches } => {
                let peer = &self.server(*primary)?.name;
                self.divergence(*server, peer, *system_id, (*timeline, switches), generation, deadline, cancel)
            }
            Action::KeepLog { server, system_id, timeline, fork } => {
                let log = Log { system_id: *system_id, timeline: *timeline };
                self.control(*server)?.keep(generation, log, *fork, deadline, cancel).map(done)
            }
            Action::Rewind { server, primary } => {
                let peer = &self.server(*primary)?.name;
                self.control(*server)?.rewind(generation, peer, deadline, cancel).map(done)
            }
            Action::ReadRewind { server } => {
                let (state, message) = self.control(*server)?.rewind_status(generation, deadline, cancel)?;
                Ok(Report::Rewind { state, message })
            }
            Action::FollowPrimary { server, primary, alias } => {
                let peer = &self.server(*primary)?.name;
                self.control(*server)?.follow(generation, peer, alias, deadline, cancel)?;
                Ok(done(format!("it has the settings of a standby of {peer}")))
            }
            Action::MakeSlot { server, slot } => self.cluster.make_slot(*server, slot, deadline, cancel),
            Action::StartStandby { server } => self.control(*server)?.start_standby(generation, deadline, cancel).map(done),
            _ => Err(Failure::no_effect(format!("{} is no step of a return", action.name()), "")),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what a log is compared with")]
    fn divergence(
        &self,
        server: ServerId,
        peer: &str,
        system_id: u64,
        (timeline, switches): (u32, &[(u32, Lsn)]),
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let control = self.control(server)?;
        let stopped = control.stopped(generation, peer, deadline, cancel)?;
        if stopped.system_id != system_id {
            let message =
                format!("it belongs to another cluster: its system identifier is {}, expected {system_id}", stopped.system_id);
            return Err(Failure::refused(message, "correct host and data_dir of this server"));
        }
        let slot = Some(stopped.slot).filter(|slot| !slot.is_empty());
        let known = Divergence {
            timeline: stopped.newest,
            hindrances: stopped.hindrances,
            rewound: stopped.rewound,
            slot,
            ..Divergence::default()
        };
        if matches!(known.rewound, Rewound::Running { .. }) {
            return Ok(Report::Divergence(Divergence { commits: Some(0), ..known }));
        }
        let rebuild = "rebuild it as a new standby (failover rejoin --rebuild, docs/REJOIN.md)";
        if known.timeline == timeline {
            // Two servers that were promoted beside each other write on timelines of the same number.
            if !stopped.as_standby {
                let message = format!("it was a primary on timeline {timeline} itself, and the present primary is another one");
                return Err(Failure::refused(message, rebuild));
            }
            return Ok(Report::Divergence(Divergence { commits: Some(0), ..known }));
        }
        let before = control.history(known.timeline, deadline, cancel)?;
        if !switches.starts_with(&before) {
            let message =
                format!("its timeline {} is not the one from which timeline {timeline} of the primary comes", known.timeline);
            return Err(Failure::refused(message, rebuild));
        }
        let left = switches.iter().find(|(parent, _)| *parent == known.timeline);
        let Some((_, fork)) = left else {
            let message = format!(
                "it wrote on timeline {}, and timeline {timeline} of the primary does not come from that",
                known.timeline
            );
            return Err(Failure::refused(message, rebuild));
        };
        let log = Log { system_id, timeline: known.timeline };
        let behind = control.behind(log, *fork, deadline, cancel)?;
        Ok(Report::Divergence(Divergence {
            fork: *fork,
            end: behind.end,
            commits: behind.commits,
            first: behind.first,
            last: behind.last,
            ..known
        }))
    }
}
