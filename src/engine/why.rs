//! Why each finding matters at failover time. What is wrong and what mends it depend on the server and stand in the finding; this
//! does not.

use failover_core::refusal::Refusal;

/// A clause for the code of a finding or of a reason against a failover; empty where there is nothing to add.
#[must_use]
pub fn of(code: &str) -> &'static str {
    match code {
        "breaker_open" => {
            "what is shown of it is as old as the last answer; a failover asks afresh, and may find it as broken as the survey did"
        }
        // Over SQL.
        "promote_right_missing" => {
            "the promotion is one call of pg_promote; without the right it fails after the old primary was fenced, and nobody takes writes"
        }
        "reload_right_missing" => {
            "a standby can overhear its promotion and sleep for wal_retrieve_retry_interval; a reload wakes it at once, and that sleep is outage"
        }
        "monitor_right_missing" => {
            "a standby that still receives WAL proves a live primary; unseen, a false alarm is caught later and the promotion waits blindly"
        }
        "wal_receiver_timeout_long" => {
            "whether the standby still hears the primary is asked before it is replaced; with a long timeout its `streaming` proves nothing for that long"
        }
        "read_only_by_default" => {
            "after the promotion the write verification fails, and the failover ends with a person being called"
        }
        "fsync_off" => {
            "the host that crashes is the one that would come back; without fsync its data may be gone or torn, and a standby may follow torn data"
        }
        "rewind_impossible" => {
            "the failover itself works; until the former primary is copied anew, there is no standby for the next one"
        }
        "archive_failing" | "archive_backlog" => {
            "a clean stop waits for the archive, WAL that is kept fills the disk, and what was not archived is lost to a recovery in time"
        }
        "logical_slots" => {
            "the slots stay on the old primary: subscribers stop, and changes between the failover and new slots are missed"
        }
        "sync_gate" => {
            "after the promotion nobody is left to acknowledge: every commit waits, and the service is down although the server is up"
        }
        "sync_names_unreadable" | "replication_names_equal" | "sync_standby_absent" => {
            "who has acknowledged a commit and does not answer may hold what nobody else has: then nobody is promoted, and a person is called"
        }
        "sync_by_strangers" | "sync_commit_waits_for_nobody" | "sync_commit_overridden" => {
            "a commit of which a client was told may be on no standby that could be promoted: nothing can be promised about it"
        }
        "sync_gate_right_missing" => {
            "the engine could not let commits through after the promotion: they wait until a person does"
        }
        "cordoned" => "an operator said that it is not to be promoted: with no other standby nobody is",
        "replay_paused" => "a promotion ends the pause and replays what somebody wanted to stop; so this standby is refused",
        "replay_held" => {
            "a promotion replays first: it takes as long as what holds replay up, without an end where max_standby_streaming_delay is -1"
        }
        "reserved_places_closed" => {
            "after a failover all clients come back at once; without a place of its own the engine cannot see who answers through the route"
        }
        "apply_delayed" => {
            "all that was held back is replayed before the promotion ends, and what protected against a mistake is gone; so this standby is refused"
        }
        "not_receiving" => "every commit from now on would be lost by a failover to it, so it is not promoted by itself",
        "setting_lower_than_primary" => {
            "hot standby stops replay at the primary's change, and a server with fewer connections turns clients away when it takes the load"
        }
        "certificate_expired" => {
            "TLS that is verified is refused: the engine is blind, and clients that verify cannot connect after a failover"
        }
        "certificate_expires" => {
            "from that moment verified connections are refused, by clients and by the engine, which is then blind and fails nothing over"
        }
        "client_certificate_expires" => {
            "from that moment the server refuses the engine's login: it is blind and fails nothing over"
        }
        // On the hosts.
        "host_not_asked" => {
            "the old primary's end must be proven before another is made; what cannot be reached cannot be fenced"
        }
        "host_cannot_signal" => {
            "the fence kills every process of the old primary; without the right it is not proven, and no standby is promoted"
        }
        "host_script_outdated" => "a request that the installed script does not know is refused, and the fence is such a request",
        "host_script_newer" => "it is meant for a later engine, and is tested with that one",
        "host_segment_hidden" => {
            "the proof needs the shared memory of the old primary to be gone; where it does not show, nothing is promoted"
        }
        "host_sees_no_postmaster" => {
            "processes that do not show cannot be proven gone: the fence would not count, and nothing is promoted"
        }
        "host_data_dir_not_writable" => {
            "a supervisor that restarts the fenced server makes two primaries: standby.signal is what holds it back"
        }
        "host_pg_ctl_missing" => "promote.method = \"pg_ctl\" needs it, and so does the gentle part of the fence",
        "host_pg_isready_missing" => {
            "it is how a host tells a hung server from a cut network: without it more doubts end in a wait"
        }
        "host_timeout_missing" => "a command that hangs there outlives its step, and may act after the failover has gone on",
        "host_root_login" => "one stolen key owns the host, and pg_ctl refuses to work as root at the moment it is needed",
        "host_disk_nearly_full" => {
            "a promotion writes a new timeline and a checkpoint, and the new primary keeps WAL for absent standbys: a full disk stops it"
        }
        "host_recovery_signal" => "a standby that leaves recovery by itself is a second primary",
        "host_fence_marker" => "the next fence of this server takes what an earlier one left for its own",
        // The route.
        "route_not_ready" | "route_backend_missing" | "route_server_missing" => {
            "the new primary would run, and the clients of this instance would not be sent to it: their outage goes on until a person moves them"
        }
        "route_to_standby" => {
            "clients come out at a server that is not the primary: on a database they cannot write there, and after a restart of HAProxy they may land on the old one"
        }
        "route_primary_out" => "clients are cut off from a healthy primary, which no failover mends",
        "verify_unreachable" => {
            "a failover is verified through this address: where none is reached, a database's ends with a person being called, and an application's is taken back"
        }
        "verify_full" => {
            "a failover is done when somebody was seen to answer through the route; where every place is taken by clients, nobody can look"
        }
        "verify_refused" => {
            "the failover counts as complete once a commit went through this address: not let in, it ends with a person being called"
        }
        "verify_unidentified" => {
            "a failover counts as complete once the new server is seen through this address: unseen, it is undone"
        }
        "verify_other_server" => {
            "some clients do not reach the server that is watched, and its death would move traffic that is elsewhere"
        }
        "name_unreadable" => {
            "what cannot be read cannot be changed either: clients that go by this name stay with the old server"
        }
        "login_refused" => "an engine that cannot log in sees neither a primary nor its death: it fails nothing over",
        "verify_foreign" => {
            "a commit through it would prove another cluster's health, so the verification is refused and a person called"
        }
        "verify_standby" => "clients of this address cannot write now, and the verification through it would fail",
        // The engine itself.
        "state_dir_unusable" => {
            "what is not written down cannot be resumed or undone: without its journal the engine starts no failover"
        }
        "control_socket_unusable" => "the daemon does not start without it, or nobody could ask, pause or force it",
        // Against any failover.
        "check_not_up" => "what cannot be asked now is not judged at failover time: a standby that is not seen is not promoted",
        "configuration" => "it is in force already, and shows when it is needed",
        _ => Refusal::row(code).map_or("", |row| row.why),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    /// Every finding in the sources has a reason. Their codes are found by how findings are made.
    #[test]
    fn every_finding_says_why_it_matters() {
        let sources = [
            include_str!("../action/postgres/survey.rs"),
            include_str!("../action/postgres/traffic.rs"),
            include_str!("../action/host.rs"),
            include_str!("../core/route.rs"),
            include_str!("survey.rs"),
        ];
        let mut codes = Vec::new();
        for source in sources {
            let source: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
            for made in ["found.add(", "found.warn(", "found.blocking(", "find(", "finding(", "code: "] {
                for rest in source.split(made).skip(1) {
                    let Some((code, _)) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) else {
                        continue;
                    };
                    if code.contains('_') && code.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                        codes.push(code.to_owned());
                    }
                }
            }
        }
        assert!(codes.len() >= 30, "{codes:?}");
        let silent: Vec<_> = codes.iter().filter(|code| of(code).is_empty()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
