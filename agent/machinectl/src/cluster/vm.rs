//! One virtual machine: a QEMU process that outlives this program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine_pki::Secret;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Command;

use super::args::Size;
use super::image::Image;
use super::probe::Speed;
use super::state::Machine;
use crate::failure::Failure;
use crate::files::{self, Access};

/// The machine emulator. The image is for x86-64.
pub(super) const QEMU: &str = "qemu-system-x86_64";

/// How long QEMU may take to end by itself; it has nothing to save.
const ENDING: Duration = Duration::from_secs(10);

/// The files of one machine.
#[derive(Clone, Debug)]
pub(super) struct Place {
    folder: PathBuf,
    name: String,
}

impl Place {
    /// A machine's files in a cluster's folder.
    pub(super) fn new(folder: &Path, machine: &Machine) -> Self {
        Self {
            folder: folder.to_owned(),
            name: machine.name.clone(),
        }
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    /// Its console's log.
    pub(super) fn console(&self) -> PathBuf {
        self.file("console.log")
    }

    /// The last lines of its console.
    pub(super) fn last_lines(&self, count: usize) -> String {
        let text = std::fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(count);
        let plain = |line: &&str| line.chars().filter(|c| !c.is_control()).collect::<String>();
        lines[from..]
            .iter()
            .map(plain)
            .collect::<Vec<_>>()
            .join("\n    ")
    }

    /// The process, if it still is the one that was started for this machine.
    pub(super) fn process(&self) -> Option<Pid> {
        let path = self.file("pid");
        let text = std::fs::read_to_string(&path).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        // A number may have been given to another process since: its command line tells.
        let ours = command_line(pid)?.contains(path.to_str()?);
        ours.then_some(pid)
    }
}

fn command_line(pid: Pid) -> Option<String> {
    let number = pid.as_raw_nonzero();
    if let Ok(bytes) = std::fs::read(format!("/proc/{number}/cmdline")) {
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    if Path::new("/proc/self").exists() {
        return None;
    }
    let ps = ["-ww", "-o", "command=", "-p"];
    let output = std::process::Command::new("ps")
        .args(ps)
        .arg(number.to_string())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// QEMU or one of its tools is not there.
pub(super) fn no_qemu(program: &str, error: &std::io::Error) -> Failure {
    let failure = Failure::failed(format!("run {program}: {}", files::plain(error)));
    match error.kind() {
        std::io::ErrorKind::NotFound => failure
            .next("install QEMU: apt install qemu-system-x86 qemu-utils, or brew install qemu"),
        _ => failure,
    }
}

async fn done(mut command: Command, program: &str) -> Result<(), Failure> {
    let output = command
        .output()
        .await
        .map_err(|error| no_qemu(program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::failed(format!("{program}: {said}")))
}

/// What a cluster's machines have in common.
pub(super) struct Start<'a> {
    /// What they boot.
    pub(super) image: &'a Image,
    /// How they are run.
    pub(super) speed: Speed,
    /// What each has.
    pub(super) size: &'a Size,
    /// Their network, where there are several.
    pub(super) shared_port: Option<u16>,
}

/// Makes a machine's disk and what it is given before boot; what was there is gone.
pub(super) async fn make(place: &Place, bundle: &Secret, start: &Start<'_>) -> Result<(), Failure> {
    let disk = place.file("qcow2");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
    command
        .arg(start.image.part("disk.raw"))
        .arg(&disk)
        .arg(format!("{}G", start.size.disk));
    done(command, "qemu-img").await?;

    // A file rather than an argument: the process list is everyone's.
    let encoded = data_encoding::BASE64.encode(bundle.expose().as_bytes());
    let credential = Secret::new(format!(
        "io.systemd.credential.binary:machined.enrolment={encoded}"
    ));
    files::write(
        &place.file("smbios"),
        credential.expose().as_bytes(),
        Access::Owner,
    )
}

/// Powers a machine on.
pub(super) async fn start(
    place: &Place,
    machine: &Machine,
    start: &Start<'_>,
) -> Result<(), Failure> {
    let mut command = Command::new(QEMU);
    // A socket's path may have 107 bytes at most: it is named from within the folder.
    command
        .current_dir(&place.folder)
        .args(start.speed.arguments());
    command.args(arguments(place, machine, start));
    done(command, QEMU).await
}

/// QEMU reads a comma as the next option unless it is doubled.
fn escaped(path: &Path) -> OsString {
    OsString::from(path.to_string_lossy().replace(',', ",,"))
}

fn with(prefix: &str, path: &Path, suffix: &str) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(escaped(path));
    text.push(suffix);
    text
}

/// Brings an emulated machine's clock back to this host's, which its hardware clock shows: its own time
/// passes more slowly, and certificates that others make now would not be valid yet.
const CLOCK: &str = "[Unit]
Description=Clock after the hardware clock
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'while sleep 5; do date -u -s @$$(cat /sys/class/rtc/rtc0/since_epoch) >/dev/null; done'
Restart=always
";

/// The kernel's arguments. An emulated processor speculates on nothing, so nothing guards against it.
fn appended(arguments: &str, speed: Speed) -> String {
    if speed.kvm {
        return arguments.to_owned();
    }
    format!("{arguments} mitigations=off systemd.wants=host-clock.service")
}

/// What the machine is told before boot that is no secret.
fn told(speed: Speed) -> Option<String> {
    let unit = data_encoding::BASE64.encode(CLOCK.as_bytes());
    (!speed.kvm).then(|| {
        format!("type=11,value=io.systemd.credential.binary:systemd.extra-unit.host-clock.service={unit}")
    })
}

fn arguments(place: &Place, machine: &Machine, start: &Start<'_>) -> Vec<OsString> {
    let Start { image, size, .. } = start;
    let forward = format!(
        "user,id=host,restrict=on,hostfwd=tcp:127.0.0.1:{}-:50000,hostfwd=tcp:127.0.0.1:{}-:6443",
        machine.api_port, machine.kubernetes_port
    );
    let mut all: Vec<OsString> = vec![
        "-nodefaults".into(),
        "-no-user-config".into(),
        "-daemonize".into(),
        "-pidfile".into(),
        place.file("pid").into(),
        "-name".into(),
        machine.name.clone().into(),
        "-uuid".into(),
        machine.uuid().into(),
        "-machine".into(),
        // Fewer devices are fewer to look for at boot.
        "q35,sata=off,smbus=off,i8042=off,vmport=off".into(),
        "-smp".into(),
        size.cpus
            .unwrap_or(start.speed.processors())
            .to_string()
            .into(),
        "-m".into(),
        size.memory.to_string().into(),
        "-display".into(),
        "none".into(),
        "-serial".into(),
        with("file:", &place.console(), ""),
        "-qmp".into(),
        format!("unix:{}.qmp,server=on,wait=off", machine.name).into(),
        "-kernel".into(),
        image.part("vmlinuz").into(),
        "-initrd".into(),
        image.part("initrd").into(),
        "-append".into(),
        appended(&image.arguments, start.speed).into(),
        "-drive".into(),
        with(
            "if=virtio,format=qcow2,discard=unmap,file=",
            &place.file("qcow2"),
            "",
        ),
        "-device".into(),
        "virtio-rng-pci".into(),
        "-smbios".into(),
        with("type=11,path=", &place.file("smbios"), ""),
        "-netdev".into(),
        forward.into(),
        "-device".into(),
        format!("virtio-net-pci,netdev=host,mac={}", machine.mac(0)).into(),
    ];
    if let Some(credential) = told(start.speed) {
        all.extend(["-smbios".into(), credential.into()]);
    }
    if let Some(port) = start.shared_port {
        // Over this host's loopback device, at a port that nobody else has.
        let network = format!("socket,id=lan,mcast=239.255.80.79:{port},localaddr=127.0.0.1");
        all.extend([
            "-netdev".into(),
            network.into(),
            "-device".into(),
            format!("virtio-net-pci,netdev=lan,mac={}", machine.mac(1)).into(),
        ]);
    }
    all
}

/// Ends a machine's process, if it still runs.
pub(super) async fn stop(place: &Place) -> Result<(), Failure> {
    let Some(pid) = place.process() else {
        return Ok(());
    };
    let told = |error: rustix::io::Errno| {
        Failure::failed(format!(
            "stop {}: {}",
            place.name,
            files::plain(&error.into())
        ))
    };
    for signal in [Signal::TERM, Signal::KILL] {
        match kill_process(pid, signal) {
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            other => other.map_err(told)?,
        }
        if tokio::time::timeout(ENDING, gone(pid)).await.is_ok() {
            return Ok(());
        }
    }
    Err(Failure::failed(format!(
        "stop {}: process {} does not end",
        place.name,
        pid.as_raw_nonzero()
    )))
}

async fn gone(pid: Pid) {
    while test_kill_process(pid).is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
