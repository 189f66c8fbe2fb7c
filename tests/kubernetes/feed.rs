//! The life of the cluster's pods as instances of a machine.

use crate::Step;

pub(crate) const STEPS: &[Step] = &[];
