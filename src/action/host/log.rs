//! The log of a dead server, read on its host, and the spool on a standby's host: what salvage needs of both.

use super::{Answer, Exchange, HostControl, nonsense};
use crate::deadline::{Cancel, Deadline};
use failover_core::output::Failure;
use failover_core::sample::Lsn;

/// So many bytes travel in one request.
pub(crate) const PIECE: u64 = 8 * 1024 * 1024;
/// A page's header: its own, and that of a segment's first page.
const HEADER: u64 = 24;
const LONG_HEADER: u64 = 40;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The cluster's identity.
    pub(crate) system_id: u64,
    /// The timeline on which it ends.
    pub(crate) timeline: u32,
}

/// Where a log ends, seen from a position in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Behind its last valid record; the position itself where nothing follows.
    pub(crate) end: Lsn,
    /// Behind the last byte of that record: after a record that ends its segment nothing else is in there.
    pub(crate) last_byte: Lsn,
    /// Commits behind the position, where they could be counted.
    pub(crate) commits: Option<u64>,
    /// The size of a segment.
    pub(crate) segment: u64,
    /// The size of a page; 0 where nothing follows.
    pub(crate) page: u64,
}

/// How a request to put bytes into the spool stands among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The first: the spool is emptied before, and has to have room for so many bytes in all.
    pub(crate) first: Option<u64>,
    /// The last of its segment: that gets its size and its name.
    pub(crate) closes: bool,
    /// The last of all: the standby is told to look.
    pub(crate) wakes: bool,
}

impl HostControl {
    /// Where the log of this server ends, seen from `from`. Refused while a process of the server lives. Changes nothing.
    ///
    /// # Errors
    /// When it cannot be read, or is another cluster's: then nothing is known about its end. Never has an effect.
    pub(crate) fn tail(&self, log: Log, from: Lsn, deadline: Deadline, cancel: &Cancel) -> Result<Tail, Failure> {
        self.ask("tail", &refs(&position(log, from)), deadline, cancel)?.tail(from)
    }

    /// Bytes of one segment of that log. Refused while a process of the server lives. Changes nothing.
    ///
    /// # Errors
    /// When they could not be read, or not all of them. Never has an effect.
    pub(crate) fn segment(
        &self,
        log: Log,
        from: Lsn,
        bytes: u64,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<Vec<u8>, Failure> {
        let wanted = usize::try_from(bytes.min(PIECE)).unwrap_or_default();
        let mut options = position(log, from);
        options.extend(["--bytes".to_owned(), wanted.to_string()]);
        let exchange = Exchange { wanted, ..Exchange::default() };
        let answer = self.exchange("segment", &refs(&options), exchange, deadline, cancel)?;
        if answer.raw.len() == wanted { Ok(answer.raw) } else { Err(nonsense("fewer bytes than it announced")) }
    }

    /// Puts bytes into the spool of this standby, where its `restore_command` finds the segment once it is closed.
    ///
    /// # Errors
    /// When they are not there. What lies in the spool is not looked at before its segment is closed.
    pub(crate) fn spool(
        &self,
        log: Log,
        at: Lsn,
        bytes: &[u8],
        place: Place,
        deadline: Deadline,
        cancel: &Cancel,
    ) -> Result<(), Failure> {
        let mut options = position(log, at);
        options.extend(["--bytes".to_owned(), bytes.len().to_string()]);
        if let Some(total) = place.first {
            options.extend(["--first".to_owned(), "--total".to_owned(), total.to_string()]);
        }
        let flags = [(place.closes, "--close"), (place.wakes, "--wake")];
        options.extend(flags.into_iter().filter(|(set, _)| *set).map(|(_, flag)| flag.to_owned()));
        let exchange = Exchange { sent: Some(bytes), ..Exchange::default() };
        self.exchange("spool", &refs(&options), exchange, deadline, cancel).map(drop)
    }

    /// Ends the WAL receiver of this standby, which begins anew by itself, and lets it read its settings: it looks into the spool then.
    ///
    /// # Errors
    /// When the host could not be asked.
    pub(crate) fn wake(&self, log: Log, at: Lsn, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
        self.spool(log, at, &[], Place { wakes: true, ..Place::default() }, deadline, cancel)
    }

    /// Empties the spool of this standby.
    ///
    /// # Errors
    /// When it is not empty.
    pub(crate) fn unspool(&self, deadline: Deadline, cancel: &Cancel) -> Result<(), Failure> {
        self.ask("unspool", &[], deadline, cancel).map(drop)
    }
}

pub(super) fn refs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// A request may hold lower-case letters, digits and blanks: so a position travels as two decimal words.
pub(super) fn position(log: Log, at: Lsn) -> Vec<String> {
    let words = [
        ("--timeline", u64::from(log.timeline)),
        ("--system-id", log.system_id),
        ("--from-high", at.0 >> 32),
        ("--from-low", at.0 & 0xFFFF_FFFF),
    ];
    words.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]).collect()
}

