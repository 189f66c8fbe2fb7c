//! Which daemon a verb talks to.

use crate::config::{CLIENT_ADDRESS, CLIENT_KEY, CLIENT_TIMEOUT, Config, SERVER_KEY, Target};
use crate::failure::Failure;
use crate::remote::Remote;
use clap::Args;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Above these flags in help texts.
const HEADING: &str = "Connection";

/// Which daemon is asked.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Connect {
    /// The daemon to ask, by any of its addresses; of several the first that answers [env: STATEMESH_ADDRESS] [default: tcp://127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT,...", help_heading = HEADING)]
    pub(crate) address: Option<String>,
    /// The mesh to ask, by the name of its context; it comes before variables [env: STATEMESH_CONTEXT] [default: that of statemesh context use]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    pub(crate) context: Option<String>,
    /// For how long to wait for an answer, such as 500ms or 5s [env: STATEMESH_TIMEOUT] [default: 5s]
    #[arg(long, value_name = "TIME", help_heading = HEADING)]
    pub(crate) timeout: Option<String>,
    /// The client's own keys, for daemons with security.mode = curve [env: STATEMESH_KEY]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) key: Option<String>,
    /// The daemons' public key [env: STATEMESH_SERVER_KEY]
    // One key in 85 begins with a hyphen.
    #[arg(long, value_name = "Z85", allow_hyphen_values = true, help_heading = HEADING)]
    pub(crate) server_key: Option<String>,
}

/// Connects to the daemon that flags, context, environment or file name.
pub(crate) fn connect(given: &Connect, file: Option<&Path>) -> Result<Remote, Failure> {
    Remote::connect(target(given, file)?)
}

/// The same for an answer that may come so much later.
pub(crate) fn connect_for(given: &Connect, file: Option<&Path>, later: Duration) -> Result<Remote, Failure> {
    let target = target(given, file)?;
    Remote::connect(Target { timeout: target.timeout.saturating_add(later), ..target })
}

/// Whom flags, context, environment or file name, and the keys for it.
pub(crate) fn target(given: &Connect, file: Option<&Path>) -> Result<Target, Failure> {
    Config::load_for_client(flags(given), file, given.context.as_deref())?.client()
}

fn flags(given: &Connect) -> BTreeMap<&'static str, Vec<String>> {
    let flag = |key: &'static str, text: &Option<String>| text.clone().map(|text| (key, vec![text]));
    let flags = [
        flag(CLIENT_ADDRESS, &given.address),
        flag(CLIENT_TIMEOUT, &given.timeout),
        flag(CLIENT_KEY, &given.key),
        flag(SERVER_KEY, &given.server_key),
    ];
    flags.into_iter().flatten().collect()
}
