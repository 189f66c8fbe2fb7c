//! Dedup tokens: what is remembered of a request, so that the same one again gets the same answer and another one with its
//! token is refused.
//!
//! Neither the request nor the reply is kept: hashes tell whether a request is the same, and the reply is written again from
//! where the instance stood. The tokens of a key go on when a new life takes the place of one that ended: a repeat for the earlier
//! life gets that life's answer.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use statemesh_engine::Status;
use statemesh_protocol::hash::{content_hash, token_hash};
use statemesh_protocol::image::{Input, Malformed, put_bytes};
use statemesh_protocol::record::Token;
use statemesh_protocol::reply::MapWriter;
use statemesh_protocol::request::Request;
use statemesh_protocol::run::RunId;

use crate::instance::{Entry, write_head};
use crate::machines::{Table, Version};
use crate::marks::KeyMark;
use crate::values::write_json;

/// Tokens remembered of one key, over its lives: enough for the requests that one client has open at once on one key.
const TOKENS: usize = 32;

/// What the requests of a key are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    token: u128,
    request: u64,
}

impl Asked {
    /// Of a request that has a token.
    pub(crate) fn of(request: &Request<'_>, token: &str) -> Self {
        let body = request.event.or(request.input).unwrap_or_default();
        let fields = [request.op.as_str().as_bytes(), request.machine.as_bytes(), request.key.as_bytes(), body];
        Self { token: token_hash(token), request: fields.iter().fold(0, |hash, field| content_hash(hash, field)) }
    }
}

impl Asked {
    /// As a record has it.
    pub(crate) fn token(self) -> Token {
        Token { token: self.token.to_le_bytes(), request: self.request.to_le_bytes() }
    }

    /// What a record has.
    pub(crate) fn of_token(token: Token) -> Self {
        Self { token: u128::from_le_bytes(token.token), request: u64::from_le_bytes(token.request) }
    }
}

/// What was answered to a request with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Event or op changed the instance.
    pub changed: bool,
    /// Nothing reacted to the event.
    pub unhandled: bool,
    /// The request made the instance.
    pub made: bool,
    /// What it said of what was lost.
    pub mark: Option<Box<KeyMark>>,
    /// The instance was stuck.
    pub stuck: bool,
    /// Its status.
    pub status: Status,
    /// Its life.
    pub run: RunId,
    /// Its transitions.
    pub seq: u64,
    /// What it ran.
    pub version: Arc<Version>,
    /// The states that it was in.
    pub configuration: SmallVec<[u8; 16]>,
}

impl Answer {
    /// Writes it again. Of a fault, which is text, only the instance that has it knows, if it is still there.
    pub(crate) fn write(&self, map: &mut MapWriter<'_>, entry: Option<&Entry>) {
        let mut value = Vec::new();
        self.version.machine.write_configuration_json(&self.configuration, &mut value);
        map.bool("ok", true);
        map.with("value", |out, encoding| write_json(out, encoding, &value));
        write_head(map, self.status, self.stuck, self.run, self.seq);
        map.bool("changed", self.changed);
        if self.unhandled {
            map.bool("handled", false);
        }
        if self.made {
            map.bool("new", true);
        }
        if let Some(mark) = &self.mark {
            mark.write(map);
        }
        if self.status == Status::Error
            && let Some(entry) = entry.filter(|entry| entry.run == self.run)
            && let Some(error) = entry.instance.error()
        {
            map.str("fault", &error.to_string());
        }
    }
}

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    /// Nothing.
    New,
    /// The same request had it.
    Same(&'a Answer),
    /// Another request had it.
    Other,
}

/// The last tokens of one key, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens(VecDeque<(Asked, Answer)>);

