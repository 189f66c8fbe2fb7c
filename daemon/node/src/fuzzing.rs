//! What the fuzz targets need of this crate's inside.

use std::sync::{Arc, LazyLock};

use statemesh_engine::{Instance, Limits, Machine, Millis, Output};

use crate::history::History;
use crate::peer_wire::PeerFrame;
use crate::transfer::{Input, Record};

/// Transitions that are kept of an instance's past.
const HISTORY: usize = 16;

/// A frame that can be read is written as it was.
pub fn peer_frame(bytes: &[u8]) {
    if let Some(frame) = PeerFrame::decode(bytes) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        assert_eq!(PeerFrame::decode(&again), Some(frame));
    }
}

/// Instances that move: records that can be read are written as they were, and so are a history and a snapshot in them.
pub fn moving(bytes: &[u8]) {
    static MACHINE: LazyLock<Option<Arc<Machine>>> = LazyLock::new(|| {
        let definition = br#"{"initial":"a","states":{"a":{"on":{"GO":"b"}},"b":{"on":{"*":"a"}}}}"#;
        Machine::compile(definition, &Limits::default(), &|_| None).ok().map(|compiled| compiled.machine)
    });
    let mut input = Input::new(bytes);
    while let Ok(record) = input.record() {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(Input::new(&again).record(), Ok::<Record<'_>, _>(record));
        if let Some(machine) = &*MACHINE {
            history(machine, record.extra);
            let _ = Instance::from_bytes(machine, record.snapshot, Millis(0), &mut Output::default());
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
