//! Instances as bytes, for a partition that moves to another daemon: the one codec of whatever leaves a shard whole.
//!
//! A part of a partition is a list of records, each a byte that says what it is and in which format, and its length: so one that
//! cannot be read spoils none behind it. An image names its definition by hash: a running instance keeps its version wherever
//! it goes. Numbers are little-endian; texts and blobs have a four-byte length in front. Bytes that lie give an error, never
//! an allocation.

use crate::run::RunId;

/// An instance, in the first format that had a life of its own.
const IMAGE: u8 = 1;
/// A mark of a key.
const MARK: u8 = 2;
/// What a removed instance left.
const REMOVED: u8 = 3;
/// Which copy it is.
const COPY: u8 = 4;
/// That tokens of removed instances were forgotten.
const FORGOTTEN: u8 = 5;

/// One record of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// An instance.
    Image(Image<'a>),
    /// What the next reply about a key has to say.
    Mark(KeyMark<'a>),
    /// What a removed instance left.
    Removed(Removed<'a>),
    /// Which copy the partition is, before all else: its tenures ([`crate::tenure::Tenures`]).
    Copy(&'a [u8]),
    /// Tokens that removed instances left were forgotten before their time: one that is not known may have been used.
    Forgotten {
        /// For how long that holds from now on, in milliseconds.
        left_ms: u64,
    },
}

/// One instance on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Hash of the definition that it runs.
    pub definition: &'a [u8; 32],
    /// Name of its machine.
    pub machine: &'a str,
    /// Its key.
    pub key: &'a str,
    /// Its life.
    pub run: RunId,
    /// In which copies it made its transitions in this life ([`crate::tenure::Trail`]).
    pub trail: &'a [u8],
    /// The engine's snapshot.
    pub snapshot: &'a [u8],
    /// Its last transitions.
    pub history: &'a [u8],
    /// Its dedup tokens, those of earlier lives included.
    pub tokens: &'a [u8],
}

/// A key about which the next reply has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark<'a> {
    /// Hash of `machine/key`.
    pub hash: u64,
    /// What it has to say, as the shard writes it.
    pub body: &'a [u8],
}

/// The dedup tokens of a key whose instance was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed<'a> {
    /// Hash of `machine/key`.
    pub hash: u64,
    /// Hash of the definition that it ran.
    pub definition: &'a [u8; 32],
    /// Its life.
    pub run: RunId,
    /// For how long they are kept from now on, in milliseconds.
    pub left_ms: u64,
    /// The tokens, as the shard writes them.
    pub tokens: &'a [u8],
}

/// The bytes are no record, or one of a format that is not known here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed hand-off record at byte {0}")]
pub struct Malformed(pub usize);

impl Record<'_> {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Self::Image(_) => IMAGE,
            Self::Mark(_) => MARK,
            Self::Removed(_) => REMOVED,
            Self::Copy(_) => COPY,
            Self::Forgotten { .. } => FORGOTTEN,
        };
        out.push(kind);
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Self::Image(image) => image.encode(out),
            Self::Mark(mark) => {
                out.extend_from_slice(&mark.hash.to_le_bytes());
                out.extend_from_slice(mark.body);
            }
            Self::Removed(removed) => removed.encode(out),
            Self::Copy(tenures) => out.extend_from_slice(tenures),
            Self::Forgotten { left_ms } => out.extend_from_slice(&left_ms.to_le_bytes()),
        }
        let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX).to_le_bytes();
        out.iter_mut().skip(at).zip(len).for_each(|(byte, len)| *byte = len);
    }
}

impl<'a> Image<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.definition);
        out.extend_from_slice(&self.run.0.to_le_bytes());
        put_bytes(out, self.trail);
        for field in [self.machine.as_bytes(), self.key.as_bytes(), self.snapshot, self.history, self.tokens] {
            put_bytes(out, field);
        }
    }

    fn decode(body: &mut Input<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            definition: body.array()?,
            run: RunId(body.u64()?),
            trail: body.bytes()?,
            machine: body.text()?,
            key: body.text()?,
            snapshot: body.bytes()?,
            history: body.bytes()?,
            tokens: body.bytes()?,
        })
    }
}

