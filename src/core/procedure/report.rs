//! What an action brought, in words and fields.

use crate::candidate;
use crate::effects::text;
use crate::event::Field;
use crate::id::ServerId;
use crate::output::{Failure, Repointed, Report};
use crate::rejoin::Rewound;
use crate::salvage::{Salvaged, counted};
use crate::sample::{FenceLevel, FenceReport};
use crate::service::Service;

impl Service {
    /// Whether it did what it should, one line about it, and its fields. `require`: the fence level that is asked for.
    pub(crate) fn describe_report(&self, report: &Report, require: FenceLevel) -> (bool, String, Vec<(&'static str, Field)>) {
        match report {
            Report::TrafficInPart { message } | Report::TrafficFull { message } => (false, message.clone(), Vec::new()),
            Report::Done { message } | Report::Traffic { message } | Report::SlotMade { message, .. } => {
                (true, message.clone(), Vec::new())
            }
            Report::Host(word) | Report::HostShutDown { word, .. } => (true, word.message.clone(), Vec::new()),
            Report::Route(instances) | Report::Gate { instances, .. } => {
                let each: Vec<String> = instances
                    .iter()
                    .map(|instance| match &instance.result {
                        Ok(done) => format!("{}: {done}", instance.name),
                        Err(why) => format!("{} FAILED: {why}", instance.name),
                    })
                    .collect();
                (instances.iter().all(|instance| instance.result.is_ok()), each.join("; "), Vec::new())
            }
            Report::Fence(report) => describe_fence(report, require),
            Report::Positions(positions) => {
                let each: Vec<String> = positions
                    .iter()
                    .map(|position| match &position.sample {
                        Ok(sample) => format!(
                            "{} at {}{}",
                            self.server_name(position.server),
                            candidate::position(sample).map_or_else(|| "no position".to_owned(), |lsn| lsn.to_string()),
                            if position.settled { "" } else { " (still moving)" }
                        ),
                        Err(why) => format!("{} cannot be asked: {why}", self.server_name(position.server)),
                    })
                    .collect();
                (true, each.join("; "), Vec::new())
            }
            Report::History { timeline, .. } => (true, format!("the history of timeline {timeline}"), Vec::new()),
            Report::Receipt(receipt) => {
                let (ok, message) = self.describe_receipt(receipt);
                (ok, message, Vec::new())
            }
            Report::Salvaged(salvaged) => describe_salvaged(salvaged),
            Report::Repointed(each) => {
                let (ok, message) = self.describe_repointed(each);
                (ok, message, Vec::new())
            }
            Report::Divergence(divergence) => (true, divergence.sentence(), Vec::new()),
            Report::Rewind { state, message } => (*state != Rewound::Failed, message.clone(), Vec::new()),
            Report::Copy(report) => {
                let (ok, message) = report.sentence();
                (ok, message, Vec::new())
            }
            Report::Promoted { timeline, flush, message, .. } => {
                (true, message.clone(), vec![("timeline", Field::Int(u64::from(*timeline))), ("flush", text(flush.to_string()))])
            }
            Report::Role { in_recovery, timeline, .. } => (
                true,
                format!("{} on timeline {timeline}", if *in_recovery { "still in recovery" } else { "writable" }),
                Vec::new(),
            ),
            Report::Written { flush, commits, message } => {
                (true, message.clone(), vec![("flush", text(flush.to_string())), ("commits", Field::Bool(*commits))])
            }
        }
    }

    fn describe_repointed(&self, each: &[(ServerId, Result<Repointed, Failure>)]) -> (bool, String) {
        let line = |(standby, result): &(ServerId, Result<Repointed, Failure>)| match result {
            Ok(repointed) => format!("{}: {}", self.server_name(*standby), repointed.message),
            Err(failure) => format!("{} FAILED: {}", self.server_name(*standby), failure.message),
        };
        let lines: Vec<String> = each.iter().map(line).collect();
        (each.iter().all(|(_, result)| result.is_ok()), lines.join("; "))
    }
}

/// What was missing, and what of it is there now. It did what it should where nothing is left.
fn describe_salvaged(salvaged: &Salvaged) -> (bool, String, Vec<(&'static str, Field)>) {
    let Salvaged { end, missing, salvaged: there, commits, .. } = salvaged;
    let left = salvaged.left();
    let counted = commits.map(|commits| format!(", {}", counted(commits))).unwrap_or_default();
    let mut message = match (missing, left) {
        (0, _) => format!("nothing is missing: the log of the old primary ends at {end}"),
        (_, 0) => format!("{missing} bytes of log were missing up to {end}, all of them are replayed{counted}"),
        _ => format!(
            "{missing} bytes of log were missing up to {end}, {there} of them are replayed{counted}, {left} are still missing"
        ),
    };
    if let Some(why) = &salvaged.failed {
        message = format!("{message}: {why}");
    }
    let mut more = vec![
        ("log_end", text(end.to_string())),
        ("missing_bytes", Field::Int(*missing)),
        ("salvaged_bytes", Field::Int(*there)),
        ("still_missing_bytes", Field::Int(left)),
    ];
    more.extend(commits.map(|commits| ("salvaged_commits", Field::Int(commits))));
    (left == 0 && salvaged.failed.is_none(), message, more)
}

/// What was proven of a fence, and by which rungs.
fn describe_fence(report: &FenceReport, require: FenceLevel) -> (bool, String, Vec<(&'static str, Field)>) {
    let rungs = report
        .rungs
        .iter()
        .map(|rung| {
            Field::Group(vec![
                ("name", text(rung.name.as_str())),
                ("ok", Field::Bool(rung.ok)),
                ("took_ms", Field::Span(rung.took)),
                ("note", text(&rung.note)),
            ])
        })
        .collect();
    let met = report.level >= require;
    (
        met,
        format!("level {} proven: {}", report.level.number(), report.proof),
        vec![
            ("fence_level", Field::Int(u64::from(report.level.number()))),
            ("guard_placed", Field::Bool(report.guard_placed)),
            ("rungs", Field::List(rungs)),
            ("proof", text(&report.proof)),
        ],
    )
}
