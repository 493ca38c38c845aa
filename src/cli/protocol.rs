//! What the command line and the daemon say to each other on the control socket: one JSON object per line, bounded.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::exit::{Code, Trouble};

/// A request is never longer.
pub const REQUEST_MAX: usize = 64 * 1024;
/// An answer is never longer: a status of ten thousand servers fits.
pub const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// For a whole request to arrive, and for a whole answer to be taken.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The state of everything, or of one service.
    Status {
        /// The service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// What happened: answered by one line per event, each [`Line::Event`], then [`Line::End`].
    Events {
        /// Only events after this one.
        #[serde(default)]
        since: u64,
        /// Go on until the client or the engine goes away.
        #[serde(default)]
        follow: bool,
        /// Only events of this service and of the engine itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Single observations too.
        #[serde(default)]
        verbose: bool,
    },
    /// Yes to a failover that waits for it.
    Confirm {
        /// The service.
        service: String,
    },
    /// Yes to every failover that waits for it: said by itself, never by leaving something out.
    ConfirmAll,
    /// Decide nothing.
    Pause {
        /// The service, or all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// After so many milliseconds it ends by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Decide again.
    Resume {
        /// The service, or all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// Leave a state that only an operator ends.
    Reset {
        /// The service.
        service: String,
    },
    /// A server that takes writes is the primary.
    Adopt {
        /// The service.
        service: String,
        /// The server.
        server: String,
    },
    /// A server is not promoted until that is taken back.
    Cordon {
        /// The service.
        service: String,
        /// The server.
        server: String,
    },
    /// It may be promoted again.
    Uncordon {
        /// The service.
        service: String,
        /// The server.
        server: String,
    },
    /// Bring an old primary back as a standby. Waited for: answered by a [`Line::Result`] when it has begun, then by one [`Line::Event`] per
    /// event, and by a second result when it is over: `service`, and `rejoin` as in the status.
    Rejoin {
        /// The service.
        service: String,
        /// The old primary.
        server: String,
        /// Only say what would be done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
        /// By a new copy of the primary's data.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rebuild: bool,
        /// The answer goes on until it is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    /// Make a standby where nothing is, by a first copy of the primary's data. Waited for: as `rejoin`.
    Clone {
        /// The service.
        service: String,
        /// The server.
        server: String,
        /// Only say what would be done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
        /// The answer goes on until it is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    /// A test message for a receiver of notifications: answered when that has answered.
    NotifyTest {
        /// The receiver.
        receiver: String,
    },
    /// Whether a commit survived the last failovers: by `xid`, or by `lsn` with its `timeline`.
    Survived {
        /// The service.
        service: String,
        /// The transaction.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        xid: Option<u64>,
        /// A position of the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lsn: Option<String>,
        /// The timeline of either.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeline: Option<u32>,
    },
    /// Let a healthy primary hand over. Waited for: as `force`.
    Switchover {
        /// The service.
        service: String,
        /// The standby to promote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Only look: the answer has `preflight`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
        /// Begin at this moment, in milliseconds since 1970.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_ms: Option<u64>,
        /// The answer goes on until the failover is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
    /// Take a planned switchover back.
    CancelSwitchover {
        /// The service.
        service: String,
    },
    /// Fail over now. Waited for: answered by a [`Line::Result`] when it has begun, with `generation` and `left_ms`, then by one
    /// [`Line::Event`] per event, and by a second result when it is over: `service`, and `failover` as in the status.
    Force {
        /// The service.
        service: String,
        /// The standby to promote.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Bytes that may be lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accept_loss: Option<u64>,
        /// The answer goes on until the failover is over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        wait: bool,
    },
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The whole answer.
    Result(Value),
    /// The request was not carried out.
    Error(Refused),
    /// One event.
    Event(Value),
    /// Some events up to this one are no longer kept.
    Gone(u64),
    /// No more events will come.
    End,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A stable name.
    pub kind: Kind,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// The kinds of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The line is no request.
    BadRequest,
    /// The caller is neither the daemon's user nor root.
    Denied,
    /// Too many clients.
    Busy,
    /// A name that does not exist.
    NotFound,
    /// The engine said no.
    Refused,
    /// The engine cannot do it now.
    Failed,
    /// It was carried out, and how it ended is not known.
    UnknownOutcome,
}

impl Refused {
    /// A refusal without a remedy.
    pub fn new(kind: Kind, message: impl Into<String>) -> Refused {
        Refused { kind, message: message.into(), remedy: None }
    }

    /// The same with a remedy.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Refused {
        self.remedy = Some(remedy.into());
        self
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Trouble {
        let code = match refused.kind {
            Kind::Denied | Kind::Busy | Kind::UnknownOutcome => Code::Unreachable,
            Kind::NotFound | Kind::Refused => Code::Refused,
            Kind::BadRequest | Kind::Failed => Code::Failed,
        };
        let trouble = Trouble::new(code, refused.message);
        match refused.remedy {
            Some(remedy) => trouble.remedy(remedy),
            None => trouble,
        }
    }
}

impl Line {
    /// The line as it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).unwrap_or_else(|error| {
            // Only a map with keys that are no text cannot be written, and there is none.
            format!(r#"{{"error":{{"kind":"failed","message":"cannot write the answer: {error}"}}}}"#).into_bytes()
        });
        text.push(b'\n');
        text
    }
}

/// A whole answer as its line, written without a copy of it as a tree.
pub fn result(value: &impl Serialize) -> Result<Vec<u8>, Refused> {
    /// As [`Line::Result`].
    #[derive(Serialize)]
    struct Whole<'a, T> {
        result: &'a T,
    }
    let mut text = serde_json::to_vec(&Whole { result: value }).map_err(|error| Refused::new(Kind::Failed, error.to_string()))?;
    text.push(b'\n');
    if text.len() > ANSWER_MAX {
        let what = format!("the answer has {} bytes, and an answer has at most {ANSWER_MAX}", text.len());
        return Err(Refused::new(Kind::Failed, what).remedy("ask about one service: failover status SERVICE"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_they_are_written() {
        for (text, request) in [
            (r#"{"command":"status"}"#, Request::Status { service: None }),
            (r#"{"command":"status","service":"orders"}"#, Request::Status { service: Some("orders".into()) }),
            (r#"{"command":"events","follow":true}"#, Request::Events { since: 0, follow: true, service: None, verbose: false }),
            (
                r#"{"command":"force","service":"orders","to":"db2","accept_loss":0}"#,
                Request::Force { service: "orders".into(), to: Some("db2".into()), accept_loss: Some(0), wait: false },
            ),
            (
                r#"{"command":"switchover","service":"orders","dry_run":true}"#,
                Request::Switchover { service: "orders".into(), to: None, dry_run: true, at_ms: None, wait: false },
            ),
            (
                r#"{"command":"survived","service":"orders","lsn":"0/3000148","timeline":1}"#,
                Request::Survived { service: "orders".into(), xid: None, lsn: Some("0/3000148".into()), timeline: Some(1) },
            ),
            (r#"{"command":"cancel_switchover","service":"orders"}"#, Request::CancelSwitchover { service: "orders".into() }),
            (
                r#"{"command":"force","service":"orders","wait":true}"#,
                Request::Force { service: "orders".into(), to: None, accept_loss: None, wait: true },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request, "{text}");
        }
        for text in ["", "{}", "[]", r#"{"command":"drop"}"#, r#"{"command":"confirm"}"#, r#"{"command":"confirm","service":1}"#]
        {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_may_say_anything() {
        use proptest::prelude::*;
        const SEEDS: [&str; 3] = [
            r#"{"command":"events","since":18446744073709551615,"follow":true,"service":null,"verbose":false}"#,
            r#"{"command":"force","service":"orders","to":"db2","accept_loss":16777216}"#,
            r#"{"command":"status","service":"\ud83d\ude00"}"#,
        ];
        let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..8);
        proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(
            seed in prop::sample::select(SEEDS.to_vec()), edits in edits
        )| {
            let mut bytes = seed.as_bytes().to_vec();
            for (place, byte, put) in edits {
                let place = place.index(bytes.len());
                if put { bytes.insert(place, byte) } else { bytes[place] = byte }
            }
            for bytes in [&bytes[..], &bytes[..bytes.len() / 2]] {
                // Whatever it is taken for is one line again, as an answer too.
                if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
                    let text = serde_json::to_string(&request).unwrap();
                    prop_assert!(!text.contains('\n'));
                    prop_assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), request);
                }
                let _ = serde_json::from_slice::<Line>(bytes);
            }
        });
    }

    #[test]
    fn every_line_is_one_line() {
        let line = Line::Error(Refused::new(Kind::Refused, "no\nnever"));
        let text = String::from_utf8(line.encode()).unwrap();
        assert_eq!(text, "{\"error\":{\"kind\":\"refused\",\"message\":\"no\\nnever\"}}\n");
        assert_eq!(Line::End.encode(), b"\"end\"\n");
    }
}
