//! What became of each value of the input.

use serde_json::Value;

use super::draft::Draft;
use super::finding::Finding;
use super::input::{Item, Origin, Section};
use super::{Imported, Refused};
use crate::path::Path;
use crate::problem::Fault;

/// The config in the making, what is not in it, and what is wrong.
#[derive(Default)]
pub(super) struct Account {
    pub(super) draft: Draft,
    left: Vec<Finding>,
    pub(super) problems: Vec<Finding>,
    /// Where everyone reaches the Kubernetes API, as the first that says it says it.
    pub(super) endpoint: Option<(String, Origin)>,
}

impl Account {
    /// Tells of something that has no counterpart.
    pub(super) fn leave(&mut self, origin: &Origin, why: &str, instead: impl Into<String>) {
        let fault = Fault::new(why).hint(instead);
        self.left.push(origin.finding(fault));
    }

    /// Whether more was left than a person reads.
    pub(super) fn is_long(&self) -> bool {
        self.left.len() >= 1000
    }

    /// Tells of something that makes no sense.
    pub(super) fn refuse(&mut self, origin: &Origin, fault: Fault) {
        self.problems.push(origin.finding(fault));
    }

    pub(super) fn refused(mut self) -> Refused {
        self.problems.sort();
        self.problems.dedup();
        Refused {
            problems: self.problems,
        }
    }

    /// The config, once it is one that machines accept.
    pub(super) fn settle(mut self) -> Result<Imported, Refused> {
        let mut more = Vec::new();
        let config = self.draft.settle(&mut self.left, &mut more);
        self.problems.extend(more);
        match config {
            Some(config) if self.problems.is_empty() => {
                self.left.sort();
                self.left.dedup();
                Ok(Imported {
                    config,
                    left: self.left,
                })
            }
            _ => Err(self.refused()),
        }
    }

    fn wrong(&mut self, item: &Item, wanted: &str) {
        let message = format!("must be {wanted}, but is {}", item.node.describe());
        self.refuse(&item.origin, Fault::new(message));
    }

    /// Works on a mapping; afterwards what was not taken out of it is told of.
    pub(super) fn section(
        &mut self,
        item: Option<Item>,
        work: impl FnOnce(&mut Self, &mut Section),
    ) {
        let Some(item) = item else { return };
        let mut section = Section::new(self.fields(item));
        work(self, &mut section);
        section.close(self);
    }

    /// The entries of a mapping whose keys are anybody's.
    pub(super) fn fields(&mut self, item: Item) -> Vec<(String, Item)> {
        item.into_fields().unwrap_or_else(|item| {
            self.wrong(&item, "a mapping");
            Vec::new()
        })
    }

    /// The entries of a list.
    pub(super) fn entries(&mut self, item: Option<Item>) -> Vec<Item> {
        let entries = item.map(Item::into_entries);
        match entries {
            None => Vec::new(),
            Some(Ok(entries)) => entries,
            Some(Err(item)) => {
                self.wrong(&item, "a list");
                Vec::new()
            }
        }
    }

    /// A single value as it is written.
    pub(super) fn text(&mut self, item: &Item) -> Option<String> {
        let text = item.text().map(str::to_owned);
        if text.is_none() {
            self.wrong(item, "a single value");
        }
        text
    }

    /// A value that is true or false.
    pub(super) fn flag(&mut self, item: &Item) -> Option<bool> {
        let flag = item.text().and_then(|text| text.parse().ok());
        if flag.is_none() {
            self.wrong(item, "true or false");
        }
        flag
    }

    /// A text that has its field. Empty is as good as not written, for kubeadm too.
    pub(super) fn carry(&mut self, item: Option<Item>, to: Path) {
        let Some(item) = item else { return };
        if let Some(text) = self.text(&item)
            && !text.is_empty()
        {
            self.draft.set(to, text, item.origin);
        }
    }

    /// A text that has its field, unless a word says it otherwise.
    pub(super) fn carry_unless(
        &mut self,
        item: Option<Item>,
        to: Path,
        word: Option<&str>,
        flag: &'static str,
    ) {
        let Some(word) = word else {
            return self.carry(item, to);
        };
        self.draft.set(to, word, Origin::Flag(flag));
        if let Some(item) = item
            && item.text() != Some(word)
        {
            self.give_way(&item.origin, flag);
        }
    }

    /// Tells that a word of the command line is used instead.
    pub(super) fn give_way(&mut self, origin: &Origin, flag: &str) {
        let why = format!("gives way to {flag}");
        self.leave(origin, &why, "leave that out to use this");
    }

    /// Texts that have their list.
    pub(super) fn carry_list(&mut self, item: Option<Item>, to: &Path) {
        for entry in self.entries(item) {
            if let Some(text) = self.text(&entry) {
                self.draft.add(to.clone(), Value::from(text), entry.origin);
            }
        }
    }

    /// Leaves what differs from what a machine does anyway.
    pub(super) fn leave_unless(
        &mut self,
        item: Option<Item>,
        same: &[&str],
        why: &str,
        instead: &str,
    ) {
        let Some(item) = item.filter(|item| !item.is_empty()) else {
            return;
        };
        let same = item
            .text()
            .is_some_and(|text| text.is_empty() || same.contains(&text));
        if !same {
            self.leave(&item.origin, why, instead);
        }
    }
}
