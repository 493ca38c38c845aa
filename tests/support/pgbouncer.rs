//! A real PgBouncer on a free port, with the lines of its databases in a file that it includes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::lab::{Lab, free_port, random_password, wait_until};
use super::process::Process;
use super::session::{Address, Login, Rows, Session, SqlError};

/// Who may do everything on the admin console.
pub const ADMIN: &str = "pooler";
/// Who may look at everything there and change nothing.
pub const STATS: &str = "watcher";

/// One running instance.
pub struct PgBouncer {
    name: String,
    port: u16,
    password: String,
    file: PathBuf,
    config: PathBuf,
    lab: Lab,
    process: Process,
}

impl PgBouncer {
    /// Starts one with these databases, all at the same port of the loopback. `logins` are users and their passwords.
    pub fn start(lab: &Lab, name: &str, databases: &[&str], server: u16, logins: &[(&str, &str)]) -> io::Result<PgBouncer> {
        let (port, password) = (free_port()?, random_password()?);
        // A folder of its own, which the server's user may write.
        let folder = lab.folder(name)?;
        let lines: Vec<String> =
            databases.iter().map(|database| format!("{database} = host=127.0.0.1 port={server} dbname={database}\n")).collect();
        let file = lab.write(folder.join("databases.ini"), format!("; by hand\n{}", lines.concat()), 0o640)?;
        let users: Vec<String> = [(ADMIN, password.as_str()), (STATS, &password)]
            .iter()
            .chain(logins)
            .map(|(user, password)| format!("\"{user}\" \"{password}\"\n"))
            .collect();
        let users = lab.write(folder.join("users"), users.concat(), 0o600)?;
        // The writer of the throw-away database needs no password here either.
        let hba = "host all app 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        let hba = lab.write(folder.join("hba"), hba, 0o600)?;
        let text = format!(
            "[databases]\n%include {}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\npidfile = {}\nauth_type = hba\nauth_hba_file = {}\n\
             auth_file = {}\nadmin_users = {ADMIN}\nstats_users = {STATS}\npool_mode = session\nserver_login_retry = 0.1\n\
             server_connect_timeout = 2\nignore_startup_parameters = extra_float_digits\n",
            file.display(),
            folder.join("pid").display(),
            hba.display(),
            users.display()
        );
        let config = lab.write(folder.join("pgbouncer.ini"), text, 0o600)?;
        let process = run(lab, name, &config)?;
        let pgbouncer = PgBouncer { name: name.to_owned(), port, password, file, config, lab: lab.clone(), process };
        pgbouncer.wait_answering()?;
        Ok(pgbouncer)
    }

    /// Ends it hard and starts it again.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.process = run(&self.lab, &self.name, &self.config)?;
        self.wait_answering()
    }

    fn wait_answering(&self) -> io::Result<()> {
        wait_until("PgBouncer answers on its console", Duration::from_secs(20), || {
            if let Some(status) = self.process.status() {
                let log = std::fs::read_to_string(self.lab.log_path(&self.name)).unwrap_or_default();
                return Err(io::Error::other(format!("PgBouncer ended ({status}): {}", log.trim())));
            }
            Ok(self.console("SHOW VERSION").ok())
        })
        .map(drop)
    }

    /// Another `pool_mode` for all of its databases.
    pub fn set_pool_mode(&self, mode: &str) -> io::Result<()> {
        let text = std::fs::read_to_string(&self.config)?.replace("pool_mode = session", &format!("pool_mode = {mode}"));
        self.lab.write(self.config.clone(), text, 0o600)?;
        self.console("RELOAD").map_err(|error| io::Error::other(error.to_string()))?;
        wait_until("the pool mode is in force", Duration::from_secs(20), || {
            let rows = self.console("SHOW CONFIG").map_err(|error| io::Error::other(error.to_string()))?;
            Ok(rows.iter().any(|row| row[0].as_deref() == Some("pool_mode") && row[1].as_deref() == Some(mode)).then_some(()))
        })
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10));
    }

    /// Where clients and the console's users connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The password of [`ADMIN`] and [`STATS`].
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The file with the lines of its databases.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file that it was started with.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A command on the admin console.
    pub fn console(&self, command: &str) -> Result<Rows, SqlError> {
        let login = Login { password: Some(self.password.clone()), ..Login::new(ADMIN, "pgbouncer") };
        Session::connect(&Address::loopback(self.port), &login, Duration::from_secs(5))?.query(command, Duration::from_secs(5))
    }

    /// Each database with its port and whether it is paused: `app 5432 0`.
    pub fn shown(&self) -> Result<Vec<String>, SqlError> {
        let cell = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let rows = self.console("SHOW DATABASES")?;
        let own = rows.iter().filter(|row| cell(row, 0) != "pgbouncer");
        // Behind name, host, port, …, max_connections, current_connections.
        Ok(own.map(|row| format!("{} {} {}", cell(row, 0), cell(row, 2), cell(row, 11))).collect())
    }
}

fn run(lab: &Lab, name: &str, config: &Path) -> io::Result<Process> {
    let mut command = lab.command("pgbouncer");
    command.arg(config).current_dir(lab.dir());
    lab.spawn(name, command)
}
