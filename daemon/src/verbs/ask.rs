//! Verbs that are one request and its answer.

use super::{connect, explain, read_input};
use crate::cli::{Connect, ExplainArgs, InstancesArgs, PingArgs, SendArgs, StartArgs, Target, TargetArgs, Verb};
use crate::failure::{Exit, Failure};
use crate::output::{Printer, Style, Table, fields, state, text};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two pings of `ping --wait`.
const PING_AGAIN: Duration = Duration::from_millis(100);

/// Does one of them.
pub(crate) async fn ask(verb: Verb, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    match verb {
        Verb::Send(args) => send(args, file, printer).await,
        Verb::Start(args) => start(args, file, printer).await,
        Verb::Explain(args) => explain_event(args, file, printer).await,
        Verb::Get(args) => get(args, file, printer).await,
        Verb::Stop(args) => stop(args, file, printer).await,
        Verb::History(args) => history(args, file, printer).await,
        Verb::Where(args) => whereabouts(args, file, printer).await,
        Verb::Instances(args) => instances(args, file, printer).await,
        Verb::Machines(args) => list(&args, file, printer, "machines", machines).await,
        Verb::Members(args) => list(&args, file, printer, "members", members).await,
        Verb::Placement(args) => placement(args, file, printer).await,
        Verb::Ping(args) => ping(args, file, printer).await,
        _ => Err(Failure::usage("this verb is not a request")),
    }
}

fn about(op: &str, target: &Target) -> Value {
    json!({"op": op, "machine": target.machine, "key": target.key})
}

/// Asks, and gives the answer without the fields that only the protocol needs.
async fn request(given: &Connect, file: Option<&Path>, request: Value) -> Result<Value, Failure> {
    let reply = connect(given, file).await?.call(request).await?;
    Ok(without_envelope(reply))
}

fn without_envelope(mut reply: Value) -> Value {
    if let Some(map) = reply.as_object_mut() {
        map.shift_remove("ok");
        map.shift_remove("id");
    }
    reply
}

/// Reads JSON given as itself, `@FILE` or `-`.
fn json_argument(name: &str, given: &str) -> Result<Value, Failure> {
    let from_file = match given {
        "-" => Some(read_input(Path::new("-"))?),
        given => given.strip_prefix('@').map(|path| read_input(Path::new(path))).transpose()?,
    };
    let text = from_file.as_deref().unwrap_or(given);
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!("--{name}: not JSON: {error}"))
            .hint(format!("quote it for the shell: --{name} '{{\"amount\":3}}'"))
    })
}

/// An event of the given type with the fields of `data`.
fn event(kind: &str, data: Option<&str>) -> Result<Value, Failure> {
    let mut event = Map::from_iter([("type".to_owned(), json!(kind))]);
    match data.map(|text| json_argument("data", text)).transpose()? {
        None => {}
        Some(Value::Object(fields)) if fields.contains_key("type") => {
            return Err(Failure::usage("--data: holds a 'type', but the event's type is an argument of its own"));
        }
        Some(Value::Object(fields)) => event.extend(fields),
        Some(other) => {
            return Err(Failure::usage(format!("--data: must be a JSON object with the event's fields, not {other}")));
        }
    }
    Ok(Value::Object(event))
}

async fn send(args: SendArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let mut message = about("send", &args.target);
    message["event"] = event(&args.event, args.data.as_deref())?;
    if let Some(token) = &args.dedup {
        message["dedup"] = json!(token);
    }
    let reply = request(&args.connect, file, message).await?;
    printer.answer(&reply, || outcome(&args.target, &reply))
}

async fn start(args: StartArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let mut message = about("start", &args.target);
    if let Some(input) = &args.input {
        message["input"] = json_argument("input", input)?;
    }
    let reply = request(&args.connect, file, message).await?;
    printer.answer(&reply, || outcome(&args.target, &reply))
}

async fn stop(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args.connect, file, about("stop", &args.target)).await?;
    printer.answer(&reply, || outcome(&args.target, &reply))
}

