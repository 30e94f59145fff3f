//! This machine's etcd, asked where it serves its health without certificates.

pub mod cluster;
pub mod data;
pub(crate) mod member;
#[cfg(test)]
mod unit;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use machine_plan::desired::Desired;
use machine_plan::observed::Probe;
use machine_plan::render::ETCD_CLIENT_PORT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Its metrics port, on loopback only.
const PORT: u16 = 2381;

/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_secs(5);

/// What is read of an answer.
const LENGTH: u64 = 4096;

/// Whether the member that should serve here is healthy. `Absent`: nobody
/// listens, or none should.
pub async fn health(desired: &Desired, node_ip: IpAddr) -> Probe<()> {
    if desired.etcd.is_none() {
        return Probe::Absent;
    }
    ask(loopback(node_ip)).await
}

/// Whether any member of those on machines of their own can be reached: on a control plane that has not
/// begun. What it says is its API server's to ask.
pub async fn listens(members: &[IpAddr]) -> Probe<()> {
    let mut asked: FuturesUnordered<_> = members
        .iter()
        .map(|ip| TcpStream::connect((*ip, ETCD_CLIENT_PORT)))
        .collect();
    let any = async {
        while let Some(answer) = asked.next().await {
            if answer.is_ok() {
                return Probe::Seen(());
            }
        }
        Probe::Absent
    };
    let any = tokio::time::timeout(ANSWER, any).await;
    any.unwrap_or(Probe::Absent)
}

/// Where it serves its health.
pub fn loopback(node_ip: IpAddr) -> SocketAddr {
    let ip = match node_ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, PORT)
}

/// One question.
pub async fn ask(address: SocketAddr) -> Probe<()> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.take(LENGTH).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(answer)) => understood(&answer),
        Ok(Err(e)) if e.kind() == ErrorKind::ConnectionRefused => Probe::Absent,
        Ok(Err(e)) => Probe::Unreadable(e.to_string()),
        Err(_) => Probe::Unreadable(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

fn understood(answer: &str) -> Probe<()> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let first = head.lines().next().unwrap_or_default();
    if first.split(' ').nth(1) == Some("200") {
        return Probe::Seen(());
    }
    let told = [first, body.trim()].join(" ");
    Probe::Unreadable(crate::journal::clipped(&told, 300))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_a_200() {
        let seen = understood("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"health\":\"true\"}");
        assert_eq!(seen, Probe::Seen(()));
        let sick = understood("HTTP/1.0 503 Service Unavailable\r\n\r\n{\"health\":\"false\"}");
        let Probe::Unreadable(why) = sick else {
            panic!("{sick:?}")
        };
        assert!(why.contains("503") && why.contains("false"), "{why}");
        assert!(matches!(understood(""), Probe::Unreadable(_)));
    }

    #[tokio::test]
    async fn a_member_that_nobody_reaches_is_not_there() {
        assert_eq!(listens(&[]).await, Probe::Absent);
        // Nobody else listens for clients of etcd on this address of loopback.
        let free = "127.99.98.97".parse().unwrap();
        assert_eq!(listens(&[free]).await, Probe::Absent);
        let at = (free, ETCD_CLIENT_PORT);
        let _door = std::net::TcpListener::bind(at).unwrap();
        assert_eq!(listens(&[free]).await, Probe::Seen(()));
    }

    #[tokio::test]
    async fn nobody_there_is_absent() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        assert_eq!(ask(address).await, Probe::Absent);
    }
}
