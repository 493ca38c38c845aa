//! PostgreSQL servers: a primary made by initdb, standbys made by pg_basebackup.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::lab::{Lab, fill, free_port, random_password, wait_until};
use super::network::Host;
use super::process::{Process, Seen, context, signal_all, working_in};
use super::session::{Address, Login, Rows, Session};

/// The role of the engine.
pub const ENGINE_ROLE: &str = "failover";
/// The role of the program that writes.
pub const WRITER_ROLE: &str = "app";
/// The database of the program that writes.
pub const WRITER_DATABASE: &str = "app";

const REPLICATION_ROLE: &str = "replicator";
const LONG: Duration = Duration::from_secs(60);

/// What a standby needs for salvage, as the documents say it: a line of postgresql.conf.
pub const PREPARED: &str = "restore_command = 'cp failover-spool/%f \"%p\"'";

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct PgOptions {
    /// Its name: folder, `cluster_name`, and the name under which it replicates.
    pub name: String,
    /// `synchronous_standby_names`: the standby that has to acknowledge, where one has to.
    pub synchronous: Option<String>,
    /// A crash of the machine loses nothing. Off is quicker, and enough where no durability is claimed.
    pub fsync: bool,
    /// An own initdb instead of a copy of this program's template: another system identifier.
    pub own_identity: bool,
    /// More lines of postgresql.conf, `key = value`.
    pub settings: Vec<String>,
    /// Where it runs.
    pub host: Host,
    /// The write-ahead log has a file system of its own, of so many MiB.
    pub small_wal: Option<u32>,
    /// It replicates under no name of its own: PostgreSQL's default, `walreceiver`.
    pub anonymous: bool,
}

impl PgOptions {
    /// Durable, asynchronous.
    pub fn new(name: &str) -> PgOptions {
        PgOptions {
            name: name.to_owned(),
            synchronous: None,
            fsync: true,
            own_identity: false,
            settings: Vec::new(),
            host: Host::local(),
            small_wal: None,
            anonymous: false,
        }
    }

    /// For tests that do not care about durability.
    pub fn quick(name: &str) -> PgOptions {
        PgOptions { fsync: false, ..PgOptions::new(name) }
    }

    /// One more line of postgresql.conf.
    #[must_use]
    pub fn with(mut self, setting: &str) -> PgOptions {
        self.settings.push(setting.to_owned());
        self
    }

    /// Commits wait for this standby.
    #[must_use]
    pub fn synchronous_with(mut self, standby: &str) -> PgOptions {
        self.synchronous = Some(standby.to_owned());
        self
    }
}

/// How `pg_ctl` stops a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Waits for clients.
    Smart,
    /// Ends sessions, writes a checkpoint.
    Fast,
    /// Ends at once, recovers at the next start.
    Immediate,
}

impl StopMode {
    fn as_str(self) -> &'static str {
        match self {
            StopMode::Smart => "smart",
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        }
    }
}

/// Passwords of one cluster.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Of [`ENGINE_ROLE`].
    pub engine: String,
    replication: String,
}

/// One server. Dropping it ends every process of its data directory, also stopped ones and orphans.
pub struct PgServer {
    lab: Lab,
    name: String,
    data: PathBuf,
    sockets: PathBuf,
    host: Host,
    port: u16,
    anonymous: bool,
    secrets: Secrets,
    postmaster: Mutex<Option<Process>>,
}

/// The programs of PostgreSQL: those in the folder that `FAILOVER_POSTGRES_BIN` names, or the newest installed: Debian's place, then the
/// search path.
pub fn bin_dir() -> io::Result<PathBuf> {
    if let Some(bin) = std::env::var_os("FAILOVER_POSTGRES_BIN").filter(|bin| !bin.is_empty()) {
        let bin = PathBuf::from(bin);
        if bin.join("postgres").exists() && bin.join("initdb").exists() {
            return Ok(bin);
        }
        let why = format!("FAILOVER_POSTGRES_BIN: {} does not hold postgres and initdb", bin.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let newest = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists() && bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return Ok(bin);
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .find(|dir| dir.join("postgres").exists() && dir.join("initdb").exists())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "PostgreSQL is not installed (apt-get install postgresql)"))
}