/// One line: where the instance is now, and whether the event took it there.
fn outcome(target: &Target, reply: &Value) -> Table {
    let mut table = Table::new(["INSTANCE", "STATE", "STATUS", "SEQ", ""]);
    let status = text(&reply["status"]);
    let note = note(reply);
    table.styled([
        (format!("{}/{}", target.machine, target.key), Style::Strong),
        (state(&reply["value"]), Style::Plain),
        (status.clone(), Style::of_status(&status)),
        (text(&reply["seq"]), Style::Plain),
        note,
    ]);
    table
}

/// What else there is to know about where an event led.
fn note(reply: &Value) -> (String, Style) {
    let fault = &reply["fault"];
    if !fault.is_null() {
        let what = fault["message"].as_str().map_or_else(|| text(fault), str::to_owned);
        return (format!("fault: {what}"), Style::Bad);
    }
    if reply["restarted"] == json!(true) {
        return ("restarted: its owner died, and it began anew".to_owned(), Style::Doubtful);
    }
    match reply["changed"].as_bool() {
        Some(true) => ("changed".to_owned(), Style::Good),
        Some(false) => ("unchanged".to_owned(), Style::Faint),
        None => (String::new(), Style::Plain),
    }
}

async fn get(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args.connect, file, about("get", &args.target)).await?;
    printer.answer(&reply, || fields(&reply))
}

async fn whereabouts(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args.connect, file, about("where", &args.target)).await?;
    printer.answer(&reply, || fields(&reply))
}

async fn explain_event(args: ExplainArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let mut message = about("explain", &args.target);
    message["event"] = event(&args.event, args.data.as_deref())?;
    let reply = request(&args.connect, file, message).await?;
    printer.text(&reply, |painter| explain::lines(&args.target, &reply, painter))
}

async fn history(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args.connect, file, about("history", &args.target)).await?;
    let entries = &reply["history"];
    printer.answer(entries, || {
        let mut table = Table::new(["SEQ", "EVENT", "FROM", "TO", "AGO"]).or("no transition yet");
        for entry in rows(entries) {
            table.row([
                text(&entry["seq"]),
                text(&entry["event"]),
                state_or_nothing(&entry["from"]),
                state_or_nothing(&entry["to"]),
                ago(&entry["ageMs"]),
            ]);
        }
        table
    })
}

