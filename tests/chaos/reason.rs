//! Where nobody serves the engine has to name a reason, and it has to be true.

use crate::judge::{Story, Verdict};
use crate::plan::Kind;
use crate::watch::Saw;

/// What is known of a reason.
enum Truth {
    Holds,
    Wrong(String),
    Unknown,
}

/// Holds the named reasons against what is known.
pub fn check(story: &Story, verdict: &mut Verdict) {
    let end = story.end;
    let told: Vec<String> = end.refusals.iter().map(|reason| format!("{}: {}", reason.code, reason.message)).collect();
    if end.refusals.is_empty() && end.reason.is_empty() {
        verdict.broken.push(("no_reason", format!("{} without a reason", end.state)));
        return;
    }
    // A person was called for it, and the sentence is all that is left of it.
    let both = end.reason.contains("both take writes") && story.seen.two_writable();
    let cooldown = end.reason.contains("less than the cooldown ago") && story.told("failover_completed").next().is_some();
    let mut explained = both || cooldown;
    for reason in &end.refusals {
        match truth(story, &reason.code, &reason.message) {
            Truth::Holds => explained = true,
            Truth::Wrong(why) => verdict.broken.push(("untrue_reason", format!("{}: {}; {why}", reason.code, reason.message))),
            Truth::Unknown => {}
        }
    }
    if !explained {
        verdict.to_read.push(format!("{} ({}); {}", end.state, end.reason, told.join("; ")));
    }
}

fn holds(known: bool, why: &str) -> Truth {
    if known { Truth::Holds } else { Truth::Wrong(why.to_owned()) }
}

fn truth(story: &Story, code: &str, message: &str) -> Truth {
    let end = story.end;
    let writable = end.saw.iter().filter(|saw| **saw == Some(Saw::Writable)).count();
    match code {
        "cooldown" => holds(
            story.told("failover_completed").next().is_some() || story.told("rolled_back").next().is_some(),
            "no failover was completed",
        ),
        "two_primaries" => holds(story.seen.two_writable(), "two were never seen to take writes at once"),
        "paused" => holds(story.was_done(|kind| kind == Kind::Pause), "nobody paused it"),
        "journal_unwritable" => holds(story.was_done(|kind| kind == Kind::StateFull), "the disk of the journal was never full"),
        // A sender that outlives all service goes on with its standby.
        "standby_sees_primary" if writable == 0 && silent_and_alive(story) => Truth::Unknown,
        "standby_sees_primary" | "host_says_serving" => holds(writable > 0 || end.serves_kept, "nobody takes writes"),
        // Everything that hides a host is mended by now, but for one that is not there.
        "fence_unavailable" => holds(false, "every host can be asked by now"),
        "no_primary_seen" => holds(
            story.was_done(|kind| matches!(kind, Kind::EngineKilled | Kind::EngineStopped)),
            "the engine that is there has seen one",
        ),
        "no_candidate" => candidate(story, message),
        _ => Truth::Unknown,
    }
}

/// A server does not answer, and has processes all the same.
fn silent_and_alive(story: &Story) -> bool {
    story.end.saw.iter().zip(&story.end.lives).any(|(saw, lives)| *saw == Some(Saw::Silent) && *lives)
}

/// `name: why` for each standby.
fn candidate(story: &Story, message: &str) -> Truth {
    let mut truth = Truth::Unknown;
    for (place, (name, _)) in story.servers.iter().enumerate() {
        let Some((_, why)) = message.split_once(&format!("{name}: ")) else { continue };
        match of_standby(story, place, why) {
            Truth::Wrong(why) => return Truth::Wrong(format!("{name}: {why}")),
            Truth::Holds => truth = Truth::Holds,
            Truth::Unknown => {}
        }
    }
    truth
}

fn of_standby(story: &Story, place: usize, why: &str) -> Truth {
    let is = |saw: Saw| story.end.saw[place] == Some(saw);
    if why.starts_with("it cannot be asked") {
        // A deposed server is asked by nobody.
        return holds(is(Saw::Silent) || why.contains("was deposed"), "it answers");
    }
    if why.starts_with("it is not in recovery") {
        return holds(is(Saw::Writable), "it is in recovery");
    }
    if why.starts_with("it is on timeline") {
        // Nobody but an operator makes a standby follow a new primary.
        return holds(
            story.told("failover_completed").next().is_some() || story.was_done(|kind| kind == Kind::Promote),
            "there is one",
        );
    }
    if why.starts_with("it is not known how much could be lost") {
        let engine = |kind| matches!(kind, Kind::EngineKilled | Kind::EngineStopped | Kind::EngineFrozen);
        let path = |kind| matches!(kind, Kind::CutEngine | Kind::CutEngineFromAll | Kind::Unplug);
        // A server that stands still cannot be asked how far it is either.
        let still = |kind| matches!(kind, Kind::Freeze | Kind::FreezePostmaster | Kind::RestartClean | Kind::RestartImmediate);
        return holds(story.was_done(|kind| engine(kind) || path(kind) || still(kind)), "the engine looked all the time");
    }
    if why.starts_with("it was not receiving") {
        let hurt = story.deeds.iter().any(|deed| !deed.over && (deed.server == Some(place) || deed.kind == Kind::CutServers));
        return if hurt { Truth::Holds } else { Truth::Unknown };
    }
    Truth::Unknown
}
