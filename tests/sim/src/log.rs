//! What daemons log, and what they decide and clients hear besides, with the virtual time of it: to follow one key or partition
//! through a seed that fails.

use std::cell::Cell;
use std::fmt;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// It is this time in the world of this thread, in nanoseconds.
pub(crate) fn at(now: u64) {
    NOW.set(now);
}

struct Virtual;

impl FormatTime for Virtual {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", crate::judge::time(NOW.get()))
    }
}

/// Prints everything from now on.
pub(crate) fn print() {
    let subscriber = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false).with_target(false);
    let subscriber = subscriber.with_level(false).with_timer(Virtual).finish();
    // There is none yet: nothing else in this program sets one.
    _ = tracing::subscriber::set_global_default(subscriber);
}
