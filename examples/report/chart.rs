//! The drawings of the report.

use std::fmt::Write as _;

use super::support::recording::{Gap, Outcome, Recording};
use super::text::{ago, escape, span};

/// What is drawn, in words.
pub struct Words {
    /// Who asks.
    pub actor: &'static str,
    /// How often.
    pub pace: &'static str,
    /// What is counted.
    pub many: &'static str,
    /// One of it, with its article.
    pub one: &'static str,
    /// There is something to be fenced.
    pub fence: bool,
}

const WIDTH: f64 = 1190.0;
const LEFT: f64 = 168.0;
const RIGHT: f64 = 22.0;

/// Time to place.
#[derive(Clone, Copy)]
struct Scale {
    from: u64,
    to: u64,
}

impl Scale {
    /// Nanoseconds are far below what a double holds exactly, and a pixel is enough.
    #[allow(clippy::cast_precision_loss)]
    fn x(self, at: u64) -> f64 {
        let whole = (self.to - self.from).max(1) as f64;
        let part = at.clamp(self.from, self.to) - self.from;
        LEFT + (WIDTH - LEFT - RIGHT) * (part as f64 / whole)
    }

    fn shows(self, at: u64) -> bool {
        (self.from..=self.to).contains(&at)
    }

    /// Distances between marks of the axis that give some eight of them.
    fn step(self) -> u64 {
        let wanted = (self.to - self.from) / 8;
        let mut unit = 1_000_000u64;
        loop {
            for factor in [1, 2, 5] {
                if unit * factor >= wanted {
                    return unit * factor;
                }
            }
            unit = unit.saturating_mul(10);
        }
    }

    /// The marks of the axis: whole steps before and after the fault.
    fn marks(self, fault: u64) -> Vec<(u64, String)> {
        let step = self.step();
        let mut at = if self.from > fault {
            fault + (self.from - fault).div_ceil(step) * step
        } else {
            fault - (fault - self.from) / step * step
        };
        let mut marks = Vec::new();
        while at <= self.to && marks.len() < 40 {
            marks.push((at, mark(at, fault, step)));
            at += step;
        }
        marks
    }
}

fn mark(at: u64, fault: u64, step: u64) -> String {
    if at == fault {
        return "0".to_owned();
    }
    let (sign, nanos) = if at > fault { ("+", at - fault) } else { ("−", fault - at) };
    let millis = nanos / 1_000_000;
    if step >= 1_000_000_000 {
        format!("{sign}{} s", millis / 1_000)
    } else if step >= 100_000_000 {
        format!("{sign}{}.{} s", millis / 1_000, millis % 1_000 / 100)
    } else {
        format!("{sign}{millis} ms")
    }
}

