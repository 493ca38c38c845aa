//! Everything that reads what others wrote, each as one function of bytes, for a bounded round of random and mutated input in
//! the tests. What a function returns does not matter, only that it returns, soon and without a panic.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use crate::config::{Config, FileContent, Surroundings};
use crate::deadline::{Cancel, Deadline};
use crate::secret::Secret;
use crate::wire::haproxy::{parse_servers_state, parse_stat};
use crate::wire::postgres::{Endpoint, KeptKeys, Session, SessionSettings, Target, Tls};
use crate::wire::resolve::Literals;

/// No variable and no file.
struct Nothing;

impl Surroundings for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, _: &Path, _: u64) -> std::io::Result<FileContent> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// A configuration in either spelling, and what is made of it.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for read in [Config::parse_toml_in(&text, &Nothing), Config::parse_json_in(&text, &Nothing)] {
        match read {
            Ok(config) => {
                // Secrets are masked, so only one without any can be read again.
                let effective = config.effective_toml();
                let again = Config::parse_toml_in(&effective, &Nothing);
                assert!(effective.contains("********") || again.is_ok(), "{effective}\n{again:?}");
            }
            Err(errors) => assert!(!errors.errors.is_empty() && !errors.to_string().is_empty()),
        }
    }
    crate::config::pgpass::fuzz(&text);
}

/// Answers of HAProxy.
pub fn haproxy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for row in parse_stat(&text).into_iter().flatten() {
        let _ = (row.is_up(), row.is_maint(), row.is_down());
    }
    let _ = parse_servers_state(&text);
}

/// Messages of a PostgreSQL server, from the first one on.
pub fn postgres(bytes: &[u8]) {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { return };
    let Ok(address) = listener.local_addr() else { return };
    let target = Target {
        endpoint: Endpoint::new("127.0.0.1", address.port()),
        user: "x".into(),
        password: Some(Secret::new("x")),
        database: "x".into(),
        tls: Tls::disabled(),
        application_name: "libfailover/fuzz".into(),
        keys: KeptKeys::default(),
        settings: SessionSettings::default(),
    };
    let Ok(cancel) = Cancel::new() else { return };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        });
        let deadline = Deadline::after(Duration::from_secs(2));
        if let Ok(mut session) = Session::connect(&target, &Literals, deadline, &cancel) {
            let _ = session.query("SELECT 1", deadline, &cancel);
        }
    });
}

/// A journal.
pub fn journal(bytes: &[u8]) {
    crate::engine::journal::fuzz(bytes);
}

/// What was seen by an earlier engine.
pub fn knowledge(bytes: &[u8]) {
    crate::engine::knowledge::fuzz(bytes);
}

/// An answer of a name server, with a signature or without.
pub fn dns(bytes: &[u8]) {
    crate::wire::dns::fuzz(bytes);
    #[cfg(feature = "rfc2136")]
    crate::action::dns::rfc2136::fuzz(bytes);
}

/// A `known_hosts` file.
#[cfg(feature = "ssh")]
pub fn known_hosts(bytes: &[u8]) {
    crate::wire::ssh::known_hosts::fuzz(bytes);
}

