//! Events to instances of one machine, each with a `dedup` token, and the history checker about them; and the look at the instances that
//! proves the history at the end. Both in MessagePack.

use statemesh_client::answers::Outcome;
use statemesh_client::{Advice, Ask, Conditions, Encoding, ErrorCode, Event, Fields, Op};

use crate::history_checker::{HistoryChecker, Seq};
use crate::schedule::MAX_SLOTS;
use crate::work::{Answer, Refusal, Verdict, Work};

/// Characters of an error's message that are kept.
const MAX_MESSAGE: usize = 300;

/// One event after another to each of some keys.
#[derive(Debug)]
pub struct Sends {
    machine: String,
    event: String,
    keys: Vec<String>,
    /// Events so far, by key: the token of the one that is under way.
    counts: Vec<u64>,
    checker: HistoryChecker,
    request: Vec<u8>,
}

impl Sends {
    /// Events of this type to instances that nobody else writes and that do not exist yet (at most [`MAX_SLOTS`]).
    #[must_use]
    pub fn new(machine: &str, event: &str, keys: Vec<String>) -> Self {
        let (counts, checker) = (vec![0; keys.len()], HistoryChecker::new(keys.len()));
        Self { machine: machine.to_owned(), event: event.to_owned(), keys, counts, checker, request: Vec::new() }
    }

    /// What the answers said so far.
    #[must_use]
    pub fn checker(&self) -> &HistoryChecker {
        &self.checker
    }

    /// A look at each of the same instances; [`Sends::prove`] takes what was found.
    #[must_use]
    pub fn gets(&self) -> Each {
        self.each(Op::Get)
    }

    /// The end of each of the same instances.
    #[must_use]
    pub fn stops(&self) -> Each {
        self.each(Op::Stop)
    }

    fn each(&self, op: Op) -> Each {
        let (machine, keys) = (self.machine.clone(), self.keys.clone());
        Each { op, machine, seen: vec![None; keys.len()], keys, request: Vec::new() }
    }

    /// Compares the history with what is there. Says of how many instances that is known.
    pub fn prove(mut self, gets: &Each) -> (HistoryChecker, usize) {
        let seen = gets.seen.iter().enumerate().filter_map(|(key, seq)| Some((key, (*seq)?)));
        let known = seen.map(|(key, seq)| self.checker.seen(key, seq)).count();
        (self.checker, known)
    }

    fn next(&mut self, slot: usize) {
        if let Some(count) = self.counts.get_mut(slot) {
            *count += 1;
        }
    }
}

impl Work for Sends {
    fn slots(&self) -> usize {
        self.keys.len().min(MAX_SLOTS)
    }

    fn request(&mut self, slot: usize, id: u32) -> &[u8] {
        let key = self.keys.get(slot).map_or("", String::as_str);
        let (event, dedup) = (Some(Event::Named(&self.event)), self.counts.get(slot).map(u64::to_string));
        let about = Ask::about(Op::Send, Encoding::MsgPack, &self.machine, key);
        let conditions = Conditions { dedup: dedup.as_deref(), ..Conditions::default() };
        write(&mut self.request, id, &Ask { event, conditions, ..about })
    }

    fn read(&mut self, reply: &[u8]) -> Option<Answer> {
        let reply = answer(reply)?;
        let Outcome { seq, changed, restarted, .. } = Outcome::of(&reply);
        Some(Answer { id: id(&reply)?, verdict: verdict(&reply), seq: Seq { seq, changed, restarted } })
    }

    fn done(&mut self, slot: usize, answer: &Answer) {
        self.checker.acknowledged(slot, answer.seq);
        self.next(slot);
    }

    fn given_up(&mut self, slot: usize, applied: bool) {
        if applied {
            self.checker.unknown(slot);
        }
        self.next(slot);
    }
}

/// The same request to each instance, one that may be sent again without a token.
#[derive(Debug)]
pub struct Each {
    op: Op,
    machine: String,
    keys: Vec<String>,
    seen: Vec<Option<u64>>,
    request: Vec<u8>,
}

impl Each {
    /// Instances that have answered, or are known not to be there.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.seen.iter().flatten().count()
    }
}

impl Work for Each {
    fn slots(&self) -> usize {
        self.keys.len().min(MAX_SLOTS)
    }

    fn request(&mut self, slot: usize, id: u32) -> &[u8] {
        let key = self.keys.get(slot).map_or("", String::as_str);
        write(&mut self.request, id, &Ask::about(self.op, Encoding::MsgPack, &self.machine, key))
    }

