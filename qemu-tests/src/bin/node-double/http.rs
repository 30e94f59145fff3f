//! Questions to the API server: plain HTTP to a socket, behind which stock kubectl does the rest
//! with kubelet's own kubeconfig.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

const SOCKET: &str = "/run/kubelet.sock";

/// The longest an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// kubectl, for as long as the kubeconfig is this one.
pub(crate) struct Door {
    proxy: Child,
    kubeconfig: String,
}

impl Door {
    pub(crate) fn open(path: &str, kubeconfig: &str) -> anyhow::Result<Self> {
        let _ = std::fs::remove_file(SOCKET);
        let proxy = Command::new("kubectl")
            .args(["proxy", "--kubeconfig", path, "--unix-socket", SOCKET])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("HOME", "/tmp")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start kubectl proxy")?;
        let kubeconfig = kubeconfig.to_owned();
        Ok(Self { proxy, kubeconfig })
    }

    pub(crate) fn fits(&mut self, kubeconfig: &str) -> bool {
        self.kubeconfig == kubeconfig && matches!(self.proxy.try_wait(), Ok(None))
    }

    pub(crate) fn is_there(&self) -> bool {
        Path::new(SOCKET).exists()
    }

    /// The answer's code and what is in it; `kind` is the body's type below `application/`.
    pub(crate) async fn ask(
        &self,
        (method, path): (&str, &str),
        kind: &str,
        body: &Value,
    ) -> anyhow::Result<(u16, Value)> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let length = body.len();
        let asked = async {
            let mut stream = UnixStream::connect(SOCKET).await?;
            let head = format!(
                "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\
                 Content-Type: application/{kind}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let answer = answer.context("no answer in time")??;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code: u16 = code.context("no HTTP")?;
        Ok((code, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// The same, for what has to be done.
    pub(crate) async fn told(
        &self,
        (method, path): (&str, &str),
        kind: &str,
        body: &Value,
    ) -> anyhow::Result<()> {
        let (code, answer) = self.ask((method, path), kind, body).await?;
        ensure!(code < 300, "{method} {path}: {code} {answer}");
        Ok(())
    }
}
