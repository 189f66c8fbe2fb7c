//! Clients that ask for much and read nothing: what a daemon keeps for them is what its limits say, wherever they are connected.

use omq_proto::SocketType;
use serde_json::{Value, json};
use statemesh_client::Connection;
use statemesh_tests::caller::{Caller, PATIENCE};
use statemesh_tests::mesh::Mesh;
use statemesh_tests::raw::{Raw, frame};
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::{Outcome, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] =
    &[Scenario::new("clients that read no answers cannot make a daemon keep more than its limits say", greedy)
        .within_secs(150)
        .alone()];

/// Of the default limits: `unsent_total_bytes`, and `array_bytes` for each of two reactors.
const GUESTS_BYTES: u64 = (256 + 2 * 64) << 20;
/// What two links, one for each reactor of the other daemon, may take: `link_bytes`.
const LINKS_BYTES: u64 = (2 * 64) << 20;
/// The daemon itself, what its allocator keeps, and an answer for each client on its way.
const REST_BYTES: u64 = 160 << 20;
const DIRECT: usize = 14;
const FORWARDED: usize = 26;
/// How long each attack lasts.
const ATTACK: Duration = Duration::from_secs(8);
/// What another client waits for at most, in rounds (see [`round`]): for how many of a hundred answers, and how many rounds.
const WAITS: [(usize, u32); 3] = [(50, 1), (95, 4), (100, 8)];
/// A round that takes no longer than this is counted as if it did: now and then an answer waits until tens of megabytes are in
/// memory that the machine has to find first.
const SHORT_ROUND: Duration = Duration::from_millis(500);
/// A machine that has no memory to give for some seconds lets everybody wait: so an attack is tried so often, and the best one
/// counts. What is resident counts in each.
const TRIES: usize = 3;

/// A connection on which the same requests are sent again and again.
struct Greedy {
    raw: Raw,
    requests: Vec<u8>,
    at: usize,
}

impl Greedy {
    fn new(address: SocketAddr, request: &Value) -> Outcome<Self> {
        let requests = frame(0, request.to_string().as_bytes()).repeat(100);
        Ok(Self { raw: Raw::greeted(address)?, requests, at: 0 })
    }

    fn push(&mut self) -> Outcome {
        let written = self.raw.offer(self.requests.get(self.at..).unwrap_or_default())?;
        self.at = (self.at + written) % self.requests.len();
        Ok(())
    }
}

fn greedy(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["owner", "other"])?;
    let mut caller = mesh.caller("owner")?;
    let keep = json!({"type": "@xstate.assign", "context": {"text": {"@expr": "event.text"}}});
    let states = json!({"on": {"on": {"KEEP": {"actions": keep}}}});
    caller.ok(json!({"op": "define", "definition": {"id": "keeper", "initial": "on", "context": {"text": ""}, "states": states}}))?;
    let key = owned_by(&mut caller, "owner")?;
    caller.send("keeper", &key, json!({"type": "KEEP", "text": "x".repeat(900_000)}))?;
    let about = |op: &str| json!({"op": op, "machine": "keeper", "key": key});
    let array = Value::Array(vec![about("get"); 40]);
    for (what, request) in [("get", about("get")), ("explain", about("explain")), ("arrays", array)] {
        attack(&mesh, what, &request, &about("get"))?;
    }
    mesh.all_run()
}

/// A key whose partition this daemon serves.
fn owned_by(caller: &mut Caller, name: &str) -> Outcome<String> {
    for n in 0..200 {
        let key = format!("k{n}");
        if caller.owner("keeper", &key)?.as_deref() == Some(name) {
            return Ok(key);
        }
    }
    Err(format!("{name} serves none of 200 keys").into())
}

fn attack(mesh: &Mesh, what: &str, request: &Value, get: &Value) -> Outcome {
    let mut waited = String::new();
    for _ in 0..TRIES {
        let round = round(mesh, get)?;
        let answers = waits_during(mesh, what, request)?;
        let within = |percent: usize| {
            answers.get((answers.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(ATTACK)
        };
        let waits = WAITS.map(|(percent, _)| (percent, within(percent)));
        let count = answers.len();
        println!(
            "{what}: of {count} answers to another so many of a hundred took at most {waits:?}; a round is {round:?}"
        );
        if WAITS.iter().all(|&(percent, rounds)| within(percent) < rounds * round) {
            return Ok(());
        }
        waited = format!("{waited}{waits:?} with rounds of {round:?}; ");
    }
    Err(format!("{what}: so many of a hundred answers to another took up to {waited}of at most {WAITS:?} rounds")
        .into())
}

/// What answering a `get` of each attacker takes, on this machine and now, whatever the attack asks for: larger answers are not to let
/// others wait for longer.
fn round(mesh: &Mesh, get: &Value) -> Outcome<Duration> {
    let mut one = Connection::connect(mesh.clients("owner")?, SocketType::Dealer, PATIENCE)?;
    let asked = Instant::now();
    one.push(get.to_string().as_bytes());
    one.flush()?;
    one.receive(PATIENCE)?;
    let all = u32::try_from(DIRECT + FORWARDED)?;
    Ok((asked.elapsed() * all).max(SHORT_ROUND))
}

/// How long another client waits for each of its answers during an attack, in order of length.
fn waits_during(mesh: &Mesh, what: &str, request: &Value) -> Outcome<Vec<Duration>> {
    let mut all = Vec::new();
    for (name, count) in [("owner", DIRECT), ("other", FORWARDED)] {
        for _ in 0..count {
            all.push(Greedy::new(mesh.clients(name)?, request)?);
        }
    }
    let (start, mut answers, mut most) = (Instant::now(), Vec::new(), [0; 2]);
    let mut bystander = mesh.caller("owner")?;
    while start.elapsed() < ATTACK {
        for one in &mut all {
            one.push()?;
        }
        let asked = Instant::now();
        bystander.ok(json!({"op": "send", "machine": "keeper", "key": "bystander", "event": {"type": "NOTHING"}}))?;
        answers.push(asked.elapsed());
        for (most, name) in most.iter_mut().zip(["owner", "other"]) {
            *most = u64::max(*most, mesh.daemon(name)?.usage()?.resident_bytes);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("{what}: {} and {} MiB resident at most", most[0] >> 20, most[1] >> 20);
    let bound = GUESTS_BYTES + LINKS_BYTES + REST_BYTES;
    ensure!(most.iter().all(|most| *most < bound), "{what}: {most:?} bytes were resident, of at most {bound}");
    answers.sort_unstable();
    Ok(answers)
}
