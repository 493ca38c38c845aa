//! What was seen of every service, in one small file that is replaced once a second, when something else than a position is new, and once
//! more at a clean stop: the next engine knows it with its true age, however this one ended.
//!
//! It is no journal. Nothing waits for it, it is not synced, and one that is missing, damaged or of another format is as good as none:
//! then the next engine begins by looking.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::deadline::{Cancel, Deadline};
use failover_core::Core;
use failover_core::event::{EventKind, Severity};
use failover_core::id::ServerId;
use failover_core::knowledge::Knowledge;
use failover_core::model::ServiceModel;
use failover_core::time::Span;

use super::Shell;
use super::checked::{line_of, read_line};
use super::threads::Duty;
use crate::clock::boottime;
use crate::sync;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// A larger file is none of ours.
const LARGEST: u64 = 4 * 1024 * 1024;
/// Between two writes, while nothing but positions and ages changes.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks whether there is something else.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A disk that takes longer is named.
const SLOW_DISK: Duration = Duration::from_secs(30);
/// A difference of the wall clock that is more likely a clock that was wrong.
const ABSURD_MS: u64 = 366 * 24 * 3_600 * 1_000;
/// An age of which nothing is known.
pub(crate) const UNKNOWN: Span = Span::from_nanos(u64::MAX);

/// A moment, so that another engine can tell how long ago it was, also after a restart of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// The kernel's own name for this run of the machine; empty: not known.
    boot_id: String,
    /// Since the machine was started, sleep included.
    boot_ns: u64,
    /// The wall clock.
    wall_ms: u64,
}

impl Stamp {
    /// Now.
    pub(crate) fn now() -> Stamp {
        // It stays the same while this process lives, and a moment is taken ten times a second.
        static BOOT_ID: LazyLock<String> = LazyLock::new(read_boot_id);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Stamp {
            boot_id: BOOT_ID.clone(),
            boot_ns: u64::try_from(boottime().as_nanos()).unwrap_or(u64::MAX),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long ago an earlier moment was; [`UNKNOWN`] where no clock can tell.
    fn since(&self, earlier: &Stamp) -> Span {
        if !self.boot_id.is_empty() && self.boot_id == earlier.boot_id {
            return self.boot_ns.checked_sub(earlier.boot_ns).map_or(UNKNOWN, Span::from_nanos);
        }
        match self.wall_ms.checked_sub(earlier.wall_ms) {
            Some(millis) if millis <= ABSURD_MS => Span::from_millis(millis),
            _ => UNKNOWN,
        }
    }
}

fn read_boot_id() -> String {
    let mut boot_id = String::new();
    let read = File::open("/proc/sys/kernel/random/boot_id").and_then(|file| file.take(64).read_to_string(&mut boot_id));
    read.map_or_else(|_| String::new(), |_| boot_id.trim().to_owned())
}

/// What is known of one service. Numbers change with the configuration, names do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfService {
    servers: Vec<String>,
    knowledge: Knowledge,
}

/// What is known of all, with ages as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    format: u32,
    #[serde(flatten)]
    at: Stamp,
    services: BTreeMap<String, OfService>,
}

impl Content {
    /// What is known of a service now, by the numbers of this configuration.
    pub(crate) fn of(&self, service: &ServiceModel, now: &Stamp) -> Option<Knowledge> {
        let known = self.services.get(&service.name)?;
        let id = |old: ServerId| {
            let name = known.servers.get(usize::from(old.0))?;
            let at = service.servers.iter().position(|server| server.name == *name)?;
            u16::try_from(at).ok().map(ServerId)
        };
        Some(known.knowledge.clone().mapped(&id)?.aged(now.since(&self.at)))
    }

    /// The same, and what became known since; what is gone from there stays known from here.
    pub(crate) fn renewed(self, newer: Content) -> Content {
        let gap = newer.at.since(&self.at);
        let aged = |old: OfService| OfService { knowledge: old.knowledge.aged(gap), ..old };
        let mut services: BTreeMap<_, _> = self.services.into_iter().map(|(name, old)| (name, aged(old))).collect();
        services.extend(newer.services);
        Content { services, ..newer }
    }
}

/// What the trigger thread tells who writes.
#[derive(Default)]
pub(crate) struct Pulse {
    /// The moment of the core's last step, in nanoseconds since the machine was started.
    stepped: AtomicU64,
    /// The core was told what an earlier engine knew: before, what it knows is less than what is on disk.
    restored: AtomicBool,
}

