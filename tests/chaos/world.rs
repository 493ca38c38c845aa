//! A real cluster with its engine, its writers and those that watch it, to which the faults of a plan are done.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::plan::{Fault, Kind, Plan, Whom};
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::engine::{Engine, Origin};
use crate::support::haproxy::BACKEND;
use crate::support::lab::wait_until;
use crate::support::postgres::{Frozen, PgServer, StopMode};
use crate::support::process::{Process, signal_all};
use crate::support::recording::Event;
use crate::support::service::SERVICE;
use crate::support::{Writer, WriterOptions};
use crate::watch::Watch;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(5);
const SHORT_COOLDOWN: &str = "
  [services.trigger]
  cooldown = \"2s\"
";
/// MiB for `state_dir`.
const STATE_SIZE: u32 = 64;

/// Something that was done, as it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Nanoseconds of the run.
    pub at: u64,
    /// What.
    pub kind: Kind,
    /// The server, where it is one.
    pub server: Option<usize>,
    /// It was taken back here, and not begun.
    pub over: bool,
    /// What came of it, where it could not be done.
    pub failed: Option<String>,
}

/// What has to be taken back.
enum Grip {
    Frozen(usize, Frozen),
    Stopped(Vec<i32>),
    Separated(Vec<(String, String)>),
    Unplugged(String),
    Haproxy,
    EngineGone,
    EngineFrozen,
    Paused,
    Sshd(usize),
    SshdFrozen(usize),
    Full,
    /// Its end is waited for by nobody.
    Running(Process),
}

/// Everything that runs.
pub struct World {
    /// The engine, while it runs.
    pub engine: Option<Engine>,
    /// Through the route: one in a session that it keeps, one in a new session for each row; then one that knows the servers.
    pub writers: Vec<Writer>,
    /// Those that look.
    pub watch: Watch,
    /// The servers.
    pub cluster: Cluster,
    /// What was done.
    pub deeds: Vec<Deed>,
    /// Of an engine that ended without being told to, or did not when it was: how.
    pub engine_ends: Vec<String>,
    origin: Origin,
    earlier: Vec<Event>,
    grips: Vec<Option<Grip>>,
}

/// How many rows lie between the numbers of two writers.
const APART: u64 = 1_000_000_000;

fn writers(cluster: &Cluster, origin: Instant) -> io::Result<Vec<Writer>> {
    let route = WriterOptions { interval: Duration::from_millis(10), ..WriterOptions::to(cluster.haproxy.way_in()) };
    let fresh = WriterOptions {
        after: APART,
        new_sessions: true,
        interval: Duration::from_millis(50),
        application: "fresh".to_owned(),
        ..route.clone()
    };
    let servers = cluster.servers.iter();
    let direct = WriterOptions {
        addresses: servers
            .map(|server| crate::support::session::Address::Unix(server.socket_dir().to_owned(), server.port()))
            .collect(),
        // The UNIX sockets are the superuser's.
        role: "postgres".to_owned(),
        application: "direct".to_owned(),
        after: 2 * APART,
        interval: Duration::from_millis(20),
        ..route.clone()
    };
    [route, fresh, direct].into_iter().map(|options| Writer::start(options, origin)).collect()
}

impl World {
    /// A quiet one: the engine is ready and rows arrive.
    pub fn start(plan: &Plan) -> io::Result<World> {
        let options = ClusterOptions {
            standbys: plan.servers - 1,
            equal_names: plan.equal_names,
            network: true,
            power_switch: plan.power_switch,
            small_state: Some(STATE_SIZE),
            config_tail: if plan.short_cooldown { SHORT_COOLDOWN.to_owned() } else { String::new() },
            ..ClusterOptions::new(plan.replication)
        };
        let cluster = Cluster::start(&options, |_| {})?;
        let origin = Origin::now();
        let writers = writers(&cluster, origin.instant)?;
        let watch = Watch::start(&cluster.servers, cluster.haproxy.socket(), BACKEND, origin.instant)?;
        let engine = Some(cluster.engine(origin)?);
        let world = World {
            engine,
            writers,
            watch,
            cluster,
            deeds: Vec::new(),
            engine_ends: Vec::new(),
            origin,
            earlier: Vec::new(),
            grips: Vec::new(),
        };
        if let Some(engine) = &world.engine {
            engine.wait_ready(LONG)?;
        }
        wait_until("rows arrive", LONG, || Ok(world.writers.iter().all(|writer| writer.acknowledged().1 > 20).then_some(())))?;
        Ok(world)
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.origin.nanos(Instant::now())
    }

