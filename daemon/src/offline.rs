//! Verbs that need no mesh.
use crate::cli::*;use crate::failure::Failure;use crate::output::Printer;
pub(crate) fn check(_:&CheckArgs,_:&Printer)->Result<(),Failure>{Ok(())}
pub(crate) fn simulate(_:&SimulateArgs)->Result<(),Failure>{Ok(())}
pub(crate) fn draw(_:&DrawArgs)->Result<(),Failure>{Ok(())}
pub(crate) fn schema()->Result<(),Failure>{Ok(())}
