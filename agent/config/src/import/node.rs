//! `InitConfiguration` and `JoinConfiguration`: one machine.

use serde_json::{Map, Value};

use super::Words;
use super::account::Account;
use super::draft::at;
use super::input::{Item, Origin, Section};
use super::{cluster, kubelet};
use crate::problem::Fault;
use crate::types::{KubernetesVersion, Role};

/// How containerd's socket is written.
const CONTAINERD: &[&str] = &[
    "unix:///run/containerd/containerd.sock",
    "unix:///var/run/containerd/containerd.sock",
    "/run/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
];

/// How long kubeadm waits for what, by default.
const TIMEOUTS: [(&str, &str); 6] = [
    ("discovery", "5m0s"),
    ("etcdAPICall", "2m0s"),
    ("kubeletHealthCheck", "4m0s"),
    ("kubernetesAPICall", "1m0s"),
    ("tlsBootstrap", "5m0s"),
    ("upgradeManifests", "5m0s"),
];

const NO_TOKEN: &str = "a machine needs its config and secrets alone to join";
const NO_UPLOAD: &str = "keys are in ClusterSecrets and never uploaded";

pub(super) fn machine(
    init: Option<Item>,
    join: Option<Item>,
    words: &Words,
    account: &mut Account,
) {
    if let (Some(_), Some(join)) = (&init, &join) {
        let fault = Fault::new(
            "is beside an InitConfiguration, but a machine either begins a cluster or joins one",
        );
        let hint = "import them one after the other, each with the ClusterConfiguration";
        account.refuse(&join.origin, fault.hint(hint));
    }
    // Null is as good as not written, and an empty mapping is not.
    let controls = |join: &Item| {
        join.node
            .get("controlPlane")
            .is_some_and(|node| !node.is_nothing())
    };
    let role = match (&init, &join) {
        (Some(init), _) => Some((Role::ControlPlane, init.origin.clone())),
        (None, Some(join)) if controls(join) => Some((Role::ControlPlane, join.origin.clone())),
        (None, Some(join)) => Some((Role::Worker, join.origin.clone())),
        (None, None) => None,
    };
    if let (Some(word), Some((role, origin))) = (words.role, &role)
        && word != *role
    {
        let fault = Fault::new(format!("is for a {role}, but --role says {word}"));
        account.refuse(origin, fault.hint("leave out one of them"));
    }
    let word = words.role.map(|word| (word, Origin::Flag("--role")));
    let role = word.or(role);
    if let Some((role, origin)) = &role {
        let path = at(&["machine", "role"]);
        account.draft.set(path, role.as_str(), origin.clone());
    }
    let role = role.map(|(role, _)| role);
    if let Some(hostname) = &words.hostname {
        let flag = Origin::Flag("--hostname");
        let path = at(&["machine", "hostname"]);
        account.draft.set(path, hostname.as_str(), flag);
    }
    account.section(init, |account, section| {
        shared(section, role, words, account);
        let local = section.take("localAPIEndpoint");
        local_endpoint(local, true, account);
        for token in account.entries(section.take("bootstrapTokens")) {
            account.leave(
                &token.origin,
                NO_TOKEN,
                "bootstrapToken in ClusterSecrets is the machines' own",
            );
        }
        let key = section.take("certificateKey");
        account.leave_unless(key, &[], NO_UPLOAD, "remove it");
    });
    account.section(join, |account, section| {
        shared(section, role, words, account);
        let controls = section.take("controlPlane");
        account.section(controls, |account, section| {
            local_endpoint(section.take("localAPIEndpoint"), false, account);
            let key = section.take("certificateKey");
            account.leave_unless(key, &[], NO_UPLOAD, "remove it");
        });
        let discovery = section.take("discovery");
        account.section(discovery, |account, section| {
            self::discovery(section, account)
        });
        account.leave_unless(
            section.take("caCertPath"),
            &["/etc/kubernetes/pki/ca.crt"],
            "the cluster's CA is in ClusterSecrets",
            "remove it",
        );
    });
}

/// What both kinds have.
fn shared(section: &mut Section, role: Option<Role>, words: &Words, account: &mut Account) {
    let registration = section.take("nodeRegistration");
    account.section(registration, |account, section| {
        self::registration(section, role, words, account);
    });
    account.leave_unless(
        section.take("skipPhases"),
        &[],
        "there are no phases: the agent does all of what the config says",
        "remove it",
    );
    let patches = section.take("patches");
    account.section(patches, |account, section| {
        account.leave_unless(
            section.take("directory"),
            &[],
            "patches are not applied",
            "say what they say with extraArgs, extraVolumes and machine.kubelet.extraConfig",
        );
    });
    let rehearsal = section.take("dryRun");
    account.leave_unless(
        rehearsal,
        &["false"],
        "is a matter of the command",
        "use machinectl apply-config --dry-run",
    );
    let timeouts = section.take("timeouts");
    account.section(timeouts, |account, section| {
        cluster::start_timeout(section.take("controlPlaneComponentHealthCheck"), account);
        for (name, default) in TIMEOUTS {
            account.leave_unless(
                section.take(name),
                &[default],
                "is how long kubeadm waits; the agent never gives up",
                "use --wait and --timeout of machinectl",
            );
        }
    });
}

