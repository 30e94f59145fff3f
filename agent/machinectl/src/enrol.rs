//! A machine's first config. Both sides prove themselves before a byte of it is sent:
//! by certificates of the machine CA, or by the code on the machine's console.

use jiff::Timestamp;
use machine_pki::code::{EnrolmentCode, Side};
use machined_proto::v1::{EnrolRequest, ProveRequest};

use crate::client::{self, Limits, Link};
use crate::failure::{Failure, Kind};
use crate::target::Target;

/// Reads a code as typed. Its checksum finds mistyped ones before a machine is asked,
/// which allows few attempts.
pub fn code(text: &str) -> Result<EnrolmentCode, Failure> {
    EnrolmentCode::parse(text).map_err(|error| {
        Failure::usage(format!("the code: {error}"))
            .next("type it as the machine's console shows it: XXXXX-XXXXX-XXXXX-XXXXX")
    })
}

/// Enrols a machine that shows a code. Everything happens on one connection: both
/// proofs are over its TLS exporter, so a man in the middle, who has two connections
/// with two exporters, can neither make nor pass on a proof.
pub async fn by_code(
    target: &Target,
    code: &EnrolmentCode,
    document: &[u8],
    dry_run: bool,
    limits: Limits,
) -> Result<u64, Failure> {
    let link = client::connect_unproven(target, limits).await?;
    // Unproven, so good only for a friendlier refusal than the one that would follow.
    if link.is_configured() {
        return Err(Failure::failed(format!("{target} has a config already"))
            .next("leave --code out to replace its config"));
    }
    let proof = code.proof(Side::Client, link.exporter()).to_vec();
    let answer = link
        .call("prove", link.enrolment().prove(ProveRequest { proof }))
        .await;
    let answer = answer.map_err(|failure| code_refused(target, failure))?;
    if !code.verify(Side::Machine, link.exporter(), &answer.proof) {
        return Err(Failure::not_permitted(format!(
            "{target} could not prove that it knows the code. Nothing of the config was sent"
        ))
        .next(
            "this is another machine than the one whose console you read, or something between \
             you and it pretends to be it: check the address and the network before you go on",
        ));
    }
    send(&link, document, dry_run).await
}

/// Enrols a machine that was given its enrolment bundle before boot; the certificates
/// of both sides have been checked when `link` was opened.
pub async fn by_credential(link: &Link, document: &[u8], dry_run: bool) -> Result<u64, Failure> {
    send(link, document, dry_run).await
}

async fn send(link: &Link, document: &[u8], dry_run: bool) -> Result<u64, Failure> {
    let request = EnrolRequest {
        document: document.to_vec(),
        dry_run,
        sent_ms: Timestamp::now().as_millisecond(),
    };
    Ok(link
        .call("enrol", link.enrolment().enrol(request))
        .await?
        .generation)
}

fn code_refused(target: &Target, failure: Failure) -> Failure {
    match failure.kind {
        Kind::NotPermitted => Failure::not_permitted(format!(
            "{target} refused the code. Nothing of the config was sent\n  {}",
            failure.message
        ))
        .next(
            "is it this machine's code, and the newest on its console? A code works once. If it \
             is right, something between you and the machine pretends to be it",
        ),
        _ => failure,
    }
}
