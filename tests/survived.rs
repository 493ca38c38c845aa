//! Commits whose answer nobody received: after each failover of a real cluster every one is asked about, and the answer compared with the rows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::support::cluster::{ClusterOptions, Replication};
use super::support::lab::wait_until;
use super::support::pair::SERVICE;
use super::support::postgres::{PgServer, WRITER_DATABASE};
use super::support::session::Session;
use super::support::trial::{LONGEST, Trial, turn};

/// What a client does inside its transaction: the number, and the timeline on which it runs.
const TAKE: &str = "SELECT pg_current_xact_id()::text || ' ' || \
                    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint";
const CLIENTS: u64 = 8;

/// What one client knows of one of its transactions.
#[derive(Clone, Debug)]
struct Attempt {
    row: u64,
    xid: u64,
    timeline: u32,
    /// `None`: it asked for the commit, and no answer came.
    committed: Option<bool>,
    /// A position behind the commit, where it was acknowledged.
    behind: Option<String>,
}

/// Clients of a primary that write rows of their own until it is gone.
struct Clients {
    attempts: Arc<Mutex<Vec<Attempt>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    fn of(server: &PgServer, first: u64) -> Clients {
        let (attempts, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let threads = (0..CLIENTS)
            .map(|client| {
                let mut session = server.session_in(WRITER_DATABASE).unwrap();
                let (attempts, stop) = (Arc::clone(&attempts), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut row = first + client;
                    while !stop.load(Ordering::SeqCst) {
                        let rolls_back = (row / CLIENTS).is_multiple_of(7);
                        let begun = session.query(&format!("BEGIN; INSERT INTO doubts VALUES ({row})"), LONGEST);
                        let Ok(taken) = begun.and_then(|_| session.value(TAKE, LONGEST)) else { return };
                        let (xid, timeline) = taken.split_once(' ').unwrap();
                        let ended = session.query(if rolls_back { "ROLLBACK" } else { "COMMIT" }, LONGEST);
                        let behind = session.value("SELECT pg_current_wal_insert_lsn()", LONGEST).ok();
                        attempts.lock().unwrap().push(Attempt {
                            row,
                            xid: xid.parse().unwrap(),
                            timeline: timeline.parse().unwrap(),
                            committed: ended.is_ok().then_some(!rolls_back),
                            behind: behind.filter(|_| ended.is_ok() && !rolls_back),
                        });
                        if ended.is_err() {
                            return;
                        }
                        row += CLIENTS;
                    }
                })
            })
            .collect();
        Clients { attempts, stop, threads }
    }

    fn wait_for(&self, count: usize) {
        let wanted = self.attempts.lock().unwrap().len() + count;
        wait_until("the clients commit", LONGEST, || Ok((self.attempts.lock().unwrap().len() >= wanted).then_some(()))).unwrap();
    }

    fn join(self) -> Vec<Attempt> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let attempts = self.attempts.lock().unwrap();
        attempts.clone()
    }
}

/// Asks on one connection to the daemon.
struct Asking(BufReader<UnixStream>);

impl Asking {
    fn of(trial: &Trial) -> Asking {
        let stream = UnixStream::connect(&trial.cluster.control).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        Asking(BufReader::new(stream))
    }

    /// The answer and its reason.
    fn survived(&mut self, what: &Value) -> (String, String) {
        let mut request = json!({ "command": "survived", "service": SERVICE });
        request.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let word = |name: &str| answer["result"][name].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        (word("survived"), word("reason"))
    }
}

fn rows(server: &PgServer) -> BTreeSet<u64> {
    let mut session = server.session_in(WRITER_DATABASE).unwrap();
    let all = session.value("SELECT coalesce(string_agg(n::text, ' '), '') FROM doubts", LONGEST).unwrap();
    all.split(' ').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
}

/// Every answer is the truth: how often each was given, with the timeline and without it.
fn compare(trial: &Trial, attempts: &[Attempt], primary: &PgServer) -> BTreeMap<(String, String), usize> {
    let there = rows(primary);
    let mut asking = Asking::of(trial);
    let mut counts = BTreeMap::new();
    for attempt in attempts {
        let truth = there.contains(&attempt.row);
        let told = || format!("{attempt:?} is there: {truth}\n{}", trial.story());
        let mut check = |what: Value| {
            let (survived, reason) = asking.survived(&what);
            match survived.as_str() {
                "yes" => assert!(truth, "{what} is answered yes ({reason}): {}", told()),
                "no" => assert!(!truth, "{what} is answered no ({reason}): {}", told()),
                _ => assert!(["may_be_reused", "not_written"].contains(&reason.as_str()), "{what}: {reason}: {}", told()),
            }
            (survived, reason)
        };
        check(json!({ "xid": attempt.xid }));
        let answer = check(json!({ "xid": attempt.xid, "timeline": attempt.timeline }));
        *counts.entry(answer).or_default() += 1;
        if let Some(behind) = &attempt.behind {
            // What is behind it may end later than the commit itself: only what is before it is certain.
            let (survived, _) = asking.survived(&json!({ "lsn": behind, "timeline": attempt.timeline }));
            assert!(survived != "yes" || truth, "{behind} is answered yes: {}", told());
        }
    }
    counts
}

/// Clients that ask for their commit and do not read the answer.
struct Doubtful(Vec<(Session, Attempt)>);

