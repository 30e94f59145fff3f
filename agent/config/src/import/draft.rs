//! The config in the making. It knows where each part came from, so that what is wrong with it is
//! told in the words of the input.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::finding::Finding;
use super::input::Origin;
use crate::document::MACHINE_CONFIG;
use crate::path::{Path, Step};
use crate::problem::{Fault, Problem};
use crate::write::Writer;

/// The path of nested fields.
pub(super) fn at(keys: &[&str]) -> Path {
    keys.iter().fold(Path::root(), |path, key| path.key(key))
}

/// The order in which a person writes it.
const ORDER: [&[&str]; 18] = [
    &["machine", "role"],
    &["machine", "hostname"],
    &["machine", "kubelet"],
    &["machine", "containerd"],
    &["cluster", "name"],
    &["cluster", "id"],
    &["cluster", "controlPlaneEndpoint"],
    &["cluster", "kubernetesVersion"],
    &["cluster", "networking", "podSubnet"],
    &["cluster", "networking", "serviceSubnet"],
    &["cluster", "networking", "dnsDomain"],
    &["cluster", "apiServer"],
    &["cluster", "controllerManager"],
    &["cluster", "scheduler"],
    &["cluster", "etcd"],
    &["cluster", "networkAddon"],
    &["cluster", "image"],
    &["cluster", "allowSchedulingOnControlPlanes"],
];

/// What a config needs and kubeadm's documents may leave out: the field, what it is, and where it
/// can be said.
const NEEDED: [(&str, &str, &str); 4] = [
    (
        "machine.role",
        "what the machine is for is not said",
        "--role, or an InitConfiguration or JoinConfiguration",
    ),
    (
        "machine.hostname",
        "the machine's name is not said",
        "--hostname, or nodeRegistration.name",
    ),
    (
        "cluster.controlPlaneEndpoint",
        "where the Kubernetes API is reached is not said",
        "--endpoint, or ClusterConfiguration's controlPlaneEndpoint",
    ),
    (
        "cluster.kubernetesVersion",
        "the Kubernetes version is not said",
        "--kubernetes-version, or ClusterConfiguration's kubernetesVersion",
    ),
];

struct Entry {
    at: Path,
    /// An entry of the list there, rather than the value itself.
    adds: bool,
    value: Value,
    origin: Origin,
    /// Left, rather than refused, where machines do not accept it.
    may_go: bool,
}

/// The parts so far.
#[derive(Default)]
pub(super) struct Draft(Vec<Entry>);

impl Draft {
    /// Gives a field its value.
    pub(super) fn set(&mut self, at: Path, value: impl Into<Value>, origin: Origin) {
        self.put(at, false, value.into(), origin, false);
    }

    /// Gives a field its value, or leaves it where machines do not accept it.
    pub(super) fn try_set(&mut self, at: Path, value: impl Into<Value>, origin: Origin) {
        self.put(at, false, value.into(), origin, true);
    }

    /// Adds to a list.
    pub(super) fn add(&mut self, at: Path, value: Value, origin: Origin) {
        self.put(at, true, value, origin, false);
    }

    /// Adds to a list, or leaves it where machines do not accept it.
    pub(super) fn try_add(&mut self, at: Path, value: Value, origin: Origin) {
        self.put(at, true, value, origin, true);
    }

    fn put(&mut self, at: Path, adds: bool, value: Value, origin: Origin, may_go: bool) {
        self.0.push(Entry {
            at,
            adds,
            value,
            origin,
            may_go,
        });
    }

