//! Who gives a command. A daemon knows the user behind each connection, and the event of a command tells it.

use std::cell::RefCell;

/// Longer names are cut.
const LONGEST: usize = 120;

thread_local! {
    static CALLER: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Commands that `f` gives to an engine on this thread are attributed to `who`, such as `uid 1000 (alice)`, in the message of
/// `operator_command` and in its field `by`. A name is one line of at most 120 characters. The rest is cut, and control
/// characters are removed.
pub fn on_behalf_of<T>(who: &str, f: impl FnOnce() -> T) -> T {
    struct Restore(Option<String>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CALLER.with_borrow_mut(|caller| *caller = before);
        }
    }
    let who: String = who.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    // Put back also when `f` panics.
    let _restore = Restore(CALLER.replace(Some(who)));
    f()
}

/// Who gives commands on this thread now.
pub(super) fn present() -> Option<String> {
    CALLER.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_is_who_it_was_before() {
        assert_eq!(present(), None);
        let inner = on_behalf_of("uid 1", || (on_behalf_of("uid\n2", present), present()));
        assert_eq!(inner, (Some("uid2".to_owned()), Some("uid 1".to_owned())));
        let panicked = std::panic::catch_unwind(|| on_behalf_of("uid 3", || panic!("it breaks")));
        assert!(panicked.is_err());
        assert_eq!(present(), None);
    }
}
