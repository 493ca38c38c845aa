//! The record of a decision: the state of the core some time before it, everything that reached the core since, and what it said.
//! The core is pure, so a record can be replayed, on any machine and at any time, and comes to the same decision bit for bit.
//!
//! One file for each failover that begins and each that is refused, in `evidence/` of the state directory; the newest 32 stay. They
//! hold what servers and hosts answered and what the configuration says, and no secret: none ever reaches the core.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use failover_core::Core;
use failover_core::event::EventKind;
use failover_core::input::Input;
use failover_core::output::{Output, Record};
use failover_core::time::Mono;

use super::render::rfc3339;
use super::threads::Duty;
use crate::sync::channel::{Receiver, Sender, TrySendError, bounded};

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// Inputs of one tape. A record holds between one and two tapes: half a minute to a minute in quiet times of a few services.
const TAPE: usize = 400;
/// And of each service at least so many: a tape begins with a copy of all of them, which is not to be most of the work.
const OF_EACH: usize = 4;
/// Records that wait to be written.
const WAITING: usize = 4;
/// Files that are kept.
const KEPT: usize = 32;
/// Said where it is full.
const TOO_SLOW: &str = "the record of a decision is left out: the disk is too slow for those before it";
/// A disk that takes longer for one record is named.
const SLOW_DISK: Duration = Duration::from_secs(30);
/// A larger file is none of ours.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The record of one decision, with everything that led to it.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionRecord {
    format: u32,
    /// The version of the library that decided.
    pub version: String,
    /// The time: RFC 3339, UTC.
    pub time: String,
    /// The service's name.
    pub service: String,
    /// `failover`, or the name of the event that says why there is no failover.
    pub kind: String,
    /// The number of the service's last failover, including this one if it is one.
    pub generation: u64,
    /// The decision in one sentence.
    pub why: String,
    core: Core,
    inputs: Vec<(Mono, Input)>,
    /// The core's output for the last input, in the core's own format.
    outputs: Vec<String>,
}

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// The number of replayed inputs.
    pub inputs: usize,
    /// The time from the first input to the decision, in milliseconds.
    pub span_ms: u64,
    /// The differences between the outputs now and then. It is empty if the decision is the same, bit for bit.
    pub differences: Vec<String>,
    /// The events of the replayed core, oldest first.
    pub events: Vec<String>,
}

impl DecisionRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// The problem with the file, in one line.
    pub fn load(path: &Path) -> Result<DecisionRecord, String> {
        let failed = |what: String| format!("{}: {what}", path.display());
        let mut text = Vec::new();
        let file = File::open(path).map_err(|error| failed(format!("cannot be opened: {error}")))?;
        file.take(LARGEST + 1).read_to_end(&mut text).map_err(|error| failed(format!("cannot be read: {error}")))?;
        if text.len() as u64 > LARGEST {
            return Err(failed(format!("is larger than {LARGEST} bytes and so no record of a decision")));
        }
        DecisionRecord::parse(&text).map_err(failed)
    }

    /// Reads a record from its JSON.
    ///
    /// # Errors
    /// The problem with the record, in one line.
    pub fn parse(json: &[u8]) -> Result<DecisionRecord, String> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
            version: String,
        }
        let head: Head = serde_json::from_slice(json).map_err(|error| format!("is no record of a decision: {error}"))?;
        if head.format != FORMAT {
            return Err(format!("has format {}, written by version {}; this version reads {FORMAT}", head.format, head.version));
        }
        serde_json::from_slice(json)
            .map_err(|error| format!("was written by version {} and is not understood by this one: {error}", head.version))
    }

    /// Replays the record with the core and compares the outputs at the end.
    #[must_use]
    pub fn replay(&self) -> Replay {
        let mut core = self.core.clone();
        let mut said = Vec::new();
        let mut events = Vec::new();
        for (now, input) in &self.inputs {
            let outputs = core.step(*now, input.clone());
            let told = outputs.iter().filter_map(|output| match output {
                Output::Emit(event) if event.kind != EventKind::Observed => Some(event.message.clone()),
                _ => None,
            });
            events.extend(told);
            said = outputs;
        }
        let said = words(&said);
        let missing = self.outputs.iter().filter(|output| !said.contains(output)).map(|output| format!("only then: {output}"));
        let extra = said.iter().filter(|output| !self.outputs.contains(output)).map(|output| format!("only now: {output}"));
        let mut differences: Vec<String> = missing.chain(extra).collect();
        if differences.is_empty() && said != self.outputs {
            differences.push("the same outputs in another order".to_owned());
        }
        let span = self.inputs.first().zip(self.inputs.last()).map(|(first, last)| last.0.since(first.0).as_millis());
        Replay { inputs: self.inputs.len(), span_ms: span.unwrap_or(0), differences, events }
    }
}

fn words(outputs: &[Output]) -> Vec<String> {
    outputs.iter().map(|output| format!("{output:?}")).collect()
}

/// A state of the core, and what reached it since.
#[derive(Clone)]
struct Tape {
    core: Core,
    inputs: Vec<(Mono, Input)>,
}

/// Keeps the last inputs and hands a record on when there was a decision. Writing happens elsewhere: it must not delay a failover.
pub(crate) struct Recorder {
    tapes: Vec<Tape>,
    /// Inputs of one tape.
    length: usize,
    records: Sender<DecisionRecord>,
}

