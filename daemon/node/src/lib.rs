//! The runtime of one daemon: reactors, shards, routing, hand-off.
