//! Every procedure that may be under way, one line for each. The first one moves the primary; the others go on beside it.

use super::Outcome;
use super::Procedure;
use super::drive::LATE;
use super::rejoin::Rejoin;
use crate::effects::Effects;
use crate::id::ActionId;
use crate::plan::Plan;
use crate::service::Service;
use crate::time::Mono;

/// What is waited for.
#[derive(Clone, Copy)]
struct Waits {
    action: Option<(ActionId, Mono)>,
    retry_at: Option<Mono>,
    deadline: Mono,
}

impl Waits {
    fn of<P: Procedure>(run: Option<&P>) -> Option<Waits> {
        let course = run?.course();
        let action = course.action.as_ref().map(|(id, _, deadline)| (*id, *deadline));
        Some(Waits { action, retry_at: course.retry_at, deadline: course.deadline })
    }

    fn next(self, now: Mono) -> Mono {
        let late = self.action.map(|(_, deadline)| deadline + LATE);
        // Once it has passed, the step that saw it has done what there is to do: the rest waits for the action.
        let deadline = Some(self.deadline).filter(|deadline| *deadline > now);
        [late, self.retry_at, deadline].into_iter().flatten().min().unwrap_or(Mono::NEVER)
    }
}

impl Service {
    fn waits(&self) -> impl Iterator<Item = Waits> {
        let waits = [
            Waits::of(self.run.plan.as_ref()),
            Waits::of(self.background.rejoin.as_ref()),
            #[cfg(test)]
            Waits::of(self.background.copying.as_ref()),
        ];
        waits.into_iter().flatten()
    }

    /// The actions of procedures that are not back.
    pub(crate) fn steps_out(&self) -> impl Iterator<Item = ActionId> {
        self.waits().filter_map(|waits| waits.action).map(|(id, _)| id)
    }

    /// When a procedure has to go on even if no outcome comes.
    pub(crate) fn next_step(&self, now: Mono) -> Mono {
        self.waits().map(|waits| waits.next(now)).min().unwrap_or(Mono::NEVER)
    }

    /// Moves on what goes on beside the primary's.
    pub(crate) fn drive_beside(&mut self, fx: &mut Effects) {
        #[cfg(test)]
        self.drive::<super::tests::Copying>(fx);
        self.resume_rejoin(fx);
        self.rejoin_by_itself(fx);
        self.drive::<Rejoin>(fx);
    }

    /// The engine is to stop.
    pub(crate) fn stop_procedures(&mut self) {
        if let Some(plan) = &mut self.run.plan {
            plan.course.stop_asked = true;
        }
        if let Some(run) = &mut self.background.rejoin {
            run.course_mut().stop_asked = true;
        }
        #[cfg(test)]
        if let Some(copying) = &mut self.background.copying {
            copying.course_mut().stop_asked = true;
        }
    }

    /// Gives an outcome to the procedure whose action it is; or back, where it is of none.
    pub(crate) fn step_finished(&mut self, action: ActionId, outcome: Outcome, fx: &mut Effects) -> Option<Outcome> {
        let of = |waits: Option<Waits>| waits.and_then(|waits| waits.action).is_some_and(|(id, _)| id == action);
        if of(Waits::of(self.run.plan.as_ref())) {
            self.action_finished::<Plan>(outcome, fx);
            return None;
        }
        if of(Waits::of(self.background.rejoin.as_ref())) {
            self.action_finished::<Rejoin>(outcome, fx);
            return None;
        }
        #[cfg(test)]
        if of(Waits::of(self.background.copying.as_ref())) {
            self.action_finished::<super::tests::Copying>(outcome, fx);
            return None;
        }
        Some(outcome)
    }
}
