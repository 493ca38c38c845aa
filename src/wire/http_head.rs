//! The head of an HTTP answer, put so that `ureq` reads it: it knows no folded lines (obs-fold, RFC 9112, section 5.2) and no more than 128
//! headers. Both are answers. What is no head of HTTP goes through as it came.

use std::collections::VecDeque;

/// More headers than this are thinned out.
const MANY: usize = 100;
/// Those that `ureq` and the callers go by.
const NEEDED: [&str; 5] = ["content-length", "transfer-encoding", "connection", "location", "date"];

/// Between the socket and its reader.
#[derive(Debug)]
pub(crate) struct Head {
    /// Read, and not judged yet.
    held: Vec<u8>,
    /// To be handed on.
    ready: VecDeque<u8>,
    /// What comes now goes through.
    open: bool,
    /// Bytes to hold at most.
    limit: usize,
    /// A header that has to stay, in lower case.
    wanted: String,
}

impl Head {
    /// For an answer of which one more header is of interest.
    pub(crate) fn new(limit: usize, wanted: Option<&str>) -> Head {
        let wanted = wanted.unwrap_or_default().to_ascii_lowercase();
        Head { held: Vec::new(), ready: VecDeque::new(), open: false, limit, wanted }
    }

    /// Nothing is held or has to be handed on, now or later.
    pub(crate) fn is_over(&self) -> bool {
        self.open && self.ready.is_empty()
    }

    /// Takes what the socket gave.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        while !self.open && self.is_head_so_far() && self.held.len() <= self.limit {
            let Some(end) = end_of_head(&self.held) else { return };
            let rest = self.held.split_off(end);
            let head = std::mem::replace(&mut self.held, rest);
            // After an interim answer (100, 103) comes another head.
            self.open = head.get(9).is_none_or(|digit| *digit != b'1');
            self.ready.extend(self.put(&head));
        }
        self.finish();
    }

    /// No more comes, or it is no head: what is held goes as it is.
    pub(crate) fn finish(&mut self) {
        self.open = true;
        self.ready.extend(self.held.drain(..));
    }

    /// Bytes that are ready to be handed on.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Hands on as much as there is room for.
    pub(crate) fn give(&mut self, room: &mut [u8]) -> usize {
        let count = room.len().min(self.ready.len());
        for (to, byte) in room.iter_mut().zip(self.ready.drain(..count)) {
            *to = byte;
        }
        count
    }

    /// `HTTP/1.x NNN`, or the beginning of it.
    fn is_head_so_far(&self) -> bool {
        let fits = |(index, byte): (usize, &u8)| match index {
            0..=6 => *byte == b"HTTP/1."[index],
            8 => *byte == b' ',
            7 | 9..=11 => byte.is_ascii_digit(),
            _ => byte.is_ascii_whitespace(),
        };
        self.held.iter().take(13).enumerate().all(fits)
    }

    /// Each header in one line, and not too many.
    fn put(&self, head: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for line in head.split_inclusive(|byte| *byte == b'\n') {
            let folded = matches!(line.first(), Some(b' ' | b'\t')) && lines.len() > 1;
            match lines.last_mut() {
                Some(last) if folded => {
                    last.truncate(last.trim_ascii_end().len());
                    last.push(b' ');
                    last.extend_from_slice(line.trim_ascii_start());
                }
                _ => lines.push(line.to_vec()),
            }
        }
        // A fold of blanks alone took the end of its line with it.
        for line in &mut lines {
            if !line.ends_with(b"\n") {
                line.extend_from_slice(b"\r\n");
            }
        }
        if lines.len() > MANY {
            // The status line, and the empty one at the end.
            let last = lines.len() - 1;
            let mut index = 0;
            let mut count = 0;
            lines.retain(|line| {
                let kept = index == 0 || index == last || self.is_needed(line) || {
                    count += 1;
                    count < MANY / 2
                };
                index += 1;
                kept
            });
        }
        lines.concat()
    }

    fn is_needed(&self, line: &[u8]) -> bool {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is = |other: &str| !other.is_empty() && name.eq_ignore_ascii_case(other.as_bytes());
        NEEDED.iter().any(|needed| is(needed)) || is(&self.wanted)
    }
}

/// Behind the empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        if at > line.len() && matches!(line, b"\n" | b"\r\n") {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, however the bytes come in.
    fn through(text: &str) -> String {
        let whole = with_pieces(text, text.len().max(1));
        assert_eq!(with_pieces(text, 1), whole, "{text:?}");
        whole
    }

    fn with_pieces(text: &str, size: usize) -> String {
        let (mut head, mut out) = (Head::new(1_000, Some("X-Wanted")), Vec::new());
        let mut room = [0; 7];
        for piece in text.as_bytes().chunks(size) {
            head.take(piece);
            while let count @ 1.. = head.give(&mut room) {
                out.extend_from_slice(&room[..count]);
            }
        }
        head.finish();
        while let count @ 1.. = head.give(&mut room) {
            out.extend_from_slice(&room[..count]);
        }
        assert!(head.is_over());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn folded_lines_become_one_and_everything_else_stays() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nA: 1\r\n b\r\n\tc\r\n\r\n body\r\n x", "HTTP/1.1 200 OK\r\nA: 1 b c\r\n\r\n body\r\n x"),
            ("HTTP/1.1 200 OK\nA: 1\n b\n\n body", "HTTP/1.1 200 OK\nA: 1 b\n\n body"),
            (
                "HTTP/1.1 103 E\r\nA: 1\r\n b\r\n\r\nHTTP/1.1 200\r\nC: 1\r\n d\r\n\r\n",
                "HTTP/1.1 103 E\r\nA: 1 b\r\n\r\nHTTP/1.1 200\r\nC: 1 d\r\n\r\n",
            ),
            ("HTTP/1.1 200 OK\r\nA: 1\r\n  \r\nB: 2\r\n\r\n", "HTTP/1.1 200 OK\r\nA: 1 \r\nB: 2\r\n\r\n"),
        ] {
            assert_eq!(through(text), expected);
        }
        for text in
            ["", "HTTP/1.1 200 OK\r\nA: 1\r\n b", "SSH-2.0-x\r\n a\r\n\r\n", "HTTP/1.1 20000 OK\r\nA: 1\r\n b\r\n\r\n", "<html>"]
        {
            assert_eq!(through(text), text);
        }
        let long = format!("HTTP/1.1 200 OK\r\n{}", "A: 1\r\n b\r\n".repeat(200));
        assert_eq!(with_pieces(&long, 10_000), long, "more than the limit goes as it is");
    }

    #[test]
    fn of_many_headers_those_that_are_needed_stay() {
        let mut head = Head::new(100_000, Some("X-Wanted"));
        let many = "X-Many: 1\r\n".repeat(300);
        head.take(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 1\r\nx-wanted: me\r\n\r\nb").as_bytes());
        let mut room = vec![0; 100_000];
        let count = head.give(&mut room);
        let text = std::str::from_utf8(&room[..count]).unwrap();
        assert!(text.ends_with("Content-Length: 1\r\nx-wanted: me\r\n\r\nb") && text.lines().count() < 100, "{text}");
    }
}
