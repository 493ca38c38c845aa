//! How the program ends: an exit code, and on stderr what was wrong, where, and what to do about it.

use std::fmt::Write as _;
use std::process::ExitCode;

use failover::{ConfigErrors, EngineError};

use super::terminal::{Paint, Terminal};

/// The exit codes, as `failover --help` states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Done; for `check`: everything is up, and nothing would stop a failover.
    Ok = 0,
    /// `check`: something is not up, or would stop a failover; `force --wait`: nothing was promoted; `survived`: no.
    NotUp = 1,
    /// The configuration or the command line is wrong (clap ends with the same).
    Config = 2,
    /// The daemon cannot be reached.
    Unreachable = 3,
    /// The daemon refused the command, and said why.
    Refused = 4,
    /// The engine cannot start or run, or the system refused something.
    Failed = 5,
    /// `force --wait`: the failover stopped where a person has to look; `survived`: nobody can say.
    Stuck = 6,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(code as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Trouble {
    /// The exit code.
    pub code: Code,
    /// What was wrong, and where.
    what: String,
    /// What to do about it.
    remedy: Option<String>,
    /// The whole list, where it is a configuration that is wrong.
    config: Option<Box<ConfigErrors>>,
}

impl Trouble {
    /// A trouble without a remedy.
    pub fn new(code: Code, what: impl Into<String>) -> Trouble {
        Trouble { code, what: what.into(), remedy: None, config: None }
    }

    /// The same with a remedy.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Trouble {
        self.remedy = Some(remedy.into());
        self
    }

    /// Everything that is wrong with a configuration.
    pub fn config(errors: ConfigErrors) -> Trouble {
        Trouble { code: Code::Config, what: errors.to_string(), remedy: None, config: Some(Box::new(errors)) }
    }

    /// What was wrong, in one text.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it, where that is known.
    pub fn advice(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// Writes it to stderr.
    pub fn print(&self, terminal: Terminal) {
        if let Some(errors) = &self.config {
            super::validate::complain(errors, terminal);
            return;
        }
        let mut text = format!("{} {}\n", terminal.stderr("failover:", Paint::Bad), self.what);
        if let Some(remedy) = &self.remedy {
            let _ = writeln!(text, "  {} {remedy}", terminal.stderr("remedy:", Paint::Strong));
        }
        // Nobody is left to be told that stderr is closed.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Trouble {
        match error {
            EngineError::Config(errors) => Trouble::config(errors),
            EngineError::InvalidArgument(_) | EngineError::Rejected(_) => Trouble::new(Code::Refused, error.to_string()),
            _ => Trouble::new(Code::Failed, error.to_string()),
        }
    }
}
