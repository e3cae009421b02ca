//! The bounds on waiting, in paused time. Everything else about a conversation is tested through
//! the binary, in `tests/chat.rs`.

use super::*;
use crate::wire::ndjson;
use tokio::io::{DuplexStream, duplex, split};
use tokio::task::JoinHandle;

/// How a conversation ended, and how long it took.
type Ended = (Result<(), ChatError>, Duration);

/// A conversation over a pipe: the server's end of it, and where the person types.
fn begun() -> (DuplexStream, mpsc::Sender<Typed>, JoinHandle<Ended>) {
    begun_with(Side::ndjson())
}

fn begun_with(mut side: Side) -> (DuplexStream, mpsc::Sender<Typed>, JoinHandle<Ended>) {
    let (server, client) = duplex(1 << 16);
    let (type_line, typed) = mpsc::channel(8);
    let conversation = tokio::spawn(async move {
        let began = Instant::now();
        let (receiving, sending) = split(client);
        let result = converse(&mut side, receiving, sending, typed, |_| Ok(())).await;
        (result, began.elapsed())
    });
    (server, type_line, conversation)
}

async fn welcome(server: &mut DuplexStream) {
    let mut line = Vec::new();
    ndjson::encode_welcome(&mut line, "127.0.0.1:5", 0, 65_536);
    server.write_all(&line).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_welcome_is_given_up() {
    let (_server, _type_line, conversation) = begun();
    let (result, waited) = conversation.await.unwrap();
    assert!(matches!(result, Err(ChatError::NoWelcome)), "{result:?}");
    assert_eq!(waited, PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_and_never_says_goodbye_is_left() {
    let (mut server, type_line, conversation) = begun();
    welcome(&mut server).await;
    type_line
        .send(Typed::Line("hello".to_owned()))
        .await
        .unwrap();
    drop(type_line);
    let mut received = String::new();
    server.read_to_string(&mut received).await.unwrap(); // to the half-close
    assert_eq!(received, "{\"message\":\"hello\",\"id\":1}\n");
    let (result, waited) = conversation.await.unwrap();
    assert!(matches!(result, Err(ChatError::NoGoodbye)), "{result:?}");
    assert_eq!(waited, 2 * PATIENCE, "for the answer, then for the goodbye");
}

#[tokio::test(start_paused = true)]
async fn a_person_who_says_nothing_may_stay_as_long_as_they_like() {
    let (mut server, type_line, conversation) = begun();
    welcome(&mut server).await;
    let an_hour = Duration::from_secs(3600);
    tokio::time::sleep(an_hour).await;
    drop(type_line);
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    let mut bye = Vec::new();
    ndjson::encode_bye(&mut bye, 0);
    server.write_all(&bye).await.unwrap();
    let (result, waited) = conversation.await.unwrap();
    assert!(matches!(result, Ok(())), "{result:?}");
    assert_eq!(waited, an_hour);
}

#[tokio::test(start_paused = true)]
async fn a_line_without_end_is_given_up() {
    let (mut server, _type_line, conversation) = begun();
    welcome(&mut server).await;
    let endless = vec![b'x'; MAX_SERVER_LINE_BYTES];
    // The client may hang up before it took all of it.
    let _ = server.write_all(&endless).await;
    let (result, _) = conversation.await.unwrap();
    assert!(matches!(result, Err(ChatError::LineTooLong)), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_looks_any_more_the_client_leaves() {
    let (mut server, client) = duplex(1 << 16);
    let (_type_line, typed) = mpsc::channel(8);
    let conversation = tokio::spawn(async move {
        let (receiving, sending) = split(client);
        let show = |shown: &[Shown]| match shown.last() {
            Some(Shown::Said { .. }) => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            _ => Ok(()),
        };
        converse(&mut Side::ndjson(), receiving, sending, typed, show).await
    });
    welcome(&mut server).await;
    let mut relay = Vec::new();
    ndjson::encode_relay(&mut relay, 1, "127.0.0.1:6", "anyone there?");
    server.write_all(&relay).await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap(); // the half-close
    let mut bye = Vec::new();
    ndjson::encode_bye(&mut bye, 1);
    server.write_all(&bye).await.unwrap();
    assert!(conversation.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_classic_server_that_acks_nothing_and_stays_is_left() {
    let (classic, _) = Classic::begin("127.0.0.1:5".parse().unwrap());
    let (mut server, type_line, conversation) = begun_with(Side::Classic(classic));
    let hello = Typed::Line("hello".to_owned());
    type_line.send(hello).await.unwrap();
    drop(type_line);
    let mut received = String::new();
    server.read_to_string(&mut received).await.unwrap(); // to the half-close
    let object = r#"{"client_ip":"127.0.0.1:5","message":"hello"}"#;
    assert_eq!(received, object);
    let (result, waited) = conversation.await.unwrap();
    assert!(matches!(result, Err(ChatError::NoGoodbye)), "{result:?}");
    assert_eq!(waited, 2 * PATIENCE, "for the ack, then for the end");
}

#[tokio::test(start_paused = true)]
async fn a_classic_server_that_leaves_a_line_unanswered_is_found_out() {
    let (classic, _) = Classic::begin("127.0.0.1:5".parse().unwrap());
    let (mut server, type_line, conversation) = begun_with(Side::Classic(classic));
    for text in ["one", "two"] {
        type_line.send(Typed::Line(text.to_owned())).await.unwrap();
    }
    drop(type_line);
    // An ack before there is anything to ack would count for nothing.
    let mut objects = [0; r#"{"client_ip":"127.0.0.1:5","message":"one"}"#.len() * 2];
    server.read_exact(&mut objects).await.unwrap();
    server
        .write_all("127.0.0.1:5: 已经收到信息".as_bytes())
        .await
        .unwrap();
    server.read_to_end(&mut Vec::new()).await.unwrap(); // to the half-close
    drop(server);
    let (result, _) = conversation.await.unwrap();
    assert!(
        matches!(result, Err(ChatError::Unanswered(1))),
        "{result:?}"
    );
}
