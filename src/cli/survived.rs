//! `failover survived`: did a commit whose answer nobody received survive?

use failover::Survived as Answer;

use super::arguments::Survived;
use super::client::Client;
use super::exit::{Code, Trouble};
use super::protocol::Request;
use super::terminal::{Terminal, print, print_json};
use super::text;

/// Asks the daemon, and ends with the answer.
pub fn run(arguments: &Survived, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    let request = Request::Survived {
        service: arguments.service.clone(),
        xid: arguments.xid,
        lsn: arguments.lsn.clone(),
        timeline: arguments.timeline,
    };
    let said = Client::connect(&arguments.daemon)?.ask(&request)?;
    let answer: Answer = serde_json::from_value(said.clone())
        .map_err(|error| Trouble::new(Code::Unreachable, format!("the daemon's answer cannot be read: {error}")))?;
    if json {
        print_json(&said, terminal)?;
    } else {
        print(&line(&answer))?;
    }
    Ok(code(&answer.survived))
}

fn line(answer: &Answer) -> String {
    format!("{}: {} ({})\n", answer.survived, text::printable(&answer.message), answer.reason)
}

fn code(survived: &str) -> Code {
    match survived {
        "yes" => Code::Ok,
        "no" => Code::NotUp,
        _ => Code::Stuck,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_exit_code() {
        let codes: Vec<i32> = ["yes", "no", "unknown", "", "Yes"].iter().map(|word| code(word) as i32).collect();
        assert_eq!(codes, [0, 1, 6, 6, 6]);
    }
}
