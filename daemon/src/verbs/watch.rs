//! `watch`: subscribes to the changes of every daemon of the mesh, and prints them as they come.

use super::target;
use crate::cli::WatchArgs;
use crate::client::{Client, secured};
use crate::failure::{Exit, Failure};
use crate::output::{Painter, Printer, Style, count, state, text};
use serde_json::{Value, json};
use statemesh_transport::SocketType;
use statemesh_transport::client::{Client as Direct, ClientError};
use statemesh_transport::curve::Security;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use zeromq::{Socket, SocketOptions, SocketRecv, SubSocket};

/// How often the list of members is asked for again, so that daemons that join are watched too.
const REFRESH: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Watches until Ctrl-C, or until `--count` changes were printed.
pub(crate) async fn watch(args: &WatchArgs, file: Option<&Path>, printer: &Printer) -> Result<(), Failure> {
    let target = target(&args.connect, file)?;
    let security = target.security.clone();
    let mut client = Client::connect(target).await?;
    let mut changes = Changes::of(args.target.as_deref().map(topic).unwrap_or_default(), security).await?;
    let mut watched = BTreeSet::new();
    join(&mut changes, &mut watched, &client.call(json!({"op": "members"})).await?).await?;
    eprintln!("watching {}; Ctrl-C ends", count(watched.len(), "daemon"));

    let mut refresh = tokio::time::interval(REFRESH);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        tokio::select! {
            message = changes.next() => {
                let (topic, body) = message?;
                let change = change(&topic, &body);
                if is_wanted(args.target.as_deref(), &change) {
                    printer.next(&change, |painter| line(&change, painter))?;
                    left -= 1;
                }
            }
            _ = refresh.tick() => {
                // The daemon that was asked may be gone: those that are watched already still are.
                if let Ok(reply) = client.call(json!({"op": "members"})).await {
                    join(&mut changes, &mut watched, &reply).await?;
                }
            }
        }
    }
    Ok(())
}

/// Subscribes to those members that are not watched yet. A member that cannot be reached now is tried at the next refresh.
async fn join(changes: &mut Changes, watched: &mut BTreeSet<String>, members: &Value) -> Result<(), Failure> {
    let alive = members["members"].as_array().into_iter().flatten().filter(|member| member["status"] == "alive");
    for address in alive.filter_map(|member| member["changes"].as_str()) {
        if watched.contains(address) {
            continue;
        }
        match changes.connect(address).await {
            Ok(()) => {
                watched.insert(address.to_owned());
            }
            Err(error) => eprintln!("warning: {address} is not watched: {error}"),
        }
    }
    if watched.is_empty() {
        return Err(Failure::new(
            Exit::Unreachable,
            "unreachable",
            "no daemon publishes changes where it can be reached",
        )
        .hint("`statemesh members -o json` shows the addresses"));
    }
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("changes: {error}"))
}

/// A topic and a body.
type Published = (Vec<u8>, Vec<u8>);

/// Changes of many daemons that a person has not seen yet; then those who read them for us wait.
const UNSEEN: usize = 1_024;

/// Where changes come from.
enum Changes {
    /// Without keys: one socket for all daemons.
    Plain(Box<SubSocket>),
    /// With keys: a thread for each daemon, as the direct client blocks.
    Secured { topic: String, security: Security, sender: mpsc::Sender<Published>, received: mpsc::Receiver<Published> },
}

impl Changes {
    async fn of(topic: String, security: Security) -> Result<Changes, Failure> {
        if !matches!(security, Security::None) {
            let (sender, received) = mpsc::channel(UNSEEN);
            return Ok(Changes::Secured { topic, security, sender, received });
        }
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT_TIMEOUT);
        let mut socket = SubSocket::with_options(options);
        socket.subscribe(&topic).await.map_err(broken)?;
        Ok(Changes::Plain(Box::new(socket)))
    }

    async fn connect(&mut self, address: &str) -> Result<(), Failure> {
        match self {
            Changes::Plain(socket) => socket.connect(&format!("tcp://{address}")).await.map_err(broken),
            Changes::Secured { topic, security, sender, .. } => {
                let mut direct = secured(address, SocketType::Sub, security.clone(), CONNECT_TIMEOUT).await?;
                direct.subscribe(topic.as_bytes());
                direct.flush().map_err(broken)?;
                let (sender, address) = (sender.clone(), address.to_owned());
                std::thread::spawn(move || read(&mut direct, &sender, &address));
                Ok(())
            }
        }
    }

    async fn next(&mut self) -> Result<Published, Failure> {
        match self {
            Changes::Plain(socket) => {
                let message = socket.recv().await.map_err(broken)?;
                let frame = |index| message.get(index).map(|frame| frame.to_vec()).unwrap_or_default();
                Ok((frame(0), frame(1)))
            }
            // A sender of our own is always there.
            Changes::Secured { received, .. } => received.recv().await.ok_or_else(|| broken("no daemon is left")),
        }
    }
}

