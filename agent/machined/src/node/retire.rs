//! The end of what a control plane serves for its cluster, before anything else of the machine stops.
//! The loop takes the manifests away; here their end is waited for, and said to who takes over.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use machine_plan::observed::Probe;
use machine_plan::render::CONTROLLERS;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::NodeError;
use super::kube::{Access, Client, Kube, leases};

/// A pod's grace period is 30 s; kubelet that missed a change of its folder looks again after 20 s.
const END: Duration = Duration::from_secs(60);

/// Between two looks at who is still there.
const LOOKS: Duration = Duration::from_millis(250);

/// How long one may take to accept a connection from its own machine.
const CONNECT: Duration = Duration::from_secs(1);

/// Waits until controller manager and scheduler have ended.
///
/// # Errors
/// One has not within a minute.
pub async fn controllers_end() -> Result<(), NodeError> {
    for (name, port) in CONTROLLERS {
        let ended = async {
            while listens(port).await {
                tokio::time::sleep(LOOKS).await;
            }
        };
        timeout(END, ended).await.map_err(|_| late(name))?;
    }
    Ok(())
}

/// Waits until nobody serves the API here.
///
/// # Errors
/// It is served for a minute still.
pub async fn api_server_ends(kube: &Kube, access: &Access) -> Result<(), NodeError> {
    let ended = async {
        while kube.ready(access).await != Probe::Absent {
            tokio::time::sleep(LOOKS).await;
        }
    };
    timeout(END, ended)
        .await
        .map_err(|_| late("kube-apiserver"))
}

/// Lets others take over at once what this machine's controllers held: they have ended. With power gone
/// in between a lease ends by itself, 15 s after its holder was last heard of.
///
/// # Errors
/// The API did not answer, or refused, for one of them. The other is given up all the same.
pub async fn give_leases_up(
    client: Result<Client, String>,
    hostname: &str,
) -> Result<(), NodeError> {
    let fail = |object: String, why| NodeError::Kube {
        operation: "give up",
        object,
        why,
    };
    let client = client.map_err(|why| fail("leases".to_owned(), why))?;
    let mut given = Ok(());
    for (name, _) in CONTROLLERS {
        let done = leases::give_up(&client, name, |holder| is_of(holder, hostname)).await;
        let done = done.map_err(|e| fail(format!("lease {name}"), e.to_string()));
        given = given.and(done);
    }
    given
}

/// A controller's name for itself: the machine's, and what tells one process from the next.
fn is_of(holder: &str, hostname: &str) -> bool {
    let rest = holder.strip_prefix(hostname);
    rest.is_some_and(|rest| rest.starts_with('_'))
}

async fn listens(port: u16) -> bool {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let refused = |tried: std::io::Result<TcpStream>| {
        tried.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    !timeout(CONNECT, TcpStream::connect(at))
        .await
        .is_ok_and(refused)
}

fn late(name: &str) -> NodeError {
    NodeError::Kube {
        operation: "wait for the end of",
        object: format!("pod {name}"),
        why: format!(
            "it is there still after {} s; the machine goes down with it",
            END.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests;
