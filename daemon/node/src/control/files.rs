//! Machines that are given as files. They are judged once the mesh's list of machines is known: which of them become current, or are
//! added, is told in [`statemesh_mesh::definitions`]. A daemon whose files differ from what the mesh runs says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statemesh_mesh::definitions::File;
use statemesh_protocol::identity::MemberName;

use super::Control;
use super::load::Loaded;
use crate::volume::body_of;

/// How long those are waited for that have no link or say nothing, once one member has told what the mesh has.
const LISTS_PATIENCE: Duration = Duration::from_secs(3);

/// The machines that this daemon was given, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Files {
    given: Vec<File>,
    /// What the mesh has is known, and these were taken or not.
    judged: bool,
    /// Since when this daemon has joined.
    joined_at: Option<Instant>,
    /// Machines of which the mesh runs another version, or none.
    differing: Vec<String>,
}

impl Files {
    /// Whether it is known what becomes of them.
    pub(super) fn are_judged(&self) -> bool {
        self.judged || self.given.is_empty()
    }

    /// How many differ from what the mesh runs.
    pub(super) fn differing(&self) -> u64 {
        self.differing.len() as u64
    }

    /// The machines whose files differ from what the mesh runs.
    pub(super) fn differing_machines(&self) -> Vec<String> {
        self.differing.clone()
    }

    /// Since when this daemon has joined.
    pub(super) fn joined_at(&self) -> Option<Instant> {
        self.joined_at
    }
}

impl Control {
    /// Keeps what was given at start until it can be judged.
    pub(super) fn keep_files(&mut self, loaded: Vec<Loaded>) {
        for Loaded { machine } in loaded {
            self.files.given.push(File {
                machine: machine.id().to_owned(),
                hash: *machine.hash(),
                body: body_of(&machine),
                children: machine.children().map(|(_, child)| *child.hash()).collect(),
            });
            self.definitions.keep_compiled(Arc::clone(&machine));
        }
    }

    /// When files are judged although a member has not told what it has.
    pub(super) fn files_due(&self) -> Option<Instant> {
        self.lists_due().filter(|_| !self.files.are_judged() && !self.definitions.is_fetching())
    }

    fn lists_due(&self) -> Option<Instant> {
        let joined_at = self.files.joined_at?;
        self.live().any(|name| self.definitions.has_list_of(name)).then(|| joined_at + LISTS_PATIENCE)
    }

    /// Whether all live members have told which machines they have.
    pub(super) fn all_told(&self) -> bool {
        self.live().all(|name| self.definitions.has_list_of(name))
    }

    /// Judges the files once the mesh's list is known: this daemon is alone, or all live members have told theirs.
    pub(super) fn judge_files(&mut self, now: Instant) {
        if !self.joining.joined {
            return;
        }
        self.files.joined_at.get_or_insert(now);
        if self.files.are_judged() {
            return;
        }
        // What a member that dies was about to give does not count: so that is awaited.
        let comes = self.definitions.is_fetching() && self.adopting_due().is_some_and(|due| now < due);
        let known = self.all_told() || self.lists_due().is_some_and(|due| due <= now);
        if !known || comes {
            return;
        }
        self.files.judged = true;
        self.reports.is_stale = true;
        let revision = self.shared.options.machines_revision;
        let given = std::mem::take(&mut self.files.given);
        if let Err(error) = self.adopt_files(&given, revision) {
            tracing::error!(%error, "not all machine files are defined");
        }
        self.files.given = given;
        self.compare_files();
    }

    /// Says so when other files differ from what the mesh runs than before.
    pub(super) fn compare_files(&mut self) {
        if !self.files.judged {
            return;
        }
        let differs = |file: &&File| self.definitions.newest(&file.machine) != Some(file.hash);
        let differing: Vec<String> = self.files.given.iter().filter(differs).map(|file| file.machine.clone()).collect();
        if differing == self.files.differing {
            return;
        }
        if !differing.is_empty() {
            tracing::warn!(
                machines = differing.join(", "),
                revision = self.shared.options.machines_revision,
                mesh_revision = self.definitions.revision(),
                "machine files differ from what the mesh runs; to make them current give the folder a higher machines_revision"
            );
        }
        self.files.differing = differing;
        self.reports.is_stale = true;
    }

    /// The other members that are there, as far as gossip knows.
    pub(super) fn live(&self) -> impl Iterator<Item = &MemberName> {
        let live = self.membership.members().filter(|known| known.status.is_live());
        live.map(|known| &known.identity.name)
    }
}
