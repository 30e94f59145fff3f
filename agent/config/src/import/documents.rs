//! The documents of all inputs: which kinds there are, and that each is there once.

use super::Source;
use super::account::Account;
use super::draft::at;
use super::finding::Finding;
use super::input::{Item, Origin};
use crate::path::{Path, quote};
use crate::problem::Fault;
use crate::suggest::nearest;
use crate::yaml::{self, Body, Node, Place};

pub(super) const INIT: &str = "InitConfiguration";
pub(super) const CLUSTER: &str = "ClusterConfiguration";
pub(super) const JOIN: &str = "JoinConfiguration";
pub(super) const KUBELET: &str = "KubeletConfiguration";
pub(super) const PROXY: &str = "KubeProxyConfiguration";
const STATUS: &str = "ClusterStatus";
const RESET: &str = "ResetConfiguration";
const UPGRADE: &str = "UpgradeConfiguration";

const KUBEADM: &str = "kubeadm.k8s.io/";
const KUBEADM_VERSIONS: [&str; 4] = ["v1beta1", "v1beta2", "v1beta3", "v1beta4"];

/// Every kind, and the `apiVersion` of those that are not kubeadm's own.
const KINDS: [(&str, Option<&str>); 8] = [
    (INIT, None),
    (CLUSTER, None),
    (JOIN, None),
    (STATUS, None),
    (RESET, None),
    (UPGRADE, None),
    (KUBELET, Some("kubelet.config.k8s.io/v1beta1")),
    (PROXY, Some("kubeproxy.config.k8s.io/v1alpha1")),
];

/// Why documents of a kind that says nothing about a machine are left, and what to do instead.
pub(super) fn of_no_use(kind: &str) -> (&'static str, &'static str) {
    match kind {
        STATUS => (
            "is what kubeadm noted of a running cluster",
            "nothing is needed: etcd's members are looked up",
        ),
        _ => (
            "is for a command of kubeadm that machines do not need",
            "remove it",
        ),
    }
}

