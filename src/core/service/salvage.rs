//! Whether what only the primary's disk has could be carried to a standby: the same facts beforehand and behind the fence.

use super::Service;
use crate::candidate::View;
use crate::finding::FindingCode;
use crate::id::ServerId;
use crate::model::OnSalvage;
use crate::sample::{FenceLevel, Readiness, Sample};

impl Service {
    /// Beforehand: whether the end of the primary's log could be carried to this standby if it died now; or why not.
    pub(super) fn salvage_way(&self, standby: ServerId, sample: &Sample, view: View) -> Result<(), String> {
        let Some(old) = self.subject().filter(|_| view != View::Decision) else { return Err(String::new()) };
        if self.model.postgres.salvage == OnSalvage::Off {
            return Err("data.salvage is \"off\"".to_owned());
        }
        match self.fence_way(false) {
            Ok((FenceLevel::ProvenStopped, false)) => {}
            _ => {
                return Err(format!(
                    "its host would have to prove that no process of {} is left (fence level 3)",
                    self.server_name(old)
                ));
            }
        }
        let looked = |server: ServerId| self.servers[usize::from(server.0)].readiness.is_some();
        if view == View::Forecast && !(looked(old) && looked(standby)) {
            return Err("the hosts have not been looked at yet".to_owned());
        }
        self.can_take_salvage(old, standby, sample)
    }

    /// For the status: whether the end of the primary's log would be carried to this standby; `None`: it is switched off, or holds no data.
    pub(crate) fn salvage_forecast(&self, standby: ServerId) -> Option<Result<(), String>> {
        let off = !self.holds_data() || self.model.postgres.salvage == OnSalvage::Off;
        let (_, sample) = self.servers[usize::from(standby.0)].sample.as_ref().filter(|_| !off)?;
        Some(self.salvage_way(standby, sample, View::Forecast))
    }

    /// What both hosts and the standby show says that it works.
    pub(crate) fn can_take_salvage(&self, old: ServerId, standby: ServerId, sample: &Sample) -> Result<(), String> {
        for server in [old, standby] {
            let name = self.server_name(server);
            if !self.model.servers[usize::from(server.0)].ssh {
                return Err(format!("no SSH to the host of {name} is configured"));
            }
            let Some(readiness) = &self.servers[usize::from(server.0)].readiness else { continue };
            // That the old primary's host answers was seen by the fence.
            if let (true, Some(Err(why))) = (server == standby, &readiness.ssh) {
                return Err(format!("the host of {name} cannot be asked over SSH ({why})"));
            }
            if let Some(code) = hindrance(readiness, server == standby) {
                return Err(format!("{name} has the finding {code}"));
            }
        }
        let name = self.server_name(standby);
        match sample.spool {
            Some(true) => {}
            Some(false) => return Err(format!("restore_command of {name} does not look into failover-spool")),
            None => return Err(format!("whether restore_command of {name} looks into failover-spool is not known")),
        }
        if sample.delayed {
            return Err(format!("{name} replays with a delay (recovery_min_apply_delay)"));
        }
        Ok(())
    }
}

fn hindrance(readiness: &Readiness, takes: bool) -> Option<FindingCode> {
    let hinders = |code: FindingCode| match code {
        FindingCode::HostScriptOutdated | FindingCode::HostOtherServer => true,
        FindingCode::HostDataDirNotWritable => takes,
        // After a crash of its host not all that a client was told of is on its disk.
        FindingCode::FsyncOff => !takes,
        _ => false,
    };
    readiness.all().into_iter().map(|finding| finding.code).find(|code| hinders(*code))
}
