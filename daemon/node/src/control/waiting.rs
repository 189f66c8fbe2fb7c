//! Waiting for the mesh: a daemon serves nothing before it has found others, or knows that there are none. One that is kept out says why:
//! in the log, to those who ask whether it is ready, and in a gauge.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use statemesh_mesh::discovery::{Question, Round};
use statemesh_mesh::membership::{self, Met};
use statemesh_protocol::identity::MemberName;

use super::Control;
use crate::node::StartError;
use crate::options::Options;

/// How long those who have met wait for others that discovery names, where a daemon is never alone: a record may point at anything.
const OTHERS_AFTER: Duration = Duration::from_secs(5);
/// Addresses and names that one text lists.
const LISTED: usize = 5;

/// Why a daemon has not joined yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It has only begun to look, or DNS has not named it alone for long enough.
    Looking,
    /// This question to DNS was not answered.
    DnsSilent(Question),
    /// DNS has no addresses for the service, not even this daemon's.
    NoAddresses(String),
    /// These seeds, and these that DNS names, do not answer.
    OthersSilent { seeds: Vec<SocketAddr>, named: Vec<SocketAddr> },
    /// A daemon said why it keeps this one out.
    Refused(String),
    /// There is no link to these, without whom the mesh does not begin.
    Birth(Vec<MemberName>),
    /// Another live daemon, at this address, has the name.
    NameTaken(IpAddr),
}

impl Waiting {
    /// As the gauge labels the reasons.
    pub(super) const LABELS: [&'static str; 7] =
        ["looking", "dns_silent", "no_addresses", "others_silent", "refused", "birth", "name_taken"];

    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Looking => "looking",
            Self::DnsSilent(_) => "dns_silent",
            Self::NoAddresses(_) => "no_addresses",
            Self::OthersSilent { .. } => "others_silent",
            Self::Refused(_) => "refused",
            Self::Birth(_) => "birth",
            Self::NameTaken(_) => "name_taken",
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("looking for the other members")?;
        match self {
            Self::Looking => Ok(()),
            Self::DnsSilent(question) => write!(
                f,
                ": DNS does not answer what it is asked for ({question}), and a daemon is alone only if DNS says so. See to the name server \
                 (discovery.dns_server, /etc/resolv.conf)"
            ),
            Self::NoAddresses(service) => write!(
                f,
                ": DNS has no addresses for {service}, not even this daemon's own; correct discovery.service, or the Service"
            ),
            Self::OthersSilent { seeds, named } => {
                if !seeds.is_empty() {
                    let seeds = list(seeds);
                    write!(
                        f,
                        ": no answer from {seeds}; start it, or take it from discovery.seeds if there is no such daemon"
                    )?;
                }
                if !named.is_empty() {
                    let named = list(named);
                    write!(
                        f,
                        ": no answer from {named}, which DNS names; see to that daemon, to its record, or to `advertise` if it is this one"
                    )?;
                }
                Ok(())
            }
            Self::Refused(notice) => write!(f, "; {notice}"),
            Self::Birth(names) => {
                let names = list(names);
                write!(
                    f,
                    ": no link to {names}; the mesh begins with all that `birth` names: start it, or take it from the list"
                )
            }
            Self::NameTaken(by) => {
                write!(
                    f,
                    ": a live daemon, at {by}, has this one's name; it ends if that one does not in some seconds (--name)"
                )
            }
        }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LISTED).map(ToString::to_string).collect();
    let more = items.len().saturating_sub(LISTED);
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}

/// The members without which the mesh does not begin.
pub(super) fn birth_of(options: &Options) -> Result<Vec<MemberName>, StartError> {
    let named = options.discovery.birth.iter();
    named.map(|name| MemberName::new(name).map_err(|source| StartError::Birth { name: name.clone(), source })).collect()
}

impl Control {
    /// When a daemon that finds no others is alone, by what is known now.
    pub(super) fn alone_at(&self) -> Option<Instant> {
        let patience = self.shared.options.discovery.alone_after?;
        // Whom it has met may take part.
        let is_met = self.membership.live() > 0;
        if self.joining.joined
            || is_met
            || self.membership.name_holder().is_some()
            || !self.unlinked_at_birth().is_empty()
        {
            return None;
        }
        let named_alone_at = self.discovery.alone_at(patience)?;
        Some(self.gossip.rejections.refused_until().map_or(named_alone_at, |until| until.max(named_alone_at)))
    }

    /// Joins as soon as others are known, or there can be none.
    pub(super) fn join_or_wait(&mut self, now: Instant) {
        if self.joining.joined {
            return;
        }
        let alone = self.alone_at().is_some_and(|at| at <= now);
        if alone || self.has_met_the_mesh(now) {
            self.membership.handle(membership::Input::Joined, now);
            self.joining.done();
            self.reports.is_stale = true;
            tracing::info!(members = self.membership.live() + 1, alone, "joined");
            return;
        }
        let waiting = self.what_it_waits_for(now);
        if self.joining.waits(waiting, now) {
            self.reports.is_stale = true;
        }
    }

    /// Whether enough is known of others to take part: there is a mesh, or those that are there begin one. They may without some that
    /// are to be there, and do not answer, as a daemon may alone.
    fn has_met_the_mesh(&mut self, now: Instant) -> bool {
        let met = self.membership.met(now);
        // Where DNS is silent, be it in part, there may be a mesh that it would name, unless all are here with whom one begins.
        let whole =
            self.discovery.whole_since().or_else(|| (!self.joining.birth.is_empty()).then_some(self.joining.started));
        let begins = match (met, whole) {
            (Met::Mesh, _) => return true,
            (Met::Some { joined: true, .. } | Met::Nobody, _) | (_, None) => false,
            (Met::All, _) => true,
            (Met::Some { since, .. }, Some(whole)) => {
                now >= since.max(whole) + self.shared.options.discovery.alone_after.unwrap_or(OTHERS_AFTER)
            }
        };
        begins && self.unlinked_at_birth().is_empty()
    }

    fn what_it_waits_for(&self, now: Instant) -> Waiting {
        if let Some(by) = self.membership.name_holder() {
            return Waiting::NameTaken(by.ip);
        }
        if let Some(notice) = self.gossip.rejections.notice(now) {
            return Waiting::Refused(notice.clone());
        }
        let discovery = &self.shared.options.discovery;
        let service = || discovery.service.clone().unwrap_or_default();
        let unlinked = self.unlinked_at_birth();
        match self.discovery.round() {
            Round::Silence(question) => Waiting::DnsSilent(question.clone()),
            Round::NoAddresses => Waiting::NoAddresses(service()),
            Round::Others(others) if others.iter().any(|address| !self.membership.has_list_of(address)) => {
                let silent = others.iter().filter(|address| !self.membership.has_list_of(address));
                let (seeds, named) = silent.partition(|address| discovery.seeds.contains(address));
                Waiting::OthersSilent { seeds, named }
            }
            _ if !unlinked.is_empty() => Waiting::Birth(unlinked),
            Round::NotYet | Round::NobodyToAsk | Round::Itself | Round::Others(_) => Waiting::Looking,
        }
    }

    /// Members without whom the mesh does not begin, and to whom there is no link.
    fn unlinked_at_birth(&self) -> Vec<MemberName> {
        let me = &self.membership.me().name;
        let is_linked = |name: &MemberName| {
            self.members.known(name).is_some_and(|number| self.links.up().any(|linked| linked == number))
        };
        self.joining.birth.iter().filter(|name| *name != me && !is_linked(name)).cloned().collect()
    }
}
