//! The peer: stock kubeadm in the same image, with the agent masked.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};
use qemu_tests::{Machine, Spec, Workshop, put, run};

use crate::guest::{WITHOUT_AGENT, node_ready, unit};
use crate::settings::Settings;

const UNIT: &str = "[Unit]\nDescription=Bench peer\nAfter=basic.target systemd-networkd.service\n\
    [Service]\nType=oneshot\nKillMode=process\nExecStartPre=/usr/bin/mkdir -p /run/bench\n\
    ExecStartPre=/usr/bin/mount -t erofs -o ro /dev/disk/by-id/virtio-extra /run/bench\n\
    ExecStart=/usr/bin/sh /run/bench/SCRIPT\n";

/// One round.
pub struct Round {
    /// Seconds from the start of `kubeadm init` to a Ready node.
    pub ready: f64,
    /// Seconds that `kubeadm init` took, by the guest's clock.
    pub ended: f64,
}

/// A machine's disk with the control plane's images in containerd's store.
pub struct Peer {
    shop: Workshop,
    tools: PathBuf,
}

impl Peer {
    /// Makes the images from the node image's own programs and has a guest import
    /// them, so that a round begins as a machine does that was given them before.
    pub fn prepare(settings: &Settings) -> anyhow::Result<Self> {
        let shop = Workshop::new("bench-peer")?;
        let tools = shop.path().join("tools.erofs");
        eprintln!("bench: making kubeadm's disk");
        let made = run(
            &settings.scripts.join("peer/disk.sh"),
            &[
                &settings.image_folder()?.display().to_string(),
                &settings.kubernetes.display().to_string(),
                &tools.display().to_string(),
            ],
            &[],
            120,
        )?;
        ensure!(
            made.code == 0,
            "making kubeadm's disk failed: {}",
            made.stderr
        );
        let peer = Self { shop, tools };
        let mut machine = peer.boot(settings, "store", "import.sh")?;
        machine.console("bench: imported", 400)?;
        machine.ended(60)?;
        Ok(peer)
    }

    /// Runs `kubeadm init`.
    pub fn round(&self, settings: &Settings, round: usize) -> anyhow::Result<Round> {
        let name = format!("round-{round}");
        let disk = self.shop.path().join(format!("{name}.qcow2"));
        let made = Command::new("qemu-img")
            .args([
                "create",
                "-q",
                "-f",
                "qcow2",
                "-F",
                "qcow2",
                "-b",
                "store.qcow2",
            ])
            .arg(&disk)
            .status()
            .context("start qemu-img")?;
        ensure!(made.success(), "qemu-img create {} failed", disk.display());
        let machine = self.boot(settings, &name, "init.sh")?;
        machine.console("bench: kubeadm starts", 120)?;
        let start = Instant::now();
        let line = machine.console("bench: admin.conf ", 300)?;
        let kubeconfig = self.kubeconfig(&line)?;
        let ready = (node_ready(&machine, &kubeconfig)? - start).as_secs_f64();
        eprintln!("bench: kubeadm: node Ready after {ready:.1} s");
        let said = machine.console("bench: kubeadm ended after ", 600)?;
        let ended = said.split("ended after ").nth(1);
        let ended = ended.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        let ended = ended.with_context(|| format!("no time in {said:?}"))?;
        eprintln!("bench: kubeadm: init ended after {ended:.1} s");
        machine.cut_power();
        Ok(Round { ready, ended })
    }

    /// All rounds held: nothing of them is kept.
    pub fn done(self) {
        self.shop.done();
    }

    fn boot(&self, settings: &Settings, name: &str, script: &str) -> anyhow::Result<Machine> {
        let peer = unit("bench-peer.service", &UNIT.replace("SCRIPT", script));
        let spec = Spec {
            name: name.to_owned(),
            credentials: vec![peer.credential],
            append: format!("{WITHOUT_AGENT} {}", peer.append),
            extra_disk: Some(self.tools.clone()),
            ..Spec::default()
        };
        Machine::boot(&settings.image()?, &self.shop, &spec)
    }

    fn kubeconfig(&self, line: &str) -> anyhow::Result<PathBuf> {
        let word = line.split_whitespace().last().unwrap_or_default();
        let bytes = data_encoding::BASE64.decode(word.as_bytes());
        let bytes = bytes.context("the guest's admin.conf is not base64")?;
        let path = self.shop.path().join("admin.conf");
        put(&path, &String::from_utf8(bytes)?)?;
        Ok(path)
    }
}
