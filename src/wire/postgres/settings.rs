//! What a session of ours relies on, whatever is set for its role, its database or its server.
//!
//! In the startup message a setting beats `ALTER ROLE`, `ALTER DATABASE` and `ALTER SYSTEM`; it holds from the first statement on and costs no
//! question. A server that does not know a setting ends the session, so what came later is sent once the server's version is known. A pooler
//! takes none of them: its sessions go without. `default_transaction_read_only` is none of these: it is what clients get, so it is looked at,
//! and what writes says so itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::ServerError;
use super::version::major;

/// Known to every server from PostgreSQL 13 on, and any role may set them.
const BASE: [(&str, &str); 19] = [
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("quote_all_identifiers", "off"),
    ("transform_null_equals", "off"),
    // A standby refuses every statement of a serializable transaction.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("exit_on_error", "off"),
    // Rights are those of the role that logs in, not of one that it is turned into.
    ("role", "none"),
    ("local_preload_libraries", ""),
    ("row_security", "on"),
    // Of no use for questions like ours, and each can make one slow.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
];
/// Nobody's function, view or operator stands in for the server's own.
const SEARCH_PATH: (&str, &str) = ("search_path", "pg_catalog, pg_temp");
/// Makes a session that was left the search path of its role one of ours.
pub(crate) const OWN_SEARCH_PATH: &str = "SET search_path = pg_catalog, pg_temp";
const SINCE_14: [(&str, &str); 1] = [("idle_session_timeout", "0")];
const SINCE_17: [(&str, &str); 1] = [("transaction_timeout", "0")];

/// Endpoints remembered: a server and the addresses of a route are far fewer.
const ENDPOINTS_MAX: usize = 64;

/// Which settings a peer takes in the startup message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// None: a pooler, or something like it.
    None,
    /// Those of PostgreSQL 13.
    Base,
    Since14,
    Since17,
}

impl Level {
    /// What a server of this version takes: `15.18 (Debian …)`.
    fn of_version(version: &str) -> Level {
        match major(version) {
            Some(17..) => Level::Since17,
            Some(14..=16) => Level::Since14,
            _ => Level::Base,
        }
    }
}

/// What the sessions to a target set, and what is known of the peers that take it. Clones share what is known; two of them that set the same
/// are equal.
#[derive(Clone, Default)]
pub(crate) struct SessionSettings {
    known: Arc<Mutex<BTreeMap<String, Level>>>,
    nothing: bool,
    keeps_search_path: bool,
}

impl SessionSettings {
    /// For a peer that is no server, like the console of a pooler.
    #[must_use]
    pub(crate) fn nothing() -> SessionSettings {
        SessionSettings { nothing: true, ..SessionSettings::default() }
    }

    /// For a statement of a user's, which may rely on the search path of the role.
    #[must_use]
    pub(crate) fn keeping_search_path(&self) -> SessionSettings {
        SessionSettings { keeps_search_path: true, ..self.clone() }
    }

    /// True after [`SessionSettings::keeping_search_path`].
    #[must_use]
    pub(crate) fn keeps_search_path(&self) -> bool {
        self.keeps_search_path
    }

    pub(super) fn level(&self, endpoint: &str) -> Level {
        if self.nothing { Level::None } else { self.known.lock().get(endpoint).copied().unwrap_or(Level::Base) }
    }

    fn learn(&self, endpoint: &str, level: Level) {
        let mut known = self.known.lock();
        if known.len() < ENDPOINTS_MAX || known.contains_key(endpoint) {
            known.insert(endpoint.to_owned(), level);
        }
    }

    /// The peer ended a session at this level with these words. Some: perhaps because of a setting, and this is what it may take. It is
    /// remembered once a session was taken so: the same words are said of a role that may not connect.
    pub(super) fn refused(level: Level, said: &ServerError) -> Option<Level> {
        match (said.sqlstate.as_str(), level) {
            (_, Level::None) => None,
            // An older server than before answers at this address.
            ("42704", Level::Since14 | Level::Since17) => Some(Level::Base),
            // PgBouncer's word for a parameter that it does not know, and that of poolers in the cloud.
            ("08P01" | "0A000" | "42704" | "22023" | "42501", _) => Some(Level::None),
            _ => None,
        }
    }

