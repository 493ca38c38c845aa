//! `include/failover.h` is what the sources say, in full. `UPDATE_EXPECT=1 cargo test --test header` writes it anew.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use failover_core::finding::FindingCode;
use failover_core::refusal::{CandidateRefusal, Refusal};

/// The order in which the header is read.
const PARTS: [&str; 9] = ["code", "error", "engine", "event", "status", "report", "task", "traffic", "breaker"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn committed() -> String {
    fs::read_to_string(root().join("include/failover.h")).unwrap_or_default()
}

fn generated() -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    config.after_includes.get_or_insert_default().push_str(&codes());
    let builder = PARTS.iter().fold(cbindgen::Builder::new().with_config(config), |builder, part| {
        builder.with_src(root().join("src/ffi").join(part).with_extension("rs"))
    });
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    wrapped(&String::from_utf8(text).unwrap())
}

/// Columns of a line of the header. The comments of the sources may be wider.
const COLUMNS: usize = 120;
/// A line of at least so many columns was broken because it was full: the next one goes on with it.
const FULL: usize = 90;

/// The header within [`COLUMNS`]. What is too much for a line of a comment goes to the next one, where that belongs to the same paragraph;
/// the arguments of a function go on below the first one. cbindgen would count a comment's lines with the function's.
fn wrapped(header: &str) -> String {
    let mut lines: VecDeque<String> = header.lines().map(str::to_owned).collect();
    let mut text = String::new();
    while let Some(mut line) = lines.pop_front() {
        let was = line.chars().count();
        // Whatever blank lies before it may be where the line ends.
        let edge = line.char_indices().nth(COLUMNS + 1).map_or(line.len(), |(at, _)| at);
        if let Some((prefix, words)) = comment(&line).filter(|_| was > COLUMNS) {
            let hanging = if words.starts_with("- ") { 2 } else { words.len() - words.trim_start().len() };
            let begins = format!("{prefix}{}", " ".repeat(hanging));
            let at = line[..edge].rfind(' ').filter(|at| *at > begins.len()).unwrap_or(line.len());
            let rest = line.split_off(at).trim_start().to_owned();
            match lines
                .front()
                .and_then(|next| next.strip_prefix(&begins))
                .filter(|next| !rest.is_empty() && was >= FULL && goes_on(next))
            {
                Some(next) => lines[0] = format!("{begins}{rest} {next}"),
                None if rest.is_empty() => {}
                None => lines.push_front(format!("{begins}{rest}")),
            }
        } else if was > COLUMNS {
            let below = line.find('(').map_or(line.len() - line.trim_start().len(), |open| open + 1);
            if let Some(at) = line[..edge].rfind(", ") {
                let rest = line.split_off(at + 1).trim_start().to_owned();
                lines.push_front(format!("{}{rest}", " ".repeat(below)));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What begins a line of a comment, and its words.
fn comment(line: &str) -> Option<(&str, &str)> {
    let indent = line.len() - line.trim_start().len();
    ["// ", "* "]
        .into_iter()
        .find_map(|mark| line[indent..].strip_prefix(mark).map(|words| (&line[..indent + mark.len()], words)))
}

/// Not the first line of something else.
fn goes_on(words: &str) -> bool {
    let begins = ["- ", " ", "Errors: ", "Thread: ", "Blocks: ", "In callback: ", "Ownership: "];
    !words.is_empty() && !begins.iter().any(|word| words.starts_with(word))
}

/// The names of findings and refusals, which cbindgen has no constants for.
fn codes() -> String {
    let findings = FindingCode::TABLE.iter().map(|row| ("FINDING", row.code.as_str(), row.means));
    let refusals = Refusal::TABLE.iter().map(|row| ("REFUSAL", row.name, row.means));
    let of_standbys = CandidateRefusal::TABLE.iter().map(|row| ("STANDBY_REFUSAL", row.name, row.means));
    let mut text = String::from(
        "\n// The names in the JSON of the status and of events. A newer library may have more: show them as they are.\n",
    );
    for (family, name, means) in findings.chain(refusals).chain(of_standbys) {
        let upper = name.to_uppercase();
        let _ = write!(text, "\n// {means}\n#define FAILOVER_{family}_{upper} \"{name}\"\n");
    }
    text
}

/// Every function of the header, with the comment above it and its own text on one line.
fn functions(header: &str) -> Vec<(String, Vec<&str>, String)> {
    let lines: Vec<&str> = header.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !line.starts_with("FAILOVER_API") {
            continue;
        }
        let comment: Vec<&str> = lines[..at].iter().rev().take_while(|line| line.starts_with("//")).copied().collect();
        let mut text = String::new();
        for part in &lines[at..] {
            text.push_str(part.trim());
            text.push(' ');
            if part.ends_with(';') {
                break;
            }
        }
        let name = text.split('(').next().unwrap().split([' ', '*']).rfind(|word| !word.is_empty()).unwrap().to_owned();
        found.push((name, comment.into_iter().rev().collect(), text));
    }
    found
}

#[test]
fn the_header_is_what_the_sources_say() {
    let generated = generated();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::create_dir_all(root().join("include")).unwrap();
        fs::write(root().join("include/failover.h"), &generated).unwrap();
    }
    assert!(committed() == generated, "include/failover.h is not what src/ffi says: UPDATE_EXPECT=1 cargo test --test header");
}

#[test]
fn no_line_of_the_header_is_longer_than_a_screen_is_wide() {
    let header = generated();
    let wide: Vec<(usize, &str)> = (1..).zip(header.lines()).filter(|(_, line)| line.chars().count() > COLUMNS).collect();
    assert_eq!(wide, []);
}

#[test]
fn a_comment_that_is_too_wide_goes_on_in_the_next_line() {
    let long = |words: &str| format!("{words}{}", " word".repeat(25));
    let text = format!("// {}\n// and more.\n//\n// - {}\n// Thread: any\n", long("First"), long("point"));
    let told = wrapped(&text);
    assert!(told.lines().all(|line| line.len() <= COLUMNS), "{told}");
    assert!(told.contains("\n// word word word and more.\n//\n// - point"), "{told}");
    assert!(told.contains("\n//   word word") && told.ends_with("\n// Thread: any\n"), "{told}");
    let words = |text: &str| text.split_whitespace().filter(|word| *word != "//").map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&told), words(&text));
    assert_eq!(wrapped(&told), told);
}

