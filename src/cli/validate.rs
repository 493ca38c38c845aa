//! `failover validate`, and how the mistakes of a configuration are shown.

use std::fmt::Write as _;
use std::io::Write as _;

use failover::{Config, ConfigErrors, Problem};
use serde_json::json;

use super::arguments::Validate;
use super::exit::{Code, Trouble};
use super::terminal::{Paint, Terminal, print, print_json};
use super::text::{count, printable};

pub fn run(arguments: &Validate, json: bool, terminal: Terminal) -> Result<Code, Trouble> {
    if arguments.schema {
        print(&format!("{}\n", Config::json_schema().trim_end()))?;
        return Ok(Code::Ok);
    }
    // clap asks for one where there is no --schema.
    let Some(path) = &arguments.config else { return Err(Trouble::new(Code::Config, "no configuration was named")) };
    let shown = path.display().to_string();
    match Config::load(path) {
        Err(errors) if json => {
            print_json(
                &json!({ "file": shown, "valid": false, "errors": errors.errors, "warnings": errors.warnings }),
                terminal,
            )?;
            Ok(Code::Config)
        }
        Err(errors) => {
            complain(&errors, terminal);
            Ok(Code::Config)
        }
        Ok(config) => {
            if arguments.print_effective {
                let text = if json { config.effective_json() } else { config.effective_toml() };
                print(&format!("{}\n", text.trim_end()))?;
                warn(&config, terminal);
            } else if json {
                print_json(&json!({ "file": shown, "valid": true, "errors": [], "warnings": config.warnings() }), terminal)?;
            } else {
                warn(&config, terminal);
                print(&format!("{shown}: {}: {}\n", terminal.stdout("valid", Paint::Good), summary(&config)))?;
            }
            Ok(Code::Ok)
        }
    }
}

/// What looks wrong but does not stop the engine, on stderr.
pub fn warn(config: &Config, terminal: Terminal) {
    for warning in config.warnings() {
        eprint!("{}", problem(warning, None, "warning", Paint::Doubtful, terminal));
    }
}

/// Everything that is wrong, on stderr: for each mistake its place and value, the reason, the remedy.
pub fn complain(errors: &ConfigErrors, terminal: Terminal) {
    let mut text = String::new();
    for warning in &errors.warnings {
        text.push_str(&problem(warning, errors.file.as_deref(), "warning", Paint::Doubtful, terminal));
    }
    for error in &errors.errors {
        text.push_str(&problem(error, errors.file.as_deref(), "error", Paint::Bad, terminal));
    }
    let file = errors.file.as_deref().unwrap_or("configuration");
    let _ = writeln!(text, "{file}: {}", count(errors.errors.len(), "error"));
    // Nobody is left to be told that stderr is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn problem(problem: &Problem, file: Option<&str>, word: &str, paint: Paint, terminal: Terminal) -> String {
    // What is wrong with the whole document has no place in it: the file is its place.
    let place = file.filter(|_| problem.path == "/").unwrap_or(&problem.path);
    let mut text =
        format!("{} {}", terminal.stderr(&format!("{word}:"), paint), terminal.stderr(&printable(place), Paint::Strong));
    let _ = match (problem.line, problem.column) {
        (Some(line), Some(column)) => write!(text, " (line {line}, column {column})"),
        (Some(line), None) => write!(text, " (line {line})"),
        _ => Ok(()),
    };
    if let Some(value) = &problem.value {
        let _ = write!(text, " = {}", printable(value));
    }
    let _ = writeln!(
        text,
        "\n  {}\n  {} {}",
        printable(&problem.reason),
        terminal.stderr("remedy:", Paint::Strong),
        printable(&problem.remedy)
    );
    text
}

fn summary(config: &Config) -> String {
    let servers = config.services.iter().map(|service| service.servers.len()).sum();
    let names: Vec<&str> = config.services.iter().map(|service| service.name.as_str()).collect();
    format!("{} ({}), {}", count(names.len(), "service"), names.join(", "), count(servers, "server"))
}
