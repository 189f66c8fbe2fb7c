//! The pipeline without sockets: connections are opened when it asks for them, and time passes as a test says.

use super::*;
use statemesh_protocol::error::ErrorCode;
use statemesh_protocol::request_writer::Event;

type Done = Vec<(u64, Result<Reply, ClientError>)>;

/// A pipeline and what its shell would have: connections that are opened when they are asked for, and a clock.
struct Bench {
    pipeline: Pipeline<u64>,
    now: Instant,
    asked: u64,
    opened: usize,
    closed: Vec<WireId>,
    left: usize,
    opens: bool,
}

impl Bench {
    fn new(options: Options) -> Self {
        let pipeline = Pipeline::new(&options);
        Self { pipeline, now: Instant::now(), asked: 0, opened: 0, closed: Vec::new(), left: 0, opens: true }
    }

    fn patient() -> Self {
        let tokens = Some("t".to_owned());
        Self::new(Options { patience: Duration::from_secs(60), tokens, ..Options::at("") })
    }

    fn send(&mut self, key: &str) -> u64 {
        self.asked += 1;
        let ask = Ask { event: Some(Event::Named("PAY")), ..Ask::about(Op::Send, Encoding::Json, "m", key) };
        self.pipeline.ask(self.asked, KeptAsk::new(&ask), self.asked, self.now);
        self.asked
    }

    /// Does what there is to do, and says which requests are over.
    fn act(&mut self) -> Done {
        let mut done = Done::new();
        loop {
            let acts = self.pipeline.acts();
            if acts.is_empty() {
                return done;
            }
            for act in acts {
                match act {
                    Act::Open(to) if self.opens => {
                        self.opened += 1;
                        self.pipeline.opened(&to, self.opened, ([127, 0, 0, 1], 1).into(), self.now);
                    }
                    Act::Open(to) => {
                        self.pipeline.unopened(&to, &OpenError::NoAddress("closed".to_owned()), self.now);
                    }
                    Act::LeaveHome => self.left += 1,
                    Act::Close(wire) => self.closed.push(wire),
                    Act::Done(id, result) => done.push((id, result)),
                }
            }
        }
    }

    /// The next frame for a connection.
    fn frame(&mut self, wire: WireId) -> Option<(u64, String)> {
        let mut out = Vec::new();
        let attempt = self.pipeline.next_frame(wire, self.now, &mut out)?;
        Some((attempt, String::from_utf8(out).unwrap()))
    }

    fn answer(&mut self, wire: WireId, attempt: u64, reply: &str) {
        self.pipeline.heard(wire, self.now);
        self.pipeline.answered(wire, attempt, reply.as_bytes().to_vec(), self.now);
    }

    fn breaks(&mut self, wire: WireId) {
        let source = || io::ErrorKind::UnexpectedEof.into();
        let error =
            || ClientError::Broken(ConnectionError::Io { address: ([127, 0, 0, 1], 1).into(), source: source() });
        self.pipeline.broke(wire, error, self.now);
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.pipeline.tick(self.now);
    }

    fn is_empty(&self) -> bool {
        let Pipeline { jobs, deadlines, unplaced, wires, seats, .. } = &self.pipeline;
        let is_quiet = wires.values().all(|wire| wire.in_flight.is_empty());
        jobs.is_empty()
            && deadlines.is_empty()
            && unplaced.is_empty()
            && is_quiet
            && seats.values().all(|seat| seat.queue.is_empty())
    }
}

const OK: &str = r#"{"ok":true,"seq":1}"#;

