//! Bootstrap tokens: what a node proves itself by before it has a certificate, and what the
//! cluster proves itself to it by.

use std::fmt;
use std::time::SystemTime;

use data_encoding::BASE64;
use machine_pki::Secret;
use serde_json::{Map, Value, json};

use super::time::rfc3339;
use super::{JOINING_NODES, SYSTEM};

/// What a token may be good for: `authentication` lets a joining node ask for its certificate,
/// `signing` shows it that the cluster is the right one.
pub const TOKEN_USAGES: [&str; 2] = ["authentication", "signing"];

/// The type of their Secrets.
pub const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";

/// How every group that a token may put its bearer in begins.
const GROUPS: &str = "system:bootstrappers:";
/// The longest rest of such a group's name that the API server takes.
const GROUP_REST: usize = 256;
/// A description is a line for people.
const DESCRIPTION: usize = 256;

/// A token that the API server will take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    token: Secret,
    expires: Option<SystemTime>,
    description: String,
    usages: Vec<&'static str>,
    groups: Vec<String>,
}

/// Why a token is none. Nothing of what was given is repeated: it may be a secret in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Not the shape of a token.
    Shape,
    /// A usage that there is not.
    Usage,
    /// The group at this place, from 0, is none that a token may give.
    Group(usize),
    /// Groups of a token that nobody can show.
    IdleGroups,
    /// Too long, or more than a line.
    Description,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str(
                "this is not a bootstrap token: it is 6 and 16 of a-z and 0-9 with a dot between; \
                 leave it out and one is made",
            ),
            Self::Usage => write!(f, "usages are {}", TOKEN_USAGES.join(" and ")),
            Self::Group(place) => write!(
                f,
                "group {} of a token must be {GROUPS} and at most {GROUP_REST} of a-z, 0-9, : and -, \
                 not ending in : or -",
                place + 1
            ),
            Self::IdleGroups => f.write_str(
                "groups are for a token that may be shown: leave them out, or add the usage \
                 authentication",
            ),
            Self::Description => {
                write!(
                    f,
                    "the description must be one line of at most {DESCRIPTION} characters"
                )
            }
        }
    }
}

impl std::error::Error for TokenFault {}

impl BootstrapToken {
    /// No usages are both, no groups that of nodes which join by kubeadm.
    ///
    /// # Errors
    ///
    /// When the API server, or whoever acts on its objects, would not take it.
    pub fn new(
        token: Secret,
        expires: Option<SystemTime>,
        description: String,
        usages: &[String],
        groups: Vec<String>,
    ) -> Result<Self, TokenFault> {
        if !is_token(token.expose()) {
            return Err(TokenFault::Shape);
        }
        if !usages
            .iter()
            .all(|word| TOKEN_USAGES.contains(&word.as_str()))
        {
            return Err(TokenFault::Usage);
        }
        let wanted = |usage: &&str| usages.is_empty() || usages.iter().any(|word| word == usage);
        let usages: Vec<_> = TOKEN_USAGES.into_iter().filter(|u| wanted(u)).collect();
        if let Some(place) = groups.iter().position(|group| !is_group(group)) {
            return Err(TokenFault::Group(place));
        }
        let groups = match (usages.contains(&"authentication"), groups.is_empty()) {
            (true, true) => vec![JOINING_NODES.to_owned()],
            (false, false) => return Err(TokenFault::IdleGroups),
            _ => groups,
        };
        let one_line = !description.chars().any(char::is_control);
        if !one_line || description.chars().count() > DESCRIPTION {
            return Err(TokenFault::Description);
        }
        Ok(Self {
            token,
            expires,
            description,
            usages,
            groups,
        })
    }

    /// The part that is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        self.parts().0
    }

    /// All of it.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// When it ends; `None`: never.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// What it is good for.
    #[must_use]
    pub fn usages(&self) -> &[&'static str] {
        &self.usages
    }

    /// The groups that its bearer is in.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Its Secret, as kubeadm writes it.
    #[must_use]
    pub fn object(&self) -> Value {
        let (id, secret) = self.parts();
        let (expires, groups) = (self.expires.map(rfc3339), self.groups.join(","));
        let mut data = Map::new();
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                data.insert(key.to_owned(), BASE64.encode(value.as_bytes()).into());
            }
        };
        put("token-id", id);
        put("token-secret", secret);
        put("description", &self.description);
        put("expiration", &expires.unwrap_or_default());
        for usage in &self.usages {
            put(&format!("usage-bootstrap-{usage}"), "true");
        }
        put("auth-extra-groups", &groups);
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": token_object(id), "namespace": SYSTEM },
            "type": TOKEN_TYPE,
            "data": data,
        })
    }

    fn parts(&self) -> (&str, &str) {
        self.token.expose().split_once('.').unwrap_or_default()
    }
}

/// The command that a machine with kubeadm joins by, as kubeadm itself prints it. It is as secret
/// as the token in it.
#[must_use]
pub fn join_command(endpoint: &str, token: &Secret, ca_hashes: &[String]) -> Secret {
    let hashes = ca_hashes.iter();
    let hashes: String = hashes
        .map(|hash| format!(" --discovery-token-ca-cert-hash {hash}"))
        .collect();
    let token = token.expose();
    Secret::new(format!("kubeadm join {endpoint} --token {token}{hashes}"))
}

/// The name of the Secret of the token with this id.
#[must_use]
pub fn token_object(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// Whether this could be a token's id.
#[must_use]
pub fn is_token_id(text: &str) -> bool {
    is_word(text, 6)
}

fn is_token(text: &str) -> bool {
    let parts = text.split_once('.');
    parts.is_some_and(|(id, secret)| is_token_id(id) && is_word(secret, 16))
}

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(is_letter)
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_group(text: &str) -> bool {
    text.strip_prefix(GROUPS).is_some_and(|rest| {
        rest.len() <= GROUP_REST
            && rest
                .bytes()
                .all(|byte| is_letter(byte) || b":-".contains(&byte))
            && rest.bytes().next_back().is_some_and(is_letter)
    })
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
