//! Numbers as people read them.

/// A number of milliseconds, with the unit that suits it.
pub fn span(ms: f64) -> String {
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else if ms < 1_000.0 {
        format!("{ms:.0} ms")
    } else if ms < 60_000.0 {
        format!("{:.1} s", ms / 1_000.0)
    } else if ms < 3_600_000.0 {
        format!("{:.0} min", (ms / 60_000.0).floor())
    } else if ms < 86_400_000.0 {
        format!("{:.0} h {:.0} min", (ms / 3_600_000.0).floor(), (ms % 3_600_000.0 / 60_000.0).floor())
    } else {
        format!("{:.0} d {:.0} h", (ms / 86_400_000.0).floor(), (ms % 86_400_000.0 / 3_600_000.0).floor())
    }
}

/// The same for whole milliseconds.
pub fn span_ms(ms: u64) -> String {
    // Exact below 285,000 years.
    #[allow(clippy::cast_precision_loss)]
    span(ms as f64)
}

/// A number of bytes, exact where it is small.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        _ => bytesize::ByteSize(count).display().iec().to_string(),
    }
}

/// A time stamp with exactly three decimals, so that a column of them is even.
pub fn moment(time: &str) -> String {
    let Some(whole) = time.strip_suffix('Z') else { return time.to_owned() };
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{thousandths}Z")
}

/// `1 server`, `2 servers`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A text with control characters made visible: what a server says must not drive the terminal.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|letter| if letter.is_control() { letter.escape_default().collect() } else { vec![letter] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_by_size() {
        let shown: Vec<String> =
            [0.04, 9.94, 12.3, 999.4, 1_500.0, 61_000.0, 7_380_000.0, 90_000_000.0].iter().map(|ms| span(*ms)).collect();
        assert_eq!(shown, ["0.0 ms", "9.9 ms", "12 ms", "999 ms", "1.5 s", "1 min", "2 h 3 min", "1 d 1 h"]);
    }

    #[test]
    fn moments_are_equally_long() {
        for (time, shown) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02T03:04:05.12Z", "2026-01-02T03:04:05.120Z"),
            ("2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123Z"),
            ("no time", "no time"),
        ] {
            assert_eq!(moment(time), shown);
        }
    }

    #[test]
    fn bytes_by_size() {
        let shown: Vec<String> = [0, 96, 1024, 1 << 20, 1_600_000].iter().map(|count| bytes(*count)).collect();
        assert_eq!(shown, ["0 B", "96 B", "1.0 KiB", "1.0 MiB", "1.5 MiB"]);
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    }
}
