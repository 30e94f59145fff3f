//! The load balancer that a cluster brings along: one address, and behind it whoever takes a
//! connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

/// The longest that one may take to take a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// A machine that is gone says nothing: connections to it are cut after this.
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(at: &str, ports: &str, to: &str) -> anyhow::Result<std::process::ExitCode> {
    let at: IpAddr = at.parse().context("the address")?;
    let to = to.split(',').map(str::parse);
    let to: Arc<[IpAddr]> = to.collect::<Result<_, _>>().context("addresses")?;
    let mut tasks = Vec::new();
    for port in ports.split(',') {
        let port: u16 = port.parse().context("the port")?;
        let listener = TcpListener::bind((at, port)).await?;
        tasks.push(tokio::spawn(accept(listener, port, Arc::clone(&to))));
    }
    println!("balances {at}");
    for task in tasks {
        task.await??;
    }
    Ok(std::process::ExitCode::SUCCESS)
}

async fn accept(listener: TcpListener, port: u16, to: Arc<[IpAddr]>) -> anyhow::Result<()> {
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let (client, _) = listener.accept().await?;
        let (turn, to) = (Arc::clone(&turn), Arc::clone(&to));
        tokio::spawn(async move { serve(client, port, &to, &turn).await });
    }
}

async fn serve(mut client: TcpStream, port: u16, to: &[IpAddr], turn: &AtomicUsize) {
    for _ in to {
        // Whoever took the last one is asked first: one that is away costs one wait, not every other.
        let next = turn.load(Ordering::Relaxed);
        let address = SocketAddr::new(to[next % to.len()], port);
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(address));
        if let Ok(Ok(mut server)) = connecting.await {
            turn.fetch_add(1, Ordering::Relaxed);
            if watched(&server).is_ok() {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
            return;
        }
        let _ = turn.compare_exchange(next, next + 1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn watched(server: &TcpStream) -> anyhow::Result<()> {
    sockopt::set_tcp_user_timeout(server, u32::try_from(SILENCE.as_millis())?)?;
    sockopt::set_socket_keepalive(server, true)?;
    sockopt::set_tcp_keepidle(server, SILENCE)?;
    sockopt::set_tcp_keepintvl(server, Duration::from_secs(1))?;
    Ok(sockopt::set_tcp_keepcnt(server, 3)?)
}
