//! What only planned work asks about: what a promotion would leave behind, and what holds a shutdown.

use crate::deadline::{Cancel, Deadline};
use crate::wire::postgres::{Error, Rows, Session};
use failover_core::switchover::SwitchoverFacts;
use failover_core::time::Span;

/// A slot's columns of PostgreSQL 17 are read as JSON: before, they are not there.
const SQL: &str = "\
SELECT (SELECT pg_catalog.string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots AS slot
         WHERE slot_type = 'logical' AND NOT temporary
           AND coalesce(pg_catalog.to_jsonb(slot) ->> 'synced', 'false') <> 'true') AS logical_slots,
       (SELECT pg_catalog.string_agg(slot_name, ',' ORDER BY slot_name) FROM pg_catalog.pg_replication_slots AS slot
         WHERE slot_type = 'logical' AND NOT temporary
           AND pg_catalog.to_jsonb(slot) ->> 'synced' = 'true'
           AND pg_catalog.to_jsonb(slot) ->> 'invalidation_reason' IS NULL) AS ready_slots,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts) AS prepared,
       pg_catalog.current_setting('max_prepared_transactions') AS max_prepared,
       (SELECT (1000 * extract(epoch FROM pg_catalog.max(pg_catalog.clock_timestamp() - xact_start)))::pg_catalog.int8
          FROM pg_catalog.pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()) AS oldest_ms,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity
         WHERE backend_type = 'client backend' AND state LIKE 'idle in transaction%') AS idle,
       (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout";

pub(super) fn read(session: &mut Session, deadline: Deadline, cancel: &Cancel) -> Result<SwitchoverFacts, Error> {
    session.query(SQL, deadline, cancel).map(|rows| facts(&rows))
}

fn facts(rows: &Rows) -> SwitchoverFacts {
    let get = |column: &str| rows.get(0, column);
    let number = |column: &str| get(column).and_then(|value| value.parse::<u64>().ok());
    let names = |column: &str| get(column).map(|all| all.split(',').map(str::to_owned).collect()).unwrap_or_default();
    SwitchoverFacts {
        logical_slots: names("logical_slots"),
        ready_slots: names("ready_slots"),
        prepared: number("prepared").unwrap_or(0),
        max_prepared: number("max_prepared").unwrap_or(0),
        oldest_transaction: number("oldest_ms").map(Span::from_millis),
        idle_in_transaction: number("idle").unwrap_or(0),
        senders_wait_for_ever: get("wal_sender_timeout") == Some("0"),
    }
}
