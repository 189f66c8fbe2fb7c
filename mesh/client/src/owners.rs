//! Which daemon serves which key, as far as this client knows. What it knows may be old: then the daemon says `moved`.

use statemesh_protocol::hash;
use statemesh_protocol::reply_reader::Fields;

/// The answer to `placement`, and what was learned since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners {
    partitions: u16,
    /// Addresses for clients.
    clients: Vec<String>,
    /// For each partition an index into `clients`; `None`: no daemon served it when this was asked.
    map: Vec<Option<usize>>,
}

impl Owners {
    /// Reads the answer to `placement`; `None`: it has another form.
    pub(crate) fn read(reply: &Fields<'_>) -> Option<Self> {
        let partitions = u16::try_from(reply.uint("partitions")?).ok()?;
        let map = reply.uints("map");
        let clients = reply.texts("clients");
        (map.len() == usize::from(partitions)).then(|| Self {
            partitions,
            clients: clients.into_iter().map(|text| text.into_owned()).collect(),
            map: map.into_iter().map(|index| index.and_then(|index| usize::try_from(index).ok())).collect(),
        })
    }

    /// The address of the daemon that serves a key.
    pub(crate) fn of(&self, machine: &str, key: &str) -> Option<&str> {
        let owner = (*self.map.get(self.partition(machine, key)?)?)?;
        self.clients.get(owner).map(String::as_str)
    }

    /// A daemon said that another one serves the key.
    pub(crate) fn moved(&mut self, machine: &str, key: &str, address: &str) {
        let Some(partition) = self.partition(machine, key) else { return };
        let known = self.clients.iter().position(|client| client == address);
        let owner = known.unwrap_or_else(|| {
            self.clients.push(address.to_owned());
            self.clients.len() - 1
        });
        if let Some(entry) = self.map.get_mut(partition) {
            *entry = Some(owner);
        }
    }

    fn partition(&self, machine: &str, key: &str) -> Option<usize> {
        let partitions = (self.partitions > 0).then_some(self.partitions)?;
        Some(usize::from(hash::partition_of_hash(hash::key_hash(machine, key), partitions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_where_placement_says_until_a_daemon_says_otherwise() {
        let reply = br#"{"ok":true,"partitions":2,"clients":["a:1","b:1"],"map":[0,1]}"#;
        let mut owners = Owners::read(&Fields::read(reply).unwrap()).unwrap();
        let before: Vec<_> = (0..20).map(|n| owners.of("m", &n.to_string()).unwrap().to_owned()).collect();
        assert!(before.contains(&"a:1".to_owned()) && before.contains(&"b:1".to_owned()));
        owners.moved("m", "0", "c:1");
        assert_eq!(owners.of("m", "0"), Some("c:1"));
        let same = (1..20).filter(|n| before[*n] == before[0]);
        assert!(same.into_iter().all(|n| owners.of("m", &n.to_string()) == Some("c:1")), "the whole partition");
    }

    #[test]
    fn a_key_that_nobody_serves_just_now_is_asked_for_at_home() {
        let owners = Owners::read(&Fields::read(br#"{"partitions":1,"clients":["a:1"],"map":[null]}"#).unwrap());
        assert_eq!(owners.unwrap().of("m", "k"), None);
    }

    #[test]
    fn what_has_another_form_is_no_placement() {
        for reply in [&br#"{"ok":true}"#[..], br#"{"partitions":3,"clients":[],"map":[]}"#, b"\x80"] {
            assert_eq!(Owners::read(&Fields::read(reply).unwrap()), None);
        }
        assert_eq!(Owners::default().of("m", "k"), None);
    }
}
