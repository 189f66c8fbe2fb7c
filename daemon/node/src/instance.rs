//! One instance as a shard keeps it: the engine's state, its key, and what the daemon remembers beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_engine::{Instance, TimerHandle};
use statemesh_expr::Str;
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter};

use crate::history::History;
use crate::machines::Version;
use crate::transfer::{Input, Malformed, put_bytes};

/// One instance. There may be millions: what most of them have is in place, the rest is boxed.
///
/// The hash and the key, which finding it compares, are in one cache line: with thousands of instances that line is what an
/// event waits for.
#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Entry {
    /// The published hash of `machine/key`.
    pub hash: u64,
    /// The key.
    pub key: Str,
    /// What it runs.
    pub version: Arc<Version>,
    /// The engine's state.
    pub instance: Instance,
    /// The instance's entry in the shard's wheel.
    pub armed: Option<TimerHandle>,
    /// Its last transitions.
    pub history: History,
    /// What was answered to events with a `dedup` token, once there was one.
    pub answers: Option<Box<Answers>>,
}

/// The answer to an event that came with a `dedup` token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The token.
    pub token: Box<str>,
    /// The encoding of the reply.
    pub encoding: Encoding,
    /// The reply, without an id.
    pub reply: Box<[u8]>,
}

/// The last answers to events with a token, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers(VecDeque<Answer>);

/// Tokens remembered for one instance: enough for the requests that one client has open at once on one key.
const TOKENS: usize = 32;

impl Answers {
    /// The answer that was given to this token.
    pub(crate) fn to(&self, token: &str) -> Option<&Answer> {
        self.0.iter().find(|answer| *answer.token == *token)
    }

    /// Notes an answer, forgetting the oldest beyond [`TOKENS`].
    pub(crate) fn keep(&mut self, answer: Answer) {
        if self.0.len() == TOKENS {
            self.0.pop_front();
        }
        self.0.push_back(answer);
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for answer in &self.0 {
            put_bytes(out, answer.token.as_bytes());
            out.push(u8::from(answer.encoding == Encoding::Json));
            put_bytes(out, &answer.reply);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut answers = Self::default();
        while !input.is_empty() {
            let token = input.text()?.into();
            let [json] = *input.array::<1>()?;
            let encoding = if json == 1 { Encoding::Json } else { Encoding::MsgPack };
            answers.keep(Answer { token, encoding, reply: input.bytes()?.into() });
        }
        Ok(answers)
    }
}

impl Entry {
    /// Appends history and answers, for another daemon.
    pub(crate) fn encode_memory(&self, now: u64, out: &mut Vec<u8>) {
        self.history.encode(&self.version.machine, now, out);
        if let Some(answers) = &self.answers {
            answers.encode(out);
        }
    }

    /// Reads what [`Entry::encode_memory`] wrote, keeping at most `max` transitions.
    ///
    /// # Errors
    /// The bytes are none of ours, or of another definition.
    pub(crate) fn decode_memory(
        version: &Version,
        bytes: &[u8],
        now: u64,
        max: usize,
    ) -> Result<(History, Option<Box<Answers>>), Malformed> {
        let mut input = Input::new(bytes);
        let history = History::decode(&version.machine, &mut input, now, max)?;
        let answers = Answers::decode(&mut input)?;
        Ok((history, (answers != Answers::default()).then(|| Box::new(answers))))
    }

    /// Writes what every reply about an instance says.
    pub(crate) fn write_head(&self, reply: &mut MapWriter<'_>) {
        reply.with("value", |out, encoding| self.write_value(out, encoding));
        reply.str("status", self.instance.status().as_str()).uint("seq", self.instance.seq());
    }

    /// Writes the state value.
    pub(crate) fn write_value(&self, out: &mut Vec<u8>, encoding: Encoding) {
        match encoding {
            Encoding::Json => self.version.machine.write_value_json(&self.instance, out),
            Encoding::MsgPack => self.version.machine.write_value_msgpack(&self.instance, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_back_and_the_oldest_goes_first() {
        let answer =
            |n: usize| Answer { token: n.to_string().into(), encoding: Encoding::Json, reply: (*b"{}").into() };
        let mut answers = Answers::default();
        (0..=TOKENS).for_each(|n| answers.keep(answer(n)));
        assert!(answers.to("0").is_none() && answers.to("1").is_some());
        let mut bytes = Vec::new();
        answers.encode(&mut bytes);
        assert_eq!(Answers::decode(&mut Input::new(&bytes)).unwrap(), answers);
        (1..12).for_each(|cut| assert!(Answers::decode(&mut Input::new(&bytes[..cut])).is_err(), "{cut}"));
    }

    #[test]
    fn an_instance_is_two_and_a_half_cache_lines_and_begins_at_half_a_one() {
        assert_eq!(size_of::<Option<Entry>>(), 160);
        assert_eq!((std::mem::offset_of!(Entry, hash), std::mem::offset_of!(Entry, key), size_of::<Str>()), (0, 8, 24));
    }
}
