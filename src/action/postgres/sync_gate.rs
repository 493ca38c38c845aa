//! Commits on the new primary stop waiting for a synchronous standby that is not there (rule 94).

use std::time::{Duration, Instant};

use super::alter_system::{alter_system, reload};
use super::verify::{Commit, most_of, ordinary_commit, sync_settings};
use super::{Cluster, failure, is_full, quoted, untouched};
use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::Session;
use failover_core::id::ServerId;
use failover_core::output::{Failure, FailureKind, Report};
use failover_core::time::Span;

const SETTING: &str = "synchronous_standby_names";

/// Between two looks for the new value.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(5);

/// `has_parameter_privilege` came with PostgreSQL 15; before that only a superuser may.
const STATE_SQL: &str = "\
SELECT current_user AS role,
       pg_catalog.current_setting('server_version_num') AS version,
       pg_catalog.current_setting('is_superuser') AS superuser,
       pg_catalog.has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reload,
       pg_catalog.current_setting('allow_alter_system', true) AS alters,
       (SELECT source FROM pg_catalog.pg_settings WHERE name = 'synchronous_standby_names') AS source";

impl Cluster {
    /// Clears `synchronous_standby_names` on the new primary, reloads, and proves that a commit goes through. Nothing to do where it
    /// is already empty. The report names the former value, which is needed to put it back.
    ///
    /// # Errors
    /// `NoEffect` with the missing right as remedy, before anything was changed.
    pub(crate) fn open_sync_gate(&self, server: ServerId, deadline: Deadline, cancel: &Cancel) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let (mut session, identity) =
            self.identified(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        let (before, _) = sync_settings(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if before.trim().is_empty() {
            self.keep(server, session);
            return Ok(Report::Done { message: format!("synchronous_standby_names was already empty on {name}") });
        }
        if identity.in_recovery {
            return Err(Failure::no_effect(format!("{name} is in recovery: it has no commits to release"), "promote it first"));
        }
        check_rights(name, &mut session, deadline, cancel)?;
        let began = Instant::now();
        // An error is the server's word that nothing was changed.
        let perhaps = |failed: Failure| if failed.had_no_effect() { failed } else { changed(name, &before, &failed) };
        alter_system(name, (SETTING, ""), &mut session, deadline, cancel).map_err(perhaps)?;
        reload(name, &mut session, deadline, cancel).map_err(|failed| changed(name, &before, &failed))?;
        let mut own = Some(session);
        loop {
            // A new session each time: it has what new clients have, whenever the old ones re-read theirs. Where clients have taken every
            // place, the old one has to do.
            let mut fresh = match self.connect(&place.target, deadline, cancel) {
                Ok(fresh) => fresh,
                Err(error) => match own.take().filter(|_| is_full(&error)) {
                    Some(session) => session,
                    None => return Err(changed(name, &before, &failure(name, "a new connection", &error))),
                },
            };
            let (now, mode) = sync_settings(&mut fresh, deadline, cancel)
                .map_err(|error| changed(name, &before, &failure(name, "a new connection", &error)))?;
            if now.trim().is_empty() {
                return match ordinary_commit(&mut fresh, &mode, most_of(deadline), deadline, cancel) {
                    Ok(Commit::Done) => {
                        self.keep(server, fresh);
                        let message = format!(
                            "synchronous_standby_names cleared on {name} in {}, commits go through; it was '{before}', and is put back when enough standbys follow",
                            Span::from(began.elapsed())
                        );
                        Ok(Report::Done { message })
                    }
                    Ok(Commit::Waits) => Err(changed(
                        name,
                        &before,
                        &Failure::timed_out(
                            format!("an ordinary commit on {name} still waits"),
                            "look at pg_stat_activity for the wait event SyncRep",
                        ),
                    )),
                    Err(error) => Err(changed(name, &before, &failure(name, "an ordinary commit", &error))),
                };
            }
            if let Err(interrupted) = cancel.pause(LOOK_EVERY, deadline) {
                let failure = super::interrupted(
                    interrupted,
                    format!("{name} still shows synchronous_standby_names = '{now}' after a reload"),
                    "it may be set on the server's command line, which ALTER SYSTEM cannot override",
                );
                return Err(changed(name, &before, &failure));
            }
            own.get_or_insert(fresh);
        }
    }
}

impl Cluster {
    /// Puts `synchronous_standby_names` back as it was before the engine cleared it, on a primary or a standby, and waits until new sessions
    /// have it. Where somebody has set it meanwhile, that stays.
    ///
    /// # Errors
    /// `NoEffect` with the missing right as remedy, before anything was changed.
    pub(crate) fn restore_sync_names(
        &self,
        server: ServerId,
        names: &str,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Report, Failure> {
        let place = self.server(server)?;
        let name = &place.name;
        let mut session = self.reach(server, place, deadline, cancel).map_err(|error| untouched(name, &error))?;
        let (before, _) = sync_settings(&mut session, deadline, cancel).map_err(|error| untouched(name, &error))?;
        if !before.trim().is_empty() {
            return Ok(Report::Done { message: format!("synchronous_standby_names of {name} was set meanwhile: '{before}'") });
        }
        check_rights(name, &mut session, deadline, cancel)?;
        alter_system(name, (SETTING, names), &mut session, deadline, cancel)?;
        reload(name, &mut session, deadline, cancel)?;
        loop {
            let (now, _) =
                sync_settings(&mut session, deadline, cancel).map_err(|error| failure(name, "a look at it", &error))?;
            if !now.trim().is_empty() {
                return Ok(Report::Done { message: format!("synchronous_standby_names of {name} is '{now}' again") });
            }
            if let Err(how) = cancel.pause(LOOK_EVERY, deadline) {
                let message = format!("{name} still shows an empty synchronous_standby_names after a reload");
                let remedy = "it may be set on the server's command line, which ALTER SYSTEM cannot override";
                return Err(super::interrupted(how, message, remedy));
            }
        }
    }
}

/// Everything that is needed is asked before anything is changed.
pub(super) fn check_rights(name: &str, session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
    let rows = session.query(STATE_SQL, deadline, cancel).map_err(|error| untouched(name, &error))?;
    let role = quoted(rows.get(0, "role").unwrap_or_default());
    if rows.get(0, "source") == Some("command line") {
        return Err(Failure::no_effect(
            format!(
                "synchronous_standby_names of {name} comes from the server's command line, which ALTER SYSTEM cannot override"
            ),
            "move the setting to postgresql.conf",
        ));
    }
    if rows.get(0, "alters") == Some("off") {
        return Err(Failure::no_effect(
            format!("{name} allows no ALTER SYSTEM (allow_alter_system = off); nothing was changed"),
            "set allow_alter_system = on",
        ));
    }
    if rows.get(0, "reload") != Some("t") {
        return Err(Failure::no_effect(
            format!("role {role} may not reload {name}: no EXECUTE on pg_reload_conf; nothing was changed"),
            format!("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO {role}"),
        ));
    }
    let superuser = rows.get(0, "superuser") == Some("on");
    let grantable =
        rows.get(0, "version").and_then(|version| version.parse::<u32>().ok()).is_some_and(|version| version >= 150_000);
    if superuser {
        return Ok(());
    }
    if !grantable {
        return Err(Failure::no_effect(
            format!(
                "role {role} may not ALTER SYSTEM on {name}: before PostgreSQL 15 that needs a superuser; nothing was changed"
            ),
            "use on_no_sync_standby = \"block\", or clear synchronous_standby_names by hand",
        ));
    }
    let sql = "SELECT pg_catalog.has_parameter_privilege('synchronous_standby_names', 'ALTER SYSTEM') AS alter";
    let rows = session.query(sql, deadline, cancel).map_err(|error| untouched(name, &error))?;
    if rows.get(0, "alter") == Some("t") {
        return Ok(());
    }
    Err(Failure::no_effect(
        format!("role {role} may not change synchronous_standby_names on {name}; nothing was changed"),
        format!("GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO {role}"),
    ))
}

/// A failure after the setting was changed, or may have been.
fn changed(name: &str, before: &str, failure: &Failure) -> Failure {
    let message = format!("{}; synchronous_standby_names of {name} was '{before}' and may be cleared now", failure.message);
    let kind = if failure.had_no_effect() { FailureKind::Unknown } else { failure.kind };
    Failure { kind, message, remedy: failure.remedy.clone() }
}
