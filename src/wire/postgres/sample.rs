//! What a server says about itself, in one statement (FAILOVER rules 60 to 66, 71, 92 and 96).

use serde::de::DeserializeOwned;

use super::{Error, Rows, Session, StartupWait};
use crate::deadline::{Cancel, Deadline};
use failover_core::sample::{Lsn, Receiver, Replica, Sample, SyncCommit};
use failover_core::streams::{Child, Slot, Streams};
use failover_core::time::{Mono, Span};

/// One statement that answers on a primary and on a standby alike, for any role, in one row.
///
/// Functions that raise an error on the wrong side of recovery stand behind CASE; all that a role without `pg_monitor` may not
/// see is NULL. It asks the functions beneath the statistics views: planning the views themselves costs four times as much. The position
/// is read after the list of standbys: whatever one that has just gone had acknowledged lies before it.
/// PostgreSQL 13 and later. What is set of `synchronous_commit` for the engine's own role or database hides what the server's other clients
/// have: then nothing is promised of it (rule 118).
pub(crate) const SAMPLE_SQL: &str = "\
SELECT s.recovering AS in_recovery, \
extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_postmaster_start_time()) AS age, \
(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint AS started, \
(SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_id, \
CASE WHEN NOT s.recovering THEN pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END AS wal_timeline, \
CASE WHEN s.recovering THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) END AS checkpoint_timeline, \
CASE WHEN s.recovering THEN (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()) END AS recovery_timeline, \
w.received_tli AS received_timeline, \
CASE WHEN s.recovering THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), w.written_lsn) END AS receive, \
CASE WHEN s.recovering THEN pg_catalog.pg_last_wal_replay_lsn() END AS replay, \
CASE WHEN s.recovering THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END AS replay_paused, \
CASE WHEN s.recovering THEN (SELECT wait_event_type || '.' || wait_event FROM pg_catalog.pg_stat_get_activity(NULL) WHERE backend_type = 'startup') END AS startup_wait, \
w.pid IS NOT NULL AS receiver, \
w.status AS receiver_status, \
w.latest_end_lsn AS receiver_latest_end, \
extract(epoch FROM pg_catalog.clock_timestamp() - w.last_msg_receipt_time) AS receiver_message_age, \
w.conninfo AS receiver_conninfo, \
w.slot_name AS receiver_slot, \
w.sender_host AS upstream_host, \
w.sender_port AS upstream_port, \
(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.application_name, p.slot_name, r.sync_state, \
extract(epoch FROM r.replay_lag)::text)), '[]') \
FROM pg_catalog.pg_stat_get_wal_senders() r LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid = r.pid \
LEFT JOIN pg_catalog.pg_get_replication_slots() p ON p.active_pid = r.pid) AS children, \
(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(p.slot_name, p.slot_type, p.active, \
(CASE WHEN s.recovering THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END - p.restart_lsn)::text, p.wal_status)), '[]') \
FROM (SELECT * FROM pg_catalog.pg_get_replication_slots() ORDER BY restart_lsn NULLS LAST LIMIT 64) p) AS slots, \
pg_catalog.current_setting('recovery_min_apply_delay') AS apply_delay, \
CASE WHEN s.recovering THEN pg_catalog.strpos(pg_catalog.current_setting('restore_command', true), 'failover-spool/%f') > 0 END AS spool_prepared, \
pg_catalog.current_setting('synchronous_standby_names') AS sync_names, \
CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) c WHERE c ILIKE 'synchronous_commit=%' \
AND (setrole = 0 OR setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)) \
AND (setdatabase = 0 OR setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))) \
THEN 'local' ELSE pg_catalog.current_setting('synchronous_commit') END AS sync_commit, \
CASE WHEN NOT s.recovering THEN \
(SELECT coalesce(pg_catalog.json_agg(DISTINCT pg_catalog.split_part(c, '=', 2)), '[]') FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) c \
WHERE c ILIKE 'synchronous_commit=%') END AS sync_overridden, \
(extract(epoch FROM pg_catalog.pg_conf_load_time()) * 1000000)::bigint AS settings_loaded, \
(SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(a.application_name, r.state, r.sync_state, r.flush_lsn, p.slot_name, \
extract(epoch FROM pg_catalog.clock_timestamp() - r.reply_time)::text)), '[]') \
FROM pg_catalog.pg_stat_get_wal_senders() r LEFT JOIN pg_catalog.pg_stat_get_activity(NULL) a ON a.pid = r.pid \
LEFT JOIN pg_catalog.pg_get_replication_slots() p ON p.active_pid = r.pid) AS replicas, \
(SELECT coalesce(pg_catalog.json_agg(slot_name), '[]') FROM pg_catalog.pg_get_replication_slots() WHERE slot_type = 'physical') AS slot_names, \
pg_catalog.current_setting('primary_slot_name') AS uses_slot, \
CASE WHEN NOT s.recovering THEN pg_catalog.pg_current_wal_flush_lsn() END AS flush, \
(SELECT coalesce(pg_catalog.json_agg(DISTINCT application_name), '[]') FROM pg_catalog.pg_stat_get_activity(NULL) \
WHERE application_name LIKE 'libfailover/%' AND application_name <> pg_catalog.current_setting('application_name')) AS other_engines \
FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovering OFFSET 0) s \
LEFT JOIN pg_catalog.pg_stat_get_wal_receiver() w ON w.pid IS NOT NULL";

