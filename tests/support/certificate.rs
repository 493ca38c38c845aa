//! Certificates that sign themselves.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One for two days in `folder`, and its key, as PEM. `subject` as `/CN=app.example`, `names` as `DNS:app.example,IP:127.0.0.1`.
pub fn self_signed(folder: &Path, subject: &str, names: &str) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, "-addext"])
        .arg(format!("subjectAltName={names}"))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(status.success(), "openssl made no certificate for {subject}");
    (certificate, key)
}
