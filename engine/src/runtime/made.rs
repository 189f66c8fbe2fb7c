//! What a step has put out so far: the bounds on the number and the bytes of its effects.
//!
//! Bytes are counted by weight, which costs nothing: effects share their values with the context. Only where text that has to
//! be escaped could make them longer than allowed as JSON they are measured, once, at the end.

use crate::error::StepError;
use crate::event::Effect;
use crate::limits::Limits;
use crate::weight::output_fits;

/// Effects of one step, those included that wait for the start of their actor.
#[derive(Debug, Default)]
pub(crate) struct Made {
    count: usize,
    weight: usize,
}

impl Made {
    pub(crate) fn add(&mut self, effect: &Effect, limits: &Limits) -> Result<(), StepError> {
        self.count += 1;
        self.weight = self.weight.saturating_add(effect.weight());
        if self.count > limits.effects_max {
            let maximum = limits.effects_max as u64;
            return Err(StepError::limit("effects_max", maximum, "one input causes too many effects"));
        }
        match self.weight > limits.output_bytes_max {
            true => Err(too_large(limits)),
            false => Ok(()),
        }
    }

    /// Whether what was put out cannot exceed the limit, however it is written.
    #[inline]
    pub(crate) fn fits(&self, limits: &Limits) -> bool {
        output_fits(self.weight, limits)
    }

    /// Checks all of a step's effects as they will be written.
    #[cold]
    pub(crate) fn measure(&self, effects: &[Effect], limits: &Limits) -> Result<(), StepError> {
        let mut left = limits.output_bytes_max;
        for effect in effects {
            let bytes = effect.json_len(left).ok_or_else(|| too_large(limits))?;
            left = left.saturating_sub(bytes + 1);
        }
        Ok(())
    }
}

#[cold]
fn too_large(limits: &Limits) -> StepError {
    StepError::output_too_large(limits, "the effects of one input are too large")
}
