//! An old primary comes back: what its host says of its log, and what becomes of it.

use failover_core::output::{Action, Failure, Report};
use failover_core::rejoin::{Divergence, Rewound};
use failover_core::sample::Lsn;

use super::super::cluster::Process;
use super::Sim;

impl Sim {
    pub(super) fn bring_back(&mut self, service: usize, target: usize, action: &Action) -> Result<Report, Failure> {
        let ssh = self.setup.model.services[service].servers[target].ssh;
        let cluster = &mut self.clusters[service];
        let server = &cluster.servers[target];
        if !ssh || !server.power || !server.host {
            return Err(Failure::timed_out("no answer from the host", ""));
        }
        if server.process != Process::Gone || server.orphans {
            return Err(Failure::refused("a server runs there", ""));
        }
        match action {
            Action::ReadDivergence { timeline, switches, .. } => {
                let left = switches.iter().find(|(of, _)| *of == server.timeline).map(|(_, at)| *at);
                let fork = if server.timeline == *timeline { Some(Lsn(0)) } else { left };
                let fork = fork.ok_or_else(|| Failure::refused("its timeline is not in the history of the primary's", ""))?;
                let end = if fork == Lsn(0) { Lsn(0) } else { Lsn(server.lsn) };
                let rewound = if server.rewound { Rewound::Done } else { Rewound::Not };
                Ok(Report::Divergence(Divergence {
                    timeline: server.timeline,
                    fork,
                    end,
                    rewound,
                    slot: server.slot.clone(),
                    ..Divergence::default()
                }))
            }
            Action::Rewind { primary, .. } => {
                cluster.rewind(target, usize::from(primary.0));
                Ok(Report::Done { message: "it is begun".into() })
            }
            Action::ReadRewind { .. } => {
                let state = if server.rewound { Rewound::Done } else { Rewound::Not };
                Ok(Report::Rewind { state, message: "what the simulator knows".into() })
            }
            Action::Copy { .. } => Err(Failure::refused("nobody orders a copy in this world", "")),
            Action::FollowPrimary { .. } => Ok(Report::Done { message: "written".into() }),
            _ if !server.guard => Err(Failure::refused("it has no guard, and would start as a primary", "")),
            _ => {
                cluster.start(target);
                if let Some(leader) = cluster.leader() {
                    // What its conninfo was is overwritten.
                    cluster.servers[target].under = None;
                    let _ = cluster.repoint(target, leader, &[]);
                }
                Ok(Report::Done { message: "started".into() })
            }
        }
    }
}
