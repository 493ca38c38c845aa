//! What of a server's own line keeps traffic from it, whatever the instance is told.

use crate::finding::FindingCode;
use crate::sample::ReadinessFinding;
use serde::{Deserialize, Serialize};

use super::{ServerView, Unnamed};

/// What keeps a server out whatever an instance is told about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// The instance has no address for its name.
    Resolution,
    /// It follows this server of the instance (`backend/server`), which is out.
    Tracks(String),
    /// It follows this line of another server of the route: a failover takes that out, and this one with it.
    TracksRival(String),
}

impl Held {
    /// What is so, as a clause about the server.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Held::Resolution => "HAProxy has no address for its name".to_owned(),
            Held::Tracks(other) => format!("it follows {other} (`track`), which is out"),
            Held::TracksRival(other) => {
                format!("it follows {other} (`track`), a line of another server, and is out whenever that one is")
            }
        }
    }

    /// What mends it on this instance. `path`: the line that is held.
    #[must_use]
    pub fn remedy(&self, instance: &str, path: &str) -> String {
        match self {
            Held::Resolution => format!(
                "make the name resolve on the host of {instance}, or write the address on its server line; without `resolvers` HAProxy looks names up at its start alone"
            ),
            Held::Tracks(other) => format!(
                "on the admin socket of {instance}: set server {other} state ready; or take `track` off the server line, or name {other} in the route too"
            ),
            Held::TracksRival(_) => {
                format!(
                    "take `track` off the line of {path}, or let it follow another line of the same server; then reload {instance}"
                )
            }
        }
    }
}

/// A check of the instance's own that holds a server down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCheck {
    /// The line that is checked, as `backend/server`: its own, or the one that it follows.
    pub line: String,
    /// It is the agent that says so.
    pub agent: bool,
    /// What became of the last one: `L4CON`, `L7STS`.
    pub status: String,
    /// The number of the last answer, as HTTP's.
    pub code: Option<u32>,
    /// The instance's words about the last one.
    pub said: String,
}

impl OwnCheck {
    /// It got no connection, or none that TLS accepts: nobody was asked.
    #[must_use]
    pub fn is_without_connection(&self) -> bool {
        !self.agent && (self.status.starts_with("L4") || self.status.starts_with("L6"))
    }

    /// The answer of an endpoint that tells the role of a server, and says that it is not the primary.
    #[must_use]
    pub fn is_of_the_role(&self) -> bool {
        !self.agent && self.status == "L7STS" && self.code == Some(503)
    }

    /// In brackets.
    #[must_use]
    pub fn words(&self) -> String {
        let code = self.code.filter(|code| *code != 0).map(|code| format!(" {code}")).unwrap_or_default();
        let said = if self.said.is_empty() { String::new() } else { format!(", {}", self.said) };
        format!("{}{code}{said}", self.status)
    }
}

/// An address of a line that is not its server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misled {
    /// The address.
    pub address: String,
    /// Whose it is, by our name.
    pub server: String,
    /// The line of that server that has it too, where this is all that is known.
    pub twin: Option<String>,
}

/// What is wrong with the line of a server. `answers`: the server answers us.
pub(super) fn findings(
    name: &str,
    backend: &str,
    server: &ServerView,
    primary: Option<&ServerView>,
    answers: bool,
) -> impl Iterator<Item = ReadinessFinding> {
    let is_primary = primary.is_some_and(|primary| primary.server == server.server);
    let held = (!is_primary).then(|| held(name, backend, server)).flatten();
    let misled = misled(name, backend, server, is_primary);
    let down = (primary.is_some() && !is_primary && answers).then(|| held_down(name, backend, server)).flatten();
    let narrow = primary.filter(|_| !is_primary).and_then(|primary| narrow(name, backend, server, primary));
    held.into_iter().chain(misled).chain(down).chain(narrow)
}

fn held(name: &str, backend: &str, server: &ServerView) -> Option<ReadinessFinding> {
    let held = server.held.as_ref()?;
    let path = format!("{backend}/{}", server.name);
    Some(FindingCode::RouteServerHeld.found(
        true,
        format!(
            "route instance {name}: {path} is kept out by HAProxy itself: {}: no traffic can be moved to {}",
            held.what(),
            server.server
        ),
        held.remedy(name, &path),
    ))
}