impl Answer {
    pub(super) fn tail(&self, from: Lsn) -> Result<Tail, Failure> {
        let segment: u64 = self.number("segment_size")?;
        if !segment.is_power_of_two() || !(1 << 20..=1 << 30).contains(&segment) {
            return Err(nonsense(&format!("segment_size={segment}")));
        }
        match self.value("follows") {
            "0" => return Ok(Tail { end: from, last_byte: from, commits: Some(0), segment, page: 0 }),
            "1" => {}
            other => return Err(nonsense(&format!("follows={other}"))),
        }
        let page: u64 = self.number("page_size")?;
        if !page.is_power_of_two() || !(1 << 10..=1 << 16).contains(&page) {
            return Err(nonsense(&format!("page_size={page}")));
        }
        let last = self.value("last");
        let mut words = last.split(' ');
        let mut next = || words.next().unwrap_or_default();
        let (Some(start), Ok(length)) = (Lsn::parse(next()), next().parse::<u32>()) else {
            return Err(nonsense(&format!("last={last}")));
        };
        let switches = [next(), next()] == ["XLOG", "SWITCH"];
        let last_byte = record_end(start, u64::from(length), page, segment).max(from);
        let end = if switches { Lsn(last_byte.0.div_ceil(segment).saturating_mul(segment)) } else { last_byte };
        // Nothing is wrong with the log up to a segment that is missing: then it ends there, and not before.
        if self.value("stopped").is_empty() && Lsn::parse(self.value("limit")) != Some(end) {
            let message = format!("the log goes on behind {end}, and the segment at {} is missing", self.value("limit"));
            return Err(Failure::no_effect(message, ""));
        }
        let commits = match self.value("skipped") {
            _ if end == from => Some(0),
            "0" => self.value("commits").parse().ok(),
            // The first record begins before the position, and was not looked at.
            _ => None,
        };
        Ok(Tail { end, last_byte, commits, segment, page })
    }
}

/// Where the next record after this one begins: it goes on behind the headers of the pages that it crosses, and is followed by as many bytes
/// as make eight.
fn record_end(start: Lsn, length: u64, page: u64, segment: u64) -> Lsn {
    let (mut at, mut left) = (start.0, length);
    loop {
        let page_end = (at / page).saturating_add(1).saturating_mul(page);
        let room = page_end.saturating_sub(at);
        if left <= room || room == 0 {
            return Lsn(at.saturating_add(left).checked_next_multiple_of(8).unwrap_or(u64::MAX));
        }
        left -= room;
        at = page_end.saturating_add(if page_end.is_multiple_of(segment) { LONG_HEADER } else { HEADER });
    }
}

/// Looks at the header of each page that comes, in the order of the log: of this timeline, and of this place.
#[derive(Debug)]
pub(crate) struct PageCheck {
    log: Log,
    tail: Tail,
    magic: Option<u16>,
    timeline: u32,
    /// In this segment a record has ended it: what is left of it are zeros.
    ended: Option<u64>,
}

impl PageCheck {
    pub(crate) fn new(log: Log, tail: Tail) -> PageCheck {
        PageCheck { log, tail, magic: None, timeline: 1, ended: None }
    }