fn registration(section: &mut Section, role: Option<Role>, words: &Words, account: &mut Account) {
    let hostname = at(&["machine", "hostname"]);
    if let Some(name) = section.take("name") {
        match &words.hostname {
            Some(word)
                if name
                    .text()
                    .is_some_and(|name| name != word && !name.is_empty()) =>
            {
                account.give_way(&name.origin, "--hostname");
            }
            Some(_) => {}
            None => account.carry(Some(name), hostname),
        }
    }
    let args = section.take("kubeletExtraArgs");
    kubelet::arguments(args, account);
    let declared = section.take("taints");
    taints(declared, role, account);
    account.leave_unless(
        section.take("criSocket"),
        CONTAINERD,
        "containerd is the only runtime",
        "remove it",
    );
    account.leave_unless(
        section.take("ignorePreflightErrors"),
        &[],
        "there are no checks to skip: what is missing is waited for and told by machinectl health",
        "remove it",
    );
    account.leave_unless(
        section.take("imagePullPolicy"),
        &["IfNotPresent"],
        "images are pulled when they are not there",
        "remove it",
    );
    account.leave_unless(
        section.take("imagePullSerial"),
        &["true"],
        "images are pulled by the kubelet",
        "use serializeImagePulls in machine.kubelet.extraConfig",
    );
}

/// Without any written, both kubeadm and the agent taint a control plane machine; an empty list
/// means that nobody does.
fn taints(item: Option<Item>, role: Option<Role>, account: &mut Account) {
    let Some(item) = item else { return };
    let origin = item.origin.clone();
    let to = at(&["machine", "kubelet", "taints"]);
    let own = own_taints(account);
    let mut keeps_away = false;
    for entry in account.entries(Some(item)) {
        let origin = entry.origin.clone();
        let mut taint = Map::new();
        account.section(Some(entry), |account, section| {
            for name in ["key", "value", "effect"] {
                let text = section.take(name).and_then(|item| account.text(&item));
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    taint.insert(name.to_owned(), Value::from(text));
                }
            }
            account.leave_unless(
                section.take("timeAdded"),
                &[],
                "is when a running cluster set it",
                "remove it",
            );
        });
        let word = |name: &str| taint.get(name).and_then(Value::as_str).unwrap_or_default();
        let of_role = role == Some(Role::ControlPlane) && word("effect") == "NoSchedule";
        let of_role = of_role && matches!(word("key"), MASTER | CONTROL_PLANE);
        keeps_away |= of_role;
        let by_itself = of_role && own.contains(&word("key")) && word("value").is_empty();
        if !by_itself {
            account.draft.add(to.clone(), Value::Object(taint), origin);
        }
    }
    if role == Some(Role::ControlPlane) && !keeps_away {
        let path = at(&["cluster", "allowSchedulingOnControlPlanes"]);
        account.draft.set(path, true, origin);
    }
}

const MASTER: &str = "node-role.kubernetes.io/master";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// The taints that the agent gives a control plane machine of the version by itself.
fn own_taints(account: &Account) -> Vec<&'static str> {
    let version = account.draft.text(&["cluster", "kubernetesVersion"]);
    let version = version.and_then(|text| text.parse::<KubernetesVersion>().ok());
    match version.map(|version| version.minor()) {
        Some(..24) => vec![MASTER],
        Some(24) => vec![MASTER, CONTROL_PLANE],
        Some(_) => vec![CONTROL_PLANE],
        None => Vec::new(),
    }
}

/// Where the machine's API server is. For the first machine also where the cluster's is, unless
/// that is said elsewhere.
fn local_endpoint(item: Option<Item>, first: bool, account: &mut Account) {
    account.section(item, |account, section| {
        if let Some(address) = section.take("advertiseAddress")
            && let Some(text) = account.text(&address)
            && !matches!(text.as_str(), "" | "0.0.0.0" | "::")
        {
            if first && account.endpoint.is_none() {
                account.endpoint = Some((text.clone(), address.origin.clone()));
            }
            let node = ["machine", "kubelet", "nodeIP"];
            let said = account.draft.text(&node).map(str::to_owned);
            match said {
                None => account.draft.set(at(&node), text, address.origin),
                Some(said) if said == text => {}
                Some(_) => account.leave(
                    &address.origin,
                    "the API server is advertised at the node's address, which node-ip says",
                    "make them the same",
                ),
            }
        }
        account.leave_unless(
            section.take("bindPort"),
            &["6443"],
            "the API server always listens on 6443",
            "let what is in front of it lead there; the endpoint may have another port",
        );
    });
}

fn discovery(section: &mut Section, account: &mut Account) {
    let token = section.take("bootstrapToken");
    account.section(token, |account, section| {
        if let Some(item) = section.take("apiServerEndpoint") {
            let text = account.text(&item).filter(|text| !text.is_empty());
            cluster::endpoint(text, item.origin, account);
        }
        for name in ["token", "caCertHashes"] {
            account.leave_unless(section.take(name), &[], NO_TOKEN, "remove it");
        }
        let unsafely = section.take("unsafeSkipCAVerification");
        account.leave_unless(
            unsafely,
            &["false"],
            "machines trust the CA in their secrets alone",
            "remove it",
        );
    });
    let file = section.take("file");
    account.section(file, |account, section| {
        account.leave_unless(section.take("kubeConfigPath"), &[], NO_TOKEN, "remove it");
    });
    let token = section.take("tlsBootstrapToken");
    account.leave_unless(token, &[], NO_TOKEN, "remove it");
    account.leave_unless(
        section.take("timeout"),
        &["5m0s", "5m"],
        "is how long kubeadm waits; the agent never gives up",
        "remove it",
    );
}
