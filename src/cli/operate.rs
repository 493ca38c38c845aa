//! What an operator tells a running daemon.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use failover::{FailoverStatus, Status};
use serde_json::{Value, json};

use super::arguments::{Adopt, Confirm, Cordon, Force, MaybeService, OneService, Pause};
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
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn resume(arguments: &MaybeService, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Resume { service: arguments.service.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
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

pub fn force(arguments: &Force, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let mut client = Client::connect(&arguments.daemon)?;
    // Before it begins, so that no step is missed.
    let since = if arguments.wait { status_of(&mut client, &arguments.service)?.events.published } else { 0 };
    if !arguments.yes {
        if json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Trouble::new(Code::Config, "a forced failover is not started without --yes where nobody can be asked")
                .remedy("look at `failover status` first, then add --yes"));
        }
        if !agreed(&mut client, arguments)? {
            return Err(Trouble::new(Code::Refused, "nothing was done"));
        }
    }
    let request =
        Request::Force { service: arguments.service.clone(), to: arguments.to.clone(), accept_loss: arguments.accept_loss };
    if arguments.wait {
        let answer = client.ask(&request)?;
        if !json {
            eprintln!("{}", text::printable(said(&answer)));
        }
        return wait(arguments, since, json, terminal);
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

/// Beyond the rest of `failover_timeout`: for a step behind the promotion that is finished, or for the compensations.
const WAIT_EXTRA: Duration = Duration::from_secs(30);

/// Shows the steps of a failover that has begun until its end, and how it ended.
fn wait(arguments: &Force, since: u64, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let name = &arguments.service;
    let unknown = |what: &str| {
        Trouble::new(Code::Unreachable, format!("{name}: {what}: how the failover ended is not known"))
            .remedy(format!("failover status {name}; an engine that was killed takes it up again when it is started"))
    };
    // It may be over already: then nothing is left of its time, and the events tell its end at once.
    let left = failover_of(&mut Client::connect(&arguments.daemon)?, name)?.and_then(|failover| failover.left_ms);
    let until = Instant::now() + Duration::from_millis(left.unwrap_or(0)) + WAIT_EXTRA;
    let mut follower = Client::connect(&arguments.daemon)?;
    follower.send(&Request::Events { since, follow: true, service: Some(name.clone()), verbose: false })?;
    loop {
        match follower.line(Some(until)) {
            Ok(Some(Line::Event(event))) => {
                if !json {
                    eprintln!("{}", events::human(&event, terminal));
                }
                if has_ended(&event) {
                    break;
                }
            }
            Ok(Some(Line::Gone(_))) => {}
            Ok(Some(Line::Error(refused))) => return Err(refused.into()),
            Ok(Some(Line::End | Line::Result(_)) | None) => return Err(unknown("the daemon ended")),
            Err(_) if Instant::now() >= until => return Err(unknown("it took longer than it may")),
            Err(trouble) => return Err(trouble),
        }
    }
    let ended = failover_of(&mut Client::connect(&arguments.daemon)?, name)?.unwrap_or_default();
    if json {
        print_json(&json!({ "service": name, "failover": ended }), terminal)?;
    } else {
        print(&status::last_failover(&ended, terminal))?;
    }
    Ok(outcome(&ended.outcome))
}

/// The event with which a failover is over.
fn has_ended(event: &Value) -> bool {
    let field = |name: &str| event.get("fields").and_then(|fields| fields.get(name)).and_then(Value::as_str);
    event.get("kind").and_then(Value::as_str) == Some("state_changed") && field("from") == Some("failover_in_progress")
}

fn outcome(word: &str) -> Code {
    match word {
        "completed" => Code::Ok,
        "rolled_back" | "stopped" => Code::NotUp,
        _ => Code::Stuck,
    }
}

fn failover_of(client: &mut Client, service: &str) -> Result<Option<FailoverStatus>, Trouble> {
    Ok(status_of(client, service)?.services.into_iter().find_map(|service| service.failover))
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
    fn a_failover_is_waited_for_until_its_state_is_left() {
        let changed = |from: &str, to: &str| json!({ "kind": "state_changed", "fields": { "from": from, "to": to } });
        assert!(!has_ended(&changed("normal", "failover_in_progress")));
        assert!(has_ended(&changed("failover_in_progress", "failed_over")));
        assert!(has_ended(&changed("failover_in_progress", "manual_intervention")));
        assert!(!has_ended(&json!({ "kind": "step_finished", "fields": { "ok": true } })));
        assert!(!has_ended(&json!({})));
        let codes: Vec<i32> =
            ["completed", "rolled_back", "stopped", "manual_intervention", ""].iter().map(|word| outcome(word) as i32).collect();
        assert_eq!(codes, [0, 1, 1, 6, 6]);
    }
}