/// Milliseconds as a person counts them.
fn ago(age_ms: &Value) -> String {
    let Some(ms) = age_ms.as_u64() else {
        return String::new();
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

fn state_or_nothing(value: &Value) -> String {
    if value.is_null() { String::new() } else { state(value) }
}

async fn instances(args: InstancesArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let mut message = json!({"op": "instances", "machine": args.machine, "limit": args.limit});
    if let Some(after) = &args.after {
        message["after"] = json!(after);
    }
    let reply = request(&args.connect, file, message).await?;
    let found = &reply["instances"];
    let none = if args.after.is_some() { "this daemon hosts none after that key" } else { "this daemon hosts none" };
    printer.answer(found, || {
        let mut table = Table::new(["KEY", "STATE", "STATUS", "SEQ"]).or(none);
        for instance in rows(found) {
            let status = text(&instance["status"]);
            table.styled([
                (text(&instance["key"]), Style::Strong),
                (state_or_nothing(&instance["value"]), Style::Plain),
                (status.clone(), Style::of_status(&status)),
                (text(&instance["seq"]), Style::Plain),
            ]);
        }
        table
    })?;
    if let Some(next) = reply["next"].as_str() {
        eprintln!("there are more: --after {next}");
    }
    Ok(())
}

/// A verb whose answer is the list of the same name.
async fn list(
    given: &Connect,
    file: Option<&Path>,
    printer: &Printer,
    op: &str,
    table: fn(&Value) -> Table,
) -> Result<(), Failure> {
    let reply = request(given, file, json!({"op": op})).await?;
    printer.answer(&reply[op], || table(&reply[op]))
}

fn machines(found: &Value) -> Table {
    let mut table =
        Table::new(["MACHINE", "VERSION", "INSTANCES HERE", "HASH"]).or("no machine is defined; statemesh define FILE");
    for machine in rows(found) {
        let hash: String = text(&machine["hash"]).chars().take(12).collect();
        table.styled([
            (text(&machine["id"]), Style::Strong),
            (text(&machine["version"]), Style::Plain),
            (text(&machine["instances"]), Style::Plain),
            (hash, Style::Faint),
        ]);
    }
    table
}

/// The members of a mesh as a table; `up` shows the same.
pub(crate) fn members(found: &Value) -> Table {
    let mut table = Table::new(["NAME", "STATUS", "CLIENTS", "PARTITIONS", ""]);
    for member in rows(found) {
        let status = text(&member["status"]);
        let note = match (&member["self"], &member["leaving"]) {
            (_, Value::Bool(true)) => "leaving",
            (Value::Bool(true), _) => "answered this",
            _ => "",
        };
        table.styled([
            (text(&member["name"]), Style::Strong),
            (status.clone(), Style::of_status(&status)),
            (text(&member["clients"]), Style::Plain),
            (text(&member["partitions"]), Style::Plain),
            (note.to_owned(), Style::Faint),
        ]);
    }
    table
}

async fn placement(args: Connect, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args, file, json!({"op": "placement"})).await?;
    printer.answer(&reply, || {
        let mut table = Table::new(["OWNER", "PARTITIONS"]);
        for (index, owner) in rows(&reply["owners"]).iter().enumerate() {
            let owned = rows(&reply["map"]).iter().filter(|at| at.as_u64() == Some(index as u64)).count();
            table.row([text(owner), owned.to_string()]);
        }
        table
    })
}

async fn ping(args: PingArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let start = Instant::now();
    let reply = loop {
        match round_trip(&args.connect, file).await {
            Err(failure) if failure.exit == Exit::Unreachable && start.elapsed() < args.wait => {
                tokio::time::sleep(PING_AGAIN).await;
            }
            answer => break answer?,
        }
    };
    printer.answer(&reply, || fields(&reply))
}

/// What a daemon says to a ping, and how long that took without connecting.
async fn round_trip(given: &Connect, file: Option<&Path>) -> Result<Value, Failure> {
    let mut client = connect(given, file).await?;
    let asked = Instant::now();
    let mut reply = without_envelope(client.call(json!({"op": "ping"})).await?);
    let round_trip_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    reply["round_trip_us"] = json!(round_trip_us);
    Ok(reply)
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_its_type_and_the_fields_of_data() {
        assert_eq!(event("PAY", Some(r#"{"amount":3}"#)).unwrap(), json!({"type": "PAY", "amount": 3}));
        assert_eq!(event("PAY", None).unwrap(), json!({"type": "PAY"}));
        for wrong in ["3", "{", r#"{"type":"REFUND"}"#] {
            assert_eq!(event("PAY", Some(wrong)).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn an_age_is_counted_as_people_do() {
        let shown = [0, 1_250, 119_999, 7_199_999, 86_400_000].map(|ms| ago(&json!(ms)));
        assert_eq!(shown, ["0 ms", "1.2 s", "119.9 s", "119 min", "24 h"]);
        assert_eq!(ago(&Value::Null), "");
    }

    #[test]
    fn an_outcome_says_that_an_instance_began_anew() {
        let target: Target = "order/42".parse().unwrap();
        let reply = json!({"value": {"a": "b"}, "status": "active", "seq": 1, "changed": true, "restarted": true});
        let table = outcome(&target, &reply).render(false);
        assert!(table.contains("a.b") && table.contains("restarted: its owner died"), "{table}");
    }

    #[test]
    fn members_are_a_row_each() {
        let found = json!([{"name": "a", "status": "alive", "clients": "127.0.0.1:7400", "partitions": 512, "self": true},
                           {"name": "b", "status": "suspect", "clients": "127.0.0.2:7400", "partitions": 512}]);
        let table = members(&found).render(false);
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("b     suspect  127.0.0.2:7400  512"), "{table}");
    }
}
