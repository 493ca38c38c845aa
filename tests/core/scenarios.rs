//! Text scenarios: commands, and after `----` what the core must say. `UPDATE_EXPECT=1 cargo test --test core scenarios` rewrites them.

use std::fmt::Write as _;
use std::path::Path;

use crate::world::{Mode, Received, World, model};
use failover_core::durable::{Cluster, Durable, Pause};
use failover_core::event::EventKind;
use failover_core::id::{Generation, ServerId};
use failover_core::input::{Command, Facts, Input, SelfHealth};
use failover_core::model::{OnLoss, OnNewPrimary, OnNoSyncStandby, OnSalvage, OnSynchronous, Policy, SyncModel};
use failover_core::observation::{CloseCause, Impairment};
use failover_core::output::Failure;
use failover_core::route::{InstanceKind, InstanceTrouble, InstanceView, RouteState, ServerView};
use failover_core::sample::{LocalAnswer, ProcessState};
use failover_core::stats::Spans;
use failover_core::switchover::{GateModel, SwitchoverOrder};
use failover_core::time::Span;

#[test]
fn every_scenario_says_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "txt")) {
        let before = std::fs::read_to_string(file).expect("a scenario");
        let Ok(after) = std::panic::catch_unwind(|| play(&before)) else {
            wrong.push(format!("{}: it does not come to its end, as was said above", file.display()));
            continue;
        };
        if before != after {
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(file, after).expect("a writable scenario");
            } else {
                wrong.push(format!("{}:\n{}", file.display(), difference(&before, &after)));
            }
        }
    }
    assert!(files.len() > 10, "the scenarios are missing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(before: &str, after: &str) -> String {
    let mut text = String::new();
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    for line in old.iter().skip(same).take(12) {
        let _ = writeln!(text, "  - {line}");
    }
    for line in new.iter().skip(same).take(12) {
        let _ = writeln!(text, "  + {line}");
    }
    text
}

/// Plays a file and returns it with the output that really came.
fn play(text: &str) -> String {
    let mut out = String::new();
    let mut player = Player { model: model(2), world: None };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "----" {
            let world = player.world();
            out.push_str("----\n");
            for line in world.trace.drain(..) {
                out.push_str(&line);
                out.push('\n');
            }
            while lines.peek().is_some_and(|next| !next.is_empty()) {
                lines.next();
            }
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let command = line.split('#').next().unwrap_or_default().trim();
        if !command.is_empty() {
            player.command(command);
        }
    }
    out
}

fn instance_view(servers: &[&str]) -> InstanceView {
    let servers = if servers == ["none"] {
        Err(InstanceTrouble { no_backend: false, message: "no such socket".into(), remedy: "start HAProxy".into() })
    } else {
        let view = |server: &&str| {
            let (server, state) = server.split_once('=').expect("SERVER=STATE");
            let state = match state {
                "takes" => RouteState::Takes,
                "maint" => RouteState::Maint,
                "down" => RouteState::Down,
                "missing" => RouteState::Missing,
                other => panic!("{other} is no state"),
            };
            ServerView::new(server, server, state)
        };
        Ok(servers.iter().map(view).collect())
    };
    let (name, backend) = ("lb1".into(), "orders".into());
    InstanceView { name, backend, servers, kind: InstanceKind::Haproxy, gate: Vec::new(), unnamed: Vec::new() }
}

struct Player {
    model: failover_core::model::Model,
    world: Option<World>,
}

