use proptest::prelude::*;

use super::*;

/// A frame as the RFC draws it, with the header's bits given one by one.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..126 => bytes.push(masked | short as u8),
        long @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
        longer => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(longer as u64).to_be_bytes());
        }
    }
    bytes.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

fn text(text: &str) -> Got {
    Got::Message(Kind::Text, text.as_bytes().to_vec())
}

/// Section 5.7.
#[test]
fn the_examples_of_the_rfc_are_read() {
    let both: [(&[u8], &[u8], Got); 5] = [
        (
            &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
            &[
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
            ],
            text("Hello"),
        ),
        (
            &[
                0x01, 0x03, 0x48, 0x65, 0x6c, /* and */ 0x80, 0x02, 0x6c, 0x6f,
            ],
            &[
                0x01, 0x83, 0, 0, 0, 0, 0x48, 0x65, 0x6c, 0x80, 0x82, 0, 0, 0, 0, 0x6c, 0x6f,
            ],
            text("Hello"),
        ),
        (
            &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
            &[
                0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
            ],
            Got::Ping(b"Hello".to_vec()),
        ),
        (
            &[&[0x82, 0x7e, 0x01, 0x00][..], &[7; 256]].concat(),
            &[&[0x82, 0xfe, 0x01, 0x00, 0, 0, 0, 0][..], &[7; 256]].concat(),
            Got::Message(Kind::Binary, vec![7; 256]),
        ),
        (
            &[&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat(),
            &[
                &[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
                &[7; 65_536],
            ]
            .concat(),
            Got::Message(Kind::Binary, vec![7; 65_536]),
        ),
    ];
    for (unmasked, masked, expected) in both {
        let expected = std::slice::from_ref(&expected);
        assert_eq!(read_as_client([unmasked]).0, expected);
        assert_eq!(read_as_client(unmasked.chunks(1)).0, expected);
        assert_eq!(read_as_server([masked]).0, expected);
        assert_eq!(read_as_server(masked.chunks(1)).0, expected);
    }
}

/// Each rule of sections 5 to 8 that a peer can break: what is said, and the close that answers it.
#[test]
#[rustfmt::skip] // a rule a row
fn each_broken_rule_is_named_and_answered() {
    let f = |first, payload: &[u8]| frame(first, None, payload);
    let euro = "€".as_bytes();
    let half = [f(0x01, &euro[..2]), f(0x80, b"x")].concat();
    let long = [f(0x01, &[b'x'; 40_000]), f(0x80, &[b'x'; 40_000])].concat();
    let high_bit = [&[0x82, 127, 0x80][..], &[0; 7]].concat();
    let longest = [&[0x82, 127, 0x7f][..], &[0xff; 7]].concat();
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (frame(0x81, MASK, b"x"), 1002, "a frame of the server is masked, and only a client's may be"),
        (f(0xc1, b"x"), 1002, "a frame has the reserved bits 100, which no extension was agreed on for"),
        (f(0xa1, b"x"), 1002, "a frame has the reserved bits 010, which no extension was agreed on for"),
        (f(0x91, b"x"), 1002, "a frame has the reserved bits 001, which no extension was agreed on for"),
        (f(0x83, b""), 1002, "a frame has the reserved opcode 0x3"),
        (f(0x87, b""), 1002, "a frame has the reserved opcode 0x7"),
        (f(0x8b, b""), 1002, "a frame has the reserved opcode 0xb"),
        (f(0x8f, b""), 1002, "a frame has the reserved opcode 0xf"),
        (f(0x09, b""), 1002, "a ping comes in fragments, and a control frame must not"),
        (f(0x0a, b""), 1002, "a pong comes in fragments, and a control frame must not"),
        (f(0x08, b""), 1002, "a close comes in fragments, and a control frame must not"),
        (f(0x89, &[0; 126]), 1002, "a ping has a payload of more than 125 bytes"),
        (f(0x8a, &[0; 70_000]), 1002, "a pong has a payload of more than 125 bytes"),
        (f(0x88, &[0; 126]), 1002, "a close has a payload of more than 125 bytes"),
        (high_bit, 1002, "a frame states a length of 2^63 bytes or more"),
        (longest, 1009, "a message is longer than 65536 bytes"),
        (f(0x82, &[0; MAX_BYTES + 1]), 1009, "a message is longer than 65536 bytes"),
        (long, 1009, "a message is longer than 65536 bytes"),
        (vec![0x82, 126, 0, 125], 1002, "a frame states its length of 125 in more bytes than that takes"),
        (vec![0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002, "a frame states its length of 65535 in more bytes than that takes"),
        (f(0x80, b"x"), 1002, "a continuation comes where no message has begun"),
        (f(0x00, b"x"), 1002, "a continuation comes where no message has begun"),
        ([f(0x01, b"x"), f(0x81, b"x")].concat(), 1002, "a message begins before the fragments of the last one have ended"),
        ([f(0x01, b"x"), f(0x02, b"x")].concat(), 1002, "a message begins before the fragments of the last one have ended"),
        (f(0x81, b"ab\xff"), 1007, "a text message is not UTF-8: the fault is at byte 2"),
        (f(0x81, &euro[..2]), 1007, "a text message is not UTF-8: the fault is at byte 0"),
        (f(0x81, b"\xed\xa0\x80"), 1007, "a text message is not UTF-8: the fault is at byte 0"),
        (half, 1007, "a text message is not UTF-8: the fault is at byte 0"),
        (f(0x88, &[3]), 1002, "a close has a payload of one byte, where its code takes two"),
        (f(0x88, &[0x03, 0xe8, 0xff]), 1007, "the reason of a close is not UTF-8"),
    ];
    for (bytes, code, said) in cases {
        let expect = |(got, out): (Vec<Got>, Vec<u8>)| {
            let [Got::Fault(fault)] = &got[..] else {
                panic!("{said}: {got:?}");
            };
            assert_eq!(fault.to_string(), said);
            assert_eq!(fault.code(), code, "{said}");
            // What a server makes of the answer: the code, and the fault in words.
            assert_eq!(read_as_server([&out[..]]).0, [Got::Closed(Some(code), said.to_owned())]);
        };
        // What follows a fault is not looked at.
        expect(read_as_client([&bytes[..], &f(0x81, b"after")]));
        expect(read_as_client(bytes.chunks(1)));
    }
    let (got, out) = read_as_server([&f(0x81, b"x")[..]]);
    assert_eq!(got, [Got::Fault(Fault::NotMasked)]);
    assert_eq!(read_as_client([&out[..]]).0, [Got::Closed(Some(1002), Fault::NotMasked.to_string())]);
}

/// Section 7.4: which codes may be sent.
#[test]
fn a_close_has_a_code_that_may_be_sent_or_none() {
    for code in 0..=u16::MAX {
        let close = frame(0x88, None, &code.to_be_bytes());
        let (got, out) = read_as_client([&close[..]]);
        let may = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = match may {
            true => Got::Closed(Some(code), String::new()),
            false => Got::Fault(Fault::CloseCode(code)),
        };
        assert_eq!(got, [expected]);
        let answered = if may { code } else { code::PROTOCOL_ERROR };
        let (closed, _) = read_as_server([&out[..]]);
        assert!(matches!(closed[..], [Got::Closed(Some(code), _)] if code == answered));
    }
    let (got, out) = read_as_client([&[0x88, 0x00][..]]);
    assert_eq!(got, [Got::Closed(None, String::new())]);
    assert_eq!(
        read_as_server([&out[..]]).0,
        [Got::Closed(None, String::new())]
    );
}

/// One close each way: the side that began is not answered again, and what comes before the answer
/// is read still.
#[test]
fn a_close_is_answered_by_one_close() {
    let (mut client, mut server) = (client(), Server::new(MAX_BYTES));
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.close(&mut to_server, code::NORMAL);
    client.close(&mut to_server, code::GOING_AWAY);
    client.send(&mut to_server, Kind::Text, b"too late");
    client.ping(&mut to_server, b"too late");
    let begun = client.begin(&mut to_server, Kind::Text);
    to_server.extend_from_slice(b"too late");
    client.end(&mut to_server, begun);
    server.send(&mut to_client, Kind::Text, b"on its way");
    server.ping(&mut to_client, b"");

    let mut input = &to_server[..];
    let closed = server.next(&mut input, &mut to_client).map(Got::from);
    assert_eq!(closed, Some(Got::Closed(Some(1000), String::new())));
    assert_eq!(server.next(&mut input, &mut to_client), None);
    assert!(server.is_closed() && server.has_closed());
    server.send(&mut to_client, Kind::Text, b"too late");

    let (mut got, mut out, mut input) = (Vec::new(), Vec::new(), &to_client[..]);
    while let Some(incoming) = client.next(&mut input, &mut out) {
        got.push(Got::from(incoming));
    }
    let expected = [
        text("on its way"),
        Got::Ping(vec![]),
        Got::Closed(Some(1000), String::new()),
    ];
    assert_eq!(got, expected);
    assert_eq!(out, b"", "neither the ping after the close nor the close");
    assert!(client.is_closed() && !client.is_open());
}

#[test]
fn a_reason_is_cut_where_a_character_ends() {
    let mut out = Vec::new();
    Server::new(9).close(&mut out, 3000, &"é".repeat(100));
    assert_eq!(out.len(), 2 + 124);
    let (got, _) = read_as_client([&out[..]]);
    assert_eq!(got, [Got::Closed(Some(3000), "é".repeat(61))]);
}

#[test]
fn a_message_of_the_greatest_length_is_read_and_none_longer() {
    let allowed = |client: &mut Client, bytes: usize| {
        let message = frame(0x82, None, &vec![1; bytes]);
        let mut input = &message[..];
        let got = client.next(&mut input, &mut Vec::new()).map(Got::from);
        matches!(got, Some(Got::Message(..)))
    };
    let mut client = client();
    assert!(allowed(&mut client, MAX_BYTES));
    client.allow(2 * MAX_BYTES);
    client.allow(1);
    assert!(allowed(&mut client, 2 * MAX_BYTES));
    assert!(!allowed(&mut client, 2 * MAX_BYTES + 1));
}

/// An idle connection keeps nothing of what was long.
#[test]
fn what_was_long_is_given_back() {
    let long = frame(0x82, None, &[1; 60_000]);
    let fragments = [
        frame(0x02, None, &[1; 30_000]),
        frame(0x80, None, &[1; 30_000]),
    ]
    .concat();
    for bytes in [long, fragments] {
        let mut client = client();
        let empty = format!("{client:?}");
        for mut chunk in bytes.chunks(1000) {
            while client.next(&mut chunk, &mut Vec::new()).is_some() {}
        }
        assert_eq!(format!("{client:?}"), empty);
    }
    assert!(size_of::<Client>() <= 128, "{}", size_of::<Client>());
    assert!(size_of::<Server>() <= 96, "{}", size_of::<Server>());
}

/// What one side says.
#[derive(Debug, Clone)]
enum Says {
    /// A message in so many fragments, with control frames between them.
    Message(Kind, Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn says() -> impl Strategy<Value = Says> {
    let payload = prop_oneof![
        4 => "[a-z€ ]{0,30}".prop_map(String::into_bytes),
        1 => (120_usize..135).prop_map(|n| vec![b'x'; n]),
        1 => (60_000_usize..MAX_BYTES + 1).prop_map(|n| vec![b'x'; n]),
    ];
    let kind = prop_oneof![Just(Kind::Text), Just(Kind::Binary)];
    let cuts = prop_oneof![
        3 => Just(vec![]),
        2 => proptest::collection::vec(0_usize..40, 1..4),
    ];
    let control = proptest::collection::vec(any::<u8>(), 0..=MAX_CONTROL_BYTES);
    prop_oneof![
        6 => (kind, payload, cuts).prop_map(|(kind, payload, cuts)| Says::Message(kind, payload, cuts)),
        1 => control.clone().prop_map(Says::Ping),
        1 => control.prop_map(Says::Pong),
    ]
}

/// The bytes of it all, and what comes of them.
fn stream(all: &[Says], mask: Option<[u8; 4]>) -> (Vec<u8>, Vec<Got>) {
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for says in all {
        match says {
            Says::Ping(payload) => {
                bytes.extend(frame(0x89, mask, payload));
                expected.push(Got::Ping(payload.clone()));
            }
            Says::Pong(payload) => {
                bytes.extend(frame(0x8a, mask, payload));
                expected.push(Got::Pong(payload.clone()));
            }
            Says::Message(kind, payload, cuts) => {
                let opcode = if *kind == Kind::Text { 1 } else { 2 };
                let fragments = cut(payload, cuts);
                for (at, fragment) in fragments.iter().enumerate() {
                    let first = if at == 0 { opcode } else { 0 };
                    let is_last = at + 1 == fragments.len();
                    bytes.extend(frame(
                        first | if is_last { 0x80 } else { 0 },
                        mask,
                        fragment,
                    ));
                    if !is_last {
                        bytes.extend(frame(0x89, mask, &[at as u8]));
                        expected.push(Got::Ping(vec![at as u8]));
                    }
                }
                expected.push(Got::Message(*kind, payload.clone()));
            }
        }
    }
    (bytes, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a peer says comes out as it was said, however the stream is cut, and each ping is
    /// answered.
    #[test]
    fn a_stream_is_the_same_messages_however_it_is_cut(
        all in proptest::collection::vec(says(), 0..8),
        cuts in proptest::collection::vec(0_usize..200, 0..60),
        mask: [u8; 4],
    ) {
        let pings = |got: &[Got]| -> Vec<Got> {
            let pings = got.iter().filter_map(|got| match got {
                Got::Ping(payload) => Some(Got::Pong(payload.clone())),
                _ => None,
            });
            pings.collect()
        };
        let (bytes, expected) = stream(&all, None);
        for chunks in [vec![&bytes[..]], cut(&bytes, &cuts), bytes.chunks(7).collect()] {
            let (got, out) = read_as_client(chunks);
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(read_as_server([&out[..]]).0, pings(&got));
        }
        let (bytes, expected) = stream(&all, Some(mask));
        for chunks in [vec![&bytes[..]], cut(&bytes, &cuts), bytes.chunks(7).collect()] {
            let (got, out) = read_as_server(chunks);
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(read_as_client([&out[..]]).0, pings(&got));
        }
    }

    /// What is written is read as what it was, in one frame; begun and ended, it is the same bytes.
    #[test]
    fn what_is_written_is_read(
        payload in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            (65_400_usize..MAX_BYTES).prop_map(|n| vec![3; n]),
        ],
        seed: u64,
    ) {
        let (mut server, mut bytes) = (Server::new(MAX_BYTES), b"before".to_vec());
        server.send(&mut bytes, Kind::Binary, &payload);
        let mut again = b"before".to_vec();
        let begun = server.begin(&mut again, Kind::Binary);
        again.extend_from_slice(&payload);
        server.end(&mut again, begun);
        prop_assert_eq!(&bytes, &again);
        let expected = [Got::Message(Kind::Binary, payload.clone())];
        prop_assert_eq!(&read_as_client([&bytes[6..]]).0, &expected);

        let mut clients = [(); 2].map(|()| {
            Client::open(&REQUEST, seed, MAX_BYTES, &mut Vec::new())
        });
        let mut bytes = Vec::new();
        clients[0].send(&mut bytes, Kind::Binary, &payload);
        let mut again = Vec::new();
        let begun = clients[1].begin(&mut again, Kind::Binary);
        again.extend_from_slice(&payload);
        clients[1].end(&mut again, begun);
        prop_assert_eq!(&bytes, &again);
        prop_assert_eq!(&read_as_server([&bytes[..]]).0, &expected);
    }

    /// A message is taken by comparison exactly where it would have been read as that.
    #[test]
    fn what_is_compared_is_what_would_be_read(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        others in proptest::collection::vec(says(), 0..3),
        inside in any::<bool>(),
        cut_at in 0_usize..220,
    ) {
        let expected = frame(0x82, None, &payload);
        let before = if inside { frame(0x01, None, b"x") } else { Vec::new() };
        let (rest, _) = stream(&others, None);
        let bytes = [&before[..], &expected, &rest].concat();
        let (mut client, mut out, mut got) = (client(), Vec::new(), Vec::new());
        let mut input = &before[..];
        prop_assert_eq!(client.next(&mut input, &mut out), None);
        let (mut first, mut second) = bytes[before.len()..].split_at(cut_at.min(bytes.len() - before.len()));
        let taken = client.take_if(&mut first, &expected);
        prop_assert_eq!(taken, !inside && cut_at >= expected.len());
        if taken {
            got.push(Got::Message(Kind::Binary, payload));
        }
        for chunk in [&mut first, &mut second] {
            while let Some(incoming) = client.next(chunk, &mut out) {
                got.push(incoming.into());
            }
        }
        prop_assert_eq!(got, read_as_client([&bytes[..]]).0);
    }

    #[test]
    fn rubbish_never_panics_and_is_the_same_however_it_is_cut(
        bytes in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(0x81), Just(0x01), Just(0x80), Just(0x89), Just(0), Just(1), Just(126),
        ], 0..80),
        cuts in proptest::collection::vec(0_usize..9, 0..20),
    ) {
        let whole = read_as_client([&bytes[..]]);
        prop_assert_eq!(&read_as_client(cut(&bytes, &cuts)), &whole);
        let whole = read_as_server([&bytes[..]]);
        prop_assert_eq!(&read_as_server(cut(&bytes, &cuts)), &whole);
    }
}
