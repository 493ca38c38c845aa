//! The managed route of a service: every HAProxy in front of it, moved together and each proven by reading back.
//!
//! A command that HAProxy accepted is an intention. Only what `show stat` and `show servers state` say afterwards counts, so a
//! HAProxy that was reloaded in between, and forgot, is noticed and told again. All instances are addressed at the same time:
//! one that hangs costs its own answer, not the others'.
//!
//! A reload leaves the old worker of that HAProxy alive until its sessions end; its admin socket is gone, so those sessions
//! cannot be ended from here. `hard-stop-after` bounds them, and the fence does not rely on them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::memory::{RouteBefore, ServerBefore};
use crate::deadline::{Cancel, Deadline, Interrupted};
use crate::wire::haproxy::{AdminState, Client, Command, Endpoint, Error, Hold, Operation, StatRow, StateRow};
use crate::wire::resolve::Addresses;
use failover_core::output::Failure;
use failover_core::route::{FixedWeight, Held, InstanceKind, InstanceTrouble, InstanceView, RouteState, ServerView, Unnamed};
use failover_core::sample::RouteInstance;

mod lines;

use lines::Line;

/// Between two looks at whether the state is the one asked for: doubled from the first to the last.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(16);
/// Tries on a HAProxy that looks like one in the middle of a reload, and the pause between them.
const TRIES: u32 = 3;
const RELOAD_PAUSE: Duration = Duration::from_millis(25);
/// With less time than this nothing is tried again.
const HURRY: Duration = Duration::from_millis(250);
/// Once the traffic is moved, how long the other servers' last sessions may take to end before that is only noted.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

/// One HAProxy of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HaproxyTarget {
    /// Its name in the configuration.
    pub name: String,
    /// Its admin socket.
    pub endpoint: Endpoint,
    /// The backend that holds the service's servers.
    pub backend: String,
    /// HAProxy's name of each server, by ours.
    pub servers: BTreeMap<String, String>,
    /// The weight a server gets when traffic is sent to it, 1 to 256. `None`, and 0, with which it would take nothing: the one it has.
    pub weight: Option<u32>,
    /// The weight grows from a part of it to all of it (`weight_ramp`).
    pub ramped: bool,
    /// Host and port of each server, by our name.
    pub places: BTreeMap<String, (String, u16)>,
}

/// Balances that take no weight but 0 and that of HAProxy's file; those by a hash do where that is a consistent one.
const STATIC_BALANCES: [&str; 7] = ["static-rr", "source", "uri", "url_param", "hdr", "rdp-cookie", "hash"];

/// The route of one service. Thread-safe; every operation may be repeated.
pub(crate) struct Route {
    targets: Vec<HaproxyTarget>,
    addresses: Arc<dyn Addresses>,
    /// What a server was before `take_out`, by instance and our name of the server.
    before: Mutex<BTreeMap<(usize, String), Before>>,
    /// The failover that `before` belongs to.
    generation: AtomicU64,
    /// `before` is an earlier engine's: what is there now is half done, and is not what was before.
    recalled: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    admin: AdminState,
    weight: u32,
    /// It was put back since: the next `take_out` looks anew.
    restored: bool,
}

/// One server as one HAProxy shows it.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerSeen {
    /// Our name of it.
    pub server: String,
    /// The administrative state.
    pub admin: AdminState,
    /// The status as `show stat` words it.
    pub status: String,
    /// Takes new sessions.
    pub up: bool,
    /// Sessions it has now.
    pub sessions: u64,
    /// The weight in force, 0 to 256.
    pub weight: u32,
}

/// One instance as the survey saw it.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstanceSeen {
    /// Its name in the configuration.
    pub name: String,
    /// Its servers, in the order of our names, or why they could not be seen or could not be changed.
    pub servers: Result<Vec<ServerSeen>, Error>,
}

/// One operation on one instance.
struct Job<'a> {
    index: usize,
    target: &'a HaproxyTarget,
    /// All of the route.
    targets: &'a [HaproxyTarget],
    client: Client<'a>,
    /// Something may have been changed there.
    touched: Cell<bool>,
    /// The state that was read back last and was not the one asked for.
    seen: Cell<Option<Seen>>,
}

/// What was read back, and what mends it where that is known.
struct Seen {
    text: String,
    remedy: String,
}

/// Why an operation failed on one instance, and whether it may have changed something before.
struct Fault {
    error: Error,
    touched: bool,
}

impl Route {
    /// A route over these instances; none is asked yet.
    #[must_use]
    pub(crate) fn new(targets: Vec<HaproxyTarget>, addresses: Arc<dyn Addresses>) -> Route {
        Route {
            targets,
            addresses,
            before: Mutex::new(BTreeMap::new()),
            generation: AtomicU64::new(0),
            recalled: AtomicBool::new(false),
        }
    }

