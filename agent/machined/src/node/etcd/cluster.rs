//! etcd's cluster, asked over mutual TLS at its members' client addresses.
//!
//! A learner answers next to nothing, so what is known of the cluster comes
//! from a member with a vote, and what is asked of the cluster goes to one.

mod care;
mod change;
mod link;
mod turn;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Client, MemberAddOptions, MemberListResponse};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, FuturesUnordered};
use machine_plan::membership::{Member, MemberId, Membership};
use machine_plan::observed::Probe;
use machine_plan::turn::TurnSeen;
use tonic::Code;

use crate::journal::clipped;
use crate::ledger::Ledger;
use crate::node::NodeError;
use crate::node::kube::host_and_port;
use change::Change;
use link::{Failed, at_member, limited, said};
use turn::{TURN, held};

/// etcd's words where there is a learner already.
const FULL: &str = "too many learner members";

/// Its words where a voter has not been connected for 5 s (`HealthInterval`), as its newest never is.
const UNHEALTHY: &str = "unhealthy cluster";

/// Its words where the number that it makes of the peer's URL and the second was somebody's who was
/// taken out in that second.
const REMOVED: &str = "member not found";
const ID_LASTS: Duration = Duration::from_secs(1);

/// What etcd says of a promotion that another machine has seen to.
const ALREADY: &str = "can only promote a learner member";

/// Where the certificates are that members want to see.
pub const PKI: &str = "/etc/kubernetes/pki/etcd";

/// The cluster, as this machine may ask it.
#[derive(Debug, Clone)]
pub struct Cluster {
    pki: PathBuf,
}

/// A member with a vote that answers, and who is a member and whose turn it is by its word.
struct Voter {
    ip: IpAddr,
    /// Which of them it is: its address may be another than the listed one.
    id: MemberId,
    client: Client,
    members: Vec<Member>,
    turn: Probe<TurnSeen>,
}

/// What a member with a vote says.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// All members: `Absent` is that there is nobody to ask.
    pub members: Probe<Vec<Member>>,
    /// Whose turn it is.
    pub turn: Probe<TurnSeen>,
    /// Whether this machine's own member says so, and answers on loopback alone.
    pub astray: bool,
}

impl Asked {
    /// Nobody was there to ask.
    pub const NOBODY: Self = Self {
        members: Probe::Absent,
        turn: Probe::Absent,
        astray: false,
    };

    /// Nothing was said.
    pub fn silence(why: &str) -> Self {
        Self {
            members: Probe::Unreadable(why.to_owned()),
            turn: Probe::Unreadable(why.to_owned()),
            astray: false,
        }
    }
}

impl Voter {
    fn of(ip: IpAddr, list: &MemberListResponse, turn: Probe<TurnSeen>, client: Client) -> Self {
        let id = list.header().map_or(0, |header| header.member_id());
        Self {
            ip,
            id: MemberId(id),
            members: listed(list.members()),
            turn,
            client,
        }
    }
}

impl Cluster {
    /// With the authority and client certificate in this folder.
    pub fn new(pki: impl Into<PathBuf>) -> Self {
        Self { pki: pki.into() }
    }

    /// All members, from the first of these addresses whose member has a vote.
    /// `Absent`: there is nobody to ask.
    pub async fn members(&self, at: &BTreeSet<IpAddr>) -> Probe<Vec<Member>> {
        self.ask(at).await.members
    }

    /// The same, and whose turn it is.
    pub async fn ask(&self, at: &BTreeSet<IpAddr>) -> Asked {
        if at.is_empty() {
            return Asked::NOBODY;
        }
        match self.voter(at).await {
            Ok(voter) => {
                let turn = voter.turn.clone();
                let seen = self.seen(voter).await;
                let members = seen.into_iter().map(|seen| seen.member).collect();
                Asked {
                    members: Probe::Seen(members),
                    turn,
                    astray: false,
                }
            }
            Err(why) => Asked::silence(&why),
        }
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
        let Voter {
            mut client,
            mut members,
            ..
        } = self.voter(at).await.map_err(fail)?;
        let here = |member: &&Member| member.peer_urls.iter().any(|url| url == peer_url);
        if !members.iter().any(|member| here(&member)) {
            let change = Change::begin(&mut client, peer_url).await.map_err(fail)?;
            let mut add = async || {
                let options = MemberAddOptions::new().with_is_learner();
                let urls = vec![peer_url.to_owned()];
                let added = limited(client.member_add(urls, Some(options))).await;
                added.map_err(said)
            };
            let mut added = add().await;
            if added.as_ref().is_err_and(|why| why.contains(REMOVED)) {
                tokio::time::sleep(ID_LASTS).await;
                added = add().await;
            }
            change.end(&mut client).await;
            match added {
                Ok(added) => members = listed(added.member_list()),
                // Somebody else was quicker: the next look says behind whom this machine waits.
                Err(why) if why.contains(FULL) => return Ok(()),
                Err(why) if why.contains(UNHEALTHY) => {
                    let when = "etcd takes one once all that vote have been connected for 5 s";
                    return Err(fail(format!("{when}: it says {why}")));
                }
                Err(why) => return Err(fail(why)),
            }
        }
        let own = members.iter().find(here);
        let own = own.ok_or_else(|| fail("the cluster does not list it".to_owned()))?;
        let boot = crate::boot::boot_id();
        let membership = Membership::of(&members, own.id, name, false).added_in(&boot);
        Ok(ledger.keep_membership(&membership)?)
    }

