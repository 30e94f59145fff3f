//! Command line arguments, as kubeadm's versions write them, and host paths.

use serde_json::{Map, Value, json};

use super::account::Account;
use super::input::{Item, Section};
use crate::path::Path;
use crate::problem::Fault;

/// One argument of the input.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) value: String,
    /// The whole of it.
    pub(super) item: Item,
}

/// Arguments: a mapping up to v1beta3, a list of names and values from v1beta4 on.
pub(super) fn read(item: Option<Item>, account: &mut Account) -> Vec<Written> {
    let Some(item) = item else { return Vec::new() };
    if !matches!(item.node.body, crate::yaml::Body::List(_)) {
        let fields = account.fields(item);
        let written = fields.into_iter().filter_map(|(name, item)| {
            let value = value(&item, account)?;
            Some(Written { name, value, item })
        });
        return written.collect();
    }
    let mut written = Vec::new();
    for entry in account.entries(Some(item)) {
        let part = |name: &str| entry.node.get(name).and_then(crate::yaml::Node::text);
        let (Some(name), Some(value)) = (part("name"), part("value")) else {
            let fault = Fault::new("is no argument");
            account.refuse(&entry.origin, fault.hint("write its name and its value"));
            continue;
        };
        let (name, value) = (name.to_owned(), value.to_owned());
        let origin = entry.origin.clone();
        let node = entry.node;
        let whole = Item {
            origin: origin.clone(),
            node: crate::yaml::Node {
                place: node.place,
                bytes: node.bytes.clone(),
                body: crate::yaml::Body::Scalar {
                    text: value.clone(),
                    plain: false,
                },
            },
        };
        account.section(Some(Item { origin, node }), |_, section| {
            let _ = (section.take("name"), section.take("value"));
        });
        written.push(Written {
            name,
            value,
            item: whole,
        });
    }
    written
}

fn value(item: &Item, account: &mut Account) -> Option<String> {
    if item.node.is_nothing() {
        let fault = Fault::new("has no value");
        account.refuse(&item.origin, fault.hint("write \"\" for an empty one"));
        return None;
    }
    account.text(item)
}

/// Carries arguments over, but for those that every machine has with the same value.
pub(super) fn carry(args: Vec<Written>, same: &[(&str, &str)], to: &Path, account: &mut Account) {
    for Written { name, value, item } in args {
        if !same.contains(&(name.as_str(), value.as_str())) {
            let arg = json!({ "name": name, "value": value });
            account.draft.try_add(to.clone(), arg, item.origin);
        }
    }
}

/// What a control plane component has in kubeadm's documents and here.
pub(super) fn component(
    section: &mut Section,
    same: &[(&str, &str)],
    to: &Path,
    account: &mut Account,
) {
    let args = read(section.take("extraArgs"), account);
    carry(args, same, &to.key("extraArgs"), account);
    for volume in account.entries(section.take("extraVolumes")) {
        carry_volume(volume, &to.key("extraVolumes"), account);
    }
    account.leave_unless(
        section.take("extraEnvs"),
        &[],
        "is an environment, which components get none of",
        "use extraArgs where the program has one for it",
    );
}

fn carry_volume(item: Item, to: &Path, account: &mut Account) {
    let origin = item.origin.clone();
    let mut volume = Map::new();
    account.section(Some(item), |account, section| {
        for name in ["name", "hostPath", "mountPath", "pathType"] {
            let text = section.take(name).and_then(|item| account.text(&item));
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                volume.insert(name.to_owned(), Value::from(text));
            }
        }
        let flag = section.take("readOnly");
        if let Some(true) = flag.and_then(|item| account.flag(&item)) {
            volume.insert("readOnly".to_owned(), Value::Bool(true));
        }
    });
    account.draft.add(to.clone(), Value::Object(volume), origin);
}
