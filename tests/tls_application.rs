//! An application's own protocol over TLS, `wss://` and `tls://`: run and tried, with certificates on
//! either side, and the wrong way round.

#![allow(clippy::unwrap_used)] // a test that cannot go on says where

mod binary;
#[path = "binary/probe.rs"]
mod probe;
#[path = "binary/secure.rs"]
mod secure;

use std::process::Output;
use std::sync::Arc;
use std::thread;

use binary::{output, stderr};
use probe::stdout;
use secure::{Certificates, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

/// The frames of the reference server, as a user would describe them.
const DESCRIBED: [&str; 6] = [
    "--login",
    r#"{ expect = { type = "welcome" } }"#,
    "--publish",
    r#"{"message":"{payload}","id":{id}}"#,
    "--ack",
    r#"{ type = "ack", id = "{id}" }"#,
];

fn tried(url: &str, options: &[&str]) -> Output {
    let all = [&["try", url], &DESCRIBED[..], options];
    output(&all.concat())
}

fn loaded(url: &str, options: &[&str]) -> Output {
    let moment = [
        "--rate",
        "100",
        "--duration",
        "300ms",
        "--set",
        "run.warmup=0s",
        "--no-progress",
    ];
    output(&[&["load", url], &DESCRIBED[..], &moment, options].concat())
}

/// Whether a load was held: a busy machine may keep the generator from saying so.
fn is_held(ran: &Output) -> bool {
    let is_busy = ran.status.code() == Some(3) && stdout(ran).contains("generator");
    ran.status.success() || is_busy
}

/// The first server's URLs under the schemes of `[protocol]`: WebSocket and a stream over TLS, then
/// the same in plain text.
fn served(certificates: &Certificates) -> (Server, [String; 4]) {
    let listen =
        ["wss", "ndjson+tls", "ws", "ndjson"].map(|scheme| format!("{scheme}://127.0.0.1:0"));
    let server = Server::start(
        certificates,
        "server",
        &listen.each_ref().map(String::as_str),
    );
    let mut urls = server
        .urls
        .iter()
        .map(|url| url.replace("ndjson+tls", "tls").replace("ndjson", "tcp"));
    let urls = std::array::from_fn(|_| urls.next().unwrap());
    (server, urls)
}

#[test]
fn an_application_is_driven_and_shown_over_tls() {
    let certificates = Certificates::new();
    let ca = certificates.name("ca.pem");
    let (_server, [wss, tls, ..]) = served(&certificates);
    for url in [&wss, &tls] {
        let ran = loaded(url, &["--cacert", &ca]);
        assert!(is_held(&ran), "{url}: {}{}", stdout(&ran), stderr(&ran));
        let shown = tried(url, &["--cacert", &ca]);
        let text = stdout(&shown);
        assert_eq!(
            shown.status.code(),
            Some(0),
            "{url}: {text}{}",
            stderr(&shown)
        );
        assert!(text.contains("an ack, by ack"), "{text}");
        let refused = tried(url, &[]);
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{url}: {}",
            stdout(&refused)
        );
        let error = stderr(&refused);
        assert!(
            error.contains("signed by nobody who is trusted here"),
            "{error}"
        );
    }
}

#[test]
fn the_reference_protocol_is_shown_without_a_description_over_tls_too() {
    let certificates = Certificates::new();
    let ca = certificates.name("ca.pem");
    let (server, _) = served(&certificates);
    for (url, options) in
        server
            .urls
            .iter()
            .zip([&["--cacert", &ca][..], &["--cacert", &ca], &[], &[]])
    {
        for rooms in [&[][..], &["--set", "clients.people.rooms=1"]] {
            let shown = output(&[&["try", url], options, rooms].concat());
            let text = stdout(&shown);
            assert_eq!(
                shown.status.code(),
                Some(0),
                "{url}: {text}{}",
                stderr(&shown)
            );
            for part in [
                "logged in, by login.0.expect",
                "an ack, by ack",
                "the other client a delivery",
            ] {
                assert!(text.contains(part), "no {part:?} in\n{text}");
            }
            assert_eq!(
                text.contains("left, by leave.0.expect"),
                !rooms.is_empty(),
                "{text}"
            );
            assert!(!text.contains("nothing that [protocol] knows"), "{text}");
        }
    }
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is_are_told_apart() {
    let certificates = Certificates::new();
    let ca = certificates.name("ca.pem");
    let (_server, [wss, tls, ws, tcp]) = served(&certificates);
    let secure = |plain: &str| plain.replace("ws://", "wss://").replace("tcp://", "tls://");
    for plain in [&ws, &tcp] {
        let url = secure(plain);
        for failed in [
            tried(&url, &["--cacert", &ca]),
            loaded(&url, &["--cacert", &ca]),
        ] {
            let error = stderr(&failed);
            assert!(
                matches!(failed.status.code(), Some(1 | 3)),
                "{url}: {error}"
            );
            assert!(
                error.contains("it does not speak TLS: it sent")
                    || error.contains("at the beginning of a TLS handshake: does it speak TLS?"),
                "{url}: {error}"
            );
        }
    }
    let url = wss.replace("wss://", "ws://");
    for failed in [tried(&url, &[]), loaded(&url, &[])] {
        let error = stderr(&failed);
        assert!(
            matches!(failed.status.code(), Some(1 | 3)),
            "{url}: {error}"
        );
        assert!(error.contains("it speaks TLS"), "{url}: {error}");
    }
    // Who waits for an answer says nothing that TLS could answer: what is awaited is named.
    let url = tls.replace("tls://", "tcp://");
    let silent = tried(&url, &["--within", "300ms"]);
    assert_eq!(silent.status.code(), Some(1));
    let error = stderr(&silent);
    assert!(
        error.contains("this did not come: login, which waits for"),
        "{error}"
    );
}

/// A target that wants certificates of its clients, and passes what they say on to `server`. It ends
/// with the test's process.
fn wanting_certificates(certificates: &Certificates, server: &str) -> String {
    let server = server.split_once("://").unwrap().1.to_owned();
    let provider = Arc::new(crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificates.path("ca.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let chain = CertificateDer::pem_file_iter(certificates.path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificates.path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (acceptor, server) = (acceptor.clone(), server.clone());
                tokio::spawn(async move {
                    if let Ok(mut client) = acceptor.accept(client).await {
                        let mut server = TcpStream::connect(server).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
    });
    address.to_string()
}

#[test]
fn a_target_that_wants_a_certificate_gets_it_or_is_said_to_want_one() {
    let certificates = Certificates::new();
    certificates.issue("client", "client.example", None);
    let [ca, cert, key] =
        ["ca.pem", "client.pem", "client.key"].map(|file| certificates.name(file));
    let (_server, [.., ws, tcp]) = served(&certificates);
    for (scheme, behind) in [("wss", ws), ("tls", tcp)] {
        let url = format!(
            "{scheme}://{}",
            wanting_certificates(&certificates, &behind)
        );
        let with = ["--cacert", &ca, "--cert", &cert, "--key", &key];
        let shown = tried(&url, &with);
        assert_eq!(
            shown.status.code(),
            Some(0),
            "{}{}",
            stdout(&shown),
            stderr(&shown)
        );
        let ran = loaded(&url, &with);
        assert!(is_held(&ran), "{}{}", stdout(&ran), stderr(&ran));
        for refused in [tried(&url, &with[..2]), loaded(&url, &with[..2])] {
            let error = stderr(&refused);
            assert!(matches!(refused.status.code(), Some(1 | 3)), "{error}");
            assert!(
                error.contains("it wants a certificate of its clients"),
                "{error}"
            );
        }
    }
}
