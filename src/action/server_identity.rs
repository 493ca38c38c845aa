//! Whether the server that a host shows is the one that answers over SQL.

/// What tells one running server from every other. Each part is `None` where it could not be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerIdentity {
    /// Of the cluster: the same on a primary and its standbys.
    pub system_id: Option<u64>,
    /// Two servers of one host differ in it.
    pub port: Option<u16>,
    /// The number of its checkpointer's process.
    pub checkpointer: Option<u32>,
}

impl ServerIdentity {
    /// Why what a host shows is not the server that says this about itself over SQL. Nothing is concluded from what one side does
    /// not know.
    #[must_use]
    pub(crate) fn differs(&self, host: &ServerIdentity) -> Option<String> {
        fn unequal<T: PartialEq + std::fmt::Display>(what: &str, sql: Option<T>, host: Option<T>) -> Option<String> {
            let (sql, host) = (sql?, host?);
            (sql != host).then(|| format!("{what} is {host} there, and {sql} by what the server itself says"))
        }
        unequal("the system identifier", self.system_id, host.system_id)
            .or_else(|| unequal("the port", self.port, host.port))
            .or_else(|| unequal("the checkpointer's process", self.checkpointer, host.checkpointer))
    }
}
