//! A new copy of the primary's data, on the host of the server that gets it.

use super::ServiceActions;
use crate::deadline::{Cancel, Deadline};
use failover_core::copy::{CopyOrder, CopyReport};
use failover_core::id::{Generation, ServerId};
use failover_core::output::{Failure, Report};

impl ServiceActions {
    /// Carries out one of its steps.
    ///
    /// # Errors
    /// Why it did not do what it should.
    pub(super) fn copy(
        &self,
        server: ServerId,
        order: &CopyOrder,
        generation: Generation,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let control = self.control(server)?;
        let report = match order {
            CopyOrder::Measure => control.size_of_copy(deadline, cancel)?,
            CopyOrder::Find { primary, vacant, kib } => {
                let peer = &self.server(*primary)?.name;
                CopyReport::Found(control.find_copy(generation, peer, *vacant, *kib, deadline, cancel)?)
            }
            CopyOrder::Begin { primary, vacant, attempt, kib } => {
                let peer = &self.server(*primary)?.name;
                let message = control.begin_copy(generation, peer, (*vacant, *attempt), *kib, deadline, cancel)?;
                CopyReport::Done { message }
            }
            CopyOrder::Read { vacant, attempt } => {
                let (state, message) = control.read_copy((*vacant, *attempt), deadline, cancel)?;
                CopyReport::State { state, message }
            }
            CopyOrder::Swap { vacant, attempt, system_id, timeline } => {
                control.swap_copy((*vacant, *attempt), *system_id, *timeline, deadline, cancel)?
            }
        };
        Ok(Report::Copy(report))
    }
}
