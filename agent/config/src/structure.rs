//! Walks a tree beside its schema: unknown, missing and doubled keys, wrong kinds of value.
//!
//! What is wrong is reported and replaced by a placeholder, so that the rules can still judge all
//! the rest of the document and every problem comes out in one answer.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value};

use crate::path::{Path, quote};
use crate::problem::Fault;
use crate::report::Report;
use crate::scalar::plain;
use crate::schema::{definitions, resolve, words};
use crate::suggest::{nearest, place_of};
use crate::yaml::{Body, Key, Node, Place};

/// How many entries a list or map of the format may have.
const MOST_ENTRIES: usize = 1000;

/// What the walk found out.
pub(crate) struct Structure {
    /// The document as JSON that always fits its serde type.
    pub(crate) value: Value,
    /// The bytes of every secret value.
    pub(crate) secrets: Vec<Range<usize>>,
}

/// Walks one document of a known kind.
pub(crate) fn walk(node: &Node, kind: &str, report: &mut Report<'_>) -> Structure {
    let holds_secrets = kind == crate::document::CLUSTER_SECRETS;
    let mut walk = Walk {
        kind,
        report,
        holds_secrets,
        secrets: Vec::new(),
    };
    let schema = &definitions()[kind];
    let value = walk.value(node, schema, &Path::root());
    let value = value.unwrap_or_else(|| placeholder(schema));
    Structure {
        value,
        secrets: walk.secrets,
    }
}

struct Walk<'w, 'a> {
    kind: &'w str,
    report: &'w mut Report<'a>,
    holds_secrets: bool,
    secrets: Vec<Range<usize>>,
}

impl Walk<'_, '_> {
    fn value(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        if schema.get("writeOnly").is_some() {
            self.secrets.push(node.bytes.clone());
        }
        let schema = resolve(schema);
        if matches!(node.body, Body::Refused) {
            // The parser's layer said why; only keep rules away from it.
            self.report.silence(path);
            return None;
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => self.object(node, schema, path),
            Some("array") => self.array(node, schema, path),
            Some("boolean") => self.boolean(node, path),
            Some("integer") => self.integer(node, schema, path),
            Some("string") => self.text(node, path).map(Value::String),
            _ => match words(schema) {
                Some(words) => self.word(node, &words, path),
                None => self.free(node, path),
            },
        }
        .or_else(|| {
            self.report.silence(path);
            None
        })
    }

    fn wrong(&mut self, node: &Node, path: &Path, wanted: &str, hint: &str) {
        let message = format!("must be {wanted}, but is {}", node.describe());
        let hint = if node.is_nothing() {
            "give it a value or remove the key"
        } else {
            hint
        };
        self.report
            .broken(node.place, path, Fault::new(message).hint(hint));
    }

    fn object(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let Body::Map(entries) = &node.body else {
            self.wrong(
                node,
                path,
                "a mapping",
                "write its fields on lines below, indented",
            );
            return None;
        };
        let empty = Map::new();
        let known = schema
            .get("properties")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let others = schema.get("additionalProperties");
        let mut object = Map::new();
        let mut meant = Vec::new();
        if matches!(others, Some(Value::Object(_))) && !self.few(entries.len(), path) {
            return None;
        }
        for (name, place, child) in self.distinct(entries, path) {
            if let Some(schema) = known.get(name) {
                if let Some(value) = self.value(child, schema, &path.key(name)) {
                    object.insert(name.to_owned(), value);
                }
            } else if others == Some(&Value::Bool(false)) {
                meant.extend(self.unknown(name, place, known, path));
            } else {
                let path = path.key(name);
                let value = match others {
                    Some(schema @ Value::Object(_)) => {
                        let value = self.value(child, schema, &path);
                        Some(value.unwrap_or_else(|| placeholder(schema)))
                    }
                    _ => self.free(child, &path),
                };
                object.insert(name.to_owned(), value.unwrap_or(Value::Null));
            }
        }
        for name in required(schema) {
            if object.contains_key(name) {
                continue;
            }
            let child = path.key(name);
            let schema = &known[name];
            let reported = !self.report.sound(&child) || meant.iter().any(|word| word == name);
            if reported {
                self.report.silence(&child);
            } else {
                let about = about(schema);
                let place = self.report.place(path);
                self.report
                    .broken(place, &child, Fault::new("is missing").hint(about));
            }
            object.insert(name.to_owned(), placeholder(schema));
        }
        Some(Value::Object(object))
    }

