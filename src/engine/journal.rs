//! What must outlive the engine: an append-only file of JSON lines, each numbered, checked and on disk before anything that
//! depends on it happens.
//!
//! A line begins with its checksum, of all that follows it on the line. Numbers have no holes. So a
//! torn last line (the engine or the machine died while it wrote: nothing that depends on it was done) is told apart from
//! damage, and damage is never repaired silently: the journal is then read as far as it can be, and not written.
//!
//! A file of an earlier format is read by `earlier`, and replaced by one of this format before anything is written to it: the engine
//! that wrote it refuses that one by its number. A file of a later format is refused, and nothing of it is read.
//!
//! An intent counts as written only if the rest of its failover has room on the disk too: what fences a server must not find out
//! behind it that nothing more can be written down.

mod earlier;
mod fork;
mod place;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, FlockOperation, access, flock};
use serde::{Deserialize, Serialize};

use failover_core::candidate::Candidate;
use failover_core::durable::{Cluster, Durable, Pause};
use failover_core::id::{Generation, ServerId};
use failover_core::input::Facts;
use failover_core::kept_set::KeptSet;
use failover_core::model::{Model, ServiceModel};
use failover_core::output::{EndedHow, Record, Step};
use failover_core::plan::Intent;
use failover_core::rejoin::{Divergence, RejoinHow, RejoinStage, Rejoining};
use failover_core::salvage::Carried;
use failover_core::sample::{FenceLevel, Lsn};
use failover_core::switchover::PlannedSwitchover;
use failover_core::sync_set::{Acknowledging, SyncRule};
use failover_core::time::{Mono, Span};

use self::fork::KnownFork;
use self::place::Place;
use super::checked::{line_of, read_line};
use super::error::EngineError;
use super::known_stats::{KnownJudgement, KnownStats};
use super::render::rfc3339;
use super::room::{Room, is_full};
use super::status::FailoverStatus;

/// The format that is written, and the latest one that is read. It goes up with every change by which an engine before it would be wrong
/// about what it reads; what the earlier one says in other words is then translated in `earlier`.
const FORMAT: u32 = 2;
/// From here on the file is replaced by what it comes to.
const ROTATE: u64 = 4 * 1024 * 1024;
/// A larger file is none of ours.
const LARGEST: u64 = 64 * 1024 * 1024;
/// Lines of reasoning kept in an intent, and bytes of each text.
const EVIDENCE_LINES: usize = 200;
const TEXT: usize = 2_000;
/// Lines of each kind kept of a failover that is over.
const SUMMARY_LINES: usize = 32;
/// Bytes of a record with texts of one step, of which a character takes four at most.
const STEP: u64 = 4 * TEXT as u64 + 1024;
/// Bytes of the end of a failover, with what the status shows of it.
const END: u64 = 48 * 1024;
/// Bytes of an intent. One that is longer asks for more room.
const INTENT: u64 = 64 * 1024;
/// What an intent needs behind it: two records for each step up to the promotion, some for a second choice, and the end.
const REST: u64 = 16 * STEP + END;
/// What is kept at any time.
const KEPT: u64 = INTENT + REST;

/// The lock of a state directory, held while this lives.
#[derive(Debug)]
pub(crate) struct StateLock {
    file: File,
    /// Whose it is: a child of fork has a copy, and may not give it back.
    owner: u32,
}

impl Drop for StateLock {
    /// Given back, and not only closed: a child that another thread has just forked holds a copy of the descriptor until it executes its
    /// program, and would keep the next engine out.
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

impl StateLock {
    /// Makes the directory where it is missing and locks it.
    ///
    /// # Errors
    /// [`EngineError::AlreadyRunning`]; [`EngineError::System`] when the directory cannot be used at all.
    pub(crate) fn take(directory: &Path) -> Result<StateLock, EngineError> {
        let failed = |what: &str, error| EngineError::system(format!("{what} {}", directory.display()), error);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| failed("cannot make the state directory", error))?;
        let path = directory.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("cannot open the lock in the state directory", error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut holder);
                return Err(EngineError::AlreadyRunning { path, pid: holder.trim().parse().ok() });
            }
            Err(error) => return Err(failed("cannot lock the state directory", error.into())),
        }
        // Only for people; the lock itself is what counts.
        let _ = file.set_len(0);
        let _ = writeln!(file, "{}", std::process::id());
        Ok(StateLock { file, owner: std::process::id() })
    }
}

/// Whether an engine of this user could use the state directory: asked without leaving anything there. One that another engine
/// holds is in use, and so usable.
///
/// # Errors
/// Why not, and whether that is certain: a directory that is not there may be made by whoever starts the engine.
pub(crate) fn probe(directory: &Path) -> Result<(), (bool, String)> {
    let shown = directory.display();
    if let Err(error) = std::fs::metadata(directory) {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Err((true, format!("state_dir {shown} cannot be looked at: {error}")));
        }
        let there = directory.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        return access(there, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            (false, format!("state_dir {shown} is not there, and cannot be made in {}: {error}", there.display()))
        });
    }
    // A name that nobody else uses: written like the journal, and taken away again.
    let trial = directory.join(format!(".trial-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&trial).and_then(|mut file| {
        file.write_all(b"trial")?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&trial);
    written.map_err(|error| (true, format!("state_dir {shown} cannot be written: {error}")))?;
    for name in ["lock", "journal.jsonl"] {
        let path = directory.join(name);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err((true, format!("{} cannot be opened for writing: {error}", path.display()))),
        };
        if name != "lock" {
            continue;
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => drop(flock(&file, FlockOperation::Unlock)),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err((true, format!("{} cannot be locked: {error}", path.display()))),
        }
    }
    Ok(())
}

/// What is known of a service by its journal, by names: numbers change with the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    generation: u64,
    primary: Option<String>,
    system_id: Option<u64>,
    timeline: Option<u32>,
    flush: Option<String>,
    sync_set: Vec<String>,
    /// Milliseconds of the wall clock when the last failover ended.
    last_failover_ms: Option<u64>,
    unfinished: Option<String>,
    begun: Option<KnownBegun>,
    paused: bool,
    /// Of that pause.
    #[serde(skip_serializing_if = "KnownPause::is_plain")]
    pause: KnownPause,
    attention: Option<String>,
    stats: KnownStats,
    /// The service that it follows, and the primary of it that was followed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    followed: Option<(String, String)>,
    /// The primary had not its full weight in the route yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ramping: bool,
    /// Former primaries that failovers of ours took from their timelines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deposed: Vec<(String, u32)>,
    /// Primaries that handed over in a switchover and do not stream again yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    handed_over: Vec<String>,
    /// The timeline that began with the last promotion, and the position at which it left the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    fork: Option<(u32, String)>,
    /// The changes of the primary, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forks: Vec<KnownFork>,
    /// `synchronous_standby_names` of servers as it was before it was cleared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sync_names: Vec<(String, String)>,
    /// The set of standbys that the primary's commits wait for.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_set: Option<KnownSet>,
    /// Slots that were created for standbys: on which server, and the name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slots: Vec<(String, String)>,
    /// Those of them whose processes had been seen on their host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<String>,
    /// Servers that an operator cordoned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cordoned: Vec<String>,
    /// A former primary that is on its way back as a standby.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejoin: Option<KnownRejoin>,
    /// A switchover that begins later.
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<KnownSwitchover>,
    /// The last failover, as the status showed it at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Box<FailoverStatus>>,
}

/// Whoever may acknowledge commits of the primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSet {
    primary: String,
    required: u32,
    members: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    strangers: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    open: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl KnownSet {
    fn of(kept: &KeptSet, name: &NameOf<'_>) -> Option<KnownSet> {
        Some(KnownSet {
            primary: name(kept.primary)?,
            required: kept.required,
            members: kept.members.iter().filter_map(|member| name(*member)).collect(),
            strangers: kept.strangers,
            open: kept.open,
            pending: kept.pending.clone(),
        })
    }

    /// One that is not configured any more may have acknowledged all the same.
    fn read(&self, id: &IdOf<'_>) -> Option<KeptSet> {
        let members: std::collections::BTreeSet<ServerId> = self.members.iter().filter_map(id).collect();
        let gone = u32::try_from(self.members.len().saturating_sub(members.len())).unwrap_or(u32::MAX);
        Some(KeptSet {
            primary: id(&self.primary)?,
            required: self.required,
            members,
            strangers: self.strangers.saturating_add(gone),
            open: self.open,
            pending: self.pending.clone(),
        })
    }
}

/// How far an old primary's return is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownRejoin {
    server: String,
    generation: u64,
    how: RejoinHow,
    stage: RejoinStage,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    divergence: Option<Divergence>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

impl KnownRejoin {
    fn of(rejoin: &Rejoining, name: &NameOf<'_>) -> Option<KnownRejoin> {
        let Rejoining { server, generation, how, stage, divergence, attempt } = rejoin;
        let (server, generation, divergence) = (name(*server)?, generation.0, divergence.clone());
        Some(KnownRejoin { server, generation, how: *how, stage: *stage, divergence, attempt: *attempt })
    }

    fn read(&self, id: &IdOf<'_>) -> Option<Rejoining> {
        let (server, generation) = (id(&self.server)?, Generation(self.generation));
        let (divergence, attempt) = (self.divergence.clone(), self.attempt);
        Some(Rejoining { server, generation, how: self.how, stage: self.stage, divergence, attempt })
    }
}

/// Why a service is paused, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct KnownPause {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it ends by itself, in milliseconds of the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    until_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasts_ms: Option<u64>,
}

impl KnownPause {
    fn is_plain(&self) -> bool {
        *self == KnownPause::default()
    }

