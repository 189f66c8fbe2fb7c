//! The resources and the requests of client protocol 1 that they stand for.

use crate::asking::Question;
use statemesh_protocol::reply::{Encoding, MapWriter};
use statemesh_protocol::request::{Op, PAGE_MAX};
use statemesh_protocol::request_parts::{Answering, Listing};
use statemesh_protocol::request_writer::{Ask, Filter};
use std::time::Duration;

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
    /// The node's answer.
    Ask(Question),
    /// A query that says what is not understood, and why.
    Wrong(QueryError),
}

/// What is not understood of a path or a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    #[error("\"{0}\" in the path is not text in percent-encoding")]
    Path(String),
    #[error("\"{0}\" is no name=value")]
    NoPair(String),
    #[error("\"{0}\" is not text in percent-encoding")]
    Encoding(String),
    #[error("\"{name}\" must be {is}")]
    Value { name: String, is: &'static str },
    #[error("there is no parameter \"{name}\" here; there are {known}")]
    Unknown { name: String, known: &'static str },
    #[error("the path names the machine")]
    MachineTwice,
    #[error("\"within\" says for how long, and nothing says for what: until_state, until_tag or until_done")]
    WithinWhat,
}

/// How many instances are listed when the query does not say.
const INSTANCES_DEFAULT: u64 = 100;

/// For how long an answer waits at most; a client asks again. Less than the node is waited for, and than `http.timeout` by default.
const WITHIN_MS_MAX: u64 = 5_000;
/// For how long it waits if the query does not say, unless the node allows less.
const WITHIN_MS_USUAL: u64 = 1_000;

/// A resource: its path and what it shows.
#[derive(Clone, Copy, Debug)]
pub struct Resource {
    /// Its path, with names in braces for what is asked for.
    pub path: &'static str,
    /// What it shows.
    pub shows: &'static str,
}

/// Every resource; the index page and the reference are made of this list.
#[rustfmt::skip] // A table: one row for each resource.
pub const RESOURCES: [Resource; 10] = [
    Resource { path: "/", shows: "this list" },
    Resource { path: "/health/live", shows: "200 while the process works" },
    Resource { path: "/health/ready", shows: "200 once the daemon has joined and has the mesh's machines, or is alone on purpose; 503 with the reason until then, and while it leaves" },
    Resource { path: "/metrics", shows: "metrics, as Prometheus reads them" },
    Resource { path: "/v1/members", shows: "the daemons of the mesh" },
    Resource { path: "/v1/placement", shows: "which of them serves which partition" },
    Resource { path: "/v1/machines", shows: "the machines that are defined" },
    Resource { path: "/v1/list", shows: "instances of the whole mesh, limit (100; 1 to 1,000) on a page, which may be short or empty: go on with after, the next of the page before, until that is null. Those with machine, prefix, state, tag, status, stuck=true, older_ms, younger_ms; counts=true counts them by state, page by page" },
    Resource { path: "/v1/machines/{machine}/instances", shows: "the same of one machine" },
    Resource { path: "/v1/instances/{machine}/{key}", shows: "one instance, wherever it is; a key may hold slashes. With until_state, until_tag or until_done=true the answer waits until it is there, for at most within (1,000, or limits.wait if that is less; at most 5,000) milliseconds, and says whether it is: reached" },
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

/// The route of a path and query; `None`: there is no such resource. `wait_max`: for how long the node lets an answer wait.
pub(super) fn route(path: &str, query: Option<&str>, wait_max: Duration) -> Option<Route> {
    match path {
        "/" => Some(Route::Index),
        "/health/live" => Some(Route::Live),
        "/health/ready" => Some(Route::Ready),
        "/metrics" => Some(Route::Metrics),
        "/v1/members" => Some(list(Op::Members)),
        "/v1/machines" => Some(list(Op::Machines)),
        "/v1/placement" => Some(ask(&of(Op::Placement))),
        _ => instance(path, query, wait_max).or_else(|| instances(path, query)),
    }
}

fn of<'a>(op: Op) -> Ask<'a> {
    Ask::new(op, Encoding::Json)
}

/// The whole reply.
fn ask(ask: &Ask<'_>) -> Route {
    Route::Ask(Question { request: ask.into(), field: None, waits: ask.answer.until.is_some() })
}

/// Only the list in the reply, which has the op's name.
fn list(op: Op) -> Route {
    Route::Ask(Question { request: (&of(op)).into(), field: Some(op.as_str()), waits: false })
}

/// A key is the rest of the path: it may hold slashes.
fn instance(path: &str, query: Option<&str>, wait_max: Duration) -> Option<Route> {
    let (machine, key) = path.strip_prefix("/v1/instances/")?.split_once('/')?;
    if machine.is_empty() || key.is_empty() {
        return None;
    }
    let asked = of_path(machine).and_then(|machine| get(&machine, &of_path(key)?, query, wait_max));
    Some(asked.unwrap_or_else(Route::Wrong))
}

/// A name of a path, decoded.
fn of_path(text: &str) -> Result<String, QueryError> {
    decoded(text).ok_or_else(|| QueryError::Path(text.to_owned()))
}

/// `get`, which waits if the query says for what.
fn get(machine: &str, key: &str, query: Option<&str>, wait_max: Duration) -> Result<Route, QueryError> {
    let (mut until, mut within) = (Vec::new(), None);
    let mut fields = MapWriter::new(&mut until, Encoding::Json);
    for pair in pairs(query) {
        let (name, text) = pair?;
        match name {
            "until_state" => _ = fields.str("state", &text),
            "until_tag" => _ = fields.str("tag", &text),
            "until_done" => _ = fields.bool("done", read(name, &text, "true")?),
            "within" => {
                within = Some(bounded(name, &text, 0..=WITHIN_MS_MAX, "a number of milliseconds, at most 5,000")?)
            }
            _ => return Err(unknown(name, "until_state, until_tag, until_done, within")),
        }
    }
    fields.end();
    let until = (until != b"{}").then_some(until.as_slice());
    if within.is_some() && until.is_none() {
        return Err(QueryError::WithinWhat);
    }
    let usual = || u64::try_from(wait_max.as_millis()).map_or(WITHIN_MS_USUAL, |max| max.min(WITHIN_MS_USUAL));
    let within_ms = until.map(|_| within.unwrap_or_else(usual));
    let answer = Answering { until, within_ms, ..Answering::default() };
    Ok(ask(&Ask { answer, ..Ask::about(Op::Get, Encoding::Json, machine, key) }))
}

/// The parameters of a query, decoded.
fn pairs(query: Option<&str>) -> impl Iterator<Item = Result<(&str, String), QueryError>> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, text) = pair.split_once('=').ok_or_else(|| QueryError::NoPair(pair.to_owned()))?;
        Ok((name, decoded(text).ok_or_else(|| QueryError::Encoding(name.to_owned()))?))
    })
}

