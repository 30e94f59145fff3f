//! What the API has etcd's cluster do, written down.

use std::sync::Arc;

use machine_config::Endpoint;
use machine_plan::membership::MemberId;
use machine_plan::order::{EtcdVerb, Source};
use machined_proto::v1;
use machined_proto::v1::etcd_recover_request::Part;
use tonic::{Response, Status, Streaming};

use super::{Answer, Machine};
use crate::api::audit::Record;
use crate::api::peer::Peer;
use crate::api::{complete, convert, document, etcd};

impl Machine {
    /// Whether the cluster's etcd is looked after here, or on machines like this one.
    pub(super) fn own_etcd(&self) -> Result<(), Status> {
        let current = self.parts.ledger.current();
        if let Some(config) = current.as_ref().map(|c| &c.bundle.config)
            && let Some(members) = config.etcd_members().filter(|_| !config.has_etcd_member())
        {
            let at: Vec<_> = members.iter().map(ToString::to_string).collect();
            let message = "etcd is on machines of its own, and this is none of them".to_owned();
            let hint = format!("ask one of them: {}", at.join(", "));
            return Err(convert::conflict("cluster.etcd.members", message, &hint));
        }
        let external = current
            .as_ref()
            .and_then(|c| c.bundle.config.external_etcd());
        let Some(endpoints) = external else {
            return Ok(());
        };
        let urls: Vec<_> = endpoints.iter().map(Endpoint::url).collect();
        let message = "etcd is external: no machine of this cluster has a member".to_owned();
        let hint = format!("ask those who run it at {}", urls.join(", "));
        Err(convert::conflict("cluster.etcd.external", message, &hint))
    }

    pub(super) async fn remove_member(
        &self,
        peer: Peer,
        request: v1::EtcdRemoveMemberRequest,
    ) -> Answer<v1::EtcdRemoveMemberResponse> {
        let removed = async {
            self.own_etcd()?;
            etcd::remove(&*self.parts.hands, &request).await
        };
        let result = removed.await;
        let id = MemberId(request.id);
        let record = Record::new(&peer, "EtcdRemoveMember").object(format!("member {id}"));
        let name = self.written_down(record, result, |_| None).await?;
        let event = format!("removed by {}", peer.by());
        let object = format!("etcd member {name}");
        self.parts.board.emit("order", object, event);
        Ok(Response::new(v1::EtcdRemoveMemberResponse { name }))
    }

    pub(super) async fn forfeit_leadership(
        &self,
        peer: Peer,
    ) -> Answer<v1::EtcdForfeitLeadershipResponse> {
        let forfeited = async {
            self.own_etcd()?;
            self.parts
                .hands
                .forfeit()
                .await
                .map_err(Status::unavailable)
        };
        let result = forfeited.await;
        let record = Record::new(&peer, "EtcdForfeitLeadership");
        let leader = self.written_down(record, result, |_| None).await?;
        let leader = leader.unwrap_or_default();
        Ok(Response::new(v1::EtcdForfeitLeadershipResponse { leader }))
    }

    pub(super) async fn alarms(
        &self,
        peer: Peer,
        request: v1::EtcdAlarmsRequest,
    ) -> Answer<v1::EtcdAlarmsResponse> {
        let asked = async {
            self.own_etcd()?;
            etcd::care::alarms(&*self.parts.hands, request).await
        };
        let result = asked.await;
        if !request.disarm {
            return result.map(Response::new);
        }
        let record = Record::new(&peer, "EtcdAlarms").object("disarm");
        let alarms = self.written_down(record, result, |_| None).await?;
        Ok(Response::new(alarms))
    }

    pub(super) async fn leave(
        &self,
        peer: Peer,
        request: v1::EtcdLeaveRequest,
    ) -> Answer<v1::EtcdLeaveResponse> {
        let ordered = async {
            self.own_etcd()?;
            let verb = etcd::orders::leave(&*self.parts.hands, request).await?;
            self.order(verb, &peer).await
        };
        let result = ordered.await;
        let record = Record::new(&peer, "EtcdLeave");
        let order = self.written_down(record, result, |_| None).await?;
        Ok(Response::new(v1::EtcdLeaveResponse { order }))
    }

    pub(super) async fn join(&self, peer: Peer) -> Answer<v1::EtcdJoinResponse> {
        let ledger = Arc::clone(&self.parts.ledger);
        let forgotten = async {
            self.own_etcd()?;
            let forgotten = document::blocking(move || ledger.forget_etcd_order()).await?;
            forgotten.map_err(|e| convert::ledger(&e))
        };
        let result = forgotten.await;
        let record = Record::new(&peer, "EtcdJoin");
        self.written_down(record, result, |()| None).await?;
        self.parts.wake.wake();
        Ok(Response::new(v1::EtcdJoinResponse {}))
    }

    /// Everything is asked, and the snapshot is whole, before the order is there; before the order is
    /// there nothing is done.
    pub(super) async fn recover(
        &self,
        peer: Peer,
        mut parts: Streaming<v1::EtcdRecoverRequest>,
    ) -> Answer<v1::EtcdRecoverResponse> {
        let first = parts.message().await?.and_then(|first| first.part);
        let Some(Part::Wish(wish)) = first else {
            return Err(Status::invalid_argument("the first message is the wish"));
        };
        let asked = async {
            self.own_etcd()?;
            etcd::orders::recovery(&*self.parts.hands, &wish).await
        };
        let asked = asked.await;
        if wish.dry_run {
            return asked.map(|(_, explained)| Response::new(explained));
        }
        let record = Record::new(&peer, "EtcdRecover");
        let asked = asked.and_then(|(from, explained)| {
            if explained.refused.is_empty() {
                return Ok((from, explained));
            }
            Err(Status::failed_precondition(explained.refused))
        });
        let received = async {
            let (from, explained) = asked?;
            if matches!(from, Source::Snapshot { .. }) {
                etcd::orders::receive(&self.parts.ledger, &wish, parts).await?;
            }
            Ok((from, explained))
        };
        let (this, received) = (self.clone(), received.await);
        complete(async move {
            let ordered = match received {
                Ok((from, explained)) => {
                    let order = this.order(EtcdVerb::Recover(from), &peer).await;
                    order.map(|order| v1::EtcdRecoverResponse { order, ..explained })
                }
                Err(status) => Err(status),
            };
            let response = this.written_down(record, ordered, |_| None).await?;
            Ok(Response::new(response))
        })
        .await
    }

    async fn order(&self, verb: EtcdVerb, peer: &Peer) -> Result<String, Status> {
        let current = self.parts.ledger.current();
        if !current.is_some_and(|entry| entry.bundle.config.has_etcd_member()) {
            return Err(Status::failed_precondition(
                "this machine is to have no member of etcd",
            ));
        }
        let (ledger, by) = (Arc::clone(&self.parts.ledger), peer.by());
        let order = document::blocking(move || ledger.order_etcd(verb, &by)).await?;
        let order = order.map_err(|e| convert::ledger(&e))?;
        let event = format!("ordered by {}", peer.by());
        self.parts.board.emit("order", order.clone(), event);
        self.parts.wake.wake();
        Ok(order)
    }
}
