//! What lets a role in that the server keeps out: the statement, where the server's own words tell it.

use std::borrow::Cow;

use super::ENDED_AT_START;

/// What mends it. `said`: a server's error as it is shown, with SQLSTATE and routine, which are never translated; of the words that are,
/// only the quoted name is read. `None`: it says nothing of logins, or the setting is not the role's or the database's.
pub(crate) fn remedy(said: &str) -> Option<Cow<'static, str>> {
    let has = |word: &str| said.contains(word);
    let role = || identifier(said, "ROLE");
    Some(match () {
        () if has("28P01") => format!(
            "correct services.connection.password, or give the role that password: ALTER ROLE {role} PASSWORD '...'; if the password has expired (the server's log says so): ALTER ROLE {role} VALID UNTIL 'infinity'",
            role = role()
        ),
        () if has("53300 from InitializeSessionUserId") => format!("ALTER ROLE {} CONNECTION LIMIT -1", role()),
        () if has("53300 from CheckMyDatabase") => {
            format!("ALTER DATABASE {} CONNECTION LIMIT -1", identifier(said, "DATABASE"))
        }
        () if has("55000 from CheckMyDatabase") => {
            format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(said, "DATABASE"))
        }
        () if has("28000 from InitializeSessionUserId") => format!(
            "make the role with contrib/rights.sql, or correct services.connection.user; if it is there: ALTER ROLE {} LOGIN",
            role()
        ),
        () if has("from ClientAuthentication") => {
            "add a line for this role, database and address to the server's pg_hba.conf, and reload it".to_owned()
        }
        () if has(ENDED_AT_START) && (has("load_library") || has("dynamic_library") || has("load_file")) => of_library(said),
        () => return None,
    }
    .into())
}

/// Where a library stands that no session can load: for a role, a database or both, or for the server. Whoever may set it starts a session
/// without it.
fn of_library(said: &str) -> String {
    let library = quoted(said).unwrap_or_default().replace('\'', "''");
    format!(
        "as a superuser with PGOPTIONS='-c session_preload_libraries=', run what this returns: SELECT format('ALTER %s%s RESET session_preload_libraries', \
         CASE WHEN setrole = 0 THEN '' ELSE 'ROLE ' || setrole::regrole END, CASE WHEN setdatabase = 0 THEN '' WHEN setrole = 0 \
         THEN 'DATABASE ' || quote_ident(datname) ELSE ' IN DATABASE ' || quote_ident(datname) END) FROM pg_db_role_setting LEFT JOIN pg_database d \
         ON d.oid = setdatabase, unnest(setconfig) AS one WHERE one LIKE 'session_preload_libraries=%' AND strpos(one, '{library}') > 0 -- \
         if it returns nothing: ALTER SYSTEM RESET session_preload_libraries, then SELECT pg_reload_conf()"
    )
}

/// The first name in quotes, as an SQL identifier.
fn identifier(said: &str, otherwise: &str) -> String {
    quoted(said).map_or_else(|| otherwise.to_owned(), |name| format!("\"{}\"", name.replace('"', "\"\"")))
}

/// The first name in quotes; other languages have other quotes.
fn quoted(said: &str) -> Option<&str> {
    [('"', '"'), ('«', '»'), ('„', '“'), ('“', '”')].into_iter().find_map(|(open, close)| {
        let (_, rest) = said.split_once(open)?;
        let name = rest.split_once(close)?.0.trim();
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_the_statement_with_the_name_that_the_server_said() {
        for (said, wanted) in [
            (
                "FATAL 53300 from InitializeSessionUserId: too many connections for role \"fo\"",
                "ALTER ROLE \"fo\" CONNECTION LIMIT -1",
            ),
            (
                "FATAL 53300 from InitializeSessionUserId: trop de connexions pour le rôle « fo »",
                "ALTER ROLE \"fo\" CONNECTION LIMIT -1",
            ),
            ("FATAL 53300 from CheckMyDatabase: zu viele für Datenbank „db“", "ALTER DATABASE \"db\" CONNECTION LIMIT -1"),
            ("FATAL 55000 from CheckMyDatabase: database \"db\" is not …", "ALTER DATABASE \"db\" ALLOW_CONNECTIONS true"),
            ("FATAL 28000 from InitializeSessionUserId: role \"fo\" is not permitted to log in", "ALTER ROLE \"fo\" LOGIN"),
            (
                "FATAL 28P01 from auth_failed: password authentication failed for user \"fo\"",
                "ALTER ROLE \"fo\" VALID UNTIL 'infinity'",
            ),
        ] {
            let remedy = remedy(said).unwrap();
            assert!(remedy.contains(wanted), "{said}: {remedy}");
        }
        assert_eq!(remedy("FATAL 53300 from ProcArrayAdd: sorry, too many clients already"), None);
    }
}
