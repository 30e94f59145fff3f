//! What the machine is, and how.

use machined_proto::v1;
use tonic::Status;

use super::Machine;
use crate::api::convert;
use crate::boot;
use crate::status::now_ms;

impl Machine {
    pub(super) fn what_it_is(&self) -> v1::VersionResponse {
        let current = self.parts.ledger.current();
        let config = current.as_ref().map(|entry| &entry.bundle.config);
        v1::VersionResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: config.map(|c| c.hostname().to_string()).unwrap_or_default(),
            role: config.map(|c| c.role().to_string()).unwrap_or_default(),
            kubernetes_version: config
                .map(|c| c.kubernetes_version().to_string())
                .unwrap_or_default(),
            os: os_name(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            boot_id: boot::boot_id(),
        }
    }

    pub(super) fn how_it_is(&self) -> v1::StatusResponse {
        let status = self.parts.board.status();
        let wrong = self.parts.board.conditions();
        let current = self.parts.ledger.current();
        let config = current.as_ref().map(|entry| &entry.bundle.config);
        let generation = current.as_ref().map_or(0, |entry| entry.generation.number);
        let revert_at = self.parts.ledger.pending_try();
        v1::StatusResponse {
            hostname: config.map(|c| c.hostname().to_string()).unwrap_or_default(),
            role: config.map(|c| c.role().to_string()).unwrap_or_default(),
            generation,
            // A generation that no look has seen yet is not in effect.
            settled: status.settled && status.generation == generation,
            stages: status.stages.into_iter().map(convert::stage).collect(),
            conditions: wrong.into_iter().map(convert::condition).collect(),
            node_ready: status.node_ready,
            looks: status.looks,
            last_event: self.parts.board.last_event(),
            revert_at_ms: revert_at.map_or(0, |(_, left)| now_ms().saturating_add_unsigned(left)),
        }
    }

    /// An intermediate of the last look, as JSON.
    pub(super) fn inspected(&self, what: i32) -> Result<String, Status> {
        let last = self.parts.board.intermediates();
        let last = last.as_deref();
        match v1::Intermediate::try_from(what) {
            Ok(v1::Intermediate::Observed) => convert::json(last.map(|l| &l.observed)),
            Ok(v1::Intermediate::Desired) => convert::json(last.map(|l| &*l.desired)),
            Ok(v1::Intermediate::Plan) => convert::json(last.map(|l| &l.plan)),
            Ok(v1::Intermediate::Unspecified) | Err(_) => {
                Err(Status::invalid_argument("what: OBSERVED, DESIRED or PLAN"))
            }
        }
    }
}

fn os_name() -> String {
    let text = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or("unknown").trim_matches('"').to_owned()
}

fn first_line(path: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}
