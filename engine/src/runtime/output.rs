//! Where steps put what they cause, and the buffers that they keep for the next one.

use super::scratch::Scratch;
use crate::event::{Effect, TimerCommand};
use crate::machine::Faults;

/// Where steps put what they cause. Reuse one per thread: its buffers keep their capacity, so that a step need not
/// allocate. The caller clears it; a step only appends.
#[derive(Debug, Default)]
pub struct Output {
    /// Effects in order: of one step no more bytes, as JSON, than its machine's `output_bytes_max`.
    pub effects: Vec<Effect>,
    /// Timers to start and to forget.
    pub timers: Vec<TimerCommand>,
    pub(crate) scratch: Scratch,
    /// What becomes of faults, whatever the machine says.
    pub(crate) faults: Option<Faults>,
}

impl Output {
    /// An empty output.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets effects and timer commands; keeps the capacity.
    #[inline]
    pub fn clear(&mut self) {
        self.effects.clear();
        self.timers.clear();
    }
}
