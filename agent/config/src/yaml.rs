//! Text to trees that know where every value was written.
//!
//! A tree keeps scalars as they are written: which type a scalar has is decided by the field it
//! is for, never by how it looks. So `no` is the text "no" in a text field and an error in a
//! true-or-false field, and neither is ever turned into something else.

use std::ops::{ControlFlow, Range};

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use crate::path::{Path, Step};
use crate::problem::Problem;

/// How deep a document may be nested. Real ones stay below 12.
pub(crate) const DEEPEST: usize = 64;

/// How many values a document may have: what bounds the memory that a megabyte of `[a,a,a,…`
/// takes. Real ones stay below a few thousand.
const MOST_VALUES: usize = 100_000;

/// After this many problems the text is not worth reading on.
const MOST_PROBLEMS: usize = 500;

const UNREAD: &str = "what follows was not read";

/// A place in the text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A key of a mapping.
#[derive(Debug)]
pub(crate) struct Key {
    /// None for a key that is no single word, already reported.
    pub(crate) text: Option<String>,
    pub(crate) place: Place,
}

/// A value.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    /// The bytes of the text that a scalar takes up, quotes and block indicator included.
    pub(crate) bytes: Range<usize>,
    pub(crate) body: Body,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Body {
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Something this format has no use for, already reported.
    Refused,
}

impl Node {
    /// Whether nothing was written: an empty value, `~` or `null`.
    pub(crate) fn is_nothing(&self) -> bool {
        match &self.body {
            Body::Scalar { text, plain: true } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            _ => false,
        }
    }

    /// What this is, in a reader's words.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.body {
            _ if self.is_nothing() => "nothing",
            Body::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => {
                "true or false"
            }
            Body::Scalar { text, plain: true }
                if text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.') =>
            {
                "a number"
            }
            Body::Scalar { .. } => "text",
            Body::List(_) => "a list",
            Body::Map(_) => "a mapping",
            Body::Refused => "something else",
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.body {
            Body::Map(entries) => entries
                .iter()
                .find(|(found, _)| found.text.as_deref() == Some(key))
                .map(|(_, node)| node),
            _ => None,
        }
    }

    /// The value at a path below this one.
    pub(crate) fn at(&self, path: &Path) -> Option<&Node> {
        path.steps()
            .iter()
            .try_fold(self, |node, step| match (&node.body, step) {
                (_, Step::Key(key)) => node.get(key),
                (Body::List(entries), Step::Index(index)) => entries.get(*index),
                _ => None,
            })
    }

    /// The text, if this is a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The documents of a stream, as far as the text can be understood; what cannot is reported.
pub(crate) fn parse(text: &str, problems: &mut Vec<Problem>) -> Vec<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        disallow_directives: true,
    };
    let mut builder = Builder {
        text,
        stack: Vec::new(),
        roots: Vec::new(),
        values: 0,
        problems,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if builder.take(event, span).is_break() {
                    break;
                }
            }
            Err(error) => {
                builder.syntax(&error);
                break;
            }
        }
    }
    builder.roots
}

enum Frame {
    List {
        place: Place,
        entries: Vec<Node>,
    },
    Map {
        place: Place,
        entries: Vec<(Key, Node)>,
        key: Option<Key>,
    },
}

