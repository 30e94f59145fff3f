//! `render`: every file that a machine would write.

use std::net::IpAddr;
use std::path::Path;

use machine_config::MachineConfig;
use machine_plan::desired::Desired;
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;

use crate::args::RenderArgs;
use crate::documents::{self, Document};
use crate::failure::Failure;
use crate::files::{self, Access};

/// An address of the range for documentation: nobody has it.
const NOBODYS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Stands for the interface that has the machine's address.
const NOBODYS_INTERFACE: &str = "eth0";

/// Renders documents.
pub(super) fn run(args: &RenderArgs) -> Result<(), Failure> {
    for document in documents::read(&args.documents.files, args.documents.secrets.as_deref())? {
        let files = rendered(args, &document)?;
        match &args.output {
            Some(folder) => write(args, &folder.join(document.hostname()), &files)?,
            None => print(args, &document.hostname(), &files)?,
        }
    }
    Ok(())
}

fn rendered(args: &RenderArgs, document: &Document) -> Result<Vec<RenderedFile>, Failure> {
    let config = &document.bundle.config;
    let secrets = document.bundle.secrets.as_ref().ok_or_else(|| {
        Failure::usage(format!("{}: it holds no secrets", document.path.display()))
            .next("name the cluster's secrets: --secrets FILE")
    })?;
    let address = node_ip(args, config);
    let facts = HostFacts {
        interface: Some(NOBODYS_INTERFACE.to_owned()),
        ..HostFacts::at(address)
    };
    let desired = Desired::new(config, secrets, &facts, None, None);
    let mut files: Vec<RenderedFile> = desired.files().cloned().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn node_ip(args: &RenderArgs, config: &MachineConfig) -> IpAddr {
    if let Some(given) = args.node_ip.or(config.kubelet().node_ip) {
        return given;
    }
    crate::tell!(
        "note: {} learns its address when it runs; {NOBODYS} stands for it (--node-ip)",
        config.hostname()
    );
    NOBODYS
}

fn text<'a>(args: &RenderArgs, file: &'a RenderedFile) -> &'a str {
    if args.show_secrets {
        file.content.expose()
    } else {
        file.content.shown()
    }
}

fn print(args: &RenderArgs, hostname: &str, files: &[RenderedFile]) -> Result<(), Failure> {
    let mut out = String::new();
    for file in files {
        out.push_str(&format!(
            "# {hostname}: {} (mode {:04o})\n",
            file.path, file.mode
        ));
        out.push_str(text(args, file).trim_end());
        out.push_str("\n\n");
    }
    files::print(&out)
}

fn write(args: &RenderArgs, folder: &Path, files: &[RenderedFile]) -> Result<(), Failure> {
    for file in files {
        let access = if file.mode & 0o077 == 0 {
            Access::Owner
        } else {
            Access::Everyone
        };
        let path = folder.join(file.path.trim_start_matches('/'));
        files::write(&path, text(args, file).as_bytes(), access)?;
    }
    crate::tell!("wrote {} files below {}", files.len(), folder.display());
    Ok(())
}
