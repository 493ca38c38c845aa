//! Who keeps the replay of a standby from going on, and what ends that (rule 161).

use std::fmt::Write as _;

use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Session, StartupWait};

/// So many sessions are named.
const NAMED: usize = 5;

/// What the startup process waits for, and the sessions that may be in its way, those first that have been longest. `pg_blocking_pids`
/// knows no startup process, so a lock is looked up. Whose snapshot is too old cannot be seen: those come first whose snapshot is oldest.
/// Where it waits for neither, nobody is named.
const HOLDERS_SQL: &str = "\
WITH startup AS (SELECT pid, wait_event_type AS kind, wait_event AS event FROM pg_catalog.pg_stat_activity WHERE backend_type = 'startup'),
     holders AS (
       SELECT h.pid FROM startup s
         JOIN pg_catalog.pg_locks w ON w.pid = s.pid AND NOT w.granted
         JOIN pg_catalog.pg_locks h ON h.granted AND h.pid <> w.pid AND h.locktype = w.locktype
          AND (h.database, h.relation, h.page, h.tuple, h.virtualxid, h.transactionid, h.classid, h.objid, h.objsubid)
              IS NOT DISTINCT FROM (w.database, w.relation, w.page, w.tuple, w.virtualxid, w.transactionid, w.classid, w.objid, w.objsubid)
        WHERE s.kind = 'Lock'
       UNION
       SELECT a.pid FROM startup s, pg_catalog.pg_stat_activity a
        WHERE (s.kind = 'BufferPin' OR s.event LIKE 'RecoveryConflict%') AND a.backend_xmin IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid())
SELECT s.kind || '.' || s.event AS wait, a.pid,
       coalesce(a.usename, 'hidden') || ' in ' || coalesce(a.datname, 'hidden') || CASE WHEN a.application_name <> '' THEN ', ' || a.application_name ELSE '' END AS who
  FROM startup s LEFT JOIN (pg_stat_activity a JOIN holders USING (pid)) ON true
 ORDER BY pg_catalog.age(a.backend_xmin) DESC NULLS LAST, a.xact_start, a.pid";

/// What keeps a replay from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holders {
    /// `wait_event_type` and `wait_event` of the startup process; `None`: it waits for nothing.
    wait: Option<String>,
    /// The process and who it is.
    sessions: Vec<(String, String)>,
}

impl Holders {
    /// Asks; `None` where the role may not see the startup process, or there is none.
    pub(super) fn read(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<Option<Holders>, Error> {
        let rows = session.query(HOLDERS_SQL, deadline, cancel)?;
        if rows.rows.is_empty() {
            return Ok(None);
        }
        let session = |row: usize| Some((rows.get(row, "pid")?.to_owned(), rows.get(row, "who")?.to_owned()));
        let sessions = (0..rows.rows.len()).filter_map(session).collect();
        Ok(Some(Holders { wait: rows.get(0, "wait").map(str::to_owned), sessions }))
    }

    fn wait(&self) -> Option<StartupWait<'_>> {
        self.wait.as_deref().map(StartupWait::parse)
    }

    /// All is replayed.
    pub(super) fn is_at_the_end(&self) -> bool {
        self.wait().is_some_and(|wait| wait.is_for_log())
    }

    /// Sessions of the standby are in its way.
    pub(super) fn is_conflict(&self) -> bool {
        self.wait().is_some_and(|wait| wait.is_conflict())
    }

    /// What it waits for, and who that is.
    pub(super) fn sentence(&self) -> String {
        let Some(wait) = self.wait() else { return "its startup process is busy or stopped".to_owned() };
        let mut text = format!("its startup process waits for {}", wait.event);
        if self.sessions.is_empty() {
            return text;
        }
        // Only a lock says whose it is.
        text += if wait.is_lock() { ", which is held by " } else { ", most likely because of " };
        let named: Vec<String> = self.sessions.iter().take(NAMED).map(|(pid, who)| format!("process {pid} ({who})")).collect();
        text += &named.join(", ");
        // Writing to a String cannot fail.
        if self.sessions.len() > NAMED {
            let _ = write!(text, " and {} more", self.sessions.len() - NAMED);
        }
        text
    }

    /// What ends it: a person's to do, for it breaks somebody's query off.
    pub(super) fn remedy(&self) -> String {
        let pids: Vec<&str> = self.sessions.iter().take(NAMED).map(|(pid, _)| pid.as_str()).collect();
        match pids.as_slice() {
            _ if !self.is_conflict() => {
                "see what it waits for: SELECT * FROM pg_stat_activity WHERE backend_type = 'startup'; and see its disk and its log".to_owned()
            }
            [] => "end the sessions on it whose transactions are old: SELECT pid FROM pg_stat_activity ORDER BY xact_start"
                .to_owned(),
            [pid] => format!("SELECT pg_terminate_backend({pid})"),
            pids => format!("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{}]) AS pid", pids.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Holders;

    fn of(wait: &str, sessions: usize) -> Holders {
        let session = |at: usize| ((100 + at).to_string(), "app in shop".to_owned());
        Holders { wait: Some(wait.to_owned()), sessions: (0..sessions).map(session).collect() }
    }

    #[test]
    fn who_holds_a_replay_is_named_and_what_ends_it() {
        let lock = of("Lock.relation", 1);
        assert_eq!(lock.sentence(), "its startup process waits for relation, which is held by process 100 (app in shop)");
        assert_eq!(lock.remedy(), "SELECT pg_terminate_backend(100)");
        let snapshot = of("IPC.RecoveryConflictSnapshot", 7);
        assert!(snapshot.sentence().ends_with("process 104 (app in shop) and 2 more"), "{}", snapshot.sentence());
        assert!(snapshot.sentence().contains("most likely"), "a snapshot says nobody's name");
        assert_eq!(snapshot.remedy(), "SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[100, 101, 102, 103, 104]) AS pid");
        let disk = of("IO.DataFileRead", 0);
        assert!(!disk.is_conflict() && disk.remedy().contains("disk"), "nobody's session is to be ended for a disk: {disk:?}");
        assert!(of("Activity.RecoveryWalStream", 0).is_at_the_end());
    }
}