impl PgServer {
    /// A running primary with the roles of engine, writer and replication, and the writer's database.
    pub fn primary(lab: &Lab, options: &PgOptions) -> io::Result<PgServer> {
        let secrets = Secrets { engine: random_password()?, replication: random_password()? };
        let server = PgServer::prepare(lab, options, secrets)?;
        if options.own_identity {
            initdb(lab, &server.data)?;
        } else {
            copy_template(lab, &server.data)?;
        }
        let hba = if options.host.is_local() { HBA.to_owned() } else { HBA.replace("127.0.0.1/32", "samenet") };
        lab.write(server.data.join("pg_hba.conf"), hba, 0o600)?;
        server.move_wal(options)?;
        // The rule for commits comes last: nobody is there yet to acknowledge the first ones.
        server.configure(&PgOptions { synchronous: None, ..options.clone() })?;
        server.start()?;
        server.create_roles()?;
        if let Some(standby) = &options.synchronous {
            server.set(&format!("synchronous_standby_names = '{standby}'"))?;
        }
        Ok(server)
    }

    /// A running standby that streams from `primary`.
    pub fn standby_of(primary: &PgServer, options: &PgOptions) -> io::Result<PgServer> {
        let server = PgServer::standby_prepared(primary, options)?;
        server.start()?;
        server.wait_replicating(primary)?;
        Ok(server)
    }

    /// A standby that is not started yet.
    pub fn standby_prepared(primary: &PgServer, options: &PgOptions) -> io::Result<PgServer> {
        let lab = &primary.lab;
        let server = PgServer::prepare(lab, options, primary.secrets.clone())?;
        server.copy_from(primary)?;
        server.move_wal(options)?;
        server.configure(options)?;
        Ok(server)
    }

    /// Throws a server's data away and makes it a running standby of `primary`, with the place and the port that it has.
    pub fn rebuild_from(&self, primary: &PgServer) -> io::Result<()> {
        self.kill_all();
        let conf = fs::read_to_string(self.data.join("postgresql.conf"))?;
        fs::remove_dir_all(&self.data)?;
        self.copy_from(primary)?;
        self.lab.write(self.data.join("postgresql.conf"), conf, 0o600)?;
        self.start()?;
        self.wait_replicating(primary)
    }

    fn wait_replicating(&self, primary: &PgServer) -> io::Result<()> {
        if self.anonymous { self.wait_following(primary) } else { primary.wait_streaming(&self.name) }
    }

    /// The `primary_conninfo` of a standby that follows `upstream`.
    pub(super) fn conninfo(&self, upstream: &PgServer) -> io::Result<String> {
        // In a file, so that the password is neither in an argument list nor in postgresql.auto.conf.
        let passwords = format!("*:*:*:{REPLICATION_ROLE}:{}\n", self.secrets.replication);
        let passfile = self.lab.write(format!("{}.pgpass", self.name), passwords, 0o600)?;
        let name = if self.anonymous { String::new() } else { format!(" application_name={}", self.name) };
        Ok(format!(
            "host={} port={} user={REPLICATION_ROLE} passfile={}{name}",
            upstream.host.address(),
            upstream.port,
            passfile.display(),
        ))
    }

    /// The same, for tests that write it down themselves.
    pub fn follower_conninfo(&self, upstream: &PgServer) -> io::Result<String> {
        self.conninfo(upstream)
    }

    fn copy_from(&self, primary: &PgServer) -> io::Result<()> {
        let source = self.conninfo(primary)?;
        let mut command = self.lab.command_on(&self.host, bin_dir()?.join("pg_basebackup"));
        command.arg("-d").arg(&source).arg("-D").arg(&self.data);
        command.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password"]);
        self.lab.run("pg_basebackup", command, LONG)?;
        // Not by pg_basebackup, which may be of a later version: it writes every option that it knows, and an older server stumbles over them.
        let auto = self.data.join("postgresql.auto.conf");
        let text = format!("{}primary_conninfo = '{source}'\n", fs::read_to_string(&auto)?);
        self.write_own(&auto, &text)?;
        self.write_own(&self.data.join("standby.signal"), "")
    }

    fn prepare(lab: &Lab, options: &PgOptions, secrets: Secrets) -> io::Result<PgServer> {
        let sockets = lab.folder("sock")?;
        let data = lab.path(&options.name);
        Ok(PgServer {
            lab: lab.clone(),
            name: options.name.clone(),
            data,
            sockets,
            host: options.host.clone(),
            port: free_port()?,
            anonymous: options.anonymous,
            secrets,
            postmaster: Mutex::new(None),
        })
    }

