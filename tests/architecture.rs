//! What the architecture page claims is what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use failover_core::trigger::State;

fn page() -> String {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).expect("the crate's root");
    source
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_diagram_is_the_state_machine() {
    assert!(page().contains(&State::diagram()), "src/lib.rs should carry:\n{}", State::diagram());
}

#[test]
fn the_core_is_pure() {
    let forbidden = [
        "Instant",
        "SystemTime",
        "std::net",
        "std::thread",
        "std::fs",
        "std::io",
        "println!",
        "log::",
        "HashMap",
        ".unwrap()",
        // It can be written down for a replay; what and how is the shell's business.
        "serde_json",
        "to_string_pretty",
        "unsafe",
    ];
    let folders = ["src/core", "src/core/service"];
    let entries = folders.map(|folder| std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).expect("a folder"));
    let paths = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut files = 0;
    for path in paths {
        let source = std::fs::read_to_string(&path).expect("a source file");
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in forbidden {
                assert!(!line.contains(word), "{}:{}: {word} in the core", path.display(), number + 1);
            }
        }
        files += 1;
    }
    assert!(files > 10);
}

/// The library's floors, the lowest one first: what a module needs stands before it.
const FLOORS: [&str; 11] =
    ["scratch", "secret", "sync", "deadline", "clock", "config", "wire", "check", "action", "engine", "fuzzing"];

/// A path that a source file names: from where, and the modules to which it leads.
struct Arrow {
    place: String,
    /// The modules of the file, `["wire", "ssh", "connection"]`.
    from: Vec<String>,
    to: Vec<String>,
}

/// Every `crate::…` and `super::…` in the library's code, its own tests included.
fn arrows() -> Vec<Arrow> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut arrows = Vec::new();
    for path in sources(root) {
        let inner = path.strip_prefix(root).expect("below src").with_extension("");
        let mut from: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        from.retain(|part| part != "mod");
        // The folder packages of their own, and the crate's root.
        if from == ["lib"] || ["core", "cli", "ffi"].contains(&from[0].as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        // Inside of a module that is written in the file `super` is the file's own.
        let mut inline = false;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            inline = line.starts_with("mod ") && line.ends_with('{') || inline && line != "}";
            let place = format!("{}:{}", path.display(), number + 1);
            assert!(!line.contains("crate::{"), "{place}: name what is used from the crate module by module");
            assert!(!line.contains("super::super::"), "{place}: name what is used from the crate");
            for (start, word) in ["crate::", "super::"].iter().flat_map(|word| line.match_indices(word)) {
                let rest = &line[start + word.len()..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
                let above = if word == "crate::" { 0 } else { from.len() - usize::from(!inline) };
                let named = rest[..end].split("::").filter(|part| !part.is_empty());
                let to = from[..above].iter().cloned().chain(named.map(str::to_owned)).collect();
                arrows.push(Arrow { place: place.clone(), from: from.clone(), to });
            }
        }
    }
    assert!(arrows.len() > 200);
    arrows
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn no_arrow_runs_up() {
    let floor = |module: &str| FLOORS.iter().position(|floor| *floor == module);
    let rule = format!("a module uses only those that stand before it: {}, and at last the crate's root", FLOORS.join(", "));
    let up: Vec<String> = arrows()
        .iter()
        .filter(|arrow| {
            let from = floor(&arrow.from[0]).unwrap_or_else(|| panic!("{}: a module without a floor; {rule}", arrow.place));
            arrow.to.first().is_none_or(|module| floor(module).is_none_or(|to| to > from))
        })
        .map(|arrow| format!("{}: {} uses {}", arrow.place, arrow.from.join("::"), arrow.to.join("::")))
        .collect();
    assert!(up.is_empty(), "{rule}\n{}", up.join("\n"));
}

#[test]
fn no_circle_of_folders() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let folder = |modules: &[String]| {
        let longest = (0..=modules.len()).rev().map(|length| modules[..length].join("/"));
        longest.into_iter().find(|path| Path::new(&format!("{root}/{path}")).is_dir()).unwrap_or_default()
    };
    let mut uses: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for arrow in arrows() {
        let (from, to) = (folder(&arrow.from), folder(&arrow.to));
        // A folder and what is in it are one thing.
        if !Path::new(&from).starts_with(&to) && !Path::new(&to).starts_with(&from) {
            uses.entry(from).or_default().entry(to).or_insert(arrow.place);
        }
    }
    // Folders that use nothing that is left are taken away until only circles remain.
    loop {
        let left: BTreeSet<String> = uses.keys().cloned().collect();
        for used in uses.values_mut() {
            used.retain(|folder, _| left.contains(folder));
        }
        let before = uses.len();
        uses.retain(|_, used| !used.is_empty());
        if uses.len() == before {
            break;
        }
    }
    assert!(uses.is_empty(), "of two folders one may use the other, not each the other, not in a circle either: {uses:#?}");
}
