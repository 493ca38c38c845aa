//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677 and 5929) with the keys of a password kept between sessions.
//!
//! A password is turned into keys by thousands of rounds of hashing. The engine makes new sessions all day, and the usual client
//! library hashes for each of them: that was a third of what an idle engine cost. The salt stays the same until the password is
//! changed, so the keys are derived once and then only used, as RFC 5802 §5.1 allows.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// More rounds than any sane server asks for; a second of hashing is the most that a foreign one can cost.
const ROUNDS_MAX: u32 = 1_000_000;

/// The keys derived from a password the last time a server asked for it. Clones share them. Like the password itself they cannot
/// be printed; two of them are always equal, since they follow from the rest of a target.
#[derive(Clone, Default)]
pub(crate) struct KeptKeys(Arc<Mutex<Option<Derived>>>);

impl fmt::Debug for KeptKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl PartialEq for KeptKeys {
    fn eq(&self, _: &KeptKeys) -> bool {
        true
    }
}

impl Eq for KeptKeys {}

impl KeptKeys {
    /// The keys for this password, salt and number of rounds: those at hand, or fresh ones.
    fn of(&self, password: &Secret, salt: &[u8], rounds: u32) -> Keys {
        // Two sessions at once may both derive: the lock is not held meanwhile.
        if let Some(derived) = self.0.lock().as_ref()
            && derived.rounds == rounds
            && derived.salt == salt
            && derived.password == *password
        {
            return derived.keys.clone();
        }
        let keys = Keys::derive(password, salt, rounds);
        *self.0.lock() = Some(Derived { password: password.clone(), salt: salt.to_vec(), rounds, keys: keys.clone() });
        keys
    }
}

struct Derived {
    password: Secret,
    salt: Vec<u8>,
    rounds: u32,
    keys: Keys,
}

#[derive(Clone)]
struct Keys {
    client: [u8; 32],
    server: [u8; 32],
}

impl Keys {
    fn derive(password: &Secret, salt: &[u8], rounds: u32) -> Keys {
        // As PostgreSQL does it: what cannot be prepared is taken as it is.
        let prepared = stringprep::saslprep(password.expose());
        let text = prepared.as_deref().unwrap_or(password.expose());
        let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(text.as_bytes(), salt, rounds);
        Keys { client: sign(&salted, &[b"Client Key"]), server: sign(&salted, &[b"Server Key"]) }
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    for part in parts {
        mac.update(part);
    }
    mac
}

fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// What ties the exchange to the TLS connection that it runs in.
pub(super) enum Binding {
    /// No TLS: there is nothing to bind to.
    Impossible,
    /// We could, but the server does not offer it.
    NotOffered,
    /// The hash of the server's certificate (`tls-server-end-point`).
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Binding::Impossible => "n,,",
            Binding::NotOffered => "y,,",
            Binding::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn encoded(&self) -> String {
        let mut input = self.header().as_bytes().to_vec();
        if let Binding::EndPoint(hash) = self {
            input.extend_from_slice(hash);
        }
        BASE64.encode(input)
    }
}

/// The client's side of one exchange. Each message of the server is taken once, in order; the server has proven that it knows the
/// password once [`Exchange::finish`] succeeded.
pub(super) struct Exchange {
    binding: Binding,
    nonce: String,
    /// The server's key and everything that was signed, once the first answer was given.
    proof: Option<([u8; 32], String)>,
    /// The server proved that it knows the password.
    pub(super) is_proven: bool,
}

impl Exchange {
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new(binding: Binding) -> Result<Exchange, String> {
        let mut random = [0u8; 18];
        getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
        Ok(Exchange::with_nonce(binding, BASE64.encode(random)))
    }

    fn with_nonce(binding: Binding, nonce: String) -> Exchange {
        Exchange { binding, nonce, proof: None, is_proven: false }
    }

    /// `client-first-message-bare`. PostgreSQL takes the role from the start of the session, the name here stays empty.
    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// `client-first-message`.
    pub(super) fn first(&self) -> String {
        format!("{}{}", self.binding.header(), self.first_bare())
    }

    /// The answer to `server-first-message`.
    ///
    /// # Errors
    /// When the message is malformed, out of turn, not meant for this exchange, or asks for too much.
    pub(super) fn answer(&mut self, message: &[u8], password: &Secret, kept: &KeptKeys) -> Result<String, String> {
        if self.proof.is_some() {
            return Err("a second question out of turn".to_owned());
        }
        let message = std::str::from_utf8(message).map_err(|_| "a message that is not UTF-8".to_owned())?;
        let mut fields = message.split(',');
        let nonce = field(&mut fields, "r=")?;
        let salt = BASE64.decode(field(&mut fields, "s=")?).map_err(|_| "a salt that is not base64".to_owned())?;
        let rounds: u32 = field(&mut fields, "i=")?.parse().map_err(|_| "an unreadable number of rounds".to_owned())?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("a nonce that does not continue ours".to_owned());
        }
        if !(1..=ROUNDS_MAX).contains(&rounds) {
            return Err(format!("{rounds} rounds of hashing, where 1 to {ROUNDS_MAX} are done"));
        }
        let keys = kept.of(password, &salt, rounds);
        let bare = format!("c={},r={nonce}", self.binding.encoded());
        let signed = format!("{},{message},{bare}", self.first_bare());
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let signature = sign(&stored, &[signed.as_bytes()]);
        let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        self.proof = Some((keys.server, signed));
        Ok(format!("{bare},p={}", BASE64.encode(proof)))
    }

