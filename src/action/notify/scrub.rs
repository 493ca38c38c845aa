//! No secret in what a receiver answered: some tell back what they were sent.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::config::NotifyTarget;

/// What stands for a secret.
const MASK: &str = "********";
/// A shorter part of a URL or of a header is no secret by itself.
const SHORT: usize = 6;
/// Characters of an answer that are kept.
const KEPT: usize = 300;

/// Knows the secrets of one receiver.
#[derive(Clone)]
pub(super) struct Scrubber {
    secrets: Vec<String>,
}

impl Scrubber {
    pub(super) fn of(target: &NotifyTarget) -> Scrubber {
        let mut secrets = Vec::new();
        match target {
            NotifyTarget::Webhook(webhook) => {
                let url = webhook.url.secret.expose();
                secrets.push(url.to_owned());
                let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
                let path = rest.find('/').map_or("", |at| &rest[at..]);
                secrets.push(path.to_owned());
                secrets.extend(path.split(['/', '?', '&', '=', '#']).map(str::to_owned));
                for value in webhook.headers.0.values() {
                    let value = value.secret.expose();
                    secrets.push(value.to_owned());
                    secrets.extend(value.split([' ', '=', ':']).map(str::to_owned));
                }
                let others = [&webhook.routing_key, &webhook.signing_secret];
                secrets.extend(others.into_iter().flatten().map(|secret| secret.secret.expose().to_owned()));
            }
            NotifyTarget::Email(email) => {
                if let Some(password) = &email.password {
                    let password = password.secret.expose();
                    let user = email.user.as_deref().unwrap_or_default();
                    secrets.push(password.to_owned());
                    secrets.push(STANDARD_NO_PAD.encode(password));
                    secrets.push(STANDARD.encode(format!("\0{user}\0{password}")));
                }
            }
            NotifyTarget::Command(_) => {}
        }
        // A word such as "application/json" of a header would be masked where it is no secret: that costs nothing.
        secrets.retain(|secret| secret.len() >= SHORT);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Scrubber { secrets }
    }

    /// The text in one short line, without a secret.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, MASK);
        }
        super::cut(&text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>(), KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(lines: &str) -> Scrubber {
        Scrubber::of(&crate::action::notify::tests::receiver(lines).target)
    }

    #[test]
    fn a_receiver_that_tells_everything_back_is_quoted_without_a_secret() {
        let hook = scrubber(
            "kind = \"webhook\"\nurl = \"https://hooks.example.com/services/T000/geheimnis?token=losungswort\"\n\
             signing_secret = \"unterschrift\"\nheaders = { Authorization = \"Bearer zauberwort\" }",
        );
        let said = "POST /services/T000/geheimnis?token=losungswort\r\nAuthorization: Bearer zauberwort geheimnis losungswort unterschrift";
        let clean = hook.clean(said);
        for secret in ["geheimnis", "losungswort", "zauberwort", "unterschrift", "\n"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        assert!(clean.starts_with("POST ********"), "{clean}");
        let mail = scrubber(
            "kind = \"email\"\nhost = \"mail\"\nuser = \"probe\"\npassword = \"zauberwort\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]",
        );
        let said = format!("535 no {} {}", STANDARD.encode("\0probe\0zauberwort"), STANDARD.encode("zauberwort"));
        assert_eq!(mail.clean(&said), format!("535 no {MASK} {MASK}=="));
        assert!(mail.clean(&"x".repeat(10_000)).chars().count() <= KEPT + 1);
    }
}
