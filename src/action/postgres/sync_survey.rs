//! What of a primary's synchronous replication would keep a failover from promising that no acknowledged commit is missing.

use super::survey::Findings;
use failover_core::finding::FindingCode;
use failover_core::sync_set::{Method, SyncRule, SyncSetting};

/// Columns for the survey's statement. What a role may not see is NULL (rule 92).
pub(super) const COLUMNS: &str = "\
       (SELECT pg_catalog.json_agg(application_name) FROM pg_catalog.pg_stat_replication WHERE state = 'streaming') AS receivers_by_name,
       pg_catalog.current_setting('cluster_name') AS cluster_name,
       pg_catalog.current_setting('allow_alter_system', true) AS alters,
       (SELECT pg_catalog.string_agg(DISTINCT coalesce(r.rolname, d.datname, 'all'), ', ') FROM pg_catalog.pg_db_role_setting s
          LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
        WHERE EXISTS (SELECT FROM pg_catalog.unnest(s.setconfig) c WHERE c ~* '^synchronous_commit=(off|local|false|no|0)$')) AS sync_commit_overridden,
       (SELECT pg_catalog.string_agg(undo, '; ' ORDER BY undo) FROM (
          SELECT CASE WHEN r.rolname IS NULL AND d.datname IS NULL THEN 'ALTER ROLE ALL' WHEN r.rolname IS NULL THEN pg_catalog.format('ALTER DATABASE %I', d.datname)
                      WHEN d.datname IS NULL THEN pg_catalog.format('ALTER ROLE %I', r.rolname) ELSE pg_catalog.format('ALTER ROLE %I IN DATABASE %I', r.rolname, d.datname) END
                 || ' RESET synchronous_commit' AS undo
            FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
           WHERE EXISTS (SELECT FROM pg_catalog.unnest(s.setconfig) c WHERE c ~* '^synchronous_commit=(off|local|false|no|0)$')
          UNION ALL
          SELECT pg_catalog.format('ALTER %s %s RESET synchronous_commit', CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.oid::regprocedure)
            FROM (SELECT oid, prokind, proconfig FROM pg_catalog.pg_proc WHERE proconfig IS NOT NULL) p
           WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) c WHERE c ~* '^synchronous_commit=(off|local|false|no|0)$')) undoes) AS sync_commit_undo,
       (SELECT pg_catalog.string_agg(p.oid::regprocedure::text, ', ') FROM (SELECT oid, proconfig FROM pg_catalog.pg_proc WHERE proconfig IS NOT NULL) p
        WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) c WHERE c ~* '^synchronous_commit=(off|local|false|no|0)$')) AS sync_commit_functions";

/// What the primary says of it.
pub(super) struct Synchronous<'a> {
    pub names: &'a str,
    /// The server's `synchronous_commit`.
    pub commit: &'a str,
    /// What sets it right where it was set.
    pub commit_undo: String,
    /// Roles and databases whose commits wait for nobody.
    pub overridden: Option<&'a str>,
    /// Functions of the engine's database that set it so.
    pub functions: Option<&'a str>,
    /// The statements that take it from all of them.
    pub undo: Option<&'a str>,
    /// The names of those who receive; `None`: hidden.
    pub receivers: Option<Vec<String>>,
    /// Names by which the primary itself may stand in the list.
    pub own: [&'a str; 2],
    /// Configured servers but the primary.
    pub standbys: usize,
}

pub(super) fn findings(found: &mut Findings<'_>, told: &Synchronous<'_>) {
    let rule = match SyncSetting::parse(told.names) {
        SyncSetting::Empty => return,
        SyncSetting::Rule(rule) => rule,
        SyncSetting::Unreadable => {
            found.warn(
                FindingCode::SyncNamesUnreadable,
                &format!(
                    "synchronous_standby_names is '{}', which this version cannot read: nobody is promoted without --accept-loss",
                    told.names
                ),
                "write it as FIRST n (names), ANY n (names) or a list of names",
            );
            return;
        }
    };
    commits(found, told);
    let Some(receivers) = &told.receivers else { return };
    let receivers: Vec<String> = receivers.iter().map(|name| name.to_lowercase()).collect();
    equal_names(found, &rule, &receivers);
    if rule.everybody {
        if receivers.len() > told.standbys {
            found.warn(
                FindingCode::SyncByStrangers,
                &format!(
                    "synchronous_standby_names is *, and {} servers receive where {} standbys are configured: a server that no failover can ask may acknowledge a commit, so the engine judges the loss as with asynchronous replication",
                    receivers.len(),
                    told.standbys
                ),
                "name the standbys in synchronous_standby_names instead of *",
            );
        }
        return;
    }
    missing(found, &rule, &receivers, &told.own.map(str::to_lowercase));
}

