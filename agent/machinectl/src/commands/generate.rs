//! `gen …`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use machine_config::generate::{self as make, ClusterDescription, GenerateError, NodeDescription};
use machine_config::{ClusterSecrets, Endpoint, EtcdClient, Hostname, Role, members_warning};
use machine_pki::{AuthorityKind, Secret};

use crate::args::{EnrolmentArgs, GenConfigArgs, GenerateCommand, SchemaArgs, SecretsArgs};
use crate::context::Context;
use crate::documents;
use crate::failure::Failure;
use crate::files::{self, Access};
use crate::identity;
use crate::session;
use crate::target::{Node, Target};

/// Runs `gen …`.
pub(super) fn run(command: GenerateCommand) -> Result<(), Failure> {
    match command {
        GenerateCommand::Secrets(args) => secrets(&args),
        GenerateCommand::Config(args) => config(&args),
        GenerateCommand::Enrolment(args) => enrolment(&args),
        GenerateCommand::Schema(args) => schema(&args),
    }
}

pub(super) fn told(error: GenerateError) -> Failure {
    match error {
        GenerateError::Refused { .. } | GenerateError::SameName { .. } => {
            Failure::refused(error.to_string())
        }
        GenerateError::Incomplete { .. } => Failure::refused(error.to_string())
            .next(match &error {
                GenerateError::Incomplete {
                    missing: "externalEtcd",
                } => "gen secrets --etcd-ca FILE --etcd-certificate FILE --etcd-key FILE makes some with it",
                _ => "use the secrets file that gen secrets or gen config made",
            }),
        GenerateError::Pki(ref cause) => Failure::failed(format!("{error}: {cause}")),
    }
}

fn secrets(args: &SecretsArgs) -> Result<(), Failure> {
    let client = external_etcd(args)?;
    let text = make::secrets_with(client, SystemTime::now()).map_err(told)?;
    machine_config::read_secrets(text.expose().as_bytes())
        .map_err(|problems| Failure::refused(problems.to_string()))?;
    hand_out(&args.output, &text, args.force)
}

fn external_etcd(args: &SecretsArgs) -> Result<Option<EtcdClient>, Failure> {
    let (Some(ca), Some(certificate), Some(key)) =
        (&args.etcd_ca, &args.etcd_certificate, &args.etcd_key)
    else {
        return Ok(None);
    };
    let text = |path: &PathBuf| {
        let text = String::from_utf8(files::read(path)?);
        text.map_err(|_| Failure::refused(format!("{}: not UTF-8", path.display())))
    };
    Ok(Some(EtcdClient {
        ca: text(ca)?,
        certificate: text(certificate)?,
        key: Secret::new(text(key)?),
    }))
}

/// Prints a secret where `-` asks for that, else writes a file of the owner's.
fn hand_out(path: &Path, text: &Secret, force: bool) -> Result<(), Failure> {
    if path == Path::new("-") {
        return files::print(text.expose());
    }
    files::write_new(path, text.expose().as_bytes(), Access::Owner, force)?;
    crate::tell!("wrote {}", path.display());
    Ok(())
}

fn schema(args: &SchemaArgs) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(&machine_config::json_schema())
        .map_err(|error| Failure::failed(format!("write the schema: {error}")))?;
    text.push('\n');
    if args.output == Path::new("-") {
        return files::print(&text);
    }
    files::write(&args.output, text.as_bytes(), Access::Everyone)?;
    crate::tell!("wrote {}", args.output.display());
    Ok(())
}

fn enrolment(args: &EnrolmentArgs) -> Result<(), Failure> {
    if let Err(fault) = args.name.parse::<Hostname>() {
        let hint = fault.hint.unwrap_or_default();
        return Err(Failure::usage(format!("name {} {}", args.name, fault.message)).next(hint));
    }
    let secrets = documents::read_secrets(&args.secrets)?;
    let bundle = identity::enrolment_bundle(&secrets, &args.name, &args.ip)?;
    let default = PathBuf::from(format!("{}.enrolment", args.name));
    hand_out(
        args.output.as_ref().unwrap_or(&default),
        &bundle,
        args.force,
    )
}