    fn of(pause: &Pause, now: u64) -> KnownPause {
        // In whole seconds, so that the same facts a moment later are the same facts; rounded up: it is not shorter for it.
        let until_of = |left: Span| now.saturating_add(left.as_millis()).div_ceil(1_000).saturating_mul(1_000);
        let until_ms = pause.left(Mono::ZERO).map(until_of);
        KnownPause { reason: pause.reason.clone(), until_ms, lasts_ms: pause.lasts.map(Span::as_millis) }
    }

    /// The wall clock says what is left. Where it went back that is never more than the whole time that was asked for.
    fn read(&self, now: u64) -> Pause {
        let lasts = self.lasts_ms.map(Span::from_millis);
        let left = self.until_ms.map(|until| Span::from_millis(until.saturating_sub(now)));
        let left = left.map(|left| lasts.map_or(left, |lasts| left.min(lasts)));
        Pause { reason: self.reason.clone(), lasts, ends: left.map(|left| Mono::ZERO + left) }
    }
}

/// A switchover that begins later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSwitchover {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// In milliseconds of the wall clock.
    at_ms: u64,
}

impl KnownSwitchover {
    fn of(planned: &PlannedSwitchover, name: &NameOf<'_>) -> KnownSwitchover {
        KnownSwitchover { to: planned.to.and_then(name), at_ms: planned.at_ms }
    }

    /// By the wall clock of the machine that reads it. `None`: to a server that is not configured any more.
    fn read(&self, id: &IdOf<'_>, now_ms: u64) -> Option<PlannedSwitchover> {
        let to = match &self.to {
            Some(name) => Some(id(name)?),
            None => None,
        };
        let left = Span::from_millis(self.at_ms.saturating_sub(now_ms));
        Some(PlannedSwitchover { to, at: Mono::ZERO + left, at_ms: self.at_ms, missed: self.at_ms < now_ms })
    }
}

/// A failover that was begun and has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownBegun {
    generation: u64,
    class: String,
    old: String,
    system_id: u64,
    timeline: u32,
    /// The level required, as a number.
    fence: u8,
    furthest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sync: Option<KnownSync>,
    #[serde(default)]
    acknowledged_before: Option<String>,
    streaming: Vec<String>,
    route_touched: bool,
    fence_tried: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stop_tried: bool,
    #[serde(default)]
    view_confirmed: bool,
    chosen: Option<KnownCandidate>,
    /// The first bad sign, in milliseconds of the wall clock.
    #[serde(default)]
    first_bad_ms: Option<u64>,
    #[serde(default)]
    judgement: Option<KnownJudgement>,
}

/// Whose acknowledgements commits waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownSync {
    rule: SyncRule,
    size: u32,
    members: Vec<String>,
    only_written: bool,
}

impl KnownSync {
    fn of(sync: &Acknowledging, name: &NameOf<'_>) -> KnownSync {
        let members = sync.members.iter().filter_map(|server| name(*server)).collect();
        KnownSync { rule: sync.rule.clone(), size: sync.size, members, only_written: sync.only_written }
    }

    fn read(&self, id: &IdOf<'_>) -> Acknowledging {
        let members = self.members.iter().filter_map(id).collect();
        Acknowledging { rule: self.rule.clone(), size: self.size, members, only_written: self.only_written }
    }
}

/// The standby whose promotion was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KnownCandidate {
    server: String,
    position: String,
    loss: Option<u64>,
    /// `loss` was read, not estimated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    exact: bool,
    /// So long of the log's end was not seen, or nobody looked at it.
    #[serde(default)]
    unseen_ms: u64,
    #[serde(default)]
    away_ms: u64,
    holds_acknowledged: bool,
    /// What was carried to it from the old primary's disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carried: Option<Carried>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Entry {
    Begin {
        format: u32,
        version: String,
    },
    State {
        service: String,
        known: Known,
    },
    Intent {
        service: String,
        generation: u64,
        evidence: Vec<String>,
        #[serde(default)]
        begun: Option<KnownBegun>,
    },
    StepBegun {
        service: String,
        generation: u64,
        step: Step,
        target: String,
        #[serde(default)]
        chosen: Option<KnownCandidate>,
    },
    StepEnded {
        service: String,
        generation: u64,
        step: Step,
        ok: bool,
        message: String,
    },
    Ended {
        service: String,
        generation: u64,
        how: EndedHow,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Box<FailoverStatus>>,
    },
    Facts {
        service: String,
        known: Known,
    },
    Acknowledged {
        service: String,
    },
    Note {
        message: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Body {
    seq: u64,
    time: String,
    at_ms: u64,
    #[serde(flatten)]
    entry: Entry,
}

/// The journal of one engine.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    file: Option<File>,
    /// The file that holds what was written, and the lock beside it when the journal was opened.
    place: Option<Place>,
    lock: Option<Place>,
    /// Of the file that is there.
    format: u32,
    /// Up to here everything is whole.
    length: u64,
    seq: u64,
    known: BTreeMap<String, Known>,
    /// Why it may not be written, for good: damage that a person has to look at.
    refused: Option<String>,
    /// Why it could not be written the last time.
    broken: Option<String>,
    /// What could not be written and was done all the same: promotions and ends of failovers, in order. They go first as soon as
    /// something can be: by them the next engine knows whom to ask, and what not to take up again.
    owed: VecDeque<Entry>,
    /// Kept on the disk for the failover that may come.
    room: Room,
    /// Why there is no room for a failover.
    short: Option<std::io::Error>,
    /// What was found at the start and put right.
    note: Option<String>,
    /// Nothing was there when it was opened.
    blank: bool,
    rotate_at: u64,
}

impl Journal {
    /// Opens the journal of a state directory and replays it. Whatever is wrong is kept as the reason why it cannot be written.
    pub(crate) fn open(directory: &Path) -> Journal {
        let mut journal = Journal::empty(directory);
        journal.replay();
        if journal.refused.is_none() {
            journal.mend();
        }
        journal
    }

    /// The journal of a state directory that could not be locked: read as far as it can be, never written.
    pub(crate) fn read_only(directory: &Path, reason: String) -> Journal {
        let mut journal = Journal::empty(directory);
        journal.replay();
        journal.refused = Some(reason);
        journal
    }

    fn empty(directory: &Path) -> Journal {
        Journal {
            directory: directory.to_owned(),
            file: None,
            place: None,
            lock: Place::at(&directory.join("lock")).unwrap_or_default(),
            format: FORMAT,
            length: 0,
            seq: 0,
            known: BTreeMap::new(),
            refused: None,
            broken: None,
            owed: VecDeque::new(),
            room: Room::new(directory),
            short: None,
            note: None,
            blank: false,
            rotate_at: ROTATE,
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("journal.jsonl")
    }

    fn previous(&self) -> PathBuf {
        self.directory.join("journal.1.jsonl")
    }

    fn fresh(&self) -> PathBuf {
        self.directory.join("journal.new.jsonl")
    }

    /// It can be written, and there is room for a whole failover.
    pub(crate) fn is_writable(&self) -> bool {
        self.refused.is_none() && self.broken.is_none()
    }

    /// Why it cannot be written, or what was put right at the start.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.refused.as_deref().or(self.broken.as_deref()).or(self.note.as_deref())
    }

    /// What was found at the start and put right.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What an engine says that finds no journal. A first start and one after the directory was lost look the same, unless something else
    /// of an earlier engine is there (`earlier`).
    pub(crate) fn nothing_found(&self, earlier: bool) -> Option<String> {
        let found = if earlier {
            "has no journal, but observations of an earlier engine: the journal was lost. This"
        } else {
            "has no journal, as on a first start. If an engine ran with it before, the journal was lost: this"
        };
        let directory = self.directory.display();
        self.blank.then(|| {
            format!(
                "the state directory {directory} {found} engine knows of no pause, no cordon and no earlier failover. If a service was paused or \
                 a server cordoned, repeat that now"
            )
        })
    }

    /// The number of the last record.
    pub(crate) fn sequence(&self) -> u64 {
        self.seq
    }

    /// What is known of a service; `None` if it was never written about.
    pub(crate) fn facts(&self, service: &ServiceModel, now: SystemTime) -> Option<Facts> {
        let known = self.known.get(&service.name)?;
        let id = |name: &String| {
            let at = service.servers.iter().position(|server| server.name == *name)?;
            u16::try_from(at).ok().map(ServerId)
        };
        Some(Facts {
            durable: known.durable(service, &id, millis_of(now)),
            unfinished: known.unfinished.clone(),
            begun: known.begun.as_ref().and_then(|begun| begun.read(&id, millis_of(now))),
            knowledge: None,
        })
    }

    /// Writes a record and waits until it is on disk. Facts that are known already cost nothing. The record of a failover's end takes
    /// what the status shows of it from now on.
    ///
    /// # Errors
    /// Why it is not on disk. The file is left as it was before.
    pub(crate) fn append_with(
        &mut self,
        model: &Model,
        record: &Record,
        shown: Option<FailoverStatus>,
        now: SystemTime,
    ) -> Result<(), String> {
        let mut entry = entry_of(model, record, now);
        if let Entry::Ended { summary, .. } = &mut entry {
            *summary = shown.map(|shown| Box::new(shortened(shown)));
        }
        if let Entry::Facts { service, known } = &entry
            && self.known.get(service).is_some_and(|before| *before == known.clone().with_plan_of(before))
            && (self.is_writable() || self.short.is_some())
        {
            return Ok(());
        }
        self.write(entry, now)
    }

