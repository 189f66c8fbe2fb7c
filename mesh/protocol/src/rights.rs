//! What a client may do: ops by kind, machines by the beginning of their names.

use std::borrow::Cow;

use statemesh_expr::{DecodeError, json, msgpack};

use super::reply::Encoding;
use super::request::{Op, Request};
use super::scan::Scan;

/// A kind of op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To see instances, machines, members, changes.
    Read,
    /// To send events, start and stop instances.
    Send,
    /// To settle what is stuck and to remove instances: `retry`, `skip`, `delete`.
    Operate,
    /// To send events of the engine ([`is_of_the_engine`]), as if a timer had fired or a child had ended.
    Engine,
    /// To define machines.
    Define,
    /// Everything, on every machine.
    Admin,
}

impl Right {
    /// Every right, in the order of the reference.
    pub const ALL: [Self; 6] = [Self::Read, Self::Send, Self::Operate, Self::Engine, Self::Define, Self::Admin];

    /// Its name in files and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Operate => "operate",
            Self::Engine => "engine",
            Self::Define => "define",
            Self::Admin => "admin",
        }
    }

    /// The right of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == name)
    }

    /// What an op needs.
    #[must_use]
    pub fn of(op: Op) -> Self {
        match op {
            Op::Send | Op::Tell | Op::Start | Op::Stop => Self::Send,
            Op::Define => Self::Define,
            Op::Retry | Op::Skip | Op::Delete => Self::Operate,
            Op::Get
            | Op::History
            | Op::Explain
            | Op::Where
            | Op::Machines
            | Op::List
            | Op::Instances
            | Op::Members
            | Op::Placement
            | Op::Ping => Self::Read,
        }
    }
}

/// Whether an event is the engine's own: it says that a timer has fired, or what became of a child. `xstate.route`, which asks for a
/// state, is a client's.
#[must_use]
#[inline]
pub fn is_of_the_engine(event_type: &str) -> bool {
    event_type.starts_with("xstate.") && event_type != "xstate.route"
}

/// What one client may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name, for messages and logs.
    pub name: String,
    /// Beginnings of the machines' names that it may use, a whole name with a slash behind it; empty: all machines.
    pub machines: Vec<String>,
    /// What it may do with them.
    pub rights: Vec<Right>,
    /// Requests in one second, in all; `None`: the daemon's `limits.events_per_second`.
    pub events_per_second: Option<u32>,
}

impl Grant {
    /// Whether it has a right.
    #[must_use]
    pub fn has(&self, right: Right) -> bool {
        self.rights.contains(&right) || self.rights.contains(&Right::Admin)
    }

    fn is_limited(&self) -> bool {
        !self.machines.is_empty() && !self.rights.contains(&Right::Admin)
    }

    fn has_machine(&self, machine: &str) -> bool {
        let is_allowed = |own: &String| match own.strip_suffix('/') {
            Some(name) => machine == name,
            None => machine.starts_with(own),
        };
        !self.is_limited() || self.machines.iter().any(is_allowed)
    }

    /// Why the client may not ask for this; `None`: it may.
    #[must_use]
    pub fn refuses(&self, request: &Request<'_>) -> Option<String> {
        let (op, right) = (request.op.as_str(), Right::of(request.op));
        // A client that is let in may know that the daemon is there.
        if request.op == Op::Ping {
            return None;
        }
        if !self.has(right) {
            return Some(format!("client \"{}\" may not \"{op}\": it has no right to {}", self.name, right.as_str()));
        }
        if request.answer.until.is_some() && !self.has(Right::Read) {
            return Some(format!("client \"{}\" may not wait \"until\": it has no right to read", self.name));
        }
        if request.op == Op::Define {
            return self.refuses_definition(request);
        }
        let about_a_machine = !request.machine.is_empty();
        if matches!(request.op, Op::List | Op::Instances) && !about_a_machine && self.is_limited() {
            return Some(format!("client \"{}\" may list only instances of a \"machine\" of theirs", self.name));
        }
        (about_a_machine && !self.has_machine(&request.machine))
            .then(|| format!("client \"{}\" may not use machine \"{}\"", self.name, request.machine))
    }

