//! The command line `failover`: arguments, and one module for each thing that a command does.
//!
//! Whatever is asked of a running daemon goes over its control socket: [`control`] is the daemon's side, [`client`] the other,
//! [`protocol`] what they say to each other.

#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a table, or one story told from its beginning to its end"))]
#![forbid(unsafe_code)]

mod arguments;
mod check;
mod client;
mod control;
mod daemon;
mod events;
mod exit;
mod history;
mod init;
mod log;
mod made;
mod metrics;
mod moment;
mod notify;
mod operate;
mod protocol;
mod receivers;
mod replay;
mod socket;
mod status;
mod survived;
mod terminal;
mod text;
mod topology;
mod validate;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command, Notify};
use exit::{Code, Trouble};
use terminal::Terminal;

/// Reads the command line and does what it says.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = Terminal::new(arguments.color);
    if matches!(arguments.command, Command::Run(_)) && init::is_first() {
        return init::run(terminal);
    }
    match run(arguments, terminal) {
        Ok(code) => code.into(),
        Err(trouble) => {
            trouble.print(terminal);
            trouble.code.into()
        }
    }
}

fn run(arguments: Arguments, terminal: Terminal) -> Result<Code, Trouble> {
    let json = arguments.json;
    match arguments.command {
        Command::Run(run) => daemon::run(&run, json, terminal),
        Command::Check(check) => check::run(&check, json, terminal),
        Command::Doctor(doctor) => check::doctor(&doctor, json, terminal),
        Command::Validate(validate) => validate::run(&validate, json, terminal),
        Command::Status(status) => status::run(&status, json, terminal),
        Command::Metrics(metrics) => metrics::run(&metrics, json, terminal),
        Command::Events(events) => events::run(&events, json, terminal),
        Command::Confirm(confirm) => operate::confirm(&confirm, json, terminal),
        Command::Pause(pause) => operate::pause(&pause, json, terminal),
        Command::Resume(resume) => operate::resume(&resume, json, terminal),
        Command::Adopt(adopt) => operate::adopt(&adopt, json, terminal),
        Command::Cordon(cordon) => operate::cordon(&cordon, json, terminal),
        Command::Rejoin(rejoin) => operate::rejoin(&rejoin, json, terminal),
        Command::Clone(clone) => operate::clone(&clone, json, terminal),
        Command::Uncordon(uncordon) => operate::uncordon(&uncordon, json, terminal),
        Command::Reset(reset) => operate::reset(&reset, json, terminal),
        Command::Switchover(switchover) => operate::switchover(&switchover, json, terminal),
        Command::Force(force) => operate::force(&force, json, terminal),
        Command::Notify(Notify::Test(test)) => receivers::test(&test, json, terminal),
        Command::Survived(survived) => survived::run(&survived, json, terminal),
        Command::HoldGate => failover::hold_gate(std::io::BufReader::new(std::io::stdin()))
            .map(|()| Code::Ok)
            .map_err(|why| Trouble::new(Code::Failed, why)),
        Command::Replay(replay) => replay::run(&replay, json, terminal),
        Command::Completions(completions) => {
            let mut script = Vec::new();
            clap_complete::generate(completions.shell, &mut Arguments::command(), "failover", &mut script);
            terminal::print(&String::from_utf8_lossy(&script))?;
            Ok(Code::Ok)
        }
    }
}