    /// How many instances it has.
    #[must_use]
    pub(crate) fn instances(&self) -> usize {
        self.targets.len()
    }

    /// Takes a server out of every instance and ends its sessions there; proven by `show stat`: `MAINT` and no session left.
    /// Remembers what it was for [`restore`](Route::restore).
    ///
    /// # Errors
    /// When no instance did it. If at least one did, each instance's own outcome is in the answer.
    pub(crate) fn take_out(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Result<Vec<RouteInstance>, Failure> {
        self.everywhere("taken out", deadline, cancel, |job| self.take_out_of(job, server))
    }

    /// Puts a server back to what it was when [`take_out`](Route::take_out) found it: state and weight, read back. A server that
    /// was never taken out by this engine is made ready.
    ///
    /// # Errors
    /// When no instance did it.
    pub(crate) fn restore(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Result<Vec<RouteInstance>, Failure> {
        self.everywhere("restored", deadline, cancel, |job| self.restore_on(job, server))
    }

    /// Puts every server that was changed since the traffic last moved for good back to what it was: state and weight, read back. Where
    /// nothing is remembered, `server` gets the traffic and the others go to maintenance.
    ///
    /// # Errors
    /// When no instance did it.
    pub(crate) fn roll_back(&self, server: &str, deadline: Deadline, cancel: &Cancel) -> Result<Vec<RouteInstance>, Failure> {
        self.everywhere("rolled back", deadline, cancel, |job| {
            let changed: Vec<String> = {
                let before = self.before.lock();
                let here = before.iter().filter(|((index, _), before)| *index == job.index && !before.restored);
                here.map(|((_, name), _)| name.clone()).collect()
            };
            if changed.is_empty() {
                return self.bring_in_on(job, server, None);
            }
            // Whoever is to get the traffic comes last: until then the others have it.
            let (last, first): (Vec<&String>, Vec<&String>) = changed.iter().partition(|name| *name == server);
            let said: Result<Vec<String>, Error> = first.into_iter().chain(last).map(|name| self.restore_on(job, name)).collect();
            Ok(said?.join(", "))
        })
    }

    /// What every server is now, on every instance that answers at once, kept as what it was before where nothing is kept yet; and
    /// whether all answered. Changes nothing.
    pub(crate) fn note(&self, deadline: Deadline, cancel: &Cancel) -> (RouteBefore, bool) {
        let look = |job: &Job<'_>| {
            let show = Command::ShowServersState(job.target.backend.as_str());
            let known = job.client.servers_state(&show, &job.run(std::slice::from_ref(&show))?[0])?;
            for (ours, theirs) in &job.target.servers {
                if let Some(row) = known.iter().find(|row| row.server == *theirs) {
                    self.remember(job.index, ours, row);
                }
            }
            Ok(())
        };
        let whole = self.parallel_once(deadline, cancel, look).iter().all(Result::is_ok);
        let mut noted = RouteBefore::new();
        for ((index, server), before) in self.before.lock().iter() {
            let Some(target) = self.targets.get(*index) else { continue };
            let server_before = ServerBefore { state: before.admin.as_str().to_owned(), weight: before.weight };
            noted.entry(target.name.clone()).or_default().insert(server.clone(), server_before);
        }
        (noted, whole)
    }

    /// What an earlier engine noted.
    pub(crate) fn recall(&self, noted: &RouteBefore) {
        let mut before = self.before.lock();
        self.recalled.store(true, Ordering::Relaxed);
        for (index, target) in self.targets.iter().enumerate() {
            for (server, was) in noted.get(&target.name).into_iter().flatten() {
                let states = [AdminState::Ready, AdminState::Drain, AdminState::Maint];
                if let Some(admin) = states.into_iter().find(|state| state.as_str() == was.state) {
                    before.insert((index, server.clone()), Before { admin, weight: was.weight, restored: false });
                }
            }
        }
    }

    /// What servers were before an earlier failover is of the past: this one looks anew.
    pub(crate) fn begin(&self, generation: u64) {
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            self.before.lock().clear();
            self.recalled.store(false, Ordering::Relaxed);
        }
    }

