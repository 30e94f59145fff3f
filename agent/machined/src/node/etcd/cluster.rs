//! etcd's cluster, asked over mutual TLS at its members' client addresses.
//!
//! A learner answers next to nothing, so what is known of the cluster comes
//! from a member with a vote, and what is asked of the cluster goes to one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_client::{Client, MemberAddOptions};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::{BoxStream, FuturesUnordered};
use hyper_util::rt::TokioIo;
use machine_pki::Secret;
use machine_plan::membership::{Member, MemberId, Membership};
use machine_plan::observed::Probe;
use machine_plan::render::ETCD_CLIENT_PORT;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::journal::clipped;
use crate::ledger::Ledger;
use crate::node::NodeError;
use crate::node::kube::{Identity, host_and_port, tls};

/// The longest that one member may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What etcd says of a promotion that another machine has seen to.
const ALREADY: &str = "can only promote a learner member";

/// A key that nobody has: reading it takes the quorum's word all the same.
const NOTHING: &str = "machined/nothing";

/// Where the certificates are that members want to see.
pub const PKI: &str = "/etc/kubernetes/pki/etcd";

/// The cluster, as this machine may ask it.
#[derive(Debug, Clone)]
pub struct Cluster {
    pki: PathBuf,
}

/// What went wrong on the way to a member, or there.
type Failed = String;

impl Cluster {
    /// With the authority and client certificate in this folder.
    pub fn new(pki: impl Into<PathBuf>) -> Self {
        Self { pki: pki.into() }
    }

    /// All members, from the first of these addresses whose member has a vote.
    /// `Absent`: there is nobody to ask.
    pub async fn members(&self, at: &BTreeSet<IpAddr>) -> Probe<Vec<Member>> {
        if at.is_empty() {
            return Probe::Absent;
        }
        let (_, mut members) = match self.voter(at).await {
            Ok(found) => found,
            Err(why) => return Probe::Unreadable(why),
        };
        let answers = join_all(members.iter().map(|member| self.status(member))).await;
        let mut leaders = BTreeSet::new();
        for (member, answer) in members.iter_mut().zip(answers) {
            member.applied = match answer {
                Ok((applied, leader)) => {
                    leaders.insert(leader);
                    Probe::Seen(applied)
                }
                Err(why) => Probe::Unreadable(why),
            };
        }
        for member in &mut members {
            member.leader = leaders.contains(&member.id);
        }
        Probe::Seen(members)
    }

    /// Adds a learner, unless its address is one of a member already, and
    /// keeps the membership.
    pub async fn join(
        &self,
        at: &BTreeSet<IpAddr>,
        (name, peer_url): (&str, &str),
        ledger: &Ledger,
    ) -> Result<(), NodeError> {
        let fail = |why| failed("add", format!("etcd member {name}"), why);
        let (mut client, mut members) = self.voter(at).await.map_err(fail)?;
        let here = |member: &&Member| member.peer_urls.iter().any(|url| url == peer_url);
        if !members.iter().any(|member| here(&member)) {
            let options = MemberAddOptions::new().with_is_learner();
            let urls = vec![peer_url.to_owned()];
            let added = limited(client.member_add(urls, Some(options))).await;
            let added = added.map_err(|e| fail(said(e)))?;
            members = listed(added.member_list());
        }
        let own = members.iter().find(here);
        let own = own.ok_or_else(|| fail("the cluster does not list it".to_owned()))?;
        let membership = Membership::of(&members, own.id, name, false);
        Ok(ledger.keep_membership(&membership)?)
    }

