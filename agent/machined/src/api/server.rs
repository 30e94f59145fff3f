//! HTTP/2 over accepted connections: limits, deadlines and the end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::authz::Guard;
use super::listen;
use super::tls::Front;

/// A call that has not answered by then is given up. Streams only have to begin by then.
/// Restarting a service may take systemd's 90 s.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often a silent connection is asked whether it lives, and how long it may think.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// Calls on one connection at once.
const STREAMS: u32 = 32;

/// Bytes of request headers.
const HEADERS: u32 = 16 * 1024;

/// Bytes a client may send ahead, per call and per connection: enough that a document does not wait
/// for round trips, little enough that idle clients hold little memory.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long calls under way may take to finish once the server is told to stop.
pub(super) const DRAIN: Duration = Duration::from_secs(5);

/// Opens the API's port on every address, IPv4 and IPv6; IPv4 alone where there is no IPv6.
pub async fn bind(port: u16) -> io::Result<Arc<TcpListener>> {
    let listener = match TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
        Err(_) => TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await?,
    };
    Ok(Arc::new(listener))
}

/// Serves until `stop`, then lets calls under way finish for [`DRAIN`] and ends what is left.
pub(super) async fn run(
    listener: Arc<TcpListener>,
    front: Arc<Front>,
    guard: Guard,
    routes: Routes,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let kill = CancellationToken::new();
    // Whichever way this ends, also by being dropped, no connection outlives it.
    let _end = kill.clone().drop_guard();
    let (ready, connections) = mpsc::channel(1);
    let accepting = listen::accept(listener, front, ready, stop.clone(), kill);
    let serving = Server::builder()
        .timeout(DEADLINE)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .layer(guard)
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections),
            stop.clone().cancelled_owned(),
        );
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::pin!(accepting, serving, overdue);
    let mut accepts = true;
    loop {
        tokio::select! {
            result = &mut serving => return result,
            () = &mut accepting, if accepts => accepts = false,
            () = &mut overdue => return Ok(()),
        }
    }
}
