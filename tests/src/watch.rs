//! A subscriber: collects the changes that daemons publish.

use crate::Outcome;
use crate::caller::PATIENCE;
use omq_proto::SocketType;
use serde_json::Value;
use statemesh_client::Connection as Client;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One change: its topic and what was said.
pub type Change = (String, Value);

/// Subscribers on threads of their own. They end with the scenario's process.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    changes: Arc<Mutex<Vec<Change>>>,
}

impl Watcher {
    /// Watches `prefix` at each of these addresses.
    ///
    /// # Errors
    /// No daemon listens there.
    pub fn start(addresses: &[SocketAddr], prefix: &str) -> Outcome<Self> {
        let watcher = Self::default();
        for address in addresses {
            let mut client = Client::connect(*address, SocketType::Sub, PATIENCE)?;
            client.subscribe(prefix.as_bytes());
            client.flush()?;
            let changes = Arc::clone(&watcher.changes);
            std::thread::spawn(move || collect(client, &changes));
        }
        Ok(watcher)
    }

    /// What has come so far.
    ///
    /// # Errors
    /// A subscriber panicked.
    pub fn changes(&self) -> Outcome<Vec<Change>> {
        Ok(self.changes.lock().map_err(|_| "a subscriber panicked")?.clone())
    }

    /// Waits until a change of this topic has this reason.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub fn wait(&self, topic: &str, reason: &str, limit: Duration) -> Outcome<Value> {
        let found = crate::wait_for(&format!("a change of {topic} for the reason {reason}"), limit, || {
            let changes = self.changes()?;
            Ok(changes.into_iter().find(|(of, change)| of == topic && change["reason"] == reason))
        });
        found.map(|((_, change), _)| change)
    }
}

fn collect(mut client: Client, changes: &Mutex<Vec<Change>>) {
    // An error is the daemon's end, or that nothing changed for a long time; either way the scenario is over for us.
    while let Ok(message) = client.receive(Duration::from_secs(120)) {
        let (Some(topic), Some(body)) = (message.part_slice(0), message.part_slice(1)) else {
            continue;
        };
        let Ok(change) = rmp_serde::from_slice::<Value>(body) else {
            continue;
        };
        if let Ok(mut changes) = changes.lock() {
            changes.push((String::from_utf8_lossy(topic).into_owned(), change));
        }
    }
}