    /// Gives a learner its vote. One that has it is promoted.
    pub async fn promote(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, name): (MemberId, &str),
    ) -> Result<(), NodeError> {
        let fail = |why| failed("promote", format!("etcd member {name} ({id})"), why);
        let Voter {
            mut client,
            members,
            ..
        } = self.voter(at).await.map_err(fail)?;
        if members.iter().any(|m| m.id == id && !m.learner) {
            return Ok(());
        }
        let change = Change::begin(&mut client, &id.to_string()).await;
        let change = change.map_err(fail)?;
        let promoted = limited(client.member_promote(id.0)).await.map_err(said);
        change.end(&mut client).await;
        match promoted {
            // Somebody else was quicker.
            Err(why) if why.contains(ALREADY) => Ok(()),
            promoted => promoted.map(drop).map_err(fail),
        }
    }

    /// Tells the others where a member is from now on. One that is listed there needs nothing; one
    /// without a vote is never told of: etcd up to 3.6.11 would take it for a voter.
    pub async fn update(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, name): (MemberId, &str),
        peer_url: &str,
    ) -> Result<(), NodeError> {
        let fail = |why| failed("list anew", format!("etcd member {name} ({id})"), why);
        let Voter {
            mut client,
            members,
            ..
        } = self.voter(at).await.map_err(fail)?;
        match members.iter().find(|m| m.id == id) {
            None => Err(fail("the cluster does not have it".to_owned())),
            Some(own) if own.peer_urls == [peer_url] => Ok(()),
            Some(own) if own.learner => Err(fail("it has no vote yet".to_owned())),
            Some(_) => {
                let told = limited(client.member_update(id.0, [peer_url.to_owned()])).await;
                told.map(drop).map_err(|e| fail(said(e)))
            }
        }
    }

    /// Takes a member out. One that is not there is out.
    pub async fn remove(
        &self,
        at: &BTreeSet<IpAddr>,
        (id, name): (MemberId, &str),
    ) -> Result<(), NodeError> {
        let fail = |why| failed("remove", format!("etcd member {name} ({id})"), why);
        let Voter {
            mut client,
            members,
            ..
        } = self.voter(at).await.map_err(fail)?;
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

    // The first to list the members after it has read something by the quorum's word, whose turn it
    // is: a list alone may be old, and a learner or one that is cut off knows no better.
    async fn voter(&self, at: &BTreeSet<IpAddr>) -> Result<Voter, Failed> {
        let asked = at.iter().map(|ip| async move {
            let mut client = self.connect(*ip).await?;
            let answer = async {
                let turn = limited(client.get(TURN, None)).await?;
                Ok::<_, etcd_client::Error>((turn, limited(client.member_list()).await?))
            };
            let (turn, list) = answer.await.map_err(|e| at_member(*ip, e))?;
            let turn = held(turn.kvs());
            Ok::<_, Failed>(Voter::of(*ip, &list, turn, client))
        });
        let mut asked: FuturesUnordered<_> = asked.collect();
        if asked.is_empty() {
            return Err("no other member is known".to_owned());
        }
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
        moved.map_err(|e| at_member(own, e))?;
        Ok(Some(next.shown().to_owned()))
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
        let stream = limited(client.snapshot()).await;
        let stream = stream.map_err(|e| at_member(ip, e))?;
        // The client goes along: its connection ends with it.
        Ok(futures_util::stream::try_unfold(
            (client, stream),
            move |(client, mut stream)| async move {
                let part = limited(stream.message()).await;
                let part = part.map_err(|e| at_member(ip, e))?;
                Ok(part.map(|part| {
                    let parts = (part.blob().to_vec(), part.remaining_bytes());
                    (parts, (client, stream))
                }))
            },
        )
        .boxed())
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

fn failed(operation: &'static str, object: String, why: String) -> NodeError {
    NodeError::Etcd {
        operation,
        object,
        why,
    }
}

#[cfg(test)]
mod real;