impl Doubtful {
    fn of(server: &PgServer, first: u64) -> Doubtful {
        let begun = (0..4).map(|client| {
            let (mut session, row) = (server.session_in(WRITER_DATABASE).unwrap(), first + client);
            session.query(&format!("BEGIN; INSERT INTO doubts VALUES ({row})"), LONGEST).unwrap();
            let taken = session.value(TAKE, LONGEST).unwrap();
            let (xid, timeline) = taken.split_once(' ').unwrap();
            let (xid, timeline) = (xid.parse().unwrap(), timeline.parse().unwrap());
            (session, Attempt { row, xid, timeline, committed: None, behind: None })
        });
        Doubtful(begun.collect())
    }

    /// Half of them ask now.
    fn commit(&mut self, half: usize) {
        for (session, _) in &mut self.0[half * 2..half * 2 + 2] {
            session.begin("COMMIT").unwrap();
        }
    }
}

/// The standbys hear nothing any more, the clients go on, and the primary dies.
fn die(trial: &Trial, primary: &PgServer, first: u64) -> (Vec<Attempt>, String) {
    let mut doubtful = Doubtful::of(primary, first + 500_000);
    let clients = Clients::of(primary, first);
    doubtful.commit(0);
    clients.wait_for(200);
    let deaf: Vec<_> = (1..=3)
        .map(|number| trial.cluster.db(number))
        .filter(|server| server.name() != primary.name() && primary.sender_to(server).is_ok())
        .map(|standby| primary.stop_sending_to(standby).unwrap())
        .collect();
    clients.wait_for(100);
    doubtful.commit(1);
    let from = trial.kill(primary);
    let end = trial.end(from).unwrap();
    drop(deaf);
    let promoted = end.promoted().unwrap_or_else(|| panic!("nobody was promoted: {:?}\n{}", end.event(), trial.story()));
    let mut attempts = clients.join();
    attempts.extend(doubtful.0.into_iter().map(|(_, attempt)| attempt));
    (attempts, promoted.to_owned())
}

fn of(counts: &BTreeMap<(String, String), usize>, survived: &str) -> usize {
    counts.iter().filter(|((answer, _), _)| answer == survived).map(|(_, count)| count).sum()
}

/// Rules 237 to 240.
#[test]
fn every_commit_in_doubt_is_answered_by_what_is_there_after_one_failover_and_after_two() {
    let _turn = turn();
    let settings = vec!["wal_receiver_timeout = 30s".to_owned()];
    let trial = Trial::start(&ClusterOptions { settings, ..ClusterOptions::new(Replication::Async) }).unwrap();
    let db1 = trial.cluster.db(1);
    db1.session_in(WRITER_DATABASE).unwrap().query("CREATE TABLE doubts (n bigint)", LONGEST).unwrap();
    let (first, promoted) = die(&trial, db1, 1);
    let second_primary = trial.cluster.named(&promoted).unwrap();
    let counts = compare(&trial, &first, second_primary);
    println!("after one failover: {counts:?}");
    assert!(of(&counts, "yes") > 0 && of(&counts, "no") > 0, "{counts:?}");
    assert!(counts.contains_key(&("no".to_owned(), "behind_fork".to_owned())), "some commits were lost: {counts:?}");
    // One whose answer was there and was not read, and one that nobody heard of.
    let in_doubt: Vec<&Attempt> = first.iter().filter(|attempt| attempt.committed.is_none()).collect();
    let there = rows(second_primary);
    assert!(in_doubt.len() >= 4 && in_doubt.iter().any(|attempt| there.contains(&attempt.row)), "{in_doubt:?}");
    let doubtful = in_doubt[0];
    let (xid, timeline) = (doubtful.xid.to_string(), doubtful.timeline.to_string());
    let (code, text) = trial.command(&["survived", SERVICE, "--xid", &xid, "--timeline", &timeline]).unwrap();
    let word = text.split(':').next().unwrap_or_default().to_owned();
    assert_eq!(
        code,
        match word.as_str() {
            "yes" => 0,
            "no" => 1,
            _ => 6,
        },
        "{text}"
    );

    // What the journal has of the fork is where the new primary says that it left the old timeline.
    let file = second_primary.data_dir().join("pg_wal/00000002.history");
    let history = std::fs::read_to_string(file).unwrap();
    let fork = history.split_whitespace().nth(1).unwrap();
    let (code, text) = trial.command(&["survived", SERVICE, "--lsn", fork, "--timeline", "1"]).unwrap();
    assert_eq!((code, text.contains(&format!("at {fork}"))), (0, true), "{text}");

    trial.ready_again().unwrap();
    let (second, promoted) = die(&trial, second_primary, 1_000_000);
    let third_primary = trial.cluster.named(&promoted).unwrap();
    assert!(second.iter().all(|attempt| attempt.timeline == 2), "{second:?}");
    let all: Vec<Attempt> = first.into_iter().chain(second).collect();
    let counts = compare(&trial, &all, third_primary);
    println!("after two failovers: {counts:?}");
    assert!(of(&counts, "yes") > 0 && of(&counts, "no") > 0, "{counts:?}");

    // Nobody is asked about what no cluster has.
    for arguments in [["--xid", "742", "--timeline", "9"], ["--lsn", "0/3000148", "--timeline", "9"]] {
        let (code, text) = trial.command(&[&["survived", SERVICE], &arguments[..]].concat()).unwrap();
        assert_eq!((code, text.contains("timeline_not_known")), (6, true), "{text}");
    }
    let (code, text) = trial.command(&["survived", SERVICE, "--xid", "2"]).unwrap();
    assert_eq!(code, 4, "{text}");
    let _account = trial.account().unwrap();
}
