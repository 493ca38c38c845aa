//! Values of the library's types, which may get more members: those that are named, and the defaults of the others.

/// `made!(Kind { member: value, .. })`, where every `Kind` has a default.
macro_rules! made {
    (@set $made:ident) => {};
    (@set $made:ident .. $kind:ident::default()) => {};
    (@set $made:ident $member:ident : $value:expr $(, $($more:tt)*)?) => {
        $made.$member = $value;
        $( made!(@set $made $($more)*); )?
    };
    (@set $made:ident $member:ident $(, $($more:tt)*)?) => {
        $made.$member = $member;
        $( made!(@set $made $($more)*); )?
    };
    ($kind:ident { $($members:tt)* }) => {{
        let mut made = $kind::default();
        made!(@set made $($members)*);
        made
    }};
}
pub(crate) use made;
