//! Machines: a copy-on-write disk over the image, user networking that reaches
//! nothing but this host's loopback, and an end that is a power cut.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::deadline::Deadline;
use crate::put;
use crate::serial::Serial;
use crate::shell::Shell;

/// An image as `just image` makes it.
#[derive(Debug, Clone)]
pub struct Image {
    directory: PathBuf,
}

impl Image {
    /// From the variable that the recipes set.
    pub fn from_env() -> anyhow::Result<Self> {
        let directory = std::env::var_os("MACHINED_IMAGE").context(
            "MACHINED_IMAGE must name an image's folder: run the stories by `just stories`",
        )?;
        let image = Self {
            directory: directory.into(),
        };
        for name in ["vmlinuz", "initrd", "disk.raw", "cmdline"] {
            ensure!(
                image.file(name).exists(),
                "no {name} in {}",
                image.directory.display()
            );
        }
        Ok(image)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.directory
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// A story's folder. Kept, and named, when the story fails.
pub struct Workshop {
    path: PathBuf,
    done: bool,
}

impl Workshop {
    /// An empty folder for the story of this name.
    pub fn new(story: &str) -> anyhow::Result<Self> {
        let above = std::env::var_os("STORY_LOGS").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = above.join(format!("story-{story}"));
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self { path, done: false })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The story held: its folder goes.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if self.done {
            let _ = std::fs::remove_dir_all(&self.path);
        } else {
            eprintln!(
                "serial logs and files of this story are kept in {}",
                self.path.display()
            );
        }
    }
}

/// What a machine is given before it boots.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Names its files.
    pub name: String,
    /// systemd credentials, by SMBIOS.
    pub credentials: Vec<(String, Vec<u8>)>,
    /// Further kernel arguments.
    pub append: String,
    /// A second card, to a network that only machines with the same one share.
    pub lan: Option<Lan>,
    /// A further disk, read-only: `/dev/disk/by-id/virtio-extra`.
    pub extra_disk: Option<PathBuf>,
    /// What the hardware clock says at power on, such as "2025-01-31T12:00:00".
    pub clock: Option<String>,
    /// Whether a root shell listens on a second serial port, to cause faults.
    pub shell: bool,
}

/// A network between machines, over this host's loopback device.
#[derive(Debug, Clone)]
pub struct Lan {
    port: u16,
}

impl Lan {
    /// A network that nobody else is on.
    pub fn new() -> anyhow::Result<Self> {
        let free = std::net::UdpSocket::bind("127.0.0.1:0")?;
        Ok(Self {
            port: free.local_addr()?.port(),
        })
    }
}

impl Spec {
    /// The hardware address of the second card.
    pub fn mac(&self) -> String {
        let sum = self
            .name
            .bytes()
            .fold(7_u8, |sum, byte| sum.wrapping_mul(31) ^ byte);
        format!("52:54:00:6c:61:{sum:02x}")
    }