/// The names of other engines start with this; what follows is the engine's instance.
const ENGINE_PREFIX: &str = "libfailover/";

/// Asks a server about itself; `asked` is now.
///
/// # Errors
/// As [`Session::query`] and [`read_sample`].
pub(crate) fn sample(session: &mut Session, asked: Mono, deadline: Deadline, cancel: &Cancel) -> Result<Sample, Error> {
    read_sample(&session.query(SAMPLE_SQL, deadline, cancel)?, asked)
}

/// Reads the answer to [`SAMPLE_SQL`]; `asked` is when the question was sent.
///
/// # Errors
/// [`Error::Protocol`] when a value is missing or unreadable.
pub(crate) fn read_sample(rows: &Rows, asked: Mono) -> Result<Sample, Error> {
    let row = Row(rows);
    let in_recovery = row.flag("in_recovery")?;
    let timeline = if in_recovery {
        // The control file is only as new as the last restart point, the receiver is gone with its primary: the highest is right.
        [row.number("checkpoint_timeline")?, row.number("recovery_timeline")?, row.number("received_timeline")?]
            .into_iter()
            .flatten()
            .max()
            .ok_or_else(|| missing("checkpoint_timeline"))?
    } else {
        let hex = row.text("wal_timeline").ok_or_else(|| missing("wal_timeline"))?;
        u32::from_str_radix(hex, 16).map_err(|_| unreadable("wal_timeline", hex))?
    };
    let wait = row.text("startup_wait").map(StartupWait::parse);
    Ok(Sample {
        asked,
        age: row.text("age").and_then(seconds),
        started: row.number("started")?,
        in_recovery,
        system_id: row.number("system_id")?.ok_or_else(|| missing("system_id"))?,
        timeline,
        flush: row.position("flush")?,
        receive: row.position("receive")?,
        replay: row.position("replay")?,
        receiver: if in_recovery { receiver(&row)? } else { Receiver::Absent },
        at_end: wait.is_some_and(|wait| wait.is_for_log()),
        replay_conflict: wait.is_some_and(|wait| wait.is_conflict()),
        replay_paused: row.flag("replay_paused")?,
        delayed: row.text("apply_delay").is_some_and(|delay| delay != "0"),
        spool: row.text("spool_prepared").map(|said| said == "t"),
        sync_names: row.text("sync_names").unwrap_or_default().to_owned(),
        sync_commit: match row.text("sync_commit") {
            Some(text) => SyncCommit::parse(text).ok_or_else(|| unreadable("sync_commit", text))?,
            None => SyncCommit::default(),
        },
        sync_commit_overridden: row
            .json::<Vec<String>>("sync_overridden")?
            .unwrap_or_default()
            .iter()
            // One that is not known is none to rely on.
            .map(|text| SyncCommit::parse(text).unwrap_or(SyncCommit::Local))
            .max(),
        settings_loaded: row.number("settings_loaded")?,
        replicas: replicas(&row)?,
        streams: streams(&row),
        slots: row.json("slot_names")?,
        uses_slot: row.text("uses_slot").filter(|slot| !slot.is_empty()).map(str::to_owned),
        other_engines: row
            .json::<Vec<String>>("other_engines")?
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| name.strip_prefix(ENGINE_PREFIX).map(str::to_owned))
            .collect(),
    })
}