    /// Sends the traffic to a server on every instance: the other servers of the route to maintenance and their sessions ended,
    /// then this one ready, with weight, and up even where HAProxy's own last check says otherwise; all read back. `share`: the
    /// weight it gets, in percent of its full one, which then is the configured one or that of HAProxy's file.
    ///
    /// # Errors
    /// When no instance did it.
    pub(crate) fn bring_in(
        &self,
        server: &str,
        share: Option<u8>,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Vec<RouteInstance>, Failure> {
        self.everywhere("brought in", deadline, cancel, |job| self.bring_in_on(job, server, share))
    }

    /// Gives a server that has the traffic this share of its full weight, in percent, on every instance; read back.
    ///
    /// # Errors
    /// When no instance did it.
    pub(crate) fn weigh(
        &self,
        server: &str,
        share: u8,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Vec<RouteInstance>, Failure> {
        self.everywhere("weighted", deadline, cancel, |job| weigh_on(job, server, share))
    }

    /// Looks at every instance and changes nothing: reachable, level admin, backend and servers there, and their state.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn survey(&self, deadline: Deadline, cancel: &Cancel) -> Vec<RouteInstance> {
        let seen = self.look(deadline, cancel);
        seen.into_iter().map(|instance| RouteInstance { name: instance.name, result: describe(instance.servers) }).collect()
    }

    /// Who gets new sessions from each instance, for [`findings`](failover_core::route::findings). Changes nothing.
    #[must_use]
    pub(crate) fn view(&self, deadline: Deadline, cancel: &Cancel) -> Vec<InstanceView> {
        let views = self.parallel(deadline, cancel, view_of).into_iter().zip(&self.targets).map(|(seen, target)| {
            let seen = seen.map(|(mut lines, unnamed)| {
                lines::mark_misled(target, &mut lines, &*self.addresses);
                (lines.into_iter().map(|line| line.view).collect(), unnamed)
            });
            let trouble = |fault: Fault| InstanceTrouble {
                no_backend: matches!(fault.error, Error::Refused { .. }),
                message: fault.error.to_string(),
                remedy: fault.error.remedy().to_owned(),
            };
            let (servers, unnamed) = match seen {
                Ok((servers, unnamed)) => (Ok(servers), unnamed),
                Err(fault) => (Err(trouble(fault)), Vec::new()),
            };
            let (name, backend) = (target.name.clone(), target.backend.clone());
            InstanceView { name, backend, servers, kind: InstanceKind::Haproxy, gate: Vec::new(), unnamed }
        });
        views.collect()
    }

    /// What went wrong with each server since each HAProxy was started, as [`StatRow::errors`]: by instance, in their order, and our
    /// name of the server. An instance that does not answer at once has none. Changes nothing.
    #[must_use]
    pub(crate) fn errors(&self, deadline: Deadline, cancel: &Cancel) -> Vec<BTreeMap<String, u64>> {
        let ask = |job: &Job<'_>| {
            let replies = job.replies(&[Command::ShowStat(Some(&job.target.backend))])?;
            let counted =
                |(server, name): (&String, &String)| Some((server.clone(), job.stat_row(name, &replies[0]).ok()?.errors));
            Ok(job.target.servers.iter().filter_map(counted).collect())
        };
        self.parallel_once(deadline, cancel, ask).into_iter().map(Result::unwrap_or_default).collect()
    }