    /// The text of a field that has one.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&str> {
        let path = at(keys);
        let entry = self.0.iter().find(|entry| entry.at == path)?;
        entry.value.as_str()
    }

    /// The document, once machines accept it. What may go goes to `left`; what else is wrong goes to
    /// `problems`.
    pub(super) fn settle(
        &mut self,
        left: &mut Vec<Finding>,
        problems: &mut Vec<Finding>,
    ) -> Option<String> {
        let rank = |entry: &Entry| {
            let steps = entry.at.steps();
            let known = |keys: &&[&str]| {
                let mut keys = keys.iter().zip(steps);
                keys.all(|(key, step)| matches!(step, Step::Key(found) if found == key))
            };
            ORDER.iter().position(known).unwrap_or(ORDER.len())
        };
        self.0.sort_by_key(rank);
        loop {
            let (document, places) = self.document();
            let refused = match crate::read(document.as_bytes()) {
                Ok(_) => return Some(document),
                Err(refused) => refused,
            };
            let mut gone = BTreeSet::new();
            let mut kept = Vec::new();
            for problem in refused {
                let found = place_of(&places, &problem.path);
                let found =
                    found.and_then(|(index, below)| Some((index, self.0.get(index)?, below)));
                match found {
                    Some((index, entry, Some(_))) if entry.may_go => {
                        if gone.insert(index) {
                            left.push(entry.origin.finding(fault(problem)));
                        }
                    }
                    Some((_, entry, below)) => {
                        let mut told = entry.origin.finding(fault(problem));
                        // A part of a list's entry has the same name in the input.
                        if entry.adds && entry.value.is_object() && !told.file.is_empty() {
                            told.problem.path += &below.unwrap_or_default();
                        }
                        kept.push(told);
                    }
                    None => kept.push(unsaid(problem)),
                }
            }
            if gone.is_empty() {
                problems.extend(kept);
                return None;
            }
            let mut index = 0;
            self.0.retain(|_| {
                index += 1;
                !gone.contains(&(index - 1))
            });
        }
    }

    /// The text, and which entry each path is from.
    fn document(&self) -> (String, Vec<(String, usize)>) {
        let mut root = json!({ "machine": {}, "cluster": {} });
        let mut places = Vec::new();
        for (index, entry) in self.0.iter().enumerate() {
            let mut spot = &mut root;
            for step in entry.at.steps() {
                if let Step::Key(key) = step {
                    if !spot.is_object() {
                        *spot = Value::Object(Map::new());
                    }
                    spot = &mut spot[key.as_str()];
                }
            }
            let mut path = entry.at.clone();
            if !entry.adds {
                *spot = entry.value.clone();
            } else if let Value::Array(entries) = spot {
                path = path.index(entries.len());
                entries.push(entry.value.clone());
            } else {
                path = path.index(0);
                *spot = Value::Array(vec![entry.value.clone()]);
            }
            places.push((path.to_string(), index));
        }
        let mut out = Writer::document(MACHINE_CONFIG);
        for (key, value) in root.as_object().into_iter().flatten() {
            out.value(0, key, value);
        }
        (out.finish(), places)
    }
}

fn fault(problem: Problem) -> Fault {
    Fault {
        message: problem.message,
        hint: problem.hint,
    }
}

/// The entry that a path of the document is of, and the rest of the path; none where the problem is
/// one of several entries together.
fn place_of(places: &[(String, usize)], path: &str) -> Option<(usize, Option<String>)> {
    let inside = |(place, index): &(String, usize)| {
        let rest = path.strip_prefix(place.as_str())?;
        let whole = rest.is_empty() || rest.starts_with(['.', '[']);
        whole.then(|| (*index, Some(rest.to_owned()), place.len()))
    };
    let found = places.iter().filter_map(inside);
    let found = found.max_by_key(|(.., length)| *length);
    // What is wrong with a whole mapping or list is told at its first entry.
    let around = || {
        let parts = places.iter().find(|(place, _)| {
            place
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        parts.filter(|_| path.matches('.').count() > 1)
    };
    match found {
        Some((index, rest, _)) => Some((index, rest)),
        None => around().map(|(_, index)| (*index, None)),
    }
}

/// What nobody said.
fn unsaid(problem: Problem) -> Finding {
    let needed = NEEDED.iter().find(|(path, ..)| *path == problem.path);
    match needed {
        Some((_, message, hint)) => Origin::Nowhere("").finding(Fault::new(*message).hint(*hint)),
        None => Finding {
            file: String::new(),
            problem: Problem {
                line: 0,
                column: 0,
                ..problem
            },
        },
    }
}