    /// The last failover of a service, as the status showed it at its end.
    pub(crate) fn summaries(&self) -> BTreeMap<String, FailoverStatus> {
        let summary = |(name, known): (&String, &Known)| Some((name.clone(), known.summary.as_deref()?.clone()));
        self.known.iter().filter_map(summary).collect()
    }

    /// A person took note of what an earlier engine left unfinished: it need not be told again.
    pub(crate) fn acknowledge(&mut self, service: &str, now: SystemTime) {
        if self.known.get(service).is_some_and(|known| known.unfinished.is_some() || known.begun.is_some()) {
            let _ = self.write(Entry::Acknowledged { service: service.to_owned() }, now);
        }
    }

    /// The intent of this failover is on disk, and its end is not.
    pub(crate) fn holds_intent(&self, service: &str, generation: Generation) -> bool {
        let begun = self.known.get(service).and_then(|known| known.begun.as_ref());
        begun.is_some_and(|begun| begun.generation == generation.0)
    }

    /// Something that was done is not written down yet.
    pub(crate) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Tries again after a failure to write, by writing a note. Where only the room for a failover is missing, nothing is written
    /// before it is there: the note would take of what is left.
    pub(crate) fn retry(&mut self, now: SystemTime) {
        if self.refused.is_none() && self.broken.is_some() {
            if self.short.is_some() && self.length > 0 && !self.owes() && self.is_displaced().is_ok_and(|displaced| !displaced) {
                // By a new descriptor: what is at that place may have become something else.
                self.file = None;
                self.short = self.open_file().and_then(|file| self.room.keep(&file, self.length, KEPT)).err();
                if let Some(error) = &self.short {
                    self.broken = Some(self.without_room(error));
                    return;
                }
            }
            let message = format!("written again after: {}", self.broken.as_deref().unwrap_or_default());
            let _ = self.write(Entry::Note { message }, now);
        }
    }

    fn write(&mut self, entry: Entry, now: SystemTime) -> Result<(), String> {
        if let Some(reason) = &self.refused {
            return Err(reason.clone());
        }
        let kept = self.is_done_all_the_same(&entry).then(|| entry.clone());
        let written = self.write_owed(now).and_then(|()| self.try_write(entry, now));
        if let (Err(_), Some(entry)) = (&written, kept) {
            self.owe(entry);
        }
        self.broken = match (&written, &self.short) {
            (Err(error), _) => Some(format!("{} cannot be written: {error}", self.path().display())),
            (Ok(()), Some(error)) => Some(self.without_room(error)),
            (Ok(()), None) => None,
        };
        written.map_err(|_| self.broken.clone().unwrap_or_default())?;
        if self.length >= self.rotate_at {
            // A rotation that fails changes nothing; the next try is a while away.
            self.rotate_at = self.length + ROTATE;
            if self.rotate(now).is_ok() {
                self.rotate_at = ROTATE.max(self.length * 2);
            } else {
                // The disk may be full because of it.
                let _ = std::fs::remove_file(self.fresh());
            }
        }
        Ok(())
    }

    fn without_room(&self, error: &std::io::Error) -> String {
        format!(
            "{} cannot be written to the end of a failover, should one begin: {error}; make room for {} KiB in the state directory",
            self.path().display(),
            KEPT / 1024
        )
    }

    /// What is written late rather than never: the end of a failover, and a promotion, whose intent is on disk.
    fn is_done_all_the_same(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Ended { .. } => true,
            Entry::StepBegun { service, generation, chosen: Some(_), .. } => self.holds_intent(service, Generation(*generation)),
            _ => false,
        }
    }

    /// Of each service two at most: the choice made last, and the end after it.
    fn owe(&mut self, entry: Entry) {
        let replaces = |old: &Entry| match (old, &entry) {
            (Entry::Ended { service: old, .. }, Entry::Ended { service: new, .. })
            | (Entry::StepBegun { service: old, .. }, Entry::StepBegun { service: new, .. }) => old == new,
            _ => false,
        };
        self.owed.retain(|old| !replaces(old));
        self.owed.push_back(entry);
    }

    fn write_owed(&mut self, now: SystemTime) -> std::io::Result<()> {
        while let Some(entry) = self.owed.front().cloned() {
            self.try_write(entry, now)?;
            self.owed.pop_front();
        }
        Ok(())
    }

    fn try_write(&mut self, entry: Entry, now: SystemTime) -> std::io::Result<()> {
        if self.is_displaced()? {
            self.renew(now)?;
        }
        if self.format < FORMAT && self.length > 0 {
            // What an engine of that format does not know may not stand in a file that it would read.
            self.rotate(now).inspect_err(|_| drop(std::fs::remove_file(self.fresh())))?;
        }
        if self.file.is_none() {
            let file = self.open_file()?;
            self.place = Some(Place::of(&file)?);
            self.file = Some(file);
            if self.length == 0 {
                self.try_write(begin(), now)?;
                sync_directory(&self.directory)?;
            }
        }
        let body = Body { seq: self.seq + 1, time: rfc3339(now), at_ms: millis_of(now), entry };
        let line = line_of(&body)?;
        let bytes = line.len() as u64;
        // Only a write that succeeded leaves its descriptor behind: after a failed sync nobody knows what the kernel kept.
        let mut file = self.file.take().expect("opened above");
        // What an earlier failure left behind goes first. A cut takes the blocks behind the end as well, so only where it is needed.
        if file.metadata()?.len() != self.length {
            self.cut(&file)?;
        }
        if matches!(body.entry, Entry::Intent { .. }) {
            self.room.keep(&file, self.length, bytes + REST)?;
        }
        let mut done = write_at(&mut file, self.length, &line);
        if done.as_ref().is_err_and(is_full) && self.room.give(bytes) {
            done = self.cut(&file).and_then(|()| write_at(&mut file, self.length, &line));
        }
        if let Err(error) = done {
            let _ = self.cut(&file);
            // At once, before somebody else takes it.
            self.short = self.room.keep(&file, self.length, KEPT).err();
            return Err(error);
        }
        self.length += bytes;
        self.seq += 1;
        self.short = self.room.keep(&file, self.length, KEPT).err();
        self.file = Some(file);
        self.learn(&body);
        Ok(())
    }

    fn open_file(&self) -> std::io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.path())
    }

    fn cut(&mut self, file: &File) -> std::io::Result<()> {
        file.set_len(self.length)?;
        self.room.was_cut();
        Ok(())
    }

    /// Replaces the file by what it comes to; the old one stays beside it until the next time.
    fn rotate(&mut self, now: SystemTime) -> std::io::Result<()> {
        let fresh = self.fresh();
        let mut seq = self.seq;
        let mut text = String::new();
        let states = self.known.iter().map(|(service, known)| Entry::State { service: service.clone(), known: known.clone() });
        for entry in std::iter::once(begin()).chain(states) {
            seq += 1;
            text.push_str(&line_of(&Body { seq, time: rfc3339(now), at_ms: millis_of(now), entry })?);
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        let mut room = self.room.clone();
        room.was_cut();
        room.keep(&file, text.len() as u64, KEPT)?;
        file.sync_all()?;
        // A link, not a move: at no moment is there no journal.
        let _ = std::fs::remove_file(self.previous());
        match std::fs::hard_link(self.path(), self.previous()) {
            // It was deleted: nothing is there to be kept.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            linked => linked?,
        }
        std::fs::rename(&fresh, self.path())?;
        sync_directory(&self.directory)?;
        self.place = Some(Place::of(&file)?);
        if let Some(old) = self.file.replace(file) {
            // The room behind it is of no use any more.
            let _ = old.set_len(self.length);
        }
        self.room = room;
        self.format = FORMAT;
        self.length = text.len() as u64;
        self.seq = seq;
        Ok(())
    }

    fn replay(&mut self) {
        let path = self.path();
        let refuse = |why: String| {
            Some(format!(
                "{} cannot be trusted ({why}). No failover is started until a person has looked: restore it, or move the files \
                 journal*.jsonl away, which forgets generation and primary",
                path.display()
            ))
        };
        let content = match content_of(&path) {
            Ok(content) => content,
            Err(why) => {
                self.refused = refuse(why);
                return;
            }
        };
        if content.is_empty() {
            if self.previous().exists() {
                self.refused = refuse("it is missing or empty, but its predecessor journal.1.jsonl is there".to_owned());
            } else {
                self.blank = true;
            }
            return;
        }
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let torn = content.len() - whole;
        let mut earlier = earlier::Reader::default();
        let mut lines = content[..whole].split(|byte| *byte == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            if line.is_empty() && lines.peek().is_none() {
                break;
            }
            let number = number + 1;
            let read = if self.format < FORMAT { earlier.read(line) } else { read_line(line) };
            let body: Body = match read {
                Ok(body) => body,
                Err(why) => {
                    // What follows is still read: the highest generation must not be forgotten.
                    self.refused = self.refused.take().or_else(|| refuse(format!("line {number} {why}")));
                    continue;
                }
            };
            match &body.entry {
                Entry::Begin { format, version } if *format > FORMAT => {
                    self.refused = Some(format!(
                        "{} was written by version {version} in format {format}, newer than {FORMAT}, the one of this version: nothing of \
                         it is read or changed, and no failover is started. Run that version or a later one; to go back all the same, \
                         move the files journal*.jsonl away, which forgets generation, primary, pauses and cordons",
                        path.display()
                    ));
                    return;
                }
                Entry::Begin { format, .. } if number == 1 => self.format = *format,
                Entry::Begin { .. } => {}
                _ if number == 1 => self.refused = refuse("its first line is not the beginning of a journal".to_owned()),
                _ => {}
            }
            if number > 1 && body.seq != self.seq + 1 && self.refused.is_none() {
                self.refused = refuse(format!("line {number} has number {}, expected {}", body.seq, self.seq + 1));
            }
            self.seq = self.seq.max(body.seq);
            self.learn(&body);
        }
        if self.format < FORMAT {
            self.known.values_mut().for_each(earlier::complete);
        }
        self.length = whole as u64;
        self.place = Place::at(&path).unwrap_or_default();
        if self.refused.is_none() && whole == 0 && self.previous().exists() {
            self.refused = refuse("its first line is torn, but its predecessor journal.1.jsonl is there".to_owned());
        }
        if self.refused.is_none() && torn > 0 {
            self.note = Some(format!(
                "the last record of {} was torn ({torn} bytes without an end) and is dropped: nothing that depends on it was done",
                path.display()
            ));
        }
    }

    /// Makes the file ready to be written after a good replay.
    fn mend(&mut self) {
        let message = self.note.clone().unwrap_or_else(|| "the engine was started".to_owned());
        let _ = self.write(Entry::Note { message }, SystemTime::now());
    }

    fn learn(&mut self, body: &Body) {
        match &body.entry {
            Entry::Begin { .. } | Entry::StepEnded { .. } | Entry::Note { .. } => {}
            Entry::State { service, known: state } => *self.known_of(service) = state.clone(),
            Entry::Facts { service, known: facts } => {
                let known = self.known_of(service);
                let generation = known.generation.max(facts.generation);
                *known = Known { generation, ..facts.clone().with_plan_of(known) };
            }
            Entry::Intent { service, generation, begun, .. } => {
                let known = self.known_of(service);
                known.generation = known.generation.max(*generation);
                known.unfinished = Some("intent".to_owned());
                known.begun.clone_from(begun);
            }
            Entry::StepBegun { service, step, chosen, .. } => {
                let known = self.known_of(service);
                known.unfinished = Some(step.as_str().to_owned());
                if let Some(begun) = &mut known.begun {
                    begun.route_touched |= matches!(step, Step::CloseGate | Step::RouteOut);
                    begun.fence_tried |= *step == Step::Fence;
                    begun.stop_tried |= *step == Step::StopServer;
                    begun.chosen = chosen.clone().or(begun.chosen.take());
                }
            }
            Entry::Acknowledged { service } => {
                let known = self.known_of(service);
                known.unfinished = None;
                known.begun = None;
            }
            Entry::Ended { service, how, summary, .. } => {
                let known = self.known_of(service);
                // A failover that did not complete left something for a person, and a restart must not make that forgotten.
                known.begun = None;
                known.unfinished = (!matches!(how, EndedHow::Completed | EndedHow::Stopped)).then(|| how.as_str().to_owned());
                known.summary.clone_from(summary);
            }
        }
    }
    fn known_of(&mut self, service: &str) -> &mut Known {
        self.known.entry(service.to_owned()).or_default()
    }
}

