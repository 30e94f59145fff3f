//! How a machine comes to each effect that is its own: by the real planner's word, from what is on its
//! disk. What others would say is played.

use std::path::Path;

use machine_plan::desired::{Desired, objects_digest};
use machine_plan::membership::{Member, MemberId, Membership};
use machine_plan::observed::{Observed, PeerSeen, Probe};
use machine_plan::order::{EtcdVerb, Source};
use machine_plan::stages::Stage;

use super::machine::{Agent, Played, document, with_virtual_ip};
use crate::durable::{self, steps};

/// One effect's way.
pub(super) struct Scene {
    /// Whose stage plans it.
    pub(super) stage: Stage,
    /// The action's kind.
    pub(super) kind: &'static str,
    pub(super) document: fn() -> String,
    /// What is there before the first look.
    pub(super) prepare: fn(&Agent),
    /// A unit that runs before the first look.
    pub(super) runs: Option<&'static str>,
    /// A unit that fails once all is settled.
    pub(super) fails: Option<&'static str>,
    /// What is there after all is settled, and before the looks that lead to the effect.
    pub(super) changes: Option<fn()>,
    pub(super) played: Played,
    /// Whether it has steps between which it can end.
    pub(super) steps: bool,
    /// Whether what was acknowledged is not done again after a power cut.
    pub(super) lasts: bool,
    /// Whether what it makes is another each time.
    pub(super) random: bool,
}

const fn scene(kind: &'static str, stage: Stage) -> Scene {
    Scene {
        stage,
        kind,
        document,
        prepare: |_| {},
        runs: None,
        fails: None,
        changes: None,
        played: |_, _| {},
        steps: true,
        lasts: false,
        random: false,
    }
}

pub(super) const fn write_file() -> Scene {
    Scene {
        // A control plane's kubelet has something to run.
        played: |desired, observed| {
            let manifest = desired.etcd.as_ref().unwrap().path.clone();
            let there = Probe::Unreadable("played".to_owned());
            observed.files.insert(manifest, there);
        },
        // kubelet's, which are on the disk.
        lasts: true,
        ..scene("WriteFile", Stage::Kubelet)
    }
}

pub(super) const fn remove_file() -> Scene {
    Scene {
        prepare: |_| put("/etc/containerd/certs.d/old.example/hosts.toml", "old"),
        ..scene("RemoveFile", Stage::Runtime)
    }
}

pub(super) const fn set_hostname() -> Scene {
    Scene {
        steps: false,
        ..scene("SetHostname", Stage::Host)
    }
}

pub(super) const fn issue_leaf() -> Scene {
    Scene {
        random: true,
        lasts: true,
        ..scene("IssueLeaf", Stage::Certs)
    }
}

pub(super) const fn restart_unit() -> Scene {
    scene("RestartUnit", Stage::Runtime)
}

pub(super) const fn reload_unit() -> Scene {
    Scene {
        changes: Some(|| {
            put("/etc/systemd/network/10-machined-old.network", "old");
            put("/run/machined/units/systemd-networkd.service", "old");
        }),
        ..scene("ReloadUnit", Stage::Host)
    }
}

pub(super) const fn start_unit() -> Scene {
    Scene {
        fails: Some("containerd.service"),
        ..scene("StartUnit", Stage::Runtime)
    }
}

pub(super) const fn stop_unit() -> Scene {
    Scene {
        prepare: |_| {
            put("/etc/keepalived/keepalived.conf", "old");
            put("/run/machined/units/keepalived.service", "old");
        },
        runs: Some("keepalived.service"),
        ..scene("StopUnit", Stage::Endpoint)
    }
}

pub(super) const fn keep_control_planes() -> Scene {
    Scene {
        document: with_virtual_ip,
        played: |_, observed| {
            observed.peers = Probe::Seen(vec![peer("cp2", 16)]);
        },
        lasts: true,
        ..scene("KeepControlPlanes", Stage::Endpoint)
    }
}

