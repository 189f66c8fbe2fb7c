//! What the fuzz targets need of this crate's inside.

use std::sync::{Arc, LazyLock};

use statemesh_engine::{Instance, Limits, Machine, Millis, Output};

use crate::history::History;
use statemesh_protocol::image::{Input, Record};

/// Transitions that are kept of an instance's past.
const HISTORY: usize = 16;

/// Instances that move: records that can be read are written as they were, and so are a history and a snapshot in them.
pub fn moving(bytes: &[u8]) {
    static MACHINE: LazyLock<Option<Arc<Machine>>> = LazyLock::new(|| {
        let definition = br#"{"initial":"a","states":{"a":{"on":{"GO":"b"}},"b":{"on":{"*":"a"}}}}"#;
        Machine::compile(definition, &Limits::default(), &|_| None).ok().map(|compiled| compiled.machine)
    });
    let mut input = Input::new(bytes);
    while !input.is_empty() {
        let Ok(record) = input.record() else { continue };
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(Input::new(&again).record(), Ok::<Record<'_>, _>(record));
        if let (Some(machine), Record::Image(image)) = (&*MACHINE, record) {
            history(machine, image.history);
            let _ = Instance::from_bytes(machine, image.snapshot, Millis(0), &mut Output::default());
        }
    }
    if let Some(machine) = &*MACHINE {
        history(machine, bytes);
    }
}

fn history(machine: &Machine, bytes: &[u8]) {
    let Ok(history) = History::decode(machine, &mut Input::new(bytes), 0, HISTORY) else { return };
    assert!(history.len() <= HISTORY);
    let mut again = Vec::new();
    history.encode(machine, 0, &mut again);
    assert_eq!(History::decode(machine, &mut Input::new(&again), 0, HISTORY), Ok(history));
}