impl Known {
    /// What survives, in the journal's words.
    fn of(durable: &Durable, model: &ServiceModel, now_ms: u64) -> Known {
        let server = |id: &ServerId| Some(model.servers.get(usize::from(id.0))?.name.clone());
        // In whole seconds, so that the same facts a moment later are the same facts.
        let seconds = |age: Span| now_ms.saturating_sub(age.as_millis()) / 1_000 * 1_000;
        Known {
            generation: durable.generation.0,
            primary: durable.primary.as_ref().and_then(server),
            system_id: durable.cluster.system_id,
            timeline: durable.cluster.position.map(|(timeline, _)| timeline),
            flush: durable.cluster.position.map(|(_, flush)| flush.to_string()),
            sync_set: durable.cluster.synchronous.iter().filter_map(server).collect(),
            last_failover_ms: durable.recorded_age().map(seconds),
            unfinished: None,
            begun: None,
            paused: durable.pause.is_some(),
            pause: durable.pause.as_ref().map(|pause| KnownPause::of(pause, now_ms)).unwrap_or_default(),
            attention: durable.attention.as_deref().map(shortened_text),
            stats: KnownStats::of(&durable.stats, now_ms, &|id| server(&id)),
            followed: durable.followed.and_then(|followed| {
                let follows = model.follows.as_ref()?;
                Some((follows.name.clone(), follows.servers.get(usize::from(followed.0))?.clone()))
            }),
            ramping: durable.ramping,
            deposed: durable.cluster.deposed.iter().filter_map(|(id, timeline)| Some((server(id)?, *timeline))).collect(),
            handed_over: durable.cluster.handed_over.iter().filter_map(server).collect(),
            fork: durable.cluster.fork.map(|(timeline, at)| (timeline, at.to_string())),
            forks: durable.cluster.forks.iter().map(KnownFork::of).collect(),
            sync_names: durable.cluster.sync_names.iter().filter_map(|(of, names)| Some((server(of)?, names.clone()))).collect(),
            kept_set: durable.cluster.kept_set.as_ref().and_then(|kept| KnownSet::of(kept, &|id| server(&id))),
            slots: durable.cluster.slots.iter().filter_map(|(on, slot)| Some((server(on)?, slot.clone()))).collect(),
            seen: durable.cluster.seen.iter().filter_map(server).collect(),
            cordoned: durable.cordoned.iter().filter_map(server).collect(),
            rejoin: durable.rejoin.as_ref().and_then(|rejoin| KnownRejoin::of(rejoin, &|id| server(&id))),
            planned: durable.planned.as_ref().map(|planned| KnownSwitchover::of(planned, &|id| server(&id))),
            summary: None,
        }
    }

    /// The same, read back. Who is not configured any more is left out.
    fn durable(&self, model: &ServiceModel, id: &IdOf<'_>, now_ms: u64) -> Durable {
        // A wall clock that went back makes the failover look younger: the longer cooldown is the safe side.
        let age = self.last_failover_ms.map(|at| Span::from_millis(now_ms.saturating_sub(at)));
        let position = self.flush.as_deref().and_then(Lsn::parse).unwrap_or_default();
        let durable = Durable {
            generation: Generation(self.generation),
            primary: self.primary.as_ref().and_then(id),
            cluster: Cluster {
                system_id: self.system_id,
                position: self.timeline.map(|timeline| (timeline, position)),
                synchronous: self.sync_set.iter().filter_map(id).collect(),
                deposed: self.deposed.iter().filter_map(|(name, timeline)| Some((id(name)?, *timeline))).collect(),
                handed_over: self.handed_over.iter().filter_map(id).collect(),
                fork: self.fork.as_ref().and_then(|(timeline, at)| Some((*timeline, Lsn::parse(at)?))),
                forks: self.forks.iter().map(KnownFork::read).collect(),
                sync_names: self.sync_names.iter().filter_map(|(of, names)| Some((id(of)?, names.clone()))).collect(),
                slots: self.slots.iter().filter_map(|(on, slot)| Some((id(on)?, slot.clone()))).collect(),
                kept_set: self.kept_set.as_ref().and_then(|kept| kept.read(id)),
                seen: self.seen.iter().filter_map(id).collect(),
            },
            last_ended: None,
            cooldown_from: None,
            pause: self.paused.then(|| self.pause.read(now_ms)),
            attention: self.attention.clone(),
            stats: self.stats.read(now_ms, id),
            followed: self.followed.as_ref().and_then(|(other, server)| {
                let follows = model.follows.as_ref().filter(|follows| follows.name == *other)?;
                let at = follows.servers.iter().position(|name| name == server)?;
                u16::try_from(at).ok().map(ServerId)
            }),
            ramping: self.ramping,
            cordoned: self.cordoned.iter().filter_map(id).collect(),
            rejoin: self.rejoin.as_ref().and_then(|rejoin| rejoin.read(id)),
            planned: self.planned.as_ref().and_then(|planned| planned.read(id, now_ms)),
        };
        durable.with_failover_age(age)
    }

    /// The same, with what is known of a failover from elsewhere: facts are silent about it.
    fn with_plan_of(self, other: &Known) -> Known {
        Known { unfinished: other.unfinished.clone(), begun: other.begun.clone(), summary: other.summary.clone(), ..self }
    }
}

type NameOf<'a> = dyn Fn(ServerId) -> Option<String> + 'a;
type IdOf<'a> = dyn Fn(&String) -> Option<ServerId> + 'a;

impl KnownBegun {
    fn of(begun: &Intent, name: &NameOf<'_>, now_ms: u64) -> KnownBegun {
        KnownBegun {
            generation: begun.generation.0,
            class: begun.reason.as_str().to_owned(),
            old: name(begun.old).unwrap_or_default(),
            system_id: begun.system_id,
            timeline: begun.old_timeline,
            fence: begun.require.number(),
            furthest: begun.furthest.map(|position| position.to_string()),
            sync: begun.sync.as_ref().map(|sync| KnownSync::of(sync, name)),
            acknowledged_before: Some(begun.acknowledged_before.to_string()),
            streaming: begun.streaming.iter().filter_map(|server| name(*server)).collect(),
            route_touched: begun.route_touched,
            fence_tried: begun.fence_tried,
            stop_tried: begun.stop_tried,
            view_confirmed: begun.view_confirmed,
            chosen: begun.chosen.as_ref().map(|chosen| KnownCandidate::of(chosen, name)),
            first_bad_ms: begun.first_bad.map(|age| now_ms.saturating_sub(age.as_millis())),
            judgement: begun.judgement.as_ref().map(KnownJudgement::of),
        }
    }

