//! Instances as bytes, for a partition that moves to another daemon.
//!
//! A record names its definition by hash: a running instance keeps its version wherever it goes. Numbers are
//! little-endian; texts and blobs have a four-byte length in front. Bytes that lie give an error, never an allocation.

/// One instance on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Hash of the definition that it runs.
    pub definition: &'a [u8; 32],
    /// Name of its machine.
    pub machine: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The engine's snapshot.
    pub snapshot: &'a [u8],
    /// History and answers kept for `dedup`, as [`crate::instance::Entry::encode_memory`] writes them.
    pub extra: &'a [u8],
}

/// The bytes are no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed hand-off record at byte {0}")]
pub(crate) struct Malformed(pub usize);

impl Record<'_> {
    /// Appends the bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.definition);
        for field in [self.machine.as_bytes(), self.key.as_bytes(), self.snapshot, self.extra] {
            put_bytes(out, field);
        }
    }
}

/// The definitions that a part of a partition names, as far as it can be read.
pub(crate) fn definitions(bytes: &[u8]) -> impl Iterator<Item = &[u8; 32]> {
    let mut input = Input::new(bytes);
    std::iter::from_fn(move || {
        (!input.is_empty()).then(|| input.record().ok()).flatten().map(|record| record.definition)
    })
}

/// Appends a blob with its length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Input<'a> {
    /// Reads from the beginning.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error of what was to be read next.
    pub(crate) fn malformed(&self) -> Malformed {
        Malformed(self.len - self.rest.len())
    }

    /// A field of fixed size.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(array)
    }

    /// A four-byte number.
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    /// An eight-byte number.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(*self.array()?))
    }

    /// A blob.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.malformed())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let at = self.malformed();
        std::str::from_utf8(self.bytes()?).map_err(|_| at)
    }

    /// A whole record.
    pub(crate) fn record(&mut self) -> Result<Record<'a>, Malformed> {
        Ok(Record {
            definition: self.array()?,
            machine: self.text()?,
            key: self.text()?,
            snapshot: self.bytes()?,
            extra: self.bytes()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_cut_ones_are_errors() {
        let record = Record { definition: &[7; 32], machine: "order", key: "42/é", snapshot: b"state", extra: b"" };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        record.encode(&mut bytes);
        let mut input = Input::new(&bytes);
        assert_eq!(input.record(), Ok(record));
        assert_eq!(input.record(), Ok(record));
        assert!(input.is_empty());
        for cut in 1..bytes.len() / 2 {
            assert!(Input::new(&bytes[..cut]).record().is_err(), "{cut}");
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        let mut bytes = vec![0; 32];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Input::new(&bytes).record(), Err(Malformed(36)));
    }
}