impl Player {
    fn world(&mut self) -> &mut World {
        let model = self.model.clone();
        self.world.get_or_insert_with(|| World::new(model))
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["set", key, value] => self.set(key, value),
            ["servers", count] => self.model = model(count.parse().expect("a number")),
            ["warm"] => {
                let world = self.world();
                world.run(crate::world::ms(2_500));
                world.survey();
                world.run(crate::world::ms(500));
                world.trace.clear();
            }
            // What each HAProxy server is: `route_seen db1=takes db2=maint`; the instance does not answer: `route_seen none`.
            ["route_seen", servers @ ..] => {
                let view = instance_view(servers);
                self.world().see_route(view);
            }
            ["run", span] => {
                let span = parse(span);
                self.world().run(span);
            }
            ["sleep", span] => {
                let span = parse(span);
                self.world().sleep(span);
            }
            ["until", kind, span] => {
                let kind = *EventKind::ALL.iter().find(|one| one.as_str() == *kind).expect("an event kind");
                assert!(self.world().run_until(kind, parse(span)), "{} did not come", kind.as_str());
            }
            ["kill", server] => self.kill(server, CloseCause::DeathHint),
            ["stop", server] => self.kill(server, CloseCause::Announced),
            ["hang", server] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = Mode::Silent;
                world.nodes[at].host = Some((ProcessState::Stopped, LocalAnswer::Silent));
            }
            // Its postmaster alone: who has a session is served.
            ["postmaster_hangs", server] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = Mode::KeptOnly;
                world.nodes[at].host = Some((ProcessState::Stopped, LocalAnswer::Silent));
            }
            ["poweroff", server] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = Mode::Silent;
                world.nodes[at].host = None;
            }
            ["reload"] => self.world().reload(),
            ["reload", "another_server"] => self.world().reload_with_another_server(),
            ["engine", "dies"] => self.world().kill_engine(),
            ["engine", "starts"] => self.world().start_engine(),
            // Before the n-th journal record or action from here on.
            ["engine", "dies_at", n] => {
                let world = self.world();
                world.dies_at = Some(world.deeds + n.parse::<usize>().expect("a number"));
            }
            ["start", server] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = Mode::Up;
                world.nodes[at].host = Some((ProcessState::Running, LocalAnswer::Accepting));
                world.nodes[at].started = Some(world.now);
            }
            // Frozen or cut off before, and the same process goes on.
            ["wakes", server] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = Mode::Up;
                world.nodes[at].host = Some((ProcessState::Running, LocalAnswer::Accepting));
            }
            ["close", server, cause] => {
                let cause = match *cause {
                    "death_hint" => CloseCause::DeathHint,
                    "announced" => CloseCause::Announced,
                    "crash_recovery" => CloseCause::CrashRecovery,
                    "unclassified" => CloseCause::Unclassified,
                    other => panic!("no cause {other}"),
                };
                let world = self.world();
                let at = world.index(server);
                world.close(at, cause, "closed by the scenario");
            }
            ["mode", server, mode] => {
                let mode = match *mode {
                    "up" => Mode::Up,
                    "refused" => Mode::Refused,
                    "silent" => Mode::Silent,
                    "unknown" => Mode::Unknown,
                    "saturated" => Mode::Impaired(Impairment::Saturated),
                    "starting" => Mode::Impaired(Impairment::Starting),
                    "recovering" => Mode::Impaired(Impairment::Recovering),
                    "stopping" => Mode::Impaired(Impairment::Stopping),
                    "authentication" => Mode::Impaired(Impairment::Authentication),
                    other => panic!("no mode {other}"),
                };
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].mode = mode;
            }
            ["host", server, word] => {
                let word = match *word {
                    "running" => Some((ProcessState::Running, LocalAnswer::Silent)),
                    "serving" => Some((ProcessState::Running, LocalAnswer::Accepting)),
                    "stopped" => Some((ProcessState::Stopped, LocalAnswer::Silent)),
                    "gone" => Some((ProcessState::Gone, LocalAnswer::Silent)),
                    "silent" => None,
                    other => panic!("no word {other}"),
                };
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].host = word;
            }
            // It is shutting down, and does not come to its end.
            ["holds", server, what @ ..] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].holds = what.iter().map(|what| (*what).to_owned()).collect();
            }
            ["node", server, key, value] => self.node(server, key, value),
            ["fail", action, kind] => {
                let failure = match *kind {
                    "no_effect" => Failure::no_effect("refused by the scenario", "mend it"),
                    "refused" => Failure::refused("refused for good by the scenario", "mend it"),
                    "unknown" => Failure::unknown("broken off by the scenario", ""),
                    "timed_out" => Failure::timed_out("too slow by the scenario", ""),
                    other => panic!("no kind {other}"),
                };
                self.world().failing.insert((*action).to_owned(), failure);
            }
            ["unfail", action] => {
                self.world().failing.remove(*action);
            }
            ["lose", action] => {
                self.world().silent_actions.insert((*action).to_owned());
            }
            // What it finds is of the moment at which it began.
            ["slow", action, span] => {
                let span = parse(span);
                self.world().slow_actions.insert((*action).to_owned(), span);
            }
            ["unlose", action] => {
                self.world().silent_actions.remove(*action);
            }
            ["route", works] => self.world().route_works = *works == "works",
            // It cannot be told anything, whatever becomes of the first one.
            ["second_instance", "fails"] => self.world().second_instance_fails = true,
            // Whether the old primary is still found stopped when somebody looks again.
            ["proof", holds] => self.world().proof_fails = *holds == "fails",
            // Another engine's session on this server; `none`: it is gone.
            ["engine_on", server, name] => {
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].engines = (*name != "none").then(|| (*name).to_owned()).into_iter().collect();
            }
            ["partitioned"] => self.world().partitioned = true,
            ["writes", rate] => self.world().write_rate = rate.parse().expect("bytes per second"),
            // Without names: an administrator clears them.
            ["sync", names @ ..] => {
                let names = names.join(" ");
                let world = self.world();
                world.sync_names = names;
                for node in world.nodes.iter_mut().filter(|node| node.settings_loaded.is_some()) {
                    node.settings_loaded = node.settings_loaded.map(|loaded| loaded + 1);
                }
            }
            ["sync_commit", word] => {
                self.world().sync_commit = failover_core::sample::SyncCommit::parse(word).expect("a value of synchronous_commit");
            }
            // Its receiver ends, and streams again after that.
            ["flicker", server, span] => {
                let span = parse(span);
                let world = self.world();
                let at = world.index(server);
                world.nodes[at].streaming = false;
                world.nodes[at].streams_at = Some(world.now + span);
            }
            // A killed primary's last backend answers when no sender is left: an empty set.
            ["last_words", server] => {
                let world = self.world();
                let at = world.index(server);
                world.last_words(at);
            }
            // Clients take every place of a new primary.
            ["full"] => self.world().full = true,
            ["commits_wait"] => self.world().commits_wait = true,
            ["stuck", stuck, workers] => {
                let (stuck_workers, workers) = (stuck.parse().expect("a number"), workers.parse().expect("a number"));
                self.world().self_health(SelfHealth { stuck_workers, workers, journal_writable: true, ..SelfHealth::default() });
            }
            ["stuck_loops", stuck] => {
                let stuck_loops = stuck.parse().expect("a number");
                self.world().self_health(SelfHealth { stuck_loops, journal_writable: true, ..SelfHealth::default() });
            }
            ["journal", state] => {
                let journal_writable = *state == "writable";
                self.world().self_health(SelfHealth { journal_writable, ..SelfHealth::default() });
            }
            ["restore", primary, generation, age, unfinished, rest @ ..] => {
                let durable = Durable {
                    generation: Generation(generation.parse().expect("a number")),
                    primary: Some(ServerId(u16::try_from(self.world().index(primary)).expect("small"))),
                    cluster: Cluster {
                        system_id: Some(crate::world::SYSTEM_ID),
                        position: Some((1, failover_core::sample::Lsn::default())),
                        ..Cluster::default()
                    },
                    pause: rest.contains(&"paused").then(Pause::default),
                    attention: rest.contains(&"attention").then(|| "no candidate could be promoted".to_owned()),
                    ..Durable::default()
                };
                let facts = Facts {
                    durable: durable.with_failover_age((*age != "-").then(|| parse(age))),
                    unfinished: (*unfinished != "-").then(|| (*unfinished).to_owned()),
                    ..Facts::default()
                };
                self.world().feed(Input::Restored { service: failover_core::id::ServiceId(0), facts: Box::new(facts) });
            }
            ["operator", command @ ..] => {
                let command = match command {
                    ["confirm"] => Command::Confirm,
                    ["pause"] => Command::pause(),
                    // `operator pause 10s WHY`.
                    ["pause", lasts, why @ ..] => {
                        Command::Pause { reason: (!why.is_empty()).then(|| why.join(" ")), lasts: Some(parse(lasts)) }
                    }
                    ["resume"] => Command::Resume,
                    ["reset"] => Command::Reset,
                    ["stop"] => Command::Stop,
                    ["adopt", server] => {
                        Command::Adopt { server: ServerId(u16::try_from(self.world().index(server)).expect("small")) }
                    }
                    ["cordon", server] => {
                        Command::Cordon { server: ServerId(u16::try_from(self.world().index(server)).expect("small")) }
                    }
                    ["uncordon", server] => {
                        Command::Uncordon { server: ServerId(u16::try_from(self.world().index(server)).expect("small")) }
                    }
                    ["switchover"] => Command::Switchover { to: None, order: SwitchoverOrder::Begin },
                    ["switchover", "look"] => Command::Switchover { to: None, order: SwitchoverOrder::Look },
                    ["switchover", "cancel"] => Command::Switchover { to: None, order: SwitchoverOrder::Cancel },
                    ["switchover", "in", after] => {
                        let after = parse(after);
                        let at_ms = (self.world().now + after).as_nanos() / 1_000_000;
                        Command::Switchover { to: None, order: SwitchoverOrder::Plan { after, at_ms } }
                    }
                    ["switchover", "look", to] | ["switchover", to] => Command::Switchover {
                        to: Some(ServerId(u16::try_from(self.world().index(to)).expect("small"))),
                        order: if command.len() == 3 { SwitchoverOrder::Look } else { SwitchoverOrder::Begin },
                    },
                    ["force"] => Command::Force { to: None, accept_loss: None },
                    ["force", "accept", bytes] => Command::Force { to: None, accept_loss: Some(bytes.parse().expect("bytes")) },
                    ["force", to] => Command::Force {
                        to: Some(ServerId(u16::try_from(self.world().index(to)).expect("small"))),
                        accept_loss: None,
                    },
                    other => panic!("no command {other:?}"),
                };
                self.world().command(command);
            }
            ["survey"] => self.world().survey(),
            // What was looked at before the last order about a switchover.
            ["preflight"] => {
                let world = self.world();
                for line in world.answer.take().map(|answer| answer.preflight).unwrap_or_default() {
                    let remedy = if line.remedy.is_empty() { String::new() } else { format!(" [{}]", line.remedy) };
                    world.note(&format!("preflight {} {}: {}{remedy}", line.level, line.name, line.message));
                }
            }
            ["gate"] => {
                let world = self.world();
                let word = if world.gate_closed { "closed" } else { "open" };
                world.note(&format!("the gate is {word}"));
            }
            ["transactions_run", word] => self.world().transactions_run = *word == "yes",
            // `facts db1 logical_slots=a prepared=2 oldest=1m idle=3 waits_for_ever=yes ready_slots=a`.
            ["source", server, why @ ..] => {
                let world = self.world();
                let at = world.index(server);
                world.source_trouble.insert(at, why.join(" "));
            }
            ["facts", server, facts @ ..] => {
                let world = self.world();
                let at = world.index(server);
                for fact in facts {
                    let (key, value) = fact.split_once('=').expect("KEY=VALUE");
                    let known = &mut world.facts[at];
                    match key {
                        "logical_slots" => known.logical_slots = vec![value.to_owned()],
                        "ready_slots" => known.ready_slots = vec![value.to_owned()],
                        "prepared" => known.prepared = value.parse().expect("a number"),
                        "max_prepared" => known.max_prepared = value.parse().expect("a number"),
                        "oldest" => known.oldest_transaction = Some(parse(value)),
                        "idle" => known.idle_in_transaction = value.parse().expect("a number"),
                        "waits_for_ever" => known.senders_wait_for_ever = value == "yes",
                        other => panic!("no fact {other}"),
                    }
                }
            }
            // Whoever is asked to stop crashes instead.
            ["crashes_when_stopped"] => self.world().crashes_when_stopped = true,
            // At most so much is carried from an old primary's disk.
            ["salvage_stops", bytes, why @ ..] => {
                self.world().salvage_stops = Some((bytes.parse().expect("bytes"), why.join(" ")));
            }
            // So much of an old primary's log cannot be read, and looks as if it had never been written.
            ["log_torn", bytes] => self.world().log_torn = bytes.parse().expect("bytes"),
            // It does not receive the end of a log.
            ["hears", server] => {
                let world = self.world();
                let at = world.index(server);
                world.deaf.remove(&at);
            }
            ["deaf", server] => {
                let world = self.world();
                let at = world.index(server);
                world.deaf.insert(at);
            }
            // Whom the survey was asked to look at since the last time this was asked.
            ["unsurveyed"] => {
                let world = self.world();
                let names: Vec<String> =
                    std::mem::take(&mut world.unsurveyed).iter().map(|server| format!("db{}", server.0 + 1)).collect();
                world.note(&format!("unsurveyed: {}", if names.is_empty() { "nobody".to_owned() } else { names.join(" ") }));
            }
            ["metrics"] => {
                let world = self.world();
                let service = world.core.snapshot().services.remove(0);
                let stats = &service.stats;
                let mean = |spans: &Spans| spans.mean().map_or_else(|| "-".to_owned(), |mean| mean.to_string());
                let (succeeded, tried) = stats.success();
                let (needless, all) = stats.false_positive();
                let line = format!(
                    "metrics: MTTD {} of {}, MTTR {} of {}, success {succeeded}/{tried}, false positives {needless}/{all}",
                    mean(&stats.detect),
                    stats.detect.count,
                    mean(&stats.repair),
                    stats.repair.count,
                );
                world.note(&line);
                if let Some(last) = &stats.last {
                    let line = format!("metrics: the last one was {}: {}", last.judgement.need.as_str(), last.judgement.why);
                    world.note(&line);
                }
            }
            ["status"] => {
                let world = self.world();
                let snapshot = world.core.snapshot();
                let service = &snapshot.services[0];
                let name = |server: ServerId| format!("db{}", server.0 + 1);
                let forecast = match &service.forecast.outcome {
                    Ok(candidate) if candidate.mends => {
                        let name = name(candidate.server);
                        format!("{name} would be promoted, loss {:?} unless salvage carries it over", candidate.loss)
                    }
                    Ok(candidate) => format!("{} would be promoted, loss {:?}", name(candidate.server), candidate.loss),
                    Err(refusals) => {
                        let all: Vec<String> = refusals.iter().map(|refusal| refusal.sentence(&name)).collect();
                        if !service.no_primary_because.is_empty() {
                            world.note(&format!("status: {}", service.no_primary_because));
                        }
                        format!("no failover: {}", all.join(" | "))
                    }
                };
                let line = format!(
                    "status: {}, primary {}{}, if it died now: {forecast}",
                    service.state.as_str(),
                    service.primary.map_or("none".to_owned(), name),
                    if service.generation.0 > 0 { format!(", generation {}", service.generation) } else { String::new() }
                );
                let withheld: Vec<String> = service.withheld.iter().map(|left| left.sentence.clone()).collect();
                world.note(&line);
                for left in withheld {
                    world.note(&format!("status: left undone: {left}"));
                }
            }
            other => panic!("no command {other:?}"),
        }
    }

    fn kill(&mut self, server: &str, cause: CloseCause) {
        let world = self.world();
        let at = world.index(server);
        world.nodes[at].mode = Mode::Refused;
        world.nodes[at].host = Some((ProcessState::Gone, LocalAnswer::Silent));
        let words = if cause == CloseCause::DeathHint { "FATAL 57P01 secure_read" } else { "FATAL 57P01 ProcessInterrupts" };
        world.close(at, cause, words);
    }

    fn set(&mut self, key: &str, value: &str) {
        assert!(self.world.is_none(), "settings come before everything else");
        let service = &mut self.model.services[0];
        match key {
            "ssh" => service.servers.iter_mut().for_each(|server| server.ssh = value == "yes"),
            "fence_command" => service.servers.iter_mut().for_each(|server| server.fence_command = value == "yes"),
            "exclusive" => service.route.exclusive = value == "yes",
            "require_confirmation" => service.trigger.require_confirmation = value == "yes",
            "confirm_timeout" => service.trigger.confirm_timeout = parse(value),
            "cooldown" => service.trigger.cooldown = parse(value),
            "failover_timeout" => service.trigger.failover_timeout = parse(value),
            "on_impaired" => service.trigger.on_impaired = Some(parse(value)),
            "on_loss" => service.postgres.on_loss = if value == "proceed" { OnLoss::Proceed } else { OnLoss::Refuse },
            "salvage" => {
                service.postgres.salvage = match value {
                    "off" => OnSalvage::Off,
                    "auto" => OnSalvage::Auto,
                    "require" => OnSalvage::Require,
                    other => panic!("no salvage {other}"),
                }
            }
            "followers" => {
                service.postgres.followers = if value == "auto" { OnNewPrimary::Auto } else { OnNewPrimary::Off };
            }
            // `synchronous 1`: the engine keeps a set of so many.
            "synchronous" => {
                service.postgres.sync = SyncModel {
                    keep: OnSynchronous::Maintain,
                    count: value.parse().expect("a number"),
                    timeout: Span::from_millis(5_000),
                };
            }
            "on_no_sync_standby" => {
                service.postgres.on_no_sync_standby =
                    if value == "block" { OnNoSyncStandby::Block } else { OnNoSyncStandby::Async };
            }
            // Poolers in front: `gate abort`, `gate cut`, `gate wait`.
            "gate" => {
                service.route.gate = Some(GateModel {
                    pause_timeout: Span::from_millis(1_000),
                    on_timeout: value.parse().expect("abort, cut or wait"),
                });
            }
            "policy" => service.trigger.policy = if value == "all" { Policy::All } else { Policy::Count },
            "pre_checks" => service.pre_checks = value == "yes",
            "names" => service.route.names = (value == "yes").then(|| failover_core::time::Span::from_millis(5_000)),
            "candidate" => service.servers[1].candidate = value == "yes",
            // Of the last one.
            "priority" => service.servers.last_mut().expect("servers").priority = value.parse().expect("a number"),
            "max_lag_bytes" => service.postgres.max_lag_bytes = value.parse().expect("a number"),
            // Of one server: `replication_name db3=walreceiver`.
            "replication_name" => {
                let (name, called) = value.split_once('=').expect("SERVER=NAME");
                let server = service.servers.iter_mut().find(|server| server.name == name).expect("a server");
                server.replication_name = Some(called.to_owned());
            }
            other => panic!("no setting {other}"),
        }
    }

    fn node(&mut self, server: &str, key: &str, value: &str) {
        let world = self.world();
        let at = world.index(server);
        let now = world.now;
        let node = &mut world.nodes[at];
        match key {
            "started" if value == "now" => node.started = Some(now),
            // `none`: it has not streamed since its postmaster was started; `position`: its position again.
            "receive" => {
                node.receive = match value {
                    "position" => Received::Position,
                    "none" => Received::Nothing,
                    lsn => Received::UpTo(lsn.parse().expect("a number")),
                }
            }
            "replay" => node.replay = (value != "position").then(|| value.parse().expect("a number")),
            "replay_behind" => node.replay = Some(node.lsn - value.parse::<u64>().expect("a number")),
            "at_end" => node.at_end = value == "yes",
            "name" => node.called = Some(value.to_owned()),
            "slot" => node.slot = (value != "none").then(|| value.to_owned()),
            "control_timeline" => node.control_timeline = (value != "none").then(|| value.parse().expect("a number")),
            "settings_loaded" => node.settings_loaded = (value != "none").then(|| value.parse().expect("a number")),
            "writable" => node.writable = value == "yes",
            "memory_gone" => node.memory_gone = value == "yes",
            "stopped_by_order" => node.stopped_by_order = value == "yes",
            "streaming" => node.streaming = value == "yes",
            "upstream" => {
                let upstream = (value != "none").then(|| world.index(value));
                world.nodes[at].upstream = upstream;
            }
            "delayed" => node.delayed = value == "yes",
            "spool" => node.spool = Some(value == "yes"),
            "replay_paused" => node.replay_paused = value == "yes",
            "replay_conflict" => node.replay_conflict = value == "yes",
            "system_id" => node.system_id = value.parse().expect("a number"),
            "timeline" => node.timeline = value.parse().expect("a number"),
            "fork" => node.fork = Some(value.parse().expect("a number")),
            "lsn" => node.lsn = value.parse().expect("a number"),
            "behind" => node.lsn -= value.parse::<u64>().expect("a number"),
            other => panic!("no property {other}"),
        }
    }
}

fn parse(text: &str) -> Span {
    humantime::parse_duration(text).map_or_else(|error| panic!("{text}: {error}"), Span::from)
}