    /// Takes `server-final-message`.
    ///
    /// # Errors
    /// When the server does not prove that it knows the password.
    pub(super) fn finish(&mut self, message: &[u8]) -> Result<(), String> {
        let (key, signed) = self.proof.take().ok_or("a proof out of turn")?;
        let message = std::str::from_utf8(message).map_err(|_| "a message that is not UTF-8".to_owned())?;
        if let Some(why) = message.strip_prefix("e=") {
            return Err(why.to_owned());
        }
        let proof = BASE64.decode(field(&mut message.split(','), "v=")?).map_err(|_| "a proof that is not base64".to_owned())?;
        mac(&key, &[signed.as_bytes()]).verify_slice(&proof).map_err(|_| "its proof is wrong".to_owned())?;
        self.is_proven = true;
        Ok(())
    }
}

fn field<'a>(fields: &mut std::str::Split<'a, char>, name: &str) -> Result<&'a str, String> {
    fields.next().and_then(|field| field.strip_prefix(name)).ok_or_else(|| format!("a message without \"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 §3, with the name that PostgreSQL leaves empty: its own server signed these.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn pencil() -> Secret {
        Secret::new("pencil")
    }

    #[test]
    fn the_keys_are_those_of_rfc_7677() {
        let keys = Keys::derive(&pencil(), &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096);
        // The exchange of the RFC, signed with these keys and the RFC's own name.
        let signed = format!("n=user,r={NONCE},{SERVER_FIRST},c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let signature = sign(&stored, &[signed.as_bytes()]);
        let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(key, byte)| key ^ byte).collect();
        assert_eq!(BASE64.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(BASE64.encode(sign(&keys.server, &[signed.as_bytes()])), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_server_that_knows_the_password_is_believed_and_no_other() {
        let exchange = |password: &Secret| {
            let mut exchange = Exchange::with_nonce(Binding::Impossible, NONCE.to_owned());
            let answer = exchange.answer(SERVER_FIRST.as_bytes(), password, &KeptKeys::default()).unwrap();
            let bare = answer.rsplit_once(",p=").unwrap().0;
            (format!("n=,r={NONCE},{SERVER_FIRST},{bare}"), exchange)
        };
        let keys = Keys::derive(&pencil(), &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096);
        let (signed, mut honest) = exchange(&pencil());
        let verifier = format!("v={}", BASE64.encode(sign(&keys.server, &[signed.as_bytes()])));
        honest.finish(verifier.as_bytes()).unwrap();
        assert!(honest.is_proven);
        assert!(honest.finish(verifier.as_bytes()).is_err(), "a proof is taken once");
        let (_, mut other) = exchange(&Secret::new("crayon"));
        assert!(other.finish(verifier.as_bytes()).is_err() && !other.is_proven);
        let (_, mut refused) = exchange(&pencil());
        assert_eq!(refused.finish(b"e=invalid-proof").unwrap_err(), "invalid-proof");
    }

    #[test]
    fn keys_are_kept_for_the_same_password_salt_and_rounds_only() {
        let kept = KeptKeys::default();
        let client = |password: &str, salt: &[u8], rounds| kept.of(&Secret::new(password), salt, rounds).client;
        let first = client("pencil", b"salt", 2);
        assert_eq!(client("pencil", b"salt", 2), first);
        assert_eq!(kept.clone().of(&pencil(), b"salt", 2).client, first);
        for (password, salt, rounds) in [("crayon", &b"salt"[..], 2), ("pencil", b"pepper", 2), ("pencil", b"salt", 3)] {
            assert_ne!(client(password, salt, rounds), first);
            assert_eq!(client(password, salt, rounds), Keys::derive(&Secret::new(password), salt, rounds).client);
        }
        assert_eq!(format!("{kept:?}"), "********");
    }

    #[test]
    fn a_bad_question_is_named() {
        let cases = [
            ("", "without \"r=\""),
            ("r=abc,s=YQ==,i=1", "does not continue ours"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=YQ==,i=1", "does not continue ours"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=?,i=1", "not base64"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=YQ==,i=0", "0 rounds"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=YQ==,i=4294967295", "4294967295 rounds"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=YQ==,i=-1", "unreadable"),
            ("m=mandatory,r=rOprNGfwEbeRWgbNEkqOx,s=YQ==,i=1", "without \"r=\""),
        ];
        for (message, expected) in cases {
            let mut exchange = Exchange::with_nonce(Binding::NotOffered, NONCE.to_owned());
            let error = exchange.answer(message.as_bytes(), &pencil(), &KeptKeys::default()).unwrap_err();
            assert!(error.contains(expected), "{message}: {error}");
            assert!(exchange.finish(b"v=YQ==").is_err());
        }
    }
}