struct Builder<'a> {
    text: &'a str,
    stack: Vec<Frame>,
    roots: Vec<Node>,
    values: usize,
    problems: &'a mut Vec<Problem>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> ControlFlow<()> {
        let place = place(&span);
        self.values += 1;
        if self.values > MOST_VALUES {
            let message = format!("has more than {MOST_VALUES} values");
            self.problem(place, &message, UNREAD);
            return ControlFlow::Break(());
        }
        if self.problems.len() >= MOST_PROBLEMS {
            return ControlFlow::Break(());
        }
        let bytes = span.byte_range().unwrap_or(0..0);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let refused = self.decorated(place, anchor, tag.is_some());
                let body = if refused {
                    Body::Refused
                } else {
                    Body::Scalar {
                        text: text.into_owned(),
                        plain,
                    }
                };
                self.put(Node { place, bytes, body });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.problem(place, "is an alias", "write the value out instead");
                self.put(Node {
                    place,
                    bytes,
                    body: Body::Refused,
                });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.decorated(place, anchor, tag.is_some());
                return self.open(
                    place,
                    Frame::List {
                        place,
                        entries: Vec::new(),
                    },
                );
            }
            Event::MappingStart(_, anchor, tag) => {
                self.decorated(place, anchor, tag.is_some());
                return self.open(
                    place,
                    Frame::Map {
                        place,
                        entries: Vec::new(),
                        key: None,
                    },
                );
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (place, body) = match self.stack.pop() {
                    Some(Frame::List { place, entries }) => (place, Body::List(entries)),
                    Some(Frame::Map { place, entries, .. }) => (place, Body::Map(entries)),
                    None => return ControlFlow::Continue(()),
                };
                self.put(Node {
                    place,
                    bytes: 0..0,
                    body,
                });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, place: Place, frame: Frame) -> ControlFlow<()> {
        if self.stack.len() >= DEEPEST {
            let message = format!("is nested more than {DEEPEST} levels deep");
            self.problem(place, &message, UNREAD);
            return ControlFlow::Break(());
        }
        self.stack.push(frame);
        ControlFlow::Continue(())
    }

    fn put(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.roots.push(node),
            Some(Frame::List { entries, .. }) => entries.push(node),
            Some(Frame::Map { entries, key, .. }) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let place = node.place;
                    let (text, several) = match node.body {
                        Body::Scalar { text, .. } => (Some(text), false),
                        Body::Refused => (None, false),
                        Body::List(_) | Body::Map(_) => (None, true),
                    };
                    *key = Some(Key { text, place });
                    if several {
                        self.problem(place, "is a key made of several values", "use a word");
                    }
                }
            },
        }
    }

    /// Anchors and tags change what a reader sees into something else somewhere else; a machine
    /// config should be readable from top to bottom.
    fn decorated(&mut self, place: Place, anchor: usize, tag: bool) -> bool {
        if anchor != 0 {
            self.problem(
                place,
                "has an anchor (&)",
                "write values out where they are used",
            );
        }
        if tag {
            self.problem(place, "has a tag (!)", "quote the value if it is text");
        }
        tag
    }

    fn syntax(&mut self, error: &ScanError) {
        let marker = error.marker();
        let place = Place {
            line: marker.line().max(1),
            column: marker.col() + 1,
        };
        // The parser's messages name at most one character of the text, so nothing leaks here.
        let message = match error.kind() {
            // The parser looks ahead, so its own limit can be met before the one above.
            ErrorKind::RecursionLimitExceeded => {
                format!("is nested more than {DEEPEST} levels deep")
            }
            kind => format!("is not YAML: {kind}"),
        };
        let tab = self.text.lines().nth(place.line - 1).is_some_and(|line| {
            line.chars()
                .take_while(|c| c.is_whitespace())
                .any(|c| c == '\t')
        });
        let hint = if tab {
            "indent with spaces, not tabs"
        } else {
            "what follows was not read"
        };
        self.problem(place, &message, hint);
    }

    fn problem(&mut self, place: Place, message: &str, hint: &str) {
        self.problems.push(Problem {
            line: place.line,
            column: place.column,
            path: self.path(),
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
        });
    }

    fn path(&self) -> String {
        let mut path = Path::root();
        for frame in &self.stack {
            match frame {
                Frame::List { entries, .. } => path = path.index(entries.len()),
                Frame::Map { key: Some(key), .. } => {
                    path = path.key(key.text.as_deref().unwrap_or("?"))
                }
                Frame::Map { key: None, .. } => {}
            }
        }
        // A path this deep says nothing to a reader, and keys of 60 characters add up.
        if path.steps().len() > 12 {
            String::new()
        } else {
            path.to_string()
        }
    }
}

fn place(span: &Span) -> Place {
    Place {
        line: span.start.line().max(1),
        column: span.start.col() + 1,
    }
}
