//! Journals of earlier formats, read as if this version had written them.
//!
//! A format is translated to the next one, line by line, and what a line says in the same words is left as it is. Format 1 is that of
//! release 0.1.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Body, Known, KnownSync};
use crate::engine::checked::read_line;
use failover_core::sync_set::{Method, SyncRule};

/// Reads the lines of one file in their order.
#[derive(Default)]
pub(super) struct Reader {
    /// Of each service: who was seen to acknowledge commits, by the last record that says so.
    sync_sets: BTreeMap<String, Vec<String>>,
}

impl Reader {
    /// What a line says, in this version's words.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(&mut self, line: &[u8]) -> Result<Body, String> {
        let mut record: Value = read_line(line)?;
        self.translate_1(&mut record);
        serde_json::from_value(record).map_err(|error| format!("is whole, but of a kind this version does not know: {error}"))
    }

    /// Release 0.1 wrote of a failover under way for how many acknowledgements commits waited and how many were shown as giving them; who
    /// that was stands in the facts before it.
    fn translate_1(&mut self, record: &mut Value) {
        let service = record["service"].as_str().unwrap_or_default().to_owned();
        if let Some(names) = record.pointer("/known/sync_set").and_then(Value::as_array) {
            let names = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            self.sync_sets.insert(service.clone(), names);
        }
        for place in ["/begun", "/known/begun"] {
            if let Some(begun) = record.pointer_mut(place).and_then(Value::as_object_mut) {
                translate_begun(begun, self.sync_sets.get(&service).map_or(&[], Vec::as_slice));
            }
        }
    }
}

fn translate_begun(begun: &mut Map<String, Value>, sync_set: &[String]) {
    let numbers = begun.remove("acknowledgements");
    let number = |at: usize| u32::try_from(numbers.as_ref()?.get(at)?.as_u64()?).ok();
    let (Some(required), Some(size)) = (number(0), number(1)) else { return };
    if let Ok(sync) = serde_json::to_value(acknowledged_by(required, size, sync_set)) {
        begun.entry("sync").or_insert(sync);
    }
}

/// By which method they were chosen it did not say, so all of them have to say how far they are. Where others were among them than those
/// that are configured, nobody is known to be one.
fn acknowledged_by(required: u32, size: u32, sync_set: &[String]) -> KnownSync {
    let rule = SyncRule { method: Method::First, required, names: Vec::new(), everybody: false };
    let all = usize::try_from(size).is_ok_and(|size| size == sync_set.len());
    KnownSync {
        rule,
        // Fewer than are waited for: it had not seen them all.
        size: size.max(required),
        members: if all { sync_set.to_vec() } else { Vec::new() },
        only_written: false,
    }
}

