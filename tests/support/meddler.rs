//! Between the engine and a load balancer's admin socket: relays every command, but for one step of a failover, which it answers as a
//! real one cannot be made to.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which step is answered wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The failed server is taken out.
    RouteOut,
    /// The standby gets the traffic.
    RouteIn,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The connection ends without an answer.
    Refused,
    /// No answer comes.
    Hanging,
    /// The answer is nonsense.
    Garbage,
    /// The rights are missing.
    Denied,
}

/// A running one.
pub struct Meddler {
    path: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Meddler {
    /// Listens at `path` for what belongs to the admin socket `real`. Without a fault it only relays.
    pub fn start(path: &Path, real: &Path, fault: Option<(Step, Wrong)>) -> io::Result<Meddler> {
        let listener = UnixListener::bind(path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (end, real) = (Arc::clone(&stop), real.to_owned());
        std::thread::Builder::new().name("meddler".to_owned()).spawn(move || {
            for client in listener.incoming().flatten() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let real = real.clone();
                let _ = std::thread::Builder::new().name("meddler-client".to_owned()).spawn(move || {
                    let _ = serve(client, &real, fault);
                });
            }
        })?;
        Ok(Meddler { path: path.to_owned(), stop })
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.path);
    }
}

/// The step that these commands belong to.
fn step_of(commands: &str) -> Option<Step> {
    if commands.contains("/app2 state ready") {
        Some(Step::RouteIn)
    } else if commands.contains("/app1 state maint") {
        Some(Step::RouteOut)
    } else {
        None
    }
}

fn serve(mut client: UnixStream, real: &Path, fault: Option<(Step, Wrong)>) -> io::Result<()> {
    let mut commands = Vec::new();
    let mut buffer = [0; 4096];
    // One line with all commands, as the engine sends them.
    while !commands.contains(&b'\n') {
        let count = match client.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Ok(());
        }
        commands.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8_lossy(&commands);
    if let Some((_, wrong)) = fault.filter(|(step, _)| step_of(&text) == Some(*step)) {
        return match wrong {
            Wrong::Refused => client.shutdown(Shutdown::Both),
            Wrong::Hanging => client.read_to_end(&mut Vec::new()).map(drop),
            Wrong::Garbage => client.write_all(b"\x7f\x00# nonsense,,\n1,2\n\n"),
            Wrong::Denied => {
                let each = text.matches(';').count() + 1;
                client.write_all("Permission denied\n\n".repeat(each).as_bytes())
            }
        };
    }
    let mut server = UnixStream::connect(real)?;
    server.write_all(&commands)?;
    let mut back = (server.try_clone()?, client.try_clone()?);
    let answers = std::thread::spawn(move || {
        let _ = io::copy(&mut back.0, &mut back.1);
        let _ = back.1.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}