    /// An instance that is not there is an answer too: it has no transition.
    fn read(&mut self, reply: &[u8]) -> Option<Answer> {
        let reply = answer(reply)?;
        let is_missing = reply.refused().is_some_and(|refused| refused.code == Some(ErrorCode::UnknownInstance));
        let verdict = if is_missing { Verdict::Done } else { verdict(&reply) };
        let seq = Seq { seq: reply.uint("seq").unwrap_or_default(), ..Seq::default() };
        Some(Answer { id: id(&reply)?, verdict, seq })
    }

    fn done(&mut self, slot: usize, answer: &Answer) {
        if let Some(seen) = self.seen.get_mut(slot) {
            *seen = Some(answer.seq.seq);
        }
    }
}

fn write<'a>(buffer: &'a mut Vec<u8>, id: u32, ask: &Ask<'_>) -> &'a [u8] {
    buffer.clear();
    ask.write(u64::from(id), buffer);
    buffer
}

/// A reply that says whether what was asked was done.
fn answer(reply: &[u8]) -> Option<Fields<'_>> {
    Fields::read(reply).ok().filter(|reply| reply.bool("ok").is_some())
}

fn id(reply: &Fields<'_>) -> Option<u32> {
    u32::try_from(reply.uint("id")?).ok()
}

/// What the protocol says to do about a reply.
fn verdict(reply: &Fields<'_>) -> Verdict {
    let Some(refused) = reply.refused() else { return Verdict::Done };
    let code = if refused.name.is_empty() { "no_code".to_owned() } else { refused.name.into_owned() };
    let why = Box::new(Refusal { code, message: refused.message.chars().take(MAX_MESSAGE).collect() });
    match refused.code.map(ErrorCode::advice) {
        Some(Advice::Retry | Advice::RetryWithDedup) => Verdict::Again(why),
        Some(Advice::RetryElsewhere) => Verdict::Elsewhere(why),
        Some(Advice::Fix) | None => Verdict::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends() -> Sends {
        Sends::new("counter", "ADD", vec!["a".into(), "b".into()])
    }

    fn refused(code: &str) -> Verdict {
        let reply = format!("{{\"ok\":false,\"error\":{{\"code\":\"{code}\"}}}}");
        verdict(&Fields::read(reply.as_bytes()).unwrap())
    }

    #[test]
    fn a_request_that_is_sent_again_has_the_same_token_and_the_next_one_another() {
        let mut sends = sends();
        let token = |request: &[u8]| {
            let end = request.windows(7).position(|at| at == b"\xa5dedup\xa1").unwrap() + 7;
            request[end]
        };
        assert_eq!(token(sends.request(0, 1)), b'0');
        assert_eq!(token(sends.request(0, 2)), b'0');
        sends.given_up(0, true);
        assert_eq!(token(sends.request(0, 3)), b'1');
        assert_eq!(token(sends.request(1, 4)), b'0');
    }

    #[test]
    fn errors_are_treated_as_the_protocol_says() {
        assert!(matches!(refused("timeout"), Verdict::Again(_)));
        assert!(matches!(refused("moving"), Verdict::Again(_)));
        assert!(matches!(refused("leaving"), Verdict::Elsewhere(_)));
        assert!(matches!(refused("unknown_machine"), Verdict::Refused(_)));
        assert!(matches!(refused("made_up"), Verdict::Refused(_)));
    }

    #[test]
    fn a_look_at_the_end_finds_what_is_missing() {
        let mut sends = sends();
        let seq = Seq { seq: 1, changed: true, restarted: false };
        sends.done(0, &Answer { id: 0, verdict: Verdict::Done, seq });
        let mut gets = sends.gets();
        let reply = rmp_serde::to_vec_named(&std::collections::BTreeMap::from([("id", 7)])).unwrap();
        assert_eq!(gets.read(&reply), None);
        gets.done(0, &Answer { id: 0, verdict: Verdict::Done, seq: Seq::default() });
        let (checker, known) = sends.prove(&gets);
        assert_eq!((checker.lost, checker.doubled, known), (1, 0, 1));
    }

    #[test]
    fn an_instance_that_is_gone_needs_no_end() {
        let mut stops = sends().stops();
        assert!(stops.request(0, 1).windows(8).any(|at| at == b"\xa2op\xa4stop"));
        let reply = b"\x83\xa2id\x01\xa2ok\xc2\xa5error\x81\xa4code\xb0unknown_instance";
        let answer = stops.read(reply).unwrap();
        assert_eq!(answer.verdict, Verdict::Done);
        stops.done(0, &answer);
        assert_eq!(stops.answered(), 1);
    }
}
