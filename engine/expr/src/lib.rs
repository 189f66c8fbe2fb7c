//! Values, lazily decoded payloads and compiled CEL expressions.
