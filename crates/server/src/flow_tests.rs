//! Servers whose readers, publishers and limits are drawn by lot, in paused time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::super::accept::admit;
use super::super::connection::{flush, watch_stuck};
use super::super::hub::{HANGING_UP, Hub, LAST_LINES, LEAVING, STALLED};
use super::super::pace::{BRISK_TIME, LEAST_PATIENCE, PATIENCE, RECOVERY};
use super::super::{Config, Stats};
use chatbench_wire::Dialect;

const PIPE_BYTES: usize = 1024;

fn config() -> Config {
    Config {
        max_line_bytes: 512,
        backlog_bytes: 64 * 1024,
        ..Config::default()
    }
}

type ServerHub = Rc<Hub<DuplexStream>>;

fn beside_a_server<T>(config: Config, test: impl AsyncFnOnce(ServerHub) -> T) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let hub = Rc::new(Hub::new(config));
    hub.expect_classic();
    let tasks = LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        spawn_local(flush(Rc::clone(&hub)));
        spawn_local(watch_stuck(Rc::clone(&hub)));
        let in_time = timeout(Duration::from_secs(24 * 3600), test(hub)).await;
        in_time.expect("what the test waits for does not come")
    }))
}

fn dial(hub: &ServerHub, name: &str) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (ours, theirs) = duplex(PIPE_BYTES);
    admit(hub, Dialect::Ndjson, theirs, name);
    split(ours)
}

/// Reads to the end: so much, then a pause, and again. What came.
fn read_at(mut from: ReadHalf<DuplexStream>, bytes: usize, pause: Duration) -> JoinHandle<Vec<u8>> {
    spawn_local(async move {
        let (mut all, mut buffer) = (Vec::new(), vec![0; bytes]);
        loop {
            match from.read(&mut buffer).await {
                Ok(0) | Err(_) => return all,
                Ok(n) => all.extend_from_slice(&buffer[..n]),
            }
            if pause > Duration::ZERO {
                sleep(pause).await;
            }
        }
    })
}

/// A client that has asked to join the room, if all happens there.
async fn dial_in(
    in_room: bool,
    hub: &ServerHub,
    name: &str,
) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
    let (from, mut to) = dial(hub, name);
    if in_room {
        to.write_all(b"{\"join\":\"r\"}\n").await.unwrap();
    }
    (from, to)
}

/// What a client publishes that floods the others.
fn flooding_lines(in_room: bool) -> Vec<u8> {
    match in_room {
        false => b"{\"message\":\"of which there are many more\"}\n".repeat(4),
        true => b"{\"message\":\"of which there are many more\",\"room\":\"r\"}\n".repeat(4),
    }
}