impl Tokens {
    /// What is known of a request's token.
    pub(crate) fn know(&self, asked: Asked) -> Known<'_> {
        match self.0.iter().find(|(known, _)| known.token == asked.token) {
            None => Known::New,
            Some((known, answer)) if *known == asked => Known::Same(answer),
            Some(_) => Known::Other,
        }
    }

    /// Whether a token that is not here may have been, and was forgotten for the sake of later ones.
    pub(crate) fn may_have_forgotten(&self) -> bool {
        self.0.len() >= TOKENS
    }

    /// Notes an answer, forgetting another one beyond [`TOKENS`].
    pub(crate) fn keep(&mut self, asked: Asked, answer: Answer) {
        self.0.push_back((asked, answer));
        self.shed();
    }

    /// Forgets tokens beyond [`TOKENS`]: the oldest whose answers said nothing of a loss, which may have to be said again, then the oldest.
    fn shed(&mut self) {
        while self.0.len() > TOKENS {
            let unmarked = self.0.iter().position(|(_, answer)| answer.mark.is_none());
            self.0.remove(unmarked.unwrap_or(0));
        }
    }

    /// Puts those of earlier lives before its own.
    pub(crate) fn inherit(&mut self, mut earlier: Self) {
        earlier.0.retain(|(asked, _)| self.know(*asked) == Known::New);
        earlier.0.append(&mut self.0);
        *self = earlier;
        self.shed();
    }

    /// What answers of one of two copies of a key said of what was lost, where the other copy has answered the same requests and did not say
    /// it. A daemon that waits for an answer as a cut comes sends the request again to the member that takes the owner's place, and its client
    /// hears that answer.
    pub(crate) fn unheard(&self, other: &Self) -> Vec<KeyMark> {
        self.unheard_at(other).chain(other.unheard_at(self)).collect()
    }

    fn unheard_at<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = KeyMark> + 'a {
        self.0.iter().filter_map(|(asked, answer)| {
            let said = answer.mark.as_deref()?;
            match other.know(*asked) {
                Known::Same(also) if also.mark != answer.mark => Some(*said),
                _ => None,
            }
        })
    }

    /// Appends the bytes for another daemon. Most tokens are of the version that runs now, which need not be named.
    pub(crate) fn encode(&self, running: &Version, out: &mut Vec<u8>) {
        for (asked, answer) in &self.0 {
            out.extend_from_slice(&asked.token.to_le_bytes());
            for number in [asked.request, answer.run.0, answer.seq] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            let own = answer.version.hash == running.hash;
            out.push(flags(answer, own));
            if !own {
                out.extend_from_slice(&answer.version.hash);
            }
            put_bytes(out, &answer.configuration);
            if let Some(mark) = &answer.mark {
                let mut body = Vec::new();
                mark.encode(&mut body);
                put_bytes(out, &body);
            }
        }
    }

    /// Reads what [`Tokens::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are none of ours. Tokens of a definition that is not in `table` are left out.
    pub(crate) fn decode(bytes: &[u8], running: &Arc<Version>, table: &Table) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let mut tokens = Self::default();
        while !input.is_empty() {
            let token = u128::from_le_bytes(*input.array()?);
            let (request, run, seq) = (input.u64()?, RunId(input.u64()?), input.u64()?);
            let flags = input.byte()?;
            let version = match flags & OWN_VERSION {
                0 => table.by_hash(input.array()?),
                _ => Some(running),
            };
            let configuration = input.bytes()?;
            let mark = match flags & MARK {
                0 => None,
                _ => Some(Box::new(KeyMark::decode(input.bytes()?)?)),
            };
            // What an earlier life answered, of a version that is not here, is not worth the instance.
            let Some(version) = version else { continue };
            if !version.machine.split_configuration(configuration).is_some_and(|(_, behind)| behind.is_empty()) {
                return Err(input.malformed());
            }
            let answer = Answer {
                changed: flags & CHANGED != 0,
                unhandled: flags & UNHANDLED != 0,
                made: flags & MADE != 0,
                mark,
                stuck: flags & STUCK != 0,
                status: STATUSES[usize::from(flags & 3)],
                run,
                seq,
                version: Arc::clone(version),
                configuration: configuration.into(),
            };
            tokens.keep(Asked { token, request }, answer);
        }
        Ok(tokens)
    }
}