/// The documents of all inputs, by kind.
#[derive(Default)]
pub(super) struct Documents(Vec<(&'static str, Item)>);

impl Documents {
    pub(super) fn has(&self, kind: &str) -> bool {
        self.0.iter().any(|(found, _)| *found == kind)
    }

    pub(super) fn take(&mut self, kind: &str) -> Option<Item> {
        let index = self.0.iter().position(|(found, _)| *found == kind)?;
        Some(self.0.remove(index).1)
    }

    /// What nobody took.
    pub(super) fn rest(self) -> Vec<(&'static str, Item)> {
        self.0
    }
}

/// Reads every input. What is no document that can be imported is a problem.
pub(super) fn read(sources: &[Source], account: &mut Account) -> Documents {
    let mut documents = Documents::default();
    for source in sources {
        let mut problems = Vec::new();
        let roots = match crate::read::text(&source.bytes) {
            Ok(text) => yaml::parse(text, &mut problems),
            Err(refused) => {
                problems.extend(refused);
                Vec::new()
            }
        };
        account.problems.extend(problems.into_iter().map(|problem| {
            let file = source.name.clone();
            Finding { file, problem }
        }));
        for node in roots.into_iter().filter(|node| !node.is_nothing()) {
            doubled(&node, &source.name, &Path::root(), account);
            sort(node, &source.name, &mut documents, account);
        }
    }
    if documents.0.is_empty() && account.problems.is_empty() {
        let origin = Origin::Nowhere("");
        let hint = "apiVersion: kubeadm.k8s.io/v1beta4, kind: ClusterConfiguration, for example";
        account.refuse(
            &origin,
            Fault::new("no kubeadm document is there").hint(hint),
        );
    }
    documents
}

/// Reports every key that its mapping has twice.
fn doubled(node: &Node, file: &str, path: &Path, account: &mut Account) {
    match &node.body {
        Body::Map(entries) => {
            let mut lines = std::collections::HashMap::new();
            for (key, child) in entries {
                let Some(name) = key.text.as_deref() else {
                    continue;
                };
                let path = path.key(name);
                if let Some(line) = lines.insert(name, key.place.line) {
                    let message = format!("is written twice, first on line {line}");
                    let origin = written(file, "", path.clone(), key.place);
                    account.refuse(&origin, Fault::new(message).hint("remove one of them"));
                }
                doubled(child, file, &path, account);
            }
        }
        Body::List(entries) => {
            for (index, child) in entries.iter().enumerate() {
                doubled(child, file, &path.index(index), account);
            }
        }
        _ => {}
    }
}

fn written(file: &str, kind: &'static str, path: Path, place: Place) -> Origin {
    Origin::Written {
        file: file.to_owned(),
        kind,
        path,
        place,
    }
}

/// Puts a document to those of its kind, or says why it is none.
fn sort(mut node: Node, file: &str, documents: &mut Documents, account: &mut Account) {
    let whole = written(file, "", Path::root(), node.place);
    let Body::Map(entries) = &mut node.body else {
        let message = format!(
            "a document must be a mapping, but this is {}",
            node.describe()
        );
        return account.refuse(&whole, Fault::new(message));
    };
    let mut word = |name: &'static str| {
        let index = entries
            .iter()
            .position(|(key, _)| key.text.as_deref() == Some(name))?;
        let (key, value) = entries.remove(index);
        let text = value.text().unwrap_or_default().to_owned();
        Some((text, written(file, "", at(&[name]), key.place)))
    };
    let version = word("apiVersion").unwrap_or_else(|| (String::new(), whole.clone()));
    let kind = word("kind").unwrap_or_else(|| (String::new(), whole.clone()));
    match known(&version.0, &kind.0) {
        Ok(kind) => {
            let place = node.place;
            let origin = written(file, kind, Path::root(), place);
            if let Some((_, first)) = documents.0.iter().find(|(found, _)| *found == kind) {
                let message = format!("is a second one; the first is at {}", first.origin.spot());
                let hint = "keep one of them: a run imports one machine";
                account.refuse(&origin, Fault::new(message).hint(hint));
            } else {
                documents.0.push((kind, Item { origin, node }));
            }
        }
        Err((of_version, fault)) => {
            let origin = if of_version { &version.1 } else { &kind.1 };
            account.refuse(origin, fault);
        }
    }
}

/// The kind, or what is wrong, and whether with the version.
fn known(version: &str, kind: &str) -> Result<&'static str, (bool, Fault)> {
    let found = KINDS.iter().find(|(name, _)| *name == kind);
    if version.is_empty() {
        let hint = match found {
            Some((_, Some(version))) => (*version).to_owned(),
            _ => format!("{KUBEADM}v1beta1 to v1beta4 are read"),
        };
        return Err((true, Fault::new("has no apiVersion").hint(hint)));
    }
    if version == crate::document::API_VERSION {
        let fault = Fault::new("is no kubeadm document but one of machined's own");
        return Err((
            true,
            fault.hint("give it to machinectl validate or apply-config"),
        ));
    }
    let kubeadms = version.strip_prefix(KUBEADM);
    if let Some(number) = kubeadms
        && !KUBEADM_VERSIONS.contains(&number)
    {
        let fault = Fault::new(format!("is {}, which is not known", quote(version)));
        let hint = "v1beta1 to v1beta4 are read; kubeadm config migrate rewrites older ones";
        return Err((true, fault.hint(hint)));
    }
    let Some((kind, wanted)) = found else {
        let kinds = || KINDS.iter().map(|(name, _)| *name);
        let fault = match kind {
            "" => Fault::new("has no kind"),
            kind => Fault::new(format!("is {}, which is not known", quote(kind))),
        };
        let hint = match nearest(kind, kinds()) {
            Some(near) => format!("did you mean {near}?"),
            None if kind == "ConfigMap" => "take the document out of its data".to_owned(),
            None => format!("one of {}", kinds().collect::<Vec<_>>().join(", ")),
        };
        return Err((false, fault.hint(hint)));
    };
    let right = match wanted {
        Some(wanted) => *wanted == version,
        None => kubeadms.is_some(),
    };
    if right {
        return Ok(kind);
    }
    let hint = match wanted {
        Some(wanted) => format!("{kind} is read as {wanted}"),
        None => format!("{kind} is read as {KUBEADM}v1beta1 to v1beta4"),
    };
    let fault = Fault::new(format!("is {}, which is not known", quote(version)));
    Err((true, fault.hint(hint)))
}
