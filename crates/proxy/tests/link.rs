//! The proxy between real sockets: what it does to a connection is what the two ends would do to
//! each other.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use chatbench_net::Net;
use chatbench_proxy::meddler::{Meddler, Task};
use chatbench_proxy::{Fault, Proxy, Towards, talk};
use chatbench_wire::ndjson::{self, Publish};
use chatbench_wire::payload::{self, Header, SenderId};
use chatbench_wire::protocol::Protocol;
use chatbench_wire::rooms::RoomNames;

const RUN: u32 = 77;

/// Longer than anything takes here: a read that would wait forever fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn proxy_to(target: SocketAddr, fault: Option<Fault>) -> Proxy {
    let talk = talk::of(&Protocol::Ndjson.into());
    let task = fault.map(|fault| Task { fault, after: 0 });
    let meddler = Meddler::new(talk, RUN, &RoomNames::default(), task);
    let towards = Towards {
        addresses: vec![target],
        net: Net::System,
    };
    Proxy::start(vec![towards], meddler).unwrap()
}

/// A client's and a target's end of a connection through a proxy.
fn connection(fault: Option<Fault>) -> (TcpStream, TcpStream, Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = proxy_to(listener.local_addr().unwrap(), fault);
    let client = TcpStream::connect(proxy.addresses()[0]).unwrap();
    let (target, _) = listener.accept().unwrap();
    for end in [&client, &target] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, target, proxy)
}

fn text(k: u64) -> String {
    let header = Header {
        run: RUN,
        sender: SenderId(5),
        k,
        last: false,
        intended_ns: 1,
        previous_ns: 0,
    };
    let mut text = Vec::new();
    payload::encode(&mut text, 1, &header, 48);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_half_close_goes_on_and_the_other_way_stays_open() {
    let (mut client, mut target, proxy) = connection(None);
    client.write_all(b"{\"a\":1}\nwithout an end").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    target.read_to_string(&mut got).unwrap();
    assert_eq!(got, "{\"a\":1}\nwithout an end");
    target.write_all(b"still here\n").unwrap();
    drop(target);
    got.clear();
    client.read_to_string(&mut got).unwrap();
    assert_eq!(got, "still here\n");
    assert_eq!(proxy.stop().committed, None);
}

#[test]
fn a_reset_goes_on_as_a_reset_both_ways() {
    let (client, mut target, _proxy) = connection(None);
    socket2::SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let error = target.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (mut client, target, _proxy) = connection(None);
    socket2::SockRef::from(&target)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(target);
    let error = client.read(&mut [0; 16]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// A side that does not read makes the other one wait: nothing is piled up in between.
#[test]
fn a_side_that_does_not_read_makes_the_other_one_wait() {
    const MOST_BYTES: usize = 64 << 20;
    let (client, mut target, _proxy) = connection(None);
    target
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut line = vec![b'x'; 64 << 10];
    line.push(b'\n');
    let mut sent = 0;
    let full = loop {
        match target.write(&line) {
            Ok(n) => sent += n,
            Err(error) => break error.kind(),
        }
        assert!(sent < MOST_BYTES, "{sent} bytes went nowhere");
    };
    assert!(
        matches!(full, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{full}"
    );
    // All of it is there once it is read.
    target.shutdown(Shutdown::Write).unwrap();
    let mut got = 0;
    let (mut buffer, mut client) = (vec![0; 1 << 20], client);
    loop {
        match client.read(&mut buffer).unwrap() {
            0 => break,
            n => got += n,
        }
    }
    assert_eq!(got, sent);
}

#[test]
fn a_target_that_is_not_there_is_said_to_be_so() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = proxy_to(address, None);
    let mut client = TcpStream::connect(proxy.addresses()[0]).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(
        client.read(&mut [0; 1]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let trouble = proxy.stop().trouble.unwrap();
    assert!(trouble.contains("refused"), "{trouble}");
}

/// Over sockets, each fault that a receiver alone can be a victim of: once, with the rest untouched.
#[test]
fn of_many_messages_one_is_meddled_with() {
    const MESSAGES: u64 = 60;
    for (fault, expected) in [
        (None, MESSAGES),
        (Some(Fault::DropRelay), MESSAGES - 1),
        (Some(Fault::DuplicateRelay), MESSAGES + 1),
        (Some(Fault::FlipByte), MESSAGES),
        (Some(Fault::SwapSameSender), MESSAGES),
        (Some(Fault::DelayRelay), MESSAGES),
        (Some(Fault::HangUp), 21),
    ] {
        let (client, mut target, proxy) = connection(fault);
        let writer = thread::spawn(move || {
            let mut lines = Vec::new();
            for k in 1..=MESSAGES {
                ndjson::encode_relay(&mut lines, k, "127.0.0.1:9", &text(k));
            }
            // Who was hung up on need not take it all.
            let _ = target.write_all(&lines);
            let _ = target.shutdown(Shutdown::Write);
            target
        });
        let mut got = String::new();
        let mut client = client;
        client.read_to_string(&mut got).unwrap();
        let _ = writer.join().unwrap();
        assert_eq!(got.lines().count() as u64, expected, "{fault:?}");
        let intact = |k: &u64| got.contains(&text(*k));
        let missing = (1..=MESSAGES).filter(|k| !intact(k)).count() as u64;
        let expected = match fault {
            Some(Fault::DropRelay | Fault::FlipByte) => 1,
            Some(Fault::HangUp) => MESSAGES - 21,
            _ => 0,
        };
        assert_eq!(missing, expected, "{fault:?}");
        let committed = proxy.stop().committed;
        assert_eq!(committed.map(|committed| committed.fault), fault);
    }
}

#[test]
fn a_publish_that_is_dropped_never_reaches_the_target() {
    let (mut client, mut target, proxy) = connection(Some(Fault::DropPublish));
    let mut lines = Vec::new();
    for k in 1..=20 {
        let text = text(k);
        let publish = Publish {
            message: text.as_str().into(),
            id: Some(k),
            client_ip: None,
            room: None,
        };
        ndjson::encode_publish(&mut lines, &publish);
    }
    client.write_all(&lines).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    target.read_to_string(&mut got).unwrap();
    assert_eq!(got.lines().count(), 19);
    let what = proxy.stop().committed.unwrap().what;
    assert!(
        what.starts_with("message 6 of session 5 from 127.0.0.1:"),
        "{what}"
    );
}