    /// What all engines said.
    pub fn events(&self) -> Vec<Event> {
        let now = self.engine.as_ref().map(Engine::events).unwrap_or_default();
        self.earlier.iter().cloned().chain(now).collect()
    }

    /// Does the faults of a plan at their moments, and takes back those that end by themselves.
    pub fn suffer(&mut self, plan: &Plan) {
        let begins = plan.faults.iter().enumerate().map(|(place, fault)| (fault.at, place, false));
        let ends = plan.faults.iter().enumerate().filter_map(|(place, fault)| Some((fault.at + fault.lasts?, place, true)));
        let mut acts: Vec<(Duration, usize, bool)> = begins.chain(ends).collect();
        acts.sort();
        self.grips = plan.faults.iter().map(|_| None).collect();
        let began = Instant::now();
        for (due, place, over) in acts {
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            if over { self.take_back(place, &plan.faults[place]) } else { self.strike(place, &plan.faults[place]) }
        }
    }

    /// Takes back whatever can be from outside. A primary that was killed, stopped or frozen for good stays so.
    pub fn mend(&mut self, plan: &Plan) {
        let primary = self.primary();
        for grip in self.grips.iter().flatten() {
            if let Grip::Running(process) = grip {
                // Of one that cannot come to its end, because its server stands still, nobody knows when.
                process.wait(SHORT);
            }
        }
        for (place, fault) in plan.faults.iter().enumerate() {
            let stays = matches!(&self.grips[place], Some(Grip::Frozen(server, _)) if Some(*server) == primary);
            if !stays {
                self.take_back(place, fault);
            }
        }
        for (place, server) in self.cluster.servers.iter().enumerate() {
            let standby = server.data_dir().join("standby.signal").exists();
            if standby && Some(place) != primary && !has_postmaster(server) {
                // What is left of it may write to nobody any more; where it does not come up its log says why.
                server.kill_all();
                let _ = server.launch();
            }
        }
    }

    /// The server to which the route leads, or to which it led last.
    pub fn primary(&self) -> Option<usize> {
        let seen = self.watch.seen();
        let named = seen.routes.iter().rev().find_map(|route| route.to.as_ref()?.first().cloned());
        let server = named.and_then(|name| self.cluster.servers.iter().position(|server| server.name() == name));
        server.or(Some(0))
    }

    fn whom(&self, whom: Whom) -> Option<usize> {
        let primary = self.primary()?;
        match whom {
            Whom::Nobody => None,
            Whom::Primary => Some(primary),
            Whom::Standby(number) => (0..self.cluster.servers.len()).filter(|place| *place != primary).nth(number),
        }
    }

    fn strike(&mut self, place: usize, fault: &Fault) {
        let server = self.whom(fault.whom);
        let at = self.now();
        let grip = self.do_to(fault.kind, server);
        let failed = grip.as_ref().err().map(ToString::to_string);
        self.grips[place] = grip.ok().flatten();
        self.deeds.push(Deed { at, kind: fault.kind, server, over: false, failed });
    }

    fn take_back(&mut self, place: usize, fault: &Fault) {
        let Some(grip) = self.grips[place].take() else { return };
        if let Grip::Running(process) = grip {
            self.grips[place] = Some(Grip::Running(process));
            return;
        }
        let server = match &grip {
            Grip::Frozen(server, _) | Grip::Sshd(server) | Grip::SshdFrozen(server) => Some(*server),
            _ => None,
        };
        let at = self.now();
        let failed = self.release(grip).err().map(|error| error.to_string());
        self.deeds.push(Deed { at, kind: fault.kind, server, over: true, failed });
    }