impl<'a> Removed<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.definition);
        for number in [self.hash, self.run.0, self.left_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_bytes(out, self.tokens);
    }

    fn decode(body: &mut Input<'a>) -> Result<Self, Malformed> {
        let definition = body.array()?;
        let (hash, run, left_ms) = (body.u64()?, RunId(body.u64()?), body.u64()?);
        Ok(Self { hash, definition, run, left_ms, tokens: body.bytes()? })
    }
}

/// The definitions that a part of a partition names, as far as it can be read.
pub fn definitions(bytes: &[u8]) -> impl Iterator<Item = &[u8; 32]> {
    let mut input = Input::new(bytes);
    std::iter::from_fn(move || {
        while !input.is_empty() {
            match input.record() {
                Ok(Record::Image(image)) => return Some(image.definition),
                Ok(Record::Removed(removed)) => return Some(removed.definition),
                Ok(Record::Mark(_) | Record::Copy(_) | Record::Forgotten { .. }) | Err(_) => {}
            }
        }
        None
    })
}

/// Appends a blob with its length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Input<'a> {
    /// Reads from the beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error of what was to be read next.
    pub fn malformed(&self) -> Malformed {
        Malformed(self.len - self.rest.len())
    }

    /// A field of fixed size.
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(array)
    }

    /// A byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| *byte)
    }

    /// A four-byte number.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    /// An eight-byte number.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    /// A blob.
    pub fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        let at = self.malformed();
        std::str::from_utf8(self.bytes()?).map_err(|_| at)
    }

    /// A whole record. After an error the next one can be read, if the length of this one could: else nothing is left.
    pub fn record(&mut self) -> Result<Record<'a>, Malformed> {
        let at = self.malformed();
        let read = self.framed();
        if read.is_none() {
            self.rest = &[];
        }
        let (kind, body) = read.ok_or(at)?;
        let mut body = Self::new(body);
        let at = self.malformed();
        let record = match kind {
            IMAGE => Image::decode(&mut body).map(Record::Image),
            REMOVED => Removed::decode(&mut body).map(Record::Removed),
            COPY => Ok(Record::Copy(std::mem::take(&mut body.rest))),
            FORGOTTEN => body.u64().map(|left_ms| Record::Forgotten { left_ms }),
            MARK => body.u64().map(|hash| Record::Mark(KeyMark { hash, body: std::mem::take(&mut body.rest) })),
            _ => Err(Malformed(0)),
        };
        record.ok().filter(|_| body.is_empty()).ok_or(at)
    }

    fn framed(&mut self) -> Option<(u8, &'a [u8])> {
        Some((self.byte().ok()?, self.bytes().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image<'static> = Image {
        definition: &[7; 32],
        machine: "order",
        key: "42/é",
        run: RunId(9),
        trail: b"trail",
        snapshot: b"state",
        history: b"",
        tokens: b"t",
    };

    #[test]
    fn records_read_back_and_cut_ones_are_errors() {
        let removed = Removed { hash: 6, definition: &[8; 32], run: RunId(9), left_ms: 1_000, tokens: b"t" };
        let mark = KeyMark { hash: 5, body: b"lost" };
        let (copy, forgotten) = (Record::Copy(b"tenure"), Record::Forgotten { left_ms: 7 });
        let (mark, removed) = (Record::Mark(mark), Record::Removed(removed));
        let records = [Record::Image(IMAGE), copy, mark, forgotten, removed, Record::Image(IMAGE)];
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.encode(&mut bytes));
        let mut input = Input::new(&bytes);
        for record in records {
            assert_eq!(input.record(), Ok(record));
        }
        assert!(input.is_empty());
        assert_eq!(definitions(&bytes).count(), 3);
        let mut first = Vec::new();
        records[0].encode(&mut first);
        for cut in 1..first.len() {
            let mut input = Input::new(&bytes[..cut]);
            assert!(input.record().is_err() && input.is_empty(), "{cut}");
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        let mut bytes = vec![super::IMAGE];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Input::new(&bytes).record(), Err(Malformed(0)));
    }

    #[test]
    fn a_record_of_an_unknown_format_spoils_none_behind_it() {
        let mut bytes = vec![99];
        put_bytes(&mut bytes, b"from a release to come");
        Record::Image(IMAGE).encode(&mut bytes);
        let mut input = Input::new(&bytes);
        assert!(input.record().is_err());
        assert_eq!(input.record(), Ok(Record::Image(IMAGE)));
    }
}
