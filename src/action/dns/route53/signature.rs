//! Signatures of requests: AWS Signature Version 4, with the signature in the headers.
//!
//! The whole algorithm is a hash of what is asked, and a chain of four keyed hashes from the secret key to the key of this day,
//! region and service. The published signers bring an async runtime's channels along; the published vectors hold this one.

use std::fmt::Write as _;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::credentials::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What is signed of a request.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// What goes into `Host`.
    pub(super) host: &'a str,
    /// Path and query, each part of them as [`encoded`] writes it.
    pub(super) path: &'a str,
    /// The headers beside `Host`, with names in small letters.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// For what a signature is good.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) now: SystemTime,
}

/// The headers that sign a request, beside `Host` and its own.
pub(super) fn sign(request: &Signable<'_>, credentials: &Credentials, scope: &Scope<'_>) -> Vec<(&'static str, String)> {
    let (day, moment) = moments(scope.now);
    let mut added = vec![("x-amz-date", moment.clone())];
    if let Some(token) = &credentials.token {
        added.push(("x-amz-security-token", token.expose().to_owned()));
    }
    let mut headers = vec![("host", tidy(request.host))];
    headers.extend(request.headers.iter().map(|(name, value)| (*name, tidy(value))));
    headers.extend(added.iter().map(|(name, value)| (*name, tidy(value))));
    headers.sort_by_key(|(name, _)| *name);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

    let (region, service) = (scope.region, scope.service);
    let range = format!("{day}/{region}/{service}/aws4_request");
    let digest = hex(&Sha256::digest(canonical(request, &headers, &names)));
    let key = [&*day, region, service, "aws4_request"]
        .into_iter()
        .fold(format!("AWS4{}", credentials.key.expose()).into_bytes(), |key, part| mac(&key, part));
    let signature = hex(&mac(&key, &format!("{ALGORITHM}\n{moment}\n{range}\n{digest}")));
    let key_id = &credentials.key_id;
    added.push((
        "authorization",
        format!("{ALGORITHM} Credential={key_id}/{range}, SignedHeaders={names}, Signature={signature}"),
    ));
    added
}

/// The request in the one form that both sides hash.
fn canonical(request: &Signable<'_>, headers: &[(&str, String)], names: &str) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((request.path, ""));
    // The path is escaped as a whole once more: what was `%` in it is `%25`.
    let path = path.split('/').map(encoded).collect::<Vec<_>>().join("/");
    let mut query: Vec<(&str, &str)> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    query.sort_unstable();
    let query = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    let lines = headers.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "{name}:{value}");
        lines
    });
    format!("{}\n{path}\n{query}\n{lines}\n{names}\n{}", request.method, hex(&Sha256::digest(request.body)))
}

