//! The reference that users read, made from the schema.

use std::fmt::Write as _;

use serde_json::Value;

use crate::document::{CLUSTER_SECRETS, MACHINE_CONFIG};
use crate::schema::{definitions, resolve, words};

/// `docs/config-reference.md`: every field with its type, default and description.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for kind in [MACHINE_CONFIG, CLUSTER_SECRETS] {
        let mut sections = Vec::new();
        collect("", kind, &mut sections);
        for section in &sections {
            write_section(&mut out, kind, section);
        }
    }
    out
}

/// One table: a shape, and every place that has it.
struct Section {
    shape: String,
    places: Vec<String>,
}

/// Gathers the shapes below one, each once, in the order they are met.
fn collect(path: &str, shape: &str, sections: &mut Vec<Section>) {
    match sections.iter_mut().find(|section| section.shape == shape) {
        Some(section) => section.places.push(path.to_owned()),
        None => sections.push(Section {
            shape: shape.to_owned(),
            places: vec![path.to_owned()],
        }),
    }
    for (name, field) in fields(&definitions()[shape]) {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        let (below, inner) = if let Some(items) = field.get("items") {
            (format!("{below}[]"), items)
        } else if let Some(values @ Value::Object(_)) = field.get("additionalProperties") {
            (format!("{below}.<key>"), values)
        } else {
            (below, field)
        };
        if resolve(inner).get("properties").is_some()
            && let Some(shape) = inner.get("$ref").and_then(Value::as_str)
        {
            collect(
                &below,
                shape.rsplit('/').next().unwrap_or_default(),
                sections,
            );
        }
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

const INTRODUCTION: &str = "\
# Config reference

<!-- Made from the document types in agent/config/src/document.rs; a test compares it.
     To rewrite it: UPDATE=1 cargo nextest run -p machine-config -->

A machine is given a YAML stream with one `MachineConfig` and, at first, one `ClusterSecrets`,
separated by `---`. What holds everywhere:

- At most 1 MiB of UTF-8, nested at most 64 levels deep. No anchors, aliases, tags, merge keys and
  directives.
- Unknown and repeated keys are errors. Fields that are not needed are left out, not set to `null`.
- Text is taken as it is written, also when it looks like a number: `1.20` stays `1.20`. True and
  false are only `true` and `false`; numbers are decimal digits.
- Every problem is reported at once, as `line:column field: problem (hint)`.
- Lists and maps have at most 1000 entries.

`machinectl gen schema` prints the JSON Schema of both kinds, for editors.

";

fn write_section(out: &mut String, kind: &str, section: &Section) {
    let schema = &definitions()[&section.shape];
    let heading = match section.places.as_slice() {
        [root] if root.is_empty() => format!("## {kind}"),
        [place] => format!("### {place}"),
        _ => format!("### {}", section.shape),
    };
    let _ = write!(out, "{heading}\n\n{}\n\n", description(schema));
    if section.places.len() > 1 {
        let places: Vec<String> = section
            .places
            .iter()
            .map(|place| format!("`{place}`"))
            .collect();
        let _ = write!(out, "At {}.\n\n", places.join(", "));
    }
    out.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
    let required = schema.get("required").and_then(Value::as_array);
    for (name, field) in fields(schema) {
        let needed = required.is_some_and(|names| names.iter().any(|needed| needed == name));
        let default = if needed {
            "required".to_owned()
        } else {
            default(field)
        };
        let about = description(field).replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{name}` | {} | {default} | {about} |",
            type_of(field)
        );
    }
    out.push('\n');
}

fn type_of(field: &Value) -> String {
    if let Some(only) = field.get("const").and_then(Value::as_str) {
        return format!("`{only}`");
    }
    let inner = resolve(field);
    if let Some(words) = words(inner) {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        return words.join(", ");
    }
    match inner.get("type").and_then(Value::as_str) {
        Some("array") => format!("list of {}", type_of(&inner["items"])),
        Some("object") => match inner.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("map to {}", type_of(values)),
            Some(Value::Bool(false)) => "fields".to_owned(),
            _ => "any fields".to_owned(),
        },
        Some("integer") => "number".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        _ if field.get("writeOnly").is_some() => "text, secret".to_owned(),
        _ => "text".to_owned(),
    }
}

fn default(field: &Value) -> String {
    match field.get("default") {
        Some(Value::String(text)) if !text.is_empty() => format!("`{text}`"),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => format!("`{value}`"),
        _ => "–".to_owned(),
    }
}

/// The description on one line; the words of an enumeration follow it.
fn description(field: &Value) -> String {
    let inner = resolve(field);
    let own = field
        .get("description")
        .or_else(|| inner.get("description"));
    let own = own.and_then(Value::as_str).unwrap_or_default();
    let mut text = own.split_whitespace().collect::<Vec<_>>().join(" ");
    for (word, about) in words(inner).unwrap_or_default() {
        if !about.is_empty() {
            let about = about.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = write!(text, " `{word}`: {}", lower_first(&about));
        }
    }
    text
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}
