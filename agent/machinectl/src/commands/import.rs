//! `import …`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use machine_config::generate as make;
use machine_config::import::{self, Finding, Imported, Source, Words};
use machine_config::{ClusterSecrets, MachineConfig, Role};

use super::generate::{cluster_secrets, told};
use crate::args::{ImportCommand, KubeadmArgs, MachineRole};
use crate::documents;
use crate::failure::Failure;
use crate::files::{self, Access};

/// Runs `import …`.
pub(super) fn run(command: ImportCommand) -> Result<(), Failure> {
    match command {
        ImportCommand::Kubeadm(args) => kubeadm(&args),
    }
}

fn kubeadm(args: &KubeadmArgs) -> Result<(), Failure> {
    let sources = sources(&args.files)?;
    if args.output.as_deref() == Some(Path::new("-")) {
        let Some(path) = &args.secrets else {
            return Err(Failure::usage("the cluster's id comes from its secrets")
                .next("add --secrets FILE; machinectl gen secrets makes them"));
        };
        let imported = imported(&sources, args, &documents::read_secrets(path)?)?;
        list(&imported.left);
        return files::print(&imported.config);
    }
    // What is wrong is told before anything is made; and the folder may have the cluster's name.
    let first = read(&sources, &words(args, "00000000".to_owned()))?;
    let config = config(&first)?;
    let named = || PathBuf::from(config.cluster_name());
    let folder = args.output.clone().unwrap_or_else(named);
    let (hostname, role) = (config.hostname().as_str(), config.role());
    if hostname == "secrets" {
        let message = "no machine can be called secrets: its config would replace secrets.yaml";
        return Err(Failure::usage(message).next("say --hostname"));
    }
    let path = folder.join(format!("{hostname}.yaml"));
    if !args.force && path.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("{} exists already", path.display()))
            .next("choose another folder with -o, or say --force to replace it"));
    }
    let kept = folder.join("secrets.yaml");
    let (text, secrets) = cluster_secrets(args.secrets.as_deref(), &kept)?;
    if text.is_some() && !role.is_control_plane() {
        return Err(
            Failure::usage("a new cluster has no control plane machine").next(
                "import one of a control plane into the same folder first, or say --secrets FILE",
            ),
        );
    }
    let imported = imported(&sources, args, &secrets)?;
    let documents =
        make::with_secrets(imported.config, &secrets, SystemTime::now()).map_err(told)?;
    list(&imported.left);
    files::folder(&folder, Access::Owner)?;
    if let Some(text) = &text {
        files::write_new(&kept, text.expose().as_bytes(), Access::Owner, false)?;
        crate::tell!(
            "wrote {} (keep it safe: it is the whole cluster)",
            kept.display()
        );
    }
    files::write(&path, documents.stream().expose().as_bytes(), Access::Owner)?;
    crate::tell!("wrote {} ({role})", path.display());
    if text.is_some() {
        crate::tell!(
            "next: machinectl context add {} --secrets {} -n {hostname}=ADDRESS",
            config.cluster_name(),
            kept.display()
        );
    }
    Ok(())
}

fn sources(files: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let read = |path: &PathBuf| {
        Ok(Source {
            name: path.display().to_string(),
            bytes: files::read(path)?,
        })
    };
    files.iter().map(read).collect()
}

fn words(args: &KubeadmArgs, cluster_id: String) -> Words {
    Words {
        cluster_id,
        name: args.name.clone(),
        endpoint: args.endpoint.clone(),
        hostname: args.hostname.clone(),
        role: args.role.map(|role| match role {
            MachineRole::Controlplane => Role::ControlPlane,
            MachineRole::Worker => Role::Worker,
        }),
        kubernetes_version: args.kubernetes_version.clone(),
        image: args.image.clone(),
        network_addon: args.network_addon.clone(),
    }
}

fn imported(
    sources: &[Source],
    args: &KubeadmArgs,
    secrets: &ClusterSecrets,
) -> Result<Imported, Failure> {
    let id = make::cluster_id(secrets);
    let id = id.map_err(|error| Failure::failed(format!("read the machine CA: {error}")))?;
    read(sources, &words(args, id))
}

fn read(sources: &[Source], words: &Words) -> Result<Imported, Failure> {
    import::kubeadm(sources, words).map_err(|refused| {
        let mut text = match refused.problems.len() {
            1 => "kubeadm's documents: 1 problem".to_owned(),
            count => format!("kubeadm's documents: {count} problems"),
        };
        for problem in refused.problems {
            text.push_str(&format!("\n  {problem}"));
        }
        Failure::refused(text)
    })
}

fn config(imported: &Imported) -> Result<MachineConfig, Failure> {
    let bundle = machine_config::read(imported.config.as_bytes());
    let bundle = bundle.map_err(|problems| Failure::refused(problems.to_string()))?;
    Ok(bundle.config)
}

/// Tells what is not in the config.
fn list(left: &[Finding]) {
    match left.len() {
        0 => return,
        1 => crate::tell!("1 part has no counterpart and was left out:"),
        count => crate::tell!("{count} parts have no counterpart and were left out:"),
    }
    for finding in left {
        crate::tell!("  {finding}");
    }
}
