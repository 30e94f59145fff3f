//! Bootstrap tokens, as the cluster keeps them: Secrets of a type of their own.

use std::collections::BTreeMap;
use std::time::SystemTime;

use data_encoding::BASE64;
use machine_pki::Secret;
use machine_plan::render::{TOKEN_TYPE, TOKEN_USAGES, is_token_id, token_object};
use serde::Deserialize;
use serde_json::Value;

use super::client::{Client, escaped};
use super::error::Error;
use super::objects::{List, Metadata};
use crate::api::{TokenError, TokenSeen};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";

/// Of a Secret only what is read here.
#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    metadata: Metadata,
    /// Base64.
    #[serde(default)]
    data: BTreeMap<String, Secret>,
}

/// Makes one. The same one again is no other.
pub async fn create(client: &Client, id: &str, secret: &Value) -> Result<(), TokenError> {
    let fail = |error: Error| failed("make", format!("token {id}"), &error);
    match client.post(SECRETS, secret).await {
        // Perhaps by this very call: an answer that got lost is asked for again.
        Err(Error::Refused { code: 409, .. }) => {
            let there = client.get::<Found>(&path(id)).await.map_err(fail)?;
            match same(&there, secret) {
                true => Ok(()),
                false => Err(TokenError::Exists(id.to_owned())),
            }
        }
        done => done.map_err(fail),
    }
}

/// All of them, by id.
pub async fn list(client: &Client) -> Result<Vec<TokenSeen>, TokenError> {
    let fail = |error: Error| failed("list", "tokens".to_owned(), &error);
    let all = format!("{SECRETS}?fieldSelector=type%3D{}", escaped(TOKEN_TYPE));
    let found = client.get::<List<Found>>(&all).await.map_err(fail)?;
    let now = SystemTime::now();
    let mut seen: Vec<_> = found.items().iter().map(|one| one.seen(now)).collect();
    seen.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(seen)
}

/// Takes one away.
pub async fn delete(client: &Client, id: &str) -> Result<(), TokenError> {
    match client.delete(&path(id)).await {
        Err(Error::Refused { code: 404, .. }) => Err(TokenError::Unknown(id.to_owned())),
        done => done.map_err(|error| failed("delete", format!("token {id}"), &error)),
    }
}

fn path(id: &str) -> String {
    format!("{SECRETS}/{}", escaped(&token_object(id)))
}

fn failed(operation: &'static str, object: String, error: &Error) -> TokenError {
    TokenError::Cluster {
        operation,
        object,
        why: error.to_string(),
    }
}

fn same(there: &Found, wanted: &Value) -> bool {
    let wanted = wanted["data"].as_object();
    wanted.is_some_and(|wanted| {
        wanted.len() == there.data.len()
            && there
                .data
                .iter()
                .all(|(key, value)| wanted.get(key).and_then(Value::as_str) == Some(value.expose()))
    })
}

impl Found {
    fn seen(&self, now: SystemTime) -> TokenSeen {
        let words = |text: Option<String>| {
            let text = text.unwrap_or_default();
            let words = text.split(',').filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        let good_for = |usage: &&str| {
            self.text(&format!("usage-bootstrap-{usage}")).as_deref() == Some("true")
        };
        let usages = TOKEN_USAGES.into_iter().filter(good_for);
        let (expires_ms, problem) = self.expires(now);
        TokenSeen {
            id: self.text("token-id").unwrap_or_default(),
            expires_ms,
            description: self.text("description").unwrap_or_default(),
            usages: usages.map(str::to_owned).collect(),
            groups: words(self.text("auth-extra-groups")),
            problem: self.misnamed().or(problem).unwrap_or_default(),
        }
    }

    /// When it ends, and what is wrong with that.
    fn expires(&self, now: SystemTime) -> (Option<i64>, Option<String>) {
        if !self.data.contains_key("expiration") {
            return (None, None);
        }
        let text = self.text("expiration").unwrap_or_default();
        let Ok(expires) = text.parse::<jiff::Timestamp>() else {
            return (None, Some("its expiration is no time".to_owned()));
        };
        let over = SystemTime::from(expires) <= now;
        let over = over.then(|| "it has expired".to_owned());
        (Some(expires.as_millisecond()), over)
    }

    /// The API server finds a token by its Secret's name alone.
    fn misnamed(&self) -> Option<String> {
        let (name, id) = (
            &self.metadata.name,
            self.text("token-id").unwrap_or_default(),
        );
        let right = is_token_id(&id) && *name == token_object(&id);
        (!right).then(|| format!("its Secret {name} is not named after its id"))
    }

    fn text(&self, key: &str) -> Option<String> {
        let bytes = BASE64
            .decode(self.data.get(key)?.expose().as_bytes())
            .ok()?;
        String::from_utf8(bytes).ok()
    }
}

#[cfg(test)]
mod tests;