/// The run from its beginning to its end: what went well per moment, the outage, and what the next drawing shows.
pub fn overview(run: &Recording, outage: Option<Gap>, window: (u64, u64), words: &Words) -> String {
    const TOP: f64 = 38.0;
    const HEIGHT: f64 = 58.0;
    const BUCKETS: usize = 240;
    let first = run.attempts.first().map_or(0, |attempt| attempt.sent);
    // The time before the writer began shows nothing.
    let scale = Scale { from: first.min(run.fault_at), to: run.ended.max(first + 1) };
    let mut svg = open(TOP + HEIGHT + 26.0, &format!("{} over the whole run", words.many));
    shade(&mut svg, scale, outage, (TOP - 6.0, HEIGHT + 6.0), None);
    let bucket = ((scale.to - scale.from) / BUCKETS as u64).max(1);
    let mut counts = vec![[0u32; 4]; BUCKETS + 1];
    for attempt in run.acknowledged().filter(|attempt| scale.shows(attempt.done)) {
        let place = usize::try_from((attempt.done - scale.from) / bucket).unwrap_or(0).min(BUCKETS);
        counts[place][server_class(run, attempt.port)] += 1;
    }
    let most = f64::from(counts.iter().map(|of| of.iter().sum::<u32>()).max().unwrap_or(1).max(1));
    for (place, of) in counts.iter().enumerate() {
        let mut base = TOP + HEIGHT;
        let (left, right) = (scale.x(scale.from + bucket * place as u64), scale.x(scale.from + bucket * (place as u64 + 1)));
        for (class, count) in of.iter().enumerate().filter(|(_, count)| **count > 0) {
            let height = (HEIGHT - 4.0) * f64::from(*count) / most;
            base -= height;
            let _ = writeln!(
                svg,
                "<rect class=\"f{class}\" x=\"{left:.1}\" y=\"{base:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                (right - left).max(0.6) - 0.3
            );
        }
    }
    label(&mut svg, TOP + 24.0, words.many);
    let per_second = 1_000_000_000.0 * most / as_f64(bucket);
    let _ = writeln!(svg, "<text class=\"soft small\" x=\"14\" y=\"{:.1}\">at most {per_second:.0} a second</text>", TOP + 40.0);
    axis(&mut svg, scale, run.fault_at, TOP + HEIGHT, TOP + HEIGHT + 17.0);
    fault(&mut svg, scale, run, 12.0, TOP + HEIGHT);
    let (left, right) = (scale.x(window.0), scale.x(window.1));
    let _ = writeln!(
        svg,
        "<rect class=\"window\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\"/>",
        TOP - 6.0,
        (right - left).max(3.0),
        HEIGHT + 8.0
    );
    close(svg)
}

/// Everything that happened in a window of time.
pub fn detail(run: &Recording, outage: Option<Gap>, (from, to): (u64, u64), words: &Words) -> String {
    let scale = Scale { from, to: to.max(from + 1_000_000) };
    let mut body = String::new();
    let mut y = 52.0;
    writer_lane(&mut body, run, scale, words, &mut y);
    // Where nobody watched there is nothing to be shown of it.
    if !run.events.is_empty() {
        for member in &run.servers {
            probe_lane(&mut body, run, scale, &member.name, &mut y);
        }
        state_lane(&mut body, run, scale, &mut y);
        step_lanes(&mut body, run, scale, &mut y);
    }
    if words.fence {
        fence_lane(&mut body, run, scale, &mut y);
    }
    let bottom = y;
    let mut svg = open(bottom + 26.0, &format!("The incident: {}, probes, decisions and steps", words.many));
    axis(&mut svg, scale, run.fault_at, bottom, bottom + 17.0);
    shade(&mut svg, scale, outage, (28.0, bottom - 28.0), Some((run.fault_at, words)));
    svg.push_str(&body);
    fault(&mut svg, scale, run, 12.0, bottom);
    close(svg)
}

