//! The gate of a switchover: the clients of a pooler wait, and none of their transactions runs.
//!
//! While it is closed a child of ours, [`keeper`](super::keeper), holds its deadline: whatever becomes of the engine, clients go on.

use std::time::{Duration, Instant};

use super::{Console, Fault, Pooler, Shown, interrupted, quoted};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::postgres::Session;
use failover_core::output::Failure;
use failover_core::time::Span;

/// What is asked of every pooler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// So long transactions may take to end.
    pub patience: Duration,
    /// Clients wait on where they have not ended.
    pub keep: bool,
    /// From then on clients go on also without an engine.
    pub hold: Duration,
}

/// Why clients do not wait.
pub(crate) enum Open {
    /// Nothing but that transactions run on.
    Running(String),
    /// Something else.
    Failed(Failure),
}

impl Pooler {
    /// Lets the clients of a server wait, and waits until none of their transactions runs.
    ///
    /// # Errors
    /// Why that is not so. Unless it is kept closed the clients go on then.
    pub(crate) fn close_gate(
        &self,
        server: &str,
        generation: u64,
        order: Order,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<String, Open> {
        self.remember_afresh(generation);
        let began = Instant::now();
        let closed = self.with_console(deadline, cancel, |console| {
            let shown = console.remembered()?;
            console.must_be_admin(&shown)?;
            if let Some(database) = console.session_pools()?.first().filter(|_| !order.keep) {
                let why = format!("pool_mode of {database} is session: its clients would have to disconnect first");
                return Err(console.fault(why, "pool_mode = transaction, or switchover.on_pause_timeout = \"cut\""));
            }
            console.guard()?;
            // Of a try before: it would let the clients go on.
            self.release();
            let keeper = self.keep(order.hold).map_err(|no| console.fault(no.why, no.remedy))?;
            *self.keeper.lock() = Some(keeper);
            console.close(server, Deadline::after(order.patience))
        });
        let failure = |fault: Fault| fault.into_failure(&self.name);
        match closed {
            Ok(open) if open.is_empty() => {
                Ok(format!("{} is paused after {}", self.databases.join(", "), Span::from(began.elapsed())))
            }
            Ok(open) => {
                let why = format!("transactions on {} still run after {}", open.join(", "), Span::from(order.patience));
                if order.keep {
                    return Err(Open::Running(why));
                }
                self.open_again(deadline, cancel).map_err(|fault| Open::Failed(failure(fault)))?;
                Err(Open::Running(format!("{why}; its clients go on")))
            }
            Err(fault) => Err(Open::Failed(failure(fault))),
        }
    }

    /// As it was before.
    fn open_again(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Fault> {
        let paused = self.before.lock().1.as_ref().is_some_and(|before| before.paused);
        self.with_console(deadline, cancel, |console| console.resume(paused))?;
        self.release();
        Ok(())
    }
}

impl Console<'_> {
    /// Pauses what points to a server. The databases whose transactions run on at the deadline.
    fn close(&mut self, server: &str, until: Deadline) -> Result<Vec<String>, Fault> {
        let place = self.place(server)?;
        let all = self.pooler.databases.clone();
        let shown = self.shown()?;
        let points = |shown: &Shown| !shown.paused && self.pooler.same_place(&shown.place, &place);
        let open: Vec<String> = all.into_iter().zip(&shown).filter(|(_, shown)| points(shown)).map(|(name, _)| name).collect();
        let mut running = Vec::new();
        self.touched = true;
        for database in open {
            if !self.pause_by(&database, until)? {
                running.push(database);
            }
        }
        Ok(running)
    }

    /// On a session of its own: the answer comes when no transaction runs any more. `false`: it did not come in time, and the pause holds.
    fn pause_by(&mut self, database: &str, until: Deadline) -> Result<bool, Fault> {
        let pooler = self.pooler;
        let deadline = until.at_most(self.deadline.remaining());
        let outcome = Session::connect(&pooler.console, &*pooler.addresses, self.deadline, self.cancel)
            .and_then(|mut session| session.query(&format!("PAUSE {}", quoted(database)), deadline, self.cancel));
        match outcome {
            Ok(_) => Ok(true),
            Err(error) if interrupted(&error) == Some(Interrupted::TimedOut) && !self.deadline.is_over() => Ok(false),
            Err(error) => Err(self.about(&error, "PAUSE")),
        }
    }

    /// Databases of ours whose sessions belong to one client until it disconnects.
    pub(super) fn session_pools(&mut self) -> Result<Vec<String>, Fault> {
        let general = self.run("SHOW CONFIG").ok().and_then(|rows| {
            let row = (0..rows.len()).find(|row| rows.get(*row, "key") == Some("pool_mode"))?;
            rows.get(row, "value").map(str::to_owned)
        });
        let rows = self.run("SHOW DATABASES")?;
        let pools = (0..rows.len()).filter_map(|row| {
            let own = rows.get(row, "pool_mode").filter(|mode| !mode.is_empty());
            let mode = own.map(str::to_owned).or_else(|| general.clone());
            let name = rows.get(row, "name")?;
            (mode.as_deref() == Some("session") && self.pooler.databases.iter().any(|own| own == name)).then(|| name.to_owned())
        });
        Ok(pools.collect())
    }
}