    /// Gives a learner its vote. One that has it is promoted.
    pub async fn promote(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, name): (MemberId, &str),
    ) -> Result<(), NodeError> {
        let fail = |why| failed("promote", format!("etcd member {name} ({id})"), why);
        let (mut client, members) = self.voter(at).await.map_err(fail)?;
        if members.iter().any(|m| m.id == id && !m.learner) {
            return Ok(());
        }
        match limited(client.member_promote(id.0)).await.map_err(said) {
            // Somebody else was quicker.
            Err(why) if why.contains(ALREADY) => Ok(()),
            promoted => promoted.map(drop).map_err(fail),
        }
    }

    /// Takes a member out. One that is not there is out.
    pub async fn remove(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, name): (MemberId, &str),
    ) -> Result<(), NodeError> {
        let fail = |why| failed("remove", format!("etcd member {name} ({id})"), why);
        let (mut client, members) = self.voter(at).await.map_err(fail)?;
        if !members.iter().any(|m| m.id == id) {
            return Ok(());
        }
        match limited(client.member_remove(id.0)).await {
            Err(etcd_client::Error::GRpcStatus(status)) if status.code() == Code::NotFound => {
                Ok(())
            }
            removed => removed.map(drop).map_err(|e| fail(said(e))),
        }
    }

    // The first to list the members after it has read something by the quorum's word: a list alone
    // may be old, and a learner or one that is cut off knows no better.
    async fn voter(&self, at: &BTreeSet<IpAddr>) -> Result<(Client, Vec<Member>), Failed> {
        let asked = at.iter().map(|ip| async move {
            let answer = async {
                let mut client = self.connect(*ip).await?;
                limited(client.get(NOTHING, None)).await.map_err(said)?;
                let list = limited(client.member_list()).await.map_err(said)?;
                Ok::<_, Failed>((client, listed(list.members())))
            };
            answer.await.map_err(|why| format!("{ip}: {why}"))
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let mut whys = Vec::new();
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(found) => return Ok(found),
                Err(why) => whys.push(why),
            }
        }
        Err(clipped(&whys.join("; "), 300))
    }

    /// Has the member here, if it leads, hand over to the voter that has come furthest. Returns the
    /// new leader's name; none where there was nothing to hand over, or nobody to.
    pub async fn forfeit(&self, own: IpAddr, own_url: &str) -> Result<Option<String>, String> {
        // Who does not answer does not lead for long.
        let Probe::Seen(members) = self.members(&[own].into()).await else {
            return Ok(None);
        };
        let here = |m: &&Member| m.peer_urls.iter().any(|url| url == own_url);
        if !members.iter().any(|m| here(&m) && m.leader) {
            return Ok(None);
        }
        let others = members.iter().filter(|m| !here(m) && !m.learner);
        let applied = |m: &&Member| m.applied.seen().copied();
        let Some(next) = others.filter(|m| m.answers()).max_by_key(applied) else {
            return Ok(None);
        };
        // Only the leader itself takes this call.
        let mut client = self.connect(own).await?;
        let moved = limited(client.move_leader(next.id.0)).await;
        moved.map_err(said)?;
        Ok(Some(next.shown().to_owned()))
    }

    // How far it has applied the log, and whom it follows.
    async fn status(&self, member: &Member) -> Result<(u64, MemberId), Failed> {
        let ip = address(member).ok_or("its address is not known")?;
        let mut client = self.connect(ip).await?;
        let status = limited(client.status()).await.map_err(said)?;
        let answered = MemberId(status.header().map_or(0, |header| header.member_id()));
        match answered == member.id {
            true => Ok((status.raft_applied_index(), MemberId(status.leader()))),
            false => Err(format!("member {answered} answers at its address")),
        }
    }

    /// All of the data, from a member with a vote that does not lead if there is
    /// one: parts of the file, and how much is still to come.
    pub async fn snapshot(
        &self,
        at: &BTreeSet<IpAddr>,
    ) -> Result<BoxStream<'static, Result<(Vec<u8>, u64), String>>, String> {
        let members = match self.members(at).await {
            Probe::Seen(members) => members,
            Probe::Unreadable(why) => return Err(format!("no member of etcd answers: {why}")),
            Probe::Absent => return Err("no member of etcd is known".to_owned()),
        };
        let may = |m: &&Member| m.answers() && !m.learner;
        let applied = |m: &&Member| m.applied.seen().copied();
        let followers = members.iter().filter(|m| may(m) && !m.leader);
        let chosen = followers
            .max_by_key(applied)
            .or_else(|| members.iter().find(may));
        let ip = chosen.and_then(address).ok_or("no voter of etcd answers")?;
        let mut client = self.connect(ip).await?;
        let stream = limited(client.snapshot()).await.map_err(said)?;
        // The client goes along: its connection ends with it.
        Ok(
            futures_util::stream::try_unfold((client, stream), async |(client, mut stream)| {
                let part = limited(stream.message()).await.map_err(said)?;
                Ok(part.map(|part| {
                    let parts = (part.blob().to_vec(), part.remaining_bytes());
                    (parts, (client, stream))
                }))
            })
            .boxed(),
        )
    }

    async fn connect(&self, ip: IpAddr) -> Result<Client, Failed> {
        let connected = async {
            let tls = self.tls()?;
            let stream = async {
                let tcp = TcpStream::connect(SocketAddr::new(ip, ETCD_CLIENT_PORT)).await?;
                tcp.set_nodelay(true)?;
                TlsConnector::from(tls)
                    .connect(ServerName::from(ip), tcp)
                    .await
            };
            let stream = stream.await.map_err(|e| e.to_string())?;
            let once = Mutex::new(Some(TokioIo::new(stream)));
            let connector = tower::service_fn(move |_: http::Uri| {
                let stream = once.lock().ok().and_then(|mut once| once.take());
                async move { stream.ok_or_else(|| std::io::Error::other("closed")) }
            });
            let channel = Endpoint::from_static("http://etcd")
                .connect_with_connector(connector)
                .await
                .map_err(|e| crate::api::chain(&e))?;
            let channel = etcd_client::Channel::Tonic(channel);
            Client::from_channel(channel, None).await.map_err(said)
        };
        let within = tokio::time::timeout(PATIENCE, connected).await;
        within.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, Failed> {
        let read = |name: &str| {
            let path = self.pki.join(name);
            std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
        };
        let identity = Identity {
            certificate: read("healthcheck-client.crt")?,
            key: Secret::new(read("healthcheck-client.key")?),
        };
        let mut config = tls(&read("ca.crt")?, Some(&identity))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new(Path::new(PKI))
    }
}