    /// Checks whole pages that begin at `at`, and clears what lies behind the last record.
    ///
    /// # Errors
    /// Which page is not what it should be.
    pub(crate) fn check(&mut self, at: Lsn, bytes: &mut [u8]) -> Result<(), String> {
        let page = usize::try_from(self.tail.page).unwrap_or(1).max(1);
        for (number, bytes) in bytes.chunks_mut(page).enumerate() {
            let here = Lsn(at.0.saturating_add(self.tail.page.saturating_mul(number as u64)));
            let kept = usize::try_from(self.tail.last_byte.bytes_after(here)).unwrap_or(usize::MAX);
            if let Some(behind) = bytes.get_mut(kept..) {
                behind.fill(0);
            }
            if kept > 0 {
                self.check_page(here, bytes)?;
            }
        }
        Ok(())
    }

    fn check_page(&mut self, here: Lsn, page: &[u8]) -> Result<(), String> {
        let segment = here.0 / self.tail.segment;
        if page.iter().all(|byte| *byte == 0) {
            self.ended = Some(segment);
            return Ok(());
        }
        let wrong = |what: String| Err(format!("the page at {here} {what}"));
        if self.ended == Some(segment) {
            return wrong("follows one that holds nothing".to_owned());
        }
        let Some(header) = page.first_chunk::<24>() else { return wrong("is too short".to_owned()) };
        let header = Header::read(header, here);
        if header.address != here {
            return wrong(format!("says that it is the one at {}", header.address));
        }
        if header.timeline < self.timeline || header.timeline > self.log.timeline {
            return wrong(format!("is of timeline {}", header.timeline));
        }
        self.timeline = header.timeline;
        if *self.magic.get_or_insert(header.magic) != header.magic {
            return wrong("is of another version than the first one".to_owned());
        }
        Ok(())
    }
}

struct Header {
    magic: u16,
    timeline: u32,
    address: Lsn,
}

