//! Where requests go, with which token, and what comes after an attempt that failed. Values: the clock comes in, and connections are
//! the business of the two clients, of which one blocks and the other does not.

use std::time::{Duration, Instant};

use statemesh_protocol::reply_reader::Fields;
use statemesh_protocol::request::{Class, Op};
use statemesh_protocol::request_writer::Ask;

use crate::answers::Reply;
use crate::client::Options;
use crate::error::{ClientError, Refusal};
use crate::owners::Owners;
use crate::retry::{Retries, Step, Trouble};

/// Connections to daemons that serve keys, beside the one to the daemon that is asked for everything else.
pub(crate) const MAX_LINKS: usize = 256;

/// Where an attempt goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum To {
    /// To the daemon that is asked for everything.
    Home,
    /// To the daemon that serves the key.
    Owner(String),
}

impl To {
    /// The request as it goes there: a daemon that is to serve the key itself does not pass it on.
    pub(crate) fn attempt<'a>(&self, ask: &Ask<'a>) -> Ask<'a> {
        Ask { forward: ask.forward && *self == Self::Home, ..*ask }
    }
}

/// What a client knows of the mesh and of its own tokens.
#[derive(Debug)]
pub(crate) struct Router {
    to_owners: bool,
    tokens: Option<String>,
    next_token: u64,
    owners: Option<Owners>,
}

impl Router {
    pub(crate) fn new(options: &Options) -> Self {
        Self { to_owners: options.to_owners, tokens: options.tokens.clone(), next_token: 1, owners: None }
    }

    /// A token for a request that has none and may not be carried out twice.
    pub(crate) fn token(&mut self, ask: &Ask<'_>) -> Option<String> {
        let is_kept = matches!(ask.op, Op::Send | Op::Start | Op::Stop | Op::Retry | Op::Skip | Op::Delete);
        let prefix = self.tokens.as_ref().filter(|_| is_kept && ask.conditions.dedup.is_none())?;
        let token = format!("{prefix}-{}", self.next_token);
        self.next_token += 1;
        Some(token)
    }

    /// Whether the placement has to be asked for before this request has a destination.
    pub(crate) fn wants_placement(&self, ask: &Ask<'_>) -> bool {
        self.to_owners && self.owners.is_none() && ask.op.class() == Class::Keyed
    }

    /// What the answer to `placement` says.
    pub(crate) fn placed(&mut self, reply: &Fields<'_>) {
        self.owners = Owners::read(reply);
    }

    /// The daemon that serves the key, if this client goes there and knows who it is.
    pub(crate) fn destination(&self, ask: &Ask<'_>) -> To {
        let (Some(machine), Some(key)) = (ask.machine, ask.key) else { return To::Home };
        if !self.to_owners || ask.op.class() != Class::Keyed {
            return To::Home;
        }
        let owner = self.owners.as_ref().and_then(|owners| owners.of(machine, key));
        owner.map_or(To::Home, |address| To::Owner(address.to_owned()))
    }

    /// What a failure says about who serves what.
    pub(crate) fn learn(&mut self, to: &To, ask: &Ask<'_>, error: &ClientError) {
        match (error, to) {
            (ClientError::Refused(refusal), _) => {
                if let (Some(owners), Some(address)) = (&mut self.owners, &refusal.address)
                    && let (Some(machine), Some(key)) = (ask.machine, ask.key)
                {
                    owners.moved(machine, key, address);
                }
            }
            // A daemon is gone, and its keys are elsewhere, or will be.
            (_, To::Owner(_)) => self.owners = None,
            (_, To::Home) => {}
        }
    }
}

/// What comes after an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: say what went wrong.
    GiveUp,
    /// Another one at once.
    Now(To),
    /// Another one after this long.
    After(Duration, Then),
}

/// Where an attempt goes after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// To the daemon that serves the key by then.
    ByKey,
    /// To the daemon that is asked for everything.
    Home,
    /// To another daemon than the one that was asked for everything.
    OtherHome,
}

/// The attempts of one request.
#[derive(Clone, Debug)]
pub(crate) struct Attempts(Retries);

impl Attempts {
    /// Those of `ask`, which has its token by now, where there are `others` beside the daemon that is asked first.
    pub(crate) fn new(ask: &Ask<'_>, now: Instant, patience: Duration, others: usize) -> Self {
        let is_harmless = !ask.op.changes() || ask.op == Op::Define || ask.conditions.dedup.is_some();
        // Without patience nothing is sent again.
        let others = if patience.is_zero() { 0 } else { others };
        Self(Retries::new(now, patience, is_harmless).with_others(others))
    }

    /// What comes after one that went to `to`.
    pub(crate) fn next(&mut self, to: &To, trouble: Trouble<'_>, now: Instant) -> Next {
        let step = match to {
            To::Home => self.0.next(trouble, now),
            To::Owner(_) => self.0.next_of_owner(trouble, now),
        };
        match step {
            Step::GiveUp => Next::GiveUp,
            Step::To(address) => Next::Now(To::Owner(address)),
            Step::Again(wait) => Next::After(wait, Then::ByKey),
            Step::Elsewhere(wait) if *to == To::Home => Next::After(wait, Then::OtherHome),
            Step::Elsewhere(wait) => Next::After(wait, Then::Home),
        }
    }
}

/// What a frame that answers a request means; `refusal`: what [`Refusal::said_in`] found in it.
pub(crate) fn judge(frame: Vec<u8>, refusal: Option<Refusal>) -> Result<Reply, ClientError> {
    match refusal {
        None => Ok(Reply(frame)),
        Some(refusal) => Err(ClientError::Refused(Box::new(Refusal { reply: frame, ..refusal }))),
    }
}

/// Whether a connection that brought this about is not used again.
pub(crate) fn is_of_connection(error: &ClientError) -> bool {
    matches!(error, ClientError::Broken(_) | ClientError::Unreadable { .. })
}
