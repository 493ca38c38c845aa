//! URLs without what is secret in them. A URL is no place for a secret, but an argument of a command or a path of a webhook often has one.

use std::borrow::Cow;
use std::fmt;

use super::secret_source::MASK;

/// Names of parameters whose values are secrets, or parts of such names.
const MARKS: [&str; 13] =
    ["password", "passwd", "passphrase", "pwd", "secret", "token", "auth", "key", "sig", "credential", "session", "jwt", "sas"];
/// What looks random is a secret from this length on, whatever its name.
const LONG: usize = 16;

/// A text with the user, the password and the secret parameters of every URL in it masked.
pub(super) fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'')).unwrap_or(after.len());
        url_without_secrets(&after[..end], &mut shown);
        rest = &after[end..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// What stands behind `://`.
fn url_without_secrets(url: &str, shown: &mut String) {
    let (place, query) = url.split_once(['?', '#']).map_or((url, None), |(place, query)| (place, Some(query)));
    let authority = place.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            shown.push_str(MASK);
            shown.push('@');
            shown.push_str(host);
            shown.push_str(&place[user.len() + 1 + host.len()..]);
        }
        None => shown.push_str(place),
    }
    let Some(query) = query else { return };
    shown.push_str(&url[place.len()..=place.len()]);
    for piece in query.split_inclusive(['&', ';']) {
        let one = piece.trim_end_matches(['&', ';']);
        match one.split_once('=') {
            Some((name, value)) if !value.is_empty() && (is_secret(name) || is_random(value)) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(MASK);
            }
            None if is_random(one) => shown.push_str(MASK),
            _ => shown.push_str(one),
        }
        shown.push_str(&piece[one.len()..]);
    }
}

/// A value as `Debug` shows it, with its URLs masked.
pub(super) struct Shown<'a, T>(pub(super) &'a T);

impl<T: fmt::Debug> fmt::Debug for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() { format!("{:#?}", self.0) } else { format!("{:?}", self.0) };
        f.write_str(&without_secrets(&text))
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    MARKS.iter().any(|mark| name.contains(mark))
}

fn is_random(value: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| value.bytes().any(|byte| kind(&byte));
    value.len() >= LONG && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_secret_parameters_are_masked_and_nothing_else() {
        for (given, shown) in [
            ("http://host/health", "http://host/health"),
            ("http://host/health?full=1&level=3", "http://host/health?full=1&level=3"),
            ("https://user:geheim@host:8443/x?y=1", "https://********@host:8443/x?y=1"),
            ("https://geheim@host", "https://********@host"),
            ("https://a:b@c@host/", "https://********@host/"),
            ("http://host/@home?at=a@b", "http://host/@home?at=a@b"),
            ("http://host/?token=geheim&full=1", "http://host/?token=********&full=1"),
            ("http://host/?full=1&X-Api-Key=geheim", "http://host/?full=1&X-Api-Key=********"),
            ("http://host/?a=1;sig=geheim#top", "http://host/?a=1;sig=********"),
            ("http://host/#access_token=geheim", "http://host/#access_token=********"),
            ("http://host/?id=3f9a77c2b1d04e65aa12", "http://host/?id=********"),
            ("http://host/?3f9a77c2b1d04e65aa12", "http://host/?********"),
            ("http://host/?token=", "http://host/?token="),
            (
                "fetch \"https://u:p@one/\" https://two/?pwd=x now",
                "fetch \"https://********@one/\" https://two/?pwd=******** now",
            ),
            ("--token=geheim", "--token=geheim"),
            ("://", "://"),
        ] {
            assert_eq!(without_secrets(given), shown, "{given}");
        }
    }
}
