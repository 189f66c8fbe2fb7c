//! The latency harness and the peers it is compared with.