    fn do_to(&mut self, kind: Kind, server: Option<usize>) -> io::Result<Option<Grip>> {
        match kind {
            Kind::HaproxyKilled => {
                self.cluster.haproxy.process().signal(Signal::KILL);
                Ok(Some(Grip::Haproxy))
            }
            Kind::EngineKilled | Kind::EngineStopped | Kind::EngineFrozen | Kind::Reload | Kind::Pause => self.do_to_engine(kind),
            Kind::StateFull => self.cluster.fill_state().map(|()| Some(Grip::Full)),
            Kind::CutEngineFromAll => {
                let servers: Vec<String> = self.cluster.servers.iter().map(|server| server.name().to_owned()).collect();
                self.separate(servers.into_iter().map(|server| ("engine".to_owned(), server)).collect())
            }
            _ => {
                let place = server.ok_or_else(|| io::Error::other("there is no such server"))?;
                if matches!(kind, Kind::CutEngine | Kind::CutServers | Kind::Unplug) {
                    self.do_to_links(kind, place)
                } else if matches!(kind, Kind::SshdGone | Kind::SshdFrozen) {
                    Ok(Some(self.do_to_host(kind, place)))
                } else {
                    self.do_to_server(kind, place)
                }
            }
        }
    }

    fn do_to_server(&mut self, kind: Kind, place: usize) -> io::Result<Option<Grip>> {
        let server = &self.cluster.servers[place];
        let running = |process: io::Result<Process>| process.map(|process| Some(Grip::Running(process)));
        match kind {
            Kind::Kill => {
                server.kill_postmaster()?;
                // A signal takes its time, and whoever looks next should see what came of it.
                wait_until("the postmaster is gone", SHORT, || Ok((!has_postmaster(server)).then_some(None)))
            }
            Kind::Freeze => server.freeze().map(|frozen| Some(Grip::Frozen(place, frozen))),
            Kind::FreezePostmaster => {
                let pid = server.postmaster_pid()?;
                signal_all([pid], Signal::STOP);
                Ok(Some(Grip::Frozen(place, Frozen { at: Instant::now(), pids: BTreeSet::from([pid]) })))
            }
            Kind::RestartClean => running(server.begin_restart_in(StopMode::Fast)),
            Kind::RestartImmediate => running(server.begin_restart_in(StopMode::Immediate)),
            Kind::Stop => running(server.begin_stop(StopMode::Fast)),
            Kind::Promote => running(server.begin_promotion()),
            Kind::Follow => server.follow(&self.cluster.servers[self.primary().unwrap_or(0)]).map(|()| None),
            _ => orphan(server),
        }
    }

    fn do_to_links(&mut self, kind: Kind, place: usize) -> io::Result<Option<Grip>> {
        let name = self.cluster.servers[place].name().to_owned();
        if kind == Kind::CutEngine {
            return self.separate(vec![("engine".to_owned(), name)]);
        }
        if kind == Kind::CutServers {
            let others = self.cluster.servers.iter().map(PgServer::name).filter(|other| *other != name);
            return self.separate(others.map(|other| (name.clone(), other.to_owned())).collect());
        }
        if let Some(network) = &self.cluster.network {
            network.unplug(&name, true)?;
        }
        Ok(Some(Grip::Unplugged(name)))
    }

    fn separate(&mut self, pairs: Vec<(String, String)>) -> io::Result<Option<Grip>> {
        if let Some(network) = &self.cluster.network {
            for (one, other) in &pairs {
                network.separate(one, other, true)?;
            }
        }
        Ok(Some(Grip::Separated(pairs)))
    }

    fn do_to_host(&mut self, kind: Kind, place: usize) -> Grip {
        let host = &self.cluster.hosts[place];
        if kind == Kind::SshdGone {
            host.kill_all();
            return Grip::Sshd(place);
        }
        host.process().signal(Signal::STOP);
        Grip::SshdFrozen(place)
    }

