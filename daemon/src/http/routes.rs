//! The resources and the requests of client protocol 1 that they stand for.

use serde_json::{Value, json};

/// What a path asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Route {
    /// A page that lists the others.
    Index,
    /// Does the process work?
    Live,
    /// Should it get traffic?
    Ready,
    /// Prometheus's text.
    Metrics,
    /// The answer to `request`, or only `field` of it.
    Ask { request: Value, field: Option<&'static str> },
}

/// How many instances are listed when the query does not say.
const INSTANCES_DEFAULT: u64 = 100;
/// How many are listed at most; a client asks for the next with `after`.
const INSTANCES_MAX: u64 = 1_000;

/// A resource: its path and what it shows.
pub(crate) struct Resource {
    pub(crate) path: &'static str,
    pub(crate) shows: &'static str,
}

/// Every resource; the index page and the reference are made of this list.
#[rustfmt::skip] // A table: one row for each resource.
pub(crate) const RESOURCES: [Resource; 9] = [
    Resource { path: "/", shows: "this list" },
    Resource { path: "/health/live", shows: "200 while the process works" },
    Resource { path: "/health/ready", shows: "200 once the daemon has joined, or is alone on purpose; 503 with the reason until then, and while it leaves" },
    Resource { path: "/metrics", shows: "metrics, as Prometheus reads them" },
    Resource { path: "/v1/members", shows: "the daemons of the mesh" },
    Resource { path: "/v1/placement", shows: "which of them owns which partition" },
    Resource { path: "/v1/machines", shows: "the machines that are defined" },
    Resource { path: "/v1/machines/{machine}/instances", shows: "the instances on this daemon by key: limit (100, at most 1,000) of them after the key after" },
    Resource { path: "/v1/instances/{machine}/{key}", shows: "one instance, wherever it is; a key may hold slashes" },
];

/// The index page.
pub(super) fn index() -> String {
    let link = |path: &str| match path.contains('{') {
        true => format!("<code>{path}</code>"),
        false => format!("<a href={path}>{path}</a>"),
    };
    let items: String =
        RESOURCES.iter().map(|resource| format!("<li>{} {}\n", link(resource.path), resource.shows)).collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>statemesh</title>\n\
         <style>body{{font:16px/1.6 system-ui,sans-serif;max-width:42em;margin:3em auto;padding:0 1em}}</style>\n\
         <h1>statemesh</h1>\n\
         <p>A daemon of a mesh that hosts state machines. This port is read-only; clients use ZeroMQ.</p>\n\
         <ul>\n{items}</ul>\n"
    )
}

/// The route of a path and query; `None`: there is no such resource.
pub(super) fn route(path: &str, query: Option<&str>) -> Option<Route> {
    let list = |op: &'static str| Some(Route::Ask { request: json!({"op": op}), field: Some(op) });
    match path {
        "/" => Some(Route::Index),
        "/health/live" => Some(Route::Live),
        "/health/ready" => Some(Route::Ready),
        "/metrics" => Some(Route::Metrics),
        "/v1/members" => list("members"),
        "/v1/machines" => list("machines"),
        "/v1/placement" => Some(Route::Ask { request: json!({"op": "placement"}), field: None }),
        _ => instance(path).or_else(|| instances(path, query)),
    }
}

/// A key is the rest of the path: it may hold slashes.
fn instance(path: &str) -> Option<Route> {
    let (machine, key) = path.strip_prefix("/v1/instances/")?.split_once('/')?;
    let (machine, key) = (decoded(machine)?, decoded(key)?);
    let request = json!({"op": "get", "machine": machine, "key": key});
    (!machine.is_empty() && !key.is_empty()).then_some(Route::Ask { request, field: None })
}

fn instances(path: &str, query: Option<&str>) -> Option<Route> {
    let machine = decoded(path.strip_prefix("/v1/machines/")?.strip_suffix("/instances")?)?;
    let mut request = json!({"op": "instances", "machine": machine, "limit": INSTANCES_DEFAULT});
    for (name, value) in query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "limit" => request["limit"] = json!(value.parse::<u64>().ok()?.clamp(1, INSTANCES_MAX)),
            "after" => request["after"] = json!(decoded(value)?),
            _ => {}
        }
    }
    (!machine.is_empty()).then_some(Route::Ask { request, field: None })
}

/// Text with its percent-encoding undone (RFC 3986, 2.1); `None` if it is not UTF-8 then, or no encoding.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            bytes.push(is_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, query: Option<&str>) -> Option<Value> {
        match route(path, query)? {
            Route::Ask { request, .. } => Some(request),
            _ => None,
        }
    }

    #[test]
    fn an_instance_is_found_by_machine_and_key() {
        assert_eq!(
            request("/v1/instances/order/42", None),
            Some(json!({"op": "get", "machine": "order", "key": "42"}))
        );
        assert_eq!(request("/v1/instances/order/eu/4%202", None).unwrap()["key"], "eu/4 2");
        for wrong in [
            "/v1/instances/order",
            "/v1/instances/order/",
            "/v1/instances//42",
            "/v1/instances/o/%f",
            "/v1/instances/o/%ff",
            "/v1/instances/o/%+1",
        ] {
            assert_eq!(request(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_list_of_instances_is_bounded() {
        let asked = request("/v1/machines/order/instances", Some("limit=999999&after=a%26b&x")).unwrap();
        assert_eq!(asked, json!({"op": "instances", "machine": "order", "limit": 1000, "after": "a&b"}));
        assert_eq!(request("/v1/machines/order/instances", None).unwrap()["limit"], 100);
        assert_eq!(request("/v1/machines/order/instances", Some("limit=x")), None);
    }

    #[test]
    fn every_resource_that_is_listed_is_there() {
        for resource in RESOURCES {
            let path = resource.path.replace("{machine}", "order").replace("{key}", "42");
            assert!(route(&path, None).is_some(), "{path}");
        }
    }

    #[test]
    fn other_paths_are_nothing() {
        for path in ["", "//", "/v1", "/v2/members", "/v1/members/", "/health", "/../etc/passwd"] {
            assert_eq!(route(path, None), None, "{path}");
        }
    }
}