/// What no line says: release 0.1 did not write down whom its last failover had taken from which timeline.
pub(super) fn complete(known: &mut Known) {
    let Some(last) = known.summary.as_deref() else { return };
    let (Some(from), Some(timeline)) = (&last.from, last.timeline) else { return };
    if known.deposed.is_empty() && timeline > 1 && known.primary.is_some() && known.primary == last.to && last.from != last.to {
        known.deposed.push((from.clone(), timeline - 1));
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::SystemTime;

    use expect_test::{Expect, expect};

    use super::*;
    use crate::engine::journal::{FORMAT, Journal};
    use failover_core::id::ServerId;

    /// A state directory with the first so many lines of what release 0.1 wrote (`tests/journals/0.1`, left there by `tests/upgrade.rs`).
    fn written_by_0_1(name: &str, lines: Option<usize>) -> (tempfile::TempDir, Vec<u8>) {
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/journals/0.1", name].iter().collect();
        let text = std::fs::read_to_string(path).unwrap();
        let part: String = text.split_inclusive('\n').take(lines.unwrap_or(usize::MAX)).collect();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("journal.jsonl"), &part).unwrap();
        (directory, part.into_bytes())
    }

    /// What the next engine is told.
    fn told(directory: &Path) -> String {
        let journal = Journal::open(directory);
        assert!(journal.is_writable(), "{:?}", journal.reason());
        let model = crate::engine::tests::two_servers();
        let Some(facts) = journal.facts(&model.services[0], SystemTime::now()) else { return "nothing".to_owned() };
        let durable = &facts.durable;
        let name = |server: Option<ServerId>| server.map_or("-".to_owned(), |server| format!("db{}", server.0 + 1));
        let mut words = vec![format!("failover {}, primary {}", durable.generation.0, name(durable.primary))];
        if durable.pause.is_some() {
            words.push("paused".to_owned());
        }
        if let Some(why) = &durable.attention {
            words.push(format!("a person was called: {}", why.split(" (").next().unwrap_or_default()));
        }
        if durable.last_ended.is_some() {
            words.push("a cooldown".to_owned());
        }
        for (server, timeline) in &durable.cluster.deposed {
            words.push(format!("{} was taken from timeline {timeline}", name(Some(*server))));
        }
        if let Some(unfinished) = &facts.unfinished {
            words.push(format!("stands at {unfinished}"));
        }
        if let Some(begun) = &facts.begun {
            let done = [(begun.route_touched, "out of the route"), (begun.fence_tried, "fenced")];
            words.extend(done.iter().filter(|(done, _)| *done).map(|(_, what)| (*what).to_owned()));
            words.extend(
                begun.chosen.as_ref().map(|chosen| format!("{} chosen at {}", name(Some(chosen.server)), chosen.position)),
            );
            words.extend(begun.sync.as_ref().map(|sync| {
                let members: Vec<String> = sync.members.iter().map(|server| name(Some(*server))).collect();
                format!("commits wait for {} of {}: {}", sync.rule.required, sync.size, members.join(" "))
            }));
        }
        // The same again from the file that replaced it.
        let again = Journal::open(directory).facts(&model.services[0], SystemTime::now()).unwrap();
        assert_eq!(
            (again.begun.is_some(), &again.durable.cluster.deposed, again.durable.generation),
            (facts.begun.is_some(), &durable.cluster.deposed, durable.generation)
        );
        assert_eq!(again.begun.map(|begun| begun.sync), facts.begun.map(|begun| begun.sync));
        words.join(", ")
    }

    fn at_each_line(name: &str, expected: &Expect) {
        let lines = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/0.1").join(name)).unwrap();
        let mut all: Vec<String> = Vec::new();
        for lines in 1..=lines.lines().count() {
            let line = told(written_by_0_1(name, Some(lines)).0.path());
            if all.last() != Some(&line) {
                all.push(line);
            }
        }
        expected.assert_eq(&all.join("\n"));
    }

    #[test]
    fn what_release_0_1_left_is_known_wherever_it_ended() {
        at_each_line(
            "failed_over_and_paused.jsonl",
            &expect![[r"
            nothing
            failover 0, primary db1
            failover 1, primary db1
            failover 1, primary db1, stands at intent
            failover 1, primary db1, stands at route_out, out of the route
            failover 1, primary db1, stands at fence, out of the route, fenced
            failover 1, primary db1, stands at read_positions, out of the route, fenced
            failover 1, primary db1, stands at promote, out of the route, fenced, db2 chosen at 0/30029A8
            failover 1, primary db1, stands at verify_data, out of the route, fenced, db2 chosen at 0/30029A8
            failover 1, primary db1, stands at route_in, out of the route, fenced, db2 chosen at 0/30029A8
            failover 1, primary db1, stands at verify_traffic, out of the route, fenced, db2 chosen at 0/30029A8
            failover 1, primary db2, a cooldown, stands at verify_traffic, out of the route, fenced, db2 chosen at 0/30029A8
            failover 1, primary db2, a cooldown, db1 was taken from timeline 1
            failover 1, primary db2, paused, a cooldown, db1 was taken from timeline 1"]],
        );
    }

    #[test]
    fn a_person_whom_release_0_1_called_is_still_called() {
        at_each_line(
            "manual_intervention.jsonl",
            &expect![[r"
            nothing
            failover 0, primary db1
            failover 0, primary db1, a person was called: no standby can take over"]],
        );
    }

    #[test]
    fn whose_acknowledgements_release_0_1_had_waited_for_stands_in_its_facts() {
        at_each_line(
            "synchronous_fence.jsonl",
            &expect![[r"
            nothing
            failover 0, primary db1
            failover 1, primary db1
            failover 1, primary db1, stands at intent, commits wait for 1 of 1: db2
            failover 1, primary db1, stands at route_out, out of the route, commits wait for 1 of 1: db2
            failover 1, primary db1, stands at fence, out of the route, fenced, commits wait for 1 of 1: db2"]],
        );
    }

    #[test]
    fn where_release_0_1_had_counted_others_too_nobody_is_known_to_be_one() {
        let sync = |required, size, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let sync = acknowledged_by(required, size, &names);
            (sync.size, sync.members.len())
        };
        assert_eq!(sync(1, 1, &["db2"]), (1, 1));
        assert_eq!(sync(1, 2, &["db2"]), (2, 0));
        assert_eq!(sync(1, 0, &[]), (1, 0), "nobody was seen, and that is not nobody");
        assert_eq!(sync(2, 1, &["db2"]), (2, 1));
    }

    #[test]
    fn an_earlier_file_is_kept_and_replaced_before_anything_is_written() {
        let (directory, written) = written_by_0_1("failed_over_and_paused.jsonl", None);
        let (path, previous) = (directory.path().join("journal.jsonl"), directory.path().join("journal.1.jsonl"));
        // Nothing can be written there yet.
        let fresh = directory.path().join("journal.new.jsonl");
        std::fs::create_dir(&fresh).unwrap();
        let mut journal = Journal::open(directory.path());
        assert!(!journal.is_writable() && journal.reason().unwrap().contains("cannot be written"), "{:?}", journal.reason());
        assert!(journal.facts(&crate::engine::tests::two_servers().services[0], SystemTime::now()).is_some());
        assert_eq!(std::fs::read(&path).unwrap(), written);
        std::fs::remove_dir(fresh).unwrap();
        journal.retry(SystemTime::now());
        assert!(journal.is_writable(), "{:?}", journal.reason());
        assert_eq!(std::fs::read(&previous).unwrap(), written, "the earlier one is kept");
        let now = std::fs::read_to_string(&path).unwrap();
        assert!(now.lines().next().unwrap().contains(&format!("\"format\":{FORMAT},")), "{now}");
        assert!(Journal::open(directory.path()).is_writable());
        assert_eq!(std::fs::read(&previous).unwrap(), written, "and stays");
    }
}
