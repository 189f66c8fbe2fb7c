//! What a definition's reply says of the members that do not run it.

use statemesh_protocol::peer::PeerMessage;
use statemesh_protocol::peer::body::Body;
use statemesh_protocol::peer::definition::{Definition, DefinitionMessage};
use statemesh_protocol::peer::frame::PeerFrame;

use super::unread::Link;
use super::*;

fn hash_of(definition: &Value) -> [u8; 32] {
    let mut mesh = Mesh::new();
    let reply = mesh.start("elsewhere").client().ok(&json!({"op": "define", "definition": definition}));
    let hex = reply["hash"].as_str().unwrap();
    std::array::from_fn(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap())
}

/// A member of another release may know a machine's text and be unable to compile it. Here another text stands in its place.
#[test]
fn a_member_that_has_a_definition_and_cannot_run_it_is_named() {
    let machine = json!({"id": "m", "initial": "on", "states": {"on": {}}});
    let hash = hash_of(&machine);
    let mut mesh = Mesh::new();
    let (one, two) = (mesh.start("one"), mesh.start("two"));
    one.settled(2);
    two.settled(2);
    let mut link = Link::open(&two, &one);
    let body = Body::new(Vec::new(), br#"{"id":"m","initial":"nowhere","states":{}}"#).encode();
    let definition = Definition { machine: "m".into(), clock: 0, hash, body };
    let push = PeerMessage::Definitions(DefinitionMessage::Push { id: 0, definition });
    link.push(&PeerFrame::Control(&push.encode().unwrap()));
    // An answer on the same link comes after what was said there before.
    link.pass_on(&json!({"op": "ping"}));
    link.ends();
    let reply = two.client().ok(&json!({"op": "define", "definition": machine}));
    assert_eq!((&reply["members"], &reply["refused"][0]["member"]), (&json!(1), &json!("one")), "{reply}");
    assert!(reply["refused"][0]["reason"].as_str().unwrap().contains("nowhere"), "{reply}");
    assert_eq!(reply.get("missing"), None, "{reply}");
    let reply = two.client().ok(&json!({"op": "define", "definition": {"id": "other"}}));
    assert_eq!((&reply["members"], reply.get("refused")), (&json!(2), None), "{reply}");
}

#[test]
fn requests_for_the_control_plane_are_bounded_in_bytes() {
    let mut mesh = Mesh::new();
    mesh.limits.member_bytes = 800;
    let one = mesh.start("one");
    let define = json!({"op": "define", "definition": {"id": "m", "description": "x".repeat(300)}});
    let list = json!({"op": "list", "machine": "m", "where": {"prefix": "x".repeat(330)}});
    let mut client = one.client();
    // Of one frame, so that none is answered before all are judged.
    let replies = client.ask(&json!([define, define, define]));
    let code = |n: usize| replies[n]["error"]["code"].as_str();
    assert_eq!((code(0), code(1), code(2)), (None, None, Some("limit_exceeded")), "{replies}");
    assert!(replies[2]["error"]["message"].as_str().unwrap().contains("limits.member_bytes"), "{replies}");
    assert_eq!(one.counted("statemesh_refused_member_bytes_total"), 1.0);
    let replies = client.ask(&json!([define, list, list]));
    assert_eq!(
        (replies[0]["error"]["code"].as_str(), replies[2]["error"]["code"].as_str()),
        (None, Some("limit_exceeded")),
        "{replies}"
    );
    // One may be as large as a message.
    let large = json!({"op": "define", "definition": {"id": "m", "description": "x".repeat(3_000)}});
    client.ok(&large);
}

#[test]
fn the_definitions_of_a_mesh_are_bounded_in_bytes_and_the_reply_names_the_limit() {
    let mut mesh = Mesh::new();
    mesh.limits.definitions_bytes = 1_000;
    let one = mesh.start("one");
    let define = |id: &str| json!({"op": "define", "definition": {"id": id, "description": "x".repeat(600)}});
    let mut client = one.client();
    client.ok(&define("first"));
    let reply = client.ask(&define("second"));
    assert_eq!(reply["error"]["code"], "limit_exceeded", "{reply}");
    assert!(reply["error"]["message"].as_str().unwrap().contains("limits.definitions_bytes"), "{reply}");
    client.ok(&define("first"));
}
