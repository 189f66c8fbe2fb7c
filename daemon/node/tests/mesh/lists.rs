//! Lists of instances, which look at all that a daemon has.

use super::*;

const INSTANCES: usize = 5_000;
const LISTS: usize = 300;

/// Fills a daemon.
fn fill(client: &mut Client, instances: usize) {
    for n in 0..instances {
        let request = json!({"op": "start", "machine": "counter", "key": format!("{n:05}")});
        client.push(&serde_json::to_vec(&request).unwrap());
    }
    client.flush().unwrap();
    (0..instances).for_each(|_| _ = client.receive(PATIENCE).unwrap());
}

/// Threads of this process, which has those of other tests too.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn many_lists_take_no_thread_each_and_others_are_served_between_their_slices() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("one");
    let mut lister = daemon.client();
    lister.define();
    fill(&mut lister.client, INSTANCES);
    let before = threads();
    let list = serde_json::to_vec(&json!({"op": "list", "machine": "counter", "where": {"state": "off"}})).unwrap();
    (0..LISTS).for_each(|_| lister.client.push(&list));
    lister.client.flush().unwrap();
    let mut other = daemon.client();
    let (mut events, mut most) = (0, 0);
    let made = std::thread::spawn(move || (0..LISTS).all(|_| lister.client.receive(PATIENCE).is_ok()));
    while !made.is_finished() {
        let event = json!({"type": "ADD", "by": 1});
        other.ok(&json!({"op": "send", "machine": "counter", "key": "00000", "event": event}));
        events += 1;
        most = most.max(threads());
    }
    assert!(made.join().unwrap(), "all lists are answered");
    assert!(most < before + LISTS / 3, "{before} threads before, and then {most}");
    assert!(events > LISTS / 2, "{events} events while {LISTS} lists were made");
}

#[test]
fn a_list_goes_on_at_the_next_daemon_whichever_reactor_has_its_client() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two"].map(|name| mesh.start_with(name, 2));
    daemons.iter().for_each(|daemon| daemon.sees(2));
    daemons[0].client().define();
    for client in 0..16 {
        let mut asker = daemons[client % 2].client();
        let mut after = Value::Null;
        for page in 0.. {
            assert!(page < 100, "it goes on for ever");
            let mut list = json!({"op": "list", "machine": "counter"});
            if page > 0 {
                list["after"] = after;
            }
            let said = asker.ok(&list);
            after = said["next"].clone();
            if after.is_null() {
                break;
            }
        }
    }
}

/// A list that is made in one go would be answered in the turn in which it is read, before most of what follows it has been read.
#[test]
fn what_comes_behind_a_long_list_is_answered_before_it() {
    let mut mesh = Mesh::new();
    let daemon = mesh.start("one");
    let mut asker = daemon.client();
    asker.define();
    fill(&mut asker.client, 10 * INSTANCES);
    let push = |client: &mut Client, request: Value| client.push(&serde_json::to_vec(&request).unwrap());
    let behind = 4_000;
    push(&mut asker.client, json!({"op": "list", "machine": "counter", "where": {"state": "off"}, "id": "list"}));
    for id in 0..behind {
        push(&mut asker.client, json!({"op": "get", "machine": "counter", "key": "00000", "id": id}));
    }
    asker.client.flush().unwrap();
    let mut ids = (0..=behind).map(|_| {
        let reply = asker.client.receive(PATIENCE).unwrap();
        serde_json::from_slice::<Value>(reply.part_slice(0).unwrap()).unwrap()["id"].clone()
    });
    let before = ids.position(|id| id == "list").unwrap();
    assert!(before > behind / 2, "the list was answered after {before} of {behind}");
}

#[test]
fn lists_and_counts_say_what_is_there() {
    let mut mesh = Mesh::new();
    let one = mesh.start("one");
    let mut asker = one.client();
    asker.define();
    fill(&mut asker.client, INSTANCES);
    let (mut seen, mut after) = (Vec::new(), json!(null));
    loop {
        // The name that the op had first.
        let mut request = json!({"op": "instances", "machine": "counter", "limit": 999});
        if after.is_string() {
            request["after"] = after;
        }
        let page = asker.ok(&request);
        let lines = page["instances"].as_array().unwrap();
        seen.extend(lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()));
        assert!(lines.iter().all(|line| line["run"].as_str().is_some_and(|run| run.len() == 16)));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..INSTANCES).map(|n| format!("{n:05}")).collect::<Vec<_>>());
    assert_eq!(asker.ok(&json!({"op": "machines"}))["machines"][0]["instances"], INSTANCES);
    assert_eq!(asker.ask(&json!({"op": "instances", "machine": "nobody"}))["error"]["code"], "unknown_machine");
}

/// All pages of a list, and what each had.
fn pages(asker: &mut Asker, request: &Value) -> Vec<Value> {
    let (mut pages, mut request) = (Vec::new(), request.clone());
    loop {
        let page = asker.ok(&request);
        let next = page["next"].clone();
        pages.push(page);
        if next.is_null() {
            return pages;
        }
        request["after"] = next;
    }
}

#[test]
fn a_list_is_of_the_whole_mesh_whoever_is_asked() {
    let mut mesh = Mesh::new();
    let daemons = ["one", "two", "three"].map(|name| mesh.start(name));
    daemons.iter().for_each(|daemon| daemon.settled(3));
    daemons[0].client().define();
    let keys: Vec<String> = (0..90).map(|n| format!("k{n:02}")).collect();
    let mut asker = daemons[0].client();
    for (n, key) in (0..).zip(&keys) {
        asker.add(key, n);
    }
    for daemon in &daemons {
        let mut asker = daemon.client();
        let pages_of = pages(&mut asker, &json!({"op": "list", "machine": "counter", "limit": 20}));
        let listed = pages_of.iter().flat_map(|page| page["instances"].as_array().unwrap());
        let mut seen: Vec<String> = listed.map(|line| line["key"].as_str().unwrap().to_owned()).collect();
        seen.sort();
        assert_eq!(seen, keys);
        let wanted = json!({"op": "list", "where": {"context": {"count": 7}}});
        let found: Vec<Value> =
            pages(&mut asker, &wanted).iter().flat_map(|page| page["instances"].as_array().unwrap().clone()).collect();
        assert_eq!((found.len(), &found[0]["key"]), (1, &json!("k07")), "{found:?}");
        let counts = pages(&mut asker, &json!({"op": "list", "counts": true}));
        let count = |page: &Value| {
            page["counts"].as_array().unwrap().iter().map(|kind| kind["count"].as_u64().unwrap()).sum::<u64>()
        };
        assert_eq!(counts.iter().map(count).sum::<u64>(), 90);
    }
    let code = |request: Value, asker: &mut Asker| asker.ask(&request)["error"]["code"].clone();
    assert_eq!(code(json!({"op": "list", "where": {"statr": "a"}}), &mut asker), "wrong_type");
    assert_eq!(code(json!({"op": "list", "after": "k"}), &mut asker), "wrong_type");
    let misspelt = asker.ask(&json!({"op": "list", "machine": "counter", "counts": true, "where": {"state": "oof"}}));
    assert_eq!(misspelt["error"]["code"], "unknown_state", "{misspelt}");
    assert_eq!(misspelt["error"]["hint"], "did you mean off?", "{misspelt}");
    assert_eq!(code(json!({"op": "list", "machine": "nobody"}), &mut asker), "unknown_machine");
    let behind_all = asker.ok(&json!({"op": "list", "after": "0.0.zzz"}));
    assert_eq!((&behind_all["instances"], &behind_all["next"]), (&json!([]), &Value::Null));
}