    /// A server of this version took a session at `level`. What is still to be set in that session, if anything; the next one has it from
    /// the beginning.
    pub(super) fn taken(&self, endpoint: &str, level: Level, version: Option<&str>) -> Option<String> {
        let knows = if level == Level::None { level } else { version.map_or(Level::Base, Level::of_version) };
        if !self.nothing {
            self.learn(endpoint, knows);
        }
        if knows <= level {
            return None;
        }
        let later: Vec<String> = above(level, knows).map(|(name, value)| format!("SET {name} = '{value}'")).collect();
        Some(later.join("; "))
    }

    /// The settings of a startup message.
    pub(super) fn parameters(&self, level: Level) -> Vec<(&'static str, &'static str)> {
        if level == Level::None {
            return vec![BASE[0]];
        }
        let path = (!self.keeps_search_path).then_some(SEARCH_PATH);
        BASE.into_iter().chain(path).chain(above(Level::Base, level)).collect()
    }
}

/// The settings that a peer of level `to` takes and one of level `from` does not.
fn above(from: Level, to: Level) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = move |level: Level, settings: [(&'static str, &'static str); 1]| {
        settings.into_iter().filter(move |_| from < level && level <= to)
    };
    of(Level::Since14, SINCE_14).chain(of(Level::Since17, SINCE_17))
}

impl fmt::Debug for SessionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSettings")
            .field("nothing", &self.nothing)
            .field("keeps_search_path", &self.keeps_search_path)
            .finish_non_exhaustive()
    }
}

impl PartialEq for SessionSettings {
    fn eq(&self, other: &SessionSettings) -> bool {
        (self.nothing, self.keeps_search_path) == (other.nothing, other.keeps_search_path)
    }
}

impl Eq for SessionSettings {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(sqlstate: &str) -> ServerError {
        ServerError { severity: "FATAL".into(), sqlstate: sqlstate.into(), ..ServerError::default() }
    }

    fn has(parameters: &[(&str, &str)], name: &str) -> bool {
        parameters.iter().any(|(known, _)| *known == name)
    }

    #[test]
    fn what_came_with_a_later_version_is_sent_once_the_version_is_known() {
        let settings = SessionSettings::default();
        let first = settings.level("a:1");
        assert!(has(&settings.parameters(first), "search_path") && !has(&settings.parameters(first), "idle_session_timeout"));
        assert_eq!(settings.taken("a:1", first, Some("13.22")), None);
        assert_eq!(settings.taken("a:1", first, Some("15.18 (Debian)")).as_deref(), Some("SET idle_session_timeout = '0'"));
        let next = settings.clone().level("a:1");
        assert!(
            has(&settings.parameters(next), "idle_session_timeout") && !has(&settings.parameters(next), "transaction_timeout")
        );
        assert_eq!(settings.taken("a:1", next, Some("15.18")), None);
        assert_eq!(settings.taken("a:1", next, Some("18beta1")).as_deref(), Some("SET transaction_timeout = '0'"));
        assert_eq!(settings.level("b:1"), Level::Base, "another server is another matter");
        // It is an older one now.
        let level = settings.level("a:1");
        assert_eq!(SessionSettings::refused(level, &said("42704")), Some(Level::Base));
        assert_eq!(settings.taken("a:1", Level::Base, Some("13.22")), None);
        assert_eq!(settings.level("a:1"), Level::Base);
    }

    #[test]
    fn a_pooler_is_asked_without_and_a_refusal_for_another_reason_is_none_of_ours() {
        let settings = SessionSettings::default();
        assert_eq!(SessionSettings::refused(Level::Base, &said("28P01")), None);
        assert_eq!(SessionSettings::refused(Level::Base, &said("08P01")), Some(Level::None));
        assert_eq!(settings.level("a:1"), Level::Base, "nothing was taken yet: it may refuse for another reason");
        assert_eq!(SessionSettings::refused(Level::None, &said("08P01")), None, "asked without, it is not asked again");
        assert_eq!(settings.taken("a:1", Level::None, Some("17.1")), None);
        assert_eq!(settings.parameters(settings.level("a:1")), [("client_encoding", "UTF8")]);
        assert_eq!(SessionSettings::nothing().level("a:1"), Level::None);
        assert!(!has(&settings.keeping_search_path().parameters(Level::Base), "search_path"));
    }
}
