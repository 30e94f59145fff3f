//! How machines run here: by KVM, or emulated in a time of their own. One nanosecond of a guest's time
//! is one instruction, so nothing in it is late however busy this host is; what idles, idles in real time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const EMULATED: &str = "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+aes,+pclmulqdq,+sha-ni,\
    +bmi1,+bmi2,+movbe,+abm,+rdrand,+rdseed";

/// Brings the guest's clock back to this host's, which its hardware clock shows.
const CLOCK: &str = "[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'while sleep 5; do date -u -s @$$(cat /sys/class/rtc/rtc0/since_epoch) >/dev/null; done'
Restart=always
";

/// The unit that keeps an emulated machine's clock right.
pub(crate) fn clock() -> Option<(String, Vec<u8>)> {
    let name = "systemd.extra-unit.host-clock.service";
    emulated().then(|| (name.to_owned(), CLOCK.as_bytes().to_vec()))
}

/// Further kernel arguments. An emulated processor speculates on nothing.
pub(crate) fn kernel(clock: bool) -> &'static str {
    match (emulated(), clock) {
        (false, _) => "",
        (true, true) => "mitigations=off systemd.wants=host-clock.service",
        (true, false) => "mitigations=off",
    }
}

/// KVM only where a guest really runs: the device alone proves nothing.
pub(crate) fn accelerator() -> &'static [&'static str] {
    if emulated() {
        // Go takes slow paths with AVX emulated. Processors would take turns: one is enough.
        &[
            "-accel",
            "tcg,thread=single",
            "-icount",
            "shift=0,sleep=on,align=off",
            "-smp",
            "1",
            "-cpu",
            EMULATED,
        ]
    } else {
        &["-accel", "kvm", "-smp", "2", "-cpu", "host"]
    }
}

/// Whether machines run by emulation here, many times slower than on hardware.
pub fn emulated() -> bool {
    static KVM: OnceLock<bool> = OnceLock::new();
    !*KVM.get_or_init(|| {
        let Some(image) = std::env::var_os("MACHINED_IMAGE") else {
            return false;
        };
        kvm_runs(&Path::new(&image).join("vmlinuz"))
    })
}

// A kernel without a root file system panics and, told to, ends QEMU: within
// seconds where KVM works, and never where it hangs.
fn kvm_runs(kernel: &Path) -> bool {
    if !Path::new("/dev/kvm").exists() {
        return false;
    }
    let args = [
        "20",
        "qemu-system-x86_64",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-M",
        "q35",
        "-m",
        "512",
    ];
    let probe = Command::new("timeout")
        .args(args)
        .args([
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
            "-kernel",
        ])
        .arg(kernel)
        .args(["-append", "console=ttyS0 panic=-1"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let works = probe.is_ok_and(|o| {
        o.status.success() && String::from_utf8_lossy(&o.stdout).contains("Kernel panic")
    });
    eprintln!(
        "KVM {}",
        if works {
            "runs guests"
        } else {
            "does not run guests: emulating"
        }
    );
    works
}
