//! Members by number, as reactors know them, and what their greetings are judged by.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use statemesh_mesh::membership::Membership;
use statemesh_protocol::identity::MemberName;
use statemesh_protocol::peer::hello::{Hello, Refusal};

use crate::shared::Judge;

/// The members that this process has heard of.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// A name keeps its number as long as the process lives.
    numbers: BTreeMap<MemberName, u32>,
    names: Vec<MemberName>,
    /// Those that gossip knows; what judges greetings reads it, whenever one comes.
    roll: Arc<RwLock<BTreeMap<MemberName, Enrolled>>>,
}

/// What is known of a member when it greets.
#[derive(Clone, Copy, Debug)]
struct Enrolled {
    number: u32,
    incarnation: u64,
    is_live: bool,
}

impl Members {
    /// The number of a member; a new name gets the next one.
    pub(super) fn number(&mut self, name: &MemberName) -> u32 {
        if let Some(number) = self.known(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The number of a member, if it has one.
    pub(super) fn known(&self, name: &MemberName) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The name of a number.
    pub(super) fn name(&self, number: u32) -> Option<MemberName> {
        self.names.get(number as usize).cloned()
    }

    /// Notes what gossip says of a member, by which its greetings are judged. Gives its number.
    pub(super) fn enroll(&mut self, name: &MemberName, membership: &Membership) -> u32 {
        let number = self.number(name);
        let mut roll = self.roll.write();
        match membership.member(name) {
            Some(info) => {
                let (incarnation, is_live) = (info.identity.incarnation, info.status.is_live());
                roll.insert(name.clone(), Enrolled { number, incarnation, is_live });
            }
            None => _ = roll.remove(name),
        }
        number
    }

    /// A member's process is gone: it greets no more. Gives its number.
    pub(super) fn bury(&mut self, name: &MemberName) -> u32 {
        self.roll.write().remove(name);
        self.number(name)
    }

    /// What judges greetings, from here on and as the roll is then, of a daemon that greets like this.
    pub(super) fn judge(&self, hello: Hello) -> Judge {
        let roll = Arc::clone(&self.roll);
        Box::new(move |bytes: &[u8]| {
            let theirs = Hello::decode(bytes).map_err(|_| Vec::new())?;
            let known = roll.read().get(&theirs.identity.name).copied();
            let refuse = |refusal: Refusal| refusal.encode().unwrap_or_default();
            hello.check(&theirs, known.map(|known| known.incarnation)).map_err(refuse)?;
            // Gossip has not told of it yet, or no longer: it asks again in a moment.
            let alive = known.filter(|known| known.is_live && known.incarnation == theirs.identity.incarnation);
            alive.map(|known| known.number).ok_or_else(Vec::new)
        })
    }
}
