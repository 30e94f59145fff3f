//! What is measured on this host: secrets and configs, and sizes.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use qemu_tests::{Workshop, run};

use crate::settings::Settings;
use crate::table::Table;

/// Odd, so that the median is one of them.
const TIMES: usize = 5;

/// A cluster's secrets and the configs of a hundred nodes, against one node's certificates by kubeadm.
pub fn secrets(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let shop = Workshop::new("bench-secrets")?;
    let workers: Vec<_> = (1..=97).map(|n| format!("w{n}")).collect();
    let workers = workers.join(",");
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for time in 1..=TIMES {
        let at = |name: &str| {
            shop.path()
                .join(format!("{name}-{time}"))
                .display()
                .to_string()
        };
        let (secrets, configs, pki) = (at("secrets"), at("configs"), at("pki"));
        let make_secrets = ["gen", "secrets", "-o", &secrets];
        let mut make_configs = vec!["gen", "config", "--name", "bench", "--no-context"];
        make_configs.extend(["--secrets", &secrets, "-o", &configs]);
        make_configs.extend([
            "--endpoint",
            "10.0.0.1:6443",
            "--control-planes",
            "c1,c2,c3",
        ]);
        make_configs.extend(["--workers", &workers]);
        let both = timed(&settings.machinectl, &make_secrets)?
            + timed(&settings.machinectl, &make_configs)?;
        ours.push(both);
        let written = std::fs::read_dir(&configs)?.count();
        ensure!(written >= 100, "{written} files for 100 nodes in {configs}");

        let kubeadm = settings.kubernetes.join("kubeadm");
        let mut certs = vec!["init", "phase", "certs", "all", "--cert-dir", &pki];
        certs.extend(["--kubernetes-version", "v1.20.2"]);
        certs.extend(["--apiserver-advertise-address", "10.0.0.1"]);
        peer.push(timed(&kubeadm, &certs)?);
    }
    let figure = "gen secrets and configs for 100 nodes | kubeadm init phase certs all";
    table.compare(figure, "s", &ours, &peer, 1.0);
    shop.done();
    Ok(())
}

fn timed(program: &Path, args: &[&str]) -> anyhow::Result<f64> {
    let start = Instant::now();
    let ran = run(program, args, &[], 60)?;
    let took = start.elapsed().as_secs_f64();
    ensure!(
        ran.code == 0,
        "{} {} failed: {}",
        program.display(),
        args.join(" "),
        ran.stderr
    );
    Ok(took)
}

/// The binaries as released.
pub fn binaries(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    for (name, path) in [
        ("machined", &settings.machined),
        ("machinectl", &settings.machinectl),
    ] {
        let size =
            std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
        table.bound(
            &format!("{name}: size, stripped"),
            "MB",
            megabytes(size.len()),
            8.0,
        );
    }
    Ok(())
}

/// The image without the Kubernetes binaries, packed.
pub fn image(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let script = settings.scripts.join("size.sh");
    let folder = settings.image_folder()?.display().to_string();
    eprintln!("bench: packing the image with zstd -19: some minutes");
    let ran = run(&script, &[&folder], &[], 900)?;
    ensure!(
        ran.code == 0,
        "measuring the image's size failed: {}",
        ran.stderr
    );
    let mut lines = ran.stdout.lines();
    let bytes = lines.next().and_then(|line| line.trim().parse().ok());
    let bytes: u64 = bytes.with_context(|| format!("no size in {:?}", ran.stdout))?;
    table.bound(
        "image without Kubernetes, zstd -19",
        "MB",
        megabytes(bytes),
        75.0,
    );
    let parts: Vec<_> = lines.collect();
    table.note(format!(
        "biggest parts of /usr, unpacked, MB: {}",
        parts.join(", ")
    ));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
