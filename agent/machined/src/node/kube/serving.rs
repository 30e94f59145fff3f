//! Requests of kubelets for the certificates that they serve with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use data_encoding::BASE64;
use futures_util::{Stream, StreamExt, stream};
use machine_plan::action::Action;
use machine_plan::observed::Probe;
use machine_plan::serving::{SIGNER, ServingRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::objects::{Condition, List, Metadata};
use super::watched::Watched;
use super::{Access, Client, Error, Kube, Patch, escaped};
use crate::ledger::Entry;
use crate::node::{Node, NodeError};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// More than any kubelet's, in base64: what is longer is not even read.
const LONGEST: usize = 16 * 1024;

/// A request for a certificate.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Csr {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

/// What is asked, and by whom: the API server writes that itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    signer_name: String,
    request: String,
    usages: Vec<String>,
    username: String,
    groups: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
    certificate: Option<String>,
}

impl Csr {
    /// Whether nobody has approved or denied it, its signer has not failed, and it is for kubelet's.
    fn is_open(&self) -> bool {
        let decides = |c: &Condition| matches!(c.kind.as_str(), "Approved" | "Denied" | "Failed");
        self.spec.signer_name == SIGNER
            && self.status.certificate.is_none()
            && !self.status.conditions.iter().any(decides)
    }

    /// As it is judged.
    fn seen(self) -> ServingRequest {
        let spec = self.spec;
        let made = self.metadata.creation_timestamp.unwrap_or_default();
        ServingRequest {
            name: self.metadata.name,
            uid: self.metadata.uid,
            username: spec.username,
            groups: spec.groups,
            usages: spec.usages,
            asks: asked(&spec.request).map_or_else(Probe::Unreadable, Probe::Seen),
            made: made.parse().map_or(0, jiff::Timestamp::as_second),
        }
    }
}

fn asked(request: &str) -> Result<machine_pki::RequestFacts, String> {
    if request.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let pem = BASE64.decode(request.as_bytes()).ok();
    let pem = pem.and_then(|pem| String::from_utf8(pem).ok());
    let pem = pem.ok_or("it is no text in base64")?;
    machine_pki::inspect_request(&pem).map_err(|e| e.to_string())
}

/// What was said in this run of the agent of requests that are left alone, by who made them.
#[derive(Default)]
pub struct Told(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Told {
    /// Says so once more.
    pub fn note(&self, whom: &str, why: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.entry(whom.to_owned())
            .or_default()
            .insert(why.to_owned());
    }

    /// All of it. What was said of who has no request left is forgotten.
    pub fn of(&self, open: &Probe<Vec<ServingRequest>>) -> BTreeMap<String, BTreeSet<String>> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Probe::Seen(open) = open
            && !told.is_empty()
        {
            let whose: BTreeSet<_> = open.iter().map(ServingRequest::whom).collect();
            told.retain(|whom, _| whose.contains(whom));
        }
        told.clone()
    }
}

impl Kube {
    /// Those that nobody has decided on, as the watch knows them, `Absent` while nobody watches; and
    /// what was said of such.
    pub fn serving(
        &self,
    ) -> (
        Probe<Vec<ServingRequest>>,
        BTreeMap<String, BTreeSet<String>>,
    ) {
        let open = self.serving.all().map_or(Probe::Absent, Probe::Seen);
        let told = self.told.of(&open);
        (open, told)
    }

    /// News of requests, until the connection ends; the first is that it began.
    pub async fn serving_changes(
        &self,
        access: &Access,
    ) -> Result<impl Stream<Item = ()> + use<>, String> {
        let client = self.client(access)?;
        let changes = changes(&client, &self.serving).await;
        changes.map_err(|e| e.to_string())
    }

    /// Carries out what was decided on a request.
    pub async fn decide(&self, access: &Access, action: &Action) -> Result<(), NodeError> {
        match action {
            Action::ApproveServing { name, uid, node } => {
                let fail = |why: String| NodeError::Kube {
                    operation: "approve",
                    object: action.object(),
                    why,
                };
                let client = self.client(access).map_err(fail)?;
                let done = approve(&client, (name, uid), node).await;
                // The watch says so too, a moment later: until then it must not look as if it were
                // left to do.
                if done.map_err(|e| fail(e.to_string()))? {
                    self.serving.gone(name);
                }
            }
            Action::TellServing { whom, why, .. } => self.told.note(whom, why),
            _ => {}
        }
        Ok(())
    }
}

impl Node {
    /// News of requests, on a control plane, until the API server ends the watch.
    pub async fn serving(&self, entry: &Entry) -> Result<impl Stream<Item = ()> + use<>, String> {
        self.kube.serving_changes(&self.access(entry)).await
    }

    pub(in crate::node) async fn execute_serving(
        &self,
        entry: &Entry,
        action: &Action,
    ) -> Result<(), NodeError> {
        self.kube.decide(&self.access(entry), action).await
    }
}

async fn changes(
    client: &Client,
    known: &Watched<ServingRequest>,
) -> Result<impl Stream<Item = ()> + use<>, Error> {
    let of = escaped(&format!("spec.signerName={SIGNER}"));
    let path = format!("{REQUESTS}?fieldSelector={of}");
    // From the API server's cache: that is new enough, and costs etcd nothing.
    let cached = format!("{path}&resourceVersion=0");
    let listed = client.get::<List<Csr>>(&cached).await?;
    let events = client.watch::<Csr>(&path, listed.version()).await?;
    let open = listed.items().into_iter().filter(Csr::is_open);
    let going = known.begin(open.map(Csr::seen));
    let news = events.filter_map(move |event| {
        let csr = event.object;
        let news = match event.kind.as_str() {
            "ADDED" | "MODIFIED" if csr.is_open() => going.seen(csr.seen()),
            "ADDED" | "MODIFIED" | "DELETED" => going.gone(&csr.metadata.name),
            _ => false,
        };
        std::future::ready(news.then_some(()))
    });
    Ok(stream::once(std::future::ready(())).chain(news))
}

/// Whether it needs nothing more: one that somebody has decided on, or that is gone, does not; one that
/// somebody changes at the same time is looked at again.
async fn approve(client: &Client, which: (&str, &str), node: &str) -> Result<bool, Error> {
    match approved(client, which, node).await {
        Err(Error::Refused { code: 409, .. }) => Ok(false),
        Err(Error::Refused { code: 404, .. }) => Ok(true),
        done => done,
    }
}

async fn approved(client: &Client, (name, uid): (&str, &str), node: &str) -> Result<bool, Error> {
    let path = format!("{REQUESTS}/{}", escaped(name));
    let whole = client.get::<Value>(&path).await?;
    let csr = Csr::deserialize(&whole).map_err(|e| Error::Unreadable(e.to_string()))?;
    // One that was made anew under the same name has not been judged.
    if csr.metadata.uid != uid {
        return Ok(false);
    }
    if !csr.is_open() {
        return Ok(true);
    }
    let mut conditions = match &whole["status"]["conditions"] {
        Value::Array(conditions) => conditions.clone(),
        _ => Vec::new(),
    };
    conditions.push(json!({
        "type": "Approved",
        "status": "True",
        "reason": "NodeServing",
        "message": format!("its names and addresses are those of node {node}"),
    }));
    // The version makes a concurrent change a conflict, and so is another object of the same name.
    let patch = json!({
        "metadata": { "resourceVersion": csr.metadata.resource_version },
        "status": { "conditions": conditions },
    });
    let path = format!("{path}/approval");
    client.patch(&path, Patch::Merge, &patch).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
