//! One instance as a shard keeps it: the engine's state, its key, and what the daemon remembers beside it.

use std::collections::VecDeque;
use std::sync::Arc;

use statemesh_engine::{Instance, Millis, TimerHandle};
use statemesh_mesh::client_protocol::reply::{Encoding, MapWriter};

use crate::machines::Version;
use crate::transfer::{Input, Malformed, put_bytes};

/// One instance.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The published hash of `machine/key`.
    pub hash: u64,
    /// The key.
    pub key: Box<str>,
    /// What it runs.
    pub version: Arc<Version>,
    /// The engine's state.
    pub instance: Instance,
    /// The instance's entry in the shard's wheel, and its deadline.
    pub armed: Option<(TimerHandle, Millis)>,
    /// History and dedup, once there is any.
    pub extra: Option<Box<Extra>>,
}

/// One transition of an instance's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// The instance's seq after it.
    pub seq: u64,
    /// Milliseconds before the present, when read; when kept, the daemon's clock.
    pub at: u64,
    /// The event's type.
    pub event: Arc<str>,
    /// The value after it, in JSON.
    pub to: Arc<[u8]>,
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

/// What is remembered beside an instance.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// The last transitions, oldest first.
    pub past: VecDeque<Past>,
    /// The last answers to events with a token, oldest first.
    pub answers: VecDeque<Answer>,
}

/// Tokens remembered for one instance: enough for the requests that one client has open at once on one key.
const TOKENS: usize = 32;

impl Extra {
    /// Notes a transition, forgetting the oldest beyond `max`.
    pub(crate) fn remember(&mut self, past: Past, max: usize) {
        while self.past.len() >= max.max(1) {
            self.past.pop_front();
        }
        if max > 0 {
            self.past.push_back(past);
        }
    }

    /// The answer that was given to this token.
    pub(crate) fn answer(&self, token: &str) -> Option<&Answer> {
        self.answers.iter().find(|answer| *answer.token == *token)
    }

    /// Notes an answer.
    pub(crate) fn keep(&mut self, answer: Answer) {
        if self.answers.len() == TOKENS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// Appends the bytes; times become ages, since the next daemon has a clock of its own.
    pub(crate) fn encode(&self, now: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(self.past.len()).unwrap_or(0).to_le_bytes());
        for past in &self.past {
            out.extend_from_slice(&past.seq.to_le_bytes());
            out.extend_from_slice(&now.saturating_sub(past.at).to_le_bytes());
            put_bytes(out, past.event.as_bytes());
            put_bytes(out, &past.to);
        }
        for answer in &self.answers {
            put_bytes(out, answer.token.as_bytes());
            out.push(u8::from(answer.encoding == Encoding::Json));
            put_bytes(out, &answer.reply);
        }
    }

    /// Reads what [`Extra::encode`] wrote, keeping at most `max` transitions.
    ///
    /// # Errors
    /// The bytes are none of ours.
    pub(crate) fn decode(bytes: &[u8], now: u64, max: usize) -> Result<Self, Malformed> {
        let mut extra = Self::default();
        if bytes.is_empty() {
            return Ok(extra);
        }
        let mut input = Input::new(bytes);
        for _ in 0..input.u32()? {
            let (seq, age) = (input.u64()?, input.u64()?);
            let past =
                Past { seq, at: now.saturating_sub(age), event: input.text()?.into(), to: input.bytes()?.into() };
            extra.remember(past, max);
        }
        while !input.is_empty() {
            let token = input.text()?.into();
            let [json] = *input.array::<1>()?;
            let encoding = if json == 1 { Encoding::Json } else { Encoding::MsgPack };
            extra.keep(Answer { token, encoding, reply: input.bytes()?.into() });
        }
        Ok(extra)
    }
}

impl Entry {
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
    fn what_is_remembered_reads_back_with_the_clock_of_the_reader() {
        let mut extra = Extra::default();
        let past = |seq| Past { seq, at: 900 + seq, event: "GO".into(), to: (*b"\"on\"").into() };
        (1..=5).for_each(|seq| extra.remember(past(seq), 3));
        extra.keep(Answer { token: "t".into(), encoding: Encoding::Json, reply: (*b"{}").into() });
        let mut bytes = Vec::new();
        extra.encode(1_000, &mut bytes);
        let read = Extra::decode(&bytes, 5_000, 16).unwrap();
        assert_eq!(read.past.iter().map(|p| (p.seq, p.at)).collect::<Vec<_>>(), [(3, 4_903), (4, 4_904), (5, 4_905)]);
        assert!(read.answer("t").is_some() && read.answer("u").is_none());
        (1..40).for_each(|cut| assert!(Extra::decode(&bytes[..cut], 0, 16).is_err(), "{cut}"));
    }
}
