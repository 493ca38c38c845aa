//! Enums whose values are written down as words: what is decided by them is spelled once.

/// Makes an enum, with the word for each value. Serialised, a value is its word.
macro_rules! words {
    ($(#[$about:meta])* pub enum $type:ident { $($(#[$doc:meta])* $name:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $type {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl $type {
            /// Every value.
            pub const ALL: &'static [$type] = &[$($type::$name,)*];

            /// Its word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $($type::$name => $word,)* }
            }

            /// The value of a word; `None` where there is none.
            #[must_use]
            pub fn parse(word: &str) -> Option<$type> {
                match word {
                    $($word => Some($type::$name),)*
                    _ => None,
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

pub(super) use words;
