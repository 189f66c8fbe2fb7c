//! Whether a request is sent again, when, and where to. A value: the clock comes in.

use std::time::{Duration, Instant};

use statemesh_protocol::error::{Advice, ErrorCode};

use crate::error::{ClientError, Refusal};

/// Between two attempts: doubled from the first to the second.
const WAITS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How often a request follows `moved` at once. Daemons that do not agree who serves a key would send it to and fro.
const MAX_HOPS: u32 = 4;

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug)]
pub enum Trouble<'a> {
    /// It was not sent.
    Unsent,
    /// It was sent, and no answer came.
    Unanswered,
    /// It was refused.
    Refused(&'a Refusal),
}

impl<'a> From<&'a ClientError> for Trouble<'a> {
    fn from(error: &'a ClientError) -> Self {
        match error {
            ClientError::Open(_) => Self::Unsent,
            ClientError::Broken(_) | ClientError::Unreadable { .. } => Self::Unanswered,
            ClientError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: say what went wrong.
    GiveUp,
    /// Send it again after this long.
    Again(Duration),
    /// Send it again after this long, to another daemon.
    Elsewhere(Duration),
    /// Send it to this address, at once.
    To(String),
}

/// The attempts of one request.
#[derive(Clone, Debug)]
pub struct Retries {
    until: Instant,
    wait: Duration,
    hops: u32,
    is_harmless: bool,
    /// Daemons that were named and not asked yet.
    unasked: usize,
    /// Whether the daemon that is asked for everything is still to be asked once in place of one that serves the key.
    may_fall_back: bool,
}

impl Retries {
    /// Attempts for `patience` from now on. `is_harmless`: the request may be carried out twice, since it changes nothing, or its
    /// token sees to it.
    #[must_use]
    pub fn new(now: Instant, patience: Duration, is_harmless: bool) -> Self {
        Self {
            until: now + patience,
            wait: WAITS.0,
            hops: 0,
            is_harmless,
            unasked: 0,
            may_fall_back: !patience.is_zero(),
        }
    }

    /// There are as many other daemons, and each is asked once also when patience has ended by then: one that hangs, or waits itself before it
    /// refuses, takes as long for its first answer as the whole patience may be.
    #[must_use]
    pub fn with_others(self, others: usize) -> Self {
        Self { unasked: others, ..self }
    }

    /// What to do after an attempt that failed.
    pub fn next(&mut self, trouble: Trouble<'_>, now: Instant) -> Step {
        self.after(trouble, now, false)
    }

    /// The same where it went to the daemon that serves the key: elsewhere is then the daemon that is asked for everything. It is asked
    /// once whatever the time, and is none of the others.
    pub fn next_of_owner(&mut self, trouble: Trouble<'_>, now: Instant) -> Step {
        self.after(trouble, now, true)
    }

    fn after(&mut self, trouble: Trouble<'_>, now: Instant, of_owner: bool) -> Step {
        let advice = match trouble {
            Trouble::Unsent => Advice::RetryElsewhere,
            Trouble::Unanswered if self.is_harmless => Advice::RetryElsewhere,
            Trouble::Unanswered => Advice::Fix,
            Trouble::Refused(refusal) => match self.goes_to(refusal) {
                Some(address) => return Step::To(address),
                None => refusal.advice(),
            },
        };
        match advice {
            Advice::Retry => self.waits(now, Step::Again),
            Advice::RetryWithDedup if self.is_harmless => self.waits(now, Step::Again),
            Advice::RetryElsewhere if of_owner && self.may_fall_back => {
                self.may_fall_back = false;
                Step::Elsewhere(WAITS.0)
            }
            Advice::RetryElsewhere if of_owner => self.waits(now, Step::Elsewhere),
            // What was not sent was tried at each address.
            Advice::RetryElsewhere if self.unasked > 0 && !matches!(trouble, Trouble::Unsent) => {
                self.unasked -= 1;
                Step::Elsewhere(WAITS.0)
            }
            Advice::RetryElsewhere => self.waits(now, Step::Elsewhere),
            Advice::Fix | Advice::RetryWithDedup => Step::GiveUp,
        }
    }

    /// Where the daemon says that the key is served.
    fn goes_to(&mut self, refusal: &Refusal) -> Option<String> {
        if refusal.code != Some(ErrorCode::Moved) || self.hops == MAX_HOPS {
            return None;
        }
        self.hops += 1;
        refusal.address.clone()
    }

    fn waits(&mut self, now: Instant, step: fn(Duration) -> Step) -> Step {
        let wait = self.wait;
        if now + wait > self.until {
            return Step::GiveUp;
        }
        self.wait = (wait * 2).min(WAITS.1);
        self.hops = 0;
        step(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: ErrorCode) -> Refusal {
        Refusal {
            code: Some(code),
            name: code.as_str().to_owned(),
            message: String::new(),
            hint: String::new(),
            address: Some("b:7400".to_owned()),
            reply: Vec::new(),
        }
    }

    fn after(code: ErrorCode, is_harmless: bool) -> Step {
        let now = Instant::now();
        Retries::new(now, Duration::from_secs(5), is_harmless).next(Trouble::Refused(&refusal(code)), now)
    }

    #[test]
    fn a_request_is_repeated_as_the_code_advises() {
        for code in ErrorCode::ALL {
            let wanted = match code.advice() {
                _ if *code == ErrorCode::Moved => Step::To("b:7400".to_owned()),
                Advice::Fix => Step::GiveUp,
                Advice::Retry | Advice::RetryWithDedup => Step::Again(WAITS.0),
                Advice::RetryElsewhere => Step::Elsewhere(WAITS.0),
            };
            assert_eq!(after(*code, true), wanted, "{code:?}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not_repeated_without_a_token() {
        assert_eq!(after(ErrorCode::OutcomeUnknown, false), Step::GiveUp);
        assert_eq!(after(ErrorCode::OwnerUnreachable, false), Step::Again(WAITS.0), "it was not sent");
        let now = Instant::now();
        let patience = Duration::from_secs(5);
        assert_eq!(Retries::new(now, patience, false).next(Trouble::Unanswered, now), Step::GiveUp);
        assert_eq!(Retries::new(now, patience, true).next(Trouble::Unanswered, now), Step::Elsewhere(WAITS.0));
        assert_eq!(Retries::new(now, patience, false).next(Trouble::Unsent, now), Step::Elsewhere(WAITS.0));
    }

    #[test]
    fn waits_grow_until_patience_ends() {
        let start = Instant::now();
        let mut retries = Retries::new(start, Duration::from_secs(5), true);
        let (mut now, mut waits) = (start, Vec::new());
        while let Step::Elsewhere(wait) = retries.next(Trouble::Unsent, now) {
            waits.push(wait);
            now += wait;
        }
        assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]) && waits.last() == Some(&WAITS.1), "{waits:?}");
        assert!(now > start + Duration::from_secs(3) && now <= start + Duration::from_secs(5));
        let none = Retries::new(start, Duration::ZERO, true).next(Trouble::Unsent, start);
        assert_eq!(none, Step::GiveUp);
    }

    #[test]
    fn each_daemon_is_asked_once_however_long_those_before_it_took() {
        let start = Instant::now();
        let patience = Duration::from_secs(5);
        let refused = refusal(ErrorCode::NotReady);
        let mut retries = Retries::new(start, patience, false).with_others(2);
        for n in 1..=2 {
            assert_eq!(retries.next(Trouble::Refused(&refused), start + n * patience), Step::Elsewhere(WAITS.0));
        }
        assert_eq!(retries.next(Trouble::Refused(&refused), start + 3 * patience), Step::GiveUp);
        let mut unsent = Retries::new(start, patience, false).with_others(2);
        assert_eq!(unsent.next(Trouble::Unsent, start + patience), Step::GiveUp, "all addresses were tried for it");
    }

    #[test]
    fn an_owner_that_fails_is_none_of_the_others() {
        let start = Instant::now();
        let late = start + Duration::from_secs(6);
        for trouble in [Trouble::Unanswered, Trouble::Unsent] {
            let mut retries = Retries::new(start, Duration::from_secs(5), true).with_others(1);
            assert_eq!(retries.next_of_owner(trouble, late), Step::Elsewhere(WAITS.0), "home");
            assert_eq!(retries.next(Trouble::Unanswered, late), Step::Elsewhere(WAITS.0), "the other one");
            assert_eq!(retries.next_of_owner(trouble, late), Step::GiveUp);
        }
        let none = Retries::new(start, Duration::ZERO, true).next_of_owner(Trouble::Unsent, start);
        assert_eq!(none, Step::GiveUp, "without patience");
    }

    #[test]
    fn a_key_that_nobody_admits_to_have_is_not_chased_for_ever() {
        let now = Instant::now();
        let moved = refusal(ErrorCode::Moved);
        let mut retries = Retries::new(now, Duration::from_secs(5), true);
        for _ in 0..MAX_HOPS {
            assert_eq!(retries.next(Trouble::Refused(&moved), now), Step::To("b:7400".to_owned()));
        }
        assert_eq!(retries.next(Trouble::Refused(&moved), now), Step::Elsewhere(WAITS.0));
        assert_eq!(retries.next(Trouble::Refused(&moved), now), Step::To("b:7400".to_owned()), "after a pause again");
    }
}
