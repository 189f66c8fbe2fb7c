//! Machines whose context tells what happened to them.

/// A machine that writes down the number of every event, so that one that is lost, doubled or out of order shows. `PROBE`
/// changes nothing.
pub const LOG: &str = r#"{"id":"log","context":{"count":0,"log":[]},"initial":"on","states":{"on":{"on":{
"ADD":{"actions":[{"type":"@xstate.assign","context":{"count":{"@expr":"context.count + 1"},"log":{"@expr":"context.log + [event.n]"}}}]},
"SAY":{"actions":[{"type":"@xstate.assign","context":{"count":{"@expr":"context.count + 1"},"log":{"@expr":"context.log + [event.n]"}}},{"type":"note","params":{"n":{"@expr":"event.n"}}}]}
}}}}"#;

/// A machine whose context grows by what its events carry.
pub const FAT: &str = r#"{"id":"fat","context":{"text":"","parts":[]},"initial":"on","states":{"on":{"on":{
"GROW":{"actions":[{"type":"@xstate.assign","context":{"parts":{"@expr":"context.parts + [event.text]"}}}]}}}}}"#;

/// A machine that goes on by itself: each event starts a timer, which counts.
pub const TICK: &str = r#"{"id":"tick","context":{"ticks":0},"initial":"idle","states":{
"idle":{"on":{"GO":"busy"}},
"busy":{"after":{"300":{"target":"idle","actions":[{"type":"@xstate.assign","context":{"ticks":{"@expr":"context.ticks + 1"}}}]}}}}}"#;

/// A machine whose timer's step never ends by itself, and so hits the engine's limit.
pub const STUCK: &str = r#"{"id":"stuck","initial":"idle","states":{
"idle":{"on":{"GO":"armed"}},
"armed":{"after":{"200":"ping"}},
"ping":{"always":"pong"},"pong":{"always":"ping"}}}"#;

/// A machine that is refused its very first event, with a timer that it has set by then.
pub const REFUSED: &str = r#"{"id":"refused","initial":"idle","states":{
"idle":{"after":{"5000":"late"},"on":{"LOOP":"ping"}},"late":{},
"ping":{"always":"pong"},"pong":{"always":"ping"}}}"#;

/// All of them.
pub const ALL: &[&str] = &[LOG, FAT, TICK, STUCK, REFUSED];
