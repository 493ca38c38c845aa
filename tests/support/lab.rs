//! A temporary folder with everything that runs in it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::network::{self, Host};
use super::process::{Process, context, remove_segments, sweep};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every wait in the labs of this program, for its signal handling.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// True once [`interrupt`] was called.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Asks `ready` every few milliseconds until it says `Some`, an error, the time is over, or the program is interrupted.
pub fn wait_until<T>(what: &str, timeout: Duration, mut ready: impl FnMut() -> io::Result<Option<T>>) -> io::Result<T> {
    let until = Instant::now() + timeout;
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if interrupted() {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        if Instant::now() >= until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what}: not within {timeout:?}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A temporary folder, an unprivileged user, and the processes started in it. Dropping it ends them all and removes the folder;
/// a watchdog does the same when the program itself is killed. Clones share one lab.
#[derive(Clone)]
pub struct Lab(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    user: User,
    watchdog: Arc<Watchdog>,
}

/// Who the servers run as.
#[derive(Clone, Debug)]
pub struct User {
    /// The login name.
    pub name: String,
    uid: u32,
    gid: u32,
    /// We are root and have to become this user.
    change: bool,
}

impl Lab {
    /// An empty folder below the system's temporary folder.
    pub fn new() -> io::Result<Lab> {
        let user = User::choose()?;
        // Short: the paths of UNIX sockets in it must stay below 108 bytes.
        let dir = tempfile::Builder::new().prefix("failover-lab-").tempdir()?.keep();
        let dir = dir.canonicalize()?;
        user.own(&dir)?;
        fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
        let watchdog = Arc::new(Watchdog::start(&dir)?);
        let lab = Lab(Arc::new(Inner { dir, user, watchdog }));
        lab.folder("log")?;
        Ok(lab)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// A path in the folder.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.dir.join(relative)
    }

    /// Who the servers run as.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Makes a folder, owned by the user and closed to all others.
    pub fn folder(&self, relative: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = self.path(relative);
        fs::create_dir_all(&path).map_err(|error| context(&error, &format!("cannot create {}", path.display())))?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        self.0.user.own(&path)?;
        Ok(path)
    }

    /// Writes a file, owned by the user, with exactly this mode.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> io::Result<PathBuf> {
        let path = self.path(relative);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
        file.write_all(content.as_ref())?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        self.0.user.own(&path)?;
        Ok(path)
    }

    /// Copies a file from anywhere into the folder: the user may not be able to read it where it is.
    pub fn copy_in(&self, from: &Path, relative: impl AsRef<Path>, mode: u32) -> io::Result<PathBuf> {
        let path = self.path(relative);
        // By another program: a child that is started meanwhile would hold our copy open for writing, and nobody could run it.
        let output = Command::new("cp").arg(from).arg(&path).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "cannot copy {}: {}",
                from.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        self.0.user.own(&path)?;
        Ok(path)
    }

    /// A log file below `log/`.
    pub fn log(&self, name: &str) -> io::Result<File> {
        let path = self.log_path(name);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        self.0.user.own(&path)?;
        Ok(file)
    }

    /// Where a log file is.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.path("log").join(format!("{name}.log"))
    }

    /// A file system of its own in an empty folder, of so many MiB. Needs root.
    pub fn mount(&self, relative: impl AsRef<Path>, size: u32) -> io::Result<PathBuf> {
        let path = self.folder(relative)?;
        let user = &self.0.user;
        let options = format!("size={size}m,mode=0700,uid={},gid={}", user.uid, user.gid);
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "failover-lab"]).arg(&path).output()?;
        if output.status.success() {
            return Ok(path);
        }
        Err(io::Error::other(format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim())))
    }

    /// A command that will run as the user, in the folder, with a small environment and no input.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.command_on(&Host::local(), program)
    }

    /// The same on a host.
    pub fn command_on(&self, host: &Host, program: impl AsRef<Path>) -> Command {
        let user = &self.0.user;
        let program = program.as_ref();
        let mut command = if user.change {
            let mut command = if let Some(namespace) = host.namespace() {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).args(["--", "setpriv"]);
                command
            } else {
                Command::new("setpriv")
            };
            command
                .arg(format!("--reuid={}", user.uid))
                .arg(format!("--regid={}", user.gid))
                .arg("--clear-groups")
                .arg("--")
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", &self.0.dir)
            .env("USER", &user.name)
            .env("LOGNAME", &user.name)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .current_dir(&self.0.dir)
            .stdin(Stdio::null());
        command
    }

    /// Starts a command that stays; its output goes to `log/NAME.log`.
    pub fn spawn(&self, name: &str, mut command: Command) -> io::Result<Process> {
        let log = self.log(name)?;
        command.stdout(log.try_clone()?).stderr(log);
        Process::spawn(name, &mut command, &self.0.watchdog)
    }

    /// The watchdog, for processes with pipes.
    pub fn watchdog(&self) -> &Arc<Watchdog> {
        &self.0.watchdog
    }

    /// Runs a command to its end and returns what it printed (both streams together). An exit code other than zero is an error.
    pub fn run(&self, name: &str, mut command: Command, timeout: Duration) -> io::Result<String> {
        // To a file, not a pipe: a daemon started by the command may keep its output open.
        let output = tempfile::tempfile()?;
        command.stdout(output.try_clone()?).stderr(output.try_clone()?);
        let process = Process::spawn(name, &mut command, &self.0.watchdog)?;
        let status = wait_until(name, timeout, || Ok(process.wait(Duration::from_millis(50))))?;
        let mut text = String::new();
        let mut output = output;
        io::Seek::rewind(&mut output)?;
        io::Read::read_to_string(&mut io::Read::take(&mut output, 1 << 20), &mut text)?;
        if status.success() { Ok(text) } else { Err(io::Error::other(format!("{name} failed ({status}): {}", text.trim()))) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        sweep(Some(&self.dir), &self.watchdog.groups());
        remove_segments(&self.dir);
        network::remove(&self.dir);
        unmount(&self.dir);
        let _ = fs::remove_dir_all(&self.dir);
        self.watchdog.dismiss();
    }
}

