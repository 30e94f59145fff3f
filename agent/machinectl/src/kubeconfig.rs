//! Merging a kubeconfig into another, as `kubectl config` would.

use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// How to merge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Merge<'a> {
    /// Reach the API server here instead.
    pub server: Option<&'a str>,
    /// Replace another cluster's entries of the same name.
    pub force: bool,
    /// Leave the current context as it is.
    pub keep_current: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Merged {
    /// The whole file.
    pub text: String,
    /// The name of the context that was added.
    pub context: String,
}

const LISTS: [&str; 3] = ["clusters", "users", "contexts"];

/// Adds what `fetched` holds to `existing`, which may be empty.
pub fn merge(existing: &str, fetched: &str, how: Merge<'_>) -> Result<Merged, Failure> {
    let mut file = parse(existing, "it")?;
    let mut new = parse(fetched, "the machine's answer")?;
    let context = new
        .get("current-context")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if entry(&new, "contexts", &context).is_none() {
        return Err(Failure::failed(
            "the machine's kubeconfig has no current context",
        ));
    }
    if let Some(server) = how.server {
        redirect(&mut new, server)?;
    }
    if !how.force {
        refuse_other_cluster(&file, &new)?;
    }
    for list in LISTS {
        for item in entries(&new, list) {
            put(&mut file, list, item)?;
        }
    }
    let has_current = file
        .get("current-context")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty());
    if !(how.keep_current && has_current) {
        file.insert("current-context".into(), json!(context));
    }
    file.entry("apiVersion").or_insert(json!("v1"));
    file.entry("kind").or_insert(json!("Config"));
    let text = serde_saphyr::to_string(&Value::Object(file))
        .map_err(|error| Failure::failed(format!("write the kubeconfig: {error}")))?;
    Ok(Merged { text, context })
}

fn parse(text: &str, what: &str) -> Result<Map<String, Value>, Failure> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    // No snippet: its lines may be those of a key.
    let options = serde_saphyr::options! { with_snippet: false };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(Failure::usage(format!("{what} is no kubeconfig"))),
        Err(error) => Err(Failure::usage(format!("{what} is no valid YAML: {error}"))),
    }
}

fn entries(file: &Map<String, Value>, list: &str) -> Vec<Value> {
    file.get(list)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

fn entry<'a>(file: &'a Map<String, Value>, list: &str, name: &str) -> Option<&'a Value> {
    file.get(list)?
        .as_array()?
        .iter()
        .find(|item| item["name"] == name)
}

fn put(file: &mut Map<String, Value>, list: &str, item: Value) -> Result<(), Failure> {
    let slot = file.entry(list).or_insert_with(|| json!([]));
    if slot.is_null() {
        *slot = json!([]);
    }
    let items = slot
        .as_array_mut()
        .ok_or_else(|| Failure::usage(format!("it is no kubeconfig: {list} is no list")))?;
    match items.iter_mut().find(|other| other["name"] == item["name"]) {
        Some(other) => *other = item,
        None => items.push(item),
    }
    Ok(())
}

/// Other addresses are mostly tunnels, which the server's certificate does not
/// name: the name it is checked against stays what it was.
fn redirect(file: &mut Map<String, Value>, server: &str) -> Result<(), Failure> {
    if !server.starts_with("https://") {
        return Err(Failure::usage(format!(
            "--server {server}: it must begin with https://"
        )));
    }
    let clusters = file.get_mut("clusters").and_then(Value::as_array_mut);
    for cluster in clusters.into_iter().flatten() {
        let cluster = &mut cluster["cluster"];
        let old = cluster["server"].as_str().and_then(host).map(str::to_owned);
        if let Some(old) = old.filter(|old| Some(old.as_str()) != host(server)) {
            cluster["tls-server-name"] = json!(old);
        }
        cluster["server"] = json!(server);
    }
    Ok(())
}

/// The host of `https://host:port/…`.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next(),
        None => authority.split(':').next(),
    }
}

fn refuse_other_cluster(
    file: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Result<(), Failure> {
    for context in entries(new, "contexts") {
        let name = context["name"].as_str().unwrap_or_default();
        let Some(existing) = entry(file, "contexts", name) else {
            continue;
        };
        let cluster = |of: &Map<String, Value>, context: &Value| {
            let cluster = context["context"]["cluster"].as_str().unwrap_or_default();
            entry(of, "clusters", cluster)
                .map(|entry| entry["cluster"]["certificate-authority-data"].clone())
        };
        if cluster(file, existing) != cluster(new, &context) {
            return Err(different(name));
        }
    }
    for theirs in entries(new, "clusters") {
        let name = theirs["name"].as_str().unwrap_or_default();
        let Some(existing) = entry(file, "clusters", name) else {
            continue;
        };
        let ca = "certificate-authority-data";
        if existing["cluster"][ca] != theirs["cluster"][ca] {
            return Err(different(name));
        }
    }
    Ok(())
}

fn different(name: &str) -> Failure {
    Failure::usage(format!("it has a {name} already, of another cluster"))
        .next("say --force to replace it, or -o FILE to write another file")
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
