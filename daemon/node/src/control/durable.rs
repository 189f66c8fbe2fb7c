//! Machines whose instances are on the disk: which may be defined, and what follows for the daemon. In this version a daemon that has some
//! is alone: it takes no other into its mesh.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::place::Tier;
use statemesh_protocol::reply::write_error;

use super::compile::Good;
use super::work::{Asked, Work};
use super::{Control, Output};
use crate::volume::{Stored, body_of, is_alone, tier_of};

/// Why a machine does not get the tier that it wants.
struct NoTier {
    code: ErrorCode,
    message: String,
    hint: &'static str,
}

impl Control {
    /// Takes the definitions that the volume has.
    pub(super) fn restore(&mut self, stored: Vec<Stored>, now: Instant) {
        for Stored { machine } in stored {
            let (name, hash) = (machine.id().to_owned(), *machine.hash());
            self.definitions.are_durable = true;
            self.shared.machines.set_tier(&name, Tier::Disk);
            let body = body_of(&machine);
            self.definitions.keep_compiled(machine);
            if let Err(error) = self.definitions.take_back(&name, hash, body, now) {
                tracing::error!(machine = name, %error, "a definition of the volume is not taken: its instances are not served");
            }
        }
        self.follow_definitions();
    }

    /// A definition compiles: where are its instances kept? What is kept on the disk is there before the machine is.
    pub(super) fn settle_tier(&mut self, asked: Asked, good: Good, now: Instant) {
        match self.tier(&good) {
            Ok(Tier::Memory) => {
                self.definitions.done();
                self.push(asked, good, now);
            }
            Ok(Tier::Disk) => {
                self.definitions.are_durable = true;
                let work = Work::keep(Arc::clone(&self.shared), asked, good);
                self.outbox.put(Output::Work(work));
            }
            Err(NoTier { code, message, hint }) => {
                self.definitions.done();
                self.refuse_define(&asked, code, &message, hint);
            }
        }
    }

    /// The definition of a durable machine is on the disk, or could not be brought there.
    pub(super) fn kept(&mut self, asked: Asked, good: Good, result: io::Result<()>, now: Instant) {
        match result {
            Ok(()) => {
                self.shared.machines.set_tier(good.machine.id(), Tier::Disk);
                self.push(asked, good, now);
            }
            Err(error) => {
                let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let code = if is_full { ErrorCode::StorageFull } else { ErrorCode::StorageFailed };
                let message = format!("the definition could not be kept: {error}");
                self.refuse_define(&asked, code, &message, "see to the daemon's volume, and define it again");
            }
        }
    }

    fn refuse_define(&mut self, asked: &Asked, code: ErrorCode, message: &str, hint: &str) {
        let mut reply = Vec::new();
        write_error(&mut reply, asked.encoding, asked.id.as_deref(), code, message, hint);
        self.reply(asked, (reply, Some(code)));
    }

    fn tier(&self, good: &Good) -> Result<Tier, NoTier> {
        let id = good.machine.id();
        let table = self.shared.machines.table();
        let known = table.by_name(id).map(|_| table.tier(id));
        let tier = tier_of(&good.machine, good.asked, known, self.shared.options.storage.durability);
        match tier {
            Err((known, wanted)) => Err(NoTier {
                code: ErrorCode::DurabilityFixed,
                message: format!(
                    "machine \"{id}\" has durability \"{}\", which its first definition decided, and not \"{}\"",
                    known.as_str(),
                    wanted.as_str()
                ),
                hint: "leave it out, or give the machine another id",
            }),
            Ok(Tier::Disk) => self.may_be_durable().map(|()| Tier::Disk),
            Ok(Tier::Memory) => Ok(Tier::Memory),
        }
    }

    /// Whether this daemon may have durable machines: it has a volume, and no other daemon.
    fn may_be_durable(&self) -> Result<(), NoTier> {
        let unsupported =
            |message: &str, hint| NoTier { code: ErrorCode::Unsupported, message: message.to_owned(), hint };
        if !is_alone(&self.shared.options) || self.membership.members().next().is_some() {
            return Err(unsupported(
                "durability \"disk\": in this version the daemon must be alone, and this one has others, or looks for them",
                "define it at a daemon without discovery.service, discovery.seeds and birth that has --data DIR, or say \"memory\"",
            ));
        }
        if self.shared.volume.get().is_none() {
            return Err(unsupported(
                "durability \"disk\": this daemon has no folder for its data",
                "start it with --data DIR, or say \"memory\"",
            ));
        }
        Ok(())
    }

    /// Whether what comes from other daemons is not heard: durable machines are on this one's disk alone.
    pub(super) fn stays_alone(&mut self, from: SocketAddr) -> bool {
        if self.definitions.are_durable && !self.definitions.has_said_so {
            self.definitions.has_said_so = true;
            tracing::warn!(%from, "another daemon wants to join, and is not heard: a daemon with durability \"disk\" is alone in this version");
        }
        self.definitions.are_durable
    }
}
