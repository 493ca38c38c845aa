//! The references of what machines read are whole: every event with its fields, every member of the status.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use expect_test::expect_file;
use failover_core::event::{EventKind, EventRow, FieldKind, FieldRow, Group, Remedy, Severity};
use failover_core::finding::{Blocks, FindingCode, FindingGroup};
use failover_core::refusal::{CandidateRefusal, Refusal, Row};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).expect("a file of the repository")
}

/// A file with other lines between `generated: NAME` and `end`, which stand in comments of its own.
fn with_generated(path: &str, name: &str, lines: &str) -> String {
    let text = read(path);
    let (mut new, mut inside, mut found) = (String::new(), false, false);
    for line in text.split_inclusive('\n') {
        let says = |what: &str| line.trim().trim_matches(['/', '#', '<', '!', '-', '>', ' ']) == what;
        inside &= !says("end");
        if !inside {
            new.push_str(line);
        }
        if says(&format!("generated: {name}")) {
            new.push_str(lines);
            (inside, found) = (true, true);
        }
    }
    assert!(found && !inside, "{path}: nothing stands between `generated: {name}` and `end`");
    new
}

/// Its lines in the reference of events.
fn rows_of(group: Group) -> String {
    let mut page = String::from("\n| kind | severity | when, and its fields |\n|---|---|---|\n");
    for row in EventKind::TABLE.iter().filter(|row| row.group == group) {
        let severities: Vec<&str> = row.severities.iter().map(|severity| severity.as_str()).collect();
        let loud = if severities.len() == 4 { "any".to_owned() } else { severities.join(", ") };
        let field = |field: &FieldRow| {
            let kind = match field.kind {
                FieldKind::Text => "text",
                FieldKind::Int => "integer",
                FieldKind::Bool => "true or false",
                FieldKind::Ms => "number",
                FieldKind::Texts => "list of text",
                FieldKind::Groups => "list of objects",
            };
            let about = if field.about.is_empty() { String::new() } else { format!(": {}", field.about) };
            format!("`{}` ({kind}{about})", field.name)
        };
        let fields: Vec<String> = row.fields.iter().map(field).collect();
        let fields = if fields.is_empty() { String::new() } else { format!(": {}", fields.join(", ")) };
        let remedy = match row.remedy {
            Remedy::No => String::new(),
            Remedy::Named => ". Remedy: that of what it names".to_owned(),
            Remedy::Text(text) => format!(". Remedy: {}", text.replace("{service}", "SERVICE").replace("{server}", "SERVER")),
            Remedy::Refusal(name) => format!(". Remedy: that of the refusal `{name}`"),
        };
        let _ = writeln!(page, "| `{}` | {loud} | {}{fields}{remedy} |", row.kind.as_str(), row.when.replace('|', "\\|"));
    }
    page.push('\n');
    page
}

/// The kinds in the order of their numbers.
fn by_number() -> Vec<&'static EventRow> {
    let mut rows: Vec<&EventRow> = EventKind::TABLE.iter().collect();
    rows.sort_by_key(|row| row.number);
    rows
}

fn camel(word: &str) -> String {
    let parts = word.split('_').map(|part| part[..1].to_uppercase() + &part[1..]);
    parts.collect()
}

/// Reference, header and bindings have the kinds of the one table in `src/core/event.rs`.
#[test]
fn the_kinds_of_events_are_those_of_the_table_everywhere() {
    let rows = by_number();
    assert!(
        rows.iter().enumerate().all(|(at, row)| usize::try_from(row.number) == Ok(at + 1)),
        "a number is missing, or there twice"
    );
    assert!(EventKind::TABLE.iter().zip(EventKind::ALL).all(|(row, kind)| row.kind == *kind && kind.row() == row));
    for group in [Group::Engine, Group::Seen, Group::Decision, Group::Failover] {
        expect_file![Path::new(ROOT).join("docs/EVENTS.md")].assert_eq(&with_generated(
            "docs/EVENTS.md",
            &format!("{group:?}"),
            &rows_of(group),
        ));
    }
    let mut header = String::new();
    let mut python = String::new();
    let mut go = String::new();
    let width = rows.iter().map(|row| camel(row.kind.as_str()).len()).max().unwrap_or_default();
    for row in rows {
        let (word, upper) = (row.kind.as_str(), row.kind.as_str().to_uppercase());
        let _ = writeln!(header, "/// {}\npub const FAILOVER_EVENT_{upper}: i32 = {};", row.means, row.number);
        let _ = writeln!(python, "    {upper} = \"{word}\"");
        let _ = writeln!(go, "\t{:width$} Kind = \"{word}\"", camel(word));
    }
    for (path, lines) in
        [("src/ffi/event.rs", header), ("bindings/python/src/failover/events.py", python), ("bindings/go/events.go", go)]
    {
        expect_file![Path::new(ROOT).join(path)].assert_eq(&with_generated(path, "kinds", &lines));
    }
}