/// Who is to be asked of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// This machine's own member: it has a vote, or had the first.
    Own,
    /// Nobody: who founds a cluster has asked at the endpoint before the order was taken.
    Nobody,
    /// The other members, remembered or known to the cluster's API.
    Others,
}

impl Whom {
    /// `begun`: etcd has data here. `founding`: the order to bootstrap is not carried out yet.
    pub fn of(begun: bool, founding: bool, joined: Option<&Membership>) -> Self {
        match joined {
            None if begun => Self::Own,
            None if founding => Self::Nobody,
            Some(joined) if begun && joined.voter => Self::Own,
            _ => Self::Others,
        }
    }
}

/// The addresses of those a machine remembers as members, its own left out.
pub fn remembered(membership: &Membership, own_url: &str) -> BTreeSet<IpAddr> {
    let others = membership.initial_cluster.iter();
    let others = others.filter(|(_, url)| url != own_url);
    others.filter_map(|(_, url)| host(url)).collect()
}

/// Where a member is asked.
pub fn address(member: &Member) -> Option<IpAddr> {
    member.peer_urls.iter().find_map(|url| host(url))
}

fn host(url: &str) -> Option<IpAddr> {
    host_and_port(url)?.0.parse().ok()
}

fn listed(members: &[etcd_client::Member]) -> Vec<Member> {
    let member = |m: &etcd_client::Member| Member {
        id: MemberId(m.id()),
        name: m.name().to_owned(),
        peer_urls: m.peer_urls().to_vec(),
        learner: m.is_learner(),
        leader: false,
        applied: Probe::Absent,
    };
    members.iter().map(member).collect()
}

async fn limited<T>(
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, etcd_client::Error> {
    let within = tokio::time::timeout(PATIENCE, call).await;
    within.unwrap_or_else(|_| {
        let why = format!("no answer within {} s", PATIENCE.as_secs());
        Err(etcd_client::Error::Internal(why))
    })
}

fn said(error: etcd_client::Error) -> Failed {
    match error {
        etcd_client::Error::GRpcStatus(status) => status.message().to_owned(),
        etcd_client::Error::Internal(why) => why,
        other => other.to_string(),
    }
}

fn failed(operation: &'static str, object: String, why: String) -> NodeError {
    NodeError::Etcd {
        operation,
        object,
        why,
    }
}

#[cfg(test)]
mod real;
