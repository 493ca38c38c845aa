//! `include/failover.h` is what the sources say, in full. `UPDATE_EXPECT=1 cargo test --test header` writes it anew.

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
    String::from_utf8(text).unwrap()
}

/// The names of findings and refusals, which cbindgen has no constants for.
fn codes() -> String {
    let findings = FindingCode::TABLE.iter().map(|row| ("FINDING", row.code.as_str(), row.means));
    let refusals = Refusal::TABLE.iter().map(|row| ("REFUSAL", row.name, row.means));
    let of_standbys = CandidateRefusal::TABLE.iter().map(|row| ("STANDBY_REFUSAL", row.name, row.means));
    let mut text = String::from(
        "\n// The names that stand in the JSON of the status and of events. A newer library may have more: show those as they are.\n",
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
