//! XState machines as compiled tables: definition, transitions, timers, snapshots.
