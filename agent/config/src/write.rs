//! Writes documents the way a person would.

use serde_json::Value;

use crate::document::API_VERSION;

/// A document in the making.
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn document(kind: &str) -> Self {
        Self(format!("apiVersion: {API_VERSION}\nkind: {kind}\n"))
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }

    /// A key whose fields follow.
    pub(crate) fn section(&mut self, indent: usize, key: &str) {
        self.line(indent, &format!("{key}:"));
    }

    /// A key that is true.
    pub(crate) fn flag(&mut self, indent: usize, key: &str) {
        self.line(indent, &format!("{key}: true"));
    }

    /// A key with text: as a block when it has lines, as PEM has.
    pub(crate) fn text(&mut self, indent: usize, key: &str, value: &str) {
        if !is_block(value) {
            return self.line(indent, &format!("{key}: {}", scalar(value)));
        }
        self.line(indent, &format!("{key}: |"));
        for line in value.lines() {
            self.line(indent + 2, line);
        }
    }

    /// A key with a list of words; nothing when there are none.
    pub(crate) fn list(&mut self, indent: usize, key: &str, values: &[String]) {
        if values.is_empty() {
            return;
        }
        self.section(indent, key);
        for value in values {
            self.line(indent + 2, &format!("- {}", scalar(value)));
        }
    }

    /// A key with a value of any shape.
    pub(crate) fn value(&mut self, indent: usize, key: &str, value: &Value) {
        let key = scalar(key);
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                self.section(indent, &key);
                for (name, value) in fields {
                    self.value(indent + 2, name, value);
                }
            }
            Value::Array(entries) if !entries.is_empty() => {
                self.section(indent, &key);
                for entry in entries {
                    self.entry(indent + 2, entry);
                }
            }
            single => self.line(indent, &format!("{key}: {}", plain(single))),
        }
    }

    /// An entry of a list: a mapping begins behind its dash.
    fn entry(&mut self, indent: usize, value: &Value) {
        let nested = matches!(value, Value::Object(fields) if !fields.is_empty());
        if !nested {
            return self.line(indent, &format!("- {}", plain(value)));
        }
        let began = self.0.len();
        for (name, value) in value.as_object().into_iter().flatten() {
            self.value(indent + 2, name, value);
        }
        let dash = began + indent;
        self.0.replace_range(dash..=dash, "-");
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.0.extend(std::iter::repeat_n(' ', indent));
        self.0.push_str(text);
        self.0.push('\n');
    }
}

/// Lines of printable ASCII that neither start nor end with blanks keep their form in a block.
fn is_block(value: &str) -> bool {
    value.ends_with('\n')
        && value.lines().all(|line| {
            !line.is_empty()
                && line.trim() == line
                && line
                    .bytes()
                    .all(|byte| byte == b' ' || byte.is_ascii_graphic())
        })
}

/// A value on one line. JSON's way to write what is neither text nor empty is YAML's.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Plain where every reader agrees that it is text; quoted otherwise. JSON's quoting is YAML's.
fn scalar(value: &str) -> String {
    let word = value.len() >= 2
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && !matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if word {
        value.to_owned()
    } else {
        serde_json::Value::from(value).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let values = [
            "cp1",
            "no",
            "10.0.2.15:6443",
            "",
            "a: b",
            "- x",
            "\u{85}\u{2028}\t\u{7}",
            "é \"q\" \\",
            "-----BEGIN X-----\nAAA+/=\n-----END X-----\n",
            " lead\n",
            "two\n\nlines\n",
            "#",
            "x\n",
        ];
        for value in values {
            let mut out = Writer::document("Test");
            out.section(0, "a");
            out.text(2, "b", value);
            out.list(2, "c", &[value.to_owned()]);
            let text = out.finish();
            let mut problems = Vec::new();
            let roots = crate::yaml::parse(&text, &mut problems);
            assert_eq!(problems, [], "{text}");
            let a = roots[0].get("a").unwrap();
            assert_eq!(a.get("b").unwrap().text(), Some(value), "{text}");
            let crate::yaml::Body::List(list) = &a.get("c").unwrap().body else {
                panic!()
            };
            assert_eq!(list[0].text(), Some(value), "{text}");
        }
    }

    #[test]
    fn a_value_of_any_shape_reads_back() {
        use serde_json::json;
        let value = json!({
            "no": "no", "n": 1, "f": 1.5, "t": true, "null": null, "e": {}, "l": [], "a.b/c": "x",
            "list": [{ "name": "v", "value": "2", "deep": { "a": [[1], {}, { "b": [] }] } }, "x", 2],
        });
        let mut out = Writer::document("Test");
        out.value(0, "v", &value);
        let text = out.finish();
        let mut problems = Vec::new();
        let roots = crate::yaml::parse(&text, &mut problems);
        assert_eq!(problems, [], "{text}");
        fn back(node: &crate::yaml::Node) -> Value {
            use crate::yaml::Body;
            match &node.body {
                Body::Scalar { text, plain: true } => crate::scalar::plain(text).unwrap(),
                Body::Scalar { text, .. } => text.clone().into(),
                Body::List(entries) => entries.iter().map(back).collect(),
                Body::Map(entries) => {
                    let field = |(key, node): &(crate::yaml::Key, crate::yaml::Node)| {
                        (key.text.clone().unwrap(), back(node))
                    };
                    Value::Object(entries.iter().map(field).collect())
                }
                Body::Refused => panic!(),
            }
        }
        assert_eq!(back(roots[0].get("v").unwrap()), value, "{text}");
    }
}