/// What the script on a host answers.
#[cfg(feature = "ssh")]
pub fn host(bytes: &[u8]) {
    crate::action::host::fuzz(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Random bytes, and `seeds` with bytes changed, taken out, put in and said twice. The seed of the randomness is fixed: a failure
    /// is there again at the next run. `FUZZ=50` throws fifty times as many, by a seed of its own each time; what it finds is shown.
    fn throw(cases: u32, seeds: &[&'static [u8]], at: fn(&[u8])) {
        let seeds = seeds.to_vec();
        let random = vec(any::<u8>(), 0..600);
        let edit = (any::<prop::sample::Index>(), 0..5u8, any::<u8>(), 1..40usize);
        let changed = (prop::sample::select(seeds), vec(edit, 0..12)).prop_map(|(seed, edits)| {
            let mut bytes = seed.to_vec();
            for (place, what, byte, length) in edits {
                let start = place.index(bytes.len() + 1);
                let end = (start + length).min(bytes.len());
                match what {
                    0 => drop(bytes.drain(start..end)),
                    1 => bytes.insert(start, byte),
                    2 => bytes.truncate(start.max(1)),
                    3 => {
                        let piece = bytes[start..end].to_vec();
                        bytes.splice(start..start, piece);
                    }
                    _ if start < bytes.len() => bytes[start] = byte,
                    _ => {}
                }
            }
            bytes
        });
        let times: Option<u32> = std::env::var("FUZZ").ok().and_then(|times| times.parse().ok());
        let cases = cases.saturating_mul(times.unwrap_or(1));
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        let fixed = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
        let mut runner = match times {
            Some(_) => proptest::test_runner::TestRunner::new(config),
            None => proptest::test_runner::TestRunner::new_with_rng(config, fixed),
        };
        let outcome = runner.run(&prop_oneof![1 => random, 4 => changed], |bytes| {
            at(&bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }

    #[test]
    fn a_configuration_may_hold_anything() {
        let seeds: [&[u8]; 3] = [
            b"version = 1\n[[services]]\nname = \"orders\"\n[[services.servers]]\nname = \"db1\"\nrole = \"primary\"\nhost = \"10.0.0.1\"\n[[services.servers]]\nname = \"db2\"\nhost = \"10.0.0.2\"\n",
            br#"{"version":1,"services":[{"name":"a","servers":[{"name":"b","role":"primary","host":"c"},{"name":"d","host":"e"}],"checks":[{"name":"f","server":"b","kind":"http","url":"http://u:p@h:1/x?y","headers":{"A":"b"}}],"trigger":{"policy":{"quorum":1},"failure_window":"60s"}}]}"#,
            b"*:5432:*:failover:a\\:b\\\\\n# c\nlocalhost:*:*:*:x\n",
        ];
        throw(1500, &seeds, super::config);
    }

    #[test]
    fn haproxy_may_say_anything() {
        let seeds: [&[u8]; 2] = [
            b"# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight,act,bck,check_status,lastchg,addr\norders,db1,0,0,0,1,,12,UP,1,1,0,L4OK,10,127.0.0.1:5432\norders,\"d\"\"b2\",0,0,0,0,,0,MAINT,1,1,0,,10,[::1]:5432\n\n",
            b"1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n3 orders 1 db1 127.0.0.1 2 0 1 1 10 6 3 4 6 0 0 0 - 5432 - 0 0 - - 0\n",
        ];
        throw(4000, &seeds, super::haproxy);
    }

    #[test]
    fn a_server_may_say_anything() {
        let seeds: [&[u8]; 4] = [
            b"R\0\0\0\x08\0\0\0\0S\0\0\0\x0ba\0b\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05IT\0\0\0\x1a\0\x01a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
            b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x30\0\0\0\x0br=abc,s=QUJDREVGR0g=,i=4096",
            b"R\0\0\0\x0c\0\0\0\x05saltE\0\0\0\x22SFATAL\0VFATAL\0C28P01\0Mno\0\0",
            b"E\0\0\0\x2aSFATAL\0C57P03\0Mthe database system is\0\0",
        ];
        throw(250, &seeds, super::postgres);
    }

    #[test]
    fn a_journal_may_hold_anything() {
        let seeds: [&[u8]; 3] = [
            Vec::leak(crate::engine::journal::tests::sample()),
            b"{\"sum\":\"0123456789abcdef0123456789abcdef\",\"seq\":1,\"at\":1,\"begin\":{\"version\":1}}\n{\"sum\":\"0123456789abcdef0123456789abcdef\",\"seq\":2,\"facts\":{\"service\":\"orders\",\"generation\":3}}\n",
            b"{\"sum\":\"\",\n\n{}\n",
        ];
        throw(300, &seeds, super::journal);
    }

    #[test]
    fn what_was_seen_may_be_anything() {
        let seeds: [&[u8]; 1] = [Vec::leak(crate::engine::knowledge::tests::sample())];
        throw(2000, &seeds, super::knowledge);
    }

    #[test]
    fn a_name_server_may_say_anything() {
        let seeds: [&[u8]; 4] = [
            b"\0\x01\x85\x80\0\x01\0\x02\0\0\0\x01\x03app\x07example\x03com\0\0\x01\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\x1e\0\x06\x03one\xc0\x10\xc0\x2d\0\x01\0\x01\0\0\0\x1e\0\x04\xc0\0\x02\x01\0\0\x29\x04\xd0\0\0\0\0\0\0",
            b"\0\x01\x85\x83\0\x01\0\0\0\x01\0\0\x03app\x07example\x03com\0\0\x01\0\x01\xc0\x10\0\x06\0\x01\0\0\0\x3c\0\x1c\x01a\xc0\x10\x01b\xc0\x10\0\0\0\x01\0\0\0\x3c\0\0\0\x3c\0\0\0\x3c\0\0\0\x3c",
            b"\0\x01\x85\x80\0\x01\0\x01\0\0\0\0\x03app\x07example\x03com\0\0\x1c\0\x01\xc0\x0c\0\x1c\0\x01\0\0\0\x1e\0\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
            b"\0\x01\xa8\x09\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x06\0\x01\x07app-key\0\0\xfa\0\xff\0\0\0\0\0\x23\x0bhmac-sha256\0\0\0\0\0\0\x01\x01\x2c\0\0\0\x01\0\x12\0\x06\0\0\0\0\0\x02",
        ];
        throw(8000, &seeds, super::dns);
    }

    #[cfg(feature = "ssh")]
    #[test]
    fn known_hosts_may_hold_anything() {
        let seeds: [&[u8]; 2] = [
            b"db1,10.0.0.* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA=\n[127.0.0.1]:2222 ssh-rsa AAAA\n@revoked * ssh-rsa AAAA # c\n",
            b"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAAB3Nza\n!db1,?b* ecdsa-sha2-nistp256 AAAA\n",
        ];
        throw(300, &seeds, super::known_hosts);
    }

    #[cfg(feature = "ssh")]
    #[test]
    fn a_host_may_say_anything() {
        let seeds: [&[u8]; 1] = [
            b"Welcome\nfailover-host=1\npostmaster=running\npid=12\npidfile=12\nothers=3\nstopped=0\nstates=12:S 13:R\nshm=4\nview=seen\nhidden=\nlocal=accepting\nowner_uid=1\nuid=0\nfree_kib=99999999999999999999\nfree_kib=18446744073709551615\nsize_kib=18446744073709551615\nwritable=1\nrung=stop ok 1\nproof=ok\nend=ok\n",
        ];
        throw(3000, &seeds, super::host);
    }
}
