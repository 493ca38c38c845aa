//! How the old primary is brought back, as contrib/README.md says it, line by line.

use std::fs;

use super::postgres_actions::AMPLE;
use super::support::lab::{Lab, wait_until};
use super::support::postgres::bin_dir;
use super::support::{PgOptions, PgServer, StopMode};

/// The block of shell lines below the heading.
fn recipe() -> String {
    let page = fs::read_to_string(super::support::root().join("contrib/README.md")).unwrap();
    let (_, below) = page.split_once("**Bringing the old primary back**").expect("the heading");
    let (_, block) = below.split_once("```sh\n").expect("a block");
    block.split_once("```").expect("its end").0.to_owned()
}

/// The new primary has a `primary_slot_name` of its own past and a port of its own, the old one has been a standby before, with a password
/// in its connection string; and it took a write that the new one does not have.
#[test]
fn the_old_primary_is_brought_back_as_the_page_says() {
    let lab = Lab::new().unwrap();
    let options = |name| PgOptions::quick(name).with("wal_log_hints = on").with("wal_keep_size = 256MB");
    let db1 = PgServer::primary(&lab, &options("db1")).unwrap();
    db1.query("SELECT pg_create_physical_replication_slot('db2')").unwrap();
    let db2 = PgServer::standby_of(&db1, &options("db2")).unwrap();
    db2.query("ALTER SYSTEM SET primary_slot_name = 'db2'").unwrap();
    db2.query("SELECT pg_reload_conf()").unwrap();
    db2.wait_following(&db1).unwrap();
    db1.query("ALTER SYSTEM SET primary_conninfo = 'host=192.0.2.9 user=replicator password=old'").unwrap();
    db1.query("ALTER SYSTEM SET primary_slot_name = 'from_long_ago'").unwrap();
    db2.promote().unwrap();
    db1.query("CREATE TABLE lost (i int)").unwrap();
    db1.stop(StopMode::Fast).unwrap();
    for left in ["standby.signal", "failover.fenced"] {
        lab.write(db1.data_dir().join(left), "", 0o600).unwrap();
    }
    db2.query("CREATE TABLE kept (i int)").unwrap();
    db2.query("CHECKPOINT").unwrap();

    // The page's addresses, and the role's password where the page says that it belongs.
    let own = db1.follower_conninfo(&db2).unwrap();
    let text = recipe()
        .replace(
            "host=10.0.0.12 port=5432 user=postgres dbname=postgres",
            &format!("host={} port={} user=postgres dbname=postgres", db2.socket_dir().display(), db2.port()),
        )
        .replace("host=10.0.0.12 port=5432 user=replicator application_name=db1", &own);
    assert!(!text.contains("10.0.0.12"), "an address is left: {text}");
    let mut command = lab.command("/bin/sh");
    let path = format!("{}:/usr/bin:/bin", bin_dir().unwrap().display());
    command.args(["-ec", &text]).env("DATA", db1.data_dir()).env("PATH", path).env("TMPDIR", lab.folder("saved").unwrap());
    println!("{}", lab.run("recipe", command, AMPLE).unwrap());
    db1.start().unwrap();
    db1.wait_following(&db2).unwrap();
    wait_until("it has what the new primary has", AMPLE, || {
        Ok((db1.value("SELECT to_regclass('kept') IS NOT NULL AND to_regclass('lost') IS NULL")? == "t").then_some(()))
    })
    .unwrap();
    let settings = fs::read_to_string(db1.data_dir().join("postgresql.auto.conf")).unwrap();
    assert!(!settings.contains("password=") && !settings.contains("primary_slot_name"), "{settings}");
}
