//! Virtual DNS: what the name of the service leads to.

use std::net::IpAddr;

use statemesh_mesh::discovery::{Kind, Question, Records};

/// How DNS behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It names the daemons that run, as a headless Service does.
    #[default]
    Answers,
    /// It answers nothing.
    Silence,
    /// It names only the one that asks.
    OnlyYourself,
    /// It names those of long ago.
    Stale(Vec<IpAddr>),
}

/// DNS.
#[derive(Clone, Debug, Default)]
pub struct Dns {
    /// How it behaves.
    pub mode: Mode,
    /// Addresses of daemons that run.
    pub running: Vec<IpAddr>,
}

impl Dns {
    /// The answer to who asks from this address; none if there is silence.
    #[must_use]
    pub fn answer(&self, question: &Question, who: IpAddr) -> Option<Records> {
        let addresses = match &self.mode {
            Mode::Silence => return None,
            Mode::Answers => self.running.clone(),
            Mode::OnlyYourself => vec![who],
            Mode::Stale(of_old) => of_old.clone(),
        };
        Some(match question.kind {
            Kind::Srv => Records::Srv(Vec::new()),
            Kind::A => Records::Addresses(addresses),
            Kind::Aaaa => Records::Addresses(Vec::new()),
        })
    }
}