    fn do_to_engine(&mut self, kind: Kind) -> io::Result<Option<Grip>> {
        self.note_unexpected_end();
        let gone = || io::Error::other("the engine does not run");
        match kind {
            Kind::EngineKilled | Kind::EngineStopped => {
                let engine = self.engine.take().ok_or_else(gone)?;
                if kind == Kind::EngineKilled {
                    engine.kill();
                } else if !engine.stop() {
                    self.engine_ends.push(format!("on SIGTERM it did not end cleanly: {}", engine.log_tail()));
                }
                self.earlier.extend(engine.events());
                Ok(Some(Grip::EngineGone))
            }
            Kind::EngineFrozen => {
                self.engine.as_ref().ok_or_else(gone)?.process().signal(Signal::STOP);
                Ok(Some(Grip::EngineFrozen))
            }
            Kind::Reload => {
                self.engine.as_ref().ok_or_else(gone)?.process().signal(Signal::HUP);
                Ok(None)
            }
            _ => {
                self.order(&["pause", SERVICE, "--reason", "a fault by plan"])?;
                Ok(Some(Grip::Paused))
            }
        }
    }

    fn order(&self, arguments: &[&str]) -> io::Result<String> {
        self.engine.as_ref().ok_or_else(|| io::Error::other("the engine does not run"))?.order(arguments)
    }

    fn release(&mut self, grip: Grip) -> io::Result<()> {
        let lab = &self.cluster.lab;
        match grip {
            Grip::Frozen(place, frozen) => {
                self.cluster.servers[place].thaw(&frozen);
                Ok(())
            }
            Grip::Stopped(pids) => {
                signal_all(pids, Signal::CONT);
                Ok(())
            }
            Grip::Separated(pairs) => self
                .cluster
                .network
                .as_ref()
                .map_or(Ok(()), |network| pairs.iter().try_for_each(|(one, other)| network.separate(one, other, false))),
            Grip::Unplugged(name) => self.cluster.network.as_ref().map_or(Ok(()), |network| network.unplug(&name, false)),
            Grip::Haproxy => self.cluster.haproxy.restart(lab),
            Grip::EngineGone => {
                self.engine = Some(self.cluster.engine(self.origin)?);
                Ok(())
            }
            Grip::EngineFrozen => {
                if let Some(engine) = &self.engine {
                    engine.process().signal(Signal::CONT);
                }
                Ok(())
            }
            Grip::Paused => self.order(&["resume", SERVICE]).map(drop),
            Grip::Sshd(place) => self.cluster.hosts[place].restart(lab),
            Grip::SshdFrozen(place) => {
                self.cluster.hosts[place].process().signal(Signal::CONT);
                Ok(())
            }
            Grip::Full => fs::remove_file(lab.path("state/filler")),
            Grip::Running(_) => Ok(()),
        }
    }

    /// An engine that ended without being told to.
    pub fn note_unexpected_end(&mut self) {
        let ended = self.engine.as_ref().and_then(|engine| engine.process().status().map(|status| (status, engine.log_tail())));
        if let Some((status, log)) = ended {
            self.engine_ends.push(format!("it ended by itself ({status}): {log}"));
            self.earlier.extend(self.engine.take().map(|engine| engine.events()).unwrap_or_default());
        }
    }

    /// The engine is told to end.
    pub fn stop_engine(&mut self) {
        self.note_unexpected_end();
        if let Some(engine) = self.engine.take() {
            if !engine.stop() {
                self.engine_ends.push(format!("at the end it did not end cleanly on SIGTERM: {}", engine.log_tail()));
            }
            self.earlier.extend(engine.events());
        }
    }
}

fn has_postmaster(server: &PgServer) -> bool {
    server.postmaster_pid().is_ok_and(|pid| server.processes().iter().any(|seen| seen.pid == pid))
}

/// SIGKILL of the postmaster while a backend that commits stands still: it is there as long as that is not woken.
fn orphan(server: &PgServer) -> io::Result<Option<Grip>> {
    let pid = server.value("SELECT pid FROM pg_stat_activity WHERE application_name IN ('direct', 'writer') LIMIT 1")?;
    let pid: i32 = pid.parse().map_err(|_| io::Error::other("nobody writes there"))?;
    signal_all([pid], Signal::STOP);
    server.kill_postmaster()?;
    Ok(Some(Grip::Stopped(vec![pid])))
}
