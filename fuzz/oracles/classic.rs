//! What must hold of the classic dialect's cutters: objects towards the server, texts from it.

use std::net::SocketAddr;

use chatbench::wire::classic::objects::{NotObjects, ObjectBuffer};
use chatbench::wire::classic::texts::{Piece, TextBuffer};
use chatbench::wire::classic::{self, ACK, RELAY};

use super::Input;

/// Runs the cutters and what reads their pieces, and nothing else.
#[allow(dead_code)] // the corpus test has no oracle of memory
pub(super) fn decode_only(input: &Input<'_>) {
    let mut objects = ObjectBuffer::new(input.max_line_bytes);
    let mut texts = TextBuffer::new(input.max_line_bytes);
    for chunk in input.chunks() {
        let mut rest = objects.feed(chunk);
        while let Some(object) = rest.next() {
            let _ = object.map(classic::decode_publish);
        }
        let mut pieces = texts.feed(chunk);
        while pieces.next().is_some() {}
    }
    let mut pieces = texts.finish();
    while pieces.next().is_some() {}
}

/// Holds both readings of the stream against their rules.
pub(super) fn check(input: &Input<'_>) {
    let (objects, pending) = read_objects(input, [input.stream]);
    assert_eq!(
        read_objects(input, input.chunks()),
        (objects.clone(), pending)
    );
    assert_eq!(
        read_objects(input, input.stream.chunks(1)),
        (objects.clone(), pending)
    );
    check_objects(input, &objects, pending);

    let texts = read_texts(input, [input.stream]);
    assert_eq!(read_texts(input, input.chunks()), texts, "texts in chunks");
    let bytewise = read_texts(input, input.stream.chunks(1));
    assert_eq!(bytewise, texts, "texts byte by byte");
    check_texts(input, &texts);
}

type Objects = Vec<Result<Vec<u8>, NotObjects>>;

fn read_objects<'a>(
    input: &Input<'_>,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Objects, usize) {
    let mut buffer = ObjectBuffer::new(input.max_line_bytes);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut rest = buffer.feed(chunk);
        while let Some(object) = rest.next() {
            seen.push(object.map(<[u8]>::to_vec));
        }
        assert!(buffer.pending_bytes() <= input.max_line_bytes);
    }
    (seen, buffer.pending_bytes())
}

/// The objects stand in the stream one behind the other, with white space between them alone; an
/// error is the last thing, and without one every byte is an object's, a pending one's, or space.
fn check_objects(input: &Input<'_>, objects: &Objects, pending: usize) {
    let mut rest = input.stream;
    for (i, object) in objects.iter().enumerate() {
        rest = rest.trim_ascii_start();
        match object {
            Ok(object) => {
                assert!(object.starts_with(b"{") && object.ends_with(b"}"));
                assert!(object.len() <= input.max_line_bytes);
                rest = rest.strip_prefix(&object[..]).expect("it is of the stream");
                if let Ok(publish) = classic::decode_publish(object) {
                    assert!(publish.message.len() <= object.len());
                }
            }
            Err(_) => {
                assert_eq!(
                    (i + 1, pending),
                    (objects.len(), 0),
                    "nothing after an error"
                );
                return;
            }
        }
    }
    assert_eq!(
        rest.trim_ascii_start().len(),
        pending,
        "and nothing is lost"
    );
}

/// A piece that outlives its buffer; texts in a row are one.
#[derive(Debug, Clone, PartialEq)]
enum Cut {
    Ack(SocketAddr),
    Relay(SocketAddr, Vec<u8>),
    RelayBegins(SocketAddr),
    Text(Vec<u8>),
}

fn read_texts<'a>(input: &Input<'_>, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Cut> {
    let mut buffer = TextBuffer::new(input.max_line_bytes);
    let mut seen = Vec::new();
    for chunk in chunks {
        let mut ready = buffer.feed(chunk);
        while let Some(piece) = ready.next() {
            push(&mut seen, piece);
        }
    }
    let mut ready = buffer.finish();
    while let Some(piece) = ready.next() {
        push(&mut seen, piece);
    }
    assert_eq!(buffer.pending_bytes(), 0, "the end takes everything");
    seen
}

fn push(seen: &mut Vec<Cut>, piece: Piece<'_>) {
    match (piece, seen.last_mut()) {
        (Piece::Text(more), Some(Cut::Text(text))) => text.extend_from_slice(more),
        (Piece::Text(text), _) => seen.push(Cut::Text(text.to_vec())),
        (Piece::Ack { by }, _) => seen.push(Cut::Ack(by)),
        (Piece::Relay { by, message }, _) => seen.push(Cut::Relay(by, message.to_vec())),
        (Piece::RelayBegins { by }, _) => seen.push(Cut::RelayBegins(by)),
    }
}

/// The pieces stand in the stream one behind the other and leave nothing out. An address may be
/// written in more ways than one, so what precedes a phrase is read again and not compared.
fn check_texts(input: &Input<'_>, cuts: &[Cut]) {
    let mut rest = input.stream;
    for cut in cuts {
        rest = match cut {
            Cut::Text(text) => rest.strip_prefix(&text[..]).expect("it is of the stream"),
            Cut::Ack(by) => behind_phrase(rest, *by, ACK),
            Cut::RelayBegins(by) => behind_phrase(rest, *by, RELAY),
            Cut::Relay(by, message) => {
                assert!(message.len() <= input.max_line_bytes);
                let rest = behind_phrase(rest, *by, RELAY);
                rest.strip_prefix(&message[..])
                    .expect("it is of the stream")
            }
        };
    }
    assert_eq!(rest, b"", "and nothing is lost");
}

/// What follows `by` and `phrase`, with which `text` begins.
fn behind_phrase<'a>(text: &'a [u8], by: SocketAddr, phrase: &str) -> &'a [u8] {
    let at = text
        .windows(phrase.len())
        .position(|window| window == phrase.as_bytes())
        .expect("the phrase is there");
    let address = std::str::from_utf8(&text[..at]).expect("an address is ASCII");
    assert_eq!(address.parse(), Ok(by));
    &text[at + phrase.len()..]
}
