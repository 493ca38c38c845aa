//! A mail over SMTP, over our own sockets: `lettre` knows the commands, the answers and the addresses; every wait shares one deadline and
//! ends when it is cancelled. The sockets of `lettre` have a time limit for each read, so a server that drips could hold one for ever.

use std::io::{Read, Write};

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter, ServerInfo};
use lettre::transport::smtp::response::{Response, Severity};
use native_tls::{HandshakeError, TlsConnector, TlsStream};

use super::resolve::Addresses;
use super::socket::{Stream, interrupted};
use crate::deadline::{Cancel, Deadline, Interrupted};

/// Bytes of an answer.
const ANSWER: usize = 16 * 1024;

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// After STARTTLS, which the server must offer.
    Starttls,
    /// At once.
    Wrapped,
    /// Never.
    Plain,
}

/// How a mail server is reached, and as whom.
pub(crate) struct Server<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) tls: Tls,
    /// Needed unless plain.
    pub(crate) connector: Option<&'a TlsConnector>,
    /// User and password.
    pub(crate) login: Option<(&'a str, &'a str)>,
    pub(crate) addresses: &'a dyn Addresses,
    pub(crate) deadline: Deadline,
    pub(crate) cancel: &'a Cancel,
}

/// A whole mail, as it is sent.
pub(crate) struct Letter<'a> {
    pub(crate) from: Option<Address>,
    pub(crate) to: &'a [Address],
    pub(crate) bytes: &'a [u8],
}

/// Why a mail was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The cancel signal.
    Cancelled,
    /// The server did not like the mail itself.
    Refused(String),
    /// Anything else; nobody knows whether the mail was taken if it happened at the very end.
    Other(String),
}

enum Channel {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
    /// While one becomes the other.
    None,
}

impl Server<'_> {
    /// Sends a mail over a connection of its own. What the server said last.
    pub(crate) fn send(&self, letter: &Letter<'_>) -> Result<String, Fault> {
        let addresses = self.addresses.addresses(self.host, self.port).map_err(Fault::Other)?;
        let stream =
            Stream::connect_any(&addresses, self.deadline, self.cancel).map_err(|error| self.broken("connect", &error))?;
        let mut channel = Channel::Plain(stream);
        if self.tls == Tls::Wrapped {
            channel = self.encrypted(channel)?;
        }
        let mut talk = Talk { server: self, channel, pending: Vec::new() };
        talk.answer("greeting")?;
        let mut info = talk.hello()?;
        if self.tls == Tls::Starttls {
            if !info.supports_feature(Extension::StartTls) {
                return Err(Fault::Other("the server offers no STARTTLS: set tls to what it offers".to_owned()));
            }
            talk.say(&Starttls.to_string(), "STARTTLS")?;
            if !talk.pending.is_empty() {
                return Err(Fault::Other("the server went on without TLS after STARTTLS: somebody may be in between".to_owned()));
            }
            talk.channel = self.encrypted(std::mem::replace(&mut talk.channel, Channel::None))?;
            info = talk.hello()?;
        }
        if let Some((user, password)) = self.login {
            talk.log_in(&info, &Credentials::new(user.to_owned(), password.to_owned()))?;
        }
        let mut parameters = Vec::new();
        if info.supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        talk.say(&Mail::new(letter.from.clone(), parameters).to_string(), "MAIL FROM")?;
        for to in letter.to {
            talk.say(&Rcpt::new(to.clone(), Vec::new()).to_string(), "RCPT TO")?;
        }
        talk.say(&Data.to_string(), "DATA")?;
        let taken = talk.say_bytes(&stuffed(letter.bytes), "the mail")?;
        // It has the mail: how it says good-bye does not matter.
        let _ = talk.channel.write(Quit.to_string().as_bytes());
        Ok(format!("{} {}", taken.code(), taken.first_line().unwrap_or_default()))
    }

    fn encrypted(&self, channel: Channel) -> Result<Channel, Fault> {
        let (Channel::Plain(stream), Some(connector)) = (channel, self.connector) else {
            return Err(Fault::Other("no TLS here".to_owned()));
        };
        match connector.connect(self.host, stream) {
            Ok(session) => Ok(Channel::Tls(Box::new(session))),
            Err(_) if self.cancel.is_cancelled() => Err(Fault::Cancelled),
            Err(_) if self.deadline.is_over() => Err(Fault::Other("TLS: no answer in time".to_owned())),
            Err(HandshakeError::Failure(error)) => Err(Fault::Other(format!("TLS: {error}"))),
            Err(HandshakeError::WouldBlock(_)) => Err(Fault::Other("TLS: the handshake stopped half way".to_owned())),
        }
    }

    fn broken(&self, what: &str, error: &std::io::Error) -> Fault {
        match interrupted(error) {
            Some(Interrupted::Cancelled) => Fault::Cancelled,
            Some(Interrupted::TimedOut) => Fault::Other(format!("{what}: no answer in time")),
            None if self.cancel.is_cancelled() => Fault::Cancelled,
            None if self.deadline.is_over() => Fault::Other(format!("{what}: no answer in time")),
            None => Fault::Other(format!("{what}: {error}")),
        }
    }
}

