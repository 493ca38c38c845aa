//! Real clusters of three servers: which of two standbys may be promoted, what may be missing then, and what the record says of it.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::cluster::{Cluster, ClusterOptions, Replication};
use support::trial::{Account, End, LONGEST, Trial, acknowledged_by, assert_honest, lasts};

const MIB: u64 = 1 << 20;

/// One at a time: a cluster, its engine and its writer want a machine for themselves.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing that was acknowledged is missing: the right one was promoted, or nobody and a person was called.
fn assert_whole(end: &End, account: &Account, right: &str) {
    let told = format!("{end:?}\n{}", account.story);
    match account.lost() {
        Some(lost) => assert_eq!((lost, account.writable[0].as_str()), (0, right), "acknowledged rows lost, who serves; {told}"),
        None => assert!(matches!(end, End::Person(_)), "{told}"),
    }
}

#[test]
fn smoke() {
    let _turn = turn();
    let began = std::time::Instant::now();
    let cluster = Cluster::start(&ClusterOptions::new(Replication::Any), |_| {}).unwrap();
    println!("cluster {:?}", began.elapsed());
    cluster.log_questions().unwrap();
    let trial = Trial::with(cluster).unwrap();
    println!("ready {:?}", began.elapsed());
    for _ in 0..20 {
        println!("{:?} samples {}", began.elapsed(), trial.cluster.samples(trial.cluster.db(1)));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    println!("{:?}", trial.cluster.db(1).sender_to(trial.cluster.db(3)).unwrap());
    let from = trial.kill(trial.cluster.db(1));
    let end = trial.end(from).unwrap();
    let (account, _cluster) = trial.account().unwrap();
    println!("{}\n{:?}", account.story, end);
    assert_whole(&end, &account, "db2");
}
