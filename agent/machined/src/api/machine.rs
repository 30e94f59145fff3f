//! The machine service: each call in a few lines, work elsewhere.

mod issue;
mod member;
mod power;
mod state;
mod steps;
mod tokens;

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use machine_plan::turn::Purpose;
use machined_proto::v1;
use machined_proto::v1::machine_service_server::{MachineService, MachineServiceServer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::audit::Record;
use super::{Parts, complete, config, convert, document, etcd, events, logs, peer_of};

/// Streams of events and logs at once, over all connections: each log stream is a process.
const STREAMS: usize = 24;

/// Everything a configured machine serves.
pub(super) async fn routes(parts: Parts, stop: &CancellationToken) -> Routes {
    let streams = Arc::new(Semaphore::new(STREAMS));
    let machine = Machine {
        parts,
        streams,
        stop: stop.clone(),
    };
    let machine = MachineServiceServer::new(machine)
        .max_decoding_message_size(machined_proto::MESSAGE_LIMIT)
        .max_encoding_message_size(4 * machined_proto::MESSAGE_LIMIT);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<MachineServiceServer<Machine>>().await;
    let routes = Routes::new(machine).add_service(health_service);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(machined_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("machine.v1.MachineService")
        .with_service_name("grpc.health.v1.Health")
        .build_v1();
    match reflection {
        Ok(reflection) => routes.add_service(reflection),
        Err(error) => {
            // A convenience for explorers; the API works without it.
            tracing::error!(%error, "no gRPC reflection");
            routes
        }
    }
}

#[derive(Clone)]
struct Machine {
    parts: Parts,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MachineService for Machine {
    type EventsStream = BoxStream<'static, Result<v1::Event, Status>>;
    type LogsStream = BoxStream<'static, Result<v1::LogLine, Status>>;
    type DmesgStream = BoxStream<'static, Result<v1::LogLine, Status>>;
    type EtcdDefragmentStream = BoxStream<'static, Result<v1::EtcdDefragmentResponse, Status>>;
    type EtcdSnapshotStream = BoxStream<'static, Result<v1::EtcdSnapshotResponse, Status>>;

    async fn version(&self, _: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
        Ok(Response::new(self.what_it_is()))
    }

    async fn apply_config(
        &self,
        request: Request<v1::ApplyConfigRequest>,
    ) -> Answer<v1::ApplyConfigResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = request.into_inner();
        let dry_run = request.dry_run;
        complete(async move {
            let parts = &this.parts;
            let result = config::apply(&parts.ledger, request, peer.by()).await;
            if dry_run {
                return result.map(|applied| Response::new(applied.response));
            }
            if let Ok(applied) = &result
                && applied.accepted
            {
                this.accepted(applied.response.generation, &peer.by());
            }
            let record = Record::new(&peer, "ApplyConfig");
            let generation = |applied: &config::Applied| Some(applied.response.generation);
            let applied = this.written_down(record, result, generation).await?;
            Ok(Response::new(applied.response))
        })
        .await
    }

    async fn confirm_config(
        &self,
        request: Request<v1::ConfirmConfigRequest>,
    ) -> Answer<v1::ConfirmConfigResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let asked = Some(request.get_ref().generation).filter(|g| *g > 0);
        complete(async move {
            let ledger = Arc::clone(&this.parts.ledger);
            let result = document::blocking(move || ledger.confirm(asked))
                .await?
                .map_err(|e| convert::ledger(&e));
            if let Ok(generation) = &result {
                let by = peer.by();
                let object = format!("generation {generation}");
                this.parts
                    .board
                    .emit("config", object, format!("confirmed by {by}"));
                this.parts.wake.wake();
            }
            let record = Record::new(&peer, "ConfirmConfig");
            let generation = this.written_down(record, result, |g| Some(*g)).await?;
            Ok(Response::new(v1::ConfirmConfigResponse { generation }))
        })
        .await
    }

    async fn get_config(
        &self,
        request: Request<v1::GetConfigRequest>,
    ) -> Answer<v1::GetConfigResponse> {
        config::get(&self.parts.ledger, request.get_ref().generation).map(Response::new)
    }

    async fn list_generations(
        &self,
        _: Request<v1::ListGenerationsRequest>,
    ) -> Answer<v1::ListGenerationsResponse> {
        Ok(Response::new(config::history(&self.parts.ledger)))
    }

    async fn rollback_config(
        &self,
        request: Request<v1::RollbackConfigRequest>,
    ) -> Answer<v1::RollbackConfigResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = request.into_inner();
        if request.generation == 0 {
            return Err(Status::invalid_argument(
                "generation is needed: the one to go back to",
            ));
        }
        complete(async move {
            let (ledger, by) = (Arc::clone(&this.parts.ledger), peer.by());
            let result =
                document::blocking(move || config::rollback(&ledger, &request, by)).await?;
            if let Ok(generation) = &result {
                this.accepted(*generation, &peer.by());
            }
            let record = Record::new(&peer, "RollbackConfig")
                .object(format!("to generation {}", request.generation));
            let generation = this.written_down(record, result, |g| Some(*g)).await?;
            Ok(Response::new(v1::RollbackConfigResponse { generation }))
        })
        .await
    }

    async fn bootstrap(
        &self,
        request: Request<v1::BootstrapRequest>,
    ) -> Answer<v1::BootstrapResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        complete(async move {
            let result = this.order_bootstrap(&peer.by()).await;
            let object = result.clone().unwrap_or_else(|_| "bootstrap".to_owned());
            let record = Record::new(&peer, "Bootstrap").object(object);
            let order = this.written_down(record, result, |_| None).await?;
            Ok(Response::new(v1::BootstrapResponse { order }))
        })
        .await
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        Ok(Response::new(self.how_it_is()))
    }

    async fn inspect(&self, request: Request<v1::InspectRequest>) -> Answer<v1::InspectResponse> {
        let json = self.inspected(request.get_ref().what)?;
        Ok(Response::new(v1::InspectResponse { json }))
    }

    async fn events(&self, request: Request<v1::EventsRequest>) -> Answer<Self::EventsStream> {
        let v1::EventsRequest { from, follow } = *request.get_ref();
        let events = events::stream(Arc::clone(&self.parts.board), from, follow);
        self.stream(events.map(|event| Ok(convert::event(event))))
    }

    async fn list_services(
        &self,
        _: Request<v1::ListServicesRequest>,
    ) -> Answer<v1::ListServicesResponse> {
        let services = self
            .parts
            .hands
            .services()
            .await
            .map_err(Status::unavailable)?;
        let services = services.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::ListServicesResponse { services }))
    }

    async fn restart_service(
        &self,
        request: Request<v1::RestartServiceRequest>,
    ) -> Answer<v1::RestartServiceResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let name = logs::unit(&request.get_ref().name)?;
        complete(async move { this.restart(peer, name).await }).await
    }

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        self.stream(self.parts.journal.logs(request.get_ref())?)
    }

    async fn dmesg(&self, request: Request<v1::DmesgRequest>) -> Answer<Self::DmesgStream> {
        self.stream(self.parts.journal.dmesg(request.get_ref().follow)?)
    }

    async fn kubeconfig(
        &self,
        request: Request<v1::KubeconfigRequest>,
    ) -> Answer<v1::KubeconfigResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let lifetime = request.get_ref().lifetime_seconds;
        complete(async move { this.make_kubeconfig(peer, lifetime).await }).await
    }

    async fn sign_certificate(
        &self,
        request: Request<v1::SignCertificateRequest>,
    ) -> Answer<v1::SignCertificateResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = request.into_inner();
        complete(async move { this.sign(peer, request).await }).await
    }

    async fn etcd_members(
        &self,
        _: Request<v1::EtcdMembersRequest>,
    ) -> Answer<v1::EtcdMembersResponse> {
        self.own_etcd()?;
        let members = etcd::members(&*self.parts.hands).await?;
        Ok(Response::new(members))
    }

    async fn etcd_remove_member(
        &self,
        request: Request<v1::EtcdRemoveMemberRequest>,
    ) -> Answer<v1::EtcdRemoveMemberResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = *request.get_ref();
        complete(async move { this.remove_member(peer, request).await }).await
    }

    async fn etcd_forfeit_leadership(
        &self,
        request: Request<v1::EtcdForfeitLeadershipRequest>,
    ) -> Answer<v1::EtcdForfeitLeadershipResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        complete(async move { this.forfeit_leadership(peer).await }).await
    }

    async fn etcd_snapshot(
        &self,
        request: Request<v1::EtcdSnapshotRequest>,
    ) -> Answer<Self::EtcdSnapshotStream> {
        // It is read by who may read every Secret: that is written down.
        let record = Record::new(&peer_of(&request)?, "EtcdSnapshot");
        let asked = async {
            self.own_etcd()?;
            etcd::snapshot(&*self.parts.hands).await
        };
        let result = asked.await;
        let stream = self.written_down(record, result, |_| None).await?;
        self.stream(stream)
    }

    async fn etcd_status(
        &self,
        _: Request<v1::EtcdStatusRequest>,
    ) -> Answer<v1::EtcdStatusResponse> {
        self.own_etcd()?;
        let status = etcd::care::status(&*self.parts.hands).await?;
        Ok(Response::new(status))
    }

    async fn etcd_alarms(
        &self,
        request: Request<v1::EtcdAlarmsRequest>,
    ) -> Answer<v1::EtcdAlarmsResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = *request.get_ref();
        complete(async move { this.alarms(peer, request).await }).await
    }

    async fn etcd_defragment(
        &self,
        request: Request<v1::EtcdDefragmentRequest>,
    ) -> Answer<Self::EtcdDefragmentStream> {
        let record = Record::new(&peer_of(&request)?, "EtcdDefragment");
        let hands = Arc::clone(&self.parts.hands);
        let asked = async {
            self.own_etcd()?;
            etcd::care::defragment(hands, request.into_inner()).await
        };
        let result = asked.await;
        let stream = self.written_down(record, result, |_| None).await?;
        self.stream(stream)
    }

    async fn etcd_leave(
        &self,
        request: Request<v1::EtcdLeaveRequest>,
    ) -> Answer<v1::EtcdLeaveResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = *request.get_ref();
        complete(async move { this.leave(peer, request).await }).await
    }

    async fn etcd_join(
        &self,
        request: Request<v1::EtcdJoinRequest>,
    ) -> Answer<v1::EtcdJoinResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        complete(async move { this.join(peer).await }).await
    }

    async fn etcd_recover(
        &self,
        request: Request<Streaming<v1::EtcdRecoverRequest>>,
    ) -> Answer<v1::EtcdRecoverResponse> {
        let peer = peer_of(&request)?;
        self.recover(peer, request.into_inner()).await
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        self.make_token(request).await
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Answer<v1::ListTokensResponse> {
        self.show_tokens().await
    }

    async fn delete_token(
        &self,
        request: Request<v1::DeleteTokenRequest>,
    ) -> Answer<v1::DeleteTokenResponse> {
        self.drop_token(request).await
    }

    async fn reboot(&self, request: Request<v1::RebootRequest>) -> Answer<v1::RebootResponse> {
        let peer = peer_of(&request)?;
        let asked = request.get_ref();
        self.go_down(Purpose::Reboot, &peer, asked.drain_seconds, asked.force)
            .await?;
        Ok(Response::new(v1::RebootResponse {}))
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Answer<v1::ShutdownResponse> {
        let peer = peer_of(&request)?;
        let asked = request.get_ref();
        self.go_down(Purpose::Shutdown, &peer, asked.drain_seconds, asked.force)
            .await?;
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}
