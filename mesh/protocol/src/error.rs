//! Error codes: stable names, and what the client should do about each.

/// What a client can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The request itself is wrong: change it.
    Fix,
    /// The same request may succeed later, and sending it again is harmless: nothing was applied.
    Retry,
    /// It is unknown whether the event was applied: send it again with the same `dedup` token.
    RetryWithDedup,
    /// This daemon can't; another one may.
    RetryElsewhere,
}

macro_rules! codes {
    ($($variant:ident $code:literal $advice:ident $meaning:literal;)*) => {
        /// Why a request was not answered with `"ok":true`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in replies and metrics; it never changes its meaning.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The code of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// What the client should do.
            #[must_use]
            pub fn advice(self) -> Advice {
                match self { $(Self::$variant => Advice::$advice,)* }
            }

            /// What it means, for the reference.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" Fix "The frame is no request: neither a MessagePack nor a JSON map, or malformed.";
    UnknownOp "unknown_op" Fix "There is no such `op`.";
    MissingField "missing_field" Fix "The op needs a field that the request does not have.";
    WrongType "wrong_type" Fix "A field has a value of the wrong type, or one that is out of bounds.";
    BatchTooLarge "batch_too_large" Fix "The array has more requests than `limits.batch`.";
    MessageTooLarge "message_too_large" Fix "The frame has more bytes than `limits.message_bytes`; it was not read.";
    KeyTooLong "key_too_long" Fix "The key is longer than `limits.key_bytes`.";
    InvalidDefinition "invalid_definition" Fix "The definition does not compile; `diagnostics` says where.";
    Unsupported "unsupported" Fix "An option asks for what this version does not have; nothing was done.";
    UnknownMachine "unknown_machine" Fix "No machine of this name is defined in the mesh.";
    UnknownInstance "unknown_instance" Fix "There is no such instance; `send` and `start` create one.";
    UnknownState "unknown_state" Fix "The machine has no state, or none with the tag, that `until` or `where` names; nothing was done.";
    AlreadyStarted "already_started" Fix "`start` names an instance that is active.";
    EventFailed "event_failed" Fix "An expression of the event's step has no value, or the step hit a limit of the engine; the instance stays as it was.";
    ConditionFailed "condition_failed" Fix "The instance is not where `if_run` or `if_seq` want it to be; nothing was done, and the message says where it is.";
    DedupMismatch "dedup_mismatch" Fix "The `dedup` token was used for another request about this key; nothing was done.";
    DedupTooLong "dedup_too_long" Fix "The `dedup` token is longer than `limits.dedup_bytes`.";
    OutputTooLarge "output_too_large" Fix "The reply, or what the step would publish, has more bytes than `limits.output_bytes`; the instance stays as it was.";
    Forbidden "forbidden" Fix "The client's key may not do this; the message says what it lacks.";
    ReservedEvent "reserved_event" Fix "The event is one of the engine's own (`xstate.*`): it needs the right `engine`, or a machine that takes them from clients.";
    DurabilityFixed "durability_fixed" Fix "The machine's id has another durability, which its first definition decided; nothing was done.";
    StorageDamaged "storage_damaged" Fix "Records of the key's place are missing on the daemon's volume: nothing of it is served, and no instance begins anew, until the volume is restored.";
    StorageFull "storage_full" Retry "The daemon's volume has no room for new events of durable machines, or is slower than they come; reads go on.";
    StorageFailed "storage_failed" RetryWithDedup "The daemon's volume failed: nothing durable is acknowledged any more, and the daemon ends.";
    LimitExceeded "limit_exceeded" Retry "A bound of the daemon is reached; the message names it.";
    Moving "moving" Retry "The key's partition is moving: too many requests wait for it already, this one has waited for too long, or with `forward` false no daemon serves it just now.";
    Moved "moved" RetryElsewhere "Another daemon serves the key: `owner`, at `address`; the request said `forward: false`, and was not passed on.";
    NotReady "not_ready" RetryElsewhere "The daemon has not joined its mesh yet: the request has waited for `limits.forward_timeout`, or it asks for a list.";
    Leaving "leaving" RetryElsewhere "The daemon is leaving the mesh: the request has waited for `limits.forward_timeout`, or still waited when it ended, or came when all was handed off and the last answers were awaited.";
    OwnerUnreachable "owner_unreachable" Retry "The key's owner could not be reached; the request was not sent to it.";
    OutcomeUnknown "outcome_unknown" RetryWithDedup "The owner was lost after the request had been sent to it, also where the daemon that took over then refused it; or it was lost and is back, and has forgotten tokens of the key since; or the daemon ended before it had the owner's answer; or the answer had no room on the link (`limits.link_bytes`) or its connection (`limits.array_bytes`).";
    Timeout "timeout" RetryWithDedup "The owner did not answer within `limits.forward_timeout`. The request may yet be applied, also behind later ones.";
    Internal "internal" RetryElsewhere "A fault of the daemon; please report it with its log.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_the_same() {
        let page = include_str!("../../../docs/reference/protocol.md");
        for code in ErrorCode::ALL {
            let advice = match code.advice() {
                Advice::Fix => "fix",
                Advice::Retry => "retry",
                Advice::RetryWithDedup => "retry, with `dedup`",
                Advice::RetryElsewhere => "retry elsewhere",
            };
            let row = format!("| `{}` | {advice} | {} |", code.as_str(), code.meaning());
            assert!(page.contains(&row), "docs/reference/protocol.md lacks: {row}");
        }
    }

    #[test]
    fn codes_are_unique_and_in_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for code in ErrorCode::ALL {
            assert!(seen.insert(code.as_str()), "{} twice", code.as_str());
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
    }
}
