//! The calls about bootstrap tokens.

use std::sync::Arc;
use std::time::SystemTime;

use machined_proto::v1;
use tonic::{Request, Response, Status};

use super::{Answer, Machine};
use crate::api::audit::Record;
use crate::api::{complete, peer_of, tokens};
use crate::ledger::Entry;

impl Machine {
    fn current(&self) -> Result<Arc<Entry>, Status> {
        let current = self.parts.ledger.current();
        current.ok_or_else(|| Status::failed_precondition("no config"))
    }

    pub(super) async fn make_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let request = request.into_inner();
        complete(async move {
            let current = this.current()?;
            let asked = tokens::asked(&current.bundle, request, SystemTime::now());
            let object = tokens::object(asked.as_ref().map_or("", |token| token.id()));
            let result = match asked {
                Ok(token) => tokens::create(&*this.parts.hands, &current.bundle, &token).await,
                Err(status) => Err(status),
            };
            let record = Record::new(&peer, "CreateToken").object(object);
            let created = this.written_down(record, result, |_| None).await?;
            Ok(Response::new(created))
        })
        .await
    }

    pub(super) async fn show_tokens(&self) -> Answer<v1::ListTokensResponse> {
        let current = self.current()?;
        let listed = tokens::list(&*self.parts.hands, &current.bundle).await?;
        Ok(Response::new(listed))
    }

    pub(super) async fn drop_token(
        &self,
        request: Request<v1::DeleteTokenRequest>,
    ) -> Answer<v1::DeleteTokenResponse> {
        let (this, peer) = (self.clone(), peer_of(&request)?);
        let id = request.into_inner().id;
        complete(async move {
            let current = this.current()?;
            let result = tokens::delete(&*this.parts.hands, &current.bundle, &id).await;
            let record = Record::new(&peer, "DeleteToken").object(tokens::object(&id));
            this.written_down(record, result, |()| None).await?;
            Ok(Response::new(v1::DeleteTokenResponse {}))
        })
        .await
    }
}
