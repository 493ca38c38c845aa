//! `synchronous_standby_names`, read as the server reads it: how many acknowledgements a commit waits for, and from whom.

use super::id::ServerId;
use serde::{Deserialize, Serialize};

/// How the standbys are chosen among those that are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// The first so many that are connected, in the order of the list. Between two samples that can have been any of them.
    First,
    /// Any so many.
    Any,
}

/// The setting, where it is not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRule {
    /// By which method.
    pub method: Method,
    /// Acknowledgements that a commit waits for (W).
    pub required: u32,
    /// The names, in lower case: the server compares them without regard to case.
    pub names: Vec<String>,
    /// `*` is among them: whoever is connected may acknowledge.
    pub everybody: bool,
}

impl SyncRule {
    /// Whoever replicates under this name, in lower case, may acknowledge.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.everybody || self.names.iter().any(|named| named == name)
    }
}

/// Whose acknowledgement commits wait for: the rule, and who that is among the servers that are configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledging {
    /// The setting.
    pub rule: SyncRule,
    /// How many may acknowledge (N): those who are named, each name as often as it is used, connected or not. A name that no configured
    /// server uses is one that never answers.
    pub size: u32,
    /// The configured servers among them.
    pub members: Vec<ServerId>,
    /// `synchronous_commit = remote_write`: what was acknowledged is certain to be there only while the standby's postmaster lives.
    pub only_written: bool,
}

impl Acknowledging {
    /// Commits wait, and whose acknowledgements they wait for cannot be known: nobody's answer is enough.
    #[must_use]
    pub fn unknown() -> Acknowledging {
        let rule = SyncRule { method: Method::Any, required: 1, names: Vec::new(), everybody: false };
        Acknowledging { rule, size: 1, members: Vec::new(), only_written: false }
    }

    /// So many of them have to say how far they are before it is certain that the furthest of these has every acknowledged commit: N - W
    /// + 1 where any W acknowledge. Where the first W of those who are connected do, anybody may have been among them, so all.
    #[must_use]
    pub fn needed(&self) -> u32 {
        if self.size < self.rule.required {
            // So many are not there: no commit is acknowledged at all.
            return 0;
        }
        match self.rule.method {
            Method::Any => self.size.saturating_sub(self.rule.required).saturating_add(1),
            Method::First => self.size,
        }
    }
}

/// What the setting says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncSetting {
    /// It is empty: no commit waits for a standby.
    Empty,
    /// Commits wait.
    Rule(SyncRule),
    /// It is not what this version of the library knows: nothing is known of who acknowledges.
    Unreadable,
}