/// A part of a path or query: what is no letter, digit or one of `-._~` is escaped.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A header's value without the spaces around it, and with one for each run of them.
fn tidy(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The day, and the second of it, in UTC: `20150830` and `20150830T123600Z`.
fn moments(now: SystemTime) -> (String, String) {
    let now = OffsetDateTime::from(now);
    let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
    let moment = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
    (day, moment)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Headers<'a> = &'a [(&'a str, &'a str)];

    /// What the published examples are signed with, at 2015-08-30T12:36:00Z: the headers that are signed, and the signature.
    fn signed(request: &Signable<'_>, token: Option<&str>, service: &str) -> (String, String) {
        let credentials = Credentials::example("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
        let headers = sign(request, &credentials, &Scope { region: "us-east-1", service, now });
        let said = &headers.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        let scope = format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/{service}/aws4_request, SignedHeaders=");
        let (names, signature) = said.strip_prefix(&scope).unwrap().split_once(", Signature=").unwrap();
        assert!(headers.contains(&("x-amz-date", "20150830T123600Z".to_owned())));
        let sent = headers.iter().find(|(name, _)| *name == "x-amz-security-token").map(|(_, value)| value.as_str());
        assert_eq!(sent, token);
        (names.to_owned(), signature.to_owned())
    }

    /// `ListUsers` at IAM.
    #[test]
    fn the_walk_through_of_the_documentation() {
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let path = "/?Action=ListUsers&Version=2010-05-08";
        let request = Signable { method: "GET", host: "iam.amazonaws.com", path, headers: &headers, body: b"" };
        let (names, signature) = signed(&request, None, "iam");
        assert_eq!(names, "content-type;host;x-amz-date");
        assert_eq!(signature, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    }

    fn vector(name: &str, method: &str, path: &str, headers: Headers<'_>, body: &str, expected: &str) {
        let request = Signable { method, host: "example.amazonaws.com", path, headers, body: body.as_bytes() };
        let (names, signature) = signed(&request, None, "service");
        let mut all: Vec<&str> = headers.iter().map(|(name, _)| *name).chain(["host", "x-amz-date"]).collect();
        all.sort_unstable();
        assert_eq!(names, all.join(";"), "{name}");
        assert_eq!(signature, expected, "{name}");
    }

    /// The published test suite for signatures in headers, but for its requests with a path that has to be made shorter or escaped
    /// first, and with a header over several lines: we send none of these. A header that is there more than once is one here, its
    /// values joined as the suite joins them.
    #[test]
    fn the_published_vectors() {
        const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let path = format!("/{UNRESERVED}");
        let query = format!("/?{UNRESERVED}={UNRESERVED}");
        let utf8 = format!("/?{}=bar", encoded("\u{1234}"));
        for (name, path, expected) in [
            ("get-vanilla", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("get-unreserved", &*path, "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
            (
                "get-vanilla-empty-query-key",
                "/?Param1=value1",
                "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            ),
            (
                "get-vanilla-query-order-key-case",
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-order-encoded",
                "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
                "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            ),
            ("get-vanilla-query-unreserved", &*query, "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"),
            ("get-vanilla-utf8-query", &*utf8, "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        ] {
            vector(name, "GET", path, &[], "", expected);
        }
        for (name, headers, expected) in [
            (
                "get-header-key-duplicate",
                &[("my-header1", "value2,value2,value1")][..],
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "get-header-value-order",
                &[("my-header1", "value4,value1,value3,value2")],
                "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
            ),
            (
                "get-header-value-trim",
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
        ] {
            vector(name, "GET", "/", headers, "", expected);
        }
        let hash = ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e");
        let form = "application/x-www-form-urlencoded";
        for (name, path, headers, body, expected) in [
            ("post-vanilla", "/", &[][..], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "post-vanilla-query",
                "/?Param1=value1",
                &[],
                "",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "post-header-key-sort",
                "/",
                &[("my-header1", "value1")],
                "",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "post-header-value-case",
                "/",
                &[("my-header1", "VALUE1")],
                "",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
            // As an older edition of the suite has it, without the two headers of the next one.
            (
                "post-x-www-form-urlencoded",
                "/",
                &[("content-type", form)],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-x-www-form-urlencoded",
                "/",
                &[("content-length", "13"), ("content-type", form), hash],
                "Param1=value1",
                "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
            ),
            (
                "post-x-www-form-urlencoded-parameters",
                "/",
                &[("content-length", "13"), ("content-type", "application/x-www-form-urlencoded; charset=utf-8"), hash],
                "Param1=value1",
                "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
            ),
        ] {
            vector(name, "POST", path, headers, body, expected);
        }
    }

    /// The suite's get-vanilla-with-session-token.
    #[test]
    fn a_session_token_is_sent_and_signed() {
        let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
        let request = Signable { method: "GET", host: "example.amazonaws.com", path: "/", headers: &[], body: b"" };
        let (names, signature) = signed(&request, Some(token), "service");
        assert_eq!(names, "host;x-amz-date;x-amz-security-token");
        assert_eq!(signature, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8");
    }

    /// The canonical requests of the suite's double-encode-path and double-url-encode.
    #[test]
    fn a_path_is_escaped_once_more() {
        for (path, expected) in [
            ("/test/@connections/JBDvjfGEIAMCERw%3D", "/test/%40connections/JBDvjfGEIAMCERw%253D"),
            (
                "/functions/arn%3Aaws%3Alambda%3Aus-west-2%3A892717189312%3Afunction%3Amy-rusty-fun/invocations",
                "/functions/arn%253Aaws%253Alambda%253Aus-west-2%253A892717189312%253Afunction%253Amy-rusty-fun/invocations",
            ),
        ] {
            let request = Signable { method: "POST", host: "x", path, headers: &[], body: b"" };
            let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let headers = [("host", "x".to_owned())];
            assert_eq!(canonical(&request, &headers, "host"), format!("POST\n{expected}\n\nhost:x\n\nhost\n{hash}"));
        }
        assert_eq!(encoded("*.a_b-c~é"), "%2A.a_b-c~%C3%A9");
    }
}
