//! One thread that looks at the route of every service that was failed over: a load balancer that is reloaded or restarted forgets
//! what was moved, and the core hears of it before the old primary can come back.

use std::time::Duration;

use crate::deadline::{Cancel, Deadline};
use failover_core::event::{EventKind, Severity};
use failover_core::id::ServiceId;
use failover_core::input::Input;
use failover_core::route::RouteSurvey;

use super::Shell;
use super::threads::Duty;

/// Between two looks. A server that is started takes longer than this to accept its first session.
const EVERY: Duration = Duration::from_millis(250);
/// While no service was ever failed over there is nothing to look at.
const IDLE: Duration = Duration::from_secs(1);
/// For one look at every instance of a service.
const QUESTION: Duration = Duration::from_secs(1);

/// The body of the thread; ends when cancelled.
///
/// It also sees when the thread that looks after all others does not come round itself.
pub(crate) fn run(shell: &Shell, duty: &Duty, trigger: &Duty, cancel: &Cancel, sink: &(dyn Fn(Input) + Send + Sync)) {
    let mut was_overdue = false;
    loop {
        duty.begin(QUESTION * 10);
        let is_overdue = trigger.is_overdue();
        if is_overdue != was_overdue {
            was_overdue = is_overdue;
            let (severity, what) = if is_overdue {
                (
                    Severity::Alarm,
                    "does not respond: the engine decides nothing meanwhile; the usual cause is a state directory that does not answer",
                )
            } else {
                (Severity::Info, "comes round again")
            };
            shell.say(EventKind::Log, severity, &format!("the thread {} {what}", trigger.name()));
        }
        let parts = shell.parts();
        let moved = shell.moved();
        let watched = |place: &usize| moved.get(*place).copied().unwrap_or(false);
        for (place, service) in parts.services.iter().enumerate().filter(|(place, _)| watched(place)) {
            let Ok(number) = u16::try_from(place) else { break };
            if cancel.is_cancelled() || !service.actions.has_instances() {
                continue;
            }
            duty.begin(QUESTION * 10);
            let asked = shell.clock.now();
            let instances = service.actions.view_route(Deadline::after(QUESTION), cancel);
            // An instance that is being restarted does not answer for a moment: the survey tells of one that stays away.
            if !cancel.is_cancelled() && !shell.are_stale(&parts) && instances.iter().any(|instance| instance.servers.is_ok()) {
                sink(Input::RouteSurveyed { service: ServiceId(number), survey: RouteSurvey { asked, instances } });
            }
        }
        duty.rest();
        let pause = if moved.contains(&true) { EVERY } else { IDLE };
        if cancel.pause(pause, Deadline::after(pause * 2)).is_err() {
            return;
        }
    }
}