fn commits(found: &mut Findings<'_>, told: &Synchronous<'_>) {
    if matches!(told.commit, "off" | "local") {
        found.warn(
            FindingCode::SyncCommitWaitsForNobody,
            &format!(
                "synchronous_commit is {}: no commit waits for a standby, whatever synchronous_standby_names says",
                told.commit
            ),
            told.commit_undo.clone(),
        );
    } else if told.overridden.is_some() || told.functions.is_some() {
        let functions = told.functions.map(|functions| format!("what calls {functions}"));
        let who: Vec<&str> = told.overridden.into_iter().chain(functions.as_deref()).collect();
        found.warn(
            FindingCode::SyncCommitOverridden,
            &format!(
                "synchronous_commit is off or local for {}: their commits wait for no standby, so the engine promises nothing about them",
                who.join(", ")
            ),
            told.undo
                .unwrap_or("ALTER ROLE, ALTER DATABASE or ALTER FUNCTION … RESET synchronous_commit, where that is not wanted"),
        );
    }
}

/// Whose acknowledgement it was cannot be told: every one of them has to answer before anybody is promoted.
fn equal_names(found: &mut Findings<'_>, rule: &SyncRule, receivers: &[String]) {
    let twice = receivers.iter().enumerate().find(|(at, name)| receivers[..*at].contains(name) && rule.has(name));
    if let Some((_, name)) = twice {
        found.warn(
            FindingCode::ReplicationNamesEqual,
            &format!("more than one standby replicates under the name '{name}': the engine cannot tell which of them acknowledged a commit, so all of them have to answer before one is promoted"),
            "give each standby an application_name of its own in primary_conninfo (or a cluster_name), and name them in synchronous_standby_names",
        );
    }
}

/// Named and not there: what they acknowledged before is known only once they answer.
fn missing(found: &mut Findings<'_>, rule: &SyncRule, receivers: &[String], own: &[String]) {
    let absent: Vec<&str> = rule
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| !receivers.iter().any(|receiver| receiver == name) && !own.iter().any(|own| own == name))
        .collect();
    if absent.is_empty() {
        return;
    }
    let how = match rule.method {
        Method::First => "as the first ones acknowledge, all of them have to answer before one is promoted",
        Method::Any => "so many of them have to answer that none can be missed before one is promoted",
    };
    found.warn(
        FindingCode::SyncStandbyAbsent,
        &format!("synchronous_standby_names names {}, which does not receive: {how}", absent.join(", ")),
        "bring it back, or take it out of synchronous_standby_names",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(names: &str, receivers: &[&str], change: impl Fn(&mut Synchronous<'_>)) -> Vec<String> {
        let mut told = Synchronous {
            names,
            commit: "on",
            commit_undo: String::new(),
            overridden: None,
            functions: None,
            undo: None,
            receivers: Some(receivers.iter().map(|name| (*name).to_owned()).collect()),
            own: ["db1", ""],
            standbys: 2,
        };
        change(&mut told);
        let mut found = Findings::of("db1");
        findings(&mut found, &told);
        found.into_list().into_iter().map(|finding| finding.code.to_string()).collect()
    }

    #[test]
    fn what_takes_a_promise_away_is_found_while_all_is_well() {
        let nothing = |_: &mut Synchronous<'_>| ();
        assert!(codes("", &["walreceiver", "walreceiver"], nothing).is_empty(), "asynchronous: nothing is promised");
        assert!(codes("ANY 1 (db1, db2, db3)", &["DB2", "db3"], nothing).is_empty(), "the primary's own name is no absent one");
        assert_eq!(codes("ANY 1 (db2, db3)", &["db2"], nothing), ["sync_standby_absent"]);
        assert_eq!(codes("FIRST 1 (walreceiver)", &["walreceiver", "walreceiver"], nothing), ["replication_names_equal"]);
        assert!(codes("ANY 1 (*)", &["a", "b"], nothing).is_empty());
        assert_eq!(codes("*", &["a", "b", "pg_receivewal"], nothing), ["sync_by_strangers"]);
        assert_eq!(codes("db2", &["db2"], |told| told.commit = "local"), ["sync_commit_waits_for_nobody"]);
        assert_eq!(codes("db2", &["db2"], |told| told.overridden = Some("app")), ["sync_commit_overridden"]);
        assert_eq!(codes("db2", &["db2"], |told| told.functions = Some("f()")), ["sync_commit_overridden"]);
        assert_eq!(codes("7 of 9", &[], nothing), ["sync_names_unreadable"]);
        assert!(codes("db2", &[], |told| told.receivers = None).is_empty(), "hidden is not absent");
    }
}