fn refusal(code: &str) -> String {
    format!(r#"{{"ok":false,"error":{{"code":"{code}","message":"no","address":"b:1"}}}}"#)
}

fn ids(done: Done) -> Vec<u64> {
    done.into_iter().map(|(id, result)| result.map(|_| id).unwrap()).collect()
}

#[test]
fn requests_are_under_way_together_and_answered_in_any_order() {
    let mut bench = Bench::patient();
    let asked: Vec<_> = ["a", "b", "c"].map(|key| bench.send(key)).to_vec();
    assert!(bench.act().is_empty());
    let frames: Vec<_> = std::iter::from_fn(|| bench.frame(1)).collect();
    let keys: Vec<_> = frames.iter().map(|(_, frame)| frame.contains("\"key\":\"a\"")).collect();
    assert_eq!((bench.opened, keys), (1, vec![true, false, false]), "one connection, in the order of the calls");
    frames.iter().rev().for_each(|(attempt, _)| bench.answer(1, *attempt, OK));
    assert_eq!(ids(bench.act()), asked.into_iter().rev().collect::<Vec<_>>());
    bench.answer(1, frames[0].0, OK);
    assert!(bench.act().is_empty() && bench.is_empty(), "an answer without a request is ignored");
}

#[test]
fn what_broke_with_its_connection_is_sent_again_with_its_token_and_one_address_is_left_once() {
    let mut bench = Bench::patient();
    (0..3).for_each(|n| _ = bench.send(&n.to_string()));
    bench.act();
    let before: Vec<_> = [bench.frame(1), bench.frame(1)].into_iter().flatten().collect();
    bench.breaks(1);
    bench.act();
    assert_eq!((bench.left, bench.opened), (1, 2), "the third was not sent, and waits for the new connection");
    let third = bench.frame(2).unwrap();
    assert!(third.1.contains(r#""dedup":"t-3""#) && bench.frame(2).is_none());
    bench.passes(Duration::from_millis(10));
    let after: Vec<_> = std::iter::from_fn(|| bench.frame(2)).collect();
    let said = |frames: &[(u64, String)]| frames.iter().map(|(_, text)| text[8..].to_owned()).collect::<Vec<_>>();
    assert_eq!(said(&after), said(&before), "but for the number");
    for (attempt, _) in after.into_iter().chain([third]) {
        bench.answer(2, attempt, OK);
    }
    assert_eq!((ids(bench.act()).len(), bench.left), (3, 1));
    assert!(bench.is_empty());
}

#[test]
fn without_a_token_what_may_have_been_done_is_an_error() {
    let mut bench = Bench::new(Options { patience: Duration::from_secs(60), ..Options::at("") });
    bench.send("a");
    bench.act();
    bench.frame(1).unwrap();
    bench.breaks(1);
    assert!(matches!(bench.act()[..], [(1, Err(ClientError::Broken(_)))]));
    assert!(bench.is_empty());
}

#[test]
fn one_that_is_late_is_given_up_alone_unless_its_connection_is_silent() {
    let mut bench = Bench::new(Options::at(""));
    ["late", "well"].iter().for_each(|key| _ = bench.send(key));
    bench.act();
    let (late, well) = (bench.frame(1).unwrap(), bench.frame(1).unwrap());
    bench.passes(Duration::from_secs(4));
    bench.answer(1, well.0, OK);
    assert_eq!(ids(bench.act()), [2]);
    bench.passes(Duration::from_secs(1));
    assert!(matches!(bench.act()[..], [(1, Err(ClientError::Broken(_)))]));
    bench.answer(1, late.0, OK);
    assert!(bench.act().is_empty() && bench.closed.is_empty());
    // Of these nothing comes at all: the connection is left, and ends with the second.
    bench.send("a");
    bench.frame(1).unwrap();
    bench.passes(Duration::from_secs(1));
    let second = (bench.send("b"), bench.frame(1).unwrap());
    bench.passes(Duration::from_secs(4));
    bench.send("c");
    assert!(matches!(bench.act()[..], [(3, Err(ClientError::Broken(_)))]));
    assert!(bench.closed.is_empty() && bench.frame(2).is_some(), "the next request has a new connection");
    bench.answer(1, second.1.0, OK);
    assert_eq!((ids(bench.act()), bench.closed.clone()), (vec![second.0], vec![1]));
}

#[test]
fn a_request_that_is_forgotten_leaves_nothing_at_any_stage() {
    for stage in 0..4 {
        let mut bench = Bench::new(Options { to_owners: stage == 0, ..Bench::options() });
        bench.opens = stage != 1;
        let id = bench.send("a");
        match stage {
            2 => {
                bench.act();
                _ = bench.frame(1).unwrap();
            }
            3 => {
                bench.act();
                let (attempt, _) = bench.frame(1).unwrap();
                bench.answer(1, attempt, &refusal("limit_exceeded"));
            }
            _ => {}
        }
        bench.pipeline.forget(id);
        let done = bench.act();
        assert!(done.is_empty(), "{stage}: {done:?}");
        if stage == 0 {
            let (attempt, _) = bench.frame(1).unwrap();
            bench.answer(1, attempt, OK);
        }
        assert!(bench.is_empty() && bench.frame(1).is_none(), "{stage}");
    }
}

impl Bench {
    fn options() -> Options {
        Options { patience: Duration::from_secs(60), ..Options::at("") }
    }
}

#[test]
fn a_mesh_that_cannot_be_reached_is_tried_until_patience_ends() {
    let mut bench = Bench::patient();
    bench.opens = false;
    bench.send("a");
    assert!(bench.act().is_empty());
    let start = bench.now;
    let done = loop {
        let next = bench.pipeline.deadline().unwrap();
        bench.passes(next - bench.now);
        let done = bench.act();
        if !done.is_empty() {
            break done;
        }
    };
    assert!(matches!(done[..], [(1, Err(ClientError::Open(_)))]));
    assert!(bench.now > start + Duration::from_secs(55) && bench.is_empty());
}

#[test]
fn requests_go_to_the_owner_once_the_placement_is_there_and_follow_what_moved() {
    let mut bench = Bench::new(Options { to_owners: true, ..Bench::options() });
    (0..3).for_each(|n| _ = bench.send(&n.to_string()));
    bench.act();
    let (attempt, frame) = bench.frame(1).unwrap();
    assert!(frame.contains("placement") && bench.frame(1).is_none(), "it is asked for once: {frame}");
    bench.answer(1, attempt, r#"{"ok":true,"partitions":1,"clients":["a:1"],"map":[0]}"#);
    bench.act();
    let (attempt, frame) = bench.frame(2).unwrap();
    assert!(frame.contains(r#""forward":false"#), "{frame}");
    bench.answer(2, attempt, &refusal("moved"));
    bench.act();
    assert!(bench.frame(3).is_some(), "at once, by a third connection");
    bench.send("9");
    assert!(bench.frame(3).is_some(), "the partition is known to be there now");
}

#[test]
fn without_a_placement_requests_are_forwarded() {
    let mut bench = Bench::new(Options { to_owners: true, ..Options::at("") });
    bench.send("a");
    bench.act();
    let (attempt, _) = bench.frame(1).unwrap();
    bench.answer(1, attempt, &refusal("internal"));
    bench.act();
    let (attempt, frame) = bench.frame(1).unwrap();
    assert!(!frame.contains("forward"), "{frame}");
    bench.answer(1, attempt, OK);
    assert_eq!(ids(bench.act()), [1]);
}

#[test]
fn an_answer_that_is_none_ends_the_connection() {
    let mut bench = Bench::new(Options::at(""));
    ["a", "b"].iter().for_each(|key| _ = bench.send(key));
    bench.act();
    let frames = [bench.frame(1).unwrap(), bench.frame(1).unwrap()];
    bench.answer(1, frames[0].0, "no map");
    let done = bench.act();
    assert!(done.iter().all(|(_, result)| matches!(result, Err(ClientError::Unreadable { .. }))));
    assert_eq!((done.len(), bench.closed.clone()), (2, vec![1]));
}

#[test]
fn a_refusal_that_no_repetition_mends_is_the_answer() {
    let mut bench = Bench::patient();
    bench.send("a");
    bench.act();
    let (attempt, _) = bench.frame(1).unwrap();
    bench.answer(1, attempt, &refusal("unknown_machine"));
    let done = bench.act();
    assert_eq!(done[0].1.as_ref().unwrap_err().code(), Some(ErrorCode::UnknownMachine));
}

#[test]
fn of_too_many_connections_an_idle_one_makes_room() {
    let mut bench = Bench::new(Options { to_owners: true, ..Options::at("") });
    bench.send("a");
    bench.act();
    let (attempt, _) = bench.frame(1).unwrap();
    let clients: Vec<_> = (0..MAX_LINKS + 20).map(|n| format!("\"a:{n}\"")).collect();
    let map: Vec<_> = (0..clients.len()).map(|n| n.to_string()).collect();
    let (clients, map, partitions) = (clients.join(","), map.join(","), MAX_LINKS + 20);
    let placement = format!(r#"{{"ok":true,"partitions":{partitions},"clients":[{clients}],"map":[{map}]}}"#);
    bench.answer(1, attempt, &placement);
    for n in 0..1_500 {
        bench.send(&n.to_string());
        bench.act();
        for wire in (1..=bench.opened).rev() {
            while let Some((attempt, _)) = bench.frame(wire) {
                bench.answer(wire, attempt, OK);
            }
        }
        bench.act();
        assert!(bench.pipeline.wires.len() <= MAX_LINKS);
    }
    assert!(bench.is_empty() && bench.opened > MAX_LINKS && !bench.closed.is_empty());
}
