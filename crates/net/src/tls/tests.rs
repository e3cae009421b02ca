//! TLS against itself, and against rustls' own streams as the other end.

use std::io::{IoSlice, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::accept::Limits;
use super::*;
use crate::{Listener, Net};

/// More than any of these tests takes.
const AMPLE: Duration = Duration::from_secs(20);

/// A directory that is gone with the value.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "chatbench-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority, and a directory for what it issues.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: Files,
    cacert: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Files::new();
        let cacert = files.write("ca.pem", &issuer.pem());
        Self {
            issuer,
            files,
            cacert,
        }
    }

    fn issue(&self, name: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            cert: self.files.write(&format!("{name}.pem"), &cert.pem()),
            key: (self.files).write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    fn server(&self) -> Identity {
        self.issue("server", &named("127.0.0.1"))
    }

    fn trust(&self) -> Trust {
        Trust {
            cacert: Some(self.cacert.clone()),
            insecure: false,
        }
    }
}

fn named(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn acceptor(identity: &Identity) -> Acceptor {
    Acceptor::read(identity, &[], AMPLE).unwrap()
}

fn connector(trust: &Trust) -> Connector {
    let settings = ClientSettings::read(trust, None, &[]).unwrap();
    settings.connector("127.0.0.1", AMPLE).unwrap()
}

async fn bound() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn listener(acceptor: Acceptor) -> (Listener, SocketAddr) {
    let (socket, address) = bound().await;
    (Listener::from(socket).with_tls(acceptor), address)
}

async fn pair() -> (Stream, Stream) {
    let authority = Authority::new();
    let (mut listener, address) = listener(acceptor(&authority.server())).await;
    let net = Net::Tls(connector(&authority.trust()));
    let (client, server) = tokio::join!(net.connect(address), listener.accept());
    let (server, peer) = server.unwrap();
    let client = client.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

/// The bytes that a stream of `count` consists of: no two pieces of it are alike.
fn bytes(count: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(count).collect()
}

/// Why connecting with `trust` to a server that goes by `identity` fails, and what that server has
/// to say.
async fn refused(identity: &Identity, trust: &Trust) -> (String, String) {
    let (mut listener, address) = listener(acceptor(identity)).await;
    let net = Net::Tls(connector(trust));
    let (client, server) = tokio::join!(net.connect(address), listener.accept());
    let server = server.unwrap_err();
    assert_eq!(server.kind(), io::ErrorKind::ConnectionAborted);
    (client.unwrap_err().to_string(), server.to_string())
}

#[tokio::test]
async fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"hello").await.unwrap();
    client.half_close();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"hello");
    let late = client.try_write(b"more").unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    server.write_all(b"welcome, ").await.unwrap();
    assert_eq!(server.send_now(b"bye").unwrap(), 3);
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"welcome, bye");
    assert_eq!(client.unread_bytes(), Some(0));
}

#[tokio::test]
async fn a_read_takes_no_more_than_it_has_room_for_and_the_rest_is_unread() {
    let (mut client, mut server) = pair().await;
    server.write_all(b"0123456789").await.unwrap();
    let mut some = [0; 4];
    client.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"0123");
    let mut rest = [0; 6];
    client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"456789");
    assert_eq!(client.unread_bytes(), Some(0));
}

