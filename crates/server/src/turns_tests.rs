use proptest::prelude::*;

use super::*;

const ROOM: usize = 1 << 20;

/// Reads all that may be read of a client that always has more; how much that was.
fn read_all(turns: &mut Turns, id: usize, share: &mut Share, end: &mut u64, growth: u64) -> usize {
    let mut all = 0;
    loop {
        let bytes = turns.may_read(share, *end, ROOM);
        if bytes == 0 {
            turns.queue(id, share);
            return all;
        }
        turns.read(share, bytes);
        *end += bytes as u64 * growth;
        all += bytes;
    }
}

fn begin_round(turns: &mut Turns, shares: &mut [Share], end: u64) -> Vec<usize> {
    let mut round = turns.begin_round(end, ROOM);
    let mut granted = Vec::new();
    while let Some(id) = turns.next(&mut round) {
        turns.grant(&mut shares[id], &round);
        granted.push(id);
    }
    granted
}

#[test]
fn alone_a_client_is_read_from_in_large_pieces_until_the_round_is_full() {
    let (mut turns, mut shares, mut end) = (Turns::new(ROOM), [Share::default()], 0);
    assert_eq!(turns.may_read(&mut shares[0], end, ROOM), READ_BYTES);
    let read = read_all(&mut turns, 0, &mut shares[0], &mut end, 1) as u64;
    assert!((ROUND_BYTES..ROUND_BYTES + READ_BYTES as u64 + 1).contains(&read));
    assert!(turns.does_anyone_wait());
    assert_eq!(begin_round(&mut turns, &mut shares, end), [0]);
    assert!(!turns.does_anyone_wait());
}

#[test]
fn who_says_little_waits_for_nobody_however_many_flood() {
    let (mut turns, mut shares) = (Turns::new(ROOM), [Share::default(); 51]);
    let mut end = 0;
    for _ in 0..100 {
        for (id, share) in shares.iter_mut().enumerate().skip(1) {
            read_all(&mut turns, id, share, &mut end, 5);
        }
        assert_eq!(turns.may_read(&mut shares[0], end, ROOM), FREE_BYTES);
        turns.read(&mut shares[0], 40);
        assert_eq!(begin_round(&mut turns, &mut shares, end).len(), 50);
    }
}

#[test]
fn what_a_round_comes_to_is_one_write_however_much_lines_grow() {
    for (clients, growth) in [(2, 1), (2, 5), (10, 1), (10, 7), (50, 5)] {
        let (mut turns, mut shares) = (Turns::new(ROOM), vec![Share::default(); clients]);
        let mut end = 0;
        for round in 0..10 {
            let began_at = end;
            for (id, share) in shares.iter_mut().enumerate() {
                read_all(&mut turns, id, share, &mut end, growth);
            }
            let grown = end - began_at;
            let free = (clients * FREE_BYTES) as u64 * growth;
            assert!(
                round == 0 || grown <= ROUND_BYTES + free,
                "{clients} x {growth}: {grown}"
            );
            begin_round(&mut turns, &mut shares, end);
        }
    }
}

#[test]
fn where_there_is_room_for_some_the_others_come_next() {
    let (mut turns, mut shares) = (Turns::new(ROOM), [Share::default(); 10]);
    let mut end = 0;
    for (id, share) in shares.iter_mut().enumerate() {
        read_all(&mut turns, id, share, &mut end, 1);
    }
    let mut served = Vec::new();
    for _ in 0..5 {
        let mut round = turns.begin_round(end, 2 * FREE_BYTES);
        while let Some(id) = turns.next(&mut round) {
            turns.grant(&mut shares[id], &round);
            served.push(id);
            // Another has filled the room meanwhile: the first to be served keeps its place.
            if served.len() == 1 {
                assert_eq!(turns.may_read(&mut shares[id], end, 0), 0);
                turns.queue(id, &mut shares[id]);
            }
        }
    }
    assert_eq!(&served[..5], [0, 0, 1, 2, 3]);
}

#[test]
fn who_leaves_the_queue_is_not_called() {
    let (mut turns, mut shares) = (Turns::new(ROOM), [Share::default(); 3]);
    let mut end = 0;
    for (id, share) in shares.iter_mut().enumerate() {
        read_all(&mut turns, id, share, &mut end, 5);
    }
    turns.leave(1, &shares[1]);
    assert_eq!(begin_round(&mut turns, &mut shares, end), [0, 2]);
}

proptest! {
    /// Whoever comes in what order and with how much: all who always want more get the same.
    #[test]
    fn who_always_wants_more_gets_as_much_as_the_others(
        clients in 2_usize..60,
        growth in 1_u64..8,
        orders in prop::collection::vec(any::<prop::sample::Index>(), 50),
    ) {
        let (mut turns, mut shares) = (Turns::new(ROOM), vec![Share::default(); clients]);
        let mut got = vec![0; clients];
        let mut end = 0;
        for (round, first) in orders.iter().enumerate() {
            for k in 0..clients {
                let id = (first.index(clients) + k) % clients;
                let read = read_all(&mut turns, id, &mut shares[id], &mut end, growth);
                // In the first round nobody queues yet, and the first to come gets more.
                got[id] += if round == 0 { 0 } else { read };
            }
            begin_round(&mut turns, &mut shares, end);
        }
        let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
        prop_assert_eq!(least, most);
    }
}