fn open(height: f64, title: &str) -> String {
    // The frame scrolls where the chart is wider; by the keyboard too.
    format!(
        "<div class=\"chart\" tabindex=\"0\"><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    )
}

fn close(mut svg: String) -> String {
    svg.push_str("</svg></div>");
    svg
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn server_class(run: &Recording, port: u16) -> usize {
    run.servers.iter().position(|member| member.port == port).unwrap_or(3).min(3)
}

fn label(svg: &mut String, y: f64, text: &str) {
    let _ = writeln!(svg, "<text class=\"lane\" x=\"14\" y=\"{y:.1}\">{}</text>", escape(text));
}

fn rule(svg: &mut String, y: f64) {
    let _ = writeln!(svg, "<line class=\"rule\" x1=\"0\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\"/>");
}

fn axis(svg: &mut String, scale: Scale, fault: u64, bottom: f64, text: f64) {
    for (at, name) in scale.marks(fault) {
        let x = scale.x(at);
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"30\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>");
        let _ = writeln!(svg, "<text class=\"soft small\" x=\"{x:.1}\" y=\"{text:.1}\" text-anchor=\"middle\">{name}</text>");
    }
}

/// The outage; with the moment of the fault and words, also how long it was, beside what is written at the fault.
fn shade(svg: &mut String, scale: Scale, outage: Option<Gap>, (top, height): (f64, f64), said: Option<(u64, &Words)>) {
    const HALF: f64 = 90.0;
    /// What is written at the fault is no longer.
    const FAULT: f64 = 120.0;
    let Some(gap) = outage.filter(|gap| gap.to > scale.from && gap.from < scale.to) else { return };
    let (left, right) = (scale.x(gap.from), scale.x(gap.to));
    let _ = writeln!(
        svg,
        "<rect class=\"outage\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
        (right - left).max(0.5)
    );
    let Some((fault_at, words)) = said else { return };
    let more = if gap.closed { "" } else { "more than " };
    let text = format!("{more}{} without {}", span(gap.nanos()), words.one);
    let fault = scale.x(fault_at);
    let mut middle = f64::midpoint(left, right);
    if scale.shows(fault_at) && middle + HALF > fault && middle - HALF < fault + FAULT {
        middle = fault + FAULT + HALF;
    }
    let middle = middle.clamp(LEFT + HALF, WIDTH - RIGHT - HALF);
    let _ = writeln!(svg, "<text class=\"outagetext\" x=\"{middle:.1}\" y=\"22.0\" text-anchor=\"middle\">{text}</text>");
}

fn fault(svg: &mut String, scale: Scale, run: &Recording, top: f64, bottom: f64) {
    let mut line = |at: u64, words: &str| {
        if scale.shows(at) {
            let x = scale.x(at);
            let _ = writeln!(svg, "<line class=\"faultline\" x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\"/>");
            let (place, anchor) = if x > WIDTH - 120.0 { (x - 5.0, "end") } else { (x + 5.0, "start") };
            let _ = writeln!(
                svg,
                "<text class=\"faulttext small\" x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                top + 4.0,
                escape(words)
            );
        }
    };
    line(run.fault_at, &format!("fault: {}", run.fault));
    if let Some(over) = run.fault_over {
        line(over, "fault over");
    }
}

fn writer_lane(svg: &mut String, run: &Recording, scale: Scale, words: &Words, y: &mut f64) {
    let top = *y;
    label(svg, top + 17.0, words.actor);
    let _ = writeln!(svg, "<text class=\"soft small\" x=\"14\" y=\"{:.1}\">{}</text>", top + 33.0, words.pace);
    let mut acknowledged = vec![String::new(); 4];
    let mut failed = String::new();
    for attempt in run.attempts.iter().filter(|attempt| scale.shows(attempt.done)) {
        let x = scale.x(attempt.done);
        let _ = if attempt.outcome == Outcome::Acknowledged {
            write!(acknowledged[server_class(run, attempt.port)], "M{x:.1} {:.1}v24", top + 4.0)
        } else {
            write!(failed, "M{x:.1} {:.1}v9", top + 32.0)
        };
    }
    for (class, path) in acknowledged.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        let _ = writeln!(svg, "<path class=\"ticks t{class}\" d=\"{path}\"/>");
    }
    if !failed.is_empty() {
        let _ = writeln!(svg, "<path class=\"ticks tbad\" d=\"{failed}\"/>");
    }
    *y += 50.0;
    rule(svg, *y);
}