/// Ways to write, each until `sent` is gone, and each like one of the callers.
async fn write_all(stream: &mut Stream, mut rest: &[u8], how: usize) {
    // Pieces of many lengths, shorter and longer than a record and than one write.
    let lengths = [1, 2, 700, 16_384, 16_385, 70_000, 260_000];
    for length in lengths.into_iter().cycle() {
        if rest.is_empty() {
            return;
        }
        let (mut piece, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        while !piece.is_empty() {
            let written = match how {
                0 => stream.try_write(piece),
                1 => stream.send_now(piece),
                _ => {
                    let (a, b) = piece.split_at(piece.len() / 3);
                    let slices = [IoSlice::new(a), IoSlice::new(&[]), IoSlice::new(b)];
                    stream.write_vectored(&slices).await
                }
            };
            match written {
                Ok(count) => piece = &piece[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::future::poll_fn(|cx| stream.poll_write_ready(cx))
                        .await
                        .unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn a_writer_with_nothing_left_to_offer_may_vanish_and_all_of_it_arrives() {
    for how in 0..3 {
        let (client, mut server) = pair().await;
        // So that many writes end within a record.
        SockRef::from(tls(&server).socket())
            .set_send_buffer_size(4096)
            .unwrap();
        let sent = bytes(3_000_000);
        let reader = tokio::spawn(async move {
            let mut client = client;
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            heard
        });
        write_all(&mut server, &sent, how).await;
        assert!(!tls(&server).holds_anything(), "all is with the kernel");
        drop(server);
        assert!(reader.await.unwrap() == sent, "by way {how}");
    }
}

#[tokio::test]
async fn a_full_socket_holds_back_one_byte_which_has_to_be_offered_again() {
    let (mut client, mut server) = pair().await;
    let sent = bytes(8_000_000);
    let mut at = 0;
    let full = loop {
        match server.send_now(&sent[at..]) {
            Ok(count) => at += count,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let mut heard = vec![0; at + 1];
    let writable = std::future::poll_fn(|cx| server.poll_write_ready(cx));
    let (read, written) = tokio::join!(client.read_exact(&mut heard), writable);
    read.unwrap();
    written.unwrap();
    assert!(heard == sent[..=at], "the byte held back was under way");
    let others = server.try_write(&[!sent[at]]).unwrap_err();
    assert_eq!(others.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_reset_is_one_and_an_end_within_a_record_is_an_error() {
    let (mut client, mut server) = pair().await;
    server.reset_when_closed();
    drop(server);
    let reset = client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);

    let (mut client, server) = pair().await;
    tls(&server)
        .socket()
        .try_write(&[23, 3, 3, 0, 100, 1])
        .unwrap();
    SockRef::from(tls(&server).socket())
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let cut = client.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn the_end_of_tcp_alone_is_an_end_too() {
    let (mut client, server) = pair().await;
    SockRef::from(tls(&server).socket())
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

/// Serves one connection by rustls' own stream, on a thread: sends back what comes, and changes its
/// keys after each piece.
fn echo(config: Arc<ServerConfig>) -> (SocketAddr, JoinHandle<usize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let mut total = 0;
        let mut piece = vec![0; 50_000];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    stream.write_all(&piece[..count]).unwrap();
                    if stream.conn.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
                        stream.conn.refresh_traffic_keys().unwrap();
                    }
                    total += count;
                }
                Err(error) => panic!("{error}"),
            }
        }
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        total
    });
    (address, thread)
}

#[tokio::test]
async fn rustls_own_streams_understand_it_in_both_versions() {
    let authority = Authority::new();
    let (chain, key) = files::identity(&authority.server()).unwrap();
    for version in [&TLS12, &TLS13] {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .unwrap();
        // With tickets, which come after the handshake and are to be read over.
        let (address, echo) = echo(Arc::new(config));
        let net = Net::Tls(connector(&authority.trust()));
        let client = net.connect(address).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(client);
        let sent = bytes(1_000_000);
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            heard
        });
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
        assert!(heard.await.unwrap() == sent, "{version:?}");
        assert_eq!(echo.join().unwrap(), sent.len());
    }
}

#[tokio::test]
async fn who_is_slow_at_shaking_hands_or_speaks_something_else_holds_up_nobody() {
    let authority = Authority::new();
    let (mut listener, address) = listener(acceptor(&authority.server())).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let foreign = listener.accept().await.unwrap_err();
    assert_eq!(foreign.kind(), io::ErrorKind::ConnectionAborted);
    assert_eq!(
        foreign.to_string(),
        format!(
            "{}: it does not speak TLS: it sent \"GET / HTTP/1.1\\r\\nHost: x\"",
            plain.local_addr().unwrap()
        )
    );
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert_eq!(answer[..3], [21, 3, 3], "an alert of TLS");
    let net = Net::Tls(connector(&authority.trust()));
    let (client, server) = tokio::join!(net.connect(address), listener.accept());
    client.unwrap();
    server.unwrap();
}

#[tokio::test]
async fn a_handshake_ends_in_time_and_sooner_where_others_wait() {
    let authority = Authority::new();
    let identity = authority.server();
    let brief = Acceptor::read(&identity, &[], Duration::from_millis(20)).unwrap();
    let (mut brief, address) = listener(brief).await;
    let silent = TcpStream::connect(address).await.unwrap();
    let error = brief.accept().await.unwrap_err().to_string();
    let peer = silent.local_addr().unwrap();
    let words = "no answer to TLS within 0.02 s: does it speak TLS?";
    assert_eq!(error, format!("{peer}: {words}"));

    let (socket, address) = bound().await;
    let limits = Limits {
        handshakes: 2,
        undisturbed: Duration::from_millis(20),
    };
    let mut full = Accepting::within(socket, acceptor(&identity), limits);
    let mut hanging = Vec::new();
    for _ in 0..2 {
        hanging.push(TcpStream::connect(address).await.unwrap());
    }
    let net = Net::Tls(connector(&authority.trust()));
    let (client, server) = tokio::join!(net.connect(address), full.accept());
    client.unwrap();
    server.unwrap();
    assert_eq!(
        hanging[0].read(&mut [0; 1]).await.unwrap(),
        0,
        "the longest was given up"
    );
}

#[tokio::test]
async fn a_target_that_speaks_no_tls_is_told_by_what_it_says_or_does_not() {
    let authority = Authority::new();
    let fails = async |within: Duration, answer: &'static [u8], closes: bool| {
        let (socket, address) = bound().await;
        let settings = ClientSettings::read(&authority.trust(), None, &[]).unwrap();
        let net = Net::Tls(settings.connector("127.0.0.1", within).unwrap());
        let server = async {
            let (mut stream, _) = socket.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            if closes {
                let _ = stream.read(&mut [0; 4096]).await;
                return None;
            }
            Some(stream)
        };
        let (client, _server) = tokio::join!(net.connect(address), server);
        client.unwrap_err().to_string()
    };
    assert_eq!(
        fails(
            AMPLE,
            b"{\"welcome\":\"127.0.0.1:5\",\"seq\":0,\"max_line\":65536}\n",
            false
        )
        .await,
        "it does not speak TLS: it sent \"{\\\"welcome\\\":\\\"127.0.0.1:5\\\",\\\"seq\\\":0,\\\"max_li\"…: use \
         the URL of plain TCP, or the port that speaks TLS"
    );
    assert_eq!(
        fails(AMPLE, b"", true).await,
        "it closed the connection at the beginning of a TLS handshake: does it speak TLS?"
    );
    assert_eq!(
        fails(Duration::from_millis(20), b"", false).await,
        "no answer to TLS within 0.02 s: does it speak TLS?"
    );
}

#[tokio::test]
async fn a_certificate_that_is_not_accepted_is_told_with_the_reason() {
    let authority = Authority::new();
    let (stranger, heard) = refused(&authority.server(), &Trust::default()).await;
    assert!(
        stranger.starts_with("its certificate is signed by nobody who is trusted here"),
        "{stranger}"
    );
    assert!(
        heard.contains("it does not accept this server's certificate"),
        "{heard}"
    );

    let mut params = named("127.0.0.1");
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let (expired, _) = refused(&authority.issue("expired", &params), &authority.trust()).await;
    assert!(expired.starts_with("its certificate expired "), "{expired}");
    assert!(
        expired.ends_with(" days ago: it needs a new one"),
        "{expired}"
    );

    let mut params = named("127.0.0.1");
    (params.not_before, params.not_after) = (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1));
    let (early, _) = refused(&authority.issue("early", &params), &authority.trust()).await;
    assert!(
        early.ends_with(" days from now on: is a clock wrong?"),
        "{early}"
    );

    let mut params =
        CertificateParams::new(vec!["a.example".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let other = authority.issue("other", &params);
    let (other_name, _) = refused(&other, &authority.trust()).await;
    assert_eq!(
        other_name,
        "its certificate is for a.example, 10.0.0.1, not for 127.0.0.1: connect by a name of it, or \
         give one as server_name"
    );
}

#[tokio::test]
async fn it_is_accepted_by_any_name_of_it_and_by_anyone_who_does_not_ask() {
    let authority = Authority::new();
    let identity = authority.issue("other", &named("a.example"));
    let accepted = async |trust: Trust, name: &str| {
        let (mut listener, address) = listener(acceptor(&identity)).await;
        let settings = ClientSettings::read(&trust, None, &[]).unwrap();
        let net = Net::Tls(settings.connector(name, AMPLE).unwrap());
        let (client, _) = tokio::join!(net.connect(address), listener.accept());
        client.is_ok()
    };
    let insecure = Trust {
        cacert: None,
        insecure: true,
    };
    assert!(accepted(authority.trust(), "a.example").await);
    assert!(!accepted(authority.trust(), "b.example").await);
    assert!(accepted(insecure, "b.example").await);
}

/// What `openssl req -x509` makes: an authority's certificate, by its own key, for a name.
#[tokio::test]
async fn an_authoritys_own_certificate_is_accepted_where_it_was_given_and_for_its_names_alone() {
    let files = Files::new();
    let made = |name: &str, file: &str| {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        let pem = cert.pem() + &key.serialize_pem();
        let both = files.write(file, &pem);
        Identity {
            cert: both.clone(),
            key: both,
        }
    };
    let (ours, theirs) = (
        made("127.0.0.1", "ours.pem"),
        made("b.example", "theirs.pem"),
    );
    let trust = |identity: &Identity| Trust {
        cacert: Some(identity.cert.clone()),
        insecure: false,
    };
    let (mut listener, address) = listener(acceptor(&ours)).await;
    let net = Net::Tls(connector(&trust(&ours)));
    let (client, server) = tokio::join!(net.connect(address), listener.accept());
    client.unwrap();
    server.unwrap();
    let (not_given, _) = refused(&ours, &trust(&theirs)).await;
    assert!(not_given.starts_with("its certificate is "), "{not_given}");
    let (other_name, _) = refused(&theirs, &trust(&theirs)).await;
    assert_eq!(
        other_name,
        "its certificate is for b.example, not for 127.0.0.1: connect by a name of it, or give one \
         as server_name"
    );
}

#[tokio::test]
async fn a_target_that_wants_a_clients_certificate_gets_it_or_says_so() {
    let authority = Authority::new();
    let mut params = named("client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client_identity = authority.issue("client", &params);
    let (chain, key) = files::identity(&authority.server()).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(&authority.cacert).unwrap() {
        roots.add(certificate).unwrap();
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = Acceptor {
        config: Arc::new(config),
        within: AMPLE,
    };
    for identity in [None, Some(&client_identity)] {
        let (mut listener, address) = listener(acceptor.clone()).await;
        let settings = ClientSettings::read(&authority.trust(), identity, &[]).unwrap();
        let net = Net::Tls(settings.connector("127.0.0.1", AMPLE).unwrap());
        let client = async {
            // In TLS 1.3 the client is done first, and reads what becomes of its certificate.
            let mut stream = net.connect(address).await?;
            stream.read(&mut [0; 1]).await
        };
        let server = async { listener.accept().await.map(drop) };
        let (client, server) = tokio::join!(client, server);
        match identity {
            Some(_) => {
                server.unwrap();
                assert_eq!(client.unwrap(), 0);
            }
            None => {
                server.unwrap_err();
                assert_eq!(
                    client.unwrap_err().to_string(),
                    "it wants a certificate of its clients and was given none that it accepts: \
                     name yours by cert and key"
                );
            }
        }
    }
}

#[tokio::test]
async fn both_sides_agree_on_an_application_protocol_or_say_that_they_do_not() {
    let authority = Authority::new();
    let connect = async |offered: &[&[u8]], spoken: &[&[u8]]| {
        let acceptor = Acceptor::read(&authority.server(), spoken, AMPLE).unwrap();
        let (mut listener, address) = listener(acceptor).await;
        let settings = ClientSettings::read(&authority.trust(), None, offered).unwrap();
        let net = Net::Tls(settings.connector("127.0.0.1", AMPLE).unwrap());
        let (client, _) = tokio::join!(net.connect(address), listener.accept());
        client.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(connect(&[b"http/1.1"], &[b"http/1.1"]).await, Ok(()));
    assert_eq!(connect(&[b"http/1.1"], &[]).await, Ok(()));
    assert_eq!(
        connect(&[b"http/1.1"], &[b"h2"]).await,
        Err("it speaks none of the application protocols that were offered by ALPN".to_owned())
    );
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_the_reason() {
    let authority = Authority::new();
    let server = authority.server();
    let other = authority.issue("other", &named("b"));
    let files = &authority.files;
    let missing = files.0.join("missing.pem");
    let text = files.write("notes.txt", "no certificate here\n");
    let damaged = files.write(
        "damaged.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    let nonsense = files.write(
        "nonsense.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let shown = |path: &Path| path.display().to_string();
    let trusted = |path: &PathBuf| {
        let trust = Trust {
            cacert: Some(path.clone()),
            insecure: false,
        };
        ClientSettings::read(&trust, None, &[])
            .unwrap_err()
            .to_string()
    };
    let served = |cert: &PathBuf, key: &PathBuf| {
        let identity = Identity {
            cert: cert.clone(),
            key: key.clone(),
        };
        let error = Acceptor::read(&identity, &[], AMPLE)
            .unwrap_err()
            .to_string();
        let client = ClientSettings::read(&Trust::default(), Some(&identity), &[]);
        assert_eq!(
            client.unwrap_err().to_string(),
            error,
            "a client's is told alike"
        );
        error
    };
    let no_file = format!(
        "cannot read {}: No such file or directory (os error 2)",
        shown(&missing)
    );
    assert_eq!(trusted(&missing), no_file);
    assert_eq!(served(&missing, &server.key), no_file);
    assert_eq!(served(&server.cert, &missing), no_file);
    let no_certificate = |path: &Path| {
        format!(
            "{} holds no certificate in PEM: no \"-----BEGIN CERTIFICATE-----\" is in it",
            shown(path)
        )
    };
    assert_eq!(trusted(&text), no_certificate(&text));
    assert_eq!(
        served(&server.key, &server.key),
        no_certificate(&server.key)
    );
    assert_eq!(
        served(&server.cert, &server.cert),
        format!(
            "{} holds no private key in PEM: no \"-----BEGIN PRIVATE KEY-----\" is in it",
            shown(&server.cert)
        )
    );
    assert!(trusted(&damaged).starts_with(&format!("{} is damaged: ", shown(&damaged))));
    assert!(
        trusted(&nonsense)
            .starts_with(&format!("{}: a certificate in it is not", shown(&nonsense)))
    );
    assert_eq!(
        served(&server.cert, &other.key),
        format!(
            "the key in {} is not the one of the certificate in {}",
            shown(&other.key),
            shown(&server.cert)
        )
    );
}

#[test]
fn a_server_goes_by_a_dns_name_or_an_address() {
    let settings = ClientSettings::read(&Trust::default(), None, &[]).unwrap();
    for good in ["chat.example.org", "127.0.0.1", "::1", "[::1]", "localhost"] {
        assert!(settings.connector(good, AMPLE).is_ok(), "{good}");
    }
    let bad = settings.connector("a b", AMPLE).unwrap_err();
    assert_eq!(
        bad.to_string(),
        "\"a b\" is no name of a server: use a DNS name or an IP address"
    );
}

fn tls(stream: &Stream) -> &TlsStream {
    match stream {
        Stream::Tls(stream) => stream,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nonsense_after_the_handshake_ends_the_connection_and_nothing_else() {
    // No TLS at all, a record that nobody encrypted, and one longer than there may be.
    for nonsense in [
        &b"{\"relay\":1}\n"[..],
        &[23, 3, 3, 0, 20],
        &[23, 3, 3, 255, 255],
    ] {
        let (mut client, mut server) = pair().await;
        let mut raw = nonsense.to_vec();
        raw.resize(200, 7);
        tls(&server).socket().try_write(&raw).unwrap();
        let error = client.read(&mut [0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(
            error.to_string().starts_with("the TLS connection broke: "),
            "{error}"
        );
        let written = client.try_write(b"x").unwrap_err();
        assert_eq!(written.kind(), io::ErrorKind::BrokenPipe);
        client.half_close();
        drop(client);
        let told = server.read(&mut [0; 64]).await.unwrap_err().to_string();
        assert!(told.contains("alert"), "{told}");
    }
}

#[tokio::test]
async fn what_tls_says_by_itself_may_come_byte_by_byte_between_writes() {
    let authority = Authority::new();
    let (chain, key) = files::identity(&authority.server()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.max_fragment_size = Some(64); // so that a ticket is several records
    let mut conn = ServerConnection::new(Arc::new(config)).unwrap();
    let (listener, address) = bound().await;
    let net = Net::Tls(connector(&authority.trust()));
    let connecting = tokio::spawn(async move { net.connect(address).await.unwrap() });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut piece = vec![0; 4096];
    let tickets = loop {
        let count = socket.read(&mut piece).await.unwrap();
        conn.read_tls(&mut &piece[..count]).unwrap();
        conn.process_new_packets().unwrap();
        let mut out = Vec::new();
        while conn.wants_write() {
            conn.write_tls(&mut out).unwrap();
        }
        if !conn.is_handshaking() {
            break out;
        }
        socket.write_all(&out).await.unwrap();
    };
    let mut client = connecting.await.unwrap();
    assert!(tickets.len() > 200, "there are tickets");
    for byte in &tickets {
        socket.write_all(&[*byte]).await.unwrap();
        tls(&client).socket().readable().await.unwrap();
        let mut buffer = [0; 8];
        let mut buffer = tokio::io::ReadBuf::new(&mut buffer);
        std::future::poll_fn(|cx| {
            let read = std::pin::Pin::new(&mut client);
            let read = tokio::io::AsyncRead::poll_read(read, cx, &mut buffer);
            assert!(read.is_pending(), "{read:?}");
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(client.try_write(b"x").unwrap(), 1);
    }
    client.shutdown().await.unwrap();
    let mut heard = 0;
    loop {
        let count = socket.read(&mut piece).await.unwrap();
        let mut read = &piece[..count];
        while !read.is_empty() {
            conn.read_tls(&mut read).unwrap();
            let state = conn.process_new_packets().unwrap();
            heard += state.plaintext_bytes_to_read();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            conn.reader().read_exact(&mut plain).unwrap();
        }
        if count == 0 {
            break;
        }
    }
    assert_eq!(heard, tickets.len());
}
