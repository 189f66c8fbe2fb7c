//! Machines that are given as files, and are durable: they are kept as those are that clients define.

use std::io;
use std::sync::Arc;

use statemesh_engine::Machine;
use statemesh_protocol::place::Tier;

use super::{Stored, Volume, is_alone, tier_of};
use crate::options::Options;

/// A machine that is given as a file cannot be as durable as it says.
#[derive(Debug, thiserror::Error)]
#[error("machine \"{machine}\": {source}")]
pub struct FileRefused {
    /// Its id.
    pub machine: String,
    /// Why not.
    pub source: KeepError,
}

/// Why instances of a machine are not kept as it says.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Its instances are kept otherwise.
    #[error("durability_fixed: on this volume it has durability \"{}\", and not \"{}\"", known.as_str(), wanted.as_str())]
    Fixed {
        /// Where they are kept.
        known: Tier,
        /// What the file, or the daemon's setting, says.
        wanted: Tier,
    },
    /// The daemon has no folder for data, or is not alone.
    #[error(
        "durability \"disk\" needs a folder for data (--data DIR), and in this version a daemon that is alone: without \
         discovery.service, discovery.seeds and birth"
    )]
    NoVolume,
    /// The volume does not take its definition.
    #[error("it could not be kept: {0}")]
    Io(#[from] io::Error),
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
        let tier = tier_of(machine, None, known, options.storage.durability)
            .map_err(|(known, wanted)| refused(machine, KeepError::Fixed { known, wanted }))?;
        if tier == Tier::Memory {
            continue;
        }
        let Some(volume) = volume.filter(|_| is_alone(options)) else {
            return Err(refused(machine, KeepError::NoVolume));
        };
        if is_known && options.machines_revision.is_none() {
            continue;
        }
        volume.keep(machine).map_err(|error| refused(machine, error.into()))?;
        stored.retain(|of| of.machine.hash() != machine.hash());
        stored.push(Stored::of_file(machine));
    }
    Ok(())
}

fn refused(machine: &Machine, source: KeepError) -> FileRefused {
    FileRefused { machine: machine.id().to_owned(), source }
}