fn receiver(row: &Row<'_>) -> Result<Receiver, Error> {
    if !row.flag("receiver")? {
        return Ok(Receiver::Absent);
    }
    let Some(status) = row.text("receiver_status") else { return Ok(Receiver::Hidden) };
    let age = match row.text("receiver_message_age") {
        Some(text) => seconds(text).ok_or_else(|| unreadable("receiver_message_age", text))?,
        None => return Ok(Receiver::Hidden),
    };
    Ok(Receiver::Seen {
        streaming: status == "streaming",
        latest_end: row.position("receiver_latest_end")?,
        last_message_age: age,
        application_name: row.text("receiver_conninfo").and_then(application_name),
        slot: row.text("receiver_slot").filter(|slot| !slot.is_empty()).map(str::to_owned),
    })
}

/// An interval in seconds. The server's clock may have been set back since it began: then it is none at all.
fn seconds(text: &str) -> Option<Span> {
    let seconds: f64 = text.parse().ok()?;
    Some(std::time::Duration::try_from_secs_f64(seconds.max(0.0)).map_or(Span::from_nanos(u64::MAX), Span::from))
}

/// Who replicates from whom. Nothing depends on it, so what cannot be read is not known.
fn streams(row: &Row<'_>) -> Streams {
    type Sender = (Option<String>, Option<String>, Option<String>, Option<String>);
    type Place = (String, String, bool, Option<String>, Option<String>);
    let host = row.text("upstream_host").filter(|host| !host.is_empty()).map(str::to_owned);
    let children = row.json::<Vec<Sender>>("children").ok().flatten();
    let slots = row.json::<Vec<Place>>("slots").ok().flatten();
    Streams {
        upstream: host.zip(row.number("upstream_port").ok().flatten()),
        children: children.and_then(|rows| {
            let child = |(name, slot, sync_state, lag): Sender| {
                let sync_state = Some(sync_state?);
                Some(Child {
                    application_name: name.unwrap_or_default(),
                    slot,
                    sync_state,
                    replay_lag: lag.as_deref().and_then(seconds),
                })
            };
            rows.into_iter().map(child).collect()
        }),
        slots: slots.map(|slots| {
            let slot = |(name, kind, active, held, wal_status): Place| {
                let held = held.as_deref().and_then(|held| held.parse::<i64>().ok()).map(|held| u64::try_from(held).unwrap_or(0));
                Slot { name, kind, active, held, wal_status }
            };
            slots.into_iter().map(slot).collect()
        }),
    }
}

/// The rows of the replication statistics; `None` as soon as one of them is hidden from us.
fn replicas(row: &Row<'_>) -> Result<Option<Vec<Replica>>, Error> {
    type Fields = (Option<String>, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);
    let Some(list) = row.json::<Vec<Fields>>("replicas")? else { return Ok(None) };
    Ok(list
        .into_iter()
        .map(|(name, state, sync_state, flush, slot, reply_age)| {
            Some(Replica {
                application_name: name.unwrap_or_default(),
                streaming: state? == "streaming",
                synchronous: sync_state.is_some_and(|state| matches!(state.as_str(), "sync" | "quorum")),
                flush: flush.as_deref().and_then(Lsn::parse),
                slot,
                reply_age: reply_age.as_deref().and_then(seconds),
            })
        })
        .collect())
}

