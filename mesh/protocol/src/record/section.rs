//! A section: a place at an index, with what its records' numbers stand for, and its images. It is what a checkpoint consists of,
//! what is handed off, what a follower that lags is sent, and what a backup has of a place.
//!
//! Its head, then images, then an empty frame, then SHA-256 of all that was before. It is written and read piece by piece: a
//! place may be larger than what one would like to have in memory twice.

use sha2::{Digest, Sha256};

use super::field::{Field, Fields, Unreadable};
use super::image::StoredImage;
use super::item::{Consumer, Vote, Voter};
use super::list::{List, put_list};
use super::{PartWriter, frame};
use crate::place::StoredPlace;

/// How far messages between this place and another one have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageMark {
    /// The other place.
    pub place: StoredPlace,
    /// Number of the last message.
    pub number: u64,
}

impl<'a> Field<'a> for MessageMark {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        Ok(Self { place: from.read()?, number: from.read()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.place.write(out);
        self.number.write(out);
    }
}

/// Both forms of a section's head: one that was read has lists, one that is to be written slices.
macro_rules! heads {
    ($($(#[$doc:meta])* $field:ident: $form:ty $(| $item:ty)?,)*) => {
        /// What stands before the images of a section that is read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct SectionHead<'a> {
            $($(#[$doc])* pub $field: heads!(@read $form $(| $item)?),)*
        }

        /// What stands before the images of a section that is to be written.
        #[derive(Clone, Copy, Debug)]
        pub struct NewSection<'a> {
            $($(#[$doc])* pub $field: heads!(@new $form $(| $item)?),)*
        }

        impl<'a> SectionHead<'a> {
            fn read(body: &mut Fields<'a>) -> Result<Self, Unreadable> {
                Ok(Self { $($field: body.read()?,)* })
            }
        }

        impl NewSection<'_> {
            fn write(&self, out: &mut Vec<u8>) {
                $(heads!(@write self.$field, out $(, $item)?);)*
            }
        }
    };
    (@read $form:ty | $item:ty) => { List<'a, $item> };
    (@read $form:ty) => { $form };
    (@new $form:ty | $item:ty) => { &'a [$item] };
    (@new $form:ty) => { $form };
    (@write $field:expr, $out:ident, $item:ty) => { put_list($field, $out) };
    (@write $field:expr, $out:ident) => { $field.write($out) };
}

heads! {
    /// The place.
    place: StoredPlace,
    /// The last term that this replica knows; 0 on tier `disk`.
    term: u64,
    /// Whom this replica voted for in that term.
    vote: Option<Vote<'a>>,
    /// The place's replicas; none on tier `disk`.
    configuration: List | Voter<'a>,
    /// Index up to which every record is in here.
    index: u64,
    /// Mesh time of that record, in milliseconds.
    at: u64,
    /// Number of the first batch with a record that is not in here.
    replay_from: u64,
    /// Hashes of definitions, by their numbers in this place.
    definitions: List | [u8; 32],
    /// Keys of contexts, by their numbers.
    context_keys: List | &'a str,
    /// Types of events, by their numbers.
    events: List | &'a str,
    /// Queues, by their numbers.
    queues: List | &'a str,
    /// The last message sent to each place.
    sent: List | MessageMark,
    /// The last message disposed of from each place.
    received: List | MessageMark,
    /// Who reads the feed, and how far.
    consumers: List | Consumer<'a>,
}

impl<'a> Field<'a> for Option<Vote<'a>> {
    fn read(from: &mut Fields<'a>) -> Result<Self, Unreadable> {
        match from.read::<u8>()? {
            0 => Ok(None),
            1 => from.read().map(Some),
            _ => Err(Unreadable::Malformed("whether there is a vote")),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        self.iter().for_each(|vote| vote.write(out));
    }
}

/// Writes a section. The caller takes what was appended to `out` whenever it likes.
#[derive(Debug, Default)]
pub struct SectionWriter {
    digest: Sha256,
}

impl SectionWriter {
    /// Begins a section: appends its head.
    pub fn begin(head: &NewSection<'_>, out: &mut Vec<u8>) -> Self {
        let mut writer = Self::default();
        writer.digested(out, |out| {
            let start = frame::begin(out);
            head.write(out);
            frame::end(out, start);
        });
        writer
    }

    /// Appends an image with the parts that `parts` writes.
    pub fn image(&mut self, image: &StoredImage<'_>, out: &mut Vec<u8>, parts: impl FnOnce(&mut PartWriter<'_>)) {
        self.digested(out, |out| image.write(out, parts));
    }

    /// Ends the section.
    pub fn end(mut self, out: &mut Vec<u8>) {
        self.digested(out, frame::put_empty);
        out.extend_from_slice(&self.digest.finalize());
    }

    fn digested(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let before = out.len();
        write(out);
        self.digest.update(out.get(before..).unwrap_or_default());
    }
}

/// Reads a section's images. Only when there is no further one is the section known to be as it was written.
#[derive(Debug)]
pub struct SectionReader<'a> {
    fields: Fields<'a>,
    digest: Sha256,
    is_over: bool,
}

impl<'a> SectionReader<'a> {
    /// Reads the head of the section with which these bytes begin.
    pub fn open(bytes: &'a [u8]) -> Result<(SectionHead<'a>, Self), Unreadable> {
        let mut reader = Self { fields: Fields::new(bytes), digest: Sha256::new(), is_over: false };
        let mut body = Fields::new(reader.digested(frame::open)?);
        let head = SectionHead::read(&mut body)?;
        body.finish()?;
        Ok((head, reader))
    }

    /// The next image; `None` once there is none and the digest of all is right.
    pub fn next_image(&mut self) -> Result<Option<StoredImage<'a>>, Unreadable> {
        if self.is_over {
            return Ok(None);
        }
        let image = self.digested(StoredImage::read)?;
        if image.is_none() {
            let said = self.fields.array::<32>()?;
            if *said != *self.digest.clone().finalize() {
                return Err(Unreadable::Checksum);
            }
            self.is_over = true;
        }
        Ok(image)
    }

    /// What follows the section, once it has been read to its end.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.fields.rest()
    }

    fn digested<T>(&mut self, read: impl FnOnce(&mut Fields<'a>) -> Result<T, Unreadable>) -> Result<T, Unreadable> {
        let before = self.fields.rest();
        let value = read(&mut self.fields)?;
        let used = before.len() - self.fields.rest().len();
        self.digest.update(before.get(..used).unwrap_or_default());
        Ok(value)
    }
}
