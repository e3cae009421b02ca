//! Bytes that a connection of TLS has allocated, on either side, idle and after traffic:
//! `cargo run -p chatbench-net --example tls_memory`.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement that cannot go on says where

use std::time::Duration;

use chatbench_net::tls::{Acceptor, ClientSettings, Identity, Trust};
use chatbench_net::{Listener, Net, Stream};
use peak_alloc::PeakAlloc;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Connections, whose mean it is.
const CONNECTIONS: usize = 400;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let path = std::env::temp_dir().join(format!("chatbench-{}.pem", std::process::id()));
    std::fs::write(&path, certificate.pem() + &key.serialize_pem()).unwrap();
    let identity = Identity {
        cert: path.clone(),
        key: path.clone(),
    };
    let trust = Trust {
        cacert: Some(path.clone()),
        insecure: false,
    };
    let within = Duration::from_secs(10);
    let acceptor = Acceptor::read(&identity, &[], within).unwrap();
    let settings = ClientSettings::read(&trust, None, &[]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let secure = Net::Tls(settings.connector("127.0.0.1", within).unwrap());
    println!("bytes allocated per connection    client    server");
    measure("TCP", &Net::System, |socket| socket).await;
    measure("TLS 1.3", &secure, |socket| socket.with_tls(acceptor)).await;
}

async fn measure(name: &str, net: &Net, prepare: impl FnOnce(Listener) -> Listener) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listener = prepare(socket.into());
    // What is allocated once for all of them is by the first.
    let mut first = connect(net, &mut listener, address).await;
    talk(&mut first).await;
    let mut clients = Vec::with_capacity(CONNECTIONS);
    let mut servers = Vec::with_capacity(CONNECTIONS);
    for when in ["idle", "after traffic"] {
        for _ in clients.len()..CONNECTIONS {
            let (client, server) = connect(net, &mut listener, address).await;
            clients.push(client);
            servers.push(server);
        }
        if when != "idle" {
            for (client, server) in clients.drain(..).zip(servers.drain(..)).collect::<Vec<_>>() {
                let mut both = (client, server);
                talk(&mut both).await;
                clients.push(both.0);
                servers.push(both.1);
            }
        }
        let all = ALLOCATED.current_usage();
        clients.clear();
        let without_clients = ALLOCATED.current_usage();
        servers.clear();
        let without = ALLOCATED.current_usage();
        let each = |before: usize, after: usize| before.saturating_sub(after) / CONNECTIONS;
        println!(
            "{name:<10} {when:<16} {:>12} {:>9}",
            each(all, without_clients),
            each(without_clients, without)
        );
    }
}

async fn connect(
    net: &Net,
    listener: &mut Listener,
    address: std::net::SocketAddr,
) -> (Stream, Stream) {
    let (client, server) = tokio::join!(net.connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// Something goes each way.
async fn talk((client, server): &mut (Stream, Stream)) {
    let mut heard = vec![0; 20_000];
    for _ in 0..3 {
        let said = vec![7; 20_000];
        let (written, read) = tokio::join!(client.write_all(&said), server.read_exact(&mut heard));
        written.unwrap();
        read.unwrap();
        let (written, read) = tokio::join!(server.write_all(&said), client.read_exact(&mut heard));
        written.unwrap();
        read.unwrap();
    }
}
