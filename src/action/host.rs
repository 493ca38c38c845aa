//! Everything that is done on the host of a database server: its word, the fence and its proof, `pg_ctl promote`.

use std::sync::Arc;

use crate::core::output::Failure;
use crate::core::sample::{FenceLevel, FenceReport, HostWord, ReadinessFinding};
use crate::engine::clock::Clock;
use crate::wire::deadline::{Cancel, Deadline};
use crate::wire::ssh::SshHost;

/// Where a server lives on its host, and how commands may be run there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostParams {
    /// The data directory, absolute.
    pub data_dir: String,
    /// Where `pg_ctl` and `pg_isready` are; found by itself where absent.
    pub bin_dir: Option<String>,
    /// The server's port.
    pub port: u16,
    /// The directory of the server's socket; read from `postmaster.pid` where absent.
    pub socket_dir: Option<String>,
    /// The key has a forced command: send only the verb and its arguments.
    pub wrapper: bool,
    /// What is put before every command, for example `sudo -n -u postgres`.
    pub sudo: Vec<String>,
}

/// Acts on one host.
pub struct HostControl {
    ssh: Arc<SshHost>,
    params: HostParams,
    clock: Clock,
}

impl HostControl {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(ssh: Arc<SshHost>, params: HostParams, clock: Clock) -> HostControl {
        HostControl { ssh, params, clock }
    }

    /// What the host says about the server's processes.
    ///
    /// # Errors
    /// When the host could not be asked, or answered nonsense.
    pub fn word(&self, ask_local: bool, deadline: Deadline, cancel: &Cancel) -> Result<HostWord, Failure> {
        let _ = (&self.ssh, &self.params, &self.clock, ask_local, deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }

    /// The ladder of rule 87.
    ///
    /// # Errors
    /// When the ladder was not climbed, or it is not known how far.
    pub fn fence(
        &self,
        require: FenceLevel,
        hung: bool,
        view_confirmed: bool,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<FenceReport, Failure> {
        let _ = (require, hung, view_confirmed, deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }

    /// The proof alone, changing nothing.
    ///
    /// # Errors
    /// When the host could not be asked, or answered nonsense.
    pub fn prove(&self, view_confirmed: bool, deadline: Deadline, cancel: &Cancel) -> Result<FenceReport, Failure> {
        let _ = (view_confirmed, deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }

    /// The compensation of [`HostControl::fence`].
    ///
    /// # Errors
    /// When it was not undone, or it is not known.
    pub fn undo(&self, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let _ = (deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }

    /// `pg_ctl promote`: success means "signalled".
    ///
    /// # Errors
    /// When `pg_ctl` refused, or it is not known.
    pub fn promote(&self, deadline: Deadline, cancel: &Cancel) -> Result<String, Failure> {
        let _ = (deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }

    /// The host's word and everything that would hurt at failover time.
    ///
    /// # Errors
    /// When the host could not be asked, or answered nonsense.
    pub fn readiness(&self, deadline: Deadline, cancel: &Cancel) -> Result<(HostWord, Vec<ReadinessFinding>), Failure> {
        let _ = (deadline, cancel);
        Err(Failure::no_effect("not built", ""))
    }
}
