//! What an operator tells a running daemon.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::time::{Duration, Instant, UNIX_EPOCH};

use failover::{FailoverStatus, RejoinStatus, Status};
use serde_json::Value;

use super::arguments::{Adopt, Clone, Confirm, Cordon, Force, MaybeService, OneService, Pause, Rejoin, Switchover};
use super::client::Client;
use super::exit::{Code, Trouble};
use super::protocol::{Line, Request};
use super::terminal::{Terminal, print, print_json};
use super::{events, status, text};

pub fn confirm(arguments: &Confirm, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = match &arguments.service {
        Some(service) => Request::Confirm { service: service.clone() },
        None => Request::ConfirmAll,
    };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn pause(arguments: &Pause, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let for_ms = arguments.lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX));
    let request = Request::Pause { service: arguments.service.clone(), reason: arguments.reason.clone(), for_ms };
    let mut client = Client::connect(&arguments.daemon)?;
    all_where_none_is_named(arguments.service.as_deref(), "pause", json)?;
    tell(&mut client, &request, json, terminal)
}

pub fn resume(arguments: &MaybeService, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Resume { service: arguments.service.clone() };
    let mut client = Client::connect(&arguments.daemon)?;
    all_where_none_is_named(arguments.service.as_deref(), "resume", json)?;
    tell(&mut client, &request, json, terminal)
}

/// Says beforehand whom an order without a name concerns.
fn all_where_none_is_named(service: Option<&str>, order: &str, json: bool) -> Result<(), Trouble> {
    if service.is_some() || json {
        return Ok(());
    }
    print(&format!("no service is named: {order} is for all of them\n"))
}

