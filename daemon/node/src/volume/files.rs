//! Machines that are given as files, and are durable: they are kept as those are that clients define.

use std::sync::Arc;

use statemesh_engine::Machine;
use statemesh_protocol::place::Tier;

use super::{Stored, Volume, is_alone, tier_of};
use crate::options::Options;

/// A machine that is given as a file cannot be as durable as it says.
#[derive(Debug)]
pub(crate) struct FileRefused {
    /// Its id.
    pub(crate) machine: String,
    /// Why not.
    pub(crate) reason: String,
}

/// Keeps those of the files whose instances are on the disk, and adds them to what is `stored`. Without a revision a file only adds a machine
/// that is not there.
///
/// # Errors
/// One wants a tier that it cannot have, or cannot be kept.
pub(crate) fn keep_files<'f>(
    files: impl Iterator<Item = &'f Arc<Machine>>,
    stored: &mut Vec<Stored>,
    options: &Options,
    volume: Option<&Volume>,
) -> Result<(), FileRefused> {
    for machine in files {
        let is_known = stored.iter().any(|of| of.machine.id() == machine.id());
        let known = is_known.then_some(Tier::Disk);
        let tier = tier_of(machine, None, known, options.storage.durability).map_err(|(known, wanted)| {
            let (known, wanted) = (known.as_str(), wanted.as_str());
            refused(
                machine,
                format!("durability_fixed: on this volume it has durability \"{known}\", and not \"{wanted}\""),
            )
        })?;
        if tier == Tier::Memory {
            continue;
        }
        let Some(volume) = volume.filter(|_| is_alone(options)) else {
            let reason = "durability \"disk\" needs a folder for data (--data DIR), and in this version a daemon that is alone: without \
                          discovery.service, discovery.seeds and birth";
            return Err(refused(machine, reason.to_owned()));
        };
        if is_known && options.machines_revision.is_none() {
            continue;
        }
        volume.keep(machine).map_err(|error| refused(machine, format!("it could not be kept: {error}")))?;
        stored.retain(|of| of.machine.hash() != machine.hash());
        stored.push(Stored::of_file(machine));
    }
    Ok(())
}

fn refused(machine: &Arc<Machine>, reason: String) -> FileRefused {
    FileRefused { machine: machine.id().to_owned(), reason }
}
