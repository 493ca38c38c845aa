//! Signals: none of the engine's threads takes one, and a stop can be asked for from a signal handler.

use std::mem::MaybeUninit;

/// While it lives, threads that are made block every signal but those of a fault of their own; then the caller's mask is back.
pub(super) struct Blocked(libc::sigset_t);

impl Blocked {
    pub(super) fn new() -> Blocked {
        // A thread that dies of its own fault must die of it: a blocked SIGSEGV would loop or end the process without a core.
        const OWN: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are written by the calls before they are read; the calls have no other requirement.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in OWN {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            libc::sigemptyset(before.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Blocked(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `pthread_sigmask`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}
