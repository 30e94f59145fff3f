//! What the machine signs for others.

use std::time::SystemTime;

use machined_proto::v1;
use tonic::{Code, Response, Status};

use super::{Answer, Machine};
use crate::api::audit::Record;
use crate::api::peer::Peer;
use crate::api::{certificate, document, kubeconfig};

impl Machine {
    pub(super) async fn make_kubeconfig(
        &self,
        peer: Peer,
        lifetime: u32,
    ) -> Answer<v1::KubeconfigResponse> {
        let current = self.parts.ledger.current();
        let current = current.ok_or_else(|| Status::failed_precondition("no config"))?;
        let make = move || kubeconfig::make(&current.bundle, lifetime, SystemTime::now());
        let result = document::blocking(make).await?;
        let record = Record::new(&peer, "Kubeconfig").object(format!("lifetime {lifetime} s"));
        let text = self.written_down(record, result, |_| None).await?;
        let kubeconfig = text.expose().as_bytes().to_vec();
        Ok(Response::new(v1::KubeconfigResponse { kubeconfig }))
    }

    pub(super) async fn sign(
        &self,
        peer: Peer,
        request: v1::SignCertificateRequest,
    ) -> Answer<v1::SignCertificateResponse> {
        let current = self.parts.ledger.current();
        let current = current.ok_or_else(|| Status::failed_precondition("no config"))?;
        let record = Record::new(&peer, "SignCertificate").object(request.purpose().as_str_name());
        let founding = self.parts.ledger.founding();
        let sign = move || {
            let now = SystemTime::now();
            certificate::sign(&current.bundle, &peer, &request, now, founding)
        };
        let result = document::blocking(sign).await?;
        // Too early is no news: whoever is to join asks every few seconds until it is time.
        if let Err(early) = &result
            && early.code() == Code::Unavailable
        {
            return Err(early.clone());
        }
        let certificate_pem = self.written_down(record, result, |_| None).await?;
        Ok(Response::new(v1::SignCertificateResponse {
            certificate_pem,
        }))
    }
}
