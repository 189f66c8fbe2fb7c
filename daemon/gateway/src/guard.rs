//! Who may ask what: health and metrics are open, the rest takes a token unless the request comes over loopback.

use super::routes::Route;
use std::net::IpAddr;

/// Whether a request is let through.
pub(super) fn lets_through(
    route: Option<&Route>,
    from: IpAddr,
    authorization: Option<&[u8]>,
    tokens: &[String],
) -> bool {
    matches!(route, Some(Route::Live | Route::Ready | Route::Metrics))
        || from.to_canonical().is_loopback()
        || authorization.and_then(bearer).is_some_and(|token| knows(tokens, token))
}

/// What a request lacks that was not let through, and the way out.
pub(super) fn lacking(tokens: &[String]) -> (&'static str, &'static str) {
    match tokens.is_empty() {
        true => ("over anything but loopback a token is asked for, and there is none", "set http.tokens"),
        false => ("it shows none of http.tokens", "show one of them: Authorization: Bearer TOKEN"),
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Takes the same time wherever the first difference is: else a token could be guessed byte by byte.
fn knows(tokens: &[String], given: &[u8]) -> bool {
    let same = |token: &String| {
        let difference = token.bytes().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b));
        u8::from(token.len() == given.len() && std::hint::black_box(difference) == 0)
    };
    tokens.iter().fold(0, |found, token| found | same(token)) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_token_is_set_none_is_asked_for_in_vain() {
        assert_eq!(lacking(&[]).1, "set http.tokens");
        assert!(lacking(&["0123456789abcdef".to_owned()]).1.starts_with("show one of them"));
    }

    #[test]
    fn a_stranger_sees_health_and_metrics_and_needs_a_token_for_the_rest() {
        let tokens = ["0123456789abcdef".to_owned(), "fedcba9876543210".to_owned()];
        let stranger = IpAddr::from([10, 0, 0, 7]);
        let ask = |route: &Route, authorization: Option<&str>| {
            lets_through(Some(route), stranger, authorization.map(str::as_bytes), &tokens)
        };
        assert!(ask(&Route::Live, None) && ask(&Route::Ready, None) && ask(&Route::Metrics, None));
        assert!(!ask(&Route::Index, None) && !lets_through(None, stranger, None, &tokens));
        for token in &tokens {
            assert!(
                ask(&Route::Index, Some(&format!("Bearer {token}")))
                    && ask(&Route::Index, Some(&format!("bearer  {token}")))
            );
        }
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdefg", "Basic 0123456789abcdef"]
        {
            assert!(!ask(&Route::Index, Some(wrong)), "{wrong}");
        }
        assert!(!lets_through(Some(&Route::Index), stranger, Some(b"Bearer "), &[]), "no token is none");
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(lets_through(Some(&Route::Index), near.parse().unwrap(), None, &[]), "{near}");
        }
    }
}