impl SyncSetting {
    /// Reads the setting: `FIRST 2 (a, b)`, `ANY 1 (a, b)`, `1 (a, b)`, `a, b`, `*`, with names quoted or not.
    #[must_use]
    pub fn parse(text: &str) -> SyncSetting {
        let Some(words) = words(text) else { return SyncSetting::Unreadable };
        if words.is_empty() {
            return SyncSetting::Empty;
        }
        rule(&words).map_or(SyncSetting::Unreadable, SyncSetting::Rule)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Comma,
}

/// A setting is at most so long: the server has no limit, a message from it has.
const LONGEST: usize = 64 * 1024;

fn words(text: &str) -> Option<Vec<Token>> {
    if text.len() > LONGEST {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&next) = rest.peek() {
        match next {
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => {
                rest.next();
            }
            '(' | ')' | ',' => {
                rest.next();
                tokens.push(match next {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Comma,
                });
            }
            '"' => {
                rest.next();
                tokens.push(Token::Quoted(quoted(&mut rest)?));
            }
            _ => {
                let mut word = String::new();
                while let Some(&letter) =
                    rest.peek().filter(|letter| !letter.is_ascii_whitespace() && !"(),\"".contains(**letter))
                {
                    word.push(letter);
                    rest.next();
                }
                // A vertical tab is no white space of Rust's ASCII, but is one of the server's.
                let word = word.trim_matches('\u{b}').to_owned();
                if word.is_empty() {
                    return None;
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

/// What stands before the closing quote; two quotes are one.
fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut name = String::new();
    loop {
        match rest.next()? {
            '"' if rest.peek() == Some(&'"') => {
                rest.next();
                name.push('"');
            }
            '"' => return Some(name),
            letter => name.push(letter),
        }
    }
}

fn rule(tokens: &[Token]) -> Option<SyncRule> {
    let keyword = |token: &Token, word: &str| matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word));
    let number = |token: &Token| match token {
        Token::Word(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u32>().ok().filter(|n| *n > 0),
        _ => None,
    };
    let (method, tokens) = match tokens {
        [first, rest @ ..] if keyword(first, "ANY") && rest.get(1) == Some(&Token::Open) => (Method::Any, rest),
        [first, rest @ ..] if keyword(first, "FIRST") && rest.get(1) == Some(&Token::Open) => (Method::First, rest),
        _ => (Method::First, tokens),
    };
    let (required, list) = match tokens {
        [count, Token::Open, list @ .., Token::Close] => (number(count)?, list),
        list => (1, list),
    };
    let mut names = Vec::new();
    for (at, token) in list.iter().enumerate() {
        match token {
            Token::Word(name) | Token::Quoted(name) if at % 2 == 0 => names.push(name.to_lowercase()),
            Token::Comma if at % 2 == 1 => {}
            _ => return None,
        }
    }
    if names.is_empty() || list.len() % 2 == 0 {
        return None;
    }
    let everybody = names.iter().any(|name| name == "*");
    Some(SyncRule { method, required, names, everybody })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Method, u32, Vec<String>)> {
        match SyncSetting::parse(text) {
            SyncSetting::Rule(rule) => Some((rule.method, rule.required, rule.names)),
            _ => None,
        }
    }

    /// Nobody is said to acknowledge by a setting that was read wrongly.
    #[test]
    fn what_the_server_would_not_take_is_unreadable() {
        for text in ["ANY +2 (db2, db3)", "db2 db3", "db2,,db3", ", db2", "ANY x (db2)"] {
            assert_eq!(SyncSetting::parse(text), SyncSetting::Unreadable, "{text}");
        }
        let long = |tokens: usize| SyncSetting::parse(&vec!["a"; tokens].join(","));
        assert!(matches!(long(1_000), SyncSetting::Rule(_)));
        assert_eq!(long(40_000), SyncSetting::Unreadable, "longer than any that is read");
    }

    #[test]
    fn the_setting_is_read_as_the_server_reads_it() {
        use Method::{Any, First};
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (text, method, required, list) in [
            ("db2", First, 1, names(&["db2"])),
            ("db2, db3", First, 1, names(&["db2", "db3"])),
            ("*", First, 1, names(&["*"])),
            ("2 (db2, db3)", First, 2, names(&["db2", "db3"])),
            ("FIRST 2 (db2,db3 , db4)", First, 2, names(&["db2", "db3", "db4"])),
            ("any 1(\"db-2\",DB3)", Any, 1, names(&["db-2", "db3"])),
            ("ANY 1 (*)", Any, 1, names(&["*"])),
            ("\"with \"\"quotes\"\"\"", First, 1, names(&["with \"quotes\""])),
            ("any", First, 1, names(&["any"])),
            ("first, any", First, 1, names(&["first", "any"])),
            ("\"any\"", First, 1, names(&["any"])),
        ] {
            assert_eq!(read(text), Some((method, required, list)), "{text}");
        }
    }

    #[test]
    fn empty_is_asynchronous_and_what_is_unknown_is_not() {
        assert_eq!(SyncSetting::parse(""), SyncSetting::Empty);
        assert_eq!(SyncSetting::parse("  \n"), SyncSetting::Empty);
        for text in ["ANY 0 (a)", "ANY 1 ()", "ANY 1 (a", "a,,b", "a b", ",", "\"open", "ANY x (a)", "3 (a,)", "(a)"] {
            assert_eq!(SyncSetting::parse(text), SyncSetting::Unreadable, "{text}");
        }
    }

    #[test]
    fn a_rule_has_those_it_names_and_with_a_star_everybody() {
        let rule = |text| match SyncSetting::parse(text) {
            SyncSetting::Rule(rule) => rule,
            other => panic!("{other:?}"),
        };
        let (named, all) = (rule("FIRST 1 (DB2, db3)"), rule("ANY 1 (*)"));
        assert!(named.has("db2") && named.has("db3") && !named.has("db4"));
        assert!(all.has("db4"));
    }

    #[test]
    fn a_star_is_everybody() {
        assert!(matches!(SyncSetting::parse("ANY 1 (a, *)"), SyncSetting::Rule(SyncRule { everybody: true, .. })));
        assert!(matches!(SyncSetting::parse("a"), SyncSetting::Rule(SyncRule { everybody: false, .. })));
    }
}
