//! What a run leaves behind: figures with their targets, a page, CSV files, plots.

pub(crate) mod bars;
pub(crate) mod csv;
pub(crate) mod figure;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod table;
