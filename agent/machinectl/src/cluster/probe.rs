//! How fast machines run here. `/dev/kvm` may exist and not run a guest: only a guest that
//! ran proves it, and the time it took sizes every deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::image::Image;
use super::vm;
use crate::failure::Failure;

/// A kernel without a disk panics within a second or two on hardware.
const KVM_DEADLINE: Duration = Duration::from_secs(20);
/// Emulated, and on a busy host.
const TCG_DEADLINE: Duration = Duration::from_secs(180);
/// What the probe takes on common hardware.
const NOMINAL: f64 = 1.5;

/// With AVX, Go's code takes paths that are slow to emulate; the rest speeds up digests and
/// ciphers. An older QEMU leaves out what it does not know.
const EMULATED: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+aes,+pclmulqdq,+sha-ni,+bmi1,\
    +bmi2,+movbe,+abm,+rdrand,+rdseed";

/// How machines are run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Speed {
    /// By hardware rather than by emulation.
    pub(super) kvm: bool,
    /// How many times slower than common hardware.
    pub(super) factor: f64,
}

impl Speed {
    /// A deadline that is `seconds` on common hardware.
    pub(super) fn deadline(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds).mul_f64(self.factor)
    }

    /// QEMU's arguments. An emulated machine has a time of its own, a nanosecond an instruction
    /// (docs/decisions/0016): however busy this host is, nothing in it is late.
    pub(super) fn arguments(self) -> &'static [&'static str] {
        if self.kvm {
            &["-accel", "kvm", "-cpu", "host"]
        } else {
            &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=on,align=off",
                "-cpu",
                EMULATED,
            ]
        }
    }

    /// How many processors a machine has where nobody says. Emulated ones take turns: a second would
    /// only be one more to wake.
    pub(super) fn processors(self) -> u8 {
        if self.kvm { 2 } else { 1 }
    }

    fn measured(kvm: bool, took: Duration) -> Self {
        // Emulation slows user programs more than a kernel's start shows.
        let least = if kvm { 1.0 } else { 5.0 };
        Self {
            kvm,
            factor: (took.as_secs_f64() / NOMINAL).clamp(least, 40.0),
        }
    }
}

/// Boots the kernel alone, by KVM where that works, else emulated.
pub(super) async fn measure(image: &Image) -> Result<Speed, Failure> {
    if Path::new("/dev/kvm").exists() {
        let speed = Speed {
            kvm: true,
            factor: 1.0,
        };
        if let Some(took) = boots(image, speed, KVM_DEADLINE).await? {
            return Ok(Speed::measured(true, took));
        }
    }
    let speed = Speed {
        kvm: false,
        factor: 1.0,
    };
    match boots(image, speed, TCG_DEADLINE).await? {
        Some(took) => Ok(Speed::measured(false, took)),
        None => Err(
            Failure::failed("the image's kernel does not start in QEMU, even emulated")
                .next("is the image whole, and is QEMU older than 7?"),
        ),
    }
}

/// Whether the kernel comes as far as missing its root file system, and how soon.
async fn boots(
    image: &Image,
    speed: Speed,
    deadline: Duration,
) -> Result<Option<Duration>, Failure> {
    let began = Instant::now();
    let mut command = Command::new(vm::QEMU);
    command
        .args([
            "-machine",
            "q35",
            "-m",
            "512",
            "-nodefaults",
            "-no-user-config",
        ])
        .args(speed.arguments())
        .args([
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-append",
        ])
        // Reboots at once on panic, which ends QEMU.
        .arg("console=ttyS0 panic=-1")
        .arg("-kernel")
        .arg(image.part("vmlinuz"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(deadline, command.output()).await {
        Err(_) => Ok(None),
        Ok(Err(error)) => Err(vm::no_qemu(vm::QEMU, &error)),
        Ok(Ok(output)) => {
            let panicked = String::from_utf8_lossy(&output.stdout).contains("Kernel panic");
            Ok((output.status.success() && panicked).then(|| began.elapsed()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_grow_with_the_measured_time_and_never_shrink() {
        let fast = Speed::measured(true, Duration::from_millis(300));
        assert_eq!(fast.deadline(60), Duration::from_secs(60));
        let slow = Speed::measured(false, Duration::from_secs(15));
        assert_eq!(slow.deadline(60), Duration::from_secs(600));
        let emulated = Speed::measured(false, Duration::from_secs(2));
        assert_eq!(emulated.deadline(60), Duration::from_secs(300));
    }
}
