//! Tasks: runs of one step, beside whatever else is under way. Each has its action, the time limit of that, and what its outcomes mean.

use serde::{Deserialize, Serialize};

use super::Outcome;
use super::drive::LATE;
use crate::effects::Effects;
use crate::id::{ActionId, ServerId};
use crate::output::{Action, Failure, Output};
use crate::sample::FenceLevel;
use crate::service::Service;
use crate::service::ramp::STEP;
use crate::time::{Mono, Span};

const fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// What is done by a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// The host of the suspect is asked, and the server on its own side where that is `true`.
    AskHost(ServerId, bool),
    /// The history of this timeline is read.
    ReadHistory(ServerId, u32),
    /// The fence of a failover is proven once more.
    ProveAgain(ServerId),
    /// A server that writes beside the primary leaves the route.
    TakeOut(ServerId),
    /// A deposed server that is back is fenced again.
    FenceAgain(ServerId),
    /// The route is put right.
    AssertRoute(ServerId),
    /// The names are pointed to the primary.
    PointNames(ServerId),
    /// A standby is pointed to the present primary.
    Repoint(ServerId),
    /// `synchronous_standby_names` of this server is put back.
    RestoreSyncNames(ServerId),
    /// This server gets another `synchronous_standby_names`.
    SetSyncNames(ServerId),
    /// A slot on this server that nobody uses any more is dropped.
    DropSlot(ServerId),
    /// The weight of the primary grows to this share.
    Climb(ServerId, u8),
    /// What salvaged log is left on a standby's host is removed.
    EmptySpool(ServerId),
    /// The command is run that follows another service, to this server of it.
    Follow(ServerId),
}

impl Task {
    /// Its action and the time limit of that.
    fn action(self, service: &Service, now: Mono) -> Option<(Action, Span)> {
        Some(match self {
            // A handshake and a command fit well.
            Task::AskHost(server, ask_local) => (Action::AskHost { server, ask_local }, ms(2_000)),
            Task::ReadHistory(server, timeline) => (Action::ReadHistory { server, timeline }, ms(2_000)),
            Task::ProveAgain(server) => {
                let view_confirmed = service.servers[usize::from(server.0)].view_confirmed;
                (Action::ProveFence { server, view_confirmed }, ms(5_000))
            }
            Task::TakeOut(server) => (Action::RouteOut { server }, ms(3_000)),
            Task::FenceAgain(server) => {
                (service.fence_action(server, FenceLevel::ProvenStopped, false, false), service.model.fence.timeout)
            }
            Task::AssertRoute(server) => (Action::RouteIn { server, share: service.present_share(now) }, ms(3_000)),
            Task::PointNames(server) => (Action::PointNames { server }, service.model.route.names?),
            Task::Repoint(standby) => service.repoint_one(standby, now)?,
            Task::RestoreSyncNames(server) => service.restore_action(server)?,
            Task::SetSyncNames(server) => service.set_sync_names_action(server, now)?,
            Task::DropSlot(server) => service.drop_slot_action(server)?,
            Task::Climb(server, share) => (Action::RouteWeight { server, share }, STEP),
            Task::EmptySpool(server) => (Action::EmptySpool { server }, ms(5_000)),
            Task::Follow(_) => service.follow_command()?,
        })
    }

    /// What its outcomes mean.
    fn finished(self, service: &mut Service, outcome: Outcome, fx: &mut Effects) {
        match self {
            Task::AskHost(server, _) => service.host_replied(server, outcome, fx),
            Task::ReadHistory(server, timeline) => service.history_read(server, timeline, outcome, fx.now),
            Task::ProveAgain(server) => service.proven_once_more(server, outcome, fx),
            Task::TakeOut(server) => service.taken_out_again(server, outcome, fx),
            Task::FenceAgain(server) => service.fenced_again(server, outcome, fx),
            Task::AssertRoute(server) => service.route_asserted(server, outcome, fx),
            Task::PointNames(server) => service.names_pointed(server, outcome, fx),
            Task::Repoint(standby) => service.repointed(standby, outcome, fx),
            Task::RestoreSyncNames(server) => service.sync_names_restored(server, outcome, fx),
            Task::SetSyncNames(server) => service.sync_names_set(server, outcome, fx),
            Task::DropSlot(server) => service.slot_dropped(server, outcome, fx),
            Task::Climb(server, share) => service.climbed(server, share, outcome, fx),
            Task::EmptySpool(server) => service.spool_emptied(server, outcome, fx),
            Task::Follow(server) => service.follow_commanded(server, outcome, fx),
        }
    }
}

impl Service {
    pub(crate) fn begin_task(&mut self, task: Task, fx: &mut Effects) {
        let Some((action, span)) = task.action(self, fx.now) else { return };
        let (id, deadline) = (fx.action(), fx.now + span);
        self.background.tasks.push((id, task, deadline));
        fx.push(Output::RunAction { id, service: self.id, generation: self.durable.generation, action, deadline });
    }

    /// One of these is under way.
    pub(crate) fn is_at(&self, wanted: impl Fn(&Task) -> bool) -> bool {
        self.background.tasks.iter().any(|(_, task, _)| wanted(task))
    }

    /// Nobody waits any more for these.
    pub(crate) fn drop_tasks(&mut self, unwanted: impl Fn(&Task) -> bool, fx: &mut Effects) {
        self.background.tasks.retain(|(id, task, _)| {
            let goes = unwanted(task);
            if goes {
                fx.push(Output::CancelAction(*id));
            }
            !goes
        });
    }

    pub(crate) fn expire_tasks(&mut self, fx: &mut Effects) {
        while let Some(at) = self.background.tasks.iter().position(|(_, _, deadline)| fx.now >= *deadline + LATE) {
            let (id, task, _) = self.background.tasks.remove(at);
            fx.push(Output::CancelAction(id));
            task.finished(self, Err(Failure::timed_out("the action did not come back by its deadline", "")), fx);
        }
    }

    /// Gives an outcome to the task whose action it is.
    pub(crate) fn task_finished(&mut self, action: ActionId, outcome: Outcome, fx: &mut Effects) {
        if let Some(at) = self.background.tasks.iter().position(|(id, _, _)| *id == action) {
            let (_, task, _) = self.background.tasks.remove(at);
            task.finished(self, outcome, fx);
        }
    }
}
