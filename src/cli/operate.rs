//! What an operator tells a running daemon.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};

use failover::Status;
use serde_json::Value;

use super::arguments::{Force, MaybeService, OneService};
use super::client::Client;
use super::exit::{Code, Trouble};
use super::protocol::Request;
use super::terminal::{Terminal, print, print_json};
use super::{status, text};

pub fn confirm(arguments: &OneService, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Confirm { service: arguments.service.clone() };
    tell(&mut Client::connect(&arguments.daemon)?, &request, json, terminal)
}

pub fn pause(arguments: &MaybeService, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Pause { service: arguments.service.clone() };
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

pub fn force(arguments: &Force, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let mut client = Client::connect(&arguments.daemon)?;
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
    tell(&mut client, &request, json, terminal)
}

/// Shows what would happen and asks for the service's name: a `y` is typed too easily.
fn agreed(client: &mut Client, arguments: &Force) -> Result<bool, Trouble> {
    let answer = client.ask(&Request::Status { service: Some(arguments.service.clone()) })?;
    let status: Status = serde_json::from_value(answer)
        .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's status cannot be read: {error}")))?;
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
        let message = answer.get("message").and_then(Value::as_str).filter(|message| !message.is_empty()).unwrap_or("done");
        print(&format!("{}\n", text::printable(message)))?;
    }
    Ok(Code::Ok)
}