/// Publishes without end. The longest that it had to wait until more was taken from it.
fn flood(mut to: WriteHalf<DuplexStream>, until: Instant, in_room: bool) -> JoinHandle<Duration> {
    spawn_local(async move {
        let lines = flooding_lines(in_room);
        let mut longest = Duration::ZERO;
        while Instant::now() < until {
            let begun = Instant::now();
            if to.write_all(&lines).await.is_err() {
                break;
            }
            longest = longest.max(begun.elapsed());
            yield_now().await;
            // Time passes only where nobody has anything to do.
            sleep(Duration::from_millis(1)).await;
        }
        let _ = to.shutdown().await;
        longest
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whoever reads, be it slowly, gets everything, beside any number of publishers that send as
    /// fast as they can; and every publisher gets its turn.
    #[test]
    fn nobody_who_reads_is_cut_off_and_every_publisher_is_served(
        readers in prop::collection::vec((1_usize..8, 0_u64..150), 1..6),
        flooders in 1_usize..6,
        in_room: bool,
    ) {
        let outcome = beside_a_server(config(), async |hub| {
            let mut reading = Vec::new();
            for &(eighths, pause) in &readers {
                // 8 KiB a second at the least; steady is 1 KiB in a second here.
                let bytes = PIPE_BYTES * eighths / 8 + 1024;
                let (from, to) = dial_in(in_room, &hub, "reader:1").await;
                reading.push((read_at(from, bytes, Duration::from_millis(pause)), to));
            }
            let until = Instant::now() + Duration::from_secs(20);
            let mut flooding = Vec::new();
            for _ in 0..flooders {
                let (from, to) = dial_in(in_room, &hub, "flooder:1").await;
                let reading = read_at(from, PIPE_BYTES, Duration::ZERO);
                flooding.push((reading, flood(to, until, in_room)));
            }
            let mut waits = Vec::new();
            for (reading, flooding) in flooding {
                waits.push(flooding.await.unwrap());
                reading.await.unwrap();
            }
            let published = hub.stats().published;
            for (reading, mut to) in reading {
                to.shutdown().await.unwrap();
                let all = reading.await.unwrap();
                let (goodbye, beside) = match in_room {
                    false => (format!("{{\"type\":\"bye\",\"seq\":{published}}}\n"), 2),
                    true => (
                        format!(
                            "{{\"type\":\"left\",\"room\":\"r\",\"seq\":{published}}}\n\
                             {{\"type\":\"bye\",\"seq\":0}}\n"
                        ),
                        4,
                    ),
                };
                prop_assert!(text(&all).ends_with(&goodbye));
                prop_assert_eq!(text(&all).lines().count() as u64, published + beside);
            }
            prop_assert_eq!(hub.stats().slow_consumers, 0);
            prop_assert!(published > 0);
            // A pipe's worth of its lines, through the slowest reader, in a turn of each.
            let bound = 10 * PATIENCE;
            prop_assert!(waits.iter().all(|wait| *wait < bound), "{waits:?}");
            Ok(())
        });
        outcome?;
    }

    /// Whatever number of clients stops reading, together or one after the other: the publishers
    /// wait for no longer than is stated.
    #[test]
    fn who_stops_reading_delays_the_others_no_longer_than_is_stated(
        stuck in 1_usize..40,
        together: bool,
        sips in prop_oneof![Just(0_u64), 1_u64..400],
        in_room: bool,
    ) {
        let outcome = beside_a_server(config(), async |hub| {
            let (from, to) = dial_in(in_room, &hub, "reader:1").await;
            let reading = read_at(from, PIPE_BYTES, Duration::ZERO);
            let (acks, publish) = dial_in(in_room, &hub, "flooder:1").await;
            let acks = read_at(acks, PIPE_BYTES, Duration::ZERO);
            let begun = Instant::now();
            let waits = Rc::new(RefCell::new(Vec::new()));
            let flooding = spawn_local(keep_flooding(publish, in_room, Rc::clone(&waits)));
            let mut cut_off = Vec::new();
            for _ in 0..stuck {
                let (from, to) = dial_in(in_room, &hub, "stuck:1").await;
                // A byte from time to time, "to make progress".
                let pause = Duration::from_millis(if sips == 0 { 1 << 40 } else { sips });
                cut_off.push((read_at(from, 1, pause), to));
                if !together {
                    let already = hub.stats().slow_consumers;
                    while hub.stats().slow_consumers == already {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            while hub.stats().slow_consumers < stuck as u64 {
                sleep(Duration::from_millis(1)).await;
            }
            let took = begun.elapsed();
            flooding.abort();
            drop((reading, acks, to));
            let waits = waits.borrow();
            // Each alone: while it is brisk, and then for as long as there is patience. Whoever
            // sips may have taken enough once more when the others already waited, and is given
            // its time anew: once, as it does not take so much again within that time.
            let longest = waits.iter().max().copied().unwrap_or_default();
            let times = if sips == 0 { 1 } else { 2 };
            prop_assert!(longest <= PATIENCE * times + 2 * BRISK_TIME, "{longest:?}");
            // All of them: twice the patience and the least for each, as often as it comes back.
            let regained = PATIENCE * (took.as_secs() / RECOVERY.as_secs()) as u32;
            let patience = (2 * PATIENCE + regained + LEAST_PATIENCE * stuck as u32) * times;
            let bound = patience + 2 * BRISK_TIME * stuck as u32;
            let waited: Duration = waits.iter().sum();
            prop_assert!(waited <= bound, "{waited:?} in {took:?} of {stuck}");
            Ok(())
        });
        outcome?;
    }

    /// Every bound is drawn so small that it is reached often. Whatever clients do: once they have
    /// gone, nothing is left of them.
    #[test]
    fn whatever_clients_do_nothing_is_left_of_them(
        limits in limits(),
        deeds in prop::collection::vec(deed(), 1..40),
        politely: bool,
    ) {
        let reached = beside_a_server(limits.clone(), async |hub| {
            let mut present = Vec::new();
            for deed in deeds {
                deed.commit(&hub, &mut present).await;
            }
            let stats = hub.stats();
            prop_assert!(stats.clients <= limits.max_clients as u64);
            prop_assert!(stats.unfinished_bytes <= limits.max_unfinished_bytes as u64);
            prop_assert!(stats.backlog_bytes <= 3 * limits.backlog_bytes as u64);
            if politely {
                for client in &mut present {
                    let _ = client.shutdown().await; // and it reads nothing any more
                }
            } else {
                present.clear();
            }
            let begun = Instant::now();
            hub.empty().await;
            let bound = STALLED + LEAVING + LAST_LINES + HANGING_UP + PATIENCE + Duration::from_secs(2);
            prop_assert!(begun.elapsed() <= bound, "{:?}", begun.elapsed());
            // A newcomer finds the server as it was, and makes it forget what was kept.
            let mut probe = Deed::join(&hub).unwrap_or_else(|| panic!("nobody is there"));
            probe.write_all(b"{\"message\":\"still well\"}\n").await.unwrap();
            let mut answer = vec![0; 400];
            let mut got = 0;
            while !text(&answer[..got]).contains("\"ack\"") {
                got += probe.read(&mut answer[got..]).await.unwrap();
            }
            drop(probe);
            hub.empty().await;
            let stats = hub.stats();
            prop_assert_eq!((stats.clients, stats.backlog_bytes, stats.unfinished_bytes), (0, 0, 0));
            prop_assert_eq!((stats.rooms, stats.memberships), (0, 0));
            Ok(stats)
        });
        reached?;
    }
}

async fn keep_flooding(
    mut to: WriteHalf<DuplexStream>,
    in_room: bool,
    waits: Rc<RefCell<Vec<Duration>>>,
) {
    let lines = flooding_lines(in_room);
    loop {
        let begun = Instant::now();
        if to.write_all(&lines).await.is_err() {
            return;
        }
        // Less is no wait: the server looks again every 10 ms.
        let wait = begun.elapsed();
        if wait > Duration::ZERO {
            waits.borrow_mut().push(wait);
        }
        sleep(Duration::from_micros(100)).await;
    }
}

fn limits() -> impl Strategy<Value = Config> {
    let backlog = prop_oneof![Just(1024_usize), 1024_usize..16 * 1024];
    (backlog, 1_usize..6, 1_u32..4, 512_usize..2048).prop_map(
        |(backlog_bytes, max_clients, max_errors, max_unfinished_bytes)| Config {
            max_line_bytes: 512,
            backlog_bytes,
            max_clients,
            max_errors,
            max_unfinished_bytes,
            ..Config::default()
        },
    )
}

/// What a client does.
#[derive(Debug, Clone)]
enum Deed {
    Join,
    /// Sends bytes, whether they are taken or not, and perhaps reads what comes meanwhile.
    Send(prop::sample::Index, Vec<u8>, bool),
    Read(prop::sample::Index, usize),
    HalfClose(prop::sample::Index),
    Reset(prop::sample::Index),
    Wait(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = any::<prop::sample::Index>;
    let publish = b"{\"message\":\"some words, to fill what is kept\"}\n";
    let in_room = b"{\"message\":\"some words, to fill what is kept\",\"room\":\"r\"}\n";
    let bytes = prop_oneof![
        4 => (1_usize..200).prop_map(|times| in_room.repeat(times)),
        3 => Just(b"{\"join\":\"r\"}\n{\"join\":\"s\"}\n".to_vec()),
        1 => Just(b"{\"leave\":\"r\"}\n{\"join\":\"r\"}\n".to_vec()),
        4 => (1_usize..200).prop_map(|times| publish.repeat(times)),
        2 => (1_usize..500).prop_map(|length| vec![b'x'; length]),
        1 => Just(vec![b'x'; 512]),
        2 => (1_usize..5).prop_map(|times| b"garbage\n".repeat(times)),
        1 => Just(b"POST / HTTP/1.1\r\n\r\n{\"message\":\"x\"}\n".to_vec()),
    ];
    prop_oneof![
        4 => Just(Deed::Join),
        10 => (who(), bytes, any::<bool>())
            .prop_map(|(who, bytes, reads)| Deed::Send(who, bytes, reads)),
        2 => (who(), 1_usize..4000).prop_map(|(who, bytes)| Deed::Read(who, bytes)),
        1 => who().prop_map(Deed::HalfClose),
        1 => who().prop_map(Deed::Reset),
        2 => (1_u64..40_000).prop_map(Deed::Wait),
    ]
}

impl Deed {
    /// A connection, unless the server turned it away.
    fn join(hub: &ServerHub) -> Option<DuplexStream> {
        let refused = hub.stats().refused;
        let (ours, theirs) = duplex(PIPE_BYTES);
        admit(hub, Dialect::Ndjson, theirs, "client:1");
        (hub.stats().refused == refused).then_some(ours)
    }

    async fn commit(self, hub: &ServerHub, present: &mut Vec<DuplexStream>) {
        let moment = Duration::from_millis(1);
        match self {
            Self::Join => present.extend(Self::join(hub)),
            Self::Wait(ms) => sleep(Duration::from_millis(ms)).await,
            _ if present.is_empty() => {}
            Self::Send(who, bytes, reads) => {
                let (mut from, mut to) = split(who.get_mut(present));
                let mut nowhere = [0; 1024];
                let reading =
                    async { while reads && from.read(&mut nowhere).await.is_ok_and(|n| n > 0) {} };
                let sending = timeout(2 * PATIENCE, to.write_all(&bytes));
                tokio::select! { () = reading, if reads => {}, _ = sending => {} }
            }
            Self::Read(who, bytes) => {
                let mut into = vec![0; bytes];
                let client = who.get_mut(present);
                let _ = timeout(moment, client.read_exact(&mut into)).await;
            }
            Self::HalfClose(who) => {
                let client = who.get_mut(present);
                let _ = timeout(moment, client.shutdown()).await;
            }
            Self::Reset(who) => {
                present.swap_remove(who.index(present.len()));
            }
        }
    }
}

#[test]
fn full_sockets_are_tried_in_turn_so_many_a_pass() {
    let mut flow = super::Flow::new(&config());
    let mut tried: Vec<Vec<usize>> = Vec::new();
    for pass in 0..4 {
        let try_full = pass != 1; // a pass that tries none loses nobody's turn
        let mut tries = flow.tries(try_full);
        tried.push(
            (0..200)
                .filter(|&id| tries.take_one(id, || id % 2 == 0))
                .collect(),
        );
        flow.try_from = tries.next;
    }
    let even = |from: usize, to: usize| (from..to).filter(|id| id % 2 == 0).collect::<Vec<_>>();
    assert_eq!(tried, [even(0, 128), vec![], even(128, 200), even(0, 128)]);
}

/// How often bounds are reached in what the test above draws: or it would test nothing.
#[test]
fn the_bounds_that_are_drawn_are_reached() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    const HISTORIES: u32 = 100;
    let mut runner = TestRunner::deterministic();
    let histories = (limits(), prop::collection::vec(deed(), 20..40));
    let mut reached = [0; 5];
    for _ in 0..HISTORIES {
        let (limits, deeds) = histories.new_tree(&mut runner).unwrap().current();
        let Stats {
            refused,
            slow_consumers,
            errors,
            aborted,
            published,
            ..
        } = beside_a_server(limits, async |hub| {
            let mut present = Vec::new();
            for deed in deeds {
                deed.commit(&hub, &mut present).await;
            }
            hub.stats()
        });
        for (reached, count) in
            reached
                .iter_mut()
                .zip([refused, slow_consumers, errors, aborted, published])
        {
            *reached += u32::from(count > 0);
        }
    }
    let [full, slow, errors, aborted, published] = reached;
    assert!(full > HISTORIES / 4, "{full} found the server full");
    assert!(slow > HISTORIES / 4, "{slow} had a slow consumer");
    assert!(errors > HISTORIES / 2, "{errors} had an error");
    assert!(
        aborted > HISTORIES / 2,
        "{aborted} had an end without all that was owed"
    );
    assert!(published > HISTORIES / 2, "{published} had a message");
}
