//! Where an object of any kind is in the API. The API server is asked: it knows the plural of its
//! kinds, those of the user's own definitions too, and which of them are in namespaces.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, escaped};
use super::error::Error;

/// What was asked about already, by group and version. To be thrown away soon: a kind that is not
/// there may be defined by the next object.
#[derive(Default)]
pub struct Resources(BTreeMap<String, Vec<Resource>>);

#[derive(Deserialize)]
struct Found {
    resources: Vec<Resource>,
}

#[derive(Clone, Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
    /// Of what is sent there, where that is not its own.
    #[serde(default)]
    group: String,
    #[serde(default)]
    version: String,
}

/// As which version the API server takes an eviction: `policy/v1` since 1.22, only `policy/v1beta1`
/// before.
pub async fn eviction_version(client: &Client) -> Result<String, Error> {
    let found = client.get::<Found>(&root("v1")).await?.resources;
    let eviction = found.into_iter().find(|r| r.name == "pods/eviction");
    eviction
        .map(|r| format!("{}/{}", r.group, r.version))
        .ok_or_else(|| Error::UnknownKind {
            kind: "Eviction".to_owned(),
            version: "v1".to_owned(),
        })
}

impl Resources {
    /// The path of an object.
    pub async fn path(&mut self, client: &Client, object: &Value) -> Result<String, Error> {
        let text = |pointer| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default()
        };
        let (version, kind) = (text("/apiVersion"), text("/kind"));
        let resource = self.find(client, version, kind).await?;
        let mut path = root(version);
        if resource.namespaced {
            // As kubectl does.
            let namespace = match text("/metadata/namespace") {
                "" => "default",
                given => given,
            };
            path += &format!("/namespaces/{}", escaped(namespace));
        }
        let name = escaped(text("/metadata/name"));
        Ok(format!("{path}/{}/{name}", resource.name))
    }

    async fn find(
        &mut self,
        client: &Client,
        version: &str,
        kind: &str,
    ) -> Result<Resource, Error> {
        // A subresource has a kind too, and a name of two parts.
        let wanted = |r: &&Resource| r.kind == kind && !r.name.contains('/');
        let known = self.0.get(version).and_then(|all| all.iter().find(wanted));
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let found = match client.get::<Found>(&root(version)).await {
            Ok(found) => found.resources,
            Err(Error::Refused { code: 404, .. }) => Vec::new(),
            Err(e) => return Err(e),
        };
        let resource = found.iter().find(wanted).cloned();
        self.0.insert(version.to_owned(), found);
        resource.ok_or_else(|| Error::UnknownKind {
            kind: kind.to_owned(),
            version: version.to_owned(),
        })
    }
}

fn root(version: &str) -> String {
    match version.split_once('/') {
        Some((group, version)) => format!("/apis/{}/{}", escaped(group), escaped(version)),
        None => format!("/api/{}", escaped(version)),
    }
}
