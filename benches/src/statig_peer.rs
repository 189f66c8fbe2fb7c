//! Contender of the engine: the same two machines by statig, which a compiler turns into a few instructions. It is the
//! floor: no engine that takes its machines as data at run time can be as fast.

use std::hint::black_box;

use statig::prelude::*;

use crate::engine_peer::{EVENTS, MEASUREMENTS, WARM_UP, nanos_per_event};

#[derive(Clone, Copy, Debug)]
enum Event {
    Next,
}

#[derive(Debug, Default)]
struct Cycle;

#[state_machine(initial = "State::red()", state(derive(Debug)))]
impl Cycle {
    #[state]
    fn red(event: &Event) -> Outcome<State> {
        match event {
            Event::Next => Transition(State::green()),
        }
    }

    #[state]
    fn green(event: &Event) -> Outcome<State> {
        match event {
            Event::Next => Transition(State::yellow()),
        }
    }

    #[state]
    fn yellow(event: &Event) -> Outcome<State> {
        match event {
            Event::Next => Transition(State::red()),
        }
    }
}

/// The machine of benches/machines/lamp.json.
mod lamp {
    use super::Event;
    use statig::prelude::*;

    #[derive(Debug, Default)]
    pub(super) struct Lamp {
        count: u64,
        pub(super) actions: u64,
    }

    #[state_machine(initial = "State::low()", state(derive(Debug)), superstate(derive(Debug)))]
    impl Lamp {
        #[superstate(entry_action = "act", exit_action = "act")]
        fn on(event: &Event) -> Outcome<State> {
            let _ = event;
            Handled
        }

        #[state(superstate = "on", entry_action = "act", exit_action = "act")]
        fn low(&mut self, event: &Event) -> Outcome<State> {
            match event {
                Event::Next if self.count < 1_000_000_000_000 => {
                    self.count += 1;
                    Transition(State::high())
                }
                Event::Next => Super,
            }
        }

        #[state(superstate = "on", entry_action = "act", exit_action = "act")]
        fn high(&mut self, event: &Event) -> Outcome<State> {
            match event {
                Event::Next if self.count < 1_000_000_000_000 => {
                    self.count += 1;
                    Transition(State::low())
                }
                Event::Next => Super,
            }
        }

        #[action]
        fn act(&mut self) {
            self.actions += 1;
        }
    }
}

/// Prints nanoseconds for each event: a line for each machine. The machine passes through a black box each time: the compiler
/// must not work out the state after a thousand events.
pub(crate) fn print() {
    let mut cycle = Cycle.state_machine();
    println!("cycle {:.3}", nanos_per_event(|| black_box(&mut cycle).handle(black_box(&Event::Next))));
    let mut lamp = lamp::Lamp::default().state_machine();
    println!("lamp {:.3}", nanos_per_event(|| black_box(&mut lamp).handle(black_box(&Event::Next))));
    // Two actions for each event, and two when it started: the compiler has not thrown the work away.
    println!("actions {} of {}", lamp.inner().actions, 2 * u64::from(WARM_UP + EVENTS * MEASUREMENTS as u32) + 2);
}
