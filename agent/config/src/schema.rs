//! The shape of documents as JSON Schema: what editors check, and what [`crate::structure`] walks.

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::document::{CLUSTER_SECRETS, MACHINE_CONFIG, MachineDocument, SecretsDocument};

/// The JSON Schema (2020-12) of one document of either kind, for editors.
#[must_use]
pub fn json_schema() -> Value {
    let mut definitions = definitions().clone();
    definitions.sort_keys();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "machined/v1 document",
        "oneOf": [
            { "$ref": format!("#/$defs/{MACHINE_CONFIG}") },
            { "$ref": format!("#/$defs/{CLUSTER_SECRETS}") },
        ],
        "$defs": definitions,
    })
}

/// Every named shape. Made once: schemars takes about a millisecond.
pub(crate) fn definitions() -> &'static Map<String, Value> {
    static DEFINITIONS: OnceLock<Map<String, Value>> = OnceLock::new();
    DEFINITIONS.get_or_init(|| {
        let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
        generator.subschema_for::<MachineDocument>();
        generator.subschema_for::<SecretsDocument>();
        let mut definitions = generator.take_definitions(true);
        definitions.values_mut().for_each(simplify);
        definitions
    })
}

/// Looks through a `$ref`.
pub(crate) fn resolve(schema: &Value) -> &Value {
    let name = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|name| name.rsplit('/').next());
    match name.and_then(|name| definitions().get(name)) {
        Some(definition) => definition,
        None => schema,
    }
}

/// The words an enumeration accepts, if the schema is one, each with its description.
pub(crate) fn words(schema: &Value) -> Option<Vec<(&str, &str)>> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Some(
            words
                .iter()
                .filter_map(Value::as_str)
                .map(|word| (word, ""))
                .collect(),
        );
    }
    let variants = schema.get("oneOf").and_then(Value::as_array)?;
    let word = |variant| -> Option<(&str, &str)> {
        let variant: &Value = variant;
        let word = variant.get("const")?.as_str()?;
        Some((
            word,
            variant
                .get("description")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        ))
    };
    variants.iter().map(word).collect()
}

/// Optional fields are left out, never `null`: removes the null that schemars allows for them,
/// and number formats no editor knows.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice != &json!({ "type": "null" }));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.extend(only);
                }
            }
            if object.get("default") == Some(&Value::Null) {
                object.remove("default");
            }
            if object
                .get("format")
                .is_some_and(|format| format == "uint32")
            {
                object.remove("format");
                object.insert("maximum".to_owned(), json!(u32::MAX));
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(entries) => entries.iter_mut().for_each(simplify),
        _ => {}
    }
}