/// The name under which a receiver with this connection string shows up on its primary. The server prints the string without
/// quotes, so a value ends where the next ` keyword=` begins.
fn application_name(conninfo: &str) -> Option<String> {
    ["application_name", "fallback_application_name"].iter().find_map(|keyword| {
        let start = conninfo.match_indices(keyword).find_map(|(at, _)| {
            let fresh = at == 0 || conninfo.as_bytes()[at - 1] == b' ';
            let end = at + keyword.len();
            (fresh && conninfo.as_bytes().get(end) == Some(&b'=')).then_some(end + 1)
        })?;
        let value = &conninfo[start..];
        let end = value
            .match_indices(' ')
            .map(|(at, _)| at)
            .find(|at| {
                let word = &value[at + 1..];
                word.find(['=', ' ']).is_some_and(|stop| {
                    stop > 0 && word.as_bytes()[stop] == b'=' && word[..stop].bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                })
            })
            .unwrap_or(value.len());
        (end > 0).then(|| value[..end].to_owned())
    })
}

/// The one row of the answer.
struct Row<'a>(&'a Rows);

impl<'a> Row<'a> {
    fn text(&self, column: &str) -> Option<&'a str> {
        self.0.get(0, column)
    }

    fn flag(&self, column: &str) -> Result<bool, Error> {
        match self.text(column) {
            Some("t") => Ok(true),
            Some("f") => Ok(false),
            Some(other) => Err(unreadable(column, other)),
            None => Err(missing(column)),
        }
    }

    fn number<T: std::str::FromStr>(&self, column: &str) -> Result<Option<T>, Error> {
        self.text(column).map(|text| text.parse().map_err(|_| unreadable(column, text))).transpose()
    }

    fn position(&self, column: &str) -> Result<Option<Lsn>, Error> {
        self.text(column).map(|text| Lsn::parse(text).ok_or_else(|| unreadable(column, text))).transpose()
    }

    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, Error> {
        self.text(column).map(|text| serde_json::from_str(text).map_err(|_| unreadable(column, text))).transpose()
    }
}

fn missing(column: &str) -> Error {
    Error::Protocol(format!("the sample has no {column}"))
}

