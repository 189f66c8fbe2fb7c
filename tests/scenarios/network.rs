//! Networks that fail: loss, delay, partition, DNS; and clocks that disagree.

use serde_json::json;
use statemesh_tests::caller::Member;
use statemesh_tests::dns::GOSSIP_PORT;
use statemesh_tests::load::{Background, Load};
use statemesh_tests::mesh::{Mesh, in_short};
use statemesh_tests::network::Network;
use statemesh_tests::relay::Impairment;
use statemesh_tests::run::{Scenario, Scene};
use statemesh_tests::watch::Watcher;
use statemesh_tests::{Outcome, ensure, figures, process, wait_for};
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("with 5 % loss and 20 ms delay for a minute no member is declared dead", lossy_minute)
        .within_secs(120)
        .beside(),
    Scenario::new(
        "after a partition heals the larger side's state of a doubly owned key wins, counted and published",
        partition_heals,
    ),
    Scenario::new(
        "without a single datagram two members hold each other for alive, and a dead one for dead",
        only_links,
    ),
    Scenario::new("members that know each other need DNS no more", dns_gone).beside(),
    Scenario::new("clocks an hour apart change nothing", clocks_apart)
        .programs(&["ip", "knotd", "knotc", "faketime"])
        .beside(),
];

fn lossy_minute(scene: &Scene) -> Outcome {
    let impairment = Impairment { delay: Duration::from_millis(20), loss: 0.05 };
    let mut mesh = Mesh::upon(scene, Network::impaired(impairment, scene.seed)?)?;
    for name in ["a", "b", "c"] {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    for name in ["a", "b", "c"] {
        // TCP sends again after ever longer pauses, and a packet may be lost several times: an owner may owe an answer for longer
        // than at default settings, but for no longer than the load waits for its last ones.
        let plan = mesh.plan(name)?.with("--limits-forward-timeout 10s");
        mesh.start_with(name, &plan)?;
    }
    mesh.wait_whole()?;
    mesh.define_counter()?;
    // A trickle, so that links between the daemons are in use.
    let slow = |load: Load| Load { every: Duration::from_millis(50), ..load };
    let loads = [("a", "one"), ("b", "two"), ("c", "three")];
    let loads: Outcome<Vec<Load>> =
        loads.iter().map(|(name, label)| Ok(slow(Load::on(mesh.clients(name)?, label)))).collect();
    let load = Background::start(loads?)?;
    let end = Instant::now() + Duration::from_secs(60);
    let mut suspected = 0;
    let names = ["a", "b", "c"];
    let mut callers = names.iter().map(|name| mesh.caller(name)).collect::<Outcome<Vec<_>>>()?;
    while Instant::now() < end {
        for (name, caller) in names.iter().zip(&mut callers) {
            let seen = caller.members()?;
            let dead = seen.iter().any(|member| matches!(member.status.as_str(), "dead" | "left"));
            ensure!(!dead && seen.len() == 3, "{name} sees {}", in_short(&seen));
            suspected += seen.iter().filter(|member| member.status == "suspect").count();
        }
    }
    for (name, daemon) in &mesh.daemons {
        let deaths = daemon.metrics()?.sum("statemesh_member_deaths_total", &[]);
        ensure!(deaths == Some(0.0), "{name} counts {deaths:?} deaths");
    }
    println!("a suspect was seen {suspected} times");
    let totals = load.stop_flawless(mesh.clients("a")?)?;
    figures::record(&scene.all, "lossy_minute_slowest_answer_ms", json!(totals.slowest.as_secs_f64() * 1e3))
}

/// Sends `count` events to a key through a daemon.
fn add(mesh: &Mesh, through: &str, key: &str, count: u64) -> Outcome {
    let mut caller = mesh.caller(through)?;
    for n in 0..count {
        caller.send("counter", key, json!({"type": "ADD", "n": n}))?;
    }
    Ok(())
}

fn partition_heals(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let (of_a, of_c) = (mesh.keys_of("a", "b", 1)?.remove(0), mesh.keys_of("c", "b", 1)?.remove(0));
    add(&mesh, "b", &of_a, 2)?;
    add(&mesh, "b", &of_c, 10)?;
    let changes: Outcome<Vec<_>> = ["a", "b", "c"].iter().map(|name| Ok(mesh.daemon(name)?.changes())).collect();
    let watcher = Watcher::start(&changes?, "counter/")?;
    mesh.network.cut_off(&[mesh.host("c")?])?;
    mesh.wait_view(&["a", "b"], &["a", "b"])?;
    mesh.wait_view(&["c"], &["c"])?;
    // The key of c goes on there from 10 to 13, and begins anew on the other side; the key of a goes on there from 2 to 3,
    // and begins anew with 9 on c.
    add(&mesh, "c", &of_c, 3)?;
    add(&mesh, "a", &of_c, 5)?;
    add(&mesh, "a", &of_a, 1)?;
    add(&mesh, "c", &of_a, 9)?;
    // Of a cut that ends within a second after the deaths were declared, both sides count all members.
    std::thread::sleep(Duration::from_millis(1_500));
    mesh.network.reconnect(&[mesh.host("c")?])?;
    let healing = Instant::now();
    // What a daemon says of another may be of before the merge for long: a client that asks there is passed on.
    mesh.wait_formed()?;
    // a and b were more than c.
    for (key, seq) in [(&of_c, 5), (&of_a, 3)] {
        for name in ["a", "b", "c"] {
            let mut caller = mesh.caller(name)?;
            wait_for(&format!("{key} has the seq {seq} through {name}"), Duration::from_secs(10), || {
                let instance = caller.ok(json!({"op": "get", "machine": "counter", "key": key}))?;
                let wins = instance["seq"] == seq && instance["context"]["count"] == seq;
                if wins { Ok(Some(())) } else { Err(format!("it is {instance}").into()) }
            })?;
        }
        watcher.wait(&format!("counter/{key}"), "conflict", Duration::from_secs(5))?;
    }
    figures::record(&scene.all, "partition_healed_secs", json!(healing.elapsed().as_secs_f64()))?;
    let mut conflicts = 0.0;
    for daemon in mesh.daemons.values() {
        conflicts += daemon.metrics()?.sum("statemesh_conflicts_total", &[]).unwrap_or(0.0);
    }
    ensure!(conflicts >= 2.0, "two keys were owned twice, but the metrics count {conflicts} conflicts");
    mesh.all_run()
}

fn only_links(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b"])?;
    for name in ["a", "b"] {
        mesh.network.lose_datagrams(mesh.host(name)?, GOSSIP_PORT)?;
    }
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one"), Load::on(mesh.clients("b")?, "two")])?;
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        load.go_on(100)?;
        for name in ["a", "b"] {
            let seen = mesh.caller(name)?.members()?;
            ensure!(seen.iter().all(Member::is_there) && seen.len() == 2, "{name} sees {}", in_short(&seen));
        }
    }
    load.stop_flawless(mesh.clients("a")?)?;
    mesh.daemon_mut("b")?.kill()?;
    let took = mesh.wait_view(&["a"], &["a"])?;
    figures::record(&scene.all, "without_datagrams_a_death_is_noticed_secs", json!(took.as_secs_f64()))
}