/// The bindings have the names of the tables of findings and refusals.
#[test]
fn the_names_of_findings_and_refusals_are_those_of_the_tables_everywhere() {
    let findings: Vec<(&str, &str)> = FindingCode::TABLE.iter().map(|row| (row.code.as_str(), row.means)).collect();
    let rows = |table: &'static [Row]| -> Vec<(&str, &str)> { table.iter().map(|row| (row.name, row.means)).collect() };
    let (refusals, standby) = (rows(Refusal::TABLE), rows(CandidateRefusal::TABLE));
    let mut go = String::new();
    for (prefix, names) in [("Finding", &findings), ("Refusal", &refusals), ("StandbyRefusal", &standby)] {
        for (name, means) in names {
            let _ = writeln!(go, "\t// {prefix}{}: {means}\n\t{prefix}{} = \"{name}\"", camel(name), camel(name));
        }
    }
    let python = |names: &[(&str, &str)]| {
        names.iter().fold(String::new(), |mut text, (name, _)| {
            let _ = writeln!(text, "    {} = \"{name}\"", name.to_uppercase());
            text
        })
    };
    expect_file!["../bindings/go/codes.go"].assert_eq(&with_generated("bindings/go/codes.go", "codes", &go));
    for (block, names) in [("findings", &findings), ("refusals", &refusals), ("standby refusals", &standby)] {
        let path = "bindings/python/src/failover/codes.py";
        expect_file!["../bindings/python/src/failover/codes.py"].assert_eq(&with_generated(path, block, &python(names)));
    }
}

