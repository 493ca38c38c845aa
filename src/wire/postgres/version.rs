//! Which versions of PostgreSQL the engine works with. A failover was seen on each of them: `make test-versions`.

/// The oldest major version: the questions that the engine asks came with it.
const OLDEST: u32 = 13;
/// The newest major version that was tried.
const NEWEST: u32 = 18;

/// What is to be said of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Suitability {
    /// It was tried, or it is not known.
    Tried,
    /// It lacks what the engine needs; a clause that says so.
    TooOld(String),
    /// It came later than this release; a clause that says so.
    Untried(String),
}

/// The first number of what a server says of itself: `15.18 (Debian …)`, `19beta1`, `9.6.24`.
pub(super) fn major(server_version: &str) -> Option<u32> {
    let digits: String = server_version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Judges what a server says of itself.
pub(crate) fn suitability(server_version: &str) -> Suitability {
    match major(server_version) {
        Some(major) if major < OLDEST => {
            Suitability::TooOld(format!("PostgreSQL {major} is not supported; {OLDEST} to {NEWEST} are"))
        }
        Some(major) if major > NEWEST => {
            Suitability::Untried(format!("this release was not tried with PostgreSQL {major}; it was with {OLDEST} to {NEWEST}"))
        }
        _ => Suitability::Tried,
    }
}

/// Why a server of this version cannot be failed over.
pub(crate) fn too_old(server_version: &str) -> Option<String> {
    match suitability(server_version) {
        Suitability::TooOld(why) => Some(why),
        Suitability::Tried | Suitability::Untried(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule 187.
    #[test]
    fn the_oldest_and_the_newest_version_are_known_by_name() {
        for old in ["12.22", "12.22 (Ubuntu 12.22-0)", "9.6.24"] {
            let why = too_old(old).unwrap_or_else(|| panic!("{old} is supported"));
            assert!(why.ends_with("is not supported; 13 to 18 are"), "{why}");
        }
        assert_eq!(too_old("12.22").as_deref(), Some("PostgreSQL 12 is not supported; 13 to 18 are"));
        for tried in ["13.0", "15.18 (Debian 15.18-0+deb12u1)", "18.6", "18beta1", "", "unknown", "99999999999999999999"] {
            assert_eq!(suitability(tried), Suitability::Tried, "{tried}");
        }
        for later in ["19beta1", "19devel", "20.1"] {
            assert!(
                matches!(suitability(later), Suitability::Untried(why) if why.contains("not tried with PostgreSQL")),
                "{later}"
            );
            assert_eq!(too_old(later), None, "{later}: a warning, no refusal");
        }
    }
}