    /// `None` when it cannot be understood any more: its servers are not configured, or a newer engine wrote words of its own.
    fn read(&self, id: &IdOf<'_>, now_ms: u64) -> Option<Intent> {
        Some(Intent {
            generation: Generation(self.generation),
            reason: self.class.parse().ok()?,
            old: id(&self.old)?,
            system_id: self.system_id,
            old_timeline: self.timeline,
            require: FenceLevel::of_number(self.fence)?,
            furthest: self.furthest.as_deref().and_then(Lsn::parse),
            sync: self.sync.as_ref().map(|sync| sync.read(id)),
            acknowledged_before: self.acknowledged_before.as_deref().and_then(Lsn::parse).unwrap_or_default(),
            streaming: self.streaming.iter().filter_map(id).collect(),
            route_touched: self.route_touched,
            fence_tried: self.fence_tried,
            stop_tried: self.stop_tried,
            view_confirmed: self.view_confirmed,
            chosen: match &self.chosen {
                Some(chosen) => Some(chosen.read(id)?),
                None => None,
            },
            first_bad: self.first_bad_ms.map(|at| Span::from_millis(now_ms.saturating_sub(at))),
            judgement: self.judgement.as_ref().and_then(KnownJudgement::read),
        })
    }
}

impl KnownCandidate {
    fn of(candidate: &Candidate, name: &NameOf<'_>) -> KnownCandidate {
        KnownCandidate {
            server: name(candidate.server).unwrap_or_default(),
            position: candidate.position.to_string(),
            loss: candidate.loss,
            exact: candidate.exact,
            unseen_ms: candidate.unseen.as_millis(),
            away_ms: candidate.away.as_millis(),
            holds_acknowledged: candidate.holds_acknowledged,
            carried: candidate.carried,
        }
    }

    fn read(&self, id: &IdOf<'_>) -> Option<Candidate> {
        let position = Lsn::parse(&self.position)?;
        let mut chosen = Candidate::chosen_before(id(&self.server)?, position, self.loss, self.holds_acknowledged);
        chosen.exact = self.exact;
        chosen.carried = self.carried;
        (chosen.unseen, chosen.away) = (Span::from_millis(self.unseen_ms), Span::from_millis(self.away_ms));
        Some(chosen)
    }
}

/// All of a journal; nothing where there is none.
///
/// # Errors
/// Why it cannot be read, or is none.
fn content_of(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(LARGEST + 1).read_to_end(&mut content).map_err(|error| format!("it cannot be read: {error}"))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    }
    if content.len() as u64 > LARGEST {
        return Err(format!("it is larger than {LARGEST} bytes"));
    }
    Ok(content)
}

fn begin() -> Entry {
    Entry::Begin { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned() }
}

fn shortened_text(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

/// What the journal keeps of a failover that is over: the reasoning stands in its intent and its decision record too.
fn shortened(mut shown: FailoverStatus) -> FailoverStatus {
    let cut = |line: &mut String| {
        if let Some((at, _)) = line.char_indices().nth(TEXT) {
            line.truncate(at);
        }
    };
    for list in [&mut shown.evidence, &mut shown.warnings, &mut shown.not_undone] {
        list.truncate(SUMMARY_LINES);
        list.iter_mut().for_each(cut);
    }
    shown.steps.truncate(SUMMARY_LINES);
    shown.steps.iter_mut().for_each(|step| cut(&mut step.message));
    shown.left_ms = None;
    shown.step = None;
    shown
}

fn entry_of(model: &Model, record: &Record, now: SystemTime) -> Entry {
    let service_model = |id: failover_core::id::ServiceId| model.services.get(usize::from(id.0));
    let name = |id| service_model(id).map_or_else(String::new, |service| service.name.clone());
    let text = shortened_text;
    let server_name = |service, id: ServerId| {
        let server = service_model(service)?.servers.get(usize::from(id.0))?;
        Some(server.name.clone())
    };
    match record {
        Record::Intent { service, generation, evidence, begun } => Entry::Intent {
            service: name(*service),
            generation: generation.0,
            evidence: evidence.iter().take(EVIDENCE_LINES).map(|line| text(line)).collect(),
            begun: Some(KnownBegun::of(begun, &|id| server_name(*service, id), millis_of(now))),
        },
        Record::StepBegun { service, generation, step, target, chosen } => Entry::StepBegun {
            service: name(*service),
            generation: generation.0,
            step: *step,
            target: text(target),
            chosen: chosen.as_ref().map(|chosen| KnownCandidate::of(chosen, &|id| server_name(*service, id))),
        },
        Record::StepEnded { service, generation, step, ok, message } => {
            Entry::StepEnded { service: name(*service), generation: generation.0, step: *step, ok: *ok, message: text(message) }
        }
        Record::Ended { service, generation, how } => {
            Entry::Ended { service: name(*service), generation: generation.0, how: *how, summary: None }
        }
        Record::Facts { service, durable } => {
            let known = service_model(*service).map(|model| Known::of(durable, model, millis_of(now))).unwrap_or_default();
            Entry::Facts { service: name(*service), known }
        }
    }
}

/// A journal as it may lie there: each line on its own, and the whole; also with sums that are right.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(content: &[u8]) {
    use super::checked::{HEAD, sum};
    let read_line = |line: &[u8]| read_line::<Body>(line);
    for line in content.split(|byte| *byte == b'\n') {
        let _ = read_line(line);
        if line.len() > HEAD {
            let whole = [b"{\"sum\":\"", sum(&line[HEAD..]).as_bytes(), b"\",", &line[HEAD..]].concat();
            let _ = read_line(&whole);
        }
    }
    let mut summed = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.len() > HEAD) {
        let rest = line[HEAD..].strip_suffix(b"\n").unwrap_or(&line[HEAD..]);
        summed.extend([b"{\"sum\":\"", sum(rest).as_bytes(), b"\",", rest, b"\n"].concat());
    }
    let directory = crate::scratch::folder();
    for content in [content, &summed] {
        let mut journal = Journal::empty(&directory);
        if std::fs::write(journal.path(), content).is_ok() {
            journal.replay();
            let _ = (journal.is_writable(), journal.note(), journal.sequence());
            for known in journal.known.values() {
                // Written again it is read again as the same.
                let text = serde_json::to_string(known).expect("a plain structure");
                assert_eq!(serde_json::from_str::<Known>(&text).ok().as_ref(), Some(known));
            }
        }
    }
    let _ = std::fs::remove_dir_all(directory);
}