/// Runs of checks as lines from question to answer, stacked where they overlap.
fn probe_lane(svg: &mut String, run: &Recording, scale: Scale, server: &str, y: &mut f64) {
    const ROW: f64 = 9.0;
    const ROWS: usize = 6;
    let top = *y + 12.0;
    let mut ends: Vec<f64> = Vec::new();
    let mine =
        |kind: &'static str| run.events.iter().filter(move |event| event.kind == kind && event.server.as_deref() == Some(server));
    for event in mine("observed") {
        let latency = event.fields.get("latency_ms").and_then(serde_json::Value::as_f64).unwrap_or(0.0).max(0.0);
        let asked = event.at.saturating_sub(
            std::time::Duration::try_from_secs_f64(latency / 1_000.0)
                .map_or(0, |span| u64::try_from(span.as_nanos()).unwrap_or(0)),
        );
        if event.at < scale.from || asked > scale.to {
            continue;
        }
        let class = match event.text("verdict") {
            Some(known @ ("up" | "down" | "impaired")) => known.to_owned(),
            _ => "unknown".to_owned(),
        };
        let (left, right) = (scale.x(asked), scale.x(event.at));
        let row = ends.iter().position(|end| *end < left).unwrap_or_else(|| {
            if ends.len() < ROWS {
                ends.push(0.0);
                ends.len() - 1
            } else {
                ROWS - 1
            }
        });
        ends[row] = right + 4.0;
        let middle = top + ROW * f64::from(u32::try_from(row).unwrap_or(0));
        let _ = writeln!(
            svg,
            "<g><title>{} {}</title><line class=\"probe s{class}\" x1=\"{left:.1}\" y1=\"{middle:.1}\" x2=\"{right:.1}\" y2=\"{middle:.1}\"/>{}</g>",
            ago(event.at, run.fault_at),
            escape(&event.message),
            if scale.shows(event.at) {
                format!("<circle class=\"{class}\" cx=\"{right:.1}\" cy=\"{middle:.1}\" r=\"3.2\"/>")
            } else {
                String::new()
            }
        );
    }
    if ends.is_empty() {
        let x = scale.x(scale.from) + 6.0;
        let _ = writeln!(svg, "<text class=\"soft small\" x=\"{x:.1}\" y=\"{:.1}\">no probe in this time</text>", *y + 24.0);
    }
    let rows = f64::from(u32::try_from(ends.len().max(1)).unwrap_or(1));
    let below = top + ROW * rows;
    let mut marked = false;
    for event in mine("session_closed").chain(mine("evidence_gathered")).filter(|event| scale.shows(event.at)) {
        marked = true;
        let x = scale.x(event.at);
        let drawing = if event.kind == "session_closed" {
            format!("<path class=\"closed\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>", x - 4.0, below - 2.0)
        } else {
            format!("<path class=\"host\" d=\"M{x:.1} {:.1}l4.5 4.5l-4.5 4.5l-4.5 -4.5z\"/>", below - 2.5)
        };
        let _ = writeln!(svg, "<g><title>{} {}</title>{drawing}</g>", ago(event.at, run.fault_at), escape(&event.message));
    }
    label(svg, *y + 17.0, server);
    let _ = writeln!(svg, "<text class=\"soft small\" x=\"14\" y=\"{:.1}\">probes of the engine</text>", *y + 33.0);
    *y = (below + if marked { 14.0 } else { 3.0 }).max(*y + 42.0);
    rule(svg, *y);
}

fn state_lane(svg: &mut String, run: &Recording, scale: Scale, y: &mut f64) {
    const HEIGHT: f64 = 18.0;
    let top = *y + 8.0;
    label(svg, top + 13.0, "state");
    let changes: Vec<(u64, &str)> = run
        .events
        .iter()
        .filter(|event| event.kind == "state_changed")
        .filter_map(|event| Some((event.at, event.text("to")?)))
        .collect();
    let mut from = (0, "normal");
    for (at, state) in changes.into_iter().chain([(u64::MAX, "")]) {
        if at > scale.from && from.0 < scale.to {
            let (left, right) = (scale.x(from.0), scale.x(at));
            let words = from.1.replace('_', " ");
            let _ = writeln!(
                svg,
                "<g><title>{}</title><rect class=\"state-{}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" rx=\"3\"/>",
                escape(&words),
                escape(from.1),
                (right - left).max(1.0)
            );
            // Roughly seven units a letter.
            if right - left > 7.0 * as_f64(words.chars().count() as u64) + 8.0 {
                let _ = writeln!(
                    svg,
                    "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    left + 6.0,
                    top + 13.0,
                    escape(&words)
                );
            }
            svg.push_str("</g>\n");
        }
        from = (at, state);
    }
    *y = top + HEIGHT + 8.0;
    rule(svg, *y);
}