/// The core's tests compare every event that they see with the table. This finds the fields of those that they do not see.
#[test]
fn every_field_that_the_core_writes_is_in_the_table() {
    let declared: BTreeSet<&str> = EventKind::TABLE.iter().flat_map(|row| row.fields).map(|field| field.name).collect();
    // Of the rungs of a fence, and what any event may bring.
    let others = ["name", "took_ms", "note", "remedy", "repeated", "within_ms", "last_ago_ms"];
    let source = sources(&["src/core"], &["rs"]);
    let mut fields = 0;
    for part in source.split("(\"").skip(1) {
        let Some((name, value)) = part.split_once("\", ") else { continue };
        let is_field = ["text(", "texts(", "Field::", "span("].iter().any(|maker| value.starts_with(maker));
        if is_field && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            assert!(declared.contains(name) || others.contains(&name), "the field {name} is in no line of the table of events");
            fields += 1;
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

/// Links of rustdoc lead nowhere on a page: their words stay.
fn without_paths(text: &str) -> String {
    let mut parts = text.split("](super::");
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(at) = told.rfind('[') {
            told.remove(at);
        }
        told.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    told
}

/// The members of the structs in a source, from their documentation.
fn structs(source: &str) -> String {
    let mut page = String::new();
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for line in source.split("#[cfg(test)]").next().unwrap_or_default().lines() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            words.push(doc.trim().to_owned());
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            let name = rest.split([' ', '{', '<']).next().unwrap_or_default();
            let text = without_paths(&std::mem::take(&mut words).join(" "));
            inside = rest.ends_with('{');
            if inside {
                let _ = write!(page, "\n## {name}\n\n{text}\n\n| member | type | |\n|---|---|---|\n");
            }
        } else if let (true, Some(rest)) = (inside, line.strip_prefix("pub ")) {
            let text = without_paths(&std::mem::take(&mut words).join(" "));
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

/// The members of the status and of the reports, from the documentation of the structs they are made of.
fn reference() -> String {
    let source = read("src/engine/status.rs");
    let mut page = String::from(
        "# The status\n\nWhat `failover status --json`, `failover_status_json` in C, `Status.raw` in Python and `Status.Raw` in Go show. Members may be added; \
         none is removed or changes its meaning within an ABI version ([ABI.md](ABI.md)). Times are in the unit of their names (`_ms`), moments in RFC 3339.\n",
    );
    page.push_str(&structs(&source));
    page.push_str(&structs(&read("src/engine/topology.rs")));
    page.push_str(
        "\n# The reports\n\nWhat `check`, `doctor`, `validate`, `replay` and `survived` of the command line print with `--json`, and what the functions of the \
         same names give in every language.\n",
    );
    page.push_str(&structs(&read("src/engine/report.rs")));
    page.push_str(&structs(&read("src/engine/survived.rs")));
    page.push_str(&structs(
        read("src/config/problem.rs").split("/// Every mistake of a configuration").next().unwrap_or_default(),
    ));
    page.push_str("\n# Codes\n");
    page.push_str(&refusals(
        "Refusals",
        "Every `code` of a reason against a failover, and of the event `failover_refused`.",
        Refusal::TABLE,
    ));
    let why = "Every `code` of `not_promotable`, and of the event `standby_not_ready`.";
    page.push_str(&refusals("Why a standby cannot be promoted", why, CandidateRefusal::TABLE));
    page.push_str(&findings());
    page
}

fn findings() -> String {
    let mut page = String::from(
        "\n## Findings\n\nEvery `code` of `readiness`, of `check` and `doctor`, and of the event `readiness_changed`. The remedy depends on the \
         server and stands in the finding.\n\n| code | found | stands in the way | what it means |\n|---|---|---|---|\n",
    );
    for row in FindingCode::TABLE {
        let found = match row.group {
            FindingGroup::Server => "over SQL",
            FindingGroup::Host => "on the host",
            FindingGroup::Route => "on the route",
            FindingGroup::Engine => "by the engine",
        };
        let blocks = match row.blocks {
            Blocks::Always => "yes".to_owned(),
            Blocks::Never => "no".to_owned(),
            Blocks::Where(holds) => format!("where this holds: {holds}"),
        };
        let _ = writeln!(page, "| `{}` | {found} | {blocks} | {} Why it matters: {}. |", row.code, row.means, row.why);
    }
    page
}

fn refusals(title: &str, what: &str, table: &[Row]) -> String {
    let mut page = format!("\n## {title}\n\n{what}\n\n| code | what it means | remedy |\n|---|---|---|\n");
    for row in table {
        let why = if row.why.is_empty() { String::new() } else { format!(" Why it matters: {}.", row.why) };
        let _ =
            writeln!(page, "| `{}` | {}{why} | {} |", row.name, row.means, row.remedy("SERVICE", "STANDBY").replace('|', "\\|"));
    }
    page
}

#[test]
fn the_reference_of_the_status_is_up_to_date() {
    expect_file!["../docs/STATUS.md"].assert_eq(&reference());
}

/// One meaning of a code.
struct Meaning {
    shown: &'static str,
    means: String,
    why: String,
    remedy: String,
}

/// Everything that is shown by a code: findings, reasons, and events that are no good news.
fn meanings() -> BTreeMap<&'static str, Vec<Meaning>> {
    let mut codes: BTreeMap<&'static str, Vec<Meaning>> = BTreeMap::new();
    for row in FindingCode::TABLE {
        let blocks = match row.blocks {
            Blocks::Always => "It stands in the way of a failover.".to_owned(),
            Blocks::Never => "It does not stand in the way of a failover.".to_owned(),
            Blocks::Where(holds) => format!("It stands in the way of a failover where this holds: {holds}."),
        };
        codes.entry(row.code.as_str()).or_default().push(Meaning {
            shown: "A finding of the survey, `check` and `doctor`",
            means: format!("{} {blocks}", row.means),
            why: row.why.to_owned(),
            remedy: "the finding has it, for this server".to_owned(),
        });
    }
    let refusals = [
        ("A reason against a failover", Refusal::TABLE),
        ("A reason against the promotion of a standby", CandidateRefusal::TABLE),
    ];
    for (shown, row) in refusals.into_iter().flat_map(|(shown, table)| table.iter().map(move |row| (shown, row))) {
        let (means, why, remedy) = (row.means.to_owned(), row.why.to_owned(), row.remedy("SERVICE", "STANDBY"));
        codes.entry(row.name).or_default().push(Meaning { shown, means, why, remedy });
    }
    let is_bad = |row: &&EventRow| row.severities.iter().any(|severity| *severity > Severity::Info) && row.kind != EventKind::Log;
    for row in EventKind::TABLE.iter().filter(is_bad) {
        let remedy = match row.remedy {
            Remedy::No => String::new(),
            Remedy::Named => "that of the code that it names".to_owned(),
            Remedy::Text(text) => text.replace("{service}", "SERVICE").replace("{server}", "SERVER"),
            Remedy::Refusal(name) => format!("that of [`{name}`](#{name})"),
        };
        let (shown, means) = ("An event", row.means.to_owned());
        codes.entry(row.kind.as_str()).or_default().push(Meaning { shown, means, why: String::new(), remedy });
    }
    codes
}

fn troubleshooting() -> String {
    let mut page = String::from(
        "# Troubleshooting\n\nEvery code that `failover status`, `check`, `doctor` and the events show when something is wrong, in the order of \
         their names: what it means, why it matters, what mends it. The name is also the anchor: `TROUBLESHOOTING.md#fsync_off`. What is \
         shown with a code has the numbers and names of the case, and usually the command that mends it.\n",
    );
    for (code, meanings) in meanings() {
        let _ = write!(page, "\n## {code}\n");
        for Meaning { shown, means, why, remedy } in meanings {
            let _ = write!(page, "\n{shown}. {means}");
            if !why.is_empty() {
                let _ = write!(page, " Why it matters: {why}.");
            }
            page.push('\n');
            if !remedy.is_empty() {
                let _ = write!(page, "\nRemedy: {remedy}.\n");
            }
        }
    }
    page
}

/// Each code has its heading, and so its anchor: what the command line points to.
#[test]
fn every_code_has_its_place_on_the_page_of_troubles() {
    expect_file!["../docs/TROUBLESHOOTING.md"].assert_eq(&troubleshooting());
    let page = read("docs/TROUBLESHOOTING.md");
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let once: BTreeSet<&str> = headings.iter().copied().collect();
    assert_eq!(headings.len(), once.len(), "an anchor leads to the first heading of that name");
    assert!(meanings().keys().all(|code| once.contains(code)));
    for link in page.split("](#").skip(1) {
        let anchor = link.split(')').next().unwrap_or_default();
        assert!(once.contains(anchor), "{anchor} leads nowhere");
    }
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

/// A code that no test shows is a promise that nobody has seen kept: each finding, refusal and event stands in a test, by its name or by that of
/// its variant.
#[test]
fn every_code_is_shown_by_a_test() {
    let mut texts = String::new();
    let mut folders = vec![Path::new(ROOT).join("tests"), Path::new(ROOT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "planted" {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "txt") {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                // Of the sources, their tests alone.
                let from =
                    if path.starts_with(Path::new(ROOT).join("tests")) { Some(0) } else { text.find("#[cfg(test)]\nmod tests") };
                texts.push_str(from.map_or("", |from| &text[from..]));
            }
        }
    }
    let words: BTreeSet<&str> = texts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let findings = FindingCode::TABLE.iter().map(|row| (row.code.as_str(), format!("{:?}", row.code)));
    let events = EventKind::ALL.iter().map(|kind| (kind.as_str(), format!("{kind:?}")));
    let refusals = Refusal::TABLE.iter().chain(CandidateRefusal::TABLE).map(|row| (row.name, variant_of(row.name)));
    for (word, variant) in findings.chain(events).chain(refusals) {
        assert!(words.contains(word) || words.contains(&*variant), "no test shows {word}");
    }
}

/// `not_ready` is `NotReady`.
fn variant_of(word: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    word.split('_').map(capital).collect()
}