    // The machine id: the same after each boot of the same machine.
    fn uuid(&self) -> String {
        let mut bytes = [0x5a_u8; 16];
        for (place, byte) in bytes.iter_mut().zip(self.name.bytes()) {
            *place = byte;
        }
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        format!(
            "{}-{}-4{}-a{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        )
    }
}

/// A machine that runs.
pub struct Machine {
    child: Child,
    serial: Serial,
    shell: Option<Shell>,
    /// The machine API, on this host's loopback.
    pub api: String,
    /// The Kubernetes API, on this host's loopback.
    pub kube: String,
}

impl Machine {
    /// Boots a machine in a story's folder; its disk is made if it is not there
    /// yet, so the same spec again is the same machine after a power cut.
    pub fn boot(image: &Image, shop: &Workshop, spec: &Spec) -> anyhow::Result<Self> {
        let disk = shop.path().join(format!("{}.qcow2", spec.name));
        if !disk.exists() {
            let base = std::fs::canonicalize(image.file("disk.raw"))?;
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
                .arg(&base)
                .arg(&disk)
                .arg("12G")
                .status()?;
            ensure!(made.success(), "qemu-img create {} failed", disk.display());
        }
        let (api, kube) = (free_port()?, free_port()?);
        let cmdline = std::fs::read_to_string(image.file("cmdline"))?;
        // A machine never outlives who booted it, however that one ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
            .args(crate::emulation::accelerator())
            .args(["-m", "4096", "-nodefaults"]);
        // What the guests do not use is not probed for.
        command.args([
            "-M",
            "q35,sata=off,smbus=off,i8042=off,vmport=off",
            "-uuid",
            &spec.uuid(),
        ]);
        command.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
        command
            .arg("-kernel")
            .arg(image.file("vmlinuz"))
            .arg("-initrd")
            .arg(image.file("initrd"));
        command.arg("-append").arg(format!(
            "{} console=ttyS0 {} {} {}",
            cmdline.trim(),
            spec.append,
            crate::emulation::kernel(spec.clock.is_none()),
            if spec.shell { crate::shell::KERNEL } else { "" }
        ));
        command.arg("-drive").arg(format!(
            "if=none,id=disk,file={},cache=writeback,discard=unmap",
            disk.display()
        ));
        command.args([
            "-device",
            "virtio-blk-pci,drive=disk",
            "-device",
            "virtio-rng-pci",
        ]);
        if let Some(file) = &spec.extra_disk {
            command.arg("-drive").arg(format!(
                "if=none,id=extra,format=raw,readonly=on,file={}",
                file.display()
            ));
            command.args(["-device", "virtio-blk-pci,drive=extra,serial=extra"]);
        }
        let forward = format!(
            "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{api}-:50000,hostfwd=tcp:127.0.0.1:{kube}-:6443"
        );
        command.args(["-netdev", &forward, "-device", "virtio-net-pci,netdev=net"]);
        if let Some(Lan { port }) = spec.lan {
            let lan = format!("socket,id=lan,mcast=239.255.80.79:{port},localaddr=127.0.0.1");
            let card = format!("virtio-net-pci,netdev=lan,mac={}", spec.mac());
            command.args(["-netdev", &lan, "-device", &card]);
        }
        if let Some(clock) = &spec.clock {
            command.args(["-rtc", &format!("base={clock}")]);
        }
        let mut credentials = spec.credentials.clone();
        // A clock that is wrong on purpose stays so.
        credentials.extend(crate::emulation::clock().filter(|_| spec.clock.is_none()));
        let socket = shop.path().join(format!("{}.shell", spec.name));
        if spec.shell {
            credentials.push(crate::shell::credential());
            command.args(crate::shell::arguments(&socket));
        }
        for (name, content) in &credentials {
            let file = shop.path().join(format!("{}-{name}.smbios", spec.name));
            let text = data_encoding::BASE64.encode(content);
            put(
                &file,
                &format!("io.systemd.credential.binary:{name}={text}"),
            )?;
            command
                .arg("-smbios")
                .arg(format!("type=11,path={}", file.display()));
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().context("start qemu-system-x86_64")?;
        let out = child.stdout.take().context("no serial console")?;
        let serial = Serial::follow(out, &shop.path().join(format!("{}.serial.log", spec.name)))?;
        let shell = match spec.shell {
            true => Some(Shell::connect(&socket)?),
            false => None,
        };
        Ok(Self {
            child,
            serial,
            shell,
            api: format!("127.0.0.1:{api}"),
            kube: format!("https://127.0.0.1:{kube}"),
        })
    }

    /// Waits for a line on the console.
    pub fn console(&self, text: &str, seconds: u64) -> anyhow::Result<String> {
        self.serial.wait(
            text,
            &Deadline::new(seconds, format!("{text:?} on the console")),
        )
    }

    /// Runs a command as root in the machine, by its shell, and returns what it printed.
    pub fn sh(&mut self, command: &str, seconds: u64) -> anyhow::Result<String> {
        let shell = self.shell.as_mut().context("a machine without a shell")?;
        shell.run(command, seconds)
    }

    /// Waits until it has turned itself off.
    pub fn ended(&mut self, seconds: u64) -> anyhow::Result<()> {
        let deadline = Deadline::new(seconds, "the machine to turn itself off");
        while self.child.try_wait()?.is_none() {
            deadline.left()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Takes the power away, at once.
    pub fn cut_power(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free at this moment; whoever else takes it before QEMU does makes QEMU say so.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