/// Passes on what one daemon publishes, until it or the watcher ends.
fn read(direct: &mut Direct, sender: &mpsc::Sender<Published>, address: &str) {
    loop {
        match direct.receive(SILENCE) {
            Ok(message) => {
                let part = |index| message.part_slice(index).map(<[u8]>::to_vec).unwrap_or_default();
                if sender.blocking_send((part(0), part(1))).is_err() {
                    return;
                }
            }
            Err(ClientError::Io { source, .. }) if source.kind() == std::io::ErrorKind::TimedOut => {}
            Err(error) => return eprintln!("warning: {address} is watched no longer: {error}"),
        }
    }
}

/// How long a daemon may have nothing to say before we look whether anybody still listens to us.
const SILENCE: Duration = Duration::from_secs(60);

/// A subscription is a prefix: the slash keeps `order` from matching `orders`.
fn topic(target: &str) -> String {
    if target.contains('/') { target.to_owned() } else { format!("{target}/") }
}

/// A prefix cannot say where a key ends, so `order/4` is also sent `order/42`.
fn is_wanted(target: Option<&str>, change: &Value) -> bool {
    match target.and_then(|target| target.split_once('/')) {
        Some((_, key)) => change["key"] == json!(key) || change["key"].is_null(),
        None => true,
    }
}

/// The change as a map with `machine` and `key`, which the topic carries.
fn change(topic: &[u8], body: &[u8]) -> Value {
    let topic = String::from_utf8_lossy(topic).into_owned();
    let mut change = decode(body);
    if let (Some(map), Some((machine, key))) = (change.as_object_mut(), topic.split_once('/')) {
        map.entry("machine").or_insert_with(|| json!(machine));
        map.entry("key").or_insert_with(|| json!(key));
    }
    change
}

fn decode(body: &[u8]) -> Value {
    let decoded =
        if body.first() == Some(&b'{') { serde_json::from_slice(body).ok() } else { rmp_serde::from_slice(body).ok() };
    decoded.unwrap_or_else(|| json!({"undecoded_bytes": body.len()}))
}

fn line(change: &Value, painter: Painter) -> String {
    let name = format!("{}/{}", text(&change["machine"]), text(&change["key"]));
    let status = text(&change["status"]);
    let mut line = painter.paint(Style::Strong, &name);
    let mut add = |style, note: &str| {
        if !note.is_empty() {
            line.push_str("  ");
            line.push_str(&painter.paint(style, note));
        }
    };
    if !change["value"].is_null() {
        add(Style::Plain, &state(&change["value"]));
    }
    add(Style::of_status(&status), &status);
    if let Some(seq) = change["seq"].as_u64() {
        add(Style::Plain, &format!("seq {seq}"));
    }
    let (style, why) = why(change);
    add(style, &why);
    let effects = change["effects"].as_array().into_iter().flatten();
    let effects: Vec<_> = effects.map(|effect| text(&effect["type"])).collect();
    if !effects.is_empty() {
        add(Style::Plain, &format!("effects {}", effects.join(", ")));
    }
    if let Some(dropped) = change["dropped"].as_u64() {
        add(Style::Doubtful, &format!("({dropped} changes before this one were dropped)"));
    }
    line
}

/// The reason of a change; those that a failure caused stand out.
fn why(change: &Value) -> (Style, String) {
    match change["reason"].as_str().unwrap_or_default() {
        "event" => (Style::Faint, format!("event {}", text(&change["event"]))),
        "lost" => (Style::Bad, "lost with its owner".to_owned()),
        "restart" => (Style::Doubtful, "restarted: its predecessor was lost".to_owned()),
        "conflict" => (Style::Doubtful, "conflict: it was owned twice, and this won".to_owned()),
        reason => (Style::Faint, reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_a_topic_that_no_longer_name_matches() {
        assert_eq!(topic("order"), "order/");
        assert_eq!(topic("order/4"), "order/4");
        assert!(is_wanted(Some("order/4"), &json!({"key": "4"})));
        assert!(!is_wanted(Some("order/4"), &json!({"key": "42"})));
        assert!(is_wanted(Some("order"), &json!({"key": "42"})));
    }

    #[test]
    fn a_change_takes_machine_and_key_from_its_topic() {
        let body = br#"{"value":"paid","status":"active","seq":3,"reason":"timer","dropped":2}"#;
        let change = change(b"order/eu/42", body);
        assert_eq!((&change["machine"], &change["key"]), (&json!("order"), &json!("eu/42")));
        assert_eq!(
            line(&change, Painter { colour: false }),
            "order/eu/42  paid  active  seq 3  timer  (2 changes before this one were dropped)"
        );
    }

    #[test]
    fn a_body_that_cannot_be_read_is_shown_as_such() {
        assert_eq!(decode(b"\xc1\xc1"), json!({"undecoded_bytes": 2}));
        assert_eq!(decode(&rmp_serde::to_vec(&json!({"seq": 1})).unwrap()), json!({"seq": 1}));
    }
}
