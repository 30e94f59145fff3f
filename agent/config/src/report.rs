//! Collects what is wrong with one document, and knows where each path was written.

use std::collections::HashSet;
use std::str::FromStr;

use crate::path::{Path, Step};
use crate::problem::{Fault, Problem};
use crate::yaml::{Body, Node, Place};

/// The problems of one document so far.
pub(crate) struct Report<'a> {
    root: &'a Node,
    problems: Vec<Problem>,
    left_out: usize,
    /// Paths whose value was already reported and stands in as a placeholder. Rules over them
    /// would only report the placeholder.
    broken: HashSet<Path>,
    /// Everything those are inside of.
    around_broken: HashSet<Path>,
}

/// Beyond this many, problems are only counted: a megabyte of nonsense must not cost seconds of
/// searching for places and suggestions that nobody is going to read.
const KEPT: usize = 1000;

impl<'a> Report<'a> {
    pub(crate) fn new(root: &'a Node) -> Self {
        Self {
            root,
            problems: Vec::new(),
            left_out: 0,
            broken: HashSet::new(),
            around_broken: HashSet::new(),
        }
    }

    /// The problems, and how many more were only counted.
    pub(crate) fn finish(self) -> (Vec<Problem>, usize) {
        (self.problems, self.left_out)
    }

    /// Whether further problems are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.problems.len() >= KEPT
    }

    /// Reports the value at a path, unless it was reported already.
    pub(crate) fn value(&mut self, path: &Path, fault: Fault) {
        if self.sound(path) {
            let place = self.place(path);
            self.push(place, path, fault);
        }
    }

    /// Reports the key at the end of a path.
    pub(crate) fn key(&mut self, path: &Path, fault: Fault) {
        if self.sound(path) {
            let place = if self.is_full() {
                self.root.place
            } else {
                self.locate(path).0
            };
            self.push(place, path, fault);
        }
    }

    /// Reports at a known place, and never again at or below the path.
    pub(crate) fn broken(&mut self, place: Place, path: &Path, fault: Fault) {
        self.push(place, path, fault);
        self.silence(path);
    }

    /// Reports the value at a path as unusable, so that rules over several fields keep away.
    pub(crate) fn wrong(&mut self, path: &Path, fault: Fault) {
        self.value(path, fault);
        self.silence(path);
    }

    /// Keeps rules away from a path that something else reports.
    pub(crate) fn silence(&mut self, path: &Path) {
        if self.broken.insert(path.clone()) {
            self.around_broken.extend(path.prefixes());
        }
    }

    pub(crate) fn push(&mut self, place: Place, path: &Path, fault: Fault) {
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        self.problems.push(Problem {
            line: place.line,
            column: place.column,
            path: path.to_string(),
            message: fault.message,
            hint: fault.hint,
        });
    }

    /// Where a reader looks for the value at a path.
    pub(crate) fn place(&self, path: &Path) -> Place {
        if self.is_full() {
            self.root.place
        } else {
            self.locate(path).1
        }
    }

    /// Whether neither the value nor anything it is part of was found broken.
    pub(crate) fn sound(&self, path: &Path) -> bool {
        self.broken.is_empty() || !path.prefixes().any(|prefix| self.broken.contains(&prefix))
    }

    /// Whether also nothing inside the value was found broken: what a rule over several fields
    /// must know.
    pub(crate) fn whole(&self, path: &Path) -> bool {
        self.sound(path) && !self.around_broken.contains(path)
    }

    /// Parses the text at a path, or reports why not.
    pub(crate) fn parse<T: FromStr<Err = Fault>>(&mut self, path: &Path, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(fault) => {
                self.value(path, fault);
                None
            }
        }
    }

    /// Parses every text of a list, reporting each that is wrong.
    pub(crate) fn parse_all<T: FromStr<Err = Fault>>(
        &mut self,
        path: &Path,
        texts: &[String],
    ) -> Vec<T> {
        let each = texts.iter().enumerate();
        each.filter_map(|(index, text)| self.parse(&path.index(index), text))
            .collect()
    }

    /// Where the key and the value at a path were written; for what was not written, the nearest
    /// thing around it that was.
    fn locate(&self, path: &Path) -> (Place, Place) {
        let mut node = self.root;
        let mut found = (node.place, node.place);
        for step in path.steps() {
            match (&node.body, step) {
                (Body::Map(entries), Step::Key(key)) => {
                    let Some((key, next)) =
                        entries.iter().find(|(k, _)| k.text.as_ref() == Some(key))
                    else {
                        return (found.0, found.0);
                    };
                    // An empty mapping or list has its place after the key; that of a collection
                    // is its first entry. The key is what a reader looks for.
                    let value = match &next.body {
                        Body::Map(_) | Body::List(_) => key.place,
                        _ => next.place,
                    };
                    found = (key.place, value);
                    node = next;
                }
                (Body::List(entries), Step::Index(index)) => {
                    let Some(next) = entries.get(*index) else {
                        return (found.0, found.0);
                    };
                    found = (next.place, next.place);
                    node = next;
                }
                _ => return (found.0, found.0),
            }
        }
        found
    }
}