pub(super) const fn set_routes() -> Scene {
    Scene {
        played: |_, observed| {
            observed.peers = Probe::Seen(vec![peer("w1", 17), peer("w2", 18)]);
        },
        ..scene("SetRoutes", Stage::Routes)
    }
}

pub(super) const fn keep_membership() -> Scene {
    Scene {
        prepare: |_| put("/var/lib/etcd/member/wal/0.wal", "log"),
        played: |desired, observed| {
            observed.members = Probe::Seen(vec![Member {
                id: MemberId(7),
                name: desired.hostname.clone(),
                peer_urls: vec![desired.etcd_peer_url.clone()],
                learner: false,
                leader: true,
                applied: Probe::Seen(9),
            }]);
        },
        lasts: true,
        ..scene("KeepMembership", Stage::Etcd)
    }
}

pub(super) const fn restore_etcd() -> Scene {
    Scene {
        prepare: |agent| {
            member(agent);
            let snapshot = agent.ledger.etcd_snapshot("aa");
            durable::replace(&snapshot, b"snapshot", 0o600).unwrap();
            let from = Source::Snapshot {
                sha256: "aa".to_owned(),
            };
            order(agent, EtcdVerb::Recover(from));
        },
        played: stopped,
        lasts: true,
        ..scene("RestoreEtcd", Stage::Etcd)
    }
}

pub(super) const fn place_etcd() -> Scene {
    Scene {
        kind: "PlaceEtcd",
        ..restore_etcd()
    }
}

pub(super) const fn set_etcd_aside() -> Scene {
    Scene {
        prepare: |agent| {
            member(agent);
            order(agent, EtcdVerb::Discard);
        },
        played: stopped,
        lasts: false,
        ..scene("SetEtcdAside", Stage::Etcd)
    }
}

pub(super) const fn finish_etcd_order() -> Scene {
    Scene {
        kind: "FinishEtcdOrder",
        ..restore_etcd()
    }
}

pub(super) const fn finish_bootstrap() -> Scene {
    Scene {
        prepare: |agent| drop(agent.ledger.order_bootstrap("test").unwrap()),
        played: |desired, observed| observed.applied = Some(objects_digest(&desired.objects)),
        lasts: true,
        ..scene("FinishBootstrap", Stage::Cluster)
    }
}

/// What the unit does that the agent starts to restore: it syncs nothing.
pub(super) fn restores(unit: &str) {
    let told = std::fs::read_to_string("/run/machined/etcd-restore");
    let target = told.iter().flat_map(|told| told.lines());
    if let Some(target) = target
        .filter_map(|line| line.strip_prefix("TARGET="))
        .next()
        && unit == "machined-etcd-restore.service"
    {
        // It may end with who asked for it.
        let _ = steps::carelessly(&Path::new(target).join("member/wal/0.wal"), b"new");
    }
}

fn stopped(_: &Desired, observed: &mut Observed) {
    observed.api_server = Probe::Absent;
}

fn put(path: &str, text: &str) {
    let path = Path::new(path);
    durable::make_directories(path.parent().unwrap()).unwrap();
    durable::replace(path, text.as_bytes(), 0o644).unwrap();
}

fn member(agent: &Agent) {
    put("/var/lib/etcd/member/wal/0.wal", "old");
    let joined = Membership {
        version: Membership::VERSION,
        id: MemberId(7),
        initial_cluster: vec![("cp1".to_owned(), "https://10.0.2.15:2380".to_owned())],
        voter: true,
        boot: None,
    };
    agent.ledger.keep_membership(&joined).unwrap();
}

fn order(agent: &Agent, verb: EtcdVerb) {
    agent.ledger.order_etcd(verb, "test").unwrap();
}

fn peer(name: &str, last: u8) -> PeerSeen {
    PeerSeen {
        name: name.to_owned(),
        control_plane: name.starts_with("cp"),
        addresses: vec![std::net::Ipv4Addr::new(10, 0, 2, last).into()],
        pod_cidrs: vec![format!("10.244.{last}.0/24").parse().unwrap()],
        ..PeerSeen::default()
    }
}