/// The machines that are named.
#[derive(Default)]
struct Nodes {
    described: Vec<NodeDescription>,
    /// Those whose address is known.
    known: Vec<Node>,
    /// Where control planes are, as far as that is known.
    control_planes: Vec<String>,
    /// Where machines of role `etcd` are, also those that there are already.
    etcd_members: Vec<String>,
}

/// `HOSTNAME` or `HOSTNAME=ADDRESS`.
fn nodes(args: &GenConfigArgs) -> Result<Nodes, Failure> {
    let control_planes = args
        .control_planes
        .iter()
        .map(|text| (text, Role::ControlPlane));
    let etcd = args.etcd_nodes.iter().map(|text| (text, Role::Etcd));
    let workers = args.workers.iter().map(|text| (text, Role::Worker));
    let mut nodes = Nodes {
        etcd_members: args.etcd_members.clone(),
        ..Nodes::default()
    };
    for (text, role) in control_planes.chain(etcd).chain(workers) {
        let target: Target = text.parse().map_err(Failure::usage)?;
        if role == Role::Etcd && target.name.is_none() {
            return Err(
                Failure::usage(format!("--etcd-nodes {text} has no address"))
                    .next("write HOSTNAME=ADDRESS: the cluster's machines find its etcd there"),
            );
        }
        nodes.described.push(NodeDescription {
            hostname: target.label().to_owned(),
            role,
        });
        if target.name.is_some() {
            nodes.known.push(target.as_node());
        }
        // A name would have to be looked up, and may lead elsewhere by then.
        let known = target.name.is_some() && target.host.parse::<IpAddr>().is_ok();
        if role == Role::ControlPlane && known {
            nodes.control_planes.push(target.host.clone());
        }
        if role == Role::Etcd && !nodes.etcd_members.contains(&target.host) {
            nodes.etcd_members.push(target.host);
        }
    }
    Ok(nodes)
}

fn described(args: &GenConfigArgs, nodes: Nodes) -> ClusterDescription {
    ClusterDescription {
        name: args.name.clone(),
        endpoint: endpoint(args.endpoint.as_ref().or(args.virtual_ip.as_ref())),
        kubernetes_version: args.kubernetes_version.clone(),
        nodes: nodes.described,
        cert_sans: args.cert_sans.clone(),
        pod_subnet: args.pod_subnet.clone(),
        service_subnet: args.service_subnet.clone(),
        dns_domain: args.dns_domain.clone(),
        network_addon: args.network_addon.clone(),
        image: args.image.clone(),
        allow_scheduling_on_control_planes: args.allow_scheduling_on_control_planes,
        node_subnets: args.node_subnets.clone(),
        control_planes: nodes.control_planes,
        virtual_ip: args.virtual_ip.clone(),
        etcd_endpoints: args.etcd_endpoints.clone(),
        etcd_members: nodes.etcd_members,
        etcd_run_as: args.etcd_run_as.clone(),
    }
}

/// With Kubernetes' port where none is given. What makes no sense is refused with the whole document.
fn endpoint(text: Option<&String>) -> String {
    let text = text.map_or("", String::as_str);
    let read = text.parse::<Endpoint>();
    read.map_or_else(|_| text.to_owned(), |endpoint| endpoint.to_string())
}

