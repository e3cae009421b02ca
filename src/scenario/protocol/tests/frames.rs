//! Each preset, frame by frame, against what its servers say: taken from real ones, or where there
//! was none from their specifications and sources.

use std::sync::Arc;

use super::{plan, presets};
use crate::wire::application::session::{Session, What};
use crate::wire::payload::{self, Header, SenderId};
use crate::wire::protocol::Spoken;
use crate::wire::rooms::RoomId;
use crate::wire::seen::Publishing;

/// One line of a conversation.
enum Line {
    /// The client does this.
    Do(Deed),
    /// It sends exactly this. `cbm…` stands for the message.
    Sends(&'static str),
    /// This comes, and is taken for this.
    Hears(&'static str, &'static str),
}

enum Deed {
    Login,
    Join,
    Publish,
    Leave,
}

use Deed::{Join, Leave, Login, Publish};
use Line::{Do, Hears, Sends};

const RUN: u32 = 0x1234_5678;

fn message(sender: u32) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(sender),
        k: 1,
        last: false,
        intended_ns: 5,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 1, &header, 60);
    String::from_utf8(text).unwrap()
}

/// Plays a conversation of the client `people-1`, in the room `r1`.
fn play(preset: &str, lines: &[Line]) {
    let text = presets::find(preset).unwrap().text;
    let text = text
        .replace("{env.PUSHER_KEY}", "KEY")
        .replace("{env.PUSHER_SECRET}", "7ad3773142a6692b25b8");
    let people = "[clients.people]\ncount = 2\nrate = 1\nrooms = { names = [\"r1\"] }\n";
    let plan = plan(&format!("{text}\n{people}")).unwrap();
    let Spoken::Application(spec) = &plan.target.spoken else {
        panic!("{preset}");
    };
    let mut one = Session::new(Arc::clone(spec), plan.rooms.clone(), RUN, "people-1", 1);
    let room = RoomId(1);
    let own = message(7);
    let mut sent: Vec<String> = Vec::new();
    for line in lines {
        match line {
            Do(Login) => one.begin(),
            Do(Join) => one.join(room),
            Do(Leave) => one.leave(room),
            Do(Publish) => {
                let mut out = Vec::new();
                let publishing = Publishing {
                    room,
                    text: &own,
                    id: 77,
                    claims: None,
                };
                one.publish(&publishing, &mut out);
                sent.push(String::from_utf8(out).unwrap());
            }
            Sends(expected) => {
                one.drain(|message| sent.push(String::from_utf8_lossy(message).into_owned()));
                assert!(
                    !sent.is_empty(),
                    "{preset}: nothing was sent where {expected}"
                );
                assert_eq!(sent.remove(0), expected.replace("cbm…", &own), "{preset}");
            }
            Hears(frame, expected) => {
                one.drain(|message| sent.push(String::from_utf8_lossy(message).into_owned()));
                assert_eq!(sent, [""; 0], "{preset}: before {frame}");
                // A message of somebody else, and one's own.
                let frame = frame.replace("cbm…", &message(9)).replace("cbo…", &own);
                let taken = one.take(frame.as_bytes());
                let what = match &taken.what {
                    What::Ack { of: Some(77), .. } => "ack".to_owned(),
                    What::Delivery(at) if frame[at.clone()] == own => "echo".to_owned(),
                    What::Refused { of: Some(77), .. } => "message refused".to_owned(),
                    what => what.to_string(),
                };
                assert_eq!(what, *expected, "{preset}: {frame}\nby {}", taken.rule);
            }
        }
    }
    one.drain(|message| sent.push(String::from_utf8_lossy(message).into_owned()));
    assert_eq!(sent, [""; 0], "{preset}");
}

