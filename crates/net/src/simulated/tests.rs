use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7000);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

async fn pair(conditions: Conditions) -> (Stream, Stream) {
    let network = Network::new(1, conditions);
    let mut listener = network.listen(ADDRESS).unwrap();
    let (client, (server, peer)) = tokio::join!(network.connect(ADDRESS), listener.accept());
    let client = client.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(server.local_addr().unwrap(), ADDRESS);
    (client, server)
}

fn slow() -> Conditions {
    Conditions {
        delay: ms(10)..=ms(10),
        ..Conditions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_after_the_delay_and_the_end_after_them() {
    let begun = Instant::now();
    let (mut client, mut server) = pair(slow()).await;
    assert_eq!(begun.elapsed(), ms(20), "there and back");
    client.write_all(b"hello").await.unwrap();
    client.half_close();
    assert_eq!(server.unread_bytes(), Some(0));
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
    assert_eq!(begun.elapsed(), ms(30));
    let written = client.write_all(b"more").await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    server.write_all(b"bye").await.unwrap();
    drop(server);
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hellobye");
}

#[tokio::test(start_paused = true)]
async fn who_writes_waits_for_who_reads() {
    let conditions = Conditions {
        buffer_bytes: 90,
        ..slow()
    };
    let (mut client, mut server) = pair(conditions).await;
    assert_eq!(client.try_write(&[7; 100]).unwrap(), 90);
    let full = client.try_write(&[7; 10]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let begun = Instant::now();
    let reader = async {
        tokio::time::sleep(ms(100)).await;
        server.read_exact(&mut [0; 29]).await.unwrap();
        tokio::time::sleep(ms(100)).await;
        server.read_exact(&mut [0; 1]).await.unwrap();
    };
    let writer = async {
        poll_fn(|cx| client.poll_write_ready(cx)).await.unwrap();
        begun.elapsed()
    };
    let ((), waited) = tokio::join!(reader, writer);
    assert_eq!(waited, ms(200), "until a third is free");
}

#[tokio::test(start_paused = true)]
async fn closing_with_input_unread_resets_and_so_does_asking_for_it() {
    for asked in [false, true] {
        for (reset_discards, heard) in [(false, &b"last words"[..]), (true, b"")] {
            let conditions = Conditions {
                reset_discards,
                ..Conditions::default()
            };
            let (mut client, mut server) = pair(conditions).await;
            server.write_all(b"last words").await.unwrap();
            match asked {
                true => server.reset_when_closed(),
                false => client.write_all(b"unread").await.unwrap(),
            }
            drop(server);
            let mut read = Vec::new();
            let end = client.read_to_end(&mut read).await.unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(read, heard);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn writing_to_who_has_closed_is_answered_with_a_reset() {
    let (mut client, server) = pair(slow()).await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "its end");
    client.write_all(b"anyone?").await.unwrap();
    tokio::time::sleep(ms(20)).await;
    let written = client.write_all(b"anyone?").await;
    assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn nothing_arrives_in_a_partition_and_all_of_it_after() {
    let begun = Instant::now();
    let conditions = Conditions {
        partitions: vec![Partition {
            time: begun + ms(30)..=begun + ms(500),
            one_in: 1,
        }],
        ..slow()
    };
    let (mut client, mut server) = pair(conditions).await;
    client.write_all(b"a").await.unwrap();
    tokio::time::sleep(ms(100)).await;
    client.write_all(b"b").await.unwrap();
    server.read_exact(&mut [0; 2]).await.unwrap();
    assert_eq!(begun.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_connected_where_nobody_listens() {
    let network = Network::new(1, slow());
    let refused = network.connect(ADDRESS).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let listener = network.listen(ADDRESS).unwrap();
    let taken = network.listen(ADDRESS).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    let mut waiting = network.connect(ADDRESS).await.unwrap();
    drop(listener);
    let reset = waiting.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    network.listen(ADDRESS).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_moved_in_pieces_comes_whole_and_the_same_way_again() {
    let mut ways = Vec::new();
    for _ in 0..2 {
        let conditions = Conditions {
            partial: 0.5,
            piece_bytes: 40,
            buffer_bytes: 100,
            delay: ms(0)..=ms(5),
            ..Conditions::default()
        };
        let (mut client, mut server) = pair(conditions).await;
        let sent: Vec<u8> = (0..=255).collect();
        let writer = async {
            client.write_all(&sent).await.unwrap();
            client.half_close();
        };
        let reader = async {
            let mut pieces = Vec::new();
            let mut piece = [0; 64];
            loop {
                match server.read(&mut piece).await.unwrap() {
                    0 => return pieces,
                    bytes => pieces.push(piece[..bytes].to_vec()),
                }
            }
        };
        let ((), pieces) = tokio::join!(writer, reader);
        assert_eq!(pieces.concat(), sent);
        assert!(pieces.iter().all(|piece| piece.len() <= 40));
        ways.push(pieces);
    }
    assert_eq!(ways[0], ways[1]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_network_breaks_is_reset_for_both_and_nothing_arrives_after() {
    for (reset_discards, heard) in [(false, &b"before"[..]), (true, b"")] {
        let conditions = Conditions {
            breaks: vec![Break {
                at: Instant::now() + ms(45),
                one_in: 1,
            }],
            reset_discards,
            ..slow()
        };
        let (mut client, mut server) = pair(conditions).await;
        client.write_all(b"before").await.unwrap();
        tokio::time::sleep(ms(20)).await;
        client.write_all(b"too late").await.unwrap();
        tokio::time::sleep(ms(20)).await;
        let mut read = Vec::new();
        let end = server.read_to_end(&mut read).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(read, heard);
        let end = client.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        let written = client.write_all(b"later").await.unwrap_err();
        assert_eq!(written.kind(), io::ErrorKind::BrokenPipe);
    }
}
