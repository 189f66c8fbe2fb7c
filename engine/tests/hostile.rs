//! Definitions, expressions, events and snapshots from an enemy: whatever they are, the answer is an error or a step,
//! never a panic and never endless. Mutations of a corpus, from a seed that is printed:
//! `STATEMESH_FUZZ_SEED=7 STATEMESH_FUZZ_RUNS=100000 cargo test -p statemesh-engine --test hostile`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use statemesh_engine::{Event, Instance, Limits, Machine, Millis, Output, Payload};
use std::time::Instant;

const CORPUS: &[&str] = &[
    include_str!("../../benches/machines/lamp.json"),
    r##"{"id":"m","initial":"a","context":{"n":1,"l":[1,2]},"delays":{"d":{"@expr":"context.n * 5"}},
        "guards":{"g":{"when":{"type":"xstate.and","guards":[{"@expr":"params.x > context.n"},"h"]}},"h":{"type":"xstate.not","guards":[{"type":"xstate.stateIn","id":"b"}]}},
        "actions":{"act":[{"type":"@xstate.assign","context":{"n":{"@expr":"context.n + 1"},"l":[1,{"@expr":"context.l"}]}},"other"],"other":"effect"},
        "states":{
            "a":{"entry":"act","exit":["other"],"after":{"d":"b","500":{"target":"p","actions":"act"}},
                 "on":{"E":[{"target":"b","guard":{"type":"g","params":{"x":{"@expr":"event.v"}}}},{"target":"p"}],"*":{"actions":"act"}}},
            "b":{"id":"b","type":"final","output":{"@expr":"context"}},
            "p":{"type":"parallel","onDone":"a","states":{
                "x":{"initial":"1","states":{"1":{"on":{"E":"2"}},"2":{"type":"final"},"h":{"history":"deep","target":"1"}}},
                "y":{"initial":"1","states":{"1":{"always":{"target":"2","guard":{"@expr":"context.n > 3"}}},"2":{"type":"final"}},
                     "on":{"F":{"target":"#m.p.x.h","reenter":true,"actions":{"type":"@xstate.raise","event":{"type":"E","v":9},"delay":"d","id":"r"}},
                           "G":{"actions":{"type":"@xstate.cancel","id":"r"}}}}}}},
        "output":{"@expr":"event.output"}}"##,
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One mutation: bytes flipped or cut, or a piece of one place put in another.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const TOKENS: [&str; 12] = [
        "{}",
        "[]",
        "null",
        "\"a\"",
        "-1",
        "1e9",
        "\"#m\"",
        "\"*\"",
        "{\"@expr\":\"event\"}",
        "true",
        "\"xstate.init\"",
        ",",
    ];
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len());
    let end = (at + random.below(40)).min(bytes.len());
    match random.below(12) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        3 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
        4.. => {
            // A whole JSON string or number gives way, so that the text stays JSON more often.
            let stop = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b':');
            let start = bytes[..at].iter().rposition(stop).map_or(0, |place| place + 1);
            let end = bytes[at..].iter().position(stop).map_or(bytes.len(), |place| at + place);
            drop(bytes.splice(start..end, TOKENS[random.below(TOKENS.len())].bytes()));
        }
    }
}

fn drive(machine: &Machine, random: &mut Random) {
    let mut out = Output::new();
    let Ok(mut instance) = machine.start(Payload::Json(br#"{"x":1}"#), Millis(0), &mut out) else { return };
    for now in 0..12 {
        out.clear();
        let name = ["E", "F", "G", "NEXT", "xstate.done.state.m.p", "xstate.stop", "other"][random.below(7)];
        let mut payload = format!(r#"{{"type":"{name}","v":{}}}"#, random.below(9)).into_bytes();
        if random.below(4) == 0 {
            mutate(&mut payload, random);
        }
        let event = Event { kind: name, payload: Payload::Json(&payload) };
        let _ = machine.explain(&instance, &event, Millis(now));
        let _ = machine.send(&mut instance, &event, Millis(now * 300), &mut out);
        while let Some(Ok(step)) = machine.fire_next(&mut instance, Millis(now * 300), &mut out) {
            if out.effects.len() > 10_000 || step.seq > 10_000 {
                break;
            }
        }
        let mut bytes = Vec::new();
        instance.to_bytes(machine, Millis(now), &mut bytes);
        let restored = Instance::from_bytes(machine, &bytes, Millis(now), &mut Output::new()).unwrap();
        assert_eq!(restored.seq(), instance.seq());
        mutate(&mut bytes, random);
        if let Ok(mut other) = Instance::from_bytes(machine, &bytes, Millis(now), &mut Output::new()) {
            let _ = machine.send(&mut other, &event, Millis(now), &mut out);
        }
    }
}

#[test]
fn mutated_definitions_never_panic_and_their_machines_never_hang() {
    let seed = setting("STATEMESH_FUZZ_SEED", 1);
    let runs = setting("STATEMESH_FUZZ_RUNS", 3_000);
    println!("seed {seed}, {runs} runs");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let limits = Limits { expression_cost_max: 20_000, microsteps_max: 100, ..Limits::default() };
    let mut compiled = 0;
    for _ in 0..runs {
        let mut text = CORPUS[random.below(CORPUS.len())].as_bytes().to_vec();
        for _ in 0..=random.below(2) {
            mutate(&mut text, &mut random);
        }
        match Machine::compile(&text, &limits, &|_| None) {
            Ok(accepted) => {
                compiled += 1;
                drive(&accepted.machine, &mut random);
            }
            Err(found) => assert!(found.iter().any(|found| found.is_error())),
        }
    }
    println!("{compiled} compiled");
    assert!(compiled > runs / 20, "the mutations are too wild to test much: {compiled} of {runs} compiled");
}

/// What costs time to compile grows with the definition, not with its square.
#[test]
fn a_wide_definition_compiles_in_reasonable_time() {
    let states: Vec<String> = (0..4_000)
        .map(|index| format!(r#""s{index}":{{"on":{{"E{index}":"s{}","N":"s0"}}}}"#, (index + 1) % 4_000))
        .collect();
    let events: Vec<String> = (0..20_000).map(|index| format!(r#""F{index}":".s{}""#, index % 4_000)).collect();
    let source = format!(r#"{{"initial":"s0","states":{{{}}},"on":{{{}}}}}"#, states.join(","), events.join(","));
    let begun = Instant::now();
    Machine::compile(source.as_bytes(), &Limits::default(), &|_| None).unwrap();
    let wrong = source.replace(".s", ".t");
    assert!(Machine::compile(wrong.as_bytes(), &Limits::default(), &|_| None).is_err());
    // Generous: a debug build on a busy machine takes two or three seconds.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
