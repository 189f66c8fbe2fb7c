//! What compiles but is probably not meant.
use super::Compiler;
use crate::machine::Machine;

impl Compiler<'_> {
    pub(super) fn lint(&mut self, _machine: &Machine) {}
}
