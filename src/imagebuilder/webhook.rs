//! Posts a run's document to a webhook. Nothing else in coldforge uses the network.

#[cfg(feature = "notify")]
use std::time::Duration;

/// Who does not answer within this time is not waited for.
#[cfg(feature = "notify")]
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns why a text is no place to post to; `None` if it is one, and this build can.
pub(super) fn objection(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_place = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    match is_place && url.chars().all(|c| c.is_ascii_graphic()) {
        false => Some("an address that begins with https:// or http://"),
        true if cfg!(feature = "notify") => None,
        true => Some("none: this build has no webhooks (cargo feature `notify`)"),
    }
}

/// Returns the part of an address that may be shown: what follows the host is often a secret, and so is what comes
/// before an `@`.
pub(super) fn shown(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?', '#']).next().unwrap_or_default();
    host.rsplit('@').next().unwrap_or_default()
}

/// Posts a document. Certificates are checked against the trust store of the operating system, `HTTPS_PROXY` and `NO_PROXY` count, and
/// nobody is followed elsewhere.
///
/// # Errors
/// What went wrong, without the address.
#[cfg(feature = "notify")]
pub(super) fn post(url: &str, body: &[u8]) -> Result<(), String> {
    use ureq::tls::{RootCerts, TlsConfig};
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("coldforge/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build();
    let agent = ureq::Agent::from(config);
    let answer = agent.post(url).header("content-type", "application/json").send(body);
    let status = answer.map_err(|error| error.to_string().replace(url, shown(url)))?.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}

/// A recipe with a webhook is refused before it is run.
#[cfg(not(feature = "notify"))]
pub(super) fn post(_: &str, _: &[u8]) -> Result<(), String> {
    Err("this build has no webhooks".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(shown("https://hooks.example.com/services/T0/B0/secret"), "hooks.example.com");
        assert_eq!(shown("https://user:secret@example.com:8443?token=secret"), "example.com:8443");
    }

    #[test]
    fn only_addresses_of_the_web_are_taken() {
        for odd in ["", "https://", "https:///x", "ftp://example.com", "example.com", "https://example.com/a b"] {
            assert!(objection(odd).is_some(), "{odd}");
        }
        assert_eq!(objection("https://example.com/a").is_none(), cfg!(feature = "notify"));
    }
}
