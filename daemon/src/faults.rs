//! What becomes of faults, as it is said on the command line.

use clap::ValueEnum;
use statemesh_engine::Faults;

/// What becomes of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FaultsArg {
    /// The event is refused, a timer is held and makes the instance stuck
    Hold,
    /// The instance fails, as in XState
    Fail,
}

impl From<FaultsArg> for statemesh_client::Faults {
    fn from(arg: FaultsArg) -> Self {
        match arg {
            FaultsArg::Hold => Self::Hold,
            FaultsArg::Fail => Self::Fail,
        }
    }
}

impl From<FaultsArg> for Faults {
    fn from(arg: FaultsArg) -> Self {
        match arg {
            FaultsArg::Hold => Self::Hold,
            FaultsArg::Fail => Self::Fail,
        }
    }
}
