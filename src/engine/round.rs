//! Every check once, without an engine: `failover check`.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::unbounded;

use crate::check::Context;
use crate::core::id::{RunId, ServerId, ServiceId};
use crate::core::input::Input;
use crate::core::observation::Finding;
use crate::wire::deadline::Deadline;

use super::Shell;
use super::builder::{self, Means, Parts};
use super::error::EngineError;
use super::pool::{Job, JobKind, Pool};
use super::resolver::Resolver;
use super::status::{self, CheckReport};
use super::threads::Threads;

/// Checks at the same moment.
const AT_ONCE: usize = 64;
/// After a check's own deadline it is waited for this long.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn check_once(shell: &Shell) -> Vec<CheckReport> {
    let threads = Threads::default();
    let resolver = Resolver::default();
    let means = Means {
        clock: shell.clock,
        addresses: Arc::new(resolver.clone()),
        host: Arc::clone(&shell.host),
        // Not the name of an engine: a running one must not take this for a rival.
        application_name: "failover check".to_owned(),
    };
    let old = shell.parts();
    let Ok(parts) = builder::build(&old.config, &means) else { return Vec::new() };
    let all: Vec<(usize, usize)> = parts
        .services
        .iter()
        .enumerate()
        .flat_map(|(service, part)| (0..part.checks.len()).map(move |check| (service, check)))
        .collect();
    let (findings, why) = match run(shell, &parts, &all, &threads, &resolver) {
        Ok(findings) => (findings, "the check did not come back".to_owned()),
        Err(error) => (vec![None; all.len()], error.to_string()),
    };
    resolver.close();
    // A function of the host program may never come back; then its thread is left to it.
    let _ = threads.join(Deadline::after(PATIENCE));
    let report = |((service, check), finding): (&(usize, usize), Option<Finding>)| {
        status::check_report(&parts.model.services[*service], *check, finding.as_ref(), &why, &shell.clock)
    };
    all.iter().zip(findings).map(report).collect()
}

fn run(
    shell: &Shell,
    parts: &Parts,
    all: &[(usize, usize)],
    threads: &Threads,
    resolver: &Resolver,
) -> Result<Vec<Option<Finding>>, EngineError> {
    let clock = shell.clock;
    resolver.learn(parts.hosts());
    resolver.start(threads)?;
    // One answer for each check: bounded by their number.
    let (sender, receiver) = unbounded();
    let sink = move |input| drop(sender.send(input));
    let workers = all.len().clamp(1, AT_ONCE);
    let pool = Pool::start(threads, "check", workers, workers, clock, sink)?;
    let mut findings = vec![None; all.len()];
    for (round, batch) in all.chunks(AT_ONCE).enumerate() {
        let first = round * AT_ONCE;
        let mut longest = Duration::ZERO;
        for (place, (service, check)) in batch.iter().enumerate() {
            let timeout = Duration::from(parts.model.services[*service].checks[*check].timeout);
            longest = longest.max(timeout);
            let run = RunId((first + place) as u64);
            let (check, addresses) = (Arc::clone(&parts.services[*service].checks[*check].check), resolver.clone());
            pool.submit(Job {
                run,
                kind: JobKind::Check,
                target: (ServiceId(0), ServerId(0)),
                deadline: Deadline::after(timeout),
                work: Box::new(move |deadline, cancel| {
                    let finding = check.run(&Context { deadline, cancel, clock: &clock, sample: true, addresses: &addresses });
                    Input::CheckFinished { run, finding }
                }),
            });
        }
        let patience = Deadline::after(longest + PATIENCE);
        while findings[first..first + batch.len()].iter().any(Option::is_none) {
            let Ok(input) = receiver.recv_deadline(patience.instant()) else { break };
            if let Input::CheckFinished { run, finding } = input
                && let Some(place) = usize::try_from(run.0).ok().and_then(|place| findings.get_mut(place))
            {
                *place = Some(finding);
            }
        }
    }
    pool.close();
    Ok(findings)
}
