//! End-to-end tests: whole daemons, real DNS, real clients.