impl Recorder {
    /// A recorder and the other end of its queue, for [`write_all`].
    pub(crate) fn new() -> (Recorder, Receiver<DecisionRecord>) {
        let (records, receiver) = bounded(WAITING);
        (Recorder { tapes: Vec::new(), length: TAPE, records }, receiver)
    }

    /// An input is about to reach the core.
    pub(crate) fn note(&mut self, core: &Core, now: Mono, input: &Input) {
        if self.tapes.last().is_none_or(|tape| tape.inputs.len() >= self.length) {
            if self.tapes.len() == 2 {
                self.tapes.remove(0);
            }
            self.length = TAPE.max(OF_EACH * core.services());
            self.tapes.push(Tape { core: core.clone(), inputs: Vec::new() });
        }
        if let Some(tape) = self.tapes.last_mut() {
            tape.inputs.push((now, input.clone()));
        }
    }

    /// Something else than an input changed the core: what was kept does not lead to it.
    pub(crate) fn start_over(&mut self) {
        self.tapes.clear();
    }

    /// Looks whether the last step was a decision. Says when a record could not be handed on.
    pub(crate) fn look(&self, names: &dyn Fn(u16) -> String, outputs: &[Output], now: SystemTime) -> Option<&'static str> {
        let (service, kind, generation, why) = outputs.iter().find_map(decision)?;
        if self.records.len() >= WAITING {
            return Some(TOO_SLOW);
        }
        let (first, rest) = self.tapes.split_first()?;
        let mut inputs = first.inputs.clone();
        inputs.extend(rest.iter().flat_map(|tape| tape.inputs.iter().cloned()));
        let record = DecisionRecord {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            time: rfc3339(now),
            service: names(service),
            kind,
            generation,
            why,
            core: first.core.clone(),
            inputs,
            outputs: words(outputs),
        };
        match self.records.try_send(record) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            Err(TrySendError::Full(_)) => Some(TOO_SLOW),
        }
    }
}

fn decision(output: &Output) -> Option<(u16, String, u64, String)> {
    match output {
        Output::Journal(Record::Intent { service, generation, evidence, .. }) => {
            Some((service.0, "failover".to_owned(), generation.0, evidence.last().cloned().unwrap_or_default()))
        }
        Output::Emit(event) if matches!(event.kind, EventKind::FailoverRefused | EventKind::ManualIntervention) => {
            Some((event.service?.0, event.kind.as_str().to_owned(), event.generation.0, event.message.clone()))
        }
        _ => None,
    }
}

/// Writes every record into `evidence/` of the state directory, until the recorder is gone. `complain` hears of what went wrong.
pub(crate) fn write_all(records: &Receiver<DecisionRecord>, state: &Path, duty: &Duty, complain: &dyn Fn(&str)) {
    for (number, record) in records.iter().enumerate() {
        duty.begin(SLOW_DISK);
        let written = write(&state.join("evidence"), &record, number);
        duty.rest();
        if let Err(error) = written {
            complain(&format!("the record of a decision could not be written below {}: {error}", state.display()));
        }
    }
}

fn write(directory: &Path, record: &DecisionRecord, number: usize) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let plain = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    // By time first, so that the names sort.
    let name = format!(
        "{}-{number}-{}-{}-{}.json",
        record.time.replace([':', '.'], ""),
        plain(&record.service),
        record.kind,
        record.generation
    );
    let fresh = directory.join("new");
    put(&fresh, &serde_json::to_vec(record)?).inspect_err(|_| {
        // Half a record is of no use, and on a full disk it takes the room of others.
        let _ = std::fs::remove_file(&fresh);
    })?;
    std::fs::rename(&fresh, directory.join(name))?;
    let mut kept: Vec<PathBuf> = std::fs::read_dir(directory)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    kept.sort();
    let old = kept.len().saturating_sub(KEPT);
    for path in &kept[..old] {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: &str) -> DecisionRecord {
        DecisionRecord {
            format: FORMAT,
            version: "0".to_owned(),
            time: time.to_owned(),
            service: "a/b".to_owned(),
            kind: "failover".to_owned(),
            generation: 1,
            why: String::new(),
            core: Core::new(crate::engine::tests::two_servers()),
            inputs: vec![(Mono::ZERO, Input::Tick)],
            outputs: Vec::new(),
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 5 {
            write(directory.path(), &record(&format!("2026-01-01T00:00:{number:02}.000Z")), 0).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names.len(), KEPT);
        assert_eq!(names[0], "2026-01-01T000005000Z-0-a-b-failover-1.json");
    }

    #[test]
    fn a_difference_is_named() {
        // The first step of a core asks for its checks; a record that says otherwise was made by another core.
        let replay = record("2026").replay();
        assert_eq!((replay.inputs, replay.span_ms), (1, 0));
        assert!(replay.differences[0].starts_with("only now: OpenSession"), "{:?}", replay.differences);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let json = serde_json::to_string(&record("2026")).unwrap();
        DecisionRecord::parse(json.as_bytes()).unwrap();
        for (bad, expected) in [
            (json.replace("\"format\":1", "\"format\":7"), "has format 7"),
            (json.replace("\"core\":", "\"heart\":"), "missing field `core`"),
            (json[..json.len() / 2].to_owned(), "is no record"),
            (String::new(), "is no record"),
        ] {
            let error = DecisionRecord::parse(bad.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
