//! A client of the API server: TLS and as much of HTTP/1.1 as its answers need, so that what is
//! measured is the way to the server and not the client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use data_encoding::BASE64;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to believe, and as whom to ask.
#[derive(Clone)]
pub struct Client(TlsConnector, &'static str);

/// A connection.
pub struct Line(TlsStream<TcpStream>);

impl Client {
    /// As a kubeconfig says.
    pub fn of_kubeconfig(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("read {}", path.display()))?;
        let value: Value = serde_saphyr::from_str(&text)?;
        let pem = |at: &str| {
            let word = value.pointer(at).and_then(Value::as_str);
            let word = word.with_context(|| format!("no {at} in {}", path.display()))?;
            let bytes = BASE64.decode(word.trim().as_bytes());
            bytes.with_context(|| format!("{at} in {} is not base64", path.display()))
        };
        Self::new(
            "kubernetes",
            &pem("/clusters/0/cluster/certificate-authority-data")?,
            &pem("/users/0/user/client-certificate-data")?,
            &pem("/users/0/user/client-key-data")?,
        )
    }

    /// From PEM: the authority, a certificate and its key. `name` is the server's.
    pub fn new(name: &'static str, ca: &[u8], chain: &[u8], key: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca) {
            roots.add(certificate?)?;
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain?, PrivateKeyDer::from_pem_slice(key)?)?;
        // Each connection is a whole one.
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config)), name))
    }

    /// Connects.
    pub async fn connect(&self, to: SocketAddr) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(to).await.context("connect")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(self.1)?;
        let stream = self.0.connect(name, stream).await.context("TLS")?;
        Ok(Line(stream))
    }

    /// One question on a connection of its own; anything but 200 is none answered.
    pub async fn once(&self, to: SocketAddr, path: &str) -> anyhow::Result<()> {
        let mut line = self.connect(to).await?;
        let (code, _) = line.get(path).await?;
        ensure!(code == 200, "answered {code}");
        Ok(())
    }
}

impl Line {
    /// A question, and the answer's code and body. The connection may be used again.
    pub async fn get(&mut self, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: kubernetes\r\nAccept: application/json\r\n\r\n");
        self.ask(head.as_bytes()).await
    }

    /// The same with a body of JSON, or none, by another method.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(u16, Vec<u8>)> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: kubernetes\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.ask(head.as_bytes()).await
    }

    async fn ask(&mut self, question: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.0.write_all(question).await.context("write")?;
        self.0.flush().await.context("write")?;
        let mut bytes = Vec::with_capacity(4096);
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more(&mut bytes).await?;
        };
        let mut body = bytes.split_off(end + 4);
        let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code: u16 = code.context("no HTTP")?;
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim().to_owned())
        };
        if let Some(length) = field("content-length") {
            let length: usize = length.parse()?;
            while body.len() < length {
                self.more(&mut body).await?;
            }
        } else {
            // In chunks, of which the last one is empty.
            while !body.ends_with(b"0\r\n\r\n") {
                self.more(&mut body).await?;
            }
        }
        Ok((code, body))
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
        let read = self.0.read_buf(bytes).await.context("read")?;
        ensure!(read > 0, "the connection ended");
        Ok(())
    }
}