    fn move_wal(&self, options: &PgOptions) -> io::Result<()> {
        let Some(size) = options.small_wal else { return Ok(()) };
        let disk = self.lab.mount(self.small_disk(), size)?;
        let mut command = self.lab.command("/bin/sh");
        command.args(["-ec", "cp -a \"$1\"/. \"$2\"; rm -rf \"$1\"; ln -s \"$2\" \"$1\"", "move-wal"]);
        command.arg(self.data.join("pg_wal")).arg(disk);
        self.lab.run("move-wal", command, LONG)?;
        Ok(())
    }

    fn small_disk(&self) -> PathBuf {
        self.lab.path(format!("{}-wal", self.name))
    }

    /// Fills the file system of the write-ahead log to the last byte.
    pub fn fill_wal_disk(&self) -> io::Result<()> {
        fill(&self.small_disk().join("filler"))
    }

    /// Goes on to the next segment of the write-ahead log.
    pub fn switch_wal(&self) -> io::Result<()> {
        self.query("SELECT pg_logical_emit_message(false, 'lab', ''), pg_switch_wal()")?;
        Ok(())
    }

    fn configure(&self, options: &PgOptions) -> io::Result<()> {
        let mut text = fs::read_to_string(self.data.join("postgresql.conf"))?;
        // A base backup brings the primary's part along: the last word counts, but one part is easier to read.
        if let Some(at) = text.find(CONF_MARK) {
            text.truncate(at);
        }
        text.push_str(CONF_MARK);
        let _ = write!(
            text,
            "cluster_name = '{}'\nport = {}\nunix_socket_directories = '{}'\n",
            // A receiver without a name in its connection string takes this one.
            if self.anonymous { "" } else { &self.name },
            self.port,
            self.sockets.display()
        );
        let _ = writeln!(text, "listen_addresses = '{}'", self.host.address());
        text.push_str(CONF);
        let _ = writeln!(text, "{}", kept_wal(&self.data));
        let _ = writeln!(text, "fsync = {}", if options.fsync { "on" } else { "off" });
        if let Some(standby) = &options.synchronous {
            let _ = writeln!(text, "synchronous_standby_names = '{standby}'");
        }
        for setting in &options.settings {
            let _ = writeln!(text, "{setting}");
        }
        self.lab.write(self.data.join("postgresql.conf"), text, 0o600)?;
        Ok(())
    }

    fn create_roles(&self) -> io::Result<()> {
        let mut session = self.session()?;
        let secrets = &self.secrets;
        session.query(
            &format!(
                "SET synchronous_commit = local;
                 CREATE ROLE {REPLICATION_ROLE} LOGIN REPLICATION PASSWORD '{}';
                 CREATE ROLE {WRITER_ROLE} LOGIN;",
                secrets.replication
            ),
            LONG,
        )?;
        session.query(&format!("CREATE DATABASE {WRITER_DATABASE} OWNER {WRITER_ROLE}"), LONG)?;
        self.create_engine_role()
    }

    /// The engine's role: by the script that is shipped, so that what users are told to grant is what the tests run with.
    fn create_engine_role(&self) -> io::Result<()> {
        let shipped = super::root().join("contrib/rights.sql");
        if shipped.exists() {
            self.script(&fs::read_to_string(shipped)?)?;
        } else {
            self.script(RIGHTS)?;
        }
        let password = format!("ALTER ROLE {ENGINE_ROLE} LOGIN PASSWORD '{}'", self.secrets.engine);
        self.session()?.query(&format!("SET synchronous_commit = local; {password}"), LONG)?;
        Ok(())
    }

    /// Writes a file of the data directory as its owner would.
    pub(super) fn write_own(&self, path: &Path, text: &str) -> io::Result<()> {
        self.lab.write(path, text, 0o600).map(drop)
    }

    /// Adds a line to postgresql.conf and makes the server read it.
    pub fn set(&self, setting: &str) -> io::Result<()> {
        let path = self.data.join("postgresql.conf");
        let text = format!("{}{setting}\n", fs::read_to_string(&path)?);
        self.lab.write(path, text, 0o600)?;
        self.query("SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// Runs a script by psql as the superuser.
    pub fn script(&self, sql: &str) -> io::Result<String> {
        let file = self.lab.write(format!("{}-script.sql", self.name), sql, 0o600)?;
        let mut command = self.lab.command(bin_dir()?.join("psql"));
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]).arg(&self.sockets);
        // No shell start-up file has a say in it, and nothing waits for a standby that is not there yet.
        command.arg("-p").arg(self.port.to_string()).env("PGOPTIONS", "-c synchronous_commit=local").arg("-f").arg(file);
        self.lab.run("psql", command, LONG)
    }

