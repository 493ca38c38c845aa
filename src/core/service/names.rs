//! Names are a way to the primary beside another one: they follow once a failover is over.

use super::gate::Act;
use super::{NAMES_AGAIN, Service};
use crate::effects::{Effects, texts};
use crate::event::{EventKind, Severity};
use crate::id::ServerId;
use crate::output::{Failure, Report};
use crate::procedure::task::Task;
use crate::sample::RouteInstance;
use crate::time::Mono;

impl Service {
    /// The names of the service are to point to the primary.
    pub(crate) fn names_follow(&mut self, now: Mono) {
        if self.model.route.names.is_some() {
            self.background.names_due = Some((now, 0));
        }
    }

    /// Names are a way to the primary beside another one: they follow once the failover is over, and hold nobody up (rule 46).
    pub(super) fn point_names(&mut self, fx: &mut Effects) {
        let (Some((at, tries)), Some(server), Some(span)) =
            (self.background.names_due, self.durable.primary, self.model.route.names)
        else {
            return;
        };
        if fx.now < at || !self.may(Act::PointNames, fx.around, fx.now) || self.is_at(|task| matches!(task, Task::PointNames(_)))
        {
            return;
        }
        // Until it is back; then its outcome says when again.
        self.background.names_due = Some((at + span + NAMES_AGAIN, tries.saturating_add(1)));
        self.begin_task(Task::PointNames(server), fx);
    }

    pub(crate) fn names_pointed(&mut self, server: ServerId, outcome: Result<Report, Failure>, fx: &mut Effects) {
        let (said, failed): (Vec<String>, Vec<String>) = match outcome {
            Ok(Report::Route(instances)) => {
                let failed = instances.iter().filter_map(RouteInstance::failure);
                let said =
                    instances.iter().filter_map(|one| one.result.as_ref().ok().map(|said| format!("{}: {said}", one.name)));
                (said.collect(), failed.collect())
            }
            Ok(_) => (Vec::new(), vec!["the action returned an answer that does not fit it".into()]),
            Err(failure) => (Vec::new(), vec![failure.message]),
        };
        let name = self.server_name(server);
        let tries = self.background.names_due.map_or(0, |(_, tries)| tries);
        let (severity, message) = if failed.is_empty() {
            self.background.names_due =
                self.background.names_due.filter(|_| self.durable.primary != Some(server)).map(|_| (fx.now, 0));
            (Severity::Info, format!("the names point to {name}: {}", said.join("; ")))
        } else {
            self.background.names_due = Some((fx.now + NAMES_AGAIN, tries));
            // Told loudly once; it is tried until it works.
            let severity = if tries <= 1 { Severity::Alarm } else { Severity::Debug };
            (severity, format!("not every name points to {name}, tried again every {NAMES_AGAIN}: {}", failed.join("; ")))
        };
        fx.emit(EventKind::EvidenceGathered, severity, self.about_server(server), message, vec![("failed", texts(failed))]);
    }
}
