//! What is asked of the kernel once, and the console.

use std::io::Write;
use std::net::IpAddr;

use nix::time::{ClockId, clock_gettime};

use crate::ledger::Now;
use crate::status::now_ms;

/// The kernel's id of this boot.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// systemd's id of this run of the agent, another one after each start; outside systemd the boot's.
pub fn run_id() -> String {
    std::env::var("INVOCATION_ID").unwrap_or_else(|_| boot_id())
}

/// The present moment, for the ledger.
pub fn clock() -> impl Fn() -> Now + Send + Sync + 'static {
    let boot_id = boot_id();
    move || Now {
        boot_id: boot_id.clone(),
        boottime_ms: boottime_ms(),
        wall_ms: now_ms(),
    }
}

// A clock that cannot be read does not exist on Linux; 0 only ends tries early.
fn boottime_ms() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds * 1000 + u64::try_from(time.tv_nsec() / 1_000_000).unwrap_or(0)
}

/// Writes lines for the person at the console. Its absence is no error.
pub fn console(text: &str) {
    let opened = std::fs::OpenOptions::new().write(true).open("/dev/console");
    let Ok(mut console) = opened else {
        tracing::info!("no console: {text}");
        return;
    };
    // Carriage returns: the console may be raw.
    let text = text.replace('\n', "\r\n");
    let _ = write!(console, "\r\n{text}\r\n");
}

/// What the console says while there is no config.
pub fn maintenance_banner(addresses: &[IpAddr], code: Option<&str>) -> String {
    let at: Vec<_> = addresses
        .iter()
        .map(|ip| std::net::SocketAddr::new(*ip, machined_proto::PORT).to_string())
        .collect();
    let at = if at.is_empty() {
        "no address yet".to_owned()
    } else {
        at.join(", ")
    };
    match code {
        Some(code) => format!(
            "machined: maintenance, waiting for a config at {at}\n\
             machined: enrolment code {code}\n\
             machined: machinectl apply-config -n ADDRESS -f FILE --code {code}"
        ),
        None => format!(
            "machined: maintenance, waiting for a config at {at}\n\
             machined: enrolment by the trust anchor given before boot"
        ),
    }
}
