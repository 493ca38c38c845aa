//! `failover validate`, and how the mistakes of a configuration are shown.

use std::fmt::Write as _;
use std::io::Write as _;

use failover::{Config, ConfigErrors, Problem, Validation};
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
    let read = Config::load(path);
    if json && !(arguments.print_effective && read.is_ok()) {
        print_json(&json!(Validation::of(&read, Some(shown))), terminal)?;
        return Ok(if read.is_ok() { Code::Ok } else { Code::Config });
    }
    let config = match read {
        Ok(config) => config,
        Err(errors) => {
            complain(&errors, terminal);
            return Ok(Code::Config);
        }
    };
    if arguments.print_effective {
        let text = if json { config.effective_json() } else { config.effective_toml() };
        print(&format!("{}\n", text.trim_end()))?;
        warn(&config, terminal);
    } else {
        warn(&config, terminal);
        print(&format!("{shown}: {}: {}\n", terminal.stdout("valid", Paint::Good), summary(&config)))?;
    }
    Ok(Code::Ok)
}

/// What looks wrong but does not stop the engine, on stderr.
pub fn warn(config: &Config, terminal: Terminal) {
    tell(&kinds(config.warnings(), None, "warning", Paint::Doubtful, terminal));
}

/// Everything that is wrong, on stderr: for each kind of mistake its places and first value, the reason, the remedy.
pub fn complain(errors: &ConfigErrors, terminal: Terminal) {
    let file = errors.file.as_deref();
    let mut text = kinds(&errors.warnings, file, "warning", Paint::Doubtful, terminal);
    text.push_str(&kinds(&errors.errors, file, "error", Paint::Bad, terminal));
    let _ = writeln!(text, "{}: {}", file.unwrap_or("configuration"), total(errors.errors.len()));
    tell(&text);
}

fn tell(text: &str) {
    // Nobody is left to be told that stderr is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The library reports so many mistakes at most.
const MOST: usize = 200;

/// A list that is cut off does not pass for the whole.
fn total(errors: usize) -> String {
    if errors < MOST { count(errors, "error") } else { format!("the first {errors} errors; there may be more") }
}

/// So many kinds of mistakes fit on a screen.
const KINDS: usize = 7;
/// Of each so many other places are named.
const PLACES: usize = 3;

/// Mistakes of one kind are told once: what was written wrong a hundred times is put right once, in a hundred places.
fn kinds(problems: &[Problem], file: Option<&str>, word: &str, paint: Paint, terminal: Terminal) -> String {
    let mut kinds: Vec<Vec<&Problem>> = Vec::new();
    for problem in problems {
        match kinds.iter_mut().find(|kind| kind_of(kind[0]) == kind_of(problem)) {
            Some(kind) => kind.push(problem),
            None => kinds.push(vec![problem]),
        }
    }
    let mut text = String::new();
    for kind in kinds.iter().take(KINDS) {
        text.push_str(&self::problem(kind[0], file, word, paint, terminal));
        if let [_, others @ ..] = kind.as_slice()
            && !others.is_empty()
        {
            let places: Vec<String> = others.iter().take(PLACES).map(|problem| place(problem, file)).collect();
            let more = if others.len() > PLACES { ", ..." } else { "" };
            let _ = writeln!(text, "  the same {} more: {}{more}", times(others.len()), places.join(", "));
        }
    }
    let left: usize = kinds.iter().skip(KINDS).map(Vec::len).sum();
    if left > 0 {
        let _ =
            writeln!(text, "and {} of {}: --json has all of them", count(left, word), count(kinds.len() - KINDS, "other kind"));
    }
    text
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// What mistakes of one kind share: all but their places and the names and numbers in them.
fn kind_of(problem: &Problem) -> (String, String) {
    let without_names = |text: &str| {
        let outside: Vec<&str> = text.split('"').step_by(2).collect();
        outside.join("").chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
    };
    (without_names(&problem.reason), without_names(&problem.remedy))
}

fn place(problem: &Problem, file: Option<&str>) -> String {
    let path = printable(file.filter(|_| problem.path == "/").unwrap_or(&problem.path));
    let line = problem.line.map_or_else(String::new, |line| format!(" (line {line})"));
    // Whom it concerns, where the reason names somebody.
    let names: Vec<String> =
        problem.reason.split('"').skip(1).step_by(2).map(|name| format!("\"{}\"", printable(name))).collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    format!("{path}{line}{names}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::made::made;
    use expect_test::expect;

    fn mistake(path: &str, line: usize, reason: &str) -> Problem {
        made!(Problem {
            path: path.to_owned(),
            line: Some(line),
            column: Some(1),
            reason: reason.to_owned(),
            remedy: "mend it".to_owned(),
        })
    }

    #[test]
    fn a_list_that_is_cut_off_does_not_pass_for_the_whole() {
        let services = "[[services]]\nname = \"a b\"\n".repeat(MOST + 1);
        let errors = Config::parse_toml(&format!("version = 1\n{services}")).unwrap_err();
        assert_eq!(errors.errors.len(), MOST);
        assert_eq!(total(errors.errors.len()), "the first 200 errors; there may be more");
        assert_eq!((total(1), total(MOST - 1)), ("1 error".to_owned(), "199 errors".to_owned()));
    }

    #[test]
    fn mistakes_of_one_kind_are_told_once_and_counted() {
        let port =
            |number: usize| mistake(&format!("/services/{number}/port"), number, &format!("server \"db{number}\" has port 0"));
        let text = |problems: &[Problem]| kinds(problems, None, "error", Paint::Bad, Terminal::default());
        let problems: Vec<Problem> = (1..=6).map(port).chain([mistake("/x", 9, "this key is unknown"), port(7)]).collect();
        expect![[r#"
            error: /services/1/port (line 1, column 1)
              server "db1" has port 0
              remedy: mend it
              the same 6 times more: /services/2/port (line 2): "db2", /services/3/port (line 3): "db3", /services/4/port (line 4): "db4", ...
            error: /x (line 9, column 1)
              this key is unknown
              remedy: mend it
        "#]]
        .assert_eq(&text(&problems));
        let twice = text(&problems[..2]);
        assert!(twice.ends_with("  the same once more: /services/2/port (line 2): \"db2\"\n"), "{twice}");
        // At most one screen, whatever is wrong.
        let word = |number: u8| char::from(b'a' + number).to_string().repeat(3);
        let many: Vec<Problem> = (0..20).map(|number| mistake("/x", 1, &word(number))).collect();
        let text = text(&many);
        assert!(text.lines().count() <= 24, "{text}");
        assert!(text.ends_with("and 13 errors of 13 other kinds: --json has all of them\n"), "{text}");
    }
}
