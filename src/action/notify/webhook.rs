//! A webhook: one POST request, over our own sockets and with one deadline.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use ureq::http::uri::Scheme;
use ureq::http::{HeaderName, HeaderValue, Request, Uri};

use super::formats::{self, Post};
use super::{Answer, Message, Within};
use crate::config::Webhook;
use crate::wire::http::{self, Exchange, Fault, FaultKind, Reply};

/// Bytes of an answer that are read: nobody needs more to know what it says.
const ANSWER: usize = 64 * 1024;
/// Redirects that are followed.
const REDIRECTS: usize = 3;

pub(super) fn send(webhook: &Webhook, message: &Message, now: SystemTime, within: &Within<'_>) -> Answer {
    let post = formats::post(webhook, message, now);
    let Ok(mut url) = post.url.parse::<Uri>() else { return Answer::failed("url is no URL: correct it") };
    let tls = match (url.scheme() == Some(&Scheme::HTTPS)).then(|| http::tls(webhook.ca_file.as_deref())).transpose() {
        Ok(tls) => tls,
        Err(why) => return Answer::failed(why),
    };
    for _ in 0..=REDIRECTS {
        let request = match request(webhook, message, &post, &url, now) {
            Ok(request) => request,
            Err(why) => return Answer::failed(why),
        };
        let exchange = Exchange {
            addresses: within.addresses,
            tls: tls.as_ref(),
            deadline: within.deadline,
            cancel: within.cancel,
            body_limit: ANSWER,
        };
        let reply = match exchange.run(request) {
            Ok(reply) => reply,
            Err(Fault { kind: FaultKind::Cancelled, .. }) => return Answer::Cancelled,
            Err(fault) => return Answer::failed(fault.message),
        };
        match (reply.status, &reply.location) {
            (307 | 308, Some(location)) => match same_origin(&url, location) {
                Some(next) => url = next,
                None => return elsewhere(reply.status),
            },
            (300..400, _) => return elsewhere(reply.status),
            _ => return judge(&reply, post.takes_conflict),
        }
    }
    Answer::failed(format!("redirected more than {REDIRECTS} times: write the last address into url"))
}

fn elsewhere(status: u16) -> Answer {
    Answer::failed(format!(
        "status {status}: a redirect to another place, or one that loses the message, is not followed: write that address into url"
    ))
}

fn request<'p>(
    webhook: &Webhook,
    message: &Message,
    post: &'p Post,
    url: &Uri,
    now: SystemTime,
) -> Result<Request<&'p [u8]>, String> {
    let mut request = Request::builder().method("POST").uri(url.clone()).header("connection", "close");
    let given = |name: &str| webhook.headers.0.keys().any(|other| other.eq_ignore_ascii_case(name));
    let mut own = vec![("Content-Type", "application/json".to_owned()), ("X-Failover-Id", message.id().to_owned())];
    if let Some(secret) = &webhook.signing_secret {
        own.push(("X-Failover-Signature", signature(secret.secret.expose(), &post.body, now)));
    }
    for (name, value) in own.into_iter().filter(|(name, _)| !given(name)) {
        request = request.header(name, value);
    }
    for (name, value) in &webhook.headers.0 {
        // Never quoted: it may be the secret itself.
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "headers has a name that is none: correct it")?;
        let mut value = HeaderValue::from_str(value.secret.expose())
            .map_err(|_| format!("headers.{name} has a value that no header can have: correct it"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(&post.body[..]).map_err(|error| error.to_string())
}

/// `t=SECONDS,v1=HEX`: with the time in it an old message cannot be sent again by somebody else.
fn signature(secret: &str, body: &[u8], now: SystemTime) -> String {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length will do");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let hex = mac.finalize().into_bytes().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("t={seconds},v1={hex}")
}

/// Where a redirect leads, if that is the same scheme, host and port: neither headers nor message go anywhere else.
fn same_origin(url: &Uri, location: &str) -> Option<Uri> {
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = url.clone().into_parts();
        parts.path_and_query = Some(location.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let next: Uri = location.parse().ok()?;
    let place = |uri: &Uri| Some((uri.scheme()?.clone(), http::host_and_port(uri).ok()?));
    (place(&next)? == place(url)?).then_some(next)
}

fn judge(reply: &Reply, takes_conflict: bool) -> Answer {
    let body = String::from_utf8_lossy(&reply.body);
    let said = body.trim();
    let status = reply.status;
    let text = if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") };
    match status {
        200..300 => Answer::Delivered(text),
        // Nothing is there to be closed.
        404 | 409 if takes_conflict => Answer::Delivered(text),
        // The message itself; everything else may be mended, or pass.
        400 | 406 | 409 | 410 | 411 | 413 | 414 | 415 | 422 => Answer::Failed { why: text, refused: true },
        _ => Answer::failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_time_and_body() {
        // echo -n '1700000000.{"a":1}' | openssl dgst -sha256 -hmac geheim
        let at = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let signed = signature("geheim", b"{\"a\":1}", at);
        assert_eq!(signed.len(), "t=1700000000,v1=".len() + 64);
        assert_ne!(signed, signature("geheim", b"{\"a\":2}", at));
        assert_ne!(signed, signature("geheim", b"{\"a\":1}", at + std::time::Duration::from_secs(1)));
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_place_alone() {
        let url: Uri = "https://hooks.example.com/a".parse().unwrap();
        for (location, next) in [
            ("/b?c=1", Some("https://hooks.example.com/b?c=1")),
            ("https://hooks.example.com/b", Some("https://hooks.example.com/b")),
            ("https://hooks.example.com:443/b", Some("https://hooks.example.com:443/b")),
            ("http://hooks.example.com/b", None),
            ("https://hooks.example.com:444/b", None),
            ("https://evil.example.com/b", None),
            ("//evil.example.com/b", None),
            ("https://hooks.example.com@evil.example.com/b", None),
            ("", None),
        ] {
            assert_eq!(same_origin(&url, location).map(|uri| uri.to_string()).as_deref(), next, "{location}");
        }
    }
}