fn config(args: &GenConfigArgs) -> Result<(), Failure> {
    let folder = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(&args.name));
    let nodes = nodes(args)?;
    let mut known = nodes.known.clone();
    if nodes
        .described
        .iter()
        .any(|node| node.hostname == "secrets")
    {
        let message = "no machine can be called secrets: its config would replace secrets.yaml";
        return Err(Failure::usage(message));
    }
    let kept = folder.join("secrets.yaml");
    let (text, secrets) = cluster_secrets(args.secrets.as_deref(), &kept)?;
    if text.is_some() && args.control_planes.is_empty() {
        return Err(Failure::usage("a new cluster has no control plane machine")
            .next("add --control-planes, or --secrets with those of the cluster to join"));
    }
    let endpoint = endpoint(args.endpoint.as_ref());
    let address = endpoint.parse::<Endpoint>().is_ok_and(|e| e.ip().is_some());
    if args.control_planes.len() > 1 && args.virtual_ip.is_none() && address {
        crate::tell!(
            "warning: the endpoint has to lead to a control plane that runs: {endpoint} should be a \
             load balancer's; or let them hold an address by turns, --virtual-ip ADDRESS"
        );
    }
    let members = match args.etcd_endpoints.len() + nodes.etcd_members.len() {
        // Of a cluster that grows only some of its machines are here.
        0 if text.is_none() => 0,
        0 => args.control_planes.len(),
        elsewhere => elsewhere,
    };
    if let Some(warning) = members_warning(members) {
        crate::tell!("warning: {warning}");
    }
    let documents =
        make::documents(&described(args, nodes), &secrets, SystemTime::now()).map_err(told)?;
    // Look before writing: half a folder is harder to repair than none.
    for node in &documents {
        let path = folder.join(format!("{}.yaml", node.hostname));
        if !args.force && path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!("{} exists already", path.display()))
                .next("choose another folder with -o, or say --force to replace configs"));
        }
    }
    let mut contexts = None;
    if !args.no_context {
        let mut all = session::contexts_to_change()?;
        let before = all.find(&args.name).cloned();
        let before = before.filter(|c| c.ca.trim() == secrets.machine_ca.certificate.trim());
        // Machines that the context knows already stay in it.
        for node in before.iter().flat_map(|c| &c.nodes) {
            if known.iter().all(|new| new.name != node.name) {
                known.push(node.clone());
            }
        }
        let new = before.is_none() || args.force;
        let context = match before {
            // More machines are no reason to become somebody else, nor to look elsewhere.
            Some(context) if !new => Context {
                nodes: known,
                ..context
            },
            _ => identity::new_context(&args.name, known, &secrets, &identity::Client::admin())?,
        };
        all.add(context, args.force)?;
        if new || all.current().is_none() {
            all.make_current(&args.name)?;
        }
        contexts = Some(all);
    }
    files::folder(&folder, Access::Owner)?;
    if let Some(text) = text {
        files::write_new(&kept, text.expose().as_bytes(), Access::Owner, false)?;
        crate::tell!(
            "wrote {} (keep it safe: it is the whole cluster)",
            kept.display()
        );
    }
    for node in &documents {
        let path = folder.join(format!("{}.yaml", node.hostname));
        files::write(&path, node.stream().expose().as_bytes(), Access::Owner)?;
        crate::tell!("wrote {} ({})", path.display(), node.role);
    }
    if let Some(contexts) = contexts {
        contexts.save()?;
        crate::tell!(
            "wrote context {} to {}",
            args.name,
            contexts.path().display()
        );
    }
    Ok(())
}

/// The secrets to use, and their text where they are new and must be kept.
/// Secrets that are in the folder already are used again, never replaced.
pub(super) fn cluster_secrets(
    given: Option<&Path>,
    kept: &Path,
) -> Result<(Option<Secret>, ClusterSecrets), Failure> {
    if let Some(path) = given {
        return Ok((None, documents::read_secrets(path)?));
    }
    if kept.symlink_metadata().is_ok() {
        crate::tell!("using {}", kept.display());
        return Ok((None, documents::read_secrets(kept)?));
    }
    let text = make::secrets(SystemTime::now()).map_err(told)?;
    let secrets = machine_config::read_secrets(text.expose().as_bytes())
        .map_err(|problems| Failure::failed(format!("read the new secrets: {problems}")))?;
    debug_assert!(secrets.authority(AuthorityKind::Machine).is_some());
    Ok((Some(text), secrets))
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn an_endpoint_without_a_port_gets_kubernetes_own() {
        for (text, want) in [
            ("10.0.0.1", "10.0.0.1:6443"),
            ("api.example:443", "api.example:443"),
            ("fd00::1", "[fd00::1]:6443"),
            ("[fd00::1]", "[fd00::1]:6443"),
            ("[fd00::1]:1", "[fd00::1]:1"),
            ("fd00::1:6443", "fd00::1:6443"),
        ] {
            assert_eq!(endpoint(Some(&text.to_owned())), want);
        }
    }
}
