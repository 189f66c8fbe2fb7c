//! Verbs that are one request and its answer.

use super::args::{ActArgs, ExplainArgs, GetArgs, PingArgs, SendArgs, StartArgs, Target, TargetArgs, UntilArgs};
use super::explain;
use super::{NEEDS_INPUT, names_input, sent, tell_if_unknown};
use crate::config::did_you_mean;
use crate::connect::{Connect, connect, connect_for};
use crate::failure::{Exit, Failure};
use crate::input::read_input;
use crate::output::{Printer, Style, Table, fields, printable, state, text};
use crate::remote::{self, Remote};
use serde_json::{Map, Value, json};
use statemesh_client::{Answering, Ask, ErrorCode, Event, Op};
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two pings of `ping --wait`.
const PING_AGAIN: Duration = Duration::from_millis(100);
/// For how long a daemon waits at most that is not told (the protocol's `within`).
const USUAL_WAIT: Duration = Duration::from_secs(10);

fn about<'a>(op: Op, target: &'a Target) -> Ask<'a> {
    remote::about(op, &target.machine, &target.key)
}

/// Asks, and gives the answer without the fields that only the protocol needs.
fn request(given: &Connect, file: Option<&Path>, ask: &Ask<'_>) -> Result<Value, Failure> {
    answer(&mut connect(given, file)?, ask)
}

/// The same over a connection that is there. A machine that is not defined gets the name that was probably meant.
pub(super) fn answer(client: &mut Remote, ask: &Ask<'_>) -> Result<Value, Failure> {
    let failure = match client.ask(ask) {
        Ok(reply) => return Ok(without_envelope(reply)),
        Err(failure) => with_way_out(failure, client, ask),
    };
    let (Some(ErrorCode::UnknownMachine), Some(machine)) = (failure.reply, ask.machine) else { return Err(failure) };
    let Ok(found) = client.ask(&remote::ask(Op::Machines)) else { return Err(failure) };
    let names: Vec<_> = rows(&found["machines"]).iter().map(|machine| text(&machine["id"])).collect();
    match did_you_mean(machine, names.iter().map(String::as_str)) {
        Some(near) => Err(failure.hint(format!("did you mean {near}?"))),
        None => Err(failure),
    }
}

/// A daemon says the way out in the protocol's words, for any client; a person at a command line wants to know what to type.
fn with_way_out(failure: Failure, client: &mut Remote, ask: &Ask<'_>) -> Failure {
    let (Some(machine), Some(key)) = (ask.machine, ask.key) else { return failure };
    let (name, shown) = (format!("{}/{}", printable(machine), printable(key)), printable(machine));
    match (failure.reply, ask.op) {
        (Some(ErrorCode::UnknownInstance), Op::Stop | Op::Delete | Op::Retry | Op::Skip | Op::History) => {
            failure.hint(format!("`statemesh instances {shown}` lists those that there are"))
        }
        // The same step of the same definition over the same context: what has changed is around it, or nothing has.
        (Some(ErrorCode::EventFailed), Op::Retry) => failure.hint(format!(
            "it is stuck as it was: `retry` helps where the cause was outside, such as a limit of the daemon that has been raised since; where its \
             definition is at fault, which it keeps, `statemesh skip {name}` drops the timer, or delete makes room for an instance of a \
             definition that is mended"
        )),
        (Some(ErrorCode::EventFailed), Op::Start | Op::Send) if ask.input.is_none() && names_input(&failure.message) => {
            failure.hint(format!("{NEEDS_INPUT}: statemesh start {name} --input '{{...}}'"))
        }
        (Some(ErrorCode::AlreadyStarted), Op::Start) => {
            let is_stuck = client.ask(&remote::about(Op::Get, machine, key)).is_ok_and(|reply| reply["stuck"] == json!(true));
            failure.hint(match is_stuck {
                true => format!(
                    "it is stuck: `statemesh retry {name}` fires its timer again, skip drops it; --force stops it and begins anew"
                ),
                false => "send it an event, choose another key, or stop it and begin anew with --force".to_owned(),
            })
        }
        _ => failure,
    }
}