#[test]
fn every_part_of_the_boundary_is_in_the_header() {
    let exported: Vec<String> = fs::read_dir(root().join("src/ffi"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::read_to_string(path).unwrap().contains("#[unsafe(no_mangle)]"))
        .map(|path| Path::new(&path).file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(exported.len(), PARTS.len(), "{exported:?}");
    for part in exported {
        assert!(PARTS.contains(&part.as_str()), "{part} is missing in PARTS");
    }
}

#[test]
fn every_function_says_who_may_call_it_and_who_owns_what() {
    let header = committed();
    let functions = functions(&header);
    assert!(functions.len() > 40, "{}", functions.len());
    for (name, comment, text) in functions {
        assert!(name.starts_with("failover_"), "{text}");
        for word in ["// Thread: ", "// Blocks: ", "// In callback: ", "// Ownership: "] {
            assert_eq!(comment.iter().filter(|line| line.starts_with(word)).count(), 1, "{name} lacks one line \"{word}\"");
        }
        assert!(comment[0].len() > 20 && !comment[0].starts_with("// Thread"), "{name} does not say what it does");
        if text.contains("failover_error **err") {
            assert!(text.trim_end().ends_with("failover_error **err);"), "the error comes last: {text}");
            assert!(text.contains("int32_t failover_"), "{name} can fail and returns no code");
        }
    }
}
