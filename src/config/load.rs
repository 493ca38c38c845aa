//! How many checks are under way at the same moment.

use super::model::Root;

/// What a check of a healthy server may take, in seconds.
const HEALTHY: f64 = 0.02;
/// More threads than this are of no use to anybody.
pub(crate) const MOST_WORKERS: usize = 1_024;
/// So many threads that mostly wait fit a processor.
const OF_A_PROCESSOR: usize = 128;

/// The load of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Load {
    /// Checks.
    pub(crate) checks: usize,
    /// A tenth of the servers, at least one.
    pub(crate) hanging: usize,
    /// Checks that are under way at a moment while those do not answer at all.
    pub(crate) busy: f64,
}

impl Load {
    pub(crate) fn of(root: &Root) -> Load {
        let mut targets: Vec<(f64, f64)> = Vec::new();
        let mut checks = 0;
        for service in &root.services {
            let of_service = service.all_checks();
            checks += of_service.len();
            for server in &service.servers {
                let of_server = of_service.iter().filter(|check| check.server == server.name);
                let busy = of_server.fold((0.0, 0.0), |(hung, well), check| {
                    let interval = check.timing.interval.as_secs_f64().max(0.001);
                    // Single-flight: a hung check holds one worker at most.
                    (hung + (check.timing.timeout.as_secs_f64() / interval).min(1.0), well + (HEALTHY / interval).min(1.0))
                });
                targets.push(busy);
            }
        }
        targets.sort_by(|left, right| right.0.total_cmp(&left.0));
        let hanging = targets.len().div_ceil(10);
        let hung = targets.iter().take(hanging).map(|(hung, _)| hung);
        let busy = hung.chain(targets.iter().skip(hanging).map(|(_, well)| well)).sum();
        Load { checks, hanging, busy }
    }

    /// As many workers as that keeps busy, and a quarter more.
    pub(crate) fn with_reserve(&self) -> usize {
        // A count of checks at most, so it fits.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded and not below zero")]
        let wanted = (self.busy * 1.25).ceil().clamp(0.0, 65_535.0) as usize;
        wanted
    }
}

/// How many workers this machine has room for.
pub(crate) fn room() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    processors.saturating_mul(OF_A_PROCESSOR).min(MOST_WORKERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::word::Workers;

    #[test]
    fn auto_fits_the_load_and_the_machine() {
        let count = |checks, busy, most| Workers::Auto.count(&Load { checks, hanging: 1, busy }, most);
        assert_eq!(count(0, 0.0, 256), 1);
        assert_eq!(count(10, 20.0, 256), 10, "one for each check is enough");
        assert_eq!(count(3_000, 10.0, 256), 64);
        assert_eq!(count(3_000, 160.0, 256), 200);
        assert_eq!(count(3_000, 800.0, 256), 256, "as many as fit the machine");
        assert_eq!(count(3_000, 800.0, 8), 64, "so many fit any");
        assert_eq!(Workers::Exactly(7).count(&Load { checks: 3_000, hanging: 1, busy: 800.0 }, 256), 7);
    }
}