impl Channel {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Channel::Plain(stream) => stream.read(buffer),
            Channel::Tls(stream) => stream.read(buffer),
            Channel::None => Ok(0),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Channel::Plain(stream) => stream.write_all(bytes),
            Channel::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Channel::None => Ok(()),
        }
    }
}

/// A conversation with a server.
struct Talk<'a> {
    server: &'a Server<'a>,
    channel: Channel,
    /// Read and not yet looked at.
    pending: Vec<u8>,
}

impl Talk<'_> {
    fn hello(&mut self) -> Result<ServerInfo, Fault> {
        // The server does not need our name, and many hosts have none that anybody else knows.
        let response = self.say(&Ehlo::new(ClientId::Domain("localhost".to_owned())).to_string(), "EHLO")?;
        ServerInfo::from_response(&response).map_err(|error| Fault::Other(format!("EHLO: {error}")))
    }

    fn log_in(&mut self, info: &ServerInfo, credentials: &Credentials) -> Result<(), Fault> {
        let Some(mechanism) = info.get_auth_mechanism(&[Mechanism::Plain, Mechanism::Login]) else {
            let how = "the server offers no login by AUTH PLAIN or LOGIN: set tls to what it wants first, or remove user";
            return Err(Fault::Other(how.to_owned()));
        };
        // A wrong password is no fault of the mail: it is tried again with the next one.
        let of_login = |fault| match fault {
            Fault::Refused(why) => Fault::Other(why),
            other => other,
        };
        let wrong = || Fault::Other("AUTH: the server asked for something else than user and password".to_owned());
        let first = Auth::new(mechanism, credentials.clone(), None).map_err(|_| wrong())?;
        let mut response = self.say(&first.to_string(), "AUTH").map_err(of_login)?;
        // User and password at most.
        for _ in 0..2 {
            if !response.has_code(334) {
                break;
            }
            let next = Auth::new_from_response(mechanism, credentials.clone(), &response).map_err(|_| wrong())?;
            response = self.say(&next.to_string(), "AUTH").map_err(of_login)?;
        }
        if response.has_code(334) { Err(wrong()) } else { Ok(()) }
    }

    fn say(&mut self, command: &str, what: &str) -> Result<Response, Fault> {
        self.say_bytes(command.as_bytes(), what)
    }

    fn say_bytes(&mut self, bytes: &[u8], what: &str) -> Result<Response, Fault> {
        self.channel.write(bytes).map_err(|error| self.server.broken(what, &error))?;
        self.answer(what)
    }

    /// The next answer, if it is a good one.
    fn answer(&mut self, what: &str) -> Result<Response, Fault> {
        let mut buffer = [0; 1024];
        while end_of_answer(&self.pending).is_none() {
            if self.pending.len() > ANSWER {
                return Err(Fault::Other(format!("{what}: the answer has no end")));
            }
            match self.channel.read(&mut buffer) {
                Ok(0) => return Err(Fault::Other(format!("{what}: the server hung up"))),
                Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(self.server.broken(what, &error)),
            }
        }
        let end = end_of_answer(&self.pending).unwrap_or(self.pending.len());
        let rest = self.pending.split_off(end);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
        let response: Response = text.parse().map_err(|_| Fault::Other(format!("{what}: the answer is no SMTP")))?;
        if response.is_positive() {
            return Ok(response);
        }
        let said = format!("{what}: {} {}", response.code(), response.message().collect::<Vec<_>>().join(" "));
        let is_final = response.code().severity == Severity::PermanentNegativeCompletion;
        Err(if is_final { Fault::Refused(said) } else { Fault::Other(said) })
    }
}

/// Where the first answer ends: behind the first line whose fourth letter is no hyphen.
fn end_of_answer(bytes: &[u8]) -> Option<usize> {
    let mut place = 0;
    loop {
        let end = bytes[place..].windows(2).position(|pair| pair == b"\r\n")? + place + 2;
        if bytes[place..end].get(3) != Some(&b'-') {
            return Some(end);
        }
        place = end;
    }
}

/// The mail with its end, and a second dot before each line that begins with one.
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(mail.len() + 64);
    let mut at_start = true;
    for byte in mail {
        if at_start && *byte == b'.' {
            sent.push(b'.');
        }
        sent.push(*byte);
        at_start = *byte == b'\n';
    }
    if !sent.ends_with(b"\r\n") {
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b".\r\n");
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_last_line() {
        assert_eq!(end_of_answer(b"250-one\r\n250-two\r\n250 three\r\n354 next"), Some(29));
        assert_eq!(end_of_answer(b"250-one\r\n250 tw"), None);
        assert_eq!(end_of_answer(b"\r\n"), Some(2));
        assert_eq!(end_of_answer(b""), None);
    }

    #[test]
    fn a_line_that_is_a_dot_does_not_end_the_mail() {
        assert_eq!(stuffed(b"a\r\n.\r\n..b"), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed(b".\r\n"), b"..\r\n.\r\n");
    }
}
