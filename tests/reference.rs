//! The references of what machines read are whole: every event with its fields, every member of the status.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use expect_test::expect_file;
use failover::EventKind;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).expect("a file of the repository")
}

#[test]
fn every_kind_of_event_and_every_field_is_in_the_reference() {
    let page = read("docs/EVENTS.md");
    for kind in EventKind::ALL {
        assert!(page.contains(&format!("| `{}` |", kind.word())), "docs/EVENTS.md has no row for {}", kind.word());
    }
    let folders =
        ["src/core", "src/core/service"].map(|folder| std::fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder"));
    let files = folders
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut fields = 0;
    for path in files {
        let source = std::fs::read_to_string(&path).expect("a source file");
        for line in source.split("#[cfg(test)]").next().unwrap_or_default().lines() {
            for part in line.split("(\"").skip(1) {
                let Some((name, value)) = part.split_once("\", ") else { continue };
                let is_field = ["text(", "texts(", "Field::", "span("].iter().any(|maker| value.starts_with(maker));
                if is_field {
                    assert!(page.contains(&format!("`{name}`")), "{}: the field {name} is not in docs/EVENTS.md", path.display());
                    fields += 1;
                }
            }
        }
    }
    assert!(fields > 60, "{fields}");
}

/// What JSON shows for a type of ours.
fn shown(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("{} or null", shown(inner));
    }
    if let Some(inner) = kind.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("list of {}", shown(inner));
    }
    if kind.starts_with("BTreeMap<") {
        return "object".to_owned();
    }
    match kind {
        "String" => "text".to_owned(),
        "bool" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "integer".to_owned(),
        "f64" => "number".to_owned(),
        other => format!("[{other}](#{})", other.to_lowercase()),
    }
}

/// The members of the status, from the documentation of the structs they are made of.
fn reference() -> String {
    let source = read("src/engine/status.rs");
    let mut page = String::from(
        "# The status\n\nWhat `failover status --json`, `failover_status_json` in C, `Status.raw` in Python and `Status.Raw` in Go show. Members may be added; \
         none is removed or changes its meaning within an ABI version ([ABI.md](ABI.md)). Times are in the unit of their names (`_ms`), moments in RFC 3339.\n",
    );
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for line in source.split("#[cfg(test)]").next().unwrap_or_default().lines() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            words.push(doc.trim().to_owned());
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.split([' ', '{', '<']).next().unwrap_or_default();
            let text = std::mem::take(&mut words).join(" ");
            inside = rest.ends_with('{');
            if inside {
                let _ = write!(page, "\n## {name}\n\n{text}\n\n| member | type | |\n|---|---|---|\n");
            }
        } else if let (true, Some(rest)) = (inside, line.strip_prefix("pub ")) {
            let text = std::mem::take(&mut words).join(" ");
            if let Some((name, kind)) = rest.trim_end_matches(',').split_once(": ") {
                let _ = writeln!(page, "| `{name}` | {} | {} |", shown(kind), text.replace('|', "\\|"));
            }
        } else if line == "}" {
            inside = false;
        } else if !line.starts_with("#[") {
            words.clear();
        }
    }
    page
}

#[test]
fn the_reference_of_the_status_is_up_to_date() {
    expect_file!["../docs/STATUS.md"].assert_eq(&reference());
}

/// The text of every file below these folders whose name ends so.
fn sources(folders: &[&str], ends: &[&str]) -> String {
    let mut text = String::new();
    let mut open: Vec<std::path::PathBuf> = folders.iter().map(|folder| Path::new(ROOT).join(folder)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|end| ends.iter().any(|one| end == *one)) {
            text.push_str(&std::fs::read_to_string(&path).expect("a text"));
        }
    }
    text
}

/// The numbers behind the word: "rule 21", "rules 37, 47".
fn cited(text: &str) -> BTreeSet<u32> {
    let numbers = |list: &str, most: usize| -> Vec<u32> {
        let list = list.split(|c: char| !(c.is_ascii_digit() || c == ',' || c == ' ')).next().unwrap_or_default();
        list.split(", ").map_while(|number| number.trim().parse().ok()).take(most).collect()
    };
    let one = text.split("rule ").skip(1).flat_map(|rest| numbers(rest, 1));
    one.chain(text.split("rules ").skip(1).flat_map(|rest| numbers(rest, usize::MAX))).collect()
}

#[test]
fn every_rule_that_is_cited_is_on_the_page_and_every_check_that_it_names_exists() {
    let page = read("docs/RULES.md");
    let all = sources(&["src", "tests", "bindings"], &["rs", "c", "py", "go"]);
    let planted = sources(&["tests/planted"], &["toml"]);
    let missing: Vec<u32> = cited(&all).into_iter().filter(|number| !page.contains(&format!("\n**{number}. "))).collect();
    assert!(missing.is_empty(), "cited, and not in docs/RULES.md: {missing:?}");
    let mut named = 0;
    for held in page.split("- Held by:").skip(1) {
        let held = held.split("\n\n").next().unwrap_or_default();
        for name in held.split('`').skip(1).step_by(2) {
            let file = |path: String| Path::new(ROOT).join(path).exists();
            let exists = all.contains(&format!("fn {name}("))
                || all.contains(&format!("\"{name}\""))
                || file(format!("tests/scenarios/{name}"))
                || planted.contains(&format!("name = \"{name}\"\n"))
                || file(name.to_owned())
                || all.contains(&format!("TEST({name})"))
                || all.contains(&format!("{name}(void)"));
            assert!(exists, "docs/RULES.md names {name}, which is nowhere");
            named += 1;
        }
    }
    assert!(named > 200, "{named}");
}

/// Each is planted where its text stands, wherever that is: it has to be there, and once.
#[test]
fn every_planted_bug_can_still_be_planted() {
    let script = Path::new(ROOT).join("scripts/planted.py");
    let checked = std::process::Command::new("python3").arg(script).arg("--check").output().expect("python3");
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
}