/// Writes a file until its file system has no byte left.
pub fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    for block in [vec![0; 1 << 20], vec![0; 1 << 12], vec![0; 1]] {
        while file.write_all(&block).is_ok() {}
    }
    Ok(())
}

/// Unmounts everything below a folder.
fn unmount(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new).filter(|place| place.starts_with(dir)) {
        let _ = Command::new("umount").arg(place).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Why no file system can be mounted on this machine.
pub fn mounting_impossible() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting a small file system needs root".to_owned());
    }
    let trial = Lab::new().and_then(|lab| lab.mount("trial", 1));
    trial.err().map(|error| format!("no small file system here: {error}"))
}

impl User {
    /// Ourselves; as root an account that may own a database and has a shell, because sshd runs commands through it.
    fn choose() -> io::Result<User> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let passwd = fs::read_to_string("/etc/passwd")?;
        let accounts: Vec<(&str, u32, u32, &str)> = passwd
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                Some((*fields.first()?, fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?, *fields.get(6)?))
            })
            .collect();
        if uid != 0 {
            let name =
                accounts.iter().find(|account| account.1 == uid).map_or_else(|| uid.to_string(), |account| account.0.to_owned());
            return Ok(User { name, uid, gid, change: false });
        }
        let has_shell = |account: &&(&str, u32, u32, &str)| {
            account.1 != 0 && !account.3.ends_with("nologin") && !account.3.ends_with("false") && Path::new(account.3).exists()
        };
        accounts
            .iter()
            .filter(has_shell)
            .find(|account| account.0 == "postgres")
            .or_else(|| accounts.iter().filter(has_shell).find(|account| account.1 >= 1000))
            .or_else(|| accounts.iter().find(|account| account.0 == "nobody"))
            .map(|account| User { name: account.0.to_owned(), uid: account.1, gid: account.2, change: true })
            .ok_or_else(|| io::Error::other("no unprivileged account on this machine to run servers as"))
    }

    /// Gives a path to the user.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if self.change { chown(path, Some(self.uid), Some(self.gid)) } else { Ok(()) }
    }
}

/// A shell that outlives us by moments: when our end of its input closes without a farewell, it kills what we left behind.
pub struct Watchdog {
    input: Mutex<Option<ChildStdin>>,
    groups: Mutex<BTreeSet<i32>>,
    child: Mutex<Option<std::process::Child>>,
}

const WATCHDOG: &str = include_str!("watchdog.sh");

impl Watchdog {
    fn start(dir: &Path) -> io::Result<Watchdog> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, "failover-watchdog"])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let input = child.stdin.take();
        Ok(Watchdog { input: Mutex::new(input), groups: Mutex::default(), child: Mutex::new(Some(child)) })
    }

    fn tell(&self, line: &str) {
        let mut input = self.input.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(input) = input.as_mut() {
            let _ = input.write_all(line.as_bytes());
        }
    }

    /// A process group runs.
    pub fn add(&self, group: i32) {
        self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(group);
        self.tell(&format!("+{group}\n"));
    }

    /// The leader of a process group was reaped.
    pub fn remove(&self, group: i32) {
        self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&group);
        self.tell(&format!("-{group}\n"));
    }

    /// The process groups that run.
    pub fn groups(&self) -> BTreeSet<i32> {
        self.groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn dismiss(&self) {
        self.tell("done\n");
        *self.input.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        if let Some(mut child) = self.child.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            let _ = child.wait();
        }
    }
}

/// A loopback port that nothing listens on. Below the ephemeral range, so that no outgoing connection takes it before its server
/// does; each is handed out once per program, starting at a place that differs between programs.
pub fn free_port() -> io::Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(u16::MAX);
    let seed = std::process::id().wrapping_mul(2_654_435_761) % u32::from(COUNT);
    let seed = u16::try_from(seed).unwrap_or(0);
    let _ = NEXT.compare_exchange(u16::MAX, seed, Ordering::SeqCst, Ordering::SeqCst);
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::SeqCst) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::other("no free loopback port"))
}

/// A password for one lab.
pub fn random_password() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
