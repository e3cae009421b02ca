//! Section 9: rooms, over sockets.

use serde_json::json;

use crate::client::{Client, Server};

fn in_rooms(server: &Server, rooms: &[&str]) -> Client {
    let mut client = server.join();
    for room in rooms {
        client.send(format!("{}\n", json!({ "join": room })));
        assert_eq!(client.expect("joined")["room"], *room);
    }
    client
}

fn publish(client: &mut Client, room: &str, message: &str) {
    let frame = json!({ "message": message, "room": room });
    client.send(format!("{frame}\n"));
}

/// R1, R6: each room has its members and its numbers, and the unnamed one has everybody.
#[test]
fn a_room_is_a_broadcast_of_its_own() {
    let server = Server::with_defaults();
    let mut ann = in_rooms(&server, &["lobby", "cellar"]);
    let mut bob = in_rooms(&server, &["lobby"]);
    let mut eve = in_rooms(&server, &["cellar"]);
    for n in 1..=20 {
        for (room, other) in [("lobby", &mut bob), ("cellar", &mut eve)] {
            publish(&mut ann, room, room);
            let ack = ann.expect("ack");
            assert_eq!((&ack["room"], &ack["seq"]), (&json!(room), &json!(n)));
            let relay = other.expect("relay");
            assert_eq!(relay["room"], room);
            assert_eq!(
                (&relay["message"], &relay["seq"]),
                (&json!(room), &json!(n))
            );
            assert_eq!(relay["client_ip"], ann.address());
        }
    }
    bob.publish("to all", 1);
    assert_eq!(bob.expect("ack")["seq"], 1);
    for client in [&mut ann, &mut eve] {
        let relay = client.expect("relay");
        assert_eq!((&relay["seq"], relay.get("room")), (&json!(1), None));
    }
}

/// R7: a shutdown leaves each room with its last number, then says goodbye.
#[test]
fn a_shutdown_leaves_every_room() {
    let server = Server::with_defaults();
    let mut ann = in_rooms(&server, &["b", "a"]);
    for _ in 0..3 {
        publish(&mut ann, "a", "hello");
        ann.expect("ack");
    }
    let stats = server.begin_stop();
    let left = |room: &str, seq: u64| json!({ "type": "left", "room": room, "seq": seq });
    assert_eq!(ann.expect("left"), left("b", 0));
    assert_eq!(ann.expect("left"), left("a", 3));
    assert_eq!(ann.expect("bye")["seq"], 0);
    ann.expect_end();
    drop(ann);
    let stats = stats.join().unwrap();
    assert_eq!((stats.published, stats.rooms, stats.aborted), (3, 0, 0));
}

/// Of rooms a classic client hears nothing, and what it says about them means nothing.
#[test]
fn the_classic_dialect_has_no_rooms() {
    let server = Server::with_defaults();
    let mut classic = Client::connect(server.classic_address);
    let mut ann = in_rooms(&server, &["lobby"]);
    publish(&mut ann, "lobby", "for members");
    ann.expect("ack");
    classic.send(r#"{"message":"hello","room":"lobby","join":5}"#);
    let relay = ann.expect("relay");
    assert_eq!((&relay["seq"], relay.get("room")), (&json!(1), None));
    assert_eq!(server.stop().published, 2);
}

/// R4, J3: a reset ends all memberships, and others go on with their numbers.
#[test]
fn a_reset_ends_memberships() {
    let server = Server::with_defaults();
    let mut ann = in_rooms(&server, &["lobby", "cellar"]);
    let mut bob = in_rooms(&server, &["lobby"]);
    publish(&mut ann, "lobby", "last words");
    ann.expect("ack");
    assert_eq!(bob.expect("relay")["message"], "last words");
    ann.reset();
    publish(&mut bob, "lobby", "alone");
    assert_eq!(bob.expect("ack")["seq"], 2);
    bob.send("{\"leave\":\"lobby\",\"id\":5}\n");
    let left = json!({ "type": "left", "room": "lobby", "seq": 2, "id": 5 });
    assert_eq!(bob.expect("left"), left);
}