    /// A definition may name its machine more than once; each must be allowed, whichever is taken later.
    fn refuses_definition(&self, request: &Request<'_>) -> Option<String> {
        if !self.is_limited() {
            return None;
        }
        let ids = ids_of(request);
        match ids.iter().find(|id| !id.as_ref().is_some_and(|id| self.has_machine(id))) {
            None if !ids.is_empty() => None,
            Some(Some(id)) => Some(format!("client \"{}\" may not define machine \"{id}\"", self.name)),
            _ => Some(format!("client \"{}\" may define only machines with an \"id\" of theirs", self.name)),
        }
    }

    /// What a subscription becomes: itself, or the parts of it that the client may see; none if it may see nothing of it.
    #[must_use]
    pub fn subscriptions<'a>(&'a self, prefix: &'a [u8]) -> Vec<&'a [u8]> {
        if !self.has(Right::Read) {
            return Vec::new();
        }
        if !self.is_limited() {
            return vec![prefix];
        }
        let narrowed = self.machines.iter().map(String::as_bytes).filter_map(|own| {
            if prefix.starts_with(own) { Some(prefix) } else { own.starts_with(prefix).then_some(own) }
        });
        let mut all: Vec<&[u8]> = narrowed.collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The machine that a `define` is about, as far as that can be told without reading all of it.
#[must_use]
pub fn defined_id(request: &Request<'_>) -> Option<String> {
    ids_of(request).into_iter().next_back()?.map(Cow::into_owned)
}

fn ids_of<'a>(request: &Request<'a>) -> Vec<Option<Cow<'a, str>>> {
    let definition = request.define.definition.unwrap_or_default();
    let ids = match request.encoding {
        Encoding::MsgPack => ids(msgpack::Reader::new(definition)),
        Encoding::Json => ids(json::Reader::new(definition)),
    };
    ids.unwrap_or_default()
}