impl Pulse {
    /// The core makes a step now. Called under its lock.
    pub(crate) fn step(&self) {
        self.stepped.store(u64::try_from(boottime().as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(crate) fn is_restored(&self) {
        self.restored.store(true, Ordering::SeqCst);
    }
}

/// What the core knows, aged to this moment; `None` while it is not to be believed.
pub(crate) fn take(shell: &Shell) -> Option<Content> {
    if !shell.pulse.restored.load(Ordering::SeqCst) || shell.is_faulted() {
        return None;
    }
    let (knowledge, names, stepped) = {
        let core = shell.core.lock();
        let core: &Core = core.as_ref()?;
        // With the names that it has itself: those of the configuration may be a moment ahead, or behind.
        (core.knowledge(), core.names(), shell.pulse.stepped.load(Ordering::SeqCst))
    };
    let at = Stamp::now();
    let age = Span::from_nanos(at.boot_ns.saturating_sub(stepped));
    let services = names
        .into_iter()
        .zip(knowledge)
        .filter_map(|((service, servers), knowledge)| Some((service, OfService { servers, knowledge: knowledge?.aged(age) })));
    Some(Content { format: FORMAT, services: services.collect(), at })
}

/// Where it is.
fn path(directory: &Path) -> PathBuf {
    directory.join("knowledge.json")
}

/// What an earlier engine left; `None`: nothing.
///
/// # Errors
/// Why it is not believed, in one line.
pub(crate) fn load(directory: &Path) -> Result<Option<Content>, String> {
    let path = path(directory);
    let ignored = |why: String| format!("{} is ignored: it {why}; the servers are looked at afresh", path.display());
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ignored(format!("cannot be read: {error}"))),
    }
    if bytes.len() as u64 > LARGEST {
        return Err(ignored(format!("is larger than {LARGEST} bytes")));
    }
    parse(&bytes).map(Some).map_err(ignored)
}

fn parse(bytes: &[u8]) -> Result<Content, String> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let line = bytes.strip_suffix(b"\n").ok_or("has no end")?;
    let head: Head = read_line(line)?;
    if head.format != FORMAT {
        return Err(format!("has format {}, and this version reads {FORMAT}", head.format));
    }
    read_line(line)
}

/// Replaces the file. It is not synced: after a crash of the machine it may be an older one, or none.
fn store(directory: &Path, content: &Content) -> std::io::Result<()> {
    let draft = directory.join("knowledge.new");
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(line_of(content)?.as_bytes())?;
        std::fs::rename(&draft, path(directory))
    };
    written().inspect_err(|_| {
        // Half of it is of no use, and on a full disk it takes the room of others.
        let _ = std::fs::remove_file(&draft);
    })
}

/// The body of the thread; when cancelled it writes once more and ends. Without a directory it has nowhere to write.
pub(crate) fn run(shell: &Shell, directory: Option<&Path>, duty: &Duty, cancel: &Cancel) {
    let mut writer = Writer::default();
    loop {
        let is_last = cancel.pause(LOOK_EVERY, Deadline::after(LOOK_EVERY * 2)).is_err();
        if let (Some(directory), Some(content)) = (directory, take(shell))
            && (is_last || writer.is_due(&content))
        {
            duty.begin(SLOW_DISK);
            let said = writer.write(directory, &content);
            duty.rest();
            if let Some((severity, message)) = said {
                shell.say(EventKind::Log, severity, &message);
            }
        }
        if is_last {
            return;
        }
    }
}

/// Writes, and says when that does not work any more, and when it does again.
#[derive(Default)]
struct Writer {
    is_written: bool,
    is_failing: bool,
    /// What was tried to be written last, and when.
    last: Option<(Instant, Content)>,
}

impl Writer {
    /// A second has passed, or something became known that is no mere position.
    fn is_due(&self, content: &Content) -> bool {
        let Some((at, before)) = &self.last else { return true };
        let is_news = |(name, of): (&String, &OfService)| {
            let known = before.services.get(name);
            known.is_none_or(|known| known.servers != of.servers || of.knowledge.is_news_after(&known.knowledge))
        };
        sync::now().saturating_duration_since(*at) >= EVERY
            || content.services.len() != before.services.len()
            || content.services.iter().any(is_news)
    }

