//! Definitions as people write them: the format's keys, texts of durations and of paths, what is wrong with a document, and the
//! other formats that a machine is read from and written as.

#[cfg(test)]
mod codes;
pub(crate) mod delay_text;
pub(crate) mod diagnostics;
pub(crate) mod export;
pub(crate) mod json_pos;
pub(crate) mod keys;
pub(crate) mod order;
#[cfg(test)]
mod reference;
pub(crate) mod schema;
pub(crate) mod scxml;
pub(crate) mod state_path;
