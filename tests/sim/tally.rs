//! How often each invariant was put to the test: in so many runs its premise was true. One whose premise never is holds nothing.

use std::collections::{BTreeMap, BTreeSet};

/// Every invariant, in tests/sim and tests/core/simulator.rs.
pub const INVARIANTS: &[&str] = &[
    "a_cordoned_server_is_never_promoted",
    "a_death_is_failed_over_or_a_person_is_called",
    "a_failover_ends_in_time",
    "a_healthy_primary_is_left_alone",
    "a_living_primary_is_never_left_stopped",
    "a_pause_ends_when_it_was_to_and_not_before",
    "a_person_comes_first",
    "a_person_has_a_command_that_works",
    "a_person_only_with_a_reason_that_was_true",
    "a_refused_reload_changes_nothing",
    "a_standby_is_never_given_the_traffic",
    "after_a_whole_salvage_nothing_is_lost",
    "an_acknowledged_commit_is_on_the_promoted_server_or_the_record_said_it_may_be_missing",
    "an_unfinished_failover_is_settled",
    "beyond_the_limit_a_person_is_asked",
    "candidate_within_max_lag",
    "confirmation_is_waited_for",
    "cooldown_is_kept",
    "doubt_decays",
    "every_living_standby_streams_from_the_primary",
    "every_no_has_a_name",
    "every_output_is_answered_or_given_up",
    "force_loses_nothing_without_accept_loss",
    "generation_never_falls",
    "intent_is_journaled_first",
    "it_settles",
    "moving_a_primary_that_is_well_loses_nothing",
    "never_spins",
    "never_two",
    "never_two_primaries",
    "no_failover_in_doubt",
    "no_failover_while_paused",
    "no_failover_without_journal",
    "no_gate_is_left_closed",
    "no_promotion_without_fence",
    "nothing_after_stopped",
    "nothing_is_undone_after_the_promotion",
    "numbers_add_up",
    "one_failover_in_flight",
    "one_promotion_per_generation",
    "only_candidates_are_promoted",
    "only_databases_are_failed_over",
    "only_our_own_history_is_followed",
    "promise_kept",
    "restart_grace_is_kept",
    "same_cluster",
    "sequence_without_holes",
    "silence_lasts_hang_after",
    "step_is_journaled_first",
    "the_core_never_panics",
    "the_same_seed_says_the_same",
    "the_old_log_is_read_only_behind_the_proof",
    "traffic_goes_to_the_primary_alone",
    "the_journal_has_whoever_may_acknowledge",
    "the_set_is_kept",
    "what_a_failover_left_behind_is_put_right",
    "what_the_record_says_of_a_salvage_is_true",
    "what_was_done_is_undone",
    "what_was_seen_before_a_sleep_is_seen_again",
    "where_salvage_is_required_nothing_is_lost",
    "where_the_old_disk_can_be_read_nothing_is_lost",
    "whom_most_standbys_follow_is_promoted",
    "who_is_followed_lacks_nothing_that_was_seen",
    "who_was_adopted_stays_the_primary",
    "who_was_promoted_by_hand_is_not_fenced",
];

/// In how many runs the premise of each was true.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    pub fn add(&mut self, exercised: &BTreeSet<&'static str>) {
        for name in exercised {
            *self.0.entry(name).or_default() += 1;
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// One line for each invariant, those first that were tried least.
    pub fn table(&self) -> String {
        let mut all: Vec<(u64, &str)> = INVARIANTS.iter().map(|name| (self.of(name), *name)).collect();
        all.sort_unstable();
        let lines: Vec<String> = all.iter().map(|(count, name)| format!("{count:>9}  {name}")).collect();
        format!("runs in which the premise of an invariant was true:\n{}", lines.join("\n"))
    }

    /// Those that were tried in fewer runs than this.
    pub fn below(&self, least: u64) -> Vec<String> {
        let few = INVARIANTS.iter().filter(|name| self.of(name) < least);
        few.map(|name| format!("{name} in {} runs", self.of(name))).collect()
    }

    /// Names that are not in the list.
    pub fn unlisted(&self) -> Vec<&'static str> {
        self.0.keys().copied().filter(|name| !INVARIANTS.contains(name)).collect()
    }
}
