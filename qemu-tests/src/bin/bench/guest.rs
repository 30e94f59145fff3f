//! What both guests share: units from outside, and the moment a node is Ready.

use std::path::Path;
use std::time::{Duration, Instant};

use qemu_tests::{Deadline, Machine, run_quietly};

/// Between two questions. The same on both sides, because asking costs the guest.
const CADENCE: Duration = Duration::from_secs(2);

/// A unit that a machine is given by credential, started because `append` wants it.
pub struct Unit {
    /// The credential: name and content.
    pub credential: (String, Vec<u8>),
    /// The kernel argument.
    pub append: String,
}

/// A unit of this name and text.
pub fn unit(name: &str, text: &str) -> Unit {
    Unit {
        credential: (
            format!("systemd.extra-unit.{name}"),
            text.as_bytes().to_vec(),
        ),
        append: format!("systemd.wants={name}"),
    }
}

/// Keeps the agent from starting.
pub const WITHOUT_AGENT: &str = "systemd.mask=machined.service";

/// Asks from this host until the node says that it is Ready; returns the moment.
pub fn node_ready(machine: &Machine, kubeconfig: &Path) -> anyhow::Result<Instant> {
    let deadline = Deadline::new(600, "node cp1 to be Ready");
    // The raw object: anything else makes kubectl ask for all API groups first.
    let args = [
        "--server",
        &machine.kube,
        "--request-timeout=10s",
        "get",
        "--raw",
        "/api/v1/nodes/cp1",
    ];
    let mut told = Instant::now();
    loop {
        let ran = run_quietly(
            Path::new("kubectl"),
            &args,
            &[("KUBECONFIG", kubeconfig)],
            &deadline,
        )?;
        if ran.code == 0 && is_ready(&ran.stdout) {
            return Ok(Instant::now());
        }
        if told.elapsed() > Duration::from_secs(30) {
            let why = match ran.code {
                0 => "registered, not Ready",
                _ => ran.stderr.lines().last().unwrap_or("no answer"),
            };
            eprintln!("bench: waiting for node cp1 to be Ready: {why}");
            told = Instant::now();
        }
        deadline.left()?;
        std::thread::sleep(CADENCE);
    }
}

// The API server writes the condition.s type first and its status next.
fn is_ready(node: &str) -> bool {
    let compact: String = node.split_whitespace().collect();
    let conditions = compact.split(r#""type":"Ready","status":""#).nth(1);
    conditions.is_some_and(|rest| rest.starts_with("True"))
}

#[cfg(test)]
mod tests {
    use super::is_ready;

    #[test]
    fn only_the_ready_condition_counts() {
        let other = r#"{"type":"DiskPressure","status":"False"},"#;
        let node =
            |status: &str| format!(r#"[{other}{{ "type": "Ready", "status": "{status}" }}]"#);
        assert!(is_ready(&node("True")));
        assert!(!is_ready(&node("False")));
        assert!(!is_ready(&node("Unknown")));
        assert!(!is_ready(other));
    }
}
