//! The direct client.