    /// The entries without those whose key came before; they are reported.
    fn distinct<'n>(
        &mut self,
        entries: &'n [(Key, Node)],
        path: &Path,
    ) -> Vec<(&'n str, Place, &'n Node)> {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let mut distinct = Vec::with_capacity(entries.len());
        for (key, child) in entries {
            let Some(name) = key.text.as_deref() else {
                continue;
            };
            match lines.get(name) {
                None => {
                    lines.insert(name, key.place.line);
                    distinct.push((name, key.place, child));
                }
                Some(line) => {
                    let fault = Fault::new(format!("is written twice, first on line {line}"))
                        .hint("remove one of them");
                    let path = self.shown(name, path);
                    self.report.push(key.place, &path, fault);
                }
            }
        }
        distinct
    }

    /// Reports an unknown key; gives the known one that was probably meant.
    fn unknown(
        &mut self,
        key: &str,
        place: Place,
        known: &Map<String, Value>,
        path: &Path,
    ) -> Option<String> {
        if self.report.is_full() {
            self.report
                .push(place, path, Fault::new("is not a known field"));
            return None;
        }
        let names = || known.keys().map(String::as_str);
        let near = nearest(key, names()).map(str::to_owned);
        let hint = if key == "<<" {
            "merge keys are not read; write the values out".to_owned()
        } else if let Some(near) = &near {
            format!("did you mean {near}?")
        } else if let Some(place) = place_of(self.kind, key) {
            format!("it belongs into {place}")
        } else {
            format!("known here: {}", names().collect::<Vec<_>>().join(", "))
        };
        let path = self.shown(key, path);
        self.report
            .push(place, &path, Fault::new("is not a known field").hint(hint));
        near
    }

    /// The path of a key nobody knows. Among secrets a slip of indentation can turn a secret into
    /// a key, so there only what is surely a word is shown.
    fn shown(&self, key: &str, path: &Path) -> Path {
        let word = key.len() <= 24 && key.bytes().all(|byte| byte.is_ascii_alphabetic());
        path.key(if self.holds_secrets && !word {
            "?"
        } else {
            key
        })
    }

    /// Rules may compare every entry with every other; this keeps that cheap.
    fn few(&mut self, entries: usize, path: &Path) -> bool {
        if entries > MOST_ENTRIES {
            let fault = Fault::new(format!("has {entries} entries"));
            let hint = format!("at most {MOST_ENTRIES} are read");
            let place = self.report.place(path);
            self.report.broken(place, path, fault.hint(hint));
        }
        entries <= MOST_ENTRIES
    }

    fn array(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let Body::List(entries) = &node.body else {
            self.wrong(
                node,
                path,
                "a list",
                "write each entry on a line below, after \"- \"",
            );
            return None;
        };
        if !self.few(entries.len(), path) {
            return None;
        }
        let items = &schema["items"];
        let entries = entries.iter().enumerate().map(|(index, entry)| {
            // A placeholder rather than a gap: paths of the entries after it must stay true.
            let value = self.value(entry, items, &path.index(index));
            value.unwrap_or_else(|| placeholder(items))
        });
        Some(Value::Array(entries.collect()))
    }

    /// Text is taken as written, also when it looks like a number: `1.20` stays "1.20".
    fn text(&mut self, node: &Node, path: &Path) -> Option<String> {
        match node.text() {
            Some(text) if !node.is_nothing() => Some(text.to_owned()),
            _ => {
                self.wrong(node, path, "text", "write a single value");
                None
            }
        }
    }

    fn word(&mut self, node: &Node, words: &[(&str, &str)], path: &Path) -> Option<Value> {
        let text = self.text(node, path)?;
        if words.iter().any(|(word, _)| *word == text) {
            return Some(Value::String(text));
        }
        let all = words
            .iter()
            .map(|(word, _)| *word)
            .collect::<Vec<_>>()
            .join(", ");
        let near = nearest(&text, words.iter().map(|(word, _)| *word));
        let fault = Fault {
            message: format!("{} is not one of {all}", quote(&text)),
            hint: near.map(|near| format!("did you mean {near}?")),
        };
        self.report.broken(node.place, path, fault);
        None
    }

    fn boolean(&mut self, node: &Node, path: &Path) -> Option<Value> {
        match &node.body {
            Body::Scalar { text, plain: true } if text == "true" => Some(Value::Bool(true)),
            Body::Scalar { text, plain: true } if text == "false" => Some(Value::Bool(false)),
            _ => {
                self.wrong(
                    node,
                    path,
                    "true or false",
                    "write true or false, without quotes",
                );
                None
            }
        }
    }

    fn integer(&mut self, node: &Node, schema: &Value, path: &Path) -> Option<Value> {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        let (least, most) = (
            bound("minimum").unwrap_or(0),
            bound("maximum").unwrap_or(u64::MAX),
        );
        let number = match &node.body {
            Body::Scalar { text, plain: true }
                if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                text.parse::<u64>()
                    .ok()
                    .filter(|number| (least..=most).contains(number))
            }
            _ => None,
        };
        if number.is_none() {
            let wanted = format!("a whole number from {least} to {most}");
            self.wrong(node, path, &wanted, "write decimal digits, without quotes");
        }
        number.map(Value::from)
    }

    /// A value of any shape, typed by YAML 1.2's core rules.
    fn free(&mut self, node: &Node, path: &Path) -> Option<Value> {
        match &node.body {
            Body::Refused => None,
            Body::Scalar { text, plain: false } => Some(Value::String(text.clone())),
            Body::Scalar { text, plain: true } => {
                let value = plain(text);
                if value.is_none() {
                    let fault = Fault::new("is not a number JSON can hold").hint("quote it");
                    self.report.broken(node.place, path, fault);
                }
                value
            }
            Body::List(entries) => {
                let each = entries.iter().enumerate();
                Some(Value::Array(
                    each.map(|(index, entry)| {
                        self.free(entry, &path.index(index)).unwrap_or(Value::Null)
                    })
                    .collect(),
                ))
            }
            Body::Map(entries) => {
                let mut object = Map::new();
                for (name, _, child) in self.distinct(entries, path) {
                    let value = self.free(child, &path.key(name));
                    object.insert(name.to_owned(), value.unwrap_or(Value::Null));
                }
                Some(Value::Object(object))
            }
        }
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

/// The first sentence of a field's description.
fn about(schema: &Value) -> String {
    let described = schema
        .get("description")
        .or_else(|| resolve(schema).get("description"));
    let text = described
        .and_then(Value::as_str)
        .unwrap_or("it is required");
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    flat.split(". ")
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

/// The least value that fits a schema, standing in for one that was reported.
fn placeholder(schema: &Value) -> Value {
    let schema = resolve(schema);
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => {
            let fields = required(schema)
                .map(|name| (name.to_owned(), placeholder(&schema["properties"][name])));
            Value::Object(fields.collect())
        }
        Some("array") => Value::Array(Vec::new()),
        Some("boolean") => Value::Bool(false),
        Some("integer") => Value::from(schema.get("minimum").and_then(Value::as_u64).unwrap_or(0)),
        _ => {
            let word = words(schema).and_then(|words| words.first().map(|(word, _)| *word));
            Value::String(word.unwrap_or_default().to_owned())
        }
    }
}