    /// The major version of its programs.
    pub fn major(&self) -> io::Result<u32> {
        let text = std::fs::read_to_string(self.data.join("PG_VERSION"))?;
        text.trim().parse().map_err(io::Error::other)
    }

    /// One value, asked by the superuser in a session that heeds no setting of role, database or server, and fires no trigger.
    pub fn calm(&self, sql: &str) -> io::Result<String> {
        const OPTIONS: &str = "-c search_path=pg_catalog -c default_transaction_isolation=read\\ committed -c statement_timeout=0 \
            -c default_transaction_read_only=off -c client_min_messages=error -c exit_on_error=off \
            -c session_replication_role=origin -c client_encoding=UTF8 -c jit=off -c synchronous_commit=local \
            -c transform_null_equals=off -c lock_timeout=0 -c local_preload_libraries= -c session_preload_libraries=";
        let major = self.major()?;
        let mut options = OPTIONS.to_owned();
        for (first, option) in [
            (14, "idle_session_timeout=0"),
            (16, "debug_parallel_query=off"),
            (17, "transaction_timeout=0"),
            (17, "event_triggers=off"),
        ] {
            if major >= first {
                options.push_str(" -c ");
                options.push_str(option);
            }
        }
        if major < 16 {
            options.push_str(" -c force_parallel_mode=off");
        }
        let mut command = self.lab.command(bin_dir()?.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]);
        command.arg(&self.sockets).arg("-p").arg(self.port.to_string()).arg("-c").arg(sql).env("PGOPTIONS", options);
        Ok(self.lab.run("psql", command, LONG)?.trim().to_owned())
    }

    /// Starts the server and waits until it accepts connections.
    pub fn start(&self) -> io::Result<()> {
        self.launch()?;
        self.wait_accepting()
    }

    /// Starts the server and does not wait.
    pub fn launch(&self) -> io::Result<()> {
        let mut command = self.lab.command_on(&self.host, bin_dir()?.join("postgres"));
        command.arg("-D").arg(&self.data);
        let process = self.lab.spawn(&self.name, command)?;
        *self.postmaster_slot() = Some(process);
        Ok(())
    }

    fn postmaster_slot(&self) -> MutexGuard<'_, Option<Process>> {
        self.postmaster.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until the server accepts connections.
    pub fn wait_accepting(&self) -> io::Result<()> {
        wait_until(&format!("{} accepts connections", self.name), LONG, || {
            if self.postmaster_slot().as_ref().is_some_and(|process| !process.is_running()) && self.processes().is_empty() {
                return Err(io::Error::other(format!("{} ended at its start: {}", self.name, self.log_tail())));
            }
            Ok(self.session().ok().map(|_| ()))
        })
    }

    /// The end of the server's log, for error messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.lab.log_path(&self.name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join(" | ")
    }

    /// Waits until a standby of this name streams from here and has caught up.
    pub fn wait_streaming(&self, standby: &str) -> io::Result<()> {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{standby}' AND state = 'streaming'
             AND flush_lsn >= pg_current_wal_flush_lsn() AND ({} = '' OR sync_state IN ('sync', 'quorum'))",
            "current_setting('synchronous_standby_names')"
        );
        wait_until(&format!("{standby} streams from {}", self.name), LONG, || {
            Ok((self.session()?.value(&sql, LONG)? == "1").then_some(()))
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its TCP port, which names the UNIX socket too.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The folder of its UNIX socket.
    pub fn socket_dir(&self) -> &Path {
        &self.sockets
    }

    /// Its passwords.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Its TCP address.
    pub fn address(&self) -> Address {
        Address::Tcp(self.host.port(self.port))
    }

    /// A session of the superuser over the UNIX socket.
    pub fn session(&self) -> io::Result<Session> {
        self.session_in("postgres")
    }

    /// The same in another database.
    pub fn session_in(&self, database: &str) -> io::Result<Session> {
        let address = Address::Unix(self.sockets.clone(), self.port);
        Ok(Session::connect(&address, &Login::new("postgres", database), Duration::from_secs(5))?)
    }

    /// A session of any role over TCP.
    pub fn session_as(&self, login: &Login) -> io::Result<Session> {
        Ok(Session::connect(&self.address(), login, Duration::from_secs(5))?)
    }

    /// One statement of the superuser.
    pub fn query(&self, sql: &str) -> io::Result<Rows> {
        Ok(self.session()?.query(sql, Duration::from_secs(30))?)
    }

    /// One value, asked by the superuser.
    pub fn value(&self, sql: &str) -> io::Result<String> {
        Ok(self.session()?.value(sql, Duration::from_secs(30))?)
    }

    /// True when it answers as a writable server.
    pub fn is_primary(&self) -> io::Result<bool> {
        Ok(self.value("SELECT pg_is_in_recovery()")? == "f")
    }

    fn pg_ctl(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = self.lab.command_on(&self.host, bin_dir()?.join("pg_ctl"));
        command.arg("-D").arg(&self.data).args(arguments);
        self.lab.run("pg_ctl", command, LONG)
    }

    /// `pg_ctl stop`.
    pub fn stop(&self, mode: StopMode) -> io::Result<()> {
        self.pg_ctl(&["stop", "-w", "-m", mode.as_str()])?;
        *self.postmaster_slot() = None;
        Ok(())
    }

    /// `pg_ctl restart -m fast`, as an administrator would.
    pub fn restart(&self) -> io::Result<()> {
        let process = self.begin_restart()?;
        let status = wait_until("pg_ctl restart", LONG, || Ok(process.wait(Duration::from_millis(50))))?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("pg_ctl restart failed: {}", self.log_tail()))) }
    }

    /// The same, without waiting for its end.
    pub fn begin_restart(&self) -> io::Result<Process> {
        self.begin_restart_in(StopMode::Fast)
    }

    /// `pg_ctl restart` in any mode, without waiting for its end.
    pub fn begin_restart_in(&self, mode: StopMode) -> io::Result<Process> {
        let log = self.lab.log_path(&self.name);
        self.begin_pg_ctl(&["restart", "-w", "-m", mode.as_str(), "-l", &log.to_string_lossy()])
    }

    /// `pg_ctl stop`, without waiting for its end.
    pub fn begin_stop(&self, mode: StopMode) -> io::Result<Process> {
        self.begin_pg_ctl(&["stop", "-w", "-m", mode.as_str()])
    }

    /// `pg_ctl promote`, without waiting for its end.
    pub fn begin_promotion(&self) -> io::Result<Process> {
        self.begin_pg_ctl(&["promote", "-w"])
    }

    fn begin_pg_ctl(&self, arguments: &[&str]) -> io::Result<Process> {
        let mut command = self.lab.command_on(&self.host, bin_dir()?.join("pg_ctl"));
        command.arg("-D").arg(&self.data).args(arguments);
        self.lab.spawn("pg_ctl", command)
    }

    /// `pg_ctl promote`.
    pub fn promote(&self) -> io::Result<()> {
        self.pg_ctl(&["promote", "-w"])?;
        Ok(())
    }

    /// The postmaster's process id as its file has it.
    pub fn postmaster_pid(&self) -> io::Result<i32> {
        let path = self.data.join("postmaster.pid");
        let text = fs::read_to_string(&path).map_err(|error| context(&error, &path.display().to_string()))?;
        text.lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| io::Error::other("no process id in postmaster.pid"))
    }

    /// Every living process of the data directory.
    pub fn processes(&self) -> Vec<Seen> {
        working_in(&self.data)
    }

    /// SIGKILL of the postmaster alone.
    pub fn kill_postmaster(&self) -> io::Result<Instant> {
        let pid = self.postmaster_pid()?;
        let at = Instant::now();
        signal_all([pid], Signal::KILL);
        Ok(at)
    }

    /// SIGSTOP of everything; the ids of what was stopped. The postmaster first, so that it starts nothing new.
    pub fn freeze(&self) -> io::Result<Frozen> {
        let postmaster = self.postmaster_pid()?;
        let at = Instant::now();
        let mut pids = BTreeSet::from([postmaster]);
        signal_all([postmaster], Signal::STOP);
        // Again until nothing new turns up, because a backend may have been forked just before, and until all of them have stopped.
        for _ in 0..1000 {
            let seen = self.processes();
            let found: Vec<i32> = seen.iter().map(|seen| seen.pid).filter(|pid| !pids.contains(pid)).collect();
            if found.is_empty() && seen.iter().all(|seen| seen.state == 'T') {
                // One that was about to end when the signal came has ended: it is not frozen.
                let pids = seen.iter().map(|seen| seen.pid).collect();
                return Ok(Frozen { at, pids });
            }
            signal_all(found.iter().copied(), Signal::STOP);
            pids.extend(found);
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other(format!("{} does not stop: {:?}", self.name, self.processes())))
    }

    /// SIGCONT to what `freeze` stopped and still works in this data directory; how many that were.
    pub fn thaw(&self, frozen: &Frozen) -> usize {
        let alive: Vec<i32> = self.processes().iter().map(|seen| seen.pid).filter(|pid| frozen.pids.contains(pid)).collect();
        signal_all(alive.iter().copied(), Signal::CONT);
        alive.len()
    }

    /// SIGKILL of everything, until nothing is left.
    pub fn kill_all(&self) {
        for _ in 0..400 {
            let found = self.processes();
            if found.is_empty() {
                break;
            }
            signal_all(found.iter().map(|seen| seen.pid), Signal::KILL);
            std::thread::sleep(Duration::from_millis(5));
        }
        *self.postmaster_slot() = None;
    }
}

