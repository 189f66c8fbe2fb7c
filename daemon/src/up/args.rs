//! The arguments of `up`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// How many daemons, from 1 to 50
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=50))]
    pub(crate) nodes: u8,
    /// Machines to define: a folder with */machine.json or *.json in it, or one file [default: ./examples, if there is one]
    #[arg(long, value_name = "PATH")]
    pub(crate) machines: Option<PathBuf>,
    /// The first daemon's port for clients; its other ports are as far from it as the default ports are from 7400
    #[arg(long, default_value_t = 7400, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=60_000))]
    pub(crate) port: u16,
    /// Which log lines the daemons write [env: STATEMESH_LOG] [default: warn]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}
