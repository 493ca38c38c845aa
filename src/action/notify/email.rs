//! A mail: its form is `lettre`'s, its way `wire::smtp`'s.

use std::time::SystemTime;

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox};
use lettre::{Address, Message as Mail};

use super::{Answer, Message, Within};
use crate::config::{Email, EmailTls};
use crate::wire::http;
use crate::wire::smtp::{Fault, Letter, Server, Tls};
use failover_core::event::Severity;

pub(super) fn send(email: &Email, message: &Message, now: SystemTime, within: &Within<'_>) -> Answer {
    let (mail, from, to) = match written(email, message, now) {
        Ok(written) => written,
        Err(why) => return Answer::failed(why),
    };
    let (tls, port) = match email.tls {
        EmailTls::Starttls => (Tls::Starttls, 587),
        EmailTls::Tls => (Tls::Wrapped, 465),
        EmailTls::None => (Tls::Plain, 25),
    };
    let connector = match (tls != Tls::Plain).then(|| http::tls(email.ca_file.as_deref())).transpose() {
        Ok(connector) => connector,
        Err(why) => return Answer::failed(why),
    };
    let login = email.user.as_deref().zip(email.password.as_ref().map(|password| password.secret.expose()));
    let server = Server {
        host: &email.host,
        port: email.port.unwrap_or(port),
        tls,
        connector: connector.as_ref(),
        login,
        addresses: within.addresses,
        deadline: within.deadline,
        cancel: within.cancel,
    };
    match server.send(&Letter { from: Some(from), to: &to, bytes: &mail }) {
        Ok(said) => Answer::Delivered(said),
        Err(Fault::Cancelled) => Answer::Cancelled,
        Err(Fault::Refused(why)) => Answer::Failed { why, refused: true },
        Err(Fault::Other(why)) => Answer::failed(why),
    }
}

/// The mail, its sender and its recipients.
fn written(email: &Email, message: &Message, now: SystemTime) -> Result<(Vec<u8>, Address, Vec<Address>), String> {
    let mailbox = |key: &str, text: &str| text.parse::<Mailbox>().map_err(|error| format!("{key}: {error}: correct it"));
    let from = mailbox("from", &email.from)?;
    let to = email.to.iter().map(|to| mailbox("to", to)).collect::<Result<Vec<_>, _>>()?;
    // The same at every attempt, so that whoever gets it twice sees it once.
    let id = format!("<{}@{}>", message.id(), from.email.domain());
    let mut builder = Mail::builder().from(from.clone()).date(now).message_id(Some(id)).subject(message.subject());
    for one in &to {
        builder = builder.to(one.clone());
    }
    // Nobody answers it from a holiday.
    builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    if message.severity() == Severity::Alarm {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("X-Priority"), "1".to_owned()));
    }
    let text = format!("{}\n\n-- \nSent by failover. Events in this message: {}.\n", message.text(), message.lines.len());
    let body = Body::new(text.replace('\n', "\r\n"));
    debug_assert_ne!(body.encoding(), ContentTransferEncoding::Binary, "no mail server takes that");
    let mail = builder.header(ContentType::TEXT_PLAIN).body(body).map_err(|error| format!("the mail cannot be made: {error}"))?;
    Ok((mail.formatted(), from.email, to.into_iter().map(|one| one.email).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::notify::tests::{line, receiver};

    fn email(lines: &str) -> Email {
        match receiver(&format!("kind = \"email\"\nhost = \"mail.example.com\"\n{lines}")).target {
            crate::config::NotifyTarget::Email(email) => email,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_mail_has_one_id_and_no_line_that_is_too_long() {
        let email = email("from = \"Wächter <failover@example.com>\"\nto = [\"a@example.com\", \"B <b@example.com>\"]");
        let lines = (0..40).map(|n| line(&n.to_string(), &format!("größe{n}"), "failover_started", Severity::Alarm)).collect();
        let message = Message { lines };
        let (mail, from, to) = written(&email, &message, SystemTime::UNIX_EPOCH).unwrap();
        let text = String::from_utf8(mail.clone()).unwrap();
        assert!(text.contains("Message-ID: <0@example.com>\r\n"), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated\r\n") && text.contains("X-Priority: 1\r\n"), "{text}");
        assert!(text.lines().all(|line| line.len() < 998) && text.is_ascii(), "{text}");
        assert_eq!((from.to_string(), to.len()), ("failover@example.com".to_owned(), 2));
        assert_eq!(written(&email, &message, SystemTime::UNIX_EPOCH).unwrap().0, mail, "the same at every attempt");
    }
}
