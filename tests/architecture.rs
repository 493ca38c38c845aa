//! What the architecture page claims is what the code does.

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