fn millis_of(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn write_at(file: &mut File, place: u64, line: &str) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(place))?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::checked::{HEAD, sum};
    use failover_core::evidence::FailureClass;
    use failover_core::id::ServiceId;
    use failover_core::reason::Reason;
    use failover_core::stats::{Judged, Judgement, Mark, Need, Spans, Stats};
    use failover_core::survival::{Fork, Forked};
    use failover_core::sync_set::Method;

    impl Journal {
        pub(super) fn append(&mut self, model: &Model, record: &Record, now: SystemTime) -> Result<(), String> {
            self.append_with(model, record, None, now)
        }

        /// The next write fails: it has a descriptor that can only be read.
        pub(crate) fn fail_next(&mut self) {
            self.file = Some(File::open(self.path()).unwrap());
        }

        /// As on a file system that allocates nothing ahead.
        fn allocate_nothing(&mut self) {
            self.room = Room::without_allocation(&self.directory);
            self.file.as_ref().unwrap().set_len(self.length).unwrap();
            self.write(Entry::Note { message: String::new() }, now()).unwrap();
        }
    }

    /// A file system of its own, gone with this.
    struct Small(tempfile::TempDir);

    impl Small {
        /// `None`, and why is said, where none can be mounted.
        fn new(kib: u32) -> Option<Small> {
            let place = tempfile::tempdir().unwrap();
            let size = format!("size={kib}k,mode=0700");
            let mut mount = std::process::Command::new("mount");
            let output = mount.args(["-t", "tmpfs", "-o", &size, "failover-test"]).arg(place.path()).output();
            match output {
                Ok(output) if output.status.success() => Some(Small(place)),
                other => {
                    println!("SKIPPED: no small file system can be mounted here: {other:?}");
                    None
                }
            }
        }

        fn path(&self) -> &Path {
            self.0.path()
        }

        /// Fills it to its last byte.
        fn fill(&self) -> PathBuf {
            let filler = self.path().join("filler");
            let mut file = File::create(&filler).unwrap();
            for size in [4096, 1] {
                while file.write_all(&vec![1; size]).is_ok() {}
            }
            filler
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }

    fn intent(generation: u64) -> Record {
        let evidence = vec!["refused".to_owned(); 20];
        let begun = Box::new(begun(Generation(generation)));
        Record::Intent { service: ServiceId(0), generation: Generation(generation), evidence, begun }
    }

    fn chosen() -> Candidate {
        Candidate::chosen_before(ServerId(1), Lsn(0x300_0000), Some(328), false)
    }

    fn step(generation: u64, step: Step) -> Record {
        let chosen = (step == Step::Promote).then(chosen);
        Record::StepBegun { service: ServiceId(0), generation: Generation(generation), step, target: "db2".to_owned(), chosen }
    }

    fn ended(generation: u64, how: EndedHow) -> Record {
        Record::Ended { service: ServiceId(0), generation: Generation(generation), how }
    }

    /// A failover with messages as long as they can be, to its end.
    fn whole_failover(generation: u64) -> Vec<Record> {
        let mut records = vec![intent(generation)];
        for name in [
            Step::PreChecks,
            Step::RouteOut,
            Step::Fence,
            Step::ReadPositions,
            Step::Promote,
            Step::VerifyData,
            Step::RouteIn,
            Step::VerifyTraffic,
        ] {
            let (service, message) = (ServiceId(0), "\u{20ac}".repeat(TEXT));
            records.push(step(generation, name));
            let generation = Generation(generation);
            records.push(Record::StepEnded { service, generation, step: name, ok: true, message });
        }
        records.extend([record(generation), ended(generation, EndedHow::Completed)]);
        records
    }

    #[test]
    fn a_failover_is_written_to_its_end_on_a_disk_that_is_full_before_it_begins() {
        for allocates in [true, false] {
            let Some(disk) = Small::new(600) else { return };
            let mut journal = Journal::open(disk.path());
            journal.append(&model(), &record(1), now()).unwrap();
            if !allocates {
                journal.allocate_nothing();
            }
            assert!(journal.is_writable(), "{:?}", journal.reason());
            let filler = disk.fill();
            for record in whole_failover(2) {
                journal.append(&model(), &record, now()).unwrap_or_else(|error| panic!("{allocates} {record:?}: {error}"));
            }
            let next = known(&Journal::open(disk.path())).unwrap();
            assert_eq!((next.durable.generation, next.unfinished, next.begun), (Generation(2), None, None));
            // There is no room for many more: said before one begins.
            let mut generation = 2;
            while journal.is_writable() {
                generation += 1;
                assert!(generation < 20);
                for record in whole_failover(generation) {
                    journal.append(&model(), &record, now()).unwrap();
                }
            }
            assert!(journal.reason().unwrap().contains("No space left"), "{:?}", journal.reason());
            let written = journal.sequence();
            journal.retry(now());
            assert_eq!(journal.sequence(), written, "a try takes nothing of what is left");
            std::fs::remove_file(filler).unwrap();
            journal.retry(now());
            assert!(journal.is_writable(), "{:?}", journal.reason());
            journal.append(&model(), &intent(generation + 1), now()).unwrap();
        }
    }

    #[test]
    fn without_room_for_a_whole_failover_none_begins() {
        for allocates in [true, false] {
            let Some(disk) = Small::new(150) else { return };
            let mut journal = Journal::open(disk.path());
            if !allocates {
                journal.allocate_nothing();
            }
            assert!(!journal.is_writable() && journal.reason().unwrap().contains("No space left"), "{:?}", journal.reason());
            journal.append(&model(), &record(1), now()).unwrap();
            assert!(journal.append(&model(), &intent(2), now()).is_err());
            assert!(!journal.holds_intent("orders", Generation(2)));
            assert_eq!(known(&Journal::open(disk.path())), Some(facts(1)), "what fits is written, and no intent");
        }
    }

    #[test]
    fn room_outlives_rotation_restart_and_a_failed_write() {
        let Some(disk) = Small::new(900) else { return };
        let mut journal = Journal::open(disk.path());
        journal.append(&model(), &record(1), now()).unwrap();
        journal.rotate(now()).unwrap();
        assert!(journal.room.left(journal.length) >= KEPT);
        let filler = disk.fill();
        journal.fail_next();
        assert!(journal.append(&model(), &record(2), now()).is_err());
        drop(journal);
        // An engine that was killed: the next one finds the room where it was.
        let mut journal = Journal::open(disk.path());
        assert!(journal.is_writable(), "{:?}", journal.reason());
        assert!(journal.rotate(now()).is_err());
        for record in whole_failover(3) {
            journal.append(&model(), &record, now()).unwrap();
        }
        std::fs::remove_file(filler).unwrap();
    }

    #[test]
    fn a_promotion_that_was_not_written_is_the_first_that_is_and_in_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        journal.fail_next();
        assert!(journal.append(&model(), &step(3, Step::Promote), now()).is_err());
        assert!(!journal.owes(), "nothing was intended, so nothing is done");
        for record in [intent(4), step(4, Step::Fence)] {
            journal.append(&model(), &record, now()).unwrap();
        }
        assert!(journal.holds_intent("orders", Generation(4)) && !journal.holds_intent("orders", Generation(5)));
        for record in
            [step(4, Step::Promote), step(4, Step::Promote), step(4, Step::VerifyData), ended(4, EndedHow::ManualIntervention)]
        {
            journal.fail_next();
            assert!(journal.append(&model(), &record, now()).is_err());
        }
        let on_disk = known(&Journal::read_only(directory.path(), String::new())).unwrap();
        assert!(journal.owes() && on_disk.begun.unwrap().chosen.is_none());
        journal.append(&model(), &record(4), now()).unwrap();
        assert!(!journal.owes() && journal.is_writable());
        let text = std::fs::read_to_string(journal.path()).unwrap();
        let kinds: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| format!("{} {}", line["record"].as_str().unwrap(), line["step"].as_str().unwrap_or_default()))
            .collect();
        let end = ["intent ", "step_begun fence", "step_begun promote", "ended ", "facts "];
        assert_eq!(kinds[kinds.len() - end.len()..], end);
        assert_eq!(known(&journal).unwrap().unfinished.as_deref(), Some("manual_intervention"));
    }

    /// A journal with a failover that had come to the promotion, and one that was completed.
    pub(crate) fn sample() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        let mut write = |record: Record| journal.append(&model(), &record, now()).unwrap();
        let service = ServiceId(0);
        for number in [5, 6] {
            let generation = Generation(number);
            let step = |step, chosen| Record::StepBegun { service, generation, step, target: "db2".into(), chosen };
            write(record(number));
            write(Record::Intent { service, generation, evidence: vec!["refused".into()], begun: Box::new(begun(generation)) });
            write(step(Step::RouteOut, None));
            write(Record::StepEnded { service, generation, step: Step::RouteOut, ok: true, message: "lb1: done".into() });
            write(step(Step::Promote, Some(Candidate::chosen_before(ServerId(1), Lsn(0x300_0000), Some(328), false))));
            if number == 5 {
                write(Record::Ended { service, generation, how: EndedHow::Completed });
            }
        }
        std::fs::read(journal.path()).unwrap()
    }

    fn begun(generation: Generation) -> Intent {
        Intent {
            generation,
            reason: Reason::Failed(FailureClass::Hung),
            old: ServerId(0),
            system_id: u64::MAX,
            old_timeline: 3,
            require: FenceLevel::ProvenStopped,
            furthest: Some(Lsn(0x300_0148)),
            sync: Some(Acknowledging {
                rule: SyncRule { method: Method::Any, required: 1, names: vec!["db2".into(), "db3".into()], everybody: false },
                size: 2,
                members: vec![ServerId(1)],
                only_written: false,
            }),
            acknowledged_before: Lsn(0x300_0100),
            streaming: vec![ServerId(1)],
            route_touched: false,
            fence_tried: false,
            stop_tried: false,
            view_confirmed: true,
            chosen: None,
            first_bad: Some(Span::from_millis(3_450)),
            judgement: Some(Judgement { need: Need::Justified, why: "it was stopped".to_owned(), gone: false }),
        }
    }

    pub(super) fn model() -> Model {
        crate::engine::tests::two_servers()
    }

    pub(super) fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn facts(generation: u64) -> Facts {
        Facts { durable: durable(generation), ..Facts::default() }
    }

    fn durable(generation: u64) -> Durable {
        let ended = Some(Mark { at: Mono::ZERO, lead: Span::from_millis(60_000) });
        Durable {
            generation: Generation(generation),
            primary: Some(ServerId(1)),
            cluster: Cluster {
                system_id: Some(7),
                position: Some((3, Lsn(0x300_0148))),
                synchronous: [ServerId(0)].into(),
                deposed: [(ServerId(0), 2)].into(),
                handed_over: [ServerId(0)].into(),
                fork: Some((3, Lsn(0x300_0100))),
                forks: vec![
                    Fork { from: 1, to: 2, seen: None },
                    Fork {
                        from: 2,
                        to: 3,
                        seen: Some(Forked { at: Some(Lsn(0x300_0100)), next_before: Some(742), next_after: None }),
                    },
                ],
                sync_names: [(ServerId(1), "ANY 1 (db2)".to_owned())].into(),
                slots: [(ServerId(1), "db1".to_owned())].into(),
                kept_set: Some(KeptSet {
                    primary: ServerId(1),
                    required: 1,
                    members: [ServerId(0)].into(),
                    strangers: 1,
                    open: true,
                    pending: Some("ANY 1 (\"db1\")".to_owned()),
                }),
                seen: [ServerId(0)].into(),
            },
            last_ended: ended,
            cooldown_from: ended,
            pause: Some(Pause {
                reason: Some("a disk is swapped".to_owned()),
                lasts: Some(Span::from_millis(600_000)),
                ends: Some(Mono::ZERO + Span::from_millis(240_000)),
            }),
            attention: Some("no candidate".to_owned()),
            stats: stats(),
            followed: None,
            ramping: true,
            cordoned: [ServerId(1)].into(),
            rejoin: Some(Rejoining {
                server: ServerId(0),
                generation: Generation(7),
                how: RejoinHow::Rewind,
                stage: RejoinStage::Rewind,
                divergence: None,
                attempt: Some(2),
            }),
            planned: Some(PlannedSwitchover {
                to: Some(ServerId(0)),
                at: Mono::ZERO + Span::from_millis(90_000),
                at_ms: 1_700_000_090_000,
                missed: false,
            }),
        }
    }

    fn stats() -> Stats {
        let spans = |count, millis| Spans {
            count,
            sum: Span::from_nanos(millis * 1_000_001),
            longest: Span::from_millis(millis),
            last: Some(Span::from_millis(1)),
        };
        Stats {
            completed: 4,
            verified: 3,
            rolled_back: 1,
            manual_intervention: 2,
            stopped: 5,
            forced: 1,
            forced_completed: 1,
            planned: 3,
            planned_completed: 2,
            unverifiable: 6,
            detect: spans(7, 70),
            repair: spans(3, 900),
            justified: 4,
            false_positives: 1,
            unjudged: 2,
            last: Some(Judged {
                generation: Generation(4),
                old: ServerId(1),
                judgement: Judgement { need: Need::FalsePositive, why: "seen".to_owned(), gone: true },
                since: Mark { at: Mono::ZERO, lead: Span::from_millis(61_000) },
                timeline: 2,
                furthest: Some(Lsn(0x200_0000)),
            }),
        }
    }

    pub(super) fn record(generation: u64) -> Record {
        Record::Facts { service: ServiceId(0), durable: Box::new(durable(generation)) }
    }

    fn known(journal: &Journal) -> Option<Facts> {
        journal.facts(&model().services[0], now())
    }

    fn with_records(directory: &Path) -> Vec<u8> {
        let mut journal = Journal::open(directory);
        for generation in 1..=3 {
            journal.append(&model(), &record(generation), now()).unwrap();
        }
        std::fs::read(journal.path()).unwrap()
    }

    #[test]
    fn a_state_directory_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("a/b");
        assert_eq!(probe(&missing), Ok(()));
        assert!(!folder.path().join("a").exists());
        assert_eq!(probe(folder.path()), Ok(()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // In use is usable.
        let lock = StateLock::take(folder.path()).unwrap();
        assert_eq!(probe(folder.path()), Ok(()));
        drop(lock);
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(probe(&file), Err((true, why)) if why.contains("cannot be written")));
        std::fs::remove_file(folder.path().join("lock")).unwrap();
        std::fs::create_dir(folder.path().join("lock")).unwrap();
        assert!(matches!(probe(folder.path()), Err((true, why)) if why.contains("lock cannot be opened")));
    }

    #[test]
    fn what_was_written_is_known_to_the_next_engine() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        assert!(journal.is_writable());
        assert_eq!(known(&journal), None);
        journal.append(&model(), &record(4), now()).unwrap();
        let again = Journal::open(directory.path());
        assert_eq!(known(&again), Some(facts(4)));
        assert!(again.is_writable() && again.reason().is_none());
    }

    #[test]
    fn a_planned_switchover_whose_moment_passed_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        Journal::open(directory.path()).append(&model(), &record(4), now()).unwrap();
        let journal = Journal::open(directory.path());
        let planned = |after| {
            let facts = journal.facts(&model().services[0], now() + Duration::from_secs(after)).unwrap();
            let planned = facts.durable.planned.unwrap();
            (planned.at.since(Mono::ZERO), planned.missed)
        };
        assert_eq!(planned(30), (Span::from_millis(60_000), false));
        assert_eq!(planned(91), (Span::ZERO, true));
    }

    #[test]
    fn a_gate_is_known_to_the_next_engine_before_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        journal.append(&model(), &intent(4), now()).unwrap();
        let touched = || {
            let begun = known(&Journal::open(directory.path())).unwrap().begun.unwrap();
            begun.route_touched
        };
        assert!(!touched());
        journal.append(&model(), &step(4, Step::CloseGate), now()).unwrap();
        assert!(touched());
    }

    #[test]
    fn a_word_that_is_not_known_is_damage_and_named() {
        let (service, generation) = (ServiceId(0), Generation(1));
        let written = [
            Record::StepBegun { service, generation, step: Step::RouteOut, target: "db1".into(), chosen: None },
            Record::StepEnded { service, generation, step: Step::RouteOut, ok: true, message: String::new() },
            Record::Ended { service, generation, how: EndedHow::RolledBack },
        ];
        for (record, word) in written.iter().zip(["route_out", "route_out", "rolled_back"]) {
            let directory = tempfile::tempdir().unwrap();
            let mut journal = Journal::open(directory.path());
            journal.append(&model(), record, now()).unwrap();
            let content = std::fs::read_to_string(journal.path()).unwrap();
            let (before, last) = content.trim_end().rsplit_once('\n').unwrap();
            let rest = last[HEAD..].replace(&format!("\"{word}\""), "\"danced\"");
            assert_ne!(rest, last[HEAD..], "{last}");
            let line = format!("{{\"sum\":\"{}\",{rest}\n", sum(rest.as_bytes()));
            std::fs::write(journal.path(), format!("{before}\n{line}")).unwrap();
            let again = Journal::open(directory.path());
            assert!(!again.is_writable());
            assert!(again.reason().unwrap().contains("danced"), "{:?}", again.reason());
        }
    }

    #[test]
    fn the_numbers_of_an_older_journal_are_zero_and_its_facts_are_known() {
        let old = r#"{"generation":3,"primary":"db2","timeline":3,"paused":true}"#;
        let known: Known = serde_json::from_str(old).unwrap();
        assert_eq!((known.generation, known.paused, known.stats), (3, true, KnownStats::default()));
        let begun = r#"{"generation":4,"class":"dead","old":"db1","system_id":7,"timeline":3,"fence":3,"furthest":null,
            "acknowledgements":null,"streaming":[],"route_touched":true,"fence_tried":false,"chosen":null}"#;
        let begun: KnownBegun = serde_json::from_str(begun).unwrap();
        let begun = begun.read(&|_| Some(ServerId(0)), 1_000).unwrap();
        assert_eq!((begun.first_bad, begun.judgement.clone()), (None, None));
        assert_eq!(begun.judged().need, Need::Unknown);
    }

    #[test]
    fn the_end_of_a_pause_stands_and_a_clock_that_went_back_makes_it_no_longer() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let told = Pause {
            reason: Some("a disk is swapped".to_owned()),
            lasts: Some(Span::from(minutes(10))),
            ends: Some(Mono::ZERO + Span::from(minutes(4))),
        };
        let known = KnownPause::of(&told, millis_of(now()));
        let left = |at: SystemTime| known.read(millis_of(at)).left(Mono::ZERO).map(Duration::from);
        assert_eq!(left(now()), Some(minutes(4)));
        assert_eq!(left(now() + minutes(1)), Some(minutes(3)));
        assert_eq!(left(now() + minutes(60)), Some(Duration::ZERO));
        assert_eq!(left(now() - minutes(600)), Some(minutes(10)), "never longer than it was asked for");
        // A moment later they are the same facts.
        let later = Pause { ends: told.ends.map(|ends| ends - Span::from_millis(400)), ..told };
        assert_eq!(KnownPause::of(&later, millis_of(now() + Duration::from_millis(400))), known);
        assert_eq!(KnownPause::default().read(1), Pause::default());
    }

    #[test]
    fn the_same_facts_again_cost_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        journal.append(&model(), &record(4), now()).unwrap();
        let before = journal.sequence();
        journal.append(&model(), &record(4), now()).unwrap();
        assert_eq!(journal.sequence(), before);
    }

    /// How old the last one is for the cooldown, the facts that are written with its end say.
    #[test]
    fn the_end_of_a_failover_alone_begins_no_cooldown() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        let (service, generation) = (ServiceId(0), Generation(5));
        journal.append(&model(), &record(5), now()).unwrap();
        let before = known(&journal).unwrap().durable.recorded_age();
        for how in [EndedHow::Stopped, EndedHow::RolledBack] {
            journal.append(&model(), &Record::Ended { service, generation, how }, now()).unwrap();
            assert_eq!(known(&Journal::open(directory.path())).unwrap().durable.recorded_age(), before, "{how}");
        }
    }

    #[test]
    fn a_failover_without_an_end_is_told_until_a_person_took_note() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        let (service, generation) = (ServiceId(0), Generation(5));
        let mut begun = begun(generation);
        let evidence = vec!["refused".into()];
        journal
            .append(&model(), &Record::Intent { service, generation, evidence, begun: Box::new(begun.clone()) }, now())
            .unwrap();
        let reopened = || known(&Journal::open(directory.path())).unwrap();
        assert_eq!((reopened().durable.generation, reopened().begun), (generation, Some(begun.clone())));
        let step = |step, chosen| Record::StepBegun { service, generation, step, target: "db2".into(), chosen };
        journal.append(&model(), &step(Step::RouteOut, None), now()).unwrap();
        begun.route_touched = true;
        assert_eq!(reopened().begun, Some(begun.clone()));
        journal.append(&model(), &step(Step::StopServer, None), now()).unwrap();
        begun.stop_tried = true;
        assert_eq!(reopened().begun, Some(begun.clone()));
        journal.append(&model(), &step(Step::Fence, None), now()).unwrap();
        begun.fence_tried = true;
        journal.append(&model(), &record(5), now()).unwrap();
        assert_eq!(reopened().begun, Some(begun.clone()), "facts are silent about it");
        let step = step(Step::Promote, Some(Candidate::chosen_before(ServerId(1), Lsn(0x300_0000), Some(328), false)));
        journal.append(&model(), &step, now()).unwrap();
        begun.chosen = Some(Candidate::chosen_before(ServerId(1), Lsn(0x300_0000), Some(328), false));
        let mut again = Journal::open(directory.path());
        let facts = known(&again).unwrap();
        assert_eq!(
            (facts.durable.generation, facts.unfinished.as_deref(), facts.begun),
            (generation, Some("promote"), Some(begun))
        );
        let mut renamed = model();
        renamed.services[0].servers[1].name = "db9".to_owned();
        assert_eq!(again.facts(&renamed.services[0], now()).unwrap().begun, None, "a person has to look");
        again.acknowledge("orders", now());
        assert_eq!((reopened().unfinished, reopened().begun), (None, None));
        again.append(&model(), &step, now()).unwrap();
        again.append(&model(), &Record::Ended { service, generation, how: EndedHow::Completed }, now()).unwrap();
        let ended = known(&Journal::open(directory.path())).unwrap();
        assert_eq!((ended.unfinished, ended.begun), (None, None));
        assert!(Journal::open(directory.path()).summaries().is_empty());
        let shown = FailoverStatus { generation: 3, evidence: vec!["x".repeat(9_000); 99], ..FailoverStatus::default() };
        let end = Record::Ended { service, generation, how: EndedHow::Completed };
        Journal::open(directory.path()).append_with(&model(), &end, Some(shown), now()).unwrap();
        // Facts say nothing about it and do not make it forgotten.
        Journal::open(directory.path()).append(&model(), &record(9), now()).unwrap();
        let kept = Journal::open(directory.path()).summaries().remove("orders").unwrap();
        assert_eq!((kept.generation, kept.evidence.len(), kept.evidence[0].len()), (3, SUMMARY_LINES, TEXT));
        let mut stopped = Journal::open(directory.path());
        stopped.append(&model(), &Record::Ended { service, generation, how: EndedHow::RolledBack }, now()).unwrap();
        drop(stopped);
        assert_eq!(known(&Journal::open(directory.path())).unwrap().unfinished.as_deref(), Some("rolled_back"));
    }

    #[test]
    fn a_torn_tail_at_every_byte_loses_at_most_the_record_that_was_being_written() {
        let directory = tempfile::tempdir().unwrap();
        let whole = with_records(directory.path());
        let path = directory.path().join("journal.jsonl");
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for length in last..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let journal = Journal::open(directory.path());
            assert!(journal.is_writable(), "{length}: {:?}", journal.reason());
            assert_eq!(known(&journal), Some(facts(2)), "{length}");
            assert_eq!(journal.note().is_some(), length > last, "{length}");
            // What was put right is whole the next time.
            assert_eq!(Journal::open(directory.path()).reason(), None);
        }
    }

    #[test]
    fn damage_in_the_middle_stops_writing_names_itself_and_forgets_nothing_that_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let whole = with_records(directory.path());
        let path = directory.path().join("journal.jsonl");
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        for at in (0..last).step_by(7) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x15;
            std::fs::write(&path, &damaged).unwrap();
            let mut journal = Journal::open(directory.path());
            assert!(!journal.is_writable(), "byte {at}");
            assert!(journal.reason().unwrap().contains("cannot be trusted"));
            if whole[at] != b'\n' {
                assert_eq!(known(&journal).unwrap().durable.generation, Generation(3), "byte {at}");
            }
            journal.retry(now());
            assert!(journal.append(&model(), &record(9), now()).is_err());
            assert_eq!(std::fs::read(&path).unwrap(), damaged, "a damaged journal is not touched");
        }
    }

    /// Where nothing can be synced a record is none, nor is a file of it: both ask for it, and are told so.
    #[test]
    fn a_record_counts_when_it_is_on_the_disk() {
        let mut nowhere = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(write_at(&mut nowhere, 0, "a record").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(sync_directory(Path::new("/dev/null")).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }

    #[test]
    fn facts_of_an_earlier_failover_lower_no_number() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        for generation in [3, 2] {
            journal.append(&model(), &record(generation), now()).unwrap();
        }
        assert_eq!(known(&journal).map(|facts| facts.durable.generation), Some(Generation(3)));
    }

    /// What was begun stays begun, and chosen chosen, whatever step comes after it.
    #[test]
    fn a_later_step_erases_nobodys_choice() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        for record in
            [intent(4), step(4, Step::RouteOut), step(4, Step::Fence), step(4, Step::Promote), step(4, Step::VerifyData)]
        {
            journal.append(&model(), &record, now()).unwrap();
        }
        drop(journal);
        let begun = known(&Journal::open(directory.path())).and_then(|facts| facts.begun).expect("a failover under way");
        assert_eq!((begun.route_touched, begun.fence_tried), (true, true));
        assert_eq!(begun.chosen.map(|chosen| (chosen.server, chosen.position)), Some((ServerId(1), Lsn(0x300_0000))));
    }

    #[test]
    fn a_missing_line_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let whole = String::from_utf8(with_records(directory.path())).unwrap();
        let fewer: String = whole.split_inclusive('\n').enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| line).collect();
        std::fs::write(directory.path().join("journal.jsonl"), fewer).unwrap();
        let journal = Journal::open(directory.path());
        assert!(journal.reason().unwrap().contains("has number 4, expected 3"), "{:?}", journal.reason());
    }

    #[test]
    fn foreign_and_newer_files_are_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal.jsonl");
        let entry = Entry::Begin { format: FORMAT + 1, version: "9.0.0".to_owned() };
        let newer = line_of(&Body { seq: 1, time: String::new(), at_ms: 0, entry }).unwrap();
        let entry = Entry::Note { message: String::new() };
        let headless = line_of(&Body { seq: 1, time: String::new(), at_ms: 0, entry }).unwrap();
        let cases = [
            (newer.as_str(), "version 9.0.0 in format 3, newer than 2"),
            ("hello\n", "not a record"),
            (headless.as_str(), "not the beginning"),
            ("\n\n", "line 1"),
        ];
        for (content, expected) in cases {
            std::fs::write(&path, content).unwrap();
            let journal = Journal::open(directory.path());
            assert!(!journal.is_writable());
            assert!(journal.reason().unwrap().contains(expected), "{content:?}: {:?}", journal.reason());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_vanished_journal_with_a_predecessor_is_not_a_fresh_start() {
        let directory = tempfile::tempdir().unwrap();
        with_records(directory.path());
        std::fs::rename(directory.path().join("journal.jsonl"), directory.path().join("journal.1.jsonl")).unwrap();
        assert!(!Journal::open(directory.path()).is_writable());
    }

    #[test]
    fn rotation_bounds_the_file_and_keeps_the_facts() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path());
        journal.rotate_at = 4_000;
        for generation in 1..=100 {
            journal.append(&model(), &record(generation), now()).unwrap();
            if journal.length < 2_000 {
                journal.rotate_at = 4_000;
            }
        }
        assert!(std::fs::metadata(journal.path()).unwrap().len() < 8_000);
        assert!(journal.previous().exists());
        let again = Journal::open(directory.path());
        assert!(again.is_writable(), "{:?}", again.reason());
        assert_eq!(known(&again), Some(facts(100)));
    }

    #[test]
    fn a_journal_that_cannot_be_written_says_so_and_recovers() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("state");
        // A file where the directory should be: nothing can be made in it, also not as root.
        std::fs::write(&inside, "").unwrap();
        let mut journal = Journal::open(&inside);
        assert!(!journal.is_writable());
        assert!(journal.reason().is_some());
        assert!(matches!(StateLock::take(&inside), Err(EngineError::System { .. })));

        let missing = directory.path().join("later");
        journal = Journal::open(&missing);
        assert!(!journal.is_writable());
        std::fs::create_dir(&missing).unwrap();
        journal.retry(now());
        assert!(journal.is_writable(), "{:?}", journal.reason());
        journal.append(&model(), &record(1), now()).unwrap();
        assert_eq!(known(&Journal::open(&missing)), Some(facts(1)));
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was_and_the_next_one_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let whole = with_records(directory.path());
        let mut journal = Journal::open(directory.path());
        let before = std::fs::read(journal.path()).unwrap();
        // A descriptor that can only be read: every write through it fails.
        journal.file = Some(File::open(journal.path()).unwrap());
        assert!(journal.append(&model(), &record(4), now()).is_err());
        assert!(!journal.is_writable() && journal.reason().unwrap().contains("cannot be written"));
        assert_eq!(std::fs::read(journal.path()).unwrap(), before);
        assert_eq!(known(&journal), Some(facts(3)), "what is not on disk is not known");
        journal.retry(now());
        journal.append(&model(), &record(4), now()).unwrap();
        assert!(before.starts_with(&whole));
        assert_eq!(known(&Journal::open(directory.path())), Some(facts(4)));
    }

    #[test]
    fn the_end_of_a_failover_that_could_not_be_written_is_the_first_that_can_be() {
        let directory = tempfile::tempdir().unwrap();
        with_records(directory.path());
        let mut journal = Journal::open(directory.path());
        let begun = Box::new(begun(Generation(4)));
        let intent = Record::Intent { service: ServiceId(0), generation: Generation(4), evidence: Vec::new(), begun };
        journal.append(&model(), &intent, now()).unwrap();
        let ended = Record::Ended { service: ServiceId(0), generation: Generation(4), how: EndedHow::RolledBack };
        let unwritable = |journal: &mut Journal| journal.file = Some(File::open(journal.path()).unwrap());
        unwritable(&mut journal);
        assert!(journal.append(&model(), &ended, now()).is_err());
        unwritable(&mut journal);
        journal.retry(now());
        assert!(!journal.is_writable() && known(&journal).unwrap().unfinished.as_deref() == Some("intent"));
        journal.retry(now());
        assert!(journal.is_writable());
        let after = known(&Journal::open(directory.path())).unwrap();
        assert_eq!((after.unfinished.as_deref(), after.begun), (Some("rolled_back"), None));
    }

    #[test]
    fn a_second_engine_on_the_same_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateLock::take(directory.path()).unwrap();
        match StateLock::take(directory.path()) {
            Err(EngineError::AlreadyRunning { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        StateLock::take(directory.path()).unwrap();
    }

    #[test]
    fn a_lock_that_is_given_back_is_free_though_a_child_that_was_just_forked_has_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateLock::take(directory.path()).unwrap();
        let copy = held.file.try_clone().unwrap();
        drop(held);
        StateLock::take(directory.path()).unwrap();
        // In that child the lock is somebody else's.
        let held = StateLock::take(directory.path()).unwrap();
        drop(StateLock { file: held.file.try_clone().unwrap(), owner: held.owner + 1 });
        assert!(matches!(StateLock::take(directory.path()), Err(EngineError::AlreadyRunning { .. })));
        drop(copy);
    }
}
