//! Sessions over in-memory pipes, in paused time: who reads how much and when is up to the test.

use std::cell::Cell;
use std::io;
use std::task::Context;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, DuplexStream, duplex,
};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::*;
use crate::Config;
use crate::accept::admit;
use crate::hub::{LAST_LINES, STALLED};

/// Runs a test beside a server's tasks, on one thread.
async fn beside_a_server<S>(config: Config, test: impl AsyncFnOnce(Rc<Hub<S>>))
where
    S: Stream + 'static,
{
    let hub = Rc::new(Hub::new(config));
    LocalSet::new()
        .run_until(async {
            tokio::task::spawn_local(flush(Rc::clone(&hub)));
            tokio::task::spawn_local(watch_stuck(Rc::clone(&hub)));
            // Nothing here takes an hour, of paused time at that: waiting in vain is failing.
            let an_hour = 360 * LAST_LINES;
            let in_time = timeout(an_hour, test(Rc::clone(&hub))).await;
            in_time.expect("what the test waits for does not come");
        })
        .await;
}

/// The other end of a connection that the server was given.
type Client = BufReader<DuplexStream>;

fn dial(hub: &Rc<Hub<DuplexStream>>, name: &str, pipe_bytes: usize) -> Client {
    let (ours, theirs) = duplex(pipe_bytes);
    admit(hub, Dialect::Ndjson, theirs, name);
    BufReader::new(ours)
}