pub fn reset(arguments: &OneService, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Reset { service: arguments.service.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn adopt(arguments: &Adopt, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Adopt { service: arguments.service.clone(), server: arguments.server.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn cordon(arguments: &Cordon, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Cordon { service: arguments.service.clone(), server: arguments.server.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn uncordon(arguments: &Cordon, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Uncordon { service: arguments.service.clone(), server: arguments.server.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn switchover(arguments: &Switchover, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let service = arguments.service.clone();
    let mut client = Client::connect(&arguments.daemon)?;
    if arguments.cancel {
        return tell(&mut client, &Request::CancelSwitchover { service }, json, terminal);
    }
    let at_ms = arguments.at.map(|at| {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    });
    let (dry_run, wait_for_it) = (arguments.dry_run, arguments.wait);
    let request = Request::Switchover { service, to: arguments.to.clone(), dry_run, at_ms, wait: wait_for_it };
    if wait_for_it {
        return wait(&mut client, &request, &arguments.service, json, terminal);
    }
    let answer = client.ask(&request)?;
    let lines = answer.get("preflight").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let refused = lines.iter().any(|line| word(line, "level") == "refused");
    if json {
        print_json(&answer, terminal)?;
    } else {
        let lines: String = lines.iter().map(preflight_line).collect();
        let outcome = match (dry_run, refused) {
            (true, true) => format!("{}: a switchover would be refused", arguments.service),
            _ => said(&answer).to_owned(),
        };
        print(&format!("{lines}{}\n", text::printable(&outcome)))?;
    }
    Ok(if dry_run && refused { Code::NotUp } else { Code::Ok })
}

fn word<'a>(line: &'a Value, name: &str) -> &'a str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What was looked at, as a line, and what mends it below.
fn preflight_line(line: &Value) -> String {
    let (level, message, remedy) = (word(line, "level"), word(line, "message"), word(line, "remedy"));
    let mut text = format!("{level:<8} {}: {}\n", text::printable(word(line, "name")), text::printable(message));
    if !remedy.is_empty() {
        let _ = writeln!(text, "         Remedy: {}", text::printable(remedy));
    }
    text
}

pub fn force(arguments: &Force, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    if !arguments.yes {
        if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Trouble::new(Code::Config, "a forced failover is not started without --yes where nobody can be asked")
                .remedy("look at `failover status` first, then add --yes"));
        }
        if !agreed(&mut Client::connect(&arguments.daemon)?, arguments)? {
            return Err(Trouble::new(Code::Refused, "nothing was done"));
        }
    }
    // Not the conversation of the question: the daemon does not wait for it as long as somebody may take to answer.
    let mut client = Client::connect(&arguments.daemon)?;
    let (service, to) = (arguments.service.clone(), arguments.to.clone());
    let request = Request::Force { service, to, accept_loss: arguments.accept_loss, wait: arguments.wait };
    if arguments.wait {
        return wait(&mut client, &request, &arguments.service, json, terminal);
    }
    let code = tell(&mut client, &request, json, terminal)?;
    if !json {
        let service = &arguments.service;
        print(&format!(
            "how it ends: failover status {service}, or failover events --follow --service {service}; --wait waits for it\n"
        ))?;
    }
    Ok(code)
}

pub fn rejoin(arguments: &Rejoin, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let (service, server, dry_run) = (arguments.service.clone(), arguments.server.clone(), arguments.dry_run);
    let wait = arguments.wait || dry_run;
    let mut client = Client::connect(&arguments.daemon)?;
    let request = Request::Rejoin { service, server, dry_run, rebuild: arguments.rebuild, wait };
    return_of(&mut client, &request, (&arguments.service, wait), json, terminal)
}

pub fn clone(arguments: &Clone, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let (service, server, dry_run) = (arguments.service.clone(), arguments.server.clone(), arguments.dry_run);
    let wait = arguments.wait || dry_run;
    let mut client = Client::connect(&arguments.daemon)?;
    let request = Request::Clone { service, server, dry_run, wait };
    return_of(&mut client, &request, (&arguments.service, wait), json, terminal)
}

/// Gives the order; waits for its end, or says where that shows.
fn return_of(
    client: &mut Client,
    request: &Request,
    (service, wait): (&str, bool),
    json: bool,
    terminal: Terminal,
) -> Result<Code, Trouble> {
    if wait {
        return wait_for_rejoin(client, request, json, terminal);
    }
    let code = tell(client, request, json, terminal)?;
    if !json {
        print(&format!("how it ends: failover status {service}, or failover events --follow --service {service}\n"))?;
    }
    Ok(code)
}

/// A rewind takes as long as it takes; nobody waits for one longer than that. A daemon that has gone shows at once.
const SILENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives the order, shows the steps until the end, and how it ended.
fn wait_for_rejoin(client: &mut Client, request: &Request, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let begun = client.ask(request)?;
    if !json {
        eprintln!("{}", text::printable(said(&begun)));
    }
    let until = Instant::now() + SILENCE;
    let ended = loop {
        match client.line(Some(until))? {
            Some(Line::Event(event)) if !json => eprintln!("{}", events::human(&event, terminal)),
            Some(Line::Event(_) | Line::Gone(_)) => {}
            Some(Line::Result(ended)) => break ended,
            Some(Line::Error(refused)) => return Err(refused.into()),
            Some(Line::End) | None => {
                return Err(Trouble::new(
                    Code::Unreachable,
                    "the daemon ended: how the return of the old primary ended is not known",
                )
                .remedy("failover status; the next engine goes on with it"));
            }
        }
    };
    let rejoin: RejoinStatus = serde_json::from_value(ended.get("rejoin").cloned().unwrap_or_default())
        .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's answer cannot be read: {error}")))?;
    if json {
        print_json(&ended, terminal)?;
    } else {
        print(&format!("{}: {}: {}\n", rejoin.server, rejoin.outcome, text::printable(&rejoin.message)))?;
    }
    Ok(match rejoin.outcome.as_str() {
        "completed" | "dry_run" => Code::Ok,
        "refused" => Code::NotUp,
        _ => Code::Stuck,
    })
}

/// Beyond what the daemon says to be left of the failover: it has its own deadline for the end, and this is for its last word.
const WAIT_EXTRA: Duration = Duration::from_secs(45);

/// Gives the order, shows the steps of its failover until the end, and how it ended.
fn wait(client: &mut Client, request: &Request, service: &str, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let unknown = |what: &str| {
        Trouble::new(Code::Unreachable, format!("{service}: {what}: how the failover ended is not known"))
            .remedy(format!("failover status {service}; an engine that was killed takes it up again when it is started"))
    };
    let begun = client.ask(request)?;
    if !json {
        eprintln!("{}", text::printable(said(&begun)));
    }
    let left = begun.get("left_ms").and_then(Value::as_u64).unwrap_or(0);
    let until = Instant::now() + Duration::from_millis(left) + WAIT_EXTRA;
    let ended = loop {
        match client.line(Some(until)) {
            Ok(Some(Line::Event(event))) if !json => eprintln!("{}", events::human(&event, terminal)),
            Ok(Some(Line::Event(_) | Line::Gone(_))) => {}
            Ok(Some(Line::Result(ended))) => break ended,
            Ok(Some(Line::Error(refused))) => return Err(refused.into()),
            Ok(Some(Line::End) | None) => return Err(unknown("the daemon ended")),
            Err(_) if Instant::now() >= until => return Err(unknown("it took longer than it may")),
            Err(trouble) => return Err(trouble),
        }
    };
    let failover = ended.get("failover").cloned().unwrap_or_default();
    let failover: FailoverStatus = serde_json::from_value(failover)
        .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's answer cannot be read: {error}")))?;
    if json {
        print_json(&ended, terminal)?;
    } else {
        print(&status::last_failover(&failover, terminal))?;
    }
    Ok(outcome(&failover.outcome))
}

fn outcome(word: &str) -> Code {
    match word {
        "completed" => Code::Ok,
        "rolled_back" | "stopped" => Code::NotUp,
        _ => Code::Stuck,
    }
}

fn status_of(client: &mut Client, service: &str) -> Result<Status, Trouble> {
    let answer = client.ask(&Request::Status { service: Some(service.to_owned()) })?;
    serde_json::from_value(answer)
        .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's status cannot be read: {error}")))
}

/// Shows what would happen and asks for the service's name: a `y` is typed too easily.
fn agreed(client: &mut Client, arguments: &Force) -> Result<bool, Trouble> {
    let status = status_of(client, &arguments.service)?;
    let mut question = String::new();
    for service in &status.services {
        let primary = service.primary.as_deref().unwrap_or("unknown");
        let _ = writeln!(question, "{}: {}, primary {primary}", service.name, service.state);
        let _ = writeln!(question, "{}", status::forecast(service));
    }
    let _ = write!(
        question,
        "A failover of {} to {} begins now",
        arguments.service,
        arguments.to.as_deref().unwrap_or("the best standby")
    );
    if let Some(loss) = arguments.accept_loss {
        let _ = write!(question, ", accepting the loss of up to {}", text::bytes(loss));
    }
    question.push_str(".\nType the name of the service to go on: ");
    let mut stderr = io::stderr();
    let mut line = String::new();
    stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut line))
        .map_err(|error| Trouble::new(Code::Failed, format!("cannot ask: {error}")))?;
    Ok(line.trim() == arguments.service)
}

fn tell(client: &mut Client, request: &Request, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let answer = client.ask(request)?;
    if json {
        print_json(&answer, terminal)?;
    } else {
        print(&format!("{}\n", text::printable(said(&answer))))?;
    }
    Ok(Code::Ok)
}

fn said(answer: &Value) -> &str {
    answer.get("message").and_then(Value::as_str).filter(|message| !message.is_empty()).unwrap_or("done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_failover_ended_is_the_exit_code() {
        let codes: Vec<i32> =
            ["completed", "rolled_back", "stopped", "manual_intervention", ""].iter().map(|word| outcome(word) as i32).collect();
        assert_eq!(codes, [0, 1, 1, 6, 6]);
    }
}
