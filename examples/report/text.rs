//! Numbers and texts as people read them.

/// A span of nanoseconds.
pub fn span(nanos: u64) -> String {
    let micros = nanos / 1_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        _ => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

/// A moment as its distance from the fault, in seconds.
pub fn ago(at: u64, fault: u64) -> String {
    let (sign, nanos) = if at >= fault { ('+', at - fault) } else { ('−', fault - at) };
    format!("{sign}{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000)
}

/// A text safe in HTML, also inside attributes.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in HTML at all.
            control if control.is_control() && control != '\n' && control != '\t' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
