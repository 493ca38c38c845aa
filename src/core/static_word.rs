//! Words that are constants of the program, written down and read back with the core's state. Only a replay reads them back.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A word of the program itself. By this name, because a field that shows itself as a reference is taken for one into the input.
pub type Word = &'static str;

/// The same word for the life of the process. A replay reads a bounded number of files, so what is kept is bounded too.
fn interned(word: String) -> &'static str {
    Box::leak(word.into_boxed_str())
}

/// Writes one word.
pub fn serialize<S: Serializer>(word: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    word.serialize(serializer)
}

/// Reads one word.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<&'static str, D::Error> {
    String::deserialize(deserializer).map(interned)
}

/// A set of words.
pub mod set {
    use std::collections::BTreeSet;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the set.
    pub fn serialize<S: Serializer>(words: &BTreeSet<&'static str>, serializer: S) -> Result<S::Ok, S::Error> {
        words.serialize(serializer)
    }

    /// Reads the set.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<&'static str>, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        Ok(words.into_iter().map(super::interned).collect())
    }
}