    fn write(&mut self, directory: &Path, content: &Content) -> Option<(Severity, String)> {
        // Nothing is known yet: what is there may be more.
        if content.services.is_empty() && !self.is_written {
            return None;
        }
        self.last = Some((sync::now(), content.clone()));
        let outcome = store(directory, content);
        let was_failing = std::mem::replace(&mut self.is_failing, outcome.is_err());
        self.is_written |= outcome.is_ok();
        let shown = path(directory);
        match outcome {
            Err(error) if !was_failing => Some((
                Severity::Warning,
                format!("{} cannot be written: {error}; the next engine will know less of the servers", shown.display()),
            )),
            Ok(()) if was_failing => Some((Severity::Info, format!("{} is written again", shown.display()))),
            _ => None,
        }
    }
}

/// A file as it may lie there; also with a sum that is right.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use super::checked::{HEAD, sum};
    let _ = parse(bytes);
    if bytes.len() > HEAD {
        let rest = bytes[HEAD..].strip_suffix(b"\n").unwrap_or(&bytes[HEAD..]);
        let whole = [b"{\"sum\":\"", sum(rest).as_bytes(), b"\",", rest, b"\n"].concat();
        if let Ok(content) = parse(&whole) {
            // Written again it is read again as the same.
            let again = line_of(&content).expect("a plain structure");
            assert_eq!(parse(again.as_bytes()), Ok(content));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file as an engine leaves it.
    pub(crate) fn sample() -> Vec<u8> {
        line_of(&content(&stamp("a", 5_000, 1_700_000_000_000))).unwrap().into_bytes()
    }

    fn stamp(boot_id: &str, boot_ms: u64, wall_ms: u64) -> Stamp {
        Stamp { boot_id: boot_id.to_owned(), boot_ns: boot_ms * 1_000_000, wall_ms }
    }

    fn content(at: &Stamp) -> Content {
        let knowledge = Knowledge::of_primary(ServerId(1), u64::MAX, Span::from_millis(40));
        let of = OfService { servers: vec!["db1".to_owned(), "db2".to_owned()], knowledge };
        Content { format: FORMAT, at: at.clone(), services: BTreeMap::from([("orders".to_owned(), of)]) }
    }

    fn orders() -> ServiceModel {
        crate::engine::tests::two_servers().services.remove(0)
    }

    #[test]
    fn what_was_stored_is_loaded_and_older_by_what_has_passed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(load(directory.path()), Ok(None));
        let at = stamp("a", 5_000, 1_000);
        store(directory.path(), &content(&at)).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        let loaded = load(directory.path()).unwrap().unwrap();
        assert_eq!(loaded, content(&at));
        // By the boot clock, whatever the wall clock did.
        let known = loaded.of(&orders(), &stamp("a", 7_500, 7)).unwrap();
        assert_eq!((known.primary, known.age), (ServerId(1), Span::from_millis(2_540)));
    }

    #[test]
    fn the_gap_is_told_by_the_clock_that_knows_it() {
        let earlier = stamp("a", 5_000, 1_000_000);
        let gap = |now: Stamp| now.since(&earlier);
        assert_eq!(gap(stamp("a", 5_000, 0)), Span::ZERO);
        assert_eq!(gap(stamp("a", 65_000, 0)), Span::from_millis(60_000));
        // Within one run of the machine its clock does not go back: somebody else's numbers.
        assert_eq!(gap(stamp("a", 4_999, 2_000_000)), UNKNOWN);
        // Restarted meanwhile.
        assert_eq!(gap(stamp("b", 90_000, 1_030_000)), Span::from_millis(30_000));
        assert_eq!(gap(stamp("b", 1, 999_999)), UNKNOWN, "a wall clock that went back");
        assert_eq!(gap(stamp("b", 1, 1_000_000 + ABSURD_MS)), Span::from_millis(ABSURD_MS));
        assert_eq!(gap(stamp("b", 1, 1_000_001 + ABSURD_MS)), UNKNOWN);
        // Two that do not know their run need not be of the same.
        let nameless = stamp("", 5_000, 1_000_000);
        assert_eq!(stamp("", 6_000, 1_090_000).since(&nameless), Span::from_millis(90_000));
        let known = content(&earlier).of(&orders(), &stamp("b", 1, 0)).unwrap();
        assert_eq!(known.age, UNKNOWN);
    }

    #[test]
    fn the_clocks_of_this_machine_are_read() {
        let (earlier, now) = (Stamp::now(), Stamp::now());
        assert!(earlier.boot_ns > 0 && earlier.wall_ms > 1_600_000_000_000, "{earlier:?}");
        assert_eq!(earlier.boot_id, now.boot_id);
        assert_ne!(now.since(&earlier), UNKNOWN);
    }

    #[test]
    fn servers_are_known_by_their_names() {
        let at = stamp("a", 5_000, 1_000);
        let mut service = orders();
        service.servers.swap(0, 1);
        assert_eq!(content(&at).of(&service, &at).unwrap().primary, ServerId(0));
        service.servers.remove(0);
        assert_eq!(content(&at).of(&service, &at), None, "its primary is not configured any more");
        service.name = "other".to_owned();
        assert_eq!(content(&at).of(&service, &at), None);
        // Numbers that the list of names does not have.
        let mut strange = content(&at);
        strange.services.get_mut("orders").unwrap().servers.truncate(1);
        assert_eq!(strange.of(&orders(), &at), None);
    }

    #[test]
    fn damage_at_every_byte_is_ignored() {
        let whole = sample();
        parse(&whole).unwrap();
        for at in 0..whole.len() {
            for change in [0x01, 0x15, 0x80] {
                let mut damaged = whole.clone();
                damaged[at] ^= change;
                assert!(parse(&damaged).is_err(), "byte {at}");
            }
            let mut zeroed = whole.clone();
            zeroed[at..].fill(0);
            assert!(parse(&zeroed).is_err(), "zeros from {at} on");
            assert!(parse(&whole[..at]).is_err(), "torn at {at}");
            let mut longer = whole.clone();
            longer.insert(at, b' ');
            assert!(parse(&longer).is_err(), "one more at {at}");
        }
        assert!(parse(&[whole.clone(), whole.clone()].concat()).is_err(), "twice");
    }

    #[test]
    fn what_cannot_be_believed_is_named_and_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        let at = stamp("a", 5_000, 1_000);
        let newer = line_of(&Content { format: 2, ..content(&at) }).unwrap();
        // Of a later version, with what nobody here knows.
        let foreign = line_of(&serde_json::json!({"format": 1, "something": "else"})).unwrap();
        for (text, why) in [
            (newer.as_str(), "has format 2"),
            (foreign.as_str(), "does not know"),
            ("", "has no end"),
            ("\n", "is not a record"),
            ("{\"primary\":1}\n", "is not a record"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = load(directory.path()).unwrap_err();
            assert!(said.contains(why) && said.contains("is ignored"), "{said}");
        }
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(load(directory.path()).unwrap_err().contains("is larger than"));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(load(directory.path()).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_once_until_it_can_be() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("later");
        let full = content(&stamp("a", 5_000, 1_000));
        let nothing = Content { services: BTreeMap::new(), ..full.clone() };
        let mut writer = Writer::default();
        assert_eq!(writer.write(&missing, &nothing), None, "what is not known yet replaces nothing");
        let (severity, said) = writer.write(&missing, &full).unwrap();
        assert!(severity == Severity::Warning && said.contains("cannot be written"), "{said}");
        assert_eq!(writer.write(&missing, &full), None);
        std::fs::create_dir(&missing).unwrap();
        assert!(writer.write(&missing, &full).unwrap().1.contains("is written again"));
        assert_eq!(writer.write(&missing, &full), None);
        assert_eq!(load(&missing), Ok(Some(full)));
        assert_eq!(writer.write(&missing, &nothing), None);
        assert_eq!(load(&missing), Ok(Some(nothing)), "the services are gone");
    }

    #[test]
    fn what_goes_by_a_reload_stays_known_and_ages() {
        let before = content(&stamp("a", 5_000, 0));
        let newer = Content { services: BTreeMap::new(), ..content(&stamp("a", 8_000, 0)) };
        let both = before.renewed(newer);
        assert_eq!(both.of(&orders(), &stamp("a", 8_001, 0)).unwrap().age, Span::from_millis(3_041));
        let newest = content(&stamp("a", 9_000, 0));
        assert_eq!(both.renewed(newest.clone()), newest);
    }
}