async fn frame(client: &mut Client) -> Option<Value> {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    assert!(line.is_empty() || line.ends_with('\n'), "torn: {line}");
    (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
}

async fn expect(client: &mut Client, frame_type: &str) -> Value {
    let frame = frame(client).await.expect("the server has hung up");
    assert_eq!(frame["type"], frame_type, "{frame}");
    frame
}

/// Sends until the server has not taken any more for a while. Returns how much it took.
async fn send_until_stalled(client: &mut Client, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while sent < bytes.len() {
        let write = client.get_mut().write(&bytes[sent..]);
        match timeout(LAST_LINES, write).await {
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    sent
}

fn small() -> Config {
    Config {
        max_line_bytes: 512,
        backlog_bytes: 2048,
        ..Config::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_and_a_session_fit_through_a_pipe_of_eight_bytes() {
    beside_a_server(Config::default(), async |hub| {
        let mut ann = dial(&hub, "ann:1", 8);
        let mut bob = dial(&hub, "bob:2", 8);
        assert_eq!(expect(&mut ann, "welcome").await["client_ip"], "ann:1");
        assert_eq!(expect(&mut bob, "welcome").await["client_ip"], "bob:2");
        for id in 1..=20 {
            let line = format!("{{\"message\":\"through a keyhole\",\"id\":{id}}}\n");
            ann.write_all(line.as_bytes()).await.unwrap();
            assert_eq!(expect(&mut ann, "ack").await["id"], id);
            let relay = expect(&mut bob, "relay").await;
            assert_eq!(relay["seq"], id);
            assert_eq!(relay["message"], "through a keyhole");
        }
        ann.write_all(b"nonsense\n").await.unwrap();
        assert_eq!(expect(&mut ann, "error").await["code"], "malformed");
        for client in [&mut ann, &mut bob] {
            client.shutdown().await.unwrap();
            assert_eq!(expect(client, "bye").await["seq"], 20);
            assert_eq!(frame(client).await, None);
        }
        hub.empty().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_read_a_turn_is_all_that_a_flood_gets_before_the_others() {
    beside_a_server(Config::default(), async |hub| {
        let flood = b"{\"message\":\"me\"}\n".repeat(60_000);
        let mut flooder = dial(&hub, "flooder:1", flood.len());
        let mut ann = dial(&hub, "ann:2", 1 << 24);
        flooder.write_all(&flood).await.unwrap();
        ann.write_all(b"{\"message\":\"and me\"}\n").await.unwrap();
        expect(&mut ann, "welcome").await;
        let seq = loop {
            let next = frame(&mut ann).await.unwrap();
            if next["type"] == "ack" {
                break next["seq"].as_u64().unwrap();
            }
        };
        let one_read = 64 * 1024 / 17 + 1;
        assert!(seq <= 2 * one_read, "number {seq}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_gets_the_rest_of_its_line_and_the_reason() {
    for pipe_bytes in 200..300 {
        beside_a_server(small(), async |hub| {
            let mut deaf = dial(&hub, "deaf:1", pipe_bytes);
            let mut ann = dial(&hub, "ann:2", 1 << 20);
            expect(&mut ann, "welcome").await;
            for seq in 1..=40 {
                ann.write_all(b"{\"message\":\"can you hear me?\"}\n")
                    .await
                    .unwrap();
                assert_eq!(expect(&mut ann, "ack").await["seq"], seq);
            }
            assert_eq!(hub.stats().slow_consumers, 1);
            expect(&mut deaf, "welcome").await;
            let mut seq = 0;
            let error = loop {
                let next = frame(&mut deaf).await.unwrap();
                if next["type"] == "error" {
                    break next;
                }
                seq += 1;
                assert_eq!(next["seq"], seq);
            };
            assert!((1..40).contains(&seq));
            assert_eq!(error["code"], "slow-consumer");
            assert_eq!(frame(&mut deaf).await, None);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_closed_and_takes_nothing_is_dropped_after_a_while() {
    beside_a_server(small(), async |hub| {
        let mut eve = dial(&hub, "eve:1", 16);
        expect(&mut eve, "welcome").await;
        eve.write_all(&[b'x'; 512]).await.unwrap();
        let begun = Instant::now();
        hub.empty().await;
        assert!(begun.elapsed() >= LAST_LINES);
        assert!(begun.elapsed() < 2 * LAST_LINES);
        assert_eq!(hub.stats().aborted, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_that_was_busy_still_gets_the_reason() {
    beside_a_server(small(), async |hub| {
        let mut busy = dial(&hub, "busy:1", 200);
        let mut ann = dial(&hub, "ann:2", 1 << 20);
        expect(&mut ann, "welcome").await;
        while hub.stats().slow_consumers == 0 {
            ann.write_all(b"{\"message\":\"x\"}\n").await.unwrap();
            expect(&mut ann, "ack").await;
        }
        sleep(LAST_LINES / 2).await;
        expect(&mut busy, "welcome").await;
        while expect_any(&mut busy).await["type"] == "relay" {}
        assert_eq!(frame(&mut busy).await, None);
    })
    .await;
}

async fn expect_any(client: &mut Client) -> Value {
    frame(client).await.expect("the server has hung up")
}

#[tokio::test(start_paused = true)]
async fn who_half_closed_may_take_its_time_and_not_for_ever() {
    beside_a_server(Config::default(), async |hub| {
        let mut deaf = dial(&hub, "deaf:1", 64);
        let mut slow = dial(&hub, "slow:2", 64);
        let mut ann = dial(&hub, "ann:3", 1 << 20);
        expect(&mut ann, "welcome").await;
        let text = "x".repeat(60_000);
        for _ in 0..10 {
            let line = format!("{{\"message\":\"{text}\"}}\n");
            ann.write_all(line.as_bytes()).await.unwrap();
            expect(&mut ann, "ack").await;
        }
        deaf.shutdown().await.unwrap();
        slow.shutdown().await.unwrap();
        let begun = Instant::now();
        expect(&mut slow, "welcome").await;
        for seq in 1..=10 {
            // Twice what it must take in the time, so it takes far longer than that in all.
            sleep(LEAVING - Duration::from_secs(2)).await;
            assert_eq!(expect(&mut slow, "relay").await["seq"], seq);
        }
        assert_eq!(expect(&mut slow, "bye").await["seq"], 10);
        assert!(begun.elapsed() > 9 * LEAVING);
        // The other one has gone long ago.
        drop((ann, slow));
        hub.empty().await;
        assert_eq!(hub.stats().aborted, 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_half_closes_and_never_reads_is_gone_after_a_while() {
    beside_a_server(small(), async |hub| {
        let mut deaf = dial(&hub, "deaf:1", 16);
        deaf.shutdown().await.unwrap();
        let begun = Instant::now();
        hub.empty().await;
        assert!(begun.elapsed() >= LEAVING && begun.elapsed() < 2 * LEAVING);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_and_is_not_read_from_is_gone_after_a_while() {
    beside_a_server(Config::default(), async |hub| {
        let mut eve = dial(&hub, "eve:1", 4096);
        let flood = b"{\"message\":\"\"}\n".repeat(10_000);
        let begun = Instant::now();
        assert!(eve.write_all(&flood).await.is_err());
        hub.empty().await;
        assert!(begun.elapsed() >= STALLED && begun.elapsed() < 2 * STALLED);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_web_page_cannot_publish() {
    for request in [
        &b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n{\"message\":\"x\"}\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\n{\"message\":\"x\"}\n",
        b"\x16\x03\x01\x02\x00\x01",
    ] {
        for split in 0..request.len() {
            beside_a_server(Config::default(), async |hub| {
                let mut page = dial(&hub, "page:1", 4096);
                let (first, second) = request.split_at(split);
                page.write_all(first).await.unwrap();
                yield_now().await;
                let _ = page.write_all(second).await;
                expect(&mut page, "welcome").await;
                let error = expect(&mut page, "error").await;
                assert_eq!(error["code"], "malformed");
                let detail = error["detail"].as_str().unwrap();
                assert!(
                    detail.contains("HTTP") || detail.contains("TLS"),
                    "{detail}"
                );
                assert_eq!(frame(&mut page).await, None);
                assert_eq!(hub.stats().published, 0);
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_web_page_cannot_publish_to_classic_clients_either() {
    beside_a_server(Config::default(), async |hub: Rc<Hub<DuplexStream>>| {
        hub.expect_classic();
        let (mut page, theirs) = duplex(4096);
        admit(&hub, Dialect::Classic, theirs, "page:1");
        let request = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n{\"message\":\"x\"}";
        page.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        page.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
        assert_eq!(hub.stats().published, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_too_many_unfinished_lines_the_first_to_begin_is_dropped() {
    let config = Config {
        max_unfinished_bytes: 70_000,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut clients: Vec<_> = (0..8).map(|_| dial(&hub, "client:1", 1 << 17)).collect();
        for client in &mut clients {
            expect(client, "welcome").await;
        }
        let begins = "{\"message\":\"".to_owned() + &"x".repeat(8_000);
        for client in &mut clients[..6] {
            client.write_all(begins.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        // The first to begin ends its line and begins another: it is the last then.
        let ends = "\"}\n".to_owned() + &begins;
        clients[0].write_all(ends.as_bytes()).await.unwrap();
        expect(&mut clients[0], "ack").await;
        while hub.stats().unfinished_bytes < 6 * 8_000 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(hub.stats().errors, 0);
        // One that is in a hurry does not have to wait for room.
        let long = "{\"message\":\"".to_owned() + &"y".repeat(60_000) + "\"}\n";
        for piece in long.as_bytes().chunks(1_000) {
            clients[7].write_all(piece).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        while expect_any(&mut clients[7]).await["type"] != "ack" {}
        for client in &mut clients[1..6] {
            let mut last = expect_any(client).await;
            while last["type"] == "relay" && last["seq"] == 1 {
                last = expect_any(client).await;
            }
            assert_eq!(last["code"], "line-too-long", "{last}");
            assert_eq!(frame(client).await, None);
        }
        assert_eq!(hub.stats().unfinished_bytes, begins.len() as u64);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_hang_up_after_the_last_line_is_waited_for_but_not_for_ever() {
    beside_a_server(small(), async |hub| {
        let mut eve = dial(&hub, "eve:1", 1024);
        expect(&mut eve, "welcome").await;
        eve.write_all(&[b'x'; 512]).await.unwrap();
        assert_eq!(expect(&mut eve, "error").await["code"], "line-too-long");
        assert_eq!(frame(&mut eve).await, None);
        eve.write_all(b"I am still talking").await.unwrap();
        let begun = Instant::now();
        hub.empty().await;
        assert!(begun.elapsed() >= HANGING_UP);
        assert!(begun.elapsed() < 2 * HANGING_UP);
        assert!(eve.write_all(b"?").await.is_err());
        assert_eq!(hub.stats().aborted, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_keeps_sending_after_the_last_line_is_listened_to_but_not_for_ever() {
    beside_a_server(small(), async |hub| {
        let mut eve = dial(&hub, "eve:1", 1 << 20);
        let begun = Instant::now();
        let flood = vec![b'x'; LINGER_BYTES + (4 << 20)];
        assert!(eve.write_all(&flood).await.is_err());
        hub.empty().await;
        assert_eq!(begun.elapsed().as_secs(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn so_many_may_linger_and_the_next_is_just_closed() {
    let config = Config {
        max_clients: 1,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let _member = dial(&hub, "member:1", 1024);
        let mut crowd: Vec<_> = (0..=256).map(|_| dial(&hub, "crowd:2", 1024)).collect();
        for client in &mut crowd {
            assert_eq!(expect(client, "error").await["code"], "server-full");
            assert_eq!(frame(client).await, None);
        }
        let (last, lingering) = crowd.split_last_mut().unwrap();
        for client in lingering {
            client.write_all(b"let me in\n").await.unwrap();
        }
        assert!(last.write_all(b"let me in\n").await.is_err());
        assert_eq!(hub.stats().refused, 257);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_errors_is_not_read_from() {
    beside_a_server(Config::default(), async |hub| {
        let mut eve = dial(&hub, "eve:1", 4096);
        let line = b"{\"message\":\"\"}\n";
        let flood = line.repeat(100_000);
        let sent = send_until_stalled(&mut eve, &flood).await;
        // Two pipes full and what the errors of 64 lines answer: not a hundred thousand lines.
        assert!(sent < 20_000, "{sent} bytes");
        let mut ann = dial(&hub, "ann:2", 4096);
        ann.write_all(b"{\"message\":\"x\"}\n").await.unwrap();
        expect(&mut ann, "welcome").await;
        expect(&mut ann, "ack").await;
        // Once it reads, all goes on: each line has its answer.
        expect(&mut eve, "welcome").await;
        let mut relays = 0;
        for _ in 0..sent / line.len() {
            let next = frame(&mut eve).await.unwrap();
            if next["type"] == "relay" {
                relays += 1;
            } else {
                assert_eq!(next["code"], "empty-message");
            }
        }
        assert_eq!(relays, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_acks_is_stalled_and_not_cut_off() {
    let config = Config {
        backlog_bytes: 1 << 20,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut flooder = dial(&hub, "flooder:1", 4096);
        let line = b"{\"message\":\"me again\"}\n";
        let flood = line.repeat(100_000);
        let sent = send_until_stalled(&mut flooder, &flood).await;
        let published = hub.stats().published;
        assert!((1..100_000).contains(&published), "{published}");
        expect(&mut flooder, "welcome").await;
        for seq in 1..=(sent / line.len()) as u64 {
            assert_eq!(expect(&mut flooder, "ack").await["seq"], seq);
        }
        assert_eq!(hub.stats().slow_consumers, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_stops_does_not_hold_up_a_shutdown() {
    beside_a_server(Config::default(), async |hub| {
        let (ours, theirs) = duplex(1 << 20);
        admit(&hub, Dialect::Ndjson, theirs, "flooder:1");
        let (mut acks, mut flood) = tokio::io::split(ours);
        let flooding = tokio::task::spawn_local(async move {
            let lines = b"{\"message\":\"me\"}\n".repeat(10_000);
            while flood.write_all(&lines).await.is_ok() {}
        });
        let reading = tokio::task::spawn_local(async move {
            let mut all = Vec::new();
            acks.read_to_end(&mut all).await.unwrap();
            all
        });
        yield_now().await;
        let begun = Instant::now();
        hub.drain();
        let all = reading.await.unwrap();
        let published = hub.stats().published;
        assert!(all.ends_with(format!("{{\"type\":\"bye\",\"seq\":{published}}}\n").as_bytes()));
        hub.empty().await;
        flooding.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_place_is_used_again() {
    beside_a_server(Config::default(), async |hub| {
        for k in 0..100 {
            let (ours, theirs) = duplex(256);
            let Ok(id) = hub.join(Dialect::Ndjson, theirs, "guest:1") else {
                panic!("full")
            };
            assert_eq!(id, 0, "guest {k}");
            drop(ours);
            serve(Rc::clone(&hub), id).await;
        }
        let stats = hub.stats();
        assert_eq!((stats.joined, stats.aborted), (100, 100));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_burst_in_one_read_pushes_nobody_out_who_keeps_up() {
    beside_a_server(small(), async |hub| {
        let mut ann = dial(&hub, "ann:1", 1 << 20);
        let mut bob = dial(&hub, "bob:2", 1 << 20);
        // As relays, some hundred times the backlog.
        let burst = b"{\"message\":\"quick\"}\n".repeat(3000);
        ann.write_all(&burst).await.unwrap();
        expect(&mut bob, "welcome").await;
        for seq in 1..=3000 {
            assert_eq!(expect(&mut bob, "relay").await["seq"], seq);
        }
        assert_eq!(hub.stats().slow_consumers, 0);
    })
    .await;
}

#[tokio::test]
async fn a_turn_given_up_lets_sockets_be_seen_that_became_ready_meanwhile() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut sender = std::net::TcpStream::connect(address).unwrap();
    let (mut receiver, _) = listener.accept().await.unwrap();
    let turns = Rc::new(Cell::new(0));
    LocalSet::new()
        .run_until(async {
            let counting = Rc::clone(&turns);
            tokio::task::spawn_local(coop::unconstrained(poll_fn(move |cx| {
                counting.set(counting.get() + 1);
                if counting.get() == 1 {
                    io::Write::write_all(&mut sender, b"x").unwrap();
                }
                yield_turn::<()>(cx)
            })));
            receiver.read_u8().await.unwrap();
        })
        .await;
    // tokio looks at the sockets by itself every 61 turns.
    assert!(turns.get() < 10, "{} turns", turns.get());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_in_a_pass_is_left_out_of_the_next() {
    beside_a_server(small(), async |hub| {
        let mut ann = dial(&hub, "ann:1", 1 << 20);
        let mut bob = dial(&hub, "bob:2", 1 << 20);
        expect(&mut ann, "welcome").await;
        expect(&mut bob, "welcome").await;
        // One read, and many passes, before bob's task sees that bob is gone.
        let burst = b"{\"message\":\"quick\"}\n".repeat(3000);
        ann.write_all(&burst).await.unwrap();
        drop(bob);
        for seq in 1..=3000 {
            assert_eq!(expect(&mut ann, "ack").await["seq"], seq);
        }
        let stats = hub.stats();
        assert_eq!((stats.slow_consumers, stats.aborted), (0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_gives_a_slow_reader_all_its_time() {
    let config = Config {
        drain: 3 * LAST_LINES,
        ..Config::default()
    };
    beside_a_server(config, async |hub| {
        let mut slow = dial(&hub, "slow:1", 16);
        yield_now().await;
        hub.drain();
        sleep(2 * LAST_LINES).await;
        expect(&mut slow, "welcome").await;
        assert_eq!(expect(&mut slow, "bye").await["seq"], 0);
        assert_eq!(frame(&mut slow).await, None);
    })
    .await;
}

impl Stream for DuplexStream {}

impl Stream for Counting {}

/// A pipe that counts the writes into it.
struct Counting {
    pipe: DuplexStream,
    writes: Rc<Cell<usize>>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn what_all_who_are_ready_have_sent_goes_out_in_one_write() {
    const TALKERS: usize = 50;
    beside_a_server(Config::default(), async |hub| {
        let writes = Rc::new(Cell::new(0));
        let mut clients: Vec<Client> = (0..=TALKERS)
            .map(|_| {
                let (ours, pipe) = duplex(1 << 20);
                let writes = Rc::clone(&writes);
                admit(&hub, Dialect::Ndjson, Counting { pipe, writes }, "client:1");
                BufReader::new(ours)
            })
            .collect();
        for client in &mut clients {
            expect(client, "welcome").await;
        }
        writes.set(0);
        for client in &mut clients[1..] {
            client
                .write_all(&b"{\"message\":\"x\"}\n".repeat(10))
                .await
                .unwrap();
        }
        for seq in 1..=10 * TALKERS {
            assert_eq!(expect(&mut clients[0], "relay").await["seq"], seq);
        }
        assert_eq!(writes.get(), TALKERS + 1, "one write a client");
    })
    .await;
}
