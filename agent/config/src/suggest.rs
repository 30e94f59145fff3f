//! "Did you mean": the known word nearest to an unknown one.

use serde_json::Value;

use crate::schema::{definitions, resolve};

/// The candidate a reader probably meant, if one is near enough.
pub(crate) fn nearest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    // Edit distance is quadratic; no field is named like this.
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = plain(word);
    let most = match wanted.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    candidates
        .map(|candidate| (strsim::osa_distance(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= most || extends(&wanted, &plain(candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `address` for `addresses`, `labels` for `nodeLabels`, `master` is nobody's.
fn extends(wanted: &str, candidate: &str) -> bool {
    wanted.len() >= 4 && (candidate.starts_with(wanted) || candidate.ends_with(wanted))
}

/// The part of a document that knows a field of this name, if exactly one does.
pub(crate) fn place_of(kind: &str, field: &str) -> Option<String> {
    let mut places = Vec::new();
    collect(&definitions()[kind], field, "", 0, &mut places);
    match places.as_slice() {
        [place] if !place.is_empty() => Some(place.clone()),
        _ => None,
    }
}

fn collect(schema: &Value, field: &str, path: &str, depth: usize, places: &mut Vec<String>) {
    // The document types are not recursive; the limit keeps a future slip from hanging.
    let Some(fields) = resolve(schema).get("properties").and_then(Value::as_object) else {
        return;
    };
    if depth > 8 {
        return;
    }
    if fields.contains_key(field) {
        places.push(path.to_owned());
    }
    for (name, schema) in fields {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect(schema, field, &path, depth + 1, places);
        if let Some(items) = schema.get("items") {
            collect(items, field, &format!("{path}[]"), depth + 1, places);
        }
    }
}
