//! A daemon is known by whichever of its addresses a person has at hand: of what `members` prints, of its log, of its HTTP. Requests go
//! to the one for clients.

use crate::config::Target;
use crate::kind::CLIENT_PORT;
use crate::remote;
use serde_json::Value;
use statemesh_client::{Client, Op, Options};

/// Ports beside the one for clients: how far they are from it unless they were set, and what a member's entry calls them.
const OTHERS: [(u16, &str); 4] = [(1, "changes"), (2, "peers"), (3, "gossip"), (80, "http")];

/// The same daemons by their addresses for clients, if they have the given ones for something else; `None`: there is none. Ports that were set are
/// mostly as far from each other as the usual ones.
pub(crate) fn behind(target: &Target) -> Option<Target> {
    let found = |address: &String| {
        let (host, port) = split(address)?;
        OTHERS.iter().find_map(|(offset, _)| confirmed(target, host, port, *offset))
    };
    let addresses: Vec<_> = target.addresses.iter().filter_map(found).collect();
    (!addresses.is_empty()).then(|| Target { addresses, ..target.clone() })
}

/// What has this port unless it was set.
pub(crate) fn setting_of(address: &str) -> Option<String> {
    let (_, port) = split(address)?;
    let (_, name) = OTHERS.iter().find(|(offset, _)| port == CLIENT_PORT + offset)?;
    Some(format!("listen.{name}"))
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// The address so far below the port, if a daemon for clients is there that calls that port its own.
fn confirmed(target: &Target, host: &str, port: u16, offset: u16) -> Option<String> {
    let address = format!("{host}:{}", port.checked_sub(offset)?);
    let options = Options { security: target.security.clone(), timeout: target.timeout, ..Options::at(&address) };
    let reply = Client::connect(options).ok()?.ask(&remote::ask(Op::Members)).ok()?;
    let reply: Value = serde_json::from_slice(reply.bytes()).ok()?;
    let me = reply["members"].as_array()?.iter().find(|member| member["self"] == Value::Bool(true))?;
    let is_its = |name: &str| me[name].as_str().and_then(split).is_some_and(|(_, its)| its == port);
    OTHERS.iter().any(|(_, name)| is_its(name)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_ports_have_names() {
        assert_eq!(setting_of("tcp://h:7401").as_deref(), Some("listen.changes"));
        assert_eq!(setting_of("tcp://[::1]:7480").as_deref(), Some("listen.http"));
        assert_eq!(setting_of("tcp://h:7400"), None);
    }
}
