//! `instances`: which there are in the whole mesh, page after page, or how many.

use super::args::{InstancesArgs, WhereArgs};
use super::ask::{ago, answer, rows, short_hash, state_or_nothing};
use crate::connect::connect;
use crate::failure::Failure;
use crate::output::{Format, Printer, Style, Table, say, text};
use crate::remote;
use serde_json::{Map, Value, json};
use statemesh_client::{Ask, Listing, Op};
use std::path::Path;
use std::time::Duration;

/// Instances of one page at most.
pub(super) const PAGE: u64 = 1_000;

impl WhereArgs {
    /// As the protocol has it; none if nothing is asked for.
    pub(super) fn fields(&self) -> Option<String> {
        let ms = |time: &Option<Duration>| time.map(|time| json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
        let words = [("prefix", &self.prefix), ("state", &self.state), ("tag", &self.tag), ("status", &self.status)];
        let words = words.into_iter().map(|(name, word)| (name, word.as_ref().map(|word| json!(word))));
        let times = [("older_ms", ms(&self.older)), ("younger_ms", ms(&self.younger))];
        let paths: Map<String, Value> = self.having.iter().cloned().collect();
        let rest = [
            ("stuck", self.stuck.then(|| json!(true))),
            ("context", (!paths.is_empty()).then_some(Value::Object(paths))),
        ];
        let all = words.chain(times).chain(rest);
        let fields: Map<String, Value> = all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        (!fields.is_empty()).then(|| Value::Object(fields).to_string())
    }
}

pub(crate) fn instances(args: &InstancesArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let fields = args.filter.fields();
    let (machine, filter) = (args.machine.as_deref(), fields.as_deref().map(str::as_bytes));
    let mut client = connect(&args.connect, file)?;
    let (limit, mut after) = (u64::from(args.limit), args.after.clone());
    let mut found: Vec<Value> = Vec::new();
    loop {
        // Kinds that were counted are none of the instances that are asked for.
        let left = if args.count { PAGE } else { limit.saturating_sub(found.len() as u64).min(PAGE) };
        let list = Listing { limit: Some(left), after: after.as_deref(), filter, counts: args.count };
        let mut reply = answer(&mut client, &Ask { machine, list, ..remote::ask(Op::List) })?;
        if let Value::Array(page) = reply[if args.count { "counts" } else { "instances" }].take() {
            found.extend(page);
        }
        after = reply["next"].as_str().map(str::to_owned);
        if after.is_none() || (!args.count && found.len() as u64 >= limit) {
            break;
        }
    }
    if args.count {
        let counts = Value::Array(summed(found));
        return printer.answer(&counts, || counted(&counts));
    }
    // As the protocol has it: a script that goes on from there needs no more than the answer.
    let page = json!({"instances": found, "next": after});
    printer.answer(&page, || listed(&page["instances"]))?;
    if let (Some(next), Format::Table) = (after, printer.format) {
        say!("there may be more: --after {next}");
    }
    Ok(())
}

/// Pages may count the same kind; those of one machine stand together.
pub(super) fn summed(pages: Vec<Value>) -> Vec<Value> {
    let mut sums: Vec<Value> = Vec::new();
    for mut kind in pages {
        let count = kind["count"].take().as_u64().unwrap_or(0);
        let is_same =
            |sum: &&mut Value| ["machine", "value", "status", "stuck"].iter().all(|name| sum[*name] == kind[*name]);
        match sums.iter_mut().find(is_same) {
            Some(sum) => sum["count"] = json!(sum["count"].as_u64().unwrap_or(0) + count),
            None => {
                kind["count"] = json!(count);
                sums.push(kind);
            }
        }
    }
    sums.sort_by_key(|kind| (text(&kind["machine"]), text(&kind["value"]), text(&kind["status"])));
    sums
}

/// The status as a person reads it.
pub(super) fn status(one: &Value) -> (String, Style) {
    let status = text(&one["status"]);
    match one["stuck"] == json!(true) {
        true if status.is_empty() => ("stuck".to_owned(), Style::Bad),
        true => (status + ", stuck", Style::Bad),
        false => {
            let style = Style::of_status(&status);
            (status, style)
        }
    }
}

fn listed(found: &Value) -> Table {
    let mut table = Table::new(["INSTANCE", "STATE", "STATUS", "SEQ", "AGE", "HASH"]).or("there is none");
    for one in rows(found) {
        table.styled([
            (format!("{}/{}", text(&one["machine"]), text(&one["key"])), Style::Strong),
            (state_or_nothing(&one["value"]), Style::Plain),
            status(one),
            (text(&one["seq"]), Style::Plain),
            (ago(&one["age_ms"]), Style::Faint),
            (short_hash(&one["definition"]), Style::Faint),
        ]);
    }
    table
}

pub(super) fn counted(found: &Value) -> Table {
    let mut table = Table::new(["MACHINE", "STATE", "STATUS", "INSTANCES"]).or("there is none");
    for kind in rows(found) {
        table.styled([
            (text(&kind["machine"]), Style::Strong),
            (state_or_nothing(&kind["value"]), Style::Plain),
            status(kind),
            (text(&kind["count"]), Style::Plain),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_one_map_and_nothing_is_none() {
        assert_eq!(WhereArgs::default().fields(), None);
        let having = vec![("customer.id".to_owned(), json!(7)), ("name".to_owned(), json!("x"))];
        let (state, older) = (Some("refunding.stuck".to_owned()), Some(Duration::from_secs(60)));
        let asked = WhereArgs { state, older, having, stuck: true, ..WhereArgs::default() };
        let fields: Value = serde_json::from_str(&asked.fields().unwrap()).unwrap();
        let wanted = json!({"state": "refunding.stuck", "older_ms": 60_000, "stuck": true, "context": {"customer.id": 7, "name": "x"}});
        assert_eq!(fields, wanted);
    }

    #[test]
    fn what_several_pages_count_is_added() {
        let kind = |value: &str, count| json!({"machine": "m", "value": value, "status": "active", "count": count});
        let sums = summed(vec![kind("b", 2), kind("a", 1), kind("b", 3)]);
        assert_eq!(sums, [kind("a", 1), kind("b", 5)]);
    }

    #[test]
    fn what_several_daemons_count_of_one_machine_stands_together() {
        let kind = |machine: &str, count| json!({"machine": machine, "value": "a", "status": "active", "count": count});
        let sums = summed(vec![kind("b", 2), kind("c", 1), kind("a", 3), kind("b", 1)]);
        let machines: Vec<_> = sums.iter().map(|sum| text(&sum["machine"])).collect();
        assert_eq!(machines, ["a", "b", "c"]);
    }
}
