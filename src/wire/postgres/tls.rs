//! TLS as libpq's `sslmode` defines it, over OpenSSL.

use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use native_tls::{Certificate, HandshakeError, Identity, TlsConnector, TlsStream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::error::{Error, one_line};
use crate::wire::stream::{Fault, Stream, plain};

/// How much TLS is demanded. The words and their meaning are libpq's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// Without; with TLS only if the server will not have us without.
    Allow,
    /// With TLS if the server has it; otherwise, or if the server will not have us that way, without.
    #[default]
    Prefer,
    /// Always, whoever the server is; with a root certificate given, the same as `verify-ca`.
    Require,
    /// Always, and the certificate must come from a trusted authority.
    VerifyCa,
    /// Always, and the certificate must come from a trusted authority and be for this host.
    VerifyFull,
}

/// TLS of one server: the mode and where the certificates lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// How much TLS is demanded.
    pub mode: SslMode,
    /// Trusted authorities (PEM, one or more). Without it those of the system are trusted.
    pub root_certificates: Option<PathBuf>,
    /// Our own certificate with its chain (PEM).
    pub client_certificate: Option<PathBuf>,
    /// The key of our own certificate (PEM, PKCS#8, not encrypted).
    pub client_key: Option<PathBuf>,
}

/// [`TlsSettings`] ready for use. Clones share the certificates once they are read; changed files are read anew.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    settings: TlsSettings,
    made: Arc<Mutex<Option<Made>>>,
}

struct Made {
    connector: TlsConnector,
    stamps: Vec<Option<SystemTime>>,
}

impl Tls {
    /// Takes the settings; reads no file yet.
    #[must_use]
    pub(crate) fn new(settings: TlsSettings) -> Tls {
        Tls { settings, made: Arc::default() }
    }

    /// No TLS at all.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn disabled() -> Tls {
        Tls::new(TlsSettings { mode: SslMode::Disable, ..TlsSettings::default() })
    }

    /// How much TLS is demanded.
    #[must_use]
    pub(crate) fn mode(&self) -> SslMode {
        self.settings.mode
    }

    /// Reads and checks every file that is named: for a configuration check before anything is started.
    ///
    /// # Errors
    /// [`Error::Local`] with the file and the reason.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.connector().map(drop)
    }

    /// Seconds that our own certificate has left; negative once it has expired. `None`: there is none, or it cannot be read.
    #[must_use]
    pub(crate) fn client_certificate_left(&self) -> Option<i64> {
        let pem = fs::read(self.settings.client_certificate.as_deref()?).ok()?;
        seconds_left(&openssl::x509::X509::from_pem(&pem).ok()?)
    }

    /// Shakes hands over a connected, bounded stream.
    pub(super) fn handshake(&self, host: &str, stream: Stream) -> Result<TlsStream<Stream>, Error> {
        let connector = self.connector()?;
        connector.connect(host.trim_matches(['[', ']']), stream).map_err(|error| match error {
            HandshakeError::Failure(error) => failure(&error, self.settings.mode == SslMode::VerifyFull, host),
            HandshakeError::WouldBlock(_) => Error::Tls("the handshake stopped half-way".into()),
        })
    }

    fn connector(&self) -> Result<TlsConnector, Error> {
        let files = [&self.settings.root_certificates, &self.settings.client_certificate, &self.settings.client_key];
        let stamps: Vec<_> = files.iter().map(|file| file.as_deref().and_then(modified)).collect();
        let mut made = self.made.lock();
        match &*made {
            Some(made) if made.stamps == stamps => Ok(made.connector.clone()),
            _ => {
                let connector = self.settings.build()?;
                *made = Some(Made { connector: connector.clone(), stamps });
                Ok(connector)
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.settings.fmt(f)
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Tls) -> bool {
        self.settings == other.settings
    }
}

impl Eq for Tls {}

impl TlsSettings {
    fn build(&self) -> Result<TlsConnector, Error> {
        let mut builder = TlsConnector::builder();
        if let Some(path) = &self.root_certificates {
            let certificates = Certificate::stack_from_pem(&read(path)?)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| Error::Local(format!("{} holds no PEM certificate", path.display())))?;
            builder.disable_built_in_roots(true);
            for certificate in certificates {
                builder.add_root_certificate(certificate);
            }
        }
        match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let pem = read(key)?;
                // The library compares the first bytes; comments and blank lines before the block are common in key files.
                let start = pem.windows(5).position(|window| window == b"-----").unwrap_or(0);
                let identity = Identity::from_pkcs8(&read(certificate)?, &pem[start..]).map_err(|error| {
                    Error::Local(format!(
                        "{} and {} are not a PEM certificate and its unencrypted PKCS#8 key ({}); \
                         convert a key with `openssl pkcs8 -topk8 -nocrypt`",
                        certificate.display(),
                        key.display(),
                        one_line(&error.to_string(), 120)
                    ))
                })?;
                builder.identity(identity);
            }
            (None, None) => {}
            _ => return Err(Error::Local("a client certificate and its key must be given together".into())),
        }
        let (any_authority, any_host) = match self.mode {
            SslMode::VerifyFull => (false, false),
            SslMode::VerifyCa => (false, true),
            SslMode::Require if self.root_certificates.is_some() => (false, true),
            _ => (true, true),
        };
        builder.danger_accept_invalid_certs(any_authority).danger_accept_invalid_hostnames(any_host);
        builder.build().map_err(|error| Error::Local(format!("cannot set up TLS: {}", one_line(&error.to_string(), 200))))
    }
}

/// Seconds that the certificate of the other side has left; negative once it has expired.
pub(super) fn peer_certificate_left(stream: &TlsStream<Stream>) -> Option<i64> {
    let der = stream.peer_certificate().ok()??.to_der().ok()?;
    seconds_left(&openssl::x509::X509::from_der(&der).ok()?)
}

fn seconds_left(certificate: &openssl::x509::X509) -> Option<i64> {
    let now = openssl::asn1::Asn1Time::days_from_now(0).ok()?;
    let left = now.diff(certificate.not_after()).ok()?;
    Some(i64::from(left.days) * 86_400 + i64::from(left.secs))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| Error::Local(format!("cannot read {}: {}", path.display(), plain(&error))))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// A failed handshake is either the connection's fault, which the TLS library hides inside its own error, or a real
/// disagreement.
fn failure(error: &native_tls::Error, checks_name: bool, host: &str) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            let fault = Fault::of(io);
            return Error::Connection { fault, message: format!("TLS handshake: {}", plain(io)) };
        }
        source = cause.source();
    }
    let text = error.to_string();
    if text.to_ascii_lowercase().contains("unexpected eof") {
        return Error::Connection {
            fault: Fault::Reset,
            message: "the server closed the connection during the TLS handshake".into(),
        };
    }
    let remedy = match text.as_str() {
        text if text.contains("ostname mismatch") || text.contains("IP address mismatch") => {
            format!("; the certificate is not for \"{host}\"")
        }
        text if text.contains("self-signed") || text.contains("self signed") || text.contains("issuer") => {
            "; the certificate's authority is not among the trusted ones (sslrootcert)".to_owned()
        }
        _ if checks_name => format!("; expected a trusted certificate for \"{host}\""),
        _ => String::new(),
    };
    Error::Tls(format!("{}{remedy}", one_line(&text, 200)))
}
