//! A valid document stream, and how it is shown.

use std::ops::Range;

use machine_pki::{REDACTED, Secret};

use crate::machine::MachineConfig;
use crate::secrets::ClusterSecrets;

/// What a document stream says, valid as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What the machine should be.
    pub config: MachineConfig,
    /// The cluster's secrets, if the stream holds them.
    pub secrets: Option<ClusterSecrets>,
    /// The text it was read from.
    pub(crate) source: Secret,
    /// The bytes of its secrets, in order and apart from each other.
    pub(crate) hidden: Vec<Range<usize>>,
}

impl Bundle {
    /// The documents as they were written, comments and order included, with `<redacted>` in
    /// place of every secret.
    #[must_use]
    pub fn redacted(&self) -> String {
        let source = self.source.expose();
        let mut text = String::with_capacity(source.len());
        let mut from = 0;
        for range in &self.hidden {
            let (Some(before), Some(hidden)) =
                (source.get(from..range.start), source.get(range.clone()))
            else {
                continue;
            };
            text.push_str(before);
            text.push_str(REDACTED);
            // The bytes of a block run up to the next key; what is blank at their end is layout.
            text.push_str(hidden.get(hidden.trim_end().len()..).unwrap_or_default());
            from = range.end;
        }
        text.push_str(source.get(from..).unwrap_or_default());
        self.scrub(text)
    }

    /// Takes out copies of secrets, in comments for example.
    fn scrub(&self, mut text: String) -> String {
        let Some(secrets) = &self.secrets else {
            return text;
        };
        let cas = [
            Some(&secrets.machine_ca),
            secrets.kubernetes_ca.as_ref(),
            secrets.etcd_ca.as_ref(),
            secrets.front_proxy_ca.as_ref(),
        ];
        let keys = cas.into_iter().flatten().filter_map(|ca| ca.key.as_ref());
        let signing = secrets
            .service_account
            .as_ref()
            .and_then(|pair| pair.key.as_ref());
        let others = [
            signing,
            secrets.bootstrap_token.as_ref(),
            secrets.encryption_key.as_ref(),
            secrets.external_etcd.as_ref().map(|client| &client.key),
        ];
        for secret in keys.chain(others.into_iter().flatten()) {
            let lines = secret.expose().lines().map(str::trim);
            for line in lines.filter(|line| line.len() >= 12 && !line.starts_with("-----")) {
                if text.contains(line) {
                    text = text.replace(line, REDACTED);
                }
            }
        }
        text
    }
}