/// Two lines with one address: the primary's is taken for the right one.
fn misled(name: &str, backend: &str, server: &ServerView, is_primary: bool) -> Option<ReadinessFinding> {
    let Misled { address, server: other, twin } = server.misled.as_ref()?;
    if is_primary && twin.is_some() {
        return None;
    }
    let path = format!("{backend}/{}", server.name);
    let whose = match twin {
        Some(twin) => format!("the address of {twin} ({other})"),
        None => format!("the address of {other}"),
    };
    Some(FindingCode::RouteAddressWrong.found(
        true,
        format!(
            "route instance {name}: {path} has {address}, {whose}: traffic that is moved to {} would reach {other}",
            server.server
        ),
        format!("write the address of {} on the line of {path}, and reload {name}", server.server),
    ))
}

fn held_down(name: &str, backend: &str, server: &ServerView) -> Option<ReadinessFinding> {
    if server.held.is_some() {
        return None;
    }
    let check = server.check.as_ref().filter(|check| !check.is_of_the_role())?;
    let path = format!("{backend}/{}", server.name);
    let OwnCheck { line, agent, .. } = check;
    let (ours, words) = (&server.server, check.words());
    let what = if *agent { "agent" } else { "own check" };
    let said = format!("route instance {name}: HAProxy's {what} holds {path} down ({words}), though {ours} answers the engine");
    Some(if check.is_without_connection() {
        FindingCode::RouteCheckFails.found(
            true,
            format!("{said}: no traffic stays on {ours}"),
            format!("correct port, address and TLS of the check on the line of {line} of {name}, or take `check` off it"),
        )
    } else {
        FindingCode::RouteCheckFails.found(
            false,
            format!("{said}: unless the {what} asks for the role of the server, no traffic stays on {ours} after a failover"),
            if *agent {
                format!("see why the agent of {line} holds it out, or take `agent-check` off its line")
            } else {
                format!("see why {name}'s check of {line} fails; where it asks for the role, let a standby answer with HTTP status 503")
            },
        )
    })
}

/// It takes fewer sessions at a time than the primary.
fn narrow(name: &str, backend: &str, server: &ServerView, primary: &ServerView) -> Option<ReadinessFinding> {
    let limit = server.limit.filter(|limit| primary.limit.is_none_or(|of_primary| *limit < of_primary))?;
    let path = format!("{backend}/{}", server.name);
    let of_primary = primary.limit.map_or_else(|| "without a limit".to_owned(), |limit| limit.to_string());
    Some(FindingCode::RouteLimitLow.found(
        false,
        format!(
            "route instance {name}: {path} takes {limit} {} at a time (`maxconn`), and the primary's line {of_primary}: after a failover the others wait or get an error",
            if limit == 1 { "session" } else { "sessions" }
        ),
        format!("write on the line of {path} the maxconn of {backend}/{}, and reload {name}", primary.name),
    ))
}

/// A line of the backend that the route does not name and that takes sessions: nobody moves them. A `backup` beside it gets none.
pub(super) fn of_stranger(name: &str, backend: &str, stranger: &str, servers: &[ServerView], primary: &str) -> ReadinessFinding {
    let starved = servers.iter().find(|server| server.server != primary && server.backup);
    let path = format!("{backend}/{stranger}");
    let hurts = match starved {
        None => "a failover does not move them".to_owned(),
        Some(standby) => format!("{backend}/{} is a `backup` and would get none of them", standby.name),
    };
    FindingCode::RouteLineUnnamed.found(
        starved.is_some(),
        format!("route instance {name}: {path} takes new sessions, and the route does not name it: {hurts}"),
        format!(
            "take {path} out of backend {backend} of {name}, or name it in route.haproxy.servers as the server to which it leads"
        ),
    )
}

/// Databases of a pooler that lead to the primary and that the route does not name: they stay with the old server.
pub(super) fn of_databases(name: &str, unnamed: &[Unnamed], primary: &str) -> Option<ReadinessFinding> {
    let to_primary = unnamed.iter().filter(|one| one.server.as_deref() == Some(primary));
    let names: Vec<&str> = to_primary.map(|one| one.name.as_str()).collect();
    let names = match names.as_slice() {
        [] => return None,
        names => names.join(", "),
    };
    Some(FindingCode::RouteLineUnnamed.found(
        false,
        format!("route instance {name}: {names} of PgBouncer too leads to {primary}, and the route does not name it: a failover does not move its clients"),
        format!("name {names} in route.pgbouncer.databases, and move the line into the file that route.pgbouncer.file names"),
    ))
}
