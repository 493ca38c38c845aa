//! The next transaction number of a server, also of one in recovery, without using one up.

use crate::wire::postgres::Rows;

/// `next_xid`: the distance of the server's next number from the first ordinary one, in 32 bits: `age()` reads that counter as it is, on a
/// standby too. `snapshot_xmax`: a number of the same time that is not greater, with its epoch.
///
/// It is read before whatever else the statement asks: a server that was in recovery afterwards was so when this was read.
macro_rules! next_xid {
    () => {
        "pg_catalog.age('3'::pg_catalog.xid) AS next_xid, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) AS snapshot_xmax"
    };
}
pub(super) use next_xid;

const FIRST: u32 = 3;

/// The next number, with its epoch, by the columns of [`next_xid!`].
pub(super) fn read(rows: &Rows) -> Option<u64> {
    let distance: i32 = rows.get(0, "next_xid")?.parse().ok()?;
    let known: u64 = rows.get(0, "snapshot_xmax")?.parse().ok()?;
    whole(distance.cast_unsigned().wrapping_add(FIRST), known)
}

/// The smallest number from `known` on that ends with these 32 bits; `None` where that is too far away to be meant.
fn whole(low: u32, known: u64) -> Option<u64> {
    let mask = u64::from(u32::MAX);
    let same_epoch = known & !mask | u64::from(low);
    let next = if same_epoch < known { same_epoch.checked_add(mask + 1)? } else { same_epoch };
    (next - known < 1 << 31).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn the_epoch_is_that_of_the_snapshot_or_the_next_one() {
        let epoch = 1u64 << 32;
        for (low, known, next) in [
            (742, 742, Some(742)),
            (750, 742, Some(750)),
            (750, 7 * epoch + 742, Some(7 * epoch + 750)),
            (5, 8 * epoch - 2, Some(8 * epoch + 5)),
            // The counter is never behind what a snapshot has seen.
            (741, 742, None),
        ] {
            assert_eq!(whole(low, known), next, "{low} {known}");
        }
    }
}
