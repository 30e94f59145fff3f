//! From the socket to proven TLS connections, with a bound on everything a stranger can hold.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use super::peer::{EXPORTER_LABEL, EXPORTER_LENGTH, Identity, Peer};
use super::tls::Front;

/// The longest a handshake may take. A guest under emulation needs about a second.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The longest a connection may stay without proving who it is: a person types the code before
/// connecting, not after.
const UNPROVED: Duration = Duration::from_secs(60);

/// Connections at once; each costs some 100 KiB in the worst case.
const CONNECTIONS: usize = 96;

/// Handshakes at once.
const HANDSHAKES: usize = 24;

/// Connections from one source (an IPv4 address or an IPv6 /64) at once, so that one host cannot
/// shut everybody else out.
const PER_SOURCE: usize = 24;

/// A pause after the system refused a connection, for example for want of descriptors.
const BREATHE: Duration = Duration::from_millis(100);

/// Accepts until `stop`, and hands over connections whose handshake is done. They end at `kill`.
pub(super) async fn accept(
    listener: Arc<TcpListener>,
    front: Arc<Front>,
    ready: mpsc::Sender<io::Result<Connection>>,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let door = Arc::new(Door::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATHE).await;
                continue;
            }
        };
        let Some(place) = Door::enter(&door, remote.ip()) else {
            tracing::debug!(%remote, "too many connections: closed");
            continue;
        };
        let acceptor = TlsAcceptor::from(front.present());
        let (ready, kill) = (ready.clone(), kill.clone());
        tokio::spawn(async move {
            let done = tokio::select! {
                () = kill.cancelled() => return,
                done = tokio::time::timeout(HANDSHAKE, handshake(acceptor, stream, remote)) => done,
            };
            match done {
                Ok(Ok((stream, peer))) => {
                    place.shake_hands();
                    // Nobody takes it any more: the server stops, and so does this.
                    let _ = ready
                        .send(Ok(Connection::new(stream, peer, place, kill)))
                        .await;
                }
                Ok(Err(error)) => tracing::debug!(%remote, %error, "TLS handshake refused"),
                Err(_) => tracing::debug!(%remote, "TLS handshake took too long"),
            }
        });
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    // Answers are small: waiting to fill a segment only delays them.
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(b"h2") {
        return Err(io::Error::other("the client does not speak HTTP/2"));
    }
    let exporter = session
        .export_keying_material([0; EXPORTER_LENGTH], EXPORTER_LABEL, None)
        .map_err(io::Error::other)?;
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let identity = leaf.and_then(Identity::read);
    if leaf.is_some() && identity.is_none() {
        return Err(io::Error::other(
            "the client's certificate has no common name",
        ));
    }
    Ok((stream, Peer::new(remote, identity, exporter)))
}

/// An established connection.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    end: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    _place: Place,
}

impl Connection {
    fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        place: Place,
        kill: CancellationToken,
    ) -> Self {
        let watched = peer.clone();
        let end = Box::pin(async move {
            tokio::select! {
                () = kill.cancelled_owned() => "the server stopped",
                () = unproved(watched) => "the other end did not prove itself in time",
            }
        });
        Self {
            stream,
            peer,
            end,
            _place: place,
        }
    }

    // Checked in writes too: a client that stops reading must not outstay its time.
    fn ended(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(why) => {
                // A finished future is not polled again.
                self.end = Box::pin(std::future::ready(why));
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
            }
            Poll::Pending => Ok(()),
        }
    }
}

async fn unproved(peer: Peer) {
    tokio::time::sleep(UNPROVED).await;
    if peer.proved() {
        std::future::pending::<()>().await;
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Counts who is inside.
#[derive(Default)]
struct Door(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    handshakes: usize,
    sources: HashMap<IpAddr, usize>,
}

/// A place inside, given back when dropped.
struct Place {
    door: Arc<Door>,
    source: IpAddr,
    shaken: std::sync::atomic::AtomicBool,
}

impl Door {
    fn enter(door: &Arc<Self>, remote: IpAddr) -> Option<Place> {
        let source = source(remote);
        let mut counts = door.lock();
        let from_there = counts.sources.get(&source).copied().unwrap_or(0);
        let full = counts.all >= CONNECTIONS || counts.handshakes >= HANDSHAKES;
        if full || from_there >= PER_SOURCE {
            return None;
        }
        counts.all += 1;
        counts.handshakes += 1;
        counts.sources.insert(source, from_there + 1);
        drop(counts);
        Some(Place {
            door: Arc::clone(door),
            source,
            shaken: false.into(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn shake_hands(&self) {
        if !self.shaken.swap(true, std::sync::atomic::Ordering::AcqRel) {
            self.door.lock().handshakes -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shake_hands();
        let mut counts = self.door.lock();
        counts.all -= 1;
        match counts.sources.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.sources.remove(&self.source)),
        }
    }
}

/// What counts as one source: whoever has one IPv6 address usually has its whole /64.
pub(super) fn source(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