impl Drop for PgServer {
    fn drop(&mut self) {
        self.kill_all();
    }
}

/// What [`PgServer::freeze`] did.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// When the first signal was sent.
    pub at: Instant,
    /// The processes that were stopped.
    pub pids: BTreeSet<i32>,
}

fn initdb(lab: &Lab, data: &Path) -> io::Result<()> {
    let program = bin_dir()?.join("initdb");
    let mut help = lab.command(&program);
    help.arg("--help");
    // From PostgreSQL 18 on they are on by default; here every version begins alike.
    let checksums = lab.run("initdb --help", help, LONG)?.contains("--no-data-checksums").then_some("--no-data-checksums");
    let mut command = lab.command(program);
    command.args(checksums).arg("-D").arg(data).args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]);
    command.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
    lab.run("initdb", command, LONG)?;
    Ok(())
}

/// initdb takes a second, a copy of its result a tenth. The template's lab lives as long as the program; its watchdog removes it.
fn copy_template(lab: &Lab, data: &Path) -> io::Result<()> {
    static TEMPLATE: OnceLock<Mutex<Option<Lab>>> = OnceLock::new();
    let mut template = TEMPLATE.get_or_init(Mutex::default).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = if let Some(made) = template.as_ref() {
        made.path("template")
    } else {
        let fresh = Lab::new()?;
        initdb(&fresh, &fresh.path("template"))?;
        template.insert(fresh).path("template")
    };
    drop(template);
    let mut command = lab.command("cp");
    command.arg("-a").arg(source).arg(data);
    lab.run("cp", command, LONG)?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o700))
}

