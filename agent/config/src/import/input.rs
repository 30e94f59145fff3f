//! Values that are taken out of the documents one by one.

use super::account::Account;
use super::finding::Finding;
use crate::path::Path;
use crate::problem::{Fault, Problem};
use crate::suggest::nearest;
use crate::yaml::{Body, Key, Node, Place};

/// Where a value is from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// It is written in a file.
    Written {
        file: String,
        kind: &'static str,
        path: Path,
        place: Place,
    },
    /// A word of the command line.
    Flag(&'static str),
    /// Nobody wrote it.
    Nowhere(&'static str),
}

impl Origin {
    pub(super) fn finding(&self, fault: Fault) -> Finding {
        let (file, path, place) = match self {
            Self::Written {
                file,
                kind,
                path,
                place,
            } => {
                let mut shown = (*kind).to_owned();
                let below = path.to_string();
                if !below.is_empty() && !below.starts_with('[') && !kind.is_empty() {
                    shown.push('.');
                }
                (file.clone(), shown + &below, *place)
            }
            Self::Flag(name) | Self::Nowhere(name) => {
                let place = Place { line: 0, column: 0 };
                (String::new(), (*name).to_owned(), place)
            }
        };
        let problem = Problem {
            line: place.line,
            column: place.column,
            path,
            message: fault.message,
            hint: fault.hint,
        };
        Finding { file, problem }
    }

    fn below(&self, step: impl FnOnce(&Path) -> Path, at: Place) -> Self {
        match self {
            Self::Written {
                file, kind, path, ..
            } => Self::Written {
                file: file.clone(),
                kind,
                path: step(path),
                place: at,
            },
            other => other.clone(),
        }
    }

    /// `file:line`, for a sentence about another place.
    pub(super) fn spot(&self) -> String {
        match self {
            Self::Written { file, place, .. } => format!("{file}:{}", place.line),
            Self::Flag(name) | Self::Nowhere(name) => (*name).to_owned(),
        }
    }
}

/// A value that nothing has become of yet.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) origin: Origin,
    pub(super) node: Node,
}

impl Item {
    /// Whether it says nothing: null, or a collection of nothing else.
    pub(super) fn is_empty(&self) -> bool {
        says_nothing(&self.node)
    }

    /// Its text, if it is a single value.
    pub(super) fn text(&self) -> Option<&str> {
        self.node.text().filter(|_| !self.node.is_nothing())
    }

    /// The entries, if this is a mapping.
    pub(super) fn into_fields(self) -> Result<Vec<(String, Item)>, Box<Item>> {
        let Body::Map(entries) = self.node.body else {
            return Err(Box::new(self));
        };
        let origin = self.origin;
        let field = |(key, node): (Key, Node)| {
            let name = key.text?;
            let origin = origin.below(|path| path.key(&name), key.place);
            Some((name, Item { origin, node }))
        };
        Ok(entries.into_iter().filter_map(field).collect())
    }

    /// The entries, if this is a list.
    pub(super) fn into_entries(self) -> Result<Vec<Item>, Box<Item>> {
        let Body::List(entries) = self.node.body else {
            return Err(Box::new(self));
        };
        let origin = self.origin;
        let entry = |(index, node): (usize, Node)| Item {
            origin: origin.below(|path| path.index(index), node.place),
            node,
        };
        Ok(entries.into_iter().enumerate().map(entry).collect())
    }
}

fn says_nothing(node: &Node) -> bool {
    match &node.body {
        Body::Map(entries) => entries.iter().all(|(_, node)| says_nothing(node)),
        Body::List(entries) => entries.is_empty(),
        _ => node.is_nothing(),
    }
}

/// A mapping whose fields are taken out. What nobody takes is told of.
pub(super) struct Section {
    fields: Vec<(String, Item)>,
    asked: Vec<&'static str>,
}

impl Section {
    pub(super) fn new(fields: Vec<(String, Item)>) -> Self {
        Self {
            fields,
            asked: Vec::new(),
        }
    }

    /// A field; none where nothing is written, which null is, too.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Item> {
        self.asked.push(name);
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        let (_, item) = self.fields.remove(index);
        (!item.node.is_nothing()).then_some(item)
    }

    /// What nobody asked for.
    pub(super) fn close(self, account: &mut Account) {
        for (name, item) in self.fields.into_iter().filter(|(_, item)| !item.is_empty()) {
            // Nobody reads that many suggestions, and each costs.
            let near = match account.is_long() {
                true => None,
                false => nearest(&name, self.asked.iter().copied()),
            };
            let instead = match near {
                Some(near) => format!("did you mean {near}?"),
                None => "nothing is known of it; say it with a field of MachineConfig".to_owned(),
            };
            account.leave(&item.origin, "is no field of kubeadm's", instead);
        }
    }
}
