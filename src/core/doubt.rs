//! May our own view be trusted? A paused monitor is a classic cause of needless failovers (rules 8, 9, 79).

use super::time::{Mono, Span};
use serde::{Deserialize, Serialize};

/// The engine was not run for longer than this when it should have been: we were paused, not they.
pub const GAP: Span = Span::from_millis(1000);

/// How long a doubt outlives its last cause.
const HOLD: Span = Span::from_millis(2000);

/// Why our own view is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DoubtCause {
    /// The engine itself did not run for a while.
    Gap,
    /// More than half of the checker threads are stuck, or another thread whose work a failover needs.
    StuckWorkers,
    /// More than half of all servers fell silent (refusals prove our path and do not count).
    EverythingSilent,
}

impl DoubtCause {
    /// What it is, for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            DoubtCause::Gap => "the engine itself was paused and observes afresh",
            DoubtCause::StuckWorkers => {
                "the engine's own threads are stuck: more than half of its checkers, or one that surveys, acts or watches"
            }
            DoubtCause::EverythingSilent => {
                "more than half of all servers fell silent at once: the fault is probably on this side"
            }
        }
    }

    /// The word used in events and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DoubtCause::Gap => "gap",
            DoubtCause::StuckWorkers => "stuck_workers",
            DoubtCause::EverythingSilent => "everything_silent",
        }
    }
}

/// The doubt, which decays by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    current: Option<(DoubtCause, Mono)>,
}

/// What an update of the doubt changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DoubtChange {
    /// Nothing to tell.
    None,
    /// It came up.
    Raised,
    /// It has passed.
    Cleared,
}

impl Doubt {
    /// The cause, while the doubt is up.
    #[must_use]
    pub fn cause(&self) -> Option<DoubtCause> {
        self.current.map(|(cause, _)| cause)
    }

    /// When the doubt will have decayed if nothing feeds it.
    #[must_use]
    pub fn until(&self) -> Option<Mono> {
        self.current.map(|(_, until)| until)
    }

    /// Feeds the doubt.
    pub fn raise(&mut self, cause: DoubtCause, now: Mono) -> DoubtChange {
        let fresh = self.current.is_none();
        self.current = Some((cause, now + HOLD));
        if fresh { DoubtChange::Raised } else { DoubtChange::None }
    }

    /// Lets it decay.
    pub fn decay(&mut self, now: Mono) -> DoubtChange {
        match self.current {
            Some((_, until)) if now >= until => {
                self.current = None;
                DoubtChange::Cleared
            }
            _ => DoubtChange::None,
        }
    }
}

/// More than half of at least two servers are silent.
#[must_use]
pub fn too_silent(silent: usize, servers: usize) -> bool {
    servers >= 2 && silent * 2 > servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_with_one_dead_server_is_no_doubt() {
        for (silent, servers, doubt) in
            [(0, 0, false), (1, 1, false), (1, 2, false), (2, 2, true), (1, 3, false), (2, 3, true), (2, 4, false), (3, 4, true)]
        {
            assert_eq!(too_silent(silent, servers), doubt, "{silent} of {servers}");
        }
    }

    #[test]
    fn doubt_decays_unless_fed() {
        let mut doubt = Doubt::default();
        let start = Mono::from_nanos(1);
        assert_eq!(doubt.raise(DoubtCause::Gap, start), DoubtChange::Raised);
        assert_eq!(doubt.decay(start + Span::from_millis(1999)), DoubtChange::None);
        assert_eq!(doubt.raise(DoubtCause::EverythingSilent, start + Span::from_millis(1999)), DoubtChange::None);
        assert_eq!(doubt.decay(start + Span::from_millis(2000)), DoubtChange::None);
        assert_eq!(doubt.decay(start + Span::from_millis(3999)), DoubtChange::Cleared);
        assert_eq!(doubt.cause(), None);
    }
}