fn dns_gone(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::whole(scene, &["a", "b", "c"])?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one"), Load::on(mesh.clients("b")?, "two")])?;
    mesh.dns.stop()?;
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        load.go_on(100)?;
        for name in ["a", "b", "c"] {
            let seen = mesh.caller(name)?.members()?;
            ensure!(seen.iter().all(Member::is_there) && seen.len() == 3, "{name} sees {}", in_short(&seen));
            mesh.daemon_mut(name)?.wait_ready(Duration::from_secs(1))?;
        }
    }
    // Even a departure is noticed and made up for.
    let leaving = mesh.daemon_mut("c")?;
    leaving.signal(nix::sys::signal::Signal::SIGTERM)?;
    leaving.wait_end(Duration::from_secs(25))?;
    mesh.wait_view(&["a", "b"], &["a", "b"])?;
    load.stop_flawless(mesh.clients("a")?)?;
    Ok(())
}

fn clocks_apart(scene: &Scene) -> Outcome {
    let mut mesh = Mesh::new(scene)?;
    for name in ["a", "b", "c"] {
        mesh.add_host(name)?;
    }
    mesh.publish_all()?;
    mesh.start("a")?;
    // The wall clock of b is an hour ahead.
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut ahead = mesh.plan("b")?;
    ahead.wrapper = words("faketime --exclude-monotonic -f +1h");
    mesh.start_with("b", &ahead)?;
    let (now, faked) = (process::run("date", &["+%s"])?, process::run("faketime", &["-f", "+1h", "date", "+%s"])?);
    let skew = faked.trim().parse::<i64>()? - now.trim().parse::<i64>()?;
    ensure!((3_590..=3_610).contains(&skew), "faketime sets the clock off by {skew} s");
    // c has been up for an hour longer than the machine, as its monotonic clock says.
    let mut older = mesh.plan("c")?;
    older.wrapper = words("unshare --time --monotonic 3600 --boottime 3600 --fork --kill-child --");
    mesh.start_with("c", &older)?;
    mesh.wait_whole()?;
    mesh.define_counter()?;
    let load = Background::start(vec![Load::on(mesh.clients("a")?, "one"), Load::on(mesh.clients("b")?, "two")])?;
    load.go_on(1_000)?;
    // A definition that b made is newer than a's, whatever the clocks say, and the other way round.
    for (name, machine) in [("b", "from-b"), ("a", "from-a"), ("c", "from-c")] {
        let definition = json!({"id": machine, "initial": "s", "states": {"s": {}}});
        mesh.caller(name)?.ok(json!({"op": "define", "definition": definition}))?;
    }
    for version in 1..=3 {
        let name = ["a", "b", "c"][version % 3];
        let states = json!({format!("v{version}"): {}});
        let definition = json!({"id": "changing", "initial": format!("v{version}"), "states": states});
        mesh.caller(name)?.ok(json!({"op": "define", "definition": definition}))?;
        for asked in ["a", "b", "c"] {
            let key = format!("{asked}-{version}");
            let reply = mesh.caller(asked)?.ok(json!({"op": "start", "machine": "changing", "key": key}))?;
            ensure!(reply["value"] == format!("v{version}"), "version {version}, defined through {name}: {reply}");
        }
    }
    for (name, daemon) in &mesh.daemons {
        let deaths = daemon.metrics()?.sum("statemesh_member_deaths_total", &[]);
        ensure!(deaths == Some(0.0), "{name} counts {deaths:?} deaths");
    }
    load.stop_flawless(mesh.clients("c")?)?;
    Ok(())
}