impl Header {
    /// In the byte order of its host, which shows by the address.
    fn read(bytes: &[u8; 24], here: Lsn) -> Header {
        let [m0, m1, _, _, t0, t1, t2, t3, a0, a1, a2, a3, a4, a5, a6, a7, ..] = *bytes;
        let (magic, timeline, address) = ([m0, m1], [t0, t1, t2, t3], [a0, a1, a2, a3, a4, a5, a6, a7]);
        if u64::from_be_bytes(address) == here.0 && u64::from_le_bytes(address) != here.0 {
            return Header { magic: u16::from_be_bytes(magic), timeline: u32::from_be_bytes(timeline), address: here };
        }
        Header {
            magic: u16::from_le_bytes(magic),
            timeline: u32::from_le_bytes(timeline),
            address: Lsn(u64::from_le_bytes(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::host::Hearing;

    const MIB: u64 = 1 << 20;

    fn tail(lines: &str, from: &str) -> Result<Tail, Failure> {
        let mut hearing = Hearing::new(0);
        hearing.hear(format!("failover-host=1\nsegment_size=16777216\n{lines}end=ok\n").as_bytes());
        assert!(hearing.complete, "{lines}");
        hearing.answer.tail(Lsn::parse(from).unwrap())
    }

    /// Positions as a real server had them: the last record, and `pg_last_wal_replay_lsn()` after it.
    #[test]
    fn a_log_ends_behind_its_last_record() {
        let of = |last: &str, from: &str| {
            tail(&format!("follows=1\npage_size=8192\nlast={last}\nskipped=0\ncommits=300\nstopped=error in WAL record\n"), from)
                .map(|tail| (tail.end.to_string(), tail.commits))
        };
        assert_eq!(of("0/0301DA30 34 Transaction COMMIT", "0/3016030"), Ok(("0/301DA58".to_owned(), Some(300))));
        // Up to the last byte of a page, and across one.
        assert_eq!(of("0/3001FD8 40 Heap INSERT", "0/3000000"), Ok(("0/3002000".to_owned(), Some(300))));
        assert_eq!(of("0/3001FD8 41 Heap INSERT", "0/3000000"), Ok(("0/3002020".to_owned(), Some(300))));
        assert_eq!(of("0/3FFFFF8 24 Heap INSERT", "0/3000000"), Ok(("0/4000038".to_owned(), Some(300))));
        // 40 bytes on the first page, 8168 on the second, 12 on the third.
        assert_eq!(of("0/3001FD8 8220 Heap INSERT", "0/3000000"), Ok(("0/3004028".to_owned(), Some(300))));
        // A record that ends its segment.
        assert_eq!(of("0/3000060 24 XLOG SWITCH", "0/3000060"), Ok(("0/4000000".to_owned(), Some(300))));
        // Nothing behind the position.
        assert_eq!(of("0/3000060 34 Transaction COMMIT", "0/3000088"), Ok(("0/3000088".to_owned(), Some(0))));
        assert!(of("0/3000060", "0/3000060").is_err() && of("", "0/0").is_err());
    }

    #[test]
    fn what_was_not_looked_at_is_not_counted() {
        let from = "0/3002000";
        let said =
            tail("follows=1\npage_size=8192\nlast=0/3003000 34 Transaction COMMIT\nskipped=1\ncommits=7\nstopped=x\n", from)
                .unwrap();
        assert_eq!(said.commits, None);
        let nothing = tail("follows=0\n", from).unwrap();
        assert_eq!((nothing.end.to_string().as_str(), nothing.commits), (from, Some(0)));
        // Up to the first segment that is missing, and not before.
        let up_to = |limit: &str| {
            let last = "follows=1\npage_size=8192\nlast=0/3FFFFD8 40 Heap INSERT\nskipped=0\ncommits=7\nstopped=\n";
            tail(&format!("{last}limit={limit}\n"), from).map(|tail| tail.end.to_string())
        };
        assert_eq!(up_to("0/4000000"), Ok("0/4000000".to_owned()));
        assert!(up_to("0/5000000").is_err() && up_to("").is_err());
        for wrong in ["follows=\n", "follows=1\npage_size=8192\n", "follows=1\npage_size=77\nlast=0/3003000 34 A B\n"] {
            assert!(tail(wrong, from).is_err(), "{wrong}");
        }
    }

    fn page(at: u64, timeline: u32) -> Vec<u8> {
        let mut page = vec![1; 8192];
        page[..2].copy_from_slice(&0xD110_u16.to_le_bytes());
        page[4..8].copy_from_slice(&timeline.to_le_bytes());
        page[8..16].copy_from_slice(&at.to_le_bytes());
        page
    }

    fn check(pages: &[Vec<u8>], last_byte: u64) -> Result<Vec<u8>, String> {
        let (log, end) = (Log { system_id: 1, timeline: 3 }, Lsn(last_byte));
        let mut check = PageCheck::new(log, Tail { end, last_byte: end, commits: None, segment: 16 * MIB, page: 8192 });
        let mut bytes = pages.concat();
        check.check(Lsn(16 * MIB), &mut bytes).map(|()| bytes)
    }

    #[test]
    fn pages_of_another_place_timeline_or_version_are_not_taken() {
        let first = 16 * MIB;
        let second = first + 8192;
        let good = [page(first, 2), page(second, 3)];
        let end = second + 100;
        let taken = check(&good, end).unwrap();
        assert_eq!(taken[..8192 + 100], good.concat()[..8192 + 100]);
        assert!(taken[8192 + 100..].iter().all(|byte| *byte == 0), "what lies behind the last record is cleared");
        for (wrong, says) in [
            (page(first, 3), "says that it is the one at"),
            (page(second, 4), "timeline 4"),
            (page(second, 1), "timeline 1"),
            ([&[0x12, 0xD1][..], &page(second, 3)[2..]].concat(), "another version"),
        ] {
            let why = check(&[page(first, 2), wrong], end).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
        // Not looked at, because nothing of it is kept.
        check(&[page(first, 2), page(first, 9)], second).unwrap();
    }

    /// A record that ends its segment leaves zeros behind it, up to the next segment.
    #[test]
    fn zeros_belong_to_the_end_of_a_segment() {
        let first = 16 * MIB;
        let zeros = vec![0; 8192];
        check(&[page(first, 1), zeros.clone(), zeros.clone()], first + 4 * 8192).unwrap();
        assert!(check(&[page(first, 1), zeros, page(first + 2 * 8192, 1)], first + 4 * 8192).is_err());
    }

    #[test]
    fn a_host_of_the_other_byte_order_is_understood() {
        let mut page = page(0, 3);
        page[..2].copy_from_slice(&0xD110_u16.to_be_bytes());
        page[4..8].copy_from_slice(&3_u32.to_be_bytes());
        page[8..16].copy_from_slice(&(16 * MIB).to_be_bytes());
        check(&[page], 16 * MIB + 100).unwrap();
    }
}
