//! What the startup process of a standby waits for, as `pg_stat_activity` shows it.

/// What the startup process waits for once it has replayed all that it has: until it tries to connect again, or while it receives.
const FOR_LOG: [&str; 2] = ["RecoveryRetrieveRetryInterval", "RecoveryWalStream"];

/// `wait_event_type` and `wait_event`, read as one text with a dot between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartupWait<'a> {
    kind: &'a str,
    /// `wait_event`.
    pub event: &'a str,
}

impl<'a> StartupWait<'a> {
    /// Reads `Lock.relation`.
    pub(crate) fn parse(text: &'a str) -> StartupWait<'a> {
        let (kind, event) = text.split_once('.').unwrap_or(("", text));
        StartupWait { kind, event }
    }

    /// All that is on its disk is replayed.
    pub(crate) fn is_for_log(&self) -> bool {
        FOR_LOG.contains(&self.event)
    }

    /// It waits for sessions of the standby to let it go on, as long as `max_standby_streaming_delay` allows: for a lock of theirs, a snapshot, a
    /// pinned buffer, a temporary file.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.kind, "Lock" | "BufferPin") || self.event.starts_with("RecoveryConflict")
    }

    /// The one kind of conflict whose sessions the locks name.
    pub(crate) fn is_lock(&self) -> bool {
        self.kind == "Lock"
    }
}

#[cfg(test)]
mod tests {
    use super::StartupWait;

    #[test]
    fn a_startup_process_waits_for_log_or_for_sessions_or_for_neither() {
        for (wait, log, conflict) in [
            ("Activity.RecoveryWalStream", true, false),
            ("Timeout.RecoveryRetrieveRetryInterval", true, false),
            ("Lock.relation", false, true),
            ("IPC.RecoveryConflictSnapshot", false, true),
            ("IPC.RecoveryConflictTablespace", false, true),
            ("BufferPin.BufferPin", false, true),
            ("Timeout.RecoveryApplyDelay", false, false),
            ("IPC.RecoveryPause", false, false),
            ("IO.DataFileRead", false, false),
            ("LWLock.BufferMapping", false, false),
        ] {
            let read = StartupWait::parse(wait);
            assert_eq!((read.is_for_log(), read.is_conflict()), (log, conflict), "{wait}");
        }
    }
}
