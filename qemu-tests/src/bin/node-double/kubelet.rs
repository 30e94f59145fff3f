//! kubelet.service, its half that looks after static pods.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::containers::Pods;
use crate::units::{KUBELET, Units};

const MANIFESTS: &str = "/etc/kubernetes/manifests";

const HEALTHZ: &str = "127.0.0.1:10248";

/// kubelet is told by inotify; four small files are as quickly read.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) async fn run(units: Units, pods: Pods) -> anyhow::Result<()> {
    let mut turn = tokio::time::interval(LOOK);
    loop {
        turn.tick().await;
        if units.is_active(KUBELET) && !units.goes_down() {
            pods.agree(&manifests()?);
        }
    }
}

/// Answers where a kubelet says that it is well, which kubeadm asks.
pub(crate) async fn healthz(units: Units) -> anyhow::Result<()> {
    let listener = TcpListener::bind(HEALTHZ).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        if units.is_active(KUBELET) {
            let _ = tokio::time::timeout(LOOK, stream.read(&mut [0; 1024])).await;
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok").await;
        }
    }
}

fn manifests() -> std::io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(MANIFESTS)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        // One that has gone since is not there.
        if let Ok(text) = std::fs::read_to_string(&path) {
            found.insert(path.display().to_string(), text);
        }
    }
    Ok(found)
}
