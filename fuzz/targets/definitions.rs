//! A definition from an enemy: refused with a reason, or a machine that takes any of its events.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statemesh_engine::{DrawFormat, Event, Millis, Payload};
use statemesh_fuzz::catalogue::Pair;
use statemesh_fuzz::script::Input;
use statemesh_fuzz::walk::Walk;

/// Events of the definition's own that are sent, in its order, twice.
const EVENTS_MAX: usize = 12;

fuzz_target!(|source: &[u8]| {
    let Some(pair) = Pair::compile(source) else { return };
    for format in [DrawFormat::Mermaid, DrawFormat::Dot] {
        let _ = pair.machine.draw(format, None);
    }
    let Some(mut walk) = Walk::start(&pair, Payload::Json(br#"{"x":1}"#)) else { return };
    let names: Vec<String> = pair.machine.event_descriptors().take(EVENTS_MAX).map(str::to_owned).collect();
    for (round, name) in (0..2).flat_map(|round| names.iter().map(move |name| (round, name))) {
        let name = name.trim_end_matches(".*").trim_end_matches('*');
        let json = format!(r#"{{"type":"{name}","x":{round},"l":[1,2],"s":"a"}}"#);
        let payload = if round == 0 { Payload::Empty } else { Payload::Json(json.as_bytes()) };
        walk.send(&Event { kind: name, payload });
        walk.take(&Input::Advance(Millis(700)));
    }
});