fn without_envelope(mut reply: Value) -> Value {
    if let Some(map) = reply.as_object_mut() {
        map.shift_remove("ok");
        map.shift_remove("id");
        // The protocol has it as text, in which JSON stands.
        if let Some(fault) = map.get_mut("fault")
            && let Some(object) = fault.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
            && object.is_object()
        {
            *fault = object;
        }
    }
    reply
}

impl UntilArgs {
    /// As the protocol has it; none if nothing is waited for.
    fn until(&self) -> Option<String> {
        let state = self.until_state.as_ref().map(|state| json!({"state": state}));
        let tag = self.until_tag.as_ref().map(|tag| json!({"tag": tag}));
        let done = self.until_done.then(|| json!({"done": true}));
        state.or(tag).or(done).map(|until| until.to_string())
    }

    /// How much later an answer may come.
    fn later(&self) -> Duration {
        if self.until().is_some() { self.within.unwrap_or(USUAL_WAIT) } else { Duration::ZERO }
    }

    /// What is asked for; if nothing is, the daemon waits as long as it usually does: only it knows its `limits.wait`.
    fn within_ms(&self) -> Option<u64> {
        self.within.map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The failure of a wait, if it was in vain. `waited`: when the answer came; before the time was over there was nothing to wait for.
fn reached(target: &Target, reply: &Value, until: &UntilArgs, waited: Duration) -> Result<(), Failure> {
    if reply["reached"] != json!(false) {
        return Ok(());
    }
    let (name, status) = (target.to_string(), text(&reply["status"]));
    let is_stuck = reply["stuck"] == json!(true);
    let is_gone = reply["gone"] == json!(true);
    let stands = if is_stuck { "stuck" } else { &status };
    let message = match is_gone {
        true => format!("{name} is gone; it was last in {} ({stands})", state(&reply["value"])),
        false => format!("{name} is in {} ({stands}), and not where it was waited for", state(&reply["value"])),
    };
    let hint = match status.as_str() {
        _ if is_gone => format!("it was removed, or lost with its daemon; `statemesh start {name}` begins a new one"),
        _ if is_stuck => {
            format!("it takes nothing until `statemesh retry {name}` fires its timer again, or skip drops it")
        }
        // What it was waited for cannot come any more, however long.
        "done" | "error" | "stopped" => format!(
            "it has ended; `statemesh history {name}` shows how, `statemesh start {name}` puts a new instance in its place"
        ),
        _ if began_anew(reply) => format!("another life of it began meanwhile: `statemesh history {name}` shows it"),
        _ if waited >= until.within.unwrap_or(USUAL_WAIT) => "--within gives it more time".to_owned(),
        _ if until.within.is_none() => format!(
            "it was not waited for any longer: limits.wait of the daemon is over, or its next life began; `statemesh get {name}` shows \
             what is there"
        ),
        _ => {
            format!("it was not waited for any longer: its next life began; `statemesh get {name}` shows what is there")
        }
    };
    Err(Failure::new(Exit::Unreached, "unreached", message).hint(hint))
}

/// Of an instance that is gone there is nothing to read, so that the protocol refuses to; for who waited it is as where a `send` waits: it cannot
/// come about any more.
fn not_there(failure: Failure) -> Failure {
    match failure.reply {
        Some(ErrorCode::UnknownInstance) => Failure { exit: Exit::Unreached, ..failure },
        _ => failure,
    }
}

/// Whether what was waited for belongs to a life of the key that is over.
fn began_anew(reply: &Value) -> bool {
    reply["restarted"] == json!(true) || reply["conflict"].is_object()
}

/// Reads JSON given as itself, `@FILE` or `-`.
fn json_argument(name: &str, given: &str) -> Result<Value, Failure> {
    let from_file = match given {
        "-" => Some(read_input(Path::new("-"))?),
        "@" => return Err(Failure::usage(format!("--{name}: @ needs the name of a file behind it: @FILE"))),
        given => given.strip_prefix('@').map(|path| read_input(Path::new(path))).transpose()?,
    };
    let text = from_file.as_deref().unwrap_or(given);
    if text.trim().is_empty() {
        let what = match given {
            "-" => "stdin was empty".to_owned(),
            _ => given.strip_prefix('@').map_or_else(|| "it is empty".to_owned(), |path| format!("{path} is empty")),
        };
        return Err(Failure::usage(format!("--{name}: {what}")).hint("JSON is expected, such as {\"amount\":3}"));
    }
    serde_json::from_str(text).map_err(|error| {
        let failure = Failure::usage(format!("--{name}: not JSON: {error}"));
        match from_file {
            None => failure.hint(format!("quote it for the shell: --{name} '{{\"amount\":3}}'")),
            Some(_) => failure,
        }
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
            let what = format!("--data: must be a JSON object with the event's fields, not {other}");
            return Err(
                Failure::usage(what).hint("such as --data '{\"amount\":3}', which expressions read as event.amount")
            );
        }
    }
    Ok(Value::Object(event))
}

pub(crate) fn send(args: SendArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let event = event(&args.event, args.data.as_deref())?.to_string();
    let event = Some(Event::Whole(event.as_bytes()));
    let (until, within_ms) = (args.until.until(), args.until.within_ms());
    let until = until.as_deref().map(str::as_bytes);
    let (conditions, answering) = (args.conditions.given(), Answering { until, within_ms, timing: false });
    let ask = Ask { event, conditions, answer: answering, ..about(Op::Send, &args.target) };
    let mut client = connect_for(&args.connect, file, args.until.later())?;
    let asked = Instant::now();
    let reply = answer(&mut client, &ask)?;
    let waited = asked.elapsed();
    printer.answer(&reply, || outcome(&args.target, &reply))?;
    if reply["handled"] != json!(false) {
        return reached(&args.target, &reply, &args.until, waited);
    }
    let explained = || client.ask(&Ask { event, ..about(Op::Explain, &args.target) }).ok();
    Err(ignored(&args.target, &args.event, &reply, explained))
}

/// Why nothing reacted to an event, as far as that can be told: the instance may have gone on since.
fn ignored(target: &Target, event: &str, reply: &Value, explained: impl FnOnce() -> Option<Value>) -> Failure {
    let (name, event) = (target.to_string(), &*printable(event));
    let failure = |message| Failure::new(Exit::Ignored, "ignored", message);
    let status = text(&reply["status"]);
    if reply["stuck"] == json!(true) {
        let hint = format!("statemesh retry {name} fires its timer again, skip drops it");
        return failure(format!("{name} is stuck and takes no event")).hint(hint);
    }
    if status != "active" {
        let hint = format!("statemesh start {name} puts a new instance in its place");
        return failure(format!("{name} has ended ({status})")).hint(hint);
    }
    let explanation = explained().map(|mut reply| reply["explanation"].take()).unwrap_or_default();
    let candidates = rows(&explanation["candidates"]);
    let state = state(&reply["value"]);
    if candidates.iter().any(|tried| tried["taken"] == json!(true)) || explanation["handled"].is_null() {
        return failure(format!("{state} did not take {event}"));
    }
    if let Some(tried) = candidates.first() {
        let why = tried["reason"].as_str().map(|why| format!(": {}", printable(why))).unwrap_or_default();
        let hint = format!("statemesh explain {name} {event} says more");
        return failure(format!("{state} did not take {event}{why}")).hint(hint);
    }
    let handled = sent(rows(&explanation["handled"]).iter().map(text));
    let failure = failure(format!("{state} does not react to {event}"));
    if handled.is_empty() {
        return failure.hint("it reacts to no event");
    }
    let near = did_you_mean(event, handled.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    failure.hint(format!("it reacts to {}{near}", handled.join(", ")))
}

pub(crate) fn start(args: StartArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let input = args.input.as_deref().map(|input| json_argument("input", input)).transpose()?;
    let input = input.map(|input| input.to_string());
    let (input, force) = (input.as_deref().map(str::as_bytes), args.force);
    let (until, within_ms) = (args.until.until(), args.until.within_ms());
    let until = until.as_deref().map(str::as_bytes);
    let (conditions, answering) = (args.conditions.given(), Answering { until, within_ms, timing: false });
    let ask = Ask { input, force, conditions, answer: answering, ..about(Op::Start, &args.target) };
    let mut client = connect_for(&args.connect, file, args.until.later())?;
    let asked = Instant::now();
    let reply = answer(&mut client, &ask)?;
    let waited = asked.elapsed();
    printer.answer(&reply, || outcome(&args.target, &reply))?;
    reached(&args.target, &reply, &args.until, waited)
}

/// A request that names an instance, and at most on what it depends.
pub(crate) fn act(op: Op, args: &ActArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let ask = Ask { conditions: args.conditions.given(), ..about(op, &args.target) };
    let reply = request(&args.connect, file, &ask)?;
    printer.answer(&reply, || noted(&args.target, &reply, acted(op, &reply)))
}

/// What there is to know of such a request: one that sees to what is stuck and changed nothing found nothing to see to.
fn acted(op: Op, reply: &Value) -> (String, Style) {
    let is_idle = matches!(op, Op::Retry | Op::Skip) && reply["changed"] == json!(false) && reply["stuck"].is_null();
    if is_idle { ("unchanged: it is not stuck".to_owned(), Style::Faint) } else { note(reply) }
}

/// One line: where the instance is now, and whether the event took it there.
fn outcome(target: &Target, reply: &Value) -> Table {
    noted(target, reply, note(reply))
}

pub(super) fn noted(target: &Target, reply: &Value, note: (String, Style)) -> Table {
    let mut table = Table::new(["INSTANCE", "STATE", "STATUS", "SEQ", ""]);
    let status = text(&reply["status"]);
    table.styled([
        (target.to_string(), Style::Strong),
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
    let what = if fault["message"].is_string() { text(&fault["message"]) } else { text(fault) };
    if reply["stuck"] == json!(true) {
        return (format!("stuck: {what} (statemesh retry, skip or stop)"), Style::Bad);
    }
    if !fault.is_null() {
        return (format!("fault: {what}"), Style::Bad);
    }
    if reply["restarted"] == json!(true) {
        return ("restarted: its owner died, and it began anew".to_owned(), Style::Doubtful);
    }
    let conflict = &reply["conflict"];
    if conflict.is_object() {
        let (from, run) = (text(&conflict["lost_from"]), text(&conflict["run"]));
        let how = if conflict["reason"] == json!("owner_lost") {
            "another daemon served it for a while and died"
        } else {
            "it was served twice"
        };
        let what = format!("conflict: {how}, and transitions from {from} on of life {run} are gone");
        return (what, Style::Doubtful);
    }
    let is_new = reply["new"] == json!(true);
    match reply["changed"].as_bool() {
        // A key that was misspelt makes an instance as well as one that was meant.
        Some(_) if is_new => ("new".to_owned(), Style::Good),
        Some(true) => ("changed".to_owned(), Style::Good),
        Some(false) => ("unchanged".to_owned(), Style::Faint),
        None => (String::new(), Style::Plain),
    }
}

pub(crate) fn get(args: &GetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let (until, within_ms) = (args.until.until(), args.until.within_ms());
    let answering = Answering { until: until.as_deref().map(str::as_bytes), within_ms, timing: false };
    let ask = Ask { answer: answering, ..about(Op::Get, &args.target) };
    let mut client = connect_for(&args.connect, file, args.until.later())?;
    let asked = Instant::now();
    let reply =
        answer(&mut client, &ask).map_err(|failure| if until.is_some() { not_there(failure) } else { failure })?;
    let waited = asked.elapsed();
    printer.answer(&reply, || fields(&told(&reply)))?;
    reached(&args.target, &reply, &args.until, waited)
}

/// The reply with its timers and children as a person reads them: `xstate.after.500.door.open in 1.2 s`, `pay > card: asking {"n":1}`.
fn told(reply: &Value) -> Value {
    let mut shown = reply.clone();
    if let Some(timers) = reply["timers"].as_array() {
        // While it is stuck none of them fires, however late.
        let is_stuck = reply["stuck"] == json!(true);
        let when =
            |timer: &Value| if is_stuck { ", held".to_owned() } else { format!(" in {}", ago(&timer["due_ms"])) };
        let told = timers.iter().map(|timer| format!("{}{}", text(&timer["event"]), when(timer)));
        shown["timers"] = json!(told.collect::<Vec<_>>().join("; "));
    }
    if let Some(children) = reply["children"].as_array() {
        let told = children.iter().map(|child| {
            let status = Some(text(&child["status"])).filter(|status| status != "active");
            let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
            format!("{}: {}{status} {}", path(&child["child"]), state(&child["value"]), child["context"])
        });
        shown["children"] = json!(told.collect::<Vec<_>>().join("; "));
    }
    shown
}

/// A child's ids, from the instance's own child down.
fn path(ids: &Value) -> String {
    rows(ids).iter().map(text).collect::<Vec<_>>().join(" > ")
}

pub(crate) fn whereabouts(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let mut client = connect(&args.connect, file)?;
    let reply = answer(&mut client, &about(Op::Where, &args.target))?;
    // Every key has a place, also one of a machine that there is not.
    tell_if_unknown(&args.target.machine, &mut client);
    printer.answer(&reply, || {
        let mut shown = reply.clone();
        if shown["owner"].is_null() {
            let why =
                if shown["next"].is_null() { "the daemon has not joined its mesh" } else { "the partition moves" };
            shown["owner"] = json!(format!("no daemon just now: {why}"));
        }
        fields(&shown)
    })
}

pub(crate) fn explain_event(args: ExplainArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let event = event(&args.event, args.data.as_deref())?.to_string();
    let (event, faults) = (Some(Event::Whole(event.as_bytes())), args.faults.map(Into::into));
    let ask = Ask { event, faults, ..about(Op::Explain, &args.target) };
    let reply = request(&args.connect, file, &ask)?;
    printer.text(&reply, |painter| explain::lines(&args.target, &reply, painter))
}

pub(crate) fn history(args: TargetArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args.connect, file, &about(Op::History, &args.target))?;
    let entries = &reply["history"];
    printer.answer(entries, || {
        let mut table = Table::new(["SEQ", "EVENT", "FROM", "TO", "AGO", ""]).or("no transition yet");
        for entry in rows(entries) {
            let plain = |text| (text, Style::Plain);
            table.styled([
                plain(text(&entry["seq"])),
                plain(text(&entry["event"])),
                plain(state_or_nothing(&entry["from"])),
                plain(state_or_nothing(&entry["to"])),
                plain(ago(&entry["ageMs"])),
                how(entry),
            ]);
        }
        table
    })
}

/// How a transition came about that is none of an event or a timer that the instance took.
fn how(entry: &Value) -> (String, Style) {
    match entry["reason"].as_str() {
        _ if entry["stuck"] == json!(true) => ("stuck: the timer could not be fired".to_owned(), Style::Bad),
        Some("retry") => ("retried".to_owned(), Style::Good),
        Some("skip") => ("skipped".to_owned(), Style::Doubtful),
        reason => (reason.unwrap_or_default().to_owned(), Style::Plain),
    }
}

/// Milliseconds as a person counts them.
pub(super) fn ago(age_ms: &Value) -> String {
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

pub(super) fn state_or_nothing(value: &Value) -> String {
    if value.is_null() { String::new() } else { state(value) }
}

/// A verb whose answer is the list of the same name.
pub(crate) fn list(
    given: &Connect,
    file: Option<&Path>,
    printer: &Printer,
    op: Op,
    table: fn(&Value) -> Table,
) -> Result<(), Failure> {
    let reply = request(given, file, &remote::ask(op))?;
    let found = &reply[op.as_str()];
    printer.answer(found, || table(found))
}

pub(crate) fn machines(found: &Value) -> Table {
    let mut table =
        Table::new(["MACHINE", "VERSION", "INSTANCES HERE", "HASH"]).or("no machine is defined; statemesh define FILE");
    for machine in rows(found) {
        let hash = short_hash(&machine["hash"]);
        table.styled([
            (text(&machine["id"]), Style::Strong),
            (version_of(machine), Style::Plain),
            (text(&machine["instances"]), Style::Plain),
            (hash, Style::Faint),
        ]);
    }
    table
}

/// Which version of its machine it is, and since which revision of files that is counted.
fn version_of(machine: &Value) -> String {
    match machine["revision"].as_u64() {
        Some(revision) => format!("{} of revision {revision}", text(&machine["version"])),
        None => text(&machine["version"]),
    }
}

/// As much of a definition's hash as tells the versions of a machine apart.
pub(super) fn short_hash(hash: &Value) -> String {
    text(hash).chars().take(12).collect()
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

pub(crate) fn placement(args: Connect, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let reply = request(&args, file, &remote::ask(Op::Placement))?;
    printer.answer(&reply, || {
        let mut table = Table::new(["OWNER", "PARTITIONS"]);
        for (index, owner) in rows(&reply["owners"]).iter().enumerate() {
            let owned = rows(&reply["map"]).iter().filter(|at| at.as_u64() == Some(index as u64)).count();
            table.row([text(owner), owned.to_string()]);
        }
        let moving = rows(&reply["map"]).iter().filter(|at| !at.is_u64()).count();
        if moving > 0 {
            table.row(["no daemon just now".to_owned(), moving.to_string()]);
        }
        table
    })
}

pub(crate) fn ping(args: PingArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let start = Instant::now();
    let reply = loop {
        match round_trip(&args.connect, file) {
            Err(failure) if failure.exit == Exit::Unreachable && start.elapsed() < args.wait => {
                std::thread::sleep(PING_AGAIN);
            }
            answer => break answer?,
        }
    };
    printer.answer(&reply, || fields(&reply))
}

/// What a daemon says to a ping, and how long that took without connecting.
fn round_trip(given: &Connect, file: Option<&Path>) -> Result<Value, Failure> {
    let mut client = connect(given, file)?;
    let asked = Instant::now();
    let mut reply = without_envelope(client.ask(&remote::ask(Op::Ping))?);
    let round_trip_us = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
    reply["round_trip_us"] = json!(round_trip_us);
    Ok(reply)
}

pub(super) fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_named_for_people() {
        let reply = json!({
            "children": [{"child": ["pay", "card"], "machine": "card", "value": "asking", "status": "active", "context": {"n": 1}}],
        });
        let shown = told(&reply);
        assert_eq!(shown["children"], "pay > card: asking {\"n\":1}");
    }

    #[test]
    fn an_event_is_its_type_and_the_fields_of_data() {
        assert_eq!(event("PAY", Some(r#"{"amount":3}"#)).unwrap(), json!({"type": "PAY", "amount": 3}));
        assert_eq!(event("PAY", None).unwrap(), json!({"type": "PAY"}));
        for wrong in ["3", "{", r#"{"type":"REFUND"}"#] {
            assert_eq!(event("PAY", Some(wrong)).unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }

    #[test]
    fn an_event_that_was_not_taken_says_why() {
        let target: Target = "order/1".parse().unwrap();
        let told = |reply: Value, explanation: Value| {
            let explained = || Some(json!({"explanation": explanation}));
            let failure = ignored(&target, "PYA", &reply, explained);
            format!("{} | {}", failure.message, failure.hint.unwrap_or_default())
        };
        let open = json!({"value": "open", "status": "active", "changed": false, "handled": false});
        let unknown = json!({"candidates": [], "handled": ["ADD", "PAY"]});
        let expected = "open does not react to PYA | it reacts to ADD, PAY; did you mean PAY?";
        assert_eq!(told(open.clone(), unknown), expected);
        let guarded = json!({"candidates": [{"taken": false, "reason": "the guard g is false"}], "handled": ["PYA"]});
        let told_guarded = told(open.clone(), guarded);
        assert!(told_guarded.starts_with("open did not take PYA: the guard g is false | statemesh explain"));
        let taken = json!({"candidates": [{"taken": true}], "handled": ["PYA"]});
        assert_eq!(told(open, taken), "open did not take PYA | ", "it would be taken by now");
        let ended = told(json!({"value": "paid", "status": "done", "changed": false}), Value::Null);
        assert!(ended.starts_with("order/1 has ended (done) | statemesh start"), "{ended}");
    }

    #[test]
    fn what_is_not_stuck_is_told_so_to_who_retries() {
        let (idle, stuck) = (json!({"changed": false}), json!({"changed": false, "stuck": true}));
        for op in [Op::Retry, Op::Skip] {
            assert_eq!(acted(op, &idle).0, "unchanged: it is not stuck");
            assert!(acted(op, &stuck).0.starts_with("stuck:"));
        }
        assert_eq!(acted(Op::Stop, &idle).0, "unchanged");
    }

    #[test]
    fn who_waits_for_an_instance_that_is_gone_is_told_as_where_it_is_sent_to() {
        let refused = |code| Failure { reply: Some(code), ..Failure::new(Exit::Refused, "c", "m") };
        assert_eq!(not_there(refused(ErrorCode::UnknownInstance)).exit, Exit::Unreached);
        assert_eq!(not_there(refused(ErrorCode::Timeout)).exit, Exit::Refused);
    }

    #[test]
    fn more_time_is_offered_only_where_it_can_help() {
        let target: Target = "order/1".parse().unwrap();
        let told = |mut reply: Value, is_late| {
            reply["reached"] = json!(false);
            let until = UntilArgs { within: Some(Duration::from_secs(2)), ..UntilArgs::default() };
            let waited = Duration::from_secs(if is_late { 2 } else { 1 });
            let failure = reached(&target, &reply, &until, waited).unwrap_err();
            assert_eq!(failure.exit, Exit::Unreached);
            format!("{} | {}", failure.message, failure.hint.unwrap_or_default())
        };
        let active = json!({"value": "a", "status": "active"});
        assert!(told(active.clone(), true).contains("--within gives it more time"));
        for (reply, is_late, says) in [
            (active, false, "its next life began"),
            (json!({"value": "a", "status": "active", "gone": true}), false, "is gone; it was last in a (active)"),
            (json!({"value": "a", "status": "stopped"}), true, "it has ended; `statemesh history order/1`"),
            (json!({"value": "a", "status": "done"}), false, "it has ended"),
            (json!({"value": "a", "status": "error", "stuck": true}), true, "(stuck), and not"),
            (json!({"value": "a", "status": "error", "stuck": true}), true, "`statemesh retry order/1`"),
            (json!({"value": "a", "status": "active", "restarted": true}), true, "another life of it began"),
        ] {
            let told = told(reply, is_late);
            assert!(told.contains(says) && !told.contains("--within"), "{told}");
        }
        // Who said nothing of a time may have met a limit that only the daemon knows.
        let reply = json!({"value": "a", "status": "active", "reached": false});
        let hint =
            |waited| reached(&target, &reply, &UntilArgs::default(), waited).unwrap_err().hint.unwrap_or_default();
        assert!(hint(Duration::from_secs(3)).contains("limits.wait of the daemon is over"));
        assert!(hint(USUAL_WAIT).contains("--within gives it more time"));
    }

    #[test]
    fn a_fault_is_an_object_for_programs_too() {
        let reply = json!({"ok": true, "id": 1, "fault": "{\"code\":\"c\",\"message\":\"m\"}"});
        assert_eq!(without_envelope(reply), json!({"fault": {"code": "c", "message": "m"}}));
        assert_eq!(without_envelope(json!({"fault": "plain"})), json!({"fault": "plain"}));
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
    fn an_outcome_says_what_is_gone_of_an_instance() {
        let target: Target = "order/42".parse().unwrap();
        let conflict = json!({"reason": "merged", "lost_from": 7, "run": "18bc"});
        let reply = json!({"value": "a", "status": "active", "seq": 9, "changed": true, "conflict": conflict});
        let table = outcome(&target, &reply).render(false);
        assert!(
            table.contains("conflict: it was served twice, and transitions from 7 on of life 18bc are gone"),
            "{table}"
        );
    }

    #[test]
    fn a_history_says_where_the_instance_was_stuck_and_how_it_went_on() {
        let told = [json!({}), json!({"stuck": true}), json!({"reason": "retry"}), json!({"reason": "skip"})];
        let told = told.map(|entry| how(&entry).0);
        assert_eq!(told, ["", "stuck: the timer could not be fired", "retried", "skipped"]);
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