/// Every `id` of a definition; none for one that is no text.
fn ids<'a>(mut definition: impl Scan<'a>) -> Result<Vec<Option<Cow<'a, str>>>, DecodeError> {
    let mut ids = Vec::new();
    definition.map(|field, scan| match field {
        b"id" => scan.text().map(|id| ids.push(id)),
        _ => scan.skip(),
    })?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Encoding;

    fn grant(machines: &[&str], rights: &[Right]) -> Grant {
        Grant {
            name: "shop".into(),
            machines: machines.iter().map(|name| (*name).to_owned()).collect(),
            rights: rights.to_vec(),
            events_per_second: None,
        }
    }

    fn refusal(grant: &Grant, request: &str) -> Option<String> {
        grant.refuses(&Request::parse(request.as_bytes(), Encoding::Json).unwrap())
    }

    const SEND: &str = r#"{"op":"send","machine":"order","key":"1","event":{"type":"A"}}"#;
    const GET: &str = r#"{"op":"get","machine":"order","key":"1"}"#;

    #[test]
    fn an_op_needs_its_right_and_a_machine_its_prefix() {
        let reader = grant(&["order", "pay."], &[Right::Read]);
        assert_eq!(refusal(&reader, GET), None);
        let message = refusal(&reader, SEND).unwrap();
        assert!(message.contains("\"send\"") && message.contains("\"shop\""), "{message}");
        assert!(refusal(&reader, &GET.replace("order", "stock")).unwrap().contains("stock"));
        assert_eq!(refusal(&reader, &GET.replace("order", "orders-eu")), None, "a prefix is not a name");
        assert_eq!(refusal(&grant(&[], &[Right::Send]), SEND), None);
        assert!(refusal(&grant(&[], &[]), r#"{"op":"members"}"#).is_some());
        assert_eq!(refusal(&grant(&[], &[]), r#"{"op":"ping"}"#), None);
        let admin = grant(&["order"], &[Right::Admin]);
        assert_eq!(refusal(&admin, &SEND.replace("order", "stock")), None);
    }

    #[test]
    fn who_may_not_see_all_machines_lists_one_of_those_that_it_may_see() {
        let (limited, all) = (grant(&["order/"], &[Right::Read]), grant(&[], &[Right::Read]));
        for op in ["list", "instances"] {
            let (whole, one) = (format!(r#"{{"op":"{op}"}}"#), format!(r#"{{"op":"{op}","machine":"order"}}"#));
            assert!(refusal(&limited, &whole).unwrap().contains("of a \"machine\""));
            assert!(refusal(&limited, &one.replace("order", "stock")).is_some());
            assert_eq!([refusal(&limited, &one), refusal(&all, &whole)], [None, None]);
        }
    }

    #[test]
    fn who_sends_events_neither_skips_what_is_stuck_nor_removes_anything() {
        let (sender, operator) = (grant(&["order/"], &[Right::Send]), grant(&["order/"], &[Right::Operate]));
        for op in ["retry", "skip", "delete"] {
            let request = format!(r#"{{"op":"{op}","machine":"order","key":"1"}}"#);
            let message = refusal(&sender, &request).unwrap();
            assert!(message.contains(op) && message.contains("no right to operate"), "{message}");
            assert_eq!(refusal(&operator, &request), None);
            assert!(refusal(&operator, &request.replace("order", "stock")).is_some());
        }
        assert!(refusal(&operator, SEND).is_some());
    }

    #[test]
    fn who_may_not_read_does_not_wait_until_an_instance_is_somewhere() {
        let wait = r#"{"op":"send","machine":"order","key":"1","event":{"type":"GO"},"until":{"done":true}}"#;
        let message = refusal(&grant(&[], &[Right::Send]), wait).unwrap();
        assert!(message.contains("\"until\"") && message.contains("no right to read"), "{message}");
        assert_eq!(refusal(&grant(&[], &[Right::Send, Right::Read]), wait), None);
    }

    #[test]
    fn a_slash_ends_a_name() {
        let reader = grant(&["order/"], &[Right::Read]);
        assert_eq!(refusal(&reader, GET), None);
        assert!(refusal(&reader, &GET.replace("order", "orders")).is_some());
    }

    #[test]
    fn a_definition_must_be_of_an_allowed_machine_whatever_it_repeats() {
        let definer = grant(&["order"], &[Right::Define]);
        let define = |definition: &str| refusal(&definer, &format!(r#"{{"op":"define","definition":{definition}}}"#));
        assert_eq!(define(r#"{"initial":"a","states":{"a":{}},"id":"order"}"#), None);
        for foreign in [
            r#"{"id":"stock"}"#,
            r#"{"id":"order","id":"stock"}"#,
            r#"{"id":"stock","id":"order"}"#,
            r#"{"id":5}"#,
            r#"{"states":{"id":"order"}}"#,
            "5",
        ] {
            assert!(define(foreign).is_some(), "{foreign}");
        }
    }

    #[test]
    fn a_subscription_is_narrowed_to_what_may_be_seen() {
        let reader = grant(&["order/", "orders"], &[Right::Read]);
        let narrowed = |prefix: &str| -> Vec<String> {
            let all = reader.subscriptions(prefix.as_bytes());
            all.into_iter().map(|prefix| String::from_utf8_lossy(prefix).into_owned()).collect()
        };
        assert_eq!(narrowed(""), ["order/", "orders"]);
        assert_eq!(narrowed("order/42"), ["order/42"]);
        assert_eq!(narrowed("orders-eu/"), ["orders-eu/"]);
        assert!(narrowed("stock/").is_empty());
        assert!(grant(&[], &[Right::Send]).subscriptions(b"").is_empty());
        assert_eq!(grant(&[], &[Right::Read]).subscriptions(b""), [b""]);
    }

    #[test]
    fn every_right_has_a_name() {
        for right in Right::ALL {
            assert_eq!(Right::named(right.as_str()), Some(right));
        }
        assert_eq!(Right::named("write"), None);
    }
}
