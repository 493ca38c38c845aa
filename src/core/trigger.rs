//! The public state of a service's trigger, and which changes of it are possible.

use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $word:literal -> [$($to:ident),*],)*) => {
        /// The state of a service.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum State {
            $($(#[$doc])* $name,)*
        }

        impl State {
            /// Every state.
            pub const ALL: &'static [State] = &[$(State::$name,)*];

            /// The word used in events, status and the command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(State::$name => $word,)* }
            }

            /// The states that can follow.
            #[must_use]
            pub fn followers(self) -> &'static [State] {
                match self { $(State::$name => &[$(State::$to),*],)* }
            }
        }
    };
}

states! {
    /// All is well.
    Normal = "normal" -> [Degraded, Failing, FailoverInProgress, ManualIntervention],
    /// Something failed, not enough to act on; or the primary is well, and a standby or the route is not.
    Degraded = "degraded" -> [Normal, Failing, FailoverInProgress, ManualIntervention],
    /// The threshold is reached: fresh evidence is being gathered, or a named refusal stands in the way.
    Failing = "failing" -> [Normal, Degraded, FailoverInProgress, ManualIntervention],
    /// A plan is being carried out.
    FailoverInProgress = "failover_in_progress" -> [FailedOver, ManualIntervention, Degraded],
    /// A failover succeeded and its cooldown runs, or no standby is ready yet.
    FailedOver = "failed_over" -> [Normal, FailoverInProgress, ManualIntervention],
    /// A person has to look before anything is done automatically again.
    ManualIntervention = "manual_intervention" -> [Normal, FailoverInProgress],
}

impl State {
    /// The state machine as a Mermaid diagram: the crate's documentation carries it and a test compares the two.
    #[must_use]
    pub fn diagram() -> String {
        let mut lines = vec!["stateDiagram-v2".to_owned(), format!("    [*] --> {}", State::Normal.as_str())];
        for state in State::ALL {
            for follower in state.followers() {
                lines.push(format!("    {} --> {}", state.as_str(), follower.as_str()));
            }
        }
        lines.join("\n")
    }
}

/// Failed observations of the primary within the window, each with its check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    failures: VecDeque<(Mono, u16)>,
}

/// More failures than this are not kept: the threshold is far below.
const KEPT: usize = 256;

impl Window {
    /// A failed observation of a check.
    pub fn failed(&mut self, now: Mono, check: u16) {
        if self.failures.len() == KEPT {
            self.failures.pop_front();
        }
        self.failures.push_back((now, check));
    }

    /// A success of a check forgives that check's failures.
    pub fn forgive(&mut self, check: u16) {
        self.failures.retain(|(_, failed)| *failed != check);
    }

    /// Drops what lies before the window.
    pub fn slide(&mut self, now: Mono, window: Span) {
        while self.failures.front().is_some_and(|(at, _)| now.since(*at) > window) {
            self.failures.pop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.failures.clear();
    }

    /// Failed observations in the window.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    /// When the oldest failure leaves the window.
    #[must_use]
    pub fn next(&self, window: Span) -> Option<Mono> {
        self.failures.front().map(|(at, _)| *at + window + Span::from_nanos(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_an_exit_and_no_state_follows_itself() {
        for state in State::ALL {
            assert!(!state.followers().is_empty(), "{} has no exit", state.as_str());
            assert!(!state.followers().contains(state));
        }
    }

    #[test]
    fn the_window_counts_across_checks_and_forgives_by_check() {
        let at = |millis: u64| Mono::from_nanos(millis * 1_000_000);
        let mut window = Window::default();
        window.failed(at(0), 0);
        window.failed(at(10), 1);
        window.failed(at(20), 0);
        assert_eq!(window.count(), 3);
        window.forgive(0);
        assert_eq!(window.count(), 1);
        window.slide(at(10) + Span::from_millis(60_000), Span::from_millis(60_000));
        assert_eq!(window.count(), 1);
        window.slide(at(11) + Span::from_millis(60_000), Span::from_millis(60_000));
        assert_eq!(window.count(), 0);
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = Window::default();
        for n in 0..10_000 {
            window.failed(Mono::from_nanos(n), 0);
        }
        assert_eq!(window.count() as usize, KEPT);
    }
}