    /// As [`survey`](Route::survey), typed.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn look(&self, deadline: Deadline, cancel: &Cancel) -> Vec<InstanceSeen> {
        let seen = self.parallel(deadline, cancel, look_at).into_iter().map(|seen| seen.map_err(|fault| fault.error));
        self.targets.iter().zip(seen).map(|(target, servers)| InstanceSeen { name: target.name.clone(), servers }).collect()
    }

    /// Runs a job on every instance at the same time; the answers are in the order of the instances.
    fn parallel<T: Send>(
        &self,
        deadline: Deadline,
        cancel: &Cancel,
        work: impl Fn(&Job<'_>) -> Result<T, Error> + Sync,
    ) -> Vec<Result<T, Fault>> {
        self.parallel_once(deadline, cancel, |job| again(job, || work(job)))
    }

    /// The same without a second try.
    fn parallel_once<T: Send>(
        &self,
        deadline: Deadline,
        cancel: &Cancel,
        work: impl Fn(&Job<'_>) -> Result<T, Error> + Sync,
    ) -> Vec<Result<T, Fault>> {
        let run = |index: usize, target: &HaproxyTarget| {
            let client = Client { endpoint: &target.endpoint, addresses: &*self.addresses, deadline, cancel };
            let job = Job { index, target, targets: &self.targets, client, touched: Cell::new(false), seen: Cell::new(None) };
            work(&job).map_err(|error| job.fault(error))
        };
        if let [target] = self.targets.as_slice() {
            return vec![run(0, target)];
        }
        std::thread::scope(|scope| {
            let run = &run;
            let started: Vec<_> = self
                .targets
                .iter()
                .enumerate()
                .map(|(index, target)| {
                    let name = format!("fo-route-{index}");
                    std::thread::Builder::new().name(name).spawn_scoped(scope, move || run(index, target)).map_err(|_| index)
                })
                .collect();
            started
                .into_iter()
                .zip(&self.targets)
                .map(|(thread, target)| match thread {
                    Ok(thread) => thread.join().unwrap_or_else(|_| {
                        let how = "an internal error (panic)".to_owned();
                        Err(Fault { error: Error::Broken { endpoint: target.endpoint.to_string(), how }, touched: true })
                    }),
                    // No thread to be had: later is better than never.
                    Err(index) => run(index, target),
                })
                .collect()
        })
    }

    fn everywhere(
        &self,
        done: &str,
        deadline: Deadline,
        cancel: &Cancel,
        work: impl Fn(&Job<'_>) -> Result<String, Error> + Sync,
    ) -> Result<Vec<RouteInstance>, Failure> {
        let outcomes = self.parallel(deadline, cancel, work);
        if !outcomes.is_empty() && outcomes.iter().all(Result::is_err) {
            return Err(failure(done, &self.targets, &outcomes.into_iter().filter_map(Result::err).collect::<Vec<_>>()));
        }
        let instance = |(target, outcome): (&HaproxyTarget, Result<String, Fault>)| RouteInstance {
            name: target.name.clone(),
            result: outcome.map_err(|fault| with_remedy(&fault.error)),
        };
        Ok(self.targets.iter().zip(outcomes).map(instance).collect())
    }

    fn take_out_of(&self, job: &Job<'_>, server: &str) -> Result<String, Error> {
        let (name, backend) = (job.name(server)?, job.target.backend.as_str());
        let out = [
            Command::ShowServersState(backend),
            Command::SetState { backend, server: name, state: AdminState::Maint },
            Command::ShutdownSessions { backend, server: name },
            Command::ShowStat(Some(backend)),
        ];
        let mut patience = Patience(FIRST_LOOK);
        let mut ended = None;
        loop {
            let replies = job.replies(&out)?;
            // What was is remembered even if the rest fails: part of it may have had its effect.
            let state = job.client.servers_state(&out[0], &replies[0])?;
            if let Some(row) = state.iter().find(|row| row.server == name) {
                self.remember(job.index, server, row);
            }
            for (command, reply) in out.iter().zip(&replies) {
                job.client.judge(command, reply)?;
            }
            let row = job.stat_row(name, &replies[3])?;
            if row.is_maint() && row.sessions == 0 {
                return Ok(match ended {
                    None | Some(0) => format!("{backend}/{name} {}, no sessions", row.status),
                    Some(count) => format!("{backend}/{name} {}, {count} sessions ended", row.status),
                });
            }
            ended = ended.max(Some(row.sessions));
            patience.wait(job, format!("{backend}/{name} {}, {} sessions", row.status, row.sessions), String::new())?;
        }
    }

    fn remember(&self, index: usize, server: &str, row: &StateRow) {
        // What it inherits may be of a moment ago, by the same step on another backend.
        let now = Before { admin: row.own, weight: row.weight, restored: false };
        if self.recalled.load(Ordering::Relaxed) {
            return;
        }
        let mut before = self.before.lock();
        let kept = before.entry((index, server.to_owned())).or_insert(now);
        if kept.restored {
            *kept = now;
        }
    }

    fn restore_on(&self, job: &Job<'_>, server: &str) -> Result<String, Error> {
        let (name, backend) = (job.name(server)?, job.target.backend.as_str());
        let key = (job.index, server.to_owned());
        let before = self.before.lock().get(&key).copied();
        let admin = before.map_or(AdminState::Ready, |before| before.admin);
        let mut commands = Vec::with_capacity(3);
        if let Some(before) = before {
            commands.push(Command::SetWeight { backend, server: name, weight: before.weight });
        }
        commands.push(Command::SetState { backend, server: name, state: admin });
        commands.push(Command::ShowServersState(backend));
        let mut patience = Patience(FIRST_LOOK);
        loop {
            let (replies, fixed) = job.run_weighing(&commands)?;
            let last = commands.len() - 1;
            let row = job.state_row(&commands[last], name, &replies[last])?;
            // Maintenance may also be inherited or the resolver's, then it is not ours to end.
            let as_before = row.admin == admin || row.held.is_some() && row.own == admin;
            if as_before && (fixed || before.is_none_or(|before| before.weight == row.weight)) {
                if let Some(before) = self.before.lock().get_mut(&key) {
                    before.restored = true;
                }
                let note = if before.is_some() { "as before" } else { "nothing remembered" };
                return Ok(format!("{backend}/{name} {}, weight {}, {note}", admin.as_str(), row.weight));
            }
            patience.wait(job, format!("{backend}/{name} {}, weight {}", row.admin.as_str(), row.weight), String::new())?;
        }
    }

    fn bring_in_on(&self, job: &Job<'_>, server: &str, share: Option<u8>) -> Result<String, Error> {
        let (name, backend) = (job.name(server)?, job.target.backend.as_str());
        let show = Command::ShowServersState(backend);
        let known = job.client.servers_state(&show, &job.run(std::slice::from_ref(&show))?[0])?;
        let Some(now) = known.iter().find(|row| row.server == name) else {
            return Err(job.missing(name));
        };
        // A server that HAProxy does not know takes no traffic: the survey complains, the failover goes on.
        let is_other = |other: &&str| *other != name && known.iter().any(|row| row.server == **other);
        let others: Vec<&str> = job.target.servers.values().map(String::as_str).filter(is_other).collect();
        // Should it not serve, everything goes back; the first look is the one that counts.
        for (ours, theirs) in &job.target.servers {
            if let Some(row) = known.iter().find(|row| row.server == *theirs) {
                self.remember(job.index, ours, row);
            }
        }
        // With weight 0 it would be ready and take nothing.
        let mut weight = match share {
            Some(share) => Some(share_of(job, now, share)),
            None => job.target.weight.filter(|weight| *weight > 0).or((now.weight == 0).then_some(now.initial_weight.max(1))),
        };

        let mut commands = Vec::with_capacity(2 * others.len() + 4);
        for other in &others {
            commands.push(Command::SetState { backend, server: other, state: AdminState::Maint });
            commands.push(Command::ShutdownSessions { backend, server: other });
        }
        if let Some(weight) = weight {
            commands.push(Command::SetWeight { backend, server: name, weight });
        }
        commands.push(Command::SetState { backend, server: name, state: AdminState::Ready });
        commands.push(show);
        commands.push(Command::ShowStat(Some(backend)));
        let mut patience = Patience(FIRST_LOOK);
        let mut leftovers = None;
        let (mut healed, mut all_or_none) = (false, false);
        loop {
            let (replies, fixed) = job.run_weighing(&commands)?;
            if fixed {
                // It goes on with the weight that it has; where that is none, with all of it.
                let whole = (now.weight == 0 && !all_or_none).then_some(now.initial_weight.max(1));
                (weight, all_or_none) = (whole, true);
                commands.retain(|command| !matches!(command, Command::SetWeight { .. }));
                if let Some(weight) = whole {
                    commands.insert(0, Command::SetWeight { backend, server: name, weight });
                }
                continue;
            }
            let at = commands.len() - 2;
            let state = job.state_row(&commands[at], name, &replies[at])?;
            let row = job.stat_row(name, &replies[at + 1])?;
            let rest: Vec<StatRow> =
                others.iter().map(|other| job.stat_row(other, &replies[at + 1])).collect::<Result<_, _>>()?;
            if serves(&state, &row, weight) && rest.iter().all(StatRow::is_maint) {
                let sessions: u64 = rest.iter().map(|row| row.sessions).sum();
                let until = *leftovers.get_or_insert_with(|| job.client.deadline.at_most(LEFTOVER_GRACE));
                if sessions == 0 || until.is_over() {
                    let weight = worded(state.weight, all_or_none);
                    return Ok(arrived(&format!("{backend}/{name} {}, {weight}", row.status), healed, sessions));
                }
            }
            if row.is_down() && state.admin == AdminState::Ready {
                healed |= heal(job, name, &row)?;
            }
            let (seen, remedy) = not_yet(job, &state, &row, &rest);
            patience.wait(job, seen, remedy)?;
        }
    }
}

/// Read back as it was asked for.
fn serves(state: &StateRow, row: &StatRow, weight: Option<u32>) -> bool {
    row.is_up()
        && state.weight > 0
        && state.admin == AdminState::Ready
        && matches!(state.operation, Operation::Running | Operation::Starting)
        && weight.is_none_or(|weight| weight == state.weight)
}

/// Up, whatever HAProxy's own check or agent said last. Whether that was taken: a server that follows another one (`track`) is up when
/// that one is.
fn heal(job: &Job<'_>, name: &str, row: &StatRow) -> Result<bool, Error> {
    let backend = job.target.backend.as_str();
    let up = if row.status.contains("agent") {
        Command::AgentUp { backend, server: name }
    } else {
        Command::HealthUp { backend, server: name }
    };
    match job.run(&[up]) {
        Err(error) if error.is_of_tracking_server() => Ok(false),
        outcome => outcome.map(|_| true),
    }
}

/// What was read back instead, and what mends it where that is known.
fn not_yet(job: &Job<'_>, state: &StateRow, row: &StatRow, rest: &[StatRow]) -> (String, String) {
    let mut seen = format!("{}/{} {}, weight {}", job.target.backend, row.server, row.status, state.weight);
    let mut remedy = String::new();
    let server = job.target.servers.iter().find(|(_, name)| **name == row.server).map_or("", |(server, _)| server.as_str());
    if let Some(held) = lines::judged(held(state, row), job.targets, job.target, server, row.tracked.as_slice()) {
        let _ = write!(seen, ": HAProxy itself keeps it out: {}", held.what());
        remedy = held.remedy(&job.target.name, &format!("{}/{}", job.target.backend, row.server));
    } else if let Some(tracked) = row.tracked.as_ref().filter(|_| row.is_down()) {
        let _ = write!(seen, ": it follows {tracked} (`track`), whose check fails");
        remedy = format!("see why {}'s check of {tracked} fails", job.target.name);
    }
    if state.weight == 0 {
        remedy = format!("write a weight of at least 1 on the line of {}/{}", job.target.backend, row.server);
    }
    for other in rest {
        let _ = write!(seen, "; {} {}, {} sessions", other.server, other.status, other.sessions);
    }
    (seen, remedy)
}

/// A part of a server's full weight: the configured one, or that of HAProxy's file, for the present one may be a part already.
fn share_of(job: &Job<'_>, row: &StateRow, share: u8) -> u32 {
    let full = job.target.weight.filter(|weight| *weight > 0).unwrap_or(row.initial_weight).max(1);
    (full * u32::from(share) / 100).max(1)
}

fn weigh_on(job: &Job<'_>, server: &str, share: u8) -> Result<String, Error> {
    let (name, backend) = (job.name(server)?, job.target.backend.as_str());
    let show = Command::ShowServersState(backend);
    let now = job.state_row(&show, name, &job.run(std::slice::from_ref(&show))?[0])?;
    let weight = share_of(job, &now, share);
    if now.weight == weight {
        return Ok(format!("{backend}/{name} weight {weight}"));
    }
    let (replies, fixed) =
        job.run_weighing(&[Command::SetWeight { backend, server: name, weight }, Command::ShowServersState(backend)])?;
    let row = job.state_row(&show, name, &replies[1])?;
    if fixed || row.weight == weight {
        return Ok(format!("{backend}/{name} {}", worded(row.weight, fixed)));
    }
    let seen = format!("{backend}/{name} weight {}, and not {weight}", row.weight);
    Err(Error::NotProven { endpoint: job.client.endpoint.to_string(), seen, remedy: String::new() })
}

/// The weight that was read back, and why it may not be the one that was wanted.
fn worded(weight: u32, fixed: bool) -> String {
    let why = if fixed { ", which its balance does not let change" } else { "" };
    format!("weight {weight}{why}")
}

fn arrived(server: &str, healed: bool, sessions: u64) -> String {
    let mut text = server.to_owned();
    if healed {
        text.push_str(", set up against HAProxy's own check");
    }
    if sessions > 0 {
        let _ = write!(text, ", {sessions} sessions still open on the others");
    }
    text
}

/// Our name and HAProxy's name of each server, and how it shows there; `None` where it does not know it.
type Rows<'a> = Vec<(&'a String, &'a String, Option<(StateRow, StatRow)>)>;

/// What the instance shows of the route's servers, and of the other lines of their backend.
fn rows_of<'a>(job: &Job<'a>) -> Result<(Rows<'a>, Vec<(StateRow, StatRow)>), Error> {
    let (target, backend) = (job.target, job.target.backend.as_str());
    let commands = [Command::ShowLevel, Command::ShowServersState(backend), Command::ShowStat(Some(backend))];
    let replies = job.replies(&commands)?;
    // A HAProxy too old to know the question (before 1.8) is not blamed for it.
    if matches!(replies[0].trim(), "user" | "operator") {
        return Err(Error::NotAdmin { endpoint: target.endpoint.to_string() });
    }
    let mut known = job.client.servers_state(&commands[1], &replies[1])?;
    let rows = target
        .servers
        .iter()
        .map(|(server, name)| {
            let row = match known.iter().position(|row| row.server == *name) {
                Some(at) => Some((known.swap_remove(at), job.stat_row(name, &replies[2])?)),
                None => None,
            };
            Ok((server, name, row))
        })
        .collect::<Result<_, Error>>()?;
    let others = known.into_iter().filter_map(|state| {
        let row = job.stat_row(&state.server, &replies[2]).ok()?;
        Some((state, row))
    });
    Ok((rows, others.collect()))
}

#[cfg(test)]
fn look_at(job: &Job<'_>) -> Result<Vec<ServerSeen>, Error> {
    let seen = |(server, name, row): (&String, &String, Option<(StateRow, StatRow)>)| {
        let (state, row) = row.ok_or_else(|| job.missing(name))?;
        Ok(ServerSeen {
            server: server.clone(),
            admin: state.admin,
            up: row.is_up(),
            status: row.status,
            sessions: row.sessions,
            weight: state.weight,
        })
    };
    rows_of(job)?.0.into_iter().map(seen).collect()
}

/// The lines of the route's servers, and the names of others that take sessions.
fn view_of(job: &Job<'_>) -> Result<(Vec<Line>, Vec<Unnamed>), Error> {
    let (rows, others) = rows_of(job)?;
    let fixed: Vec<Option<FixedWeight>> = {
        let known = || rows.iter().map(|(_, _, row)| row.as_ref().map(|(state, _)| state));
        let wishes: Vec<_> = known().map(|state| state.and_then(|state| other_weight(job.target, state))).collect();
        // Asked where a weight matters alone, and no reason to fail.
        let balance = if wishes.iter().any(Option::is_some) { static_balance(job) } else { None };
        let fixed = |(has, wanted)| Some(FixedWeight { balance: balance.clone()?, has, wanted });
        wishes.into_iter().map(|wish| wish.and_then(fixed)).collect()
    };
    let stats: Vec<&StatRow> = rows.iter().filter_map(|(_, _, row)| row.as_ref().map(|(_, row)| row)).collect();
    let all = lines::followed(job, &stats);
    let mut seen = Vec::with_capacity(rows.len());
    for ((server, name, row), fixed) in rows.iter().zip(fixed) {
        let Some((state, row)) = row else {
            let view = ServerView { fixed, ..ServerView::new(server, name, RouteState::Missing) };
            seen.push(Line { view, address: None });
            continue;
        };
        let (follows, checked) = lines::chain(row, &all);
        let view = ServerView {
            held: lines::judged(held(state, row), job.targets, job.target, server, &follows),
            fixed,
            check: lines::own_check(row, checked),
            limit: row.limit,
            backup: row.backup,
            ..ServerView::new(server, name, route_state(state, row))
        };
        seen.push(Line { view, address: row.address });
    }
    let takes = |(state, row): &(StateRow, StatRow)| route_state(state, row) == RouteState::Takes;
    let unnamed = others.into_iter().filter(takes).map(|(state, _)| Unnamed { name: state.server, server: None }).collect();
    Ok((seen, unnamed))
}

/// The weight of HAProxy's file, and the other one that a failover would give, where there is one. A present weight that is neither 0 nor
/// that of the file was set: the balance takes weights.
fn other_weight(target: &HaproxyTarget, state: &StateRow) -> Option<(u32, Option<u32>)> {
    let has = state.initial_weight;
    if state.weight != 0 && state.weight != has {
        return None;
    }
    let wanted = target.weight.filter(|weight| *weight > 0 && *weight != has);
    (has == 0 || wanted.is_some() || target.ramped).then_some((has, wanted))
}

/// The balance of the backend, where that is one that may take no weights.
fn static_balance(job: &Job<'_>) -> Option<String> {
    let replies = job.run(&[Command::ShowBackends]).ok()?;
    let rows = job.client.stat(&replies[0]).ok()?;
    let balance = rows.into_iter().find(|row| row.backend == job.target.backend)?.balance?;
    STATIC_BALANCES.contains(&balance.as_str()).then_some(balance)
}

/// What keeps it out whatever it is told.
fn held(state: &StateRow, row: &StatRow) -> Option<Held> {
    Some(match state.held? {
        Hold::Resolution => Held::Resolution,
        Hold::Tracked => Held::Tracks(row.tracked.clone().unwrap_or_else(|| "another server".to_owned())),
    })
}

fn route_state(state: &StateRow, row: &StatRow) -> RouteState {
    match state.admin {
        AdminState::Maint => RouteState::Maint,
        AdminState::Drain => RouteState::Drain,
        AdminState::Ready if !row.is_up() => RouteState::Down,
        AdminState::Ready if state.weight == 0 => RouteState::NoWeight,
        AdminState::Ready if row.backup => RouteState::Backup,
        AdminState::Ready => RouteState::Takes,
    }
}

#[cfg(test)]
fn describe(servers: Result<Vec<ServerSeen>, Error>) -> Result<String, String> {
    let servers = servers.map_err(|error| with_remedy(&error))?;
    let words: Vec<String> = servers
        .iter()
        .map(|seen| {
            let ServerSeen { server, admin, status, sessions, weight, .. } = seen;
            format!("{server} {status} ({}), weight {weight}, {sessions} sessions", admin.as_str())
        })
        .collect();
    Ok(format!("level admin; {}", words.join("; ")))
}

impl Job<'_> {
    /// HAProxy's name of one of our servers.
    fn name(&self, server: &str) -> Result<&str, Error> {
        self.target.servers.get(server).map(String::as_str).ok_or_else(|| {
            let instance = &self.target.name;
            Error::InvalidName(format!("no HAProxy server is configured for \"{server}\" on instance \"{instance}\""))
        })
    }

    /// When the time is over in the middle of another look, what was seen says more than where it ended.
    fn fault(&self, error: Error) -> Fault {
        let error = match (error, self.seen.take()) {
            (Error::TimedOut { endpoint, .. }, Some(seen)) => Error::NotProven { endpoint, seen: seen.text, remedy: seen.remedy },
            (error, _) => error,
        };
        Fault { error, touched: self.touched.get() }
    }

    fn replies(&self, commands: &[Command<'_>]) -> Result<Vec<String>, Error> {
        let outcome = self.client.replies(commands);
        let touched = match &outcome {
            Ok(replies) => commands
                .iter()
                .zip(replies)
                .any(|(command, reply)| command.changes() && self.client.judge(command, reply).is_ok()),
            Err(error) => commands.iter().any(Command::changes) && !error.without_effect(),
        };
        self.touched.set(self.touched.get() || touched);
        outcome
    }

    fn run(&self, commands: &[Command<'_>]) -> Result<Vec<String>, Error> {
        let replies = self.replies(commands)?;
        for (command, reply) in commands.iter().zip(&replies) {
            self.client.judge(command, reply)?;
        }
        Ok(replies)
    }

    /// The same, where a weight that is refused for good is no failure: a static balance knows all of it, or none. The traffic is what
    /// matters. Whether that was refused.
    fn run_weighing(&self, commands: &[Command<'_>]) -> Result<(Vec<String>, bool), Error> {
        let replies = self.replies(commands)?;
        let mut fixed = false;
        for (command, reply) in commands.iter().zip(&replies) {
            match self.client.judge(command, reply) {
                Err(error) if matches!(command, Command::SetWeight { .. }) && error.is_of_static_balance() => fixed = true,
                outcome => outcome?,
            }
        }
        Ok((replies, fixed))
    }

    fn missing(&self, name: &str) -> Error {
        Error::Refused {
            endpoint: self.client.endpoint.to_string(),
            command: format!("show servers state {}", self.target.backend),
            reply: format!("no server \"{name}\" in it"),
        }
    }

    fn state_row(&self, command: &Command<'_>, name: &str, reply: &str) -> Result<StateRow, Error> {
        let rows = self.client.servers_state(command, reply)?;
        rows.into_iter().find(|row| row.server == name).ok_or_else(|| self.missing(name))
    }

    /// The server's row in a reply to `show stat BACKEND`, or in that of all proxies: a frontend of the same name can hide the
    /// backend.
    fn stat_row(&self, name: &str, reply: &str) -> Result<StatRow, Error> {
        let find = |rows: Vec<StatRow>| rows.into_iter().find(|row| row.backend == self.target.backend && row.server == name);
        if let Some(row) = find(self.client.stat(reply)?) {
            return Ok(row);
        }
        let all = self.run(&[Command::ShowStat(None)])?;
        find(self.client.stat(&all[0])?).ok_or_else(|| self.missing(name))
    }
}

/// Looks again and again at growing distances until the deadline.
struct Patience(Duration);

impl Patience {
    fn wait(&mut self, job: &Job<'_>, text: String, remedy: String) -> Result<(), Error> {
        job.seen.set(Some(Seen { text, remedy }));
        let ended = job.client.cancel.pause(self.0, job.client.deadline);
        self.0 = (self.0 * 2).min(LAST_LOOK);
        ended.map_err(|why| match why {
            Interrupted::TimedOut => {
                Error::TimedOut { endpoint: job.client.endpoint.to_string(), during: "the wait for the state asked for" }
            }
            Interrupted::Cancelled => Error::Cancelled,
        })
    }
}

/// Tries again what looks like the gap of a reload. Every job here is idempotent. Whoever gives little time wants to go on: the other
/// instances' clients wait for this one.
fn again<T>(job: &Job<'_>, work: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let hurried = job.client.deadline.remaining() < HURRY;
    let mut tries = 1;
    loop {
        match work() {
            Err(error) if error.is_transient() && tries < TRIES && !hurried => {
                if job.client.cancel.pause(RELOAD_PAUSE, job.client.deadline).is_err() {
                    return Err(error);
                }
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

fn with_remedy(error: &Error) -> String {
    match error.remedy() {
        "" => error.to_string(),
        remedy => format!("{error} ({remedy})"),
    }
}

/// All instances failed: one message for all, and what is known about the effect.
fn failure(done: &str, targets: &[HaproxyTarget], faults: &[Fault]) -> Failure {
    let each: Vec<String> =
        targets.iter().zip(faults).map(|(target, fault)| format!("{}: {}", target.name, fault.error)).collect();
    let message = format!("{done} on none of {} HAProxy: {}", targets.len(), each.join("; "));
    if faults.iter().any(|fault| fault.error == Error::Cancelled) {
        return Failure::cancelled(message);
    }
    let remedy = faults.iter().map(|fault| fault.error.remedy()).find(|remedy| !remedy.is_empty()).unwrap_or_default();
    let timed_out = |fault: &Fault| matches!(fault.error, Error::TimedOut { .. } | Error::NotProven { .. });
    if faults.iter().all(|fault| fault.error.is_for_good() && !fault.touched) {
        Failure::refused(message, remedy)
    } else if !faults.iter().any(|fault| fault.touched) {
        Failure::no_effect(message, remedy)
    } else if faults.iter().any(timed_out) {
        Failure::timed_out(message, remedy)
    } else {
        Failure::unknown(message, remedy)
    }
}