fn unreadable(column: &str, text: &str) -> Error {
    Error::Protocol(format!("the sample's {column} is \"{}\"", super::error::one_line(text, 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(&str, Option<&str>)]) -> Rows {
        Rows {
            columns: values.iter().map(|(name, _)| (*name).to_owned()).collect(),
            rows: vec![values.iter().map(|(_, value)| value.map(str::to_owned)).collect()],
        }
    }

    const STANDBY: &[(&str, Option<&str>)] = &[
        ("in_recovery", Some("t")),
        ("age", Some("86400.5")),
        ("started", Some("1700000000000000")),
        ("system_id", Some("18446744073709551615")),
        ("checkpoint_timeline", Some("1")),
        ("recovery_timeline", Some("3")),
        ("received_timeline", Some("2")),
        ("receive", Some("0/3000EE0")),
        ("replay", Some("0/3000EE0")),
        ("replay_paused", Some("f")),
        ("receiver", Some("t")),
        ("receiver_status", Some("streaming")),
        ("receiver_message_age", Some("-0.25")),
        ("receiver_conninfo", Some("user=x fallback_application_name=walreceiver sslmode=prefer")),
        ("apply_delay", Some("5min")),
        ("sync_names", Some("")),
        ("replicas", None),
        ("other_engines", Some("[\"libfailover/b\", \"libfailover/c\"]")),
    ];

    fn with(base: &[(&'static str, Option<&'static str>)], column: &str, value: Option<&'static str>) -> Rows {
        rows(&base.iter().map(|(name, old)| (*name, if *name == column { value } else { *old })).collect::<Vec<_>>())
    }

    #[test]
    fn a_standby_is_read_whole() {
        let sample = read_sample(&rows(STANDBY), Mono::from_nanos(7)).unwrap();
        assert_eq!((sample.asked, sample.system_id, sample.timeline, sample.delayed), (Mono::from_nanos(7), u64::MAX, 3, true));
        assert_eq!(sample.other_engines, ["b", "c"]);
        assert_eq!(sample.age, Some(Span::from_millis(86_400_500)));
        assert_eq!(sample.started, Some(1_700_000_000_000_000));
        let Receiver::Seen { streaming: true, last_message_age: Span::ZERO, application_name: Some(name), .. } = sample.receiver
        else {
            panic!("{:?}", sample.receiver)
        };
        assert_eq!(name, "walreceiver");
    }

    #[test]
    fn rule_92_hidden_is_not_absent() {
        let hidden = read_sample(&with(STANDBY, "receiver_status", None), Mono::ZERO).unwrap();
        assert_eq!(hidden.receiver, Receiver::Hidden);
        let absent = read_sample(&with(STANDBY, "receiver", Some("f")), Mono::ZERO).unwrap();
        assert_eq!(absent.receiver, Receiver::Absent);
        let list = read_sample(&with(STANDBY, "replicas", Some("[[\"a\",null,null,null,null,null]]")), Mono::ZERO).unwrap();
        assert_eq!(list.replicas, None);
        let none = read_sample(&with(STANDBY, "replicas", Some("[]")), Mono::ZERO).unwrap();
        assert_eq!(none.replicas, Some(Vec::new()));
    }

    /// Rule 96: the name of a segment begins with its timeline in hexadecimal.
    #[test]
    fn the_timeline_of_a_primary_is_hexadecimal() {
        let primary: Vec<_> = with_columns(&[
            ("in_recovery", Some("f")),
            ("wal_timeline", Some("0000001A")),
            ("flush", Some("1/0")),
            ("replicas", Some("[]")),
            ("receiver", Some("f")),
        ]);
        assert_eq!(read_sample(&rows(&primary), Mono::ZERO).unwrap().timeline, 26);
    }

    /// Rule 111: the waits of a startup process that has replayed all it has, and no others. Rule 160: those for sessions.
    #[test]
    fn the_end_of_the_log_is_told_by_two_waits_and_a_conflict_by_others() {
        for (wait, at_end, conflict) in [
            (Some("Timeout.RecoveryRetrieveRetryInterval"), true, false),
            (Some("Activity.RecoveryWalStream"), true, false),
            (Some("Timeout.RecoveryApplyDelay"), false, false),
            (Some("Lock.relation"), false, true),
            (Some("IO.DataFileRead"), false, false),
            (None, false, false),
        ] {
            let columns = with_columns(&[("startup_wait", wait)]);
            let sample = read_sample(&rows(&columns), Mono::ZERO).unwrap();
            assert_eq!((sample.at_end, sample.replay_conflict), (at_end, conflict), "{wait:?}");
        }
    }

    /// A standby with other or more columns.
    fn with_columns(columns: &[(&'static str, Option<&'static str>)]) -> Vec<(&'static str, Option<&'static str>)> {
        let kept = STANDBY.iter().filter(|(name, _)| columns.iter().all(|(other, _)| other != name));
        kept.chain(columns).copied().collect()
    }

    #[test]
    fn a_broken_sample_is_named_never_a_panic() {
        for (column, value) in [
            ("in_recovery", None),
            ("in_recovery", Some("maybe")),
            ("system_id", None),
            ("system_id", Some("-1")),
            ("recovery_timeline", Some("x")),
            ("receive", Some("0/")),
            ("receiver_message_age", Some("soon")),
            ("replicas", Some("[[1]]")),
            ("other_engines", Some("{")),
        ] {
            let error = read_sample(&with(STANDBY, column, value), Mono::ZERO).unwrap_err();
            assert!(error.to_string().contains(column), "{error}");
        }
        assert!(read_sample(&Rows::default(), Mono::ZERO).is_err());
        let endless = read_sample(&with(STANDBY, "receiver_message_age", Some("1e300")), Mono::ZERO).unwrap();
        assert!(matches!(endless.receiver, Receiver::Seen { .. }));
    }

    #[test]
    fn the_receivers_name_is_found_in_an_unquoted_connection_string() {
        let table = [
            ("application_name=db2 fallback_application_name=walreceiver sslmode=prefer", Some("db2")),
            ("user=x fallback_application_name=walreceiver application_name=db2", Some("db2")),
            ("user=x fallback_application_name=walreceiver sslmode=prefer", Some("walreceiver")),
            ("user=x application_name=my standby two sslmode=prefer", Some("my standby two")),
            ("user=x", None),
            ("application_name=", None),
            ("", None),
        ];
        for (conninfo, name) in table {
            assert_eq!(application_name(conninfo).as_deref(), name, "{conninfo}");
        }
    }
}
