//! Whether there is memory left. An allocation that fails ends the whole process, the host program included: the standard library leaves
//! no choice. So it is told while there is still a little.

use std::hint::black_box;

/// So much has to be there. A failover takes less; what takes more is the stack of a new thread.
const ENOUGH: usize = 8 * 1024 * 1024;

/// Asks the allocator for memory, touches none of it, and gives it back: a limit of the process (`ulimit -v`, `RLIMIT_AS`) is seen by
/// this; one of a container, which counts what is touched, is not.
pub(super) fn is_short() -> bool {
    let mut room: Vec<u8> = Vec::new();
    let short = room.try_reserve_exact(ENOUGH).is_err();
    black_box(&room);
    short
}
