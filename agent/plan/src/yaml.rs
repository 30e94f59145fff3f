//! YAML into JSON values, with the meaning that `kubectl apply` gives it: manifests are written
//! for that. So `no` and `0644` are what YAML 1.1 makes of them, and anchors, aliases and merge
//! keys work.

mod scalar;

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// How deep a document may be nested. Real ones stay below 20.
const DEEPEST: usize = 64;

/// How many values there may be, those that an alias repeats counted again: a few lines of aliases
/// of aliases could fill any memory.
const MOST_VALUES: usize = 250_000;

/// The text could not be read. It says nothing about what is in it, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYaml;

/// Every document of a stream; an empty one is null.
///
/// # Errors
///
/// For text that is not YAML, has a key twice, a key that is no word, a number that JSON does not
/// have, or more in it than fits.
pub fn read(text: &str) -> Result<Vec<Value>, NotYaml> {
    let options = granit_parser::options! { emit_comments: false };
    let mut reader = Reader::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, _) = event.map_err(|_| NotYaml)?;
        reader.take(event)?;
    }
    Ok(reader.documents)
}

/// A stream of one document, or of none.
///
/// # Errors
///
/// As [`read`], and for several documents.
pub fn read_one(text: &str) -> Result<Value, NotYaml> {
    let mut all = read(text)?;
    let one = all.pop().unwrap_or_default();
    match all.is_empty() {
        true => Ok(one),
        false => Err(NotYaml),
    }
}

/// What is open.
enum Frame {
    List {
        items: Vec<Value>,
        anchor: usize,
    },
    Map {
        entries: Map<String, Value>,
        key: Option<Key>,
        /// Of merge keys, in order.
        merged: Vec<Value>,
        anchor: usize,
    },
}

enum Key {
    Word(String),
    Merge,
}

#[derive(Default)]
struct Reader {
    stack: Vec<Frame>,
    documents: Vec<Value>,
    anchors: BTreeMap<usize, Value>,
    values: usize,
}

impl Reader {
    fn take(&mut self, event: Event<'_>) -> Result<(), NotYaml> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                if self.at_key() {
                    return self.key(&text, plain, anchor);
                }
                let value = scalar::value(&text, plain, tag.as_deref())?;
                self.put(value, anchor)
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or(NotYaml)?;
                if self.at_key() {
                    let word = value.as_str().ok_or(NotYaml)?;
                    return self.set_key(Key::Word(word.to_owned()));
                }
                self.count(size(&value))?;
                self.put(value, 0)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Frame::List {
                items: Vec::new(),
                anchor,
            }),
            Event::MappingStart(_, anchor, _) => self.open(Frame::Map {
                entries: Map::new(),
                key: None,
                merged: Vec::new(),
                anchor,
            }),
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Frame::List { items, anchor }) => self.put(Value::Array(items), anchor),
                Some(Frame::Map {
                    mut entries,
                    merged,
                    anchor,
                    ..
                }) => {
                    for value in merged {
                        merge(&mut entries, value)?;
                    }
                    self.put(Value::Object(entries), anchor)
                }
                None => Err(NotYaml),
            },
            Event::UnresolvedAlias(_) => Err(NotYaml),
            _ => Ok(()),
        }
    }

    fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Map { key: None, .. }))
    }

    fn key(&mut self, text: &str, plain: bool, anchor: usize) -> Result<(), NotYaml> {
        if anchor != 0 {
            self.anchors.insert(anchor, Value::from(text));
        }
        match text {
            "<<" if plain => self.set_key(Key::Merge),
            "" | "~" if plain => Err(NotYaml),
            word => self.set_key(Key::Word(word.to_owned())),
        }
    }

    fn set_key(&mut self, new: Key) -> Result<(), NotYaml> {
        self.count(1)?;
        if let Some(Frame::Map { entries, key, .. }) = self.stack.last_mut() {
            if matches!(&new, Key::Word(word) if entries.contains_key(word)) {
                return Err(NotYaml);
            }
            *key = Some(new);
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame) -> Result<(), NotYaml> {
        self.count(1)?;
        if self.stack.len() >= DEEPEST || self.at_key() {
            return Err(NotYaml);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn put(&mut self, value: Value, anchor: usize) -> Result<(), NotYaml> {
        self.count(1)?;
        if anchor != 0 {
            self.count(size(&value))?;
            self.anchors.insert(anchor, value.clone());
        }
        match self.stack.last_mut() {
            None => self.documents.push(value),
            Some(Frame::List { items, .. }) => items.push(value),
            Some(Frame::Map {
                entries,
                key,
                merged,
                ..
            }) => match key.take().ok_or(NotYaml)? {
                Key::Word(word) => drop(entries.insert(word, value)),
                Key::Merge => merged.push(value),
            },
        }
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), NotYaml> {
        self.values += more;
        match self.values > MOST_VALUES {
            true => Err(NotYaml),
            false => Ok(()),
        }
    }
}

/// What is there already stays: a mapping's own keys, then those of the first that is merged.
fn merge(into: &mut Map<String, Value>, value: Value) -> Result<(), NotYaml> {
    match value {
        Value::Object(from) => {
            for (key, value) in from {
                into.entry(key).or_insert(value);
            }
            Ok(())
        }
        Value::Array(several) if several.iter().all(Value::is_object) => {
            several.into_iter().try_for_each(|one| merge(into, one))
        }
        Value::Null => Ok(()),
        _ => Err(NotYaml),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(entries) => 1 + entries.values().map(|value| 1 + size(value)).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests;
