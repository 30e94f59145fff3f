//! YAML out of JSON values, the same bytes every time.
//!
//! The files rendered here are compared with what is on the disk, read by people on a console and
//! kept as goldens: so keys keep the order they were given, text of several lines is a literal
//! block, and text that YAML could read as something else is quoted.

use serde_json::Value;

/// The value as a YAML document, with a newline at its end.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0, false),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0),
        scalar => {
            write_inline(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// `inline_first`: the cursor already stands where the first key goes (after a list's dash).
fn write_map(
    out: &mut String,
    map: &serde_json::Map<String, Value>,
    depth: usize,
    inline_first: bool,
) {
    for (place, (key, value)) in map.iter().enumerate() {
        if place > 0 || !inline_first {
            indent(out, depth);
        }
        write_scalar(out, key);
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write_map(out, inner, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write_list(out, items, depth);
            }
            scalar => {
                out.push(' ');
                write_inline(out, scalar, depth + 1);
                out.push('\n');
            }
        }
    }
}

fn write_list(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(out, depth);
        match item {
            Value::Object(inner) if !inner.is_empty() => {
                out.push_str("- ");
                write_map(out, inner, depth + 1, true);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push_str("-\n");
                write_list(out, inner, depth + 1);
            }
            scalar => {
                out.push_str("- ");
                write_inline(out, scalar, depth + 1);
                out.push('\n');
            }
        }
    }
}

/// A scalar or an empty collection, without the newline that ends it.
fn write_inline(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) if is_block(text) => write_block(out, text, depth),
        Value::String(text) => write_scalar(out, text),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// Only text that a literal block gives back unchanged: blocks know no escapes, take their
/// indentation from the first line, and end in exactly one newline or none.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && body
            .chars()
            .all(|letter| letter == '\n' || is_printable(letter))
        && !body.lines().any(|line| line.ends_with(' '))
}

fn is_printable(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

fn write_block(out: &mut String, text: &str, depth: usize) {
    out.push('|');
    if !text.ends_with('\n') {
        out.push('-');
    }
    for line in text.lines() {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth);
            out.push_str(line);
        }
    }
}

fn write_scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text)
    } else {
        write_quoted(out, text)
    }
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            letter if is_printable(letter) => out.push(letter),
            letter => out.push_str(&format!("\\U{:08x}", u32::from(letter))),
        }
    }
    out.push('"');
}

/// Text that every YAML reader takes for a string without quotes. Stricter than YAML asks, so that
/// 1.1 readers (`no`, `012`, `1_000`, `12:30:45`) agree with 1.2 ones.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "~", "inf", "nan",
    ];
    let starts_well = text
        .starts_with(|first: char| first.is_ascii_alphabetic() || first == '/' || first == '_')
        || (text.starts_with("--") && text.len() > 3);
    let all_safe = text
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "-_./:=,+@$()* ?&%".contains(letter));
    starts_well
        && all_safe
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.starts_with("---")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn is_what_a_person_would_write() {
        let pod = json!({
            "kind": "Pod",
            "metadata": { "name": "etcd", "labels": { "tier": "control-plane" }, "empty": {} },
            "spec": { "containers": [{ "command": ["etcd", "--name=cp1"], "count": 1 }], "none": [] },
            "text": "one\n  two\n",
            "version": "1.20",
            "truth": "no",
        });
        let expected = "\
kind: Pod
metadata:
  name: etcd
  labels:
    tier: control-plane
  empty: {}
spec:
  containers:
  - command:
    - etcd
    - --name=cp1
    count: 1
  none: []
text: |
  one
    two
version: \"1.20\"
truth: \"no\"
";
        assert_eq!(to_yaml(&pod), expected);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z:# \n'\"|>-]{0,12}".prop_map(Value::from),
            "[0-9eE+._:x-]{1,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ -~\n]{0,8}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_yaml_reader_gives_the_same_value_back(value in any_json()) {
            let text = to_yaml(&value);
            let read: Value = serde_saphyr::from_str(&text)
                .map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }
    }
}