fn step_lanes(svg: &mut String, run: &Recording, scale: Scale, y: &mut f64) {
    const ROW: f64 = 21.0;
    let phases = run.phases();
    if phases.spans.is_empty() {
        return;
    }
    let mut bar = |y: f64, class: &str, from: u64, to: u64, name: &str, note: &str| {
        let (left, right) = (scale.x(from), scale.x(to));
        let width = (right - left).max(2.0);
        let _ = writeln!(
            svg,
            "<g><title>{}, {}: {}</title><rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"13\" rx=\"2.5\"/>",
            escape(name),
            span(to.saturating_sub(from)),
            escape(note),
            y + 4.0
        );
        let (place, anchor) = if left + width > WIDTH - 90.0 { (left - 6.0, "end") } else { (left + width + 6.0, "start") };
        let _ = writeln!(
            svg,
            "<text class=\"small\" x=\"{place:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text></g>",
            y + 15.0,
            span(to.saturating_sub(from))
        );
    };
    let mut labels = Vec::new();
    let shown = |from: u64, to: u64| to >= scale.from && from <= scale.to;
    *y += 5.0;
    for phase in phases.spans.iter().filter(|phase| ["detect", "confirm"].contains(&phase.name) && shown(phase.from, phase.to)) {
        bar(*y, "wait", phase.from, phase.to, phase.name, "");
        labels.push((*y, phase.name.to_owned()));
        *y += ROW;
    }
    for step in phases.steps.iter().filter(|step| shown(step.from, step.to)) {
        let name = format!("{} {}", step.name.replace('_', " "), step.target);
        let class = if step.ok == Some(true) { "" } else { "failed" };
        bar(*y, class, step.from, step.to, &name, &step.message);
        labels.push((*y, name));
        *y += ROW;
    }
    for (y, name) in labels {
        // The gutter has room for some 24 letters.
        let short: String = name.trim().chars().take(24).collect();
        let _ = writeln!(svg, "<text x=\"14\" y=\"{:.1}\">{}</text>", y + 15.0, escape(&short));
    }
    *y += 6.0;
    rule(svg, *y);
}

fn fence_lane(svg: &mut String, run: &Recording, scale: Scale, y: &mut f64) {
    const STEP: f64 = 11.0;
    let levels = run.fence_levels();
    if levels.is_empty() {
        return;
    }
    let top = *y + 10.0;
    let bottom = top + 4.0 * STEP;
    let height = |level: u64| bottom - STEP * as_f64(level.min(4));
    label(svg, top + 14.0, "fence level");
    let _ = writeln!(svg, "<text class=\"soft small\" x=\"14\" y=\"{:.1}\">3: proven stopped</text>", top + 30.0);
    for level in 0..=4 {
        let y = height(level);
        let _ = writeln!(svg, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/>", WIDTH - RIGHT);
        let _ = writeln!(
            svg,
            "<text class=\"soft small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{level}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let mut path = format!("M{LEFT:.1} {:.1}", height(0));
    let mut highest = 0;
    for (at, level) in levels {
        if level > highest {
            highest = level;
            let _ = write!(path, "H{:.1}V{:.1}", scale.x(at), height(level));
        }
    }
    let _ = write!(path, "H{:.1}", WIDTH - RIGHT);
    let _ =
        writeln!(svg, "<path class=\"levelarea\" d=\"{path}V{bottom:.1}H{LEFT:.1}Z\"/>\n<path class=\"level\" d=\"{path}\"/>");
    *y = bottom + 10.0;
}
