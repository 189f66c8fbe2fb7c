//! How a virtual disk may fail, and how often it did.

/// How often the disk fails or lies, in a thousand times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A sync says that it is done, and what was written is forgotten.
    pub lost_sync: u64,
    /// A sync fails: the pages are clean, their content is lost when the power goes.
    pub failed_sync: u64,
    /// A read has one bit that is not on the disk.
    pub flip_on_read: u64,
    /// A write goes to another place of its file.
    pub misdirected: u64,
    /// A write that makes a file longer finds no room.
    pub no_room: u64,
    /// A write or a sync takes a second to fifteen.
    pub stall: u64,
}

macro_rules! counts {
    ($($name:ident $doc:literal,)*) => {
        /// How often each thing has happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $(#[doc = $doc] pub $name: u64,)*
        }

        impl Counts {
            /// Each with its name.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }

            /// Adds those of another disk.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counts! {
    crashes "The power went.",
    kills "The process ended, and the power stayed.",
    torn_writes "It went within a write.",
    torn_syncs "It went within a sync.",
    lost_sectors "A sector that was written and not synced was lost.",
    lost_names "A name that no sync of its folder had covered was lost.",
    lost_syncs "A sync was a lie.",
    failed_syncs "A sync failed.",
    flips_on_read "A read had a flipped bit.",
    flips_at_rest "A bit flipped on the disk.",
    misdirected "A write went elsewhere.",
    no_room "There was no room.",
    stalls "It took long.",
}
