//! The control socket as a file: where it is, who may use it, and whether somebody listens on it already.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};
use socket2::{Domain, SockAddr, Socket, Type};

use super::exit::{Code, Trouble};

/// Where a daemon listens if nobody says otherwise: that of the packages, and that of a configuration without a word about it.
const DEFAULTS: [&str; 2] = ["/run/failover/control.sock", "/var/lib/failover/control.sock"];

/// A listening control socket. Dropping it removes its file, if it is still the one that was made.
pub struct Listening {
    /// The socket.
    pub listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl Listening {
    /// Makes the socket, open to its owner only. A file that a dead daemon left behind is replaced; anything else is left alone.
    pub fn bind(path: &Path) -> Result<Listening, Trouble> {
        let shown = path.display();
        let failed = |what: String| Trouble::new(Code::Failed, what);
        guard_length(path)?;
        let folder = folder_of(path);
        make_folder(folder)?;
        guard_folder(folder, Some(rustix::process::geteuid().as_raw()))?;
        match UnixStream::connect(path) {
            Ok(_) => {
                return Err(failed(format!("another daemon listens on {shown}"))
                    .remedy("stop one of them: two on one service act against each other; only a daemon for other services gets a control_socket and a state_dir of its own"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
                if !is_socket {
                    return Err(failed(format!("{shown} is in the way of the control socket, and is no socket"))
                        .remedy("move it away, or give control_socket another path"));
                }
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    return Err(failed(format!("cannot tell whether a daemon listens on {shown}: {error}"))
                        .remedy("run as the user that owns it, or remove it if no daemon runs"));
                }
            }
        }
        // Made under another name and renamed: nobody meets it before its permissions are right, and one left behind is
        // replaced in one step.
        let draft = folder.join(format!(".{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        let listener = UnixListener::bind(&draft)
            .map_err(|error| failed(format!("cannot make a socket in {}: {error}", folder.display())))?;
        let placed = fs::set_permissions(&draft, Permissions::from_mode(0o600)).and_then(|()| fs::rename(&draft, path));
        if let Err(error) = placed {
            let _ = fs::remove_file(&draft);
            return Err(failed(format!("cannot make the control socket {shown}: {error}")));
        }
        let inode = fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).unwrap_or_default();
        Ok(Listening { listener, path: path.to_owned(), inode })
    }
}

impl Listening {
    /// Whether a daemon of this user could make the socket; nothing is made. One on which a daemon listens is usable.
    ///
    /// # Errors
    /// Why not, and whether that is certain: a folder that is not there may be made by whoever starts the daemon.
    pub fn probe(path: &Path) -> Result<(), (bool, Trouble)> {
        let shown = path.display();
        let failed = |what: String| Trouble::new(Code::Failed, what);
        guard_length(path).map_err(|trouble| (true, trouble))?;
        let folder = folder_of(path);
        if !folder.exists() {
            let there = folder.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
            return access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
                let what = format!("{} is not there, and cannot be made in {}: {error}", folder.display(), there.display());
                let remedy = "make it, owned by the user that runs the daemon (the systemd unit makes /run/failover), or set control_socket";
                (false, failed(what).remedy(remedy))
            });
        }
        // Root looks on behalf of whoever will run the daemon: that the folder is another user's says nothing.
        let own = rustix::process::geteuid().as_raw();
        guard_folder(folder, (own != 0).then_some(own)).map_err(|trouble| (true, trouble))?;
        if let Err(error) = access(folder, Access::WRITE_OK | Access::EXEC_OK) {
            let trouble = failed(format!("no socket can be made in {}: {error}", folder.display()));
            return Err((true, trouble.remedy("give it to the user that runs the daemon, or set control_socket")));
        }
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                let trouble = failed(format!("{shown} is in the way of the control socket, and is no socket"));
                Err((true, trouble.remedy("move it away, or give control_socket another path")))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let same = fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.inode);
        if same {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn guard_length(path: &Path) -> Result<(), Trouble> {
    if SockAddr::unix(path).is_err() {
        return Err(Trouble::new(Code::Failed, format!("the path of the control socket is too long: {}", path.display()))
            .remedy("give control_socket a path of at most 107 bytes"));
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Trouble> {
    let shown = folder.display();
    if !folder.exists() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| {
            Trouble::new(Code::Failed, format!("cannot make the folder of the control socket, {shown}: {error}"))
                .remedy("make it, owned by the user that runs the daemon, or give control_socket another path")
        })?;
    }
    Ok(())
}

/// The folder is there, and nobody but `user` can put a socket of his own in our place. `None`: but its owner.
fn guard_folder(folder: &Path, user: Option<u32>) -> Result<(), Trouble> {
    let shown = folder.display();
    let metadata = fs::metadata(folder).map_err(|error| {
        Trouble::new(Code::Failed, format!("cannot look at the folder of the control socket, {shown}: {error}"))
    })?;
    if !metadata.is_dir() {
        return Err(Trouble::new(Code::Failed, format!("the control socket cannot be in {shown}: it is no folder"))
            .remedy("give control_socket another path"));
    }
    let others_write = metadata.mode() & 0o022 != 0;
    let sticky = metadata.mode() & 0o1000 != 0;
    if others_write && !sticky {
        return Err(Trouble::new(Code::Failed, format!("others can write to {shown}, the folder of the control socket"))
            .remedy(format!("chmod go-w {shown}")));
    }
    if !sticky && user.is_some_and(|user| user != metadata.uid()) && metadata.uid() != 0 {
        return Err(Trouble::new(Code::Failed, format!("{shown}, the folder of the control socket, belongs to another user"))
            .remedy("give it to the user that runs the daemon, or give control_socket another path"));
    }
    Ok(())
}

/// The socket of the daemon that a command is meant for.
pub fn of(socket: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, Trouble> {
    match (socket, config) {
        (Some(socket), _) => Ok(socket.to_owned()),
        (None, Some(config)) => in_config(config),
        (None, None) => Ok(PathBuf::from(DEFAULTS.into_iter().find(|path| Path::new(path).exists()).unwrap_or(DEFAULTS[0]))),
    }
}

/// What a configuration says about its socket. Read on its own: a file that was edited into something invalid, or whose secrets
/// this user may not read, still leads to the daemon that runs with what it was.
fn in_config(path: &Path) -> Result<PathBuf, Trouble> {
    const LONGEST: u64 = 1 << 20;
    let shown = path.display();
    let unreadable = |what: String| {
        Trouble::new(Code::Config, format!("{shown}: {what}")).remedy("name the daemon's socket with --socket instead")
    };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    io::Read::read_to_string(&mut io::Read::take(file, LONGEST), &mut text).map_err(|error| unreadable(error.to_string()))?;
    let key = |name: &str| -> Result<Option<String>, Trouble> {
        if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            let tree: serde_json::Value = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
            Ok(tree.get(name).and_then(|value| value.as_str()).map(str::to_owned))
        } else {
            let tree: toml::Table = text.parse().map_err(|error: toml::de::Error| unreadable(error.message().to_owned()))?;
            Ok(tree.get(name).and_then(|value| value.as_str()).map(str::to_owned))
        }
    };
    if let Some(socket) = key("control_socket")? {
        return Ok(PathBuf::from(socket));
    }
    Ok(PathBuf::from(key("state_dir")?.unwrap_or_else(|| "/var/lib/failover".to_owned())).join("control.sock"))
}

/// Connects before `until`.
pub fn connect(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let address = SockAddr::unix(path)?;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        match socket.connect(&address) {
            Ok(()) => {
                socket.set_nonblocking(false)?;
                return Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)));
            }
            // The daemon's backlog is full for the moment.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listening = Listening::bind(&path).unwrap();
        assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
        let trouble = Listening::bind(&path).map(|_| ()).unwrap_err();
        assert!(trouble.what().contains("another daemon listens"), "{}", trouble.what());
        drop(listening);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_a_socket_without_a_listener_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listening::bind(&path).unwrap());
        fs::write(&path, "precious").unwrap();
        let trouble = Listening::bind(&path).map(|_| ()).unwrap_err();
        assert!(trouble.what().contains("is no socket"), "{}", trouble.what());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("open");
        fs::create_dir(&inside).unwrap();
        fs::set_permissions(&inside, Permissions::from_mode(0o777)).unwrap();
        let trouble = Listening::bind(&inside.join("control.sock")).map(|_| ()).unwrap_err();
        assert!(trouble.what().contains("others can write"), "{}", trouble.what());
    }

    #[test]
    fn a_socket_that_could_not_be_made_is_told_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        assert!(Listening::probe(&path).is_ok());
        assert!(Listening::probe(&folder.path().join("a/b/control.sock")).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is made");
        let listening = Listening::bind(&path).unwrap();
        assert!(Listening::probe(&path).is_ok(), "one that is in use is usable");
        drop(listening);
        fs::write(&path, "precious").unwrap();
        let (certain, trouble) = Listening::probe(&path).unwrap_err();
        assert!(certain && trouble.what().contains("is no socket"), "{}", trouble.what());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(Listening::probe(&path).unwrap_err().1.what().contains("others can write"));
    }

    #[test]
    fn too_long_a_path_has_a_remedy() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
        let trouble = Listening::bind(&path).map(|_| ()).unwrap_err();
        assert!(trouble.what().contains("too long"), "{}", trouble.what());
    }

    #[test]
    fn the_socket_of_a_configuration_is_found_whatever_else_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failover.conf");
        for (text, socket) in [
            ("version = 99\ncontrol_socket = \"/a/b\"\nnonsense = true\n", "/a/b"),
            ("state_dir = \"/c\"\n", "/c/control.sock"),
            ("", "/var/lib/failover/control.sock"),
            (r#"{ "control_socket": "/d" }"#, "/d"),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(of(None, Some(&path)).unwrap(), Path::new(socket), "{text}");
        }
        fs::write(&path, "= =").unwrap();
        assert!(of(None, Some(&path)).is_err());
        assert!(DEFAULTS.contains(&of(None, None).unwrap().to_str().unwrap()));
    }
}
