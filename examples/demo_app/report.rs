//! The report: one HTML file without anything from outside, with each side of the run as its clients saw it.

use std::fmt::Write as _;
use std::time::Duration;

use super::parts::chart::{self, Words};
use super::parts::page::{Windows, environment, events, evidence, fill, findings, tile};
use super::parts::text::{escape, span};
use super::support::app::Fault;
use super::support::app::judge::Outcome;
use super::support::recording::FindingLine;

const ANSWERS: Words = Words { actor: "client", pace: "a request every 5 ms", many: "answers", one: "an answer", fence: false };

/// One side of a comparison.
pub struct Side<'a> {
    /// Who took care.
    pub title: &'a str,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// What was judged.
    pub findings: &'a [FindingLine],
}

/// Everything that is in the report.
pub struct Page<'a> {
    /// What was done.
    pub fault: Fault,
    /// The engine's run first.
    pub sides: Vec<Side<'a>>,
    /// The engine's configuration, without secrets.
    pub config: &'a str,
    /// Where it ran.
    pub environment: &'a [(String, String)],
}

impl Page<'_> {
    /// The whole page.
    pub fn render(&self) -> String {
        let engine = &self.sides[0];
        let recordings = engine.outcome.recordings();
        let first = recordings.first().cloned().unwrap_or_default();
        fill(
            include_str!("report.html"),
            &[
                ("title", escape(&headline(engine.outcome))),
                ("style", include_str!("../report/report.css").trim_end().to_owned()),
                ("header", self.header()),
                ("tiles", self.sides.iter().map(tiles).collect()),
                ("sides", self.sides.iter().map(drawn).collect()),
                ("findings", self.sides.iter().map(judged).collect()),
                ("values", values(engine.outcome)),
                ("evidence", evidence(&first)),
                ("events", events(&first)),
                ("config", escape(self.config)),
                ("environment", environment(self.environment)),
            ],
        )
    }

    fn header(&self) -> String {
        let engine = &self.sides[0];
        let good = engine.findings.iter().all(|finding| finding.ok);
        let (class, word) = if good { ("good", "as it should be") } else { ("bad", "not as it should be") };
        format!(
            "<header>\n<p class=\"verdict {class}\">{word}</p>\n<h1>{}</h1>\n<p class=\"lead\">Fault: {} · two servers, two HAProxy, a name · {} · a client for each HAProxy asks every 5 ms</p>\n</header>",
            escape(&headline(engine.outcome)),
            escape(self.fault.deed()),
            escape(engine.outcome.when.split('.').next().unwrap_or_default())
        )
    }
}

fn headline(outcome: &Outcome) -> String {
    let said = |kind: &str| outcome.events.iter().any(|event| event.kind == kind);
    let end = match outcome.events.iter().find(|event| event.kind == "failover_completed") {
        Some(event) => format!("{} took over", event.server.as_deref().unwrap_or("a standby")),
        None if said("rolled_back") => "everything went back, and a person was called".to_owned(),
        None if said("manual_intervention") => "a person was called".to_owned(),
        None => "nothing was moved".to_owned(),
    };
    format!("{}: {end}", outcome.fault.deed())
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn tiles(side: &Side<'_>) -> String {
    let (failed, longest) = side.outcome.worst();
    let longest = longest.map_or_else(|| "–".to_owned(), |longest| span(nanos(longest)));
    let mut list = tile("main", &longest, &format!("{}: the longest that a client had no good answer", side.title));
    list.push_str(&tile(if failed == 0 { "calm" } else { "" }, &failed.to_string(), "requests failed, of both clients together"));
    for (name, run) in side.outcome.balancers.iter().zip(side.outcome.recordings()) {
        let asked = run.attempts.iter().filter(|attempt| attempt.sent >= run.fault_at).count();
        list.push_str(&tile("", &asked.to_string(), &format!("requests through {name} since the fault")));
    }
    format!("<div class=\"tiles\">\n{list}</div>\n")
}

fn drawn(side: &Side<'_>) -> String {
    let mut page = String::new();
    let runs = side.outcome.recordings();
    // What the engine did decides what is looked at closely, also at the other client.
    let window = runs.first().map(|run| Windows::of(run, run.outage()).incident);
    for (name, run) in side.outcome.balancers.iter().zip(&runs) {
        let outage = run.outage();
        let window = window.unwrap_or_else(|| Windows::of(run, outage).incident);
        let _ = write!(
            page,
            "<section>\n<h2>{}: the client of {}</h2>\n{}\n{}\n</section>\n",
            escape(side.title),
            escape(name),
            chart::overview(run, outage, window, &ANSWERS),
            chart::detail(run, outage, window, &ANSWERS)
        );
        if let Some(zoom) = Windows::of(run, outage).zoom {
            let _ = write!(
                page,
                "<section>\n<h2>{}: from the confirmation on</h2>\n{}\n</section>\n",
                escape(side.title),
                chart::detail(run, outage, zoom, &ANSWERS)
            );
        }
    }
    page
}

fn judged(side: &Side<'_>) -> String {
    format!("<h3>{}</h3>\n{}\n", escape(side.title), findings(side.findings))
}

/// State and weight of every server on every load balancer, before and after.
fn values(outcome: &Outcome) -> String {
    let mut table = String::from("<div class=\"scroll\"><table>\n<tr><th>before</th><th>after</th></tr>\n");
    for (before, after) in outcome.before.iter().zip(&outcome.after) {
        let class = if before == after { "" } else { " class=\"k\"" };
        let _ = writeln!(table, "<tr><td>{}</td><td{class}>{}</td></tr>", escape(before), escape(after));
    }
    let _ = writeln!(table, "<tr><td>app.example.test</td><td>{}</td></tr>", escape(&outcome.name));
    table.push_str("</table></div>");
    table
}
