//! `@statemesh`: what is our own in a definition. A key or value that cannot be honoured is refused: who wrote it relies on it.

use super::Compiler;
use crate::definition::diagnostics::{Severity, did_you_mean};
use crate::definition::json_pos::{Member, Node};
use crate::definition::keys;
use crate::machine::{Durability, Faults, OwnSettings};
use statemesh_expr::Value;

/// For ever.
const FOREVER: &str = "forever";

/// A time such as `90s`, in milliseconds; `forever` is the longest there is.
fn time(text: &str) -> Option<u64> {
    if text == FOREVER {
        return Some(u64::MAX);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

impl<'d> Compiler<'d> {
    pub(super) fn own_settings(&mut self, node: Option<&'d Node>) -> OwnSettings {
        let mut settings = OwnSettings::default();
        let Some(node) = node else { return settings };
        let Some(members) = node.members() else {
            let message = format!("`@statemesh` must be an object, not {}", node.type_name());
            self.error(node, "wrong_type", message, None);
            return settings;
        };
        for member in members {
            self.check_own(member);
        }
        if node.get("faults").and_then(Node::as_str) == Some("fail") {
            settings.faults = Faults::Fail;
        }
        settings.durability = match node.get("durability").and_then(Node::as_str) {
            Some("memory") => Some(Durability::Memory),
            Some("disk") => Some(Durability::Disk),
            _ => None,
        };
        settings.keep_ms = node.get("keep").and_then(Node::as_str).and_then(time);
        settings.engine_events = node.get("engineEvents").is_some_and(|value| value.to_value() == Value::Bool(true));
        settings
    }

    fn check_own(&mut self, member: &'d Member) {
        let Some(key) = keys::OWN.iter().find(|key| key.name == member.key) else {
            let hint = did_you_mean(&member.key, keys::OWN.iter().map(|key| key.name));
            let message = format!("`@statemesh` has no key {:?}", member.key);
            return self.report(Severity::Error, member.key_offset, "unknown_key", message, hint);
        };
        let value = member.value.to_value().to_string();
        let is_time = key.is_time && member.value.as_str().and_then(time).is_some();
        if is_time || key.honoured.contains(&value.as_str()) {
            return;
        }
        let shown: String = value.chars().take(64).collect();
        let message = format!("this version cannot honour {:?}: {shown}", key.name);
        let hint = match key.honoured {
            _ if key.is_time => "write a time such as \"90s\", \"1h\", \"7d\", or \"forever\"".to_owned(),
            [] => "leave it out".to_owned(),
            honoured => format!("write {}, or leave it out", honoured.join(" or ")),
        };
        self.error(&member.value, "unsupported", message, Some(hint));
    }
}