/// By the two lowest bits of a token's flags.
const STATUSES: [Status; 4] = [Status::Active, Status::Done, Status::Error, Status::Stopped];
const CHANGED: u8 = 1 << 2;
const MARK: u8 = 1 << 3;
const STUCK: u8 = 1 << 4;
const OWN_VERSION: u8 = 1 << 5;
const UNHANDLED: u8 = 1 << 6;
const MADE: u8 = 1 << 7;

fn flags(answer: &Answer, own: bool) -> u8 {
    let status = STATUSES.iter().zip(0u8..).find(|(status, _)| **status == answer.status).map_or(0, |(_, bits)| bits);
    let Answer { changed, unhandled, made, stuck, .. } = *answer;
    let is_marked = answer.mark.is_some();
    let set = [(changed, CHANGED), (unhandled, UNHANDLED), (made, MADE), (is_marked, MARK), (stuck, STUCK)];
    set.iter().chain(&[(own, OWN_VERSION)]).filter(|(is_set, _)| *is_set).fold(status, |flags, (_, bit)| flags | bit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::Machines;
    use crate::marks::{Conflict, ConflictReason, Lost};
    use statemesh_engine::{Limits, Machine};

    fn version(id: &str) -> Version {
        let text = format!(r#"{{"id":"{id}","initial":"a","states":{{"a":{{}},"b":{{}}}}}}"#);
        let machine = Machine::compile(text.as_bytes(), &Limits::default(), &|_| None).unwrap().machine;
        Version::new(id.into(), *machine.hash(), 1, machine)
    }

    fn answer(version: &Arc<Version>, seq: u64) -> Answer {
        let instance = version.machine.start(
            statemesh_expr::Payload::Empty,
            statemesh_engine::Millis(0),
            &mut statemesh_engine::Output::default(),
        );
        let mut configuration = Vec::new();
        version.machine.write_configuration(&instance.unwrap(), &mut configuration);
        let conflict = Conflict { reason: ConflictReason::Merged, lost_from: 2, run: RunId(5) };
        let mark = KeyMark { lost: Lost::Anew, gone: RunId(4), conflict: Some(conflict) };
        Answer {
            changed: true,
            unhandled: seq == 4,
            made: seq == 5,
            mark: (seq == 3).then(|| Box::new(mark)),
            stuck: false,
            status: Status::Done,
            run: RunId(5),
            seq,
            version: Arc::clone(version),
            configuration: configuration.as_slice().into(),
        }
    }

    #[test]
    fn tokens_read_back_whatever_version_they_are_of_and_the_oldest_goes_first() {
        let machines = Machines::default();
        machines.add(version("m"));
        machines.add(version("other"));
        let table = machines.table();
        let (m, other) = (table.by_name("m").unwrap(), table.by_name("other").unwrap());
        let mut tokens = Tokens::default();
        let asked = |n: u64| Asked { token: u128::from(n), request: n };
        (0..=TOKENS as u64).for_each(|n| tokens.keep(asked(n), answer(if n.is_multiple_of(2) { m } else { other }, n)));
        assert_eq!(tokens.know(asked(0)), Known::New);
        assert_eq!(tokens.know(Asked { request: 7, ..asked(1) }), Known::Other);
        let mut bytes = Vec::new();
        tokens.encode(m, &mut bytes);
        assert_eq!(Tokens::decode(&bytes, m, &table).unwrap(), tokens);
        (1..40).for_each(|cut| assert!(Tokens::decode(&bytes[..cut], m, &table).is_err(), "{cut}"));
        let left = Tokens::decode(&bytes, m, &Table::default()).unwrap();
        let of_m = |n: &u64| n.is_multiple_of(2);
        assert_eq!(
            (1..=TOKENS as u64).filter(|n| left.know(asked(*n)) != Known::New).collect::<Vec<_>>(),
            (1..=TOKENS as u64).filter(of_m).collect::<Vec<_>>(),
            "those of a definition that is not here are left out"
        );
    }
}
