//! What a value, a document or an expression may cost, each with a name.

/// Deepest nesting that any [`Limits::depth`] can allow: readers keep one bit
/// or one counter per level on the stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// Bounds on what is decoded, compiled and evaluated. Exceeding one is an
/// error on that document, expression or event, never an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nested lists and maps in a value (at most 128 are possible).
    pub depth: usize,
    /// Bytes a decoded or computed value may weigh, by
    /// [`crate::Value::weight`].
    pub value_bytes: usize,
    /// Bytes of one expression's source.
    pub source_bytes: usize,
    /// Levels of brackets, ternaries and other nesting in one expression.
    pub source_depth: usize,
    /// Nodes one expression may have once its macros are expanded.
    pub source_nodes: usize,
    /// Units of [`crate::Cost`] one evaluation may use.
    pub cost: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            depth: 64,
            value_bytes: 16 << 20,
            source_bytes: 8 << 10,
            source_depth: 32,
            source_nodes: 2_000,
            cost: 100_000,
        }
    }
}

impl Limits {
    /// The depth limit that applies: what was asked for, within what readers
    /// can keep track of.
    pub(crate) fn capped_depth(&self) -> usize {
        self.depth.min(MAX_DEPTH)
    }
}