#[test]
fn socket_io_as_its_server_talks() {
    let lines = [
        Do(Login),
        Hears(
            r#"0{"sid":"JF7v","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#,
            "an expected answer",
        ),
        Sends(r#"40{"token":""}"#),
        Hears(r#"40{"sid":"5jC7"}"#, "logged in"),
        Do(Join),
        Sends(r#"421["join","r1"]"#),
        Hears(r#"431["ok"]"#, "joined"),
        Do(Publish),
        Sends(r#"422["message","r1","cbm…"]"#),
        Hears(r#"432[{"ok":true}]"#, "ack"),
        Hears(r#"42["message","cbm…"]"#, "a delivery"),
        Hears(r#"42["message","cbm…","Q8NYfJ5"]"#, "a delivery"),
        Hears("2", "a heartbeat"),
        Sends("3"),
        Do(Publish),
        Sends(r#"423["message","r1","cbm…"]"#),
        Hears(r#"433[{"error":"too fast"}]"#, "message refused"),
        Do(Leave),
        Sends(r#"424["leave","r1"]"#),
        Hears(r#"434["ok"]"#, "left"),
        Hears("41", "an error"),
    ];
    play("socket.io", &lines);
    let refused = [
        Do(Login),
        Hears(r#"44{"message":"Not authorized"}"#, "a refusal"),
    ];
    play("socket.io", &refused);
}

#[test]
fn graphql_ws_as_its_server_talks() {
    play(
        "graphql-ws",
        &[
            Do(Login),
            Sends(r#"{"type":"connection_init","payload":{"token":""}}"#),
            Hears(r#"{"type":"connection_ack"}"#, "logged in"),
            Do(Join),
            Sends(
                r#"{"id":"r1","type":"subscribe","payload":{"query":"subscription($room:String){messages(room:$room)}","variables":{"room":"r1"}}}"#,
            ),
            Sends(r#"{"type":"ping","payload":{"join":"r1"}}"#),
            Hears(r#"{"type":"pong","payload":{"join":"r1"}}"#, "joined"),
            Do(Publish),
            Sends(
                r#"{"id":"1","type":"subscribe","payload":{"query":"mutation($room:String!,$text:String!){send(room:$room,text:$text)}","variables":{"room":"r1","text":"cbm…"}}}"#,
            ),
            Hears(
                r#"{"id":"1","type":"next","payload":{"data":{"send":true}}}"#,
                "ack",
            ),
            Hears(r#"{"id":"1","type":"complete"}"#, "ignored"),
            Hears(
                r#"{"id":"r1","type":"next","payload":{"data":{"messages":"cbm…"}}}"#,
                "a delivery",
            ),
            Hears(
                r#"{"id":"r1","type":"next","payload":{"data":{"messages":"cbo…"}}}"#,
                "echo",
            ),
            Hears(r#"{"type":"ping"}"#, "a heartbeat"),
            Sends(r#"{"type":"pong"}"#),
            Do(Publish),
            Sends(
                r#"{"id":"2","type":"subscribe","payload":{"query":"mutation($room:String!,$text:String!){send(room:$room,text:$text)}","variables":{"room":"r1","text":"cbm…"}}}"#,
            ),
            Hears(
                r#"{"id":"2","type":"next","payload":{"errors":[{"message":"no"}],"data":null}}"#,
                "message refused",
            ),
            Do(Leave),
            Sends(r#"{"id":"r1","type":"complete"}"#),
            Sends(r#"{"type":"ping","payload":{"leave":"r1"}}"#),
            Hears(r#"{"type":"pong"}"#, "left"),
        ],
    );
}

#[test]
fn action_cable_as_its_server_talks() {
    play(
        "action-cable",
        &[
            Do(Login),
            Hears(r#"{"type":"welcome"}"#, "logged in"),
            Do(Join),
            Sends(
                r#"{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}"}"#,
            ),
            Hears(r#"{"type":"ping","message":1795692382}"#, "ignored"),
            Hears(
                r#"{"identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}","type":"confirm_subscription"}"#,
                "joined",
            ),
            Do(Publish),
            Sends(
                r#"{"command":"message","identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}","data":"{\"action\":\"speak\",\"message\":\"cbm…\"}"}"#,
            ),
            Hears(
                r#"{"identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}","message":{"message":"cbo…"}}"#,
                "echo",
            ),
            Hears(
                r#"{"identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}","message":{"message":"cbm…"}}"#,
                "a delivery",
            ),
            Hears(
                r#"{"type":"disconnect","reason":"server_restart"}"#,
                "an error",
            ),
        ],
    );
    let refused = [
        Do(Login),
        Hears(r#"{"type":"welcome"}"#, "logged in"),
        Do(Join),
        Sends(
            r#"{"command":"subscribe","identifier":"{\"channel\":\"ChatChannel\",\"room\":\"r1\"}"}"#,
        ),
        Hears(
            r#"{"identifier":"{\"room\":\"r1\"}","type":"reject_subscription"}"#,
            "a refusal",
        ),
    ];
    play("action-cable", &refused);
}

#[test]
fn signalr_as_its_server_talks() {
    play(
        "signalr",
        &[
            Do(Login),
            Sends("{\"protocol\":\"json\",\"version\":1}\u{1e}"),
            Hears("{}", "logged in"),
            Do(Join),
            Sends(
                "{\"type\":1,\"invocationId\":\"1\",\"target\":\"Join\",\"arguments\":[\"r1\"]}\u{1e}",
            ),
            Hears(r#"{"type":6}"#, "ignored"),
            Hears(r#"{"type":3,"invocationId":"1","result":null}"#, "joined"),
            Do(Publish),
            Sends(
                "{\"type\":1,\"invocationId\":\"2\",\"target\":\"SendMessage\",\"arguments\":[\"r1\",\"cbm…\"]}\u{1e}",
            ),
            Hears(
                r#"{"type":1,"target":"ReceiveMessage","arguments":["r1","cbo…"]}"#,
                "echo",
            ),
            Hears(r#"{"type":3,"invocationId":"2"}"#, "ack"),
            Hears(
                r#"{"type":1,"target":"ReceiveMessage","arguments":["r1","cbm…"]}"#,
                "a delivery",
            ),
            Do(Publish),
            Sends(
                "{\"type\":1,\"invocationId\":\"3\",\"target\":\"SendMessage\",\"arguments\":[\"r1\",\"cbm…\"]}\u{1e}",
            ),
            Hears(
                r#"{"type":3,"invocationId":"3","error":"Unknown hub method 'SendMessage'"}"#,
                "message refused",
            ),
            Hears(r#"{"type":7,"error":"closed"}"#, "an error"),
        ],
    );
    let refused = [
        Do(Login),
        Sends("{\"protocol\":\"json\",\"version\":1}\u{1e}"),
        Hears(
            r#"{"error":"Requested protocol 'x' is not available."}"#,
            "a refusal",
        ),
    ];
    play("signalr", &refused);
}

#[test]
fn phoenix_as_its_server_talks() {
    play(
        "phoenix",
        &[
            Do(Login),
            Do(Join),
            Sends(r#"["r1","1","room:r1","phx_join",{}]"#),
            Hears(
                r#"["r1","1","room:r1","phx_reply",{"response":{},"status":"ok"}]"#,
                "joined",
            ),
            Do(Publish),
            Sends(r#"["r1","2","room:r1","new_msg",{"body":"cbm…"}]"#),
            Hears(r#"[null,null,"room:r1","new_msg",{"body":"cbo…"}]"#, "echo"),
            Hears(
                r#"["r1","2","room:r1","phx_reply",{"status":"ok","response":{}}]"#,
                "ack",
            ),
            Hears(
                r#"[null,null,"room:r1","new_msg",{"body":"cbm…"}]"#,
                "a delivery",
            ),
            Hears(
                r#"[null,"hb","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
                "ignored",
            ),
            Do(Publish),
            Sends(r#"["r1","3","room:r1","new_msg",{"body":"cbm…"}]"#),
            Hears(
                r#"["r1","3","room:r1","phx_reply",{"status":"error","response":{"reason":"no"}}]"#,
                "message refused",
            ),
            Hears(r#"["r1",null,"room:r1","phx_error",{}]"#, "an error"),
            Do(Leave),
            Sends(r#"["r1","4","room:r1","phx_leave",{}]"#),
            Hears(
                r#"["r1","4","room:r1","phx_reply",{"status":"ok","response":{}}]"#,
                "left",
            ),
        ],
    );
}

/// The signature was made by another program (Python's hmac).
#[test]
fn pusher_as_its_server_talks() {
    play(
        "pusher",
        &[
            Do(Login),
            Hears(
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1234.1234\",\"activity_timeout\":30}"}"#,
                "logged in",
            ),
            Do(Join),
            Sends(
                r#"{"event":"pusher:subscribe","data":{"channel":"private-r1","auth":"KEY:2c7b65deb0eae61e6493d1487bfd971da8a3e1c557f9726f1ae6e9f1f3591f68"}}"#,
            ),
            Hears(
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"private-r1","data":"{}"}"#,
                "joined",
            ),
            Do(Publish),
            Sends(r#"{"event":"client-message","channel":"private-r1","data":{"text":"cbm…"}}"#),
            Hears(
                r#"{"event":"client-message","channel":"private-r1","data":{"text":"cbm…"}}"#,
                "a delivery",
            ),
            Hears(r#"{"event":"pusher:ping","data":"{}"}"#, "a heartbeat"),
            Sends(r#"{"event":"pusher:pong","data":{}}"#),
            Hears(
                r#"{"event":"pusher:error","data":{"code":4301,"message":"too many"}}"#,
                "an error",
            ),
        ],
    );
}

#[test]
fn centrifugo_as_its_server_talks() {
    play(
        "centrifugo",
        &[
            Do(Login),
            Sends(r#"{"id":1,"connect":{"token":""}}"#),
            Hears(
                r#"{"id":1,"connect":{"client":"c","version":"6","ping":25,"pong":true}}"#,
                "logged in",
            ),
            Do(Join),
            Sends(r#"{"id":2,"subscribe":{"channel":"r1"}}"#),
            Hears(r#"{"id":2,"subscribe":{}}"#, "joined"),
            Do(Publish),
            Sends(r#"{"id":3,"publish":{"channel":"r1","data":{"text":"cbm…"}}}"#),
            Hears(
                r#"{"push":{"channel":"r1","pub":{"data":{"text":"cbo…"},"offset":6}}}"#,
                "echo",
            ),
            Hears(r#"{"id":3,"publish":{}}"#, "ack"),
            Hears(
                r#"{"push":{"channel":"r1","pub":{"data":{"text":"cbm…"},"info":{"user":"u"},"offset":7}}}"#,
                "a delivery",
            ),
            Hears("{}", "a heartbeat"),
            Sends("{}"),
            Do(Publish),
            Sends(r#"{"id":4,"publish":{"channel":"r1","data":{"text":"cbm…"}}}"#),
            Hears(
                r#"{"id":4,"error":{"code":103,"message":"permission denied"}}"#,
                "message refused",
            ),
            Hears(
                r#"{"push":{"disconnect":{"code":3008,"reason":"slow"}}}"#,
                "an error",
            ),
            Do(Leave),
            Sends(r#"{"id":5,"unsubscribe":{"channel":"r1"}}"#),
            Hears(r#"{"id":5,"unsubscribe":{}}"#, "left"),
        ],
    );
}

#[test]
fn stomp_as_its_server_talks() {
    play(
        "stomp",
        &[
            Do(Login),
            Sends(
                "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0",
            ),
            Hears(
                "CONNECTED\nserver:RabbitMQ/3.10.8\nsession:s\nheart-beat:0,0\nversion:1.2\n\n",
                "logged in",
            ),
            Do(Join),
            Sends("SUBSCRIBE\nid:r1\ndestination:/topic/r1\nreceipt:1\n\n\0"),
            Hears("\nRECEIPT\nreceipt-id:1\n\n", "joined"),
            Do(Publish),
            Sends("SEND\ndestination:/topic/r1\ncontent-type:text/plain\nreceipt:2\n\ncbm…\0"),
            Hears(
                "\nMESSAGE\nsubscription:r1\ndestination:/topic/r1\nmessage-id:T_r1@@s@@1\nreceipt:2\ncontent-length:60\n\ncbo…",
                "echo",
            ),
            Hears("\nRECEIPT\nreceipt-id:2\n\n", "ack"),
            Hears(
                "\nMESSAGE\nsubscription:r1\ndestination:/topic/r1\nmessage-id:T_r1@@s@@2\nreceipt:9\ncontent-length:60\n\ncbm…",
                "a delivery",
            ),
            Hears("\n", "ignored"),
            Do(Publish),
            Sends("SEND\ndestination:/topic/r1\ncontent-type:text/plain\nreceipt:3\n\ncbm…\0"),
            Hears(
                "ERROR\nreceipt-id:3\nmessage:not allowed\n\n",
                "message refused",
            ),
            Hears("ERROR\nmessage:bad\n\n", "an error"),
        ],
    );
}

#[test]
fn xmpp_muc_as_its_server_talks() {
    let open =
        r#"<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="localhost" version="1.0"/>"#;
    play(
        "xmpp-muc",
        &[
            Do(Login),
            Sends(open),
            Hears(
                "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='1' from='localhost' version='1.0'/>",
                "ignored",
            ),
            Hears(
                "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>",
                "an expected answer",
            ),
            Sends(r#"<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="ANONYMOUS"/>"#),
            Hears(
                "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
                "an expected answer",
            ),
            Sends(open),
            Hears(
                "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
                "an expected answer",
            ),
            Sends(
                r#"<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></iq>"#,
            ),
            Hears(
                "<iq type='result' id='bind'><bind><jid>a@localhost/x</jid></bind></iq>",
                "logged in",
            ),
            Do(Join),
            Sends(
                r#"<presence xmlns="jabber:client" to="r1@conference.localhost/people-1"><x xmlns="http://jabber.org/protocol/muc"><history maxstanzas="0"/></x></presence>"#,
            ),
            Hears(
                "<presence from='r1@conference.localhost/other' to='a@localhost/x'><x><item role='participant'/></x></presence>",
                "ignored",
            ),
            Hears(
                "<presence to='a@localhost/x' from='r1@conference.localhost/people-1'><x><status code='110'/></x></presence>",
                "joined",
            ),
            Hears(
                "<message type='groupchat' from='r1@conference.localhost'><subject/></message>",
                "ignored",
            ),
            Do(Publish),
            Sends(
                r#"<message xmlns="jabber:client" to="r1@conference.localhost" type="groupchat" id="1"><body>cbm…</body></message>"#,
            ),
            Hears(
                "<message id='1' type='groupchat' from='r1@conference.localhost/people-1'><body>cbo…</body></message>",
                "echo",
            ),
            Hears(
                "<message id='1' type='groupchat' from='r1@conference.localhost/people-2'><body>cbm…</body></message>",
                "a delivery",
            ),
        ],
    );
}

#[test]
fn nchan_as_its_server_talks() {
    let lines = [
        Do(Login),
        Do(Join),
        Do(Publish),
        Sends("cbm…"),
        Hears("cbo…", "echo"),
        Hears("cbm…", "a delivery"),
    ];
    play("nchan", &lines);
}

#[test]
fn irc_as_its_server_talks() {
    play(
        "irc",
        &[
            Do(Login),
            Sends("NICK people-1\r\n"),
            Sends("USER people-1 0 * :people-1\r\n"),
            Hears(
                ":irc.local NOTICE * :*** Looking up your hostname",
                "ignored",
            ),
            Hears("PING :abc123", "a heartbeat"),
            Sends("PONG :abc123\r\n"),
            Hears(":irc.local 001 people-1 :Welcome", "logged in"),
            Hears(":irc.local 376 people-1 :End of MOTD command", "ignored"),
            Do(Join),
            Sends("JOIN #r1\r\n"),
            Hears(":people-1!~people-1@localhost JOIN :#r1", "ignored"),
            Hears(":irc.local 353 people-1 = #r1 :people-1", "ignored"),
            Hears(":irc.local 366 people-1 #r1 :End of NAMES list", "joined"),
            Do(Publish),
            Sends("PRIVMSG #r1 :cbm…\r\nPING 1\r\n"),
            Hears(":irc.local PONG irc.local :1", "ack"),
            Hears(
                ":people-2!~people-2@localhost PRIVMSG #r1 :cbm…",
                "a delivery",
            ),
            Hears(
                ":irc.local 404 people-1 #r1 :Cannot send to channel",
                "an error",
            ),
            Do(Leave),
            Sends("PART #r1\r\n"),
            Hears(":people-2!~people-2@localhost PART #r1", "ignored"),
            Hears(":people-1!~people-1@localhost PART #r1", "left"),
        ],
    );
    let refused = [
        Do(Login),
        Sends("NICK people-1\r\n"),
        Sends("USER people-1 0 * :people-1\r\n"),
        Hears(
            ":irc.local 433 * people-1 :Nickname already in use",
            "a refusal",
        ),
    ];
    play("irc", &refused);
}