const CONF_MARK: &str = "\n# ---- this server ----\n";

const CONF: &str = "unix_socket_permissions = 0700
# Files, which go with the folder: a killed server leaves segments of shared memory behind.
dynamic_shared_memory_type = mmap
max_connections = 50
shared_buffers = 32MB
wal_level = replica
wal_log_hints = on
max_wal_size = 256MB
hot_standby = on
# Recommended beside an engine that asks standbys: a dead link shows itself in 2 s instead of 60 s.
wal_receiver_timeout = 2s
log_line_prefix = '%m [%p] %q%u@%d %a '
logging_collector = off
timezone = 'UTC'
log_timezone = 'UTC'
";

/// 64 MB of the log are kept, whatever the version calls that.
fn kept_wal(data: &Path) -> &'static str {
    let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
    if version.trim() == "12" { "wal_keep_segments = 4" } else { "wal_keep_size = 64MB" }
}

const HBA: &str = "# The superuser only through a UNIX socket in a folder that nobody else can enter.
local all         postgres                    trust
local replication postgres                    trust
# The writer of a throw-away database on loopback needs no password, so that measuring it measures the servers.
host  app         app          127.0.0.1/32   trust
host  replication replicator   127.0.0.1/32   scram-sha-256
host  all         all          127.0.0.1/32   scram-sha-256
";

/// What the engine needs, while the shipped script is not at hand.
const RIGHTS: &str = "CREATE ROLE failover LOGIN;
GRANT pg_monitor TO failover;
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO failover;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO failover;
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 150000 THEN
    EXECUTE 'GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names, primary_conninfo, primary_slot_name TO failover';
  END IF;
END $$;
";