fn read<T: std::str::FromStr>(name: &str, text: &str, is: &'static str) -> Result<T, QueryError> {
    text.parse().map_err(|_| QueryError::Value { name: name.to_owned(), is })
}

/// A number within bounds, which `is` names.
fn bounded(name: &str, text: &str, bounds: std::ops::RangeInclusive<u64>, is: &'static str) -> Result<u64, QueryError> {
    let number = read(name, text, is)?;
    if bounds.contains(&number) { Ok(number) } else { Err(QueryError::Value { name: name.to_owned(), is }) }
}

fn unknown(name: &str, known: &'static str) -> QueryError {
    QueryError::Unknown { name: name.to_owned(), known }
}

fn instances(path: &str, query: Option<&str>) -> Option<Route> {
    let machine = match path {
        "/v1/list" => None,
        _ => Some(path.strip_prefix("/v1/machines/")?.strip_suffix("/instances")?),
    };
    if machine == Some("") {
        return None;
    }
    let asked = machine.map(of_path).transpose().and_then(|machine| list_of(machine, query));
    Some(asked.unwrap_or_else(Route::Wrong))
}

/// `list` with what a query says.
fn list_of(of_path: Option<String>, query: Option<&str>) -> Result<Route, QueryError> {
    const KNOWN: &str = "limit, after, machine, counts, stuck, older_ms, younger_ms, prefix, state, tag, status";
    let (mut limit, mut after, mut counts) = (INSTANCES_DEFAULT, None, false);
    let (mut prefix, mut state, mut tag, mut status) = (None, None, None, None);
    let (mut machine, mut filter) = (of_path.clone(), Filter::default());
    for pair in pairs(query) {
        let (name, text) = pair?;
        match name {
            "limit" => limit = bounded(name, &text, 1..=PAGE_MAX, "a number from 1 to 1,000")?,
            "after" => after = Some(text),
            "machine" if of_path.is_none() => machine = Some(text),
            "machine" => return Err(QueryError::MachineTwice),
            "counts" => counts = read(name, &text, "true or false")?,
            "stuck" => filter.stuck = Some(read(name, &text, "true or false")?),
            "older_ms" => filter.older_ms = Some(read(name, &text, "a number of milliseconds")?),
            "younger_ms" => filter.younger_ms = Some(read(name, &text, "a number of milliseconds")?),
            "prefix" => prefix = Some(text),
            "state" => state = Some(text),
            "tag" => tag = Some(text),
            "status" => status = Some(text),
            _ => return Err(unknown(name, KNOWN)),
        }
    }
    let (prefix, state, tag, status) = (prefix.as_deref(), state.as_deref(), tag.as_deref(), status.as_deref());
    let filter = Filter { prefix, state, tag, status, ..filter }.written(Encoding::Json);
    let (machine, after, filter) = (machine.as_deref(), after.as_deref(), filter.as_deref());
    let list = Listing { limit: Some(limit), after, filter, counts };
    Ok(ask(&Ask { machine, list, ..of(Op::List) }))
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
    use serde_json::{Value, json};

    fn route(path: &str, query: Option<&str>) -> Option<Route> {
        super::route(path, query, Duration::from_secs(3_600))
    }

    fn request(path: &str, query: Option<&str>) -> Option<Value> {
        let Route::Ask(question) = route(path, query)? else { return None };
        let mut request: Value = serde_json::from_slice(question.request.bytes()).unwrap();
        request.as_object_mut().unwrap().remove("id");
        Some(request)
    }

    #[test]
    fn an_instance_is_found_by_machine_and_key() {
        assert_eq!(
            request("/v1/instances/order/42", None),
            Some(json!({"op": "get", "machine": "order", "key": "42"}))
        );
        assert_eq!(request("/v1/instances/order/eu/4%202", None).unwrap()["key"], "eu/4 2");
        for wrong in ["/v1/instances/order", "/v1/instances/order/", "/v1/instances//42", "/v1/machines//instances"] {
            assert_eq!(route(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_decoded_is_a_wrong_request_and_not_a_resource_that_is_missing() {
        for wrong in
            ["instances/o/%f", "instances/o/%ff", "instances/o/%+1", "instances/%zz/1", "machines/%zz/instances"]
        {
            let found = route(&format!("/v1/{wrong}"), None);
            assert!(
                matches!(&found, Some(Route::Wrong(error)) if error.to_string().contains('%')),
                "{wrong}: {found:?}"
            );
        }
    }

    #[test]
    fn an_instance_is_waited_for_as_its_query_says_and_not_for_long() {
        let asked = |query| request("/v1/instances/order/42", Some(query));
        let state = asked("until_state=a.b%20c&within=5000").unwrap();
        assert_eq!((&state["until"], &state["within"]), (&json!({"state": "a.b c"}), &json!(5_000)));
        assert_eq!(asked("until_tag=late").unwrap()["until"], json!({"tag": "late"}));
        let done = asked("until_done=true").unwrap();
        assert_eq!((&done["until"], &done["within"]), (&json!({"done": true}), &json!(1_000)));
        // A node that allows less than is usual is not asked for more.
        let short = super::route("/v1/instances/order/42", Some("until_done=true"), Duration::from_millis(300));
        let Some(Route::Ask(question)) = short else { panic!("{short:?}") };
        assert_eq!(serde_json::from_slice::<Value>(question.request.bytes()).unwrap()["within"], json!(300));
    }

    #[test]
    fn what_a_query_says_and_is_not_understood_is_named() {
        let wrong = |path, query| match route(path, Some(query)) {
            Some(Route::Wrong(error)) => error.to_string(),
            other => panic!("{path}?{query}: {other:?}"),
        };
        for (query, named) in [
            ("untl_state=a", "no parameter \"untl_state\""),
            ("until_done=1", "\"until_done\" must be true"),
            ("until_state=a&within=2s", "\"within\" must be a number of milliseconds"),
            ("within=5", "nothing says for what"),
            ("until_done=true&within=5001", "at most 5,000"),
            ("until_tag=%f", "\"until_tag\""),
            ("until_state", "no name=value"),
        ] {
            assert!(wrong("/v1/instances/order/42", query).contains(named), "{query}");
        }
        for (query, named) in [
            ("statuss=done", "\"statuss\""),
            ("counts=1", "true or false"),
            ("limit=x", "a number"),
            ("limit=0", "from 1 to 1,000"),
            ("limit=1001", "from 1 to 1,000"),
        ] {
            assert!(wrong("/v1/list", query).contains(named), "{query}");
        }
        assert!(wrong("/v1/machines/order/instances", "machine=door").contains("path"));
    }

    #[test]
    fn a_list_of_instances_is_bounded() {
        let asked = request("/v1/machines/order/instances", Some("limit=1000&after=a%26b&")).unwrap();
        assert_eq!(asked, json!({"op": "list", "machine": "order", "limit": 1000, "after": "a&b"}));
        assert_eq!(request("/v1/machines/order/instances", None).unwrap()["limit"], 100);
    }

    #[test]
    fn a_list_has_what_its_query_says() {
        let query = "machine=order&state=a.b&stuck=true&older_ms=5&counts=true&status=error";
        let asked = request("/v1/list", Some(query)).unwrap();
        let fields = json!({"state": "a.b", "stuck": true, "older_ms": 5, "status": "error"});
        assert_eq!(asked, json!({"op": "list", "machine": "order", "where": fields, "limit": 100, "counts": true}));
        assert_eq!(request("/v1/list", None), Some(json!({"op": "list", "limit": 100})));
        assert!(
            ["stuck=x", "older_ms=-1", "counts=1", "state=%f"]
                .iter()
                .all(|bad| request("/v1/list", Some(bad)).is_none())
        );
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
