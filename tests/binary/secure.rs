//! Certificates of a test's own, and the reference server with one of them.

#![allow(dead_code)] // each file of tests takes what it needs

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

/// An authority's certificate and those that it has issued, as files.
pub(crate) struct Certificates {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let certificates = Self {
            directory: tempfile::tempdir().unwrap(),
            issuer,
        };
        certificates.write("ca.pem", &certificates.issuer.pem());
        certificates.issue("server", "127.0.0.1", None);
        certificates
    }

    pub(crate) fn issue(&self, file: &str, name: &str, expired_in: Option<i32>) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if let Some(year) = expired_in {
            params.not_before = date_time_ymd(year - 1, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{file}.pem"), &cert.pem());
        self.write(&format!("{file}.key"), &key.serialize_pem());
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn name(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }
}

/// A reference server, killed when the test is over.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    /// The URLs that it says it listens on.
    pub(crate) urls: Vec<String>,
}

impl Server {
    pub(crate) fn start(certificates: &Certificates, identity: &str, listen: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chatbench"));
        command.args(["serve", "-v", "--exit-on-stdin-eof", "--tls-cert"]);
        command.arg(certificates.path(&format!("{identity}.pem")));
        command.arg("--tls-key");
        command.arg(certificates.path(&format!("{identity}.key")));
        command.args(listen.iter().flat_map(|url| ["--listen", url]));
        let mut child = command
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let urls = listen.iter().map(|_| {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim()
                .strip_prefix("listening on ")
                .unwrap()
                .to_owned()
        });
        let urls = urls.collect();
        Self { child, out, urls }
    }

    pub(crate) fn of(certificates: &Certificates, identity: &str) -> Self {
        Self::start(certificates, identity, &["ndjson+tls://127.0.0.1:0"])
    }

    pub(crate) fn url(&self) -> &str {
        &self.urls[0]
    }

    pub(crate) fn address(&self) -> &str {
        self.url().split_once("://").unwrap().1
    }

    /// Ends it as its parent does; what it said since it began, and its log.
    pub(crate) fn end(mut self) -> (String, String) {
        drop(self.child.stdin.take());
        let (mut out, mut log) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        let mut err = self.child.stderr.take().unwrap();
        err.read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        (out, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
