//! One machine: what its disks keep, what its power takes along, and what it should be.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use machine_config::Bundle;
use machine_plan::action::Action;
use machine_plan::desired::{Desired, objects_digest};
use machine_plan::facts::HostFacts;
use machine_plan::files::RenderedFile;
use machine_plan::membership::{Member, MemberId, Membership};
use machine_plan::observed::{FileSeen, Probe, Retire};
use machine_plan::order::{EtcdOrder, EtcdVerb};
use machine_plan::render::{EtcdWish, etcd_file};
use machine_plan::turn::{Purpose, TurnSeen};

const DOCUMENT: &str =
    include_str!("../../../config/tests/documents/accepted/controlplane-with-secrets.yaml");
const OF_ETCD: &str = include_str!("../../../config/tests/documents/accepted/etcd-machine.yaml");

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Order {
    None,
    Ordered,
    Done,
}

/// Who a machine is, and which of the documents it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) name: u8,
    pub(crate) address: u8,
    pub(crate) generation: u8,
    /// It is of role `etcd`.
    pub(crate) apart: bool,
}

/// etcd's process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Process {
    Down,
    /// For so many ticks more.
    Starting(u8),
    /// As this member, whatever has become of its directory since.
    Up(MemberId),
}

/// How a manifest tells etcd to begin.
#[derive(Clone)]
pub(crate) enum Told {
    New,
    /// With these peers, sorted.
    Existing(Vec<String>),
}

/// A static pod's manifest in kubelet's folder, or a unit's arguments.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) seen: FileSeen,
    pub(crate) told: Told,
    /// Where it listens for its peers, if it is etcd's.
    pub(crate) at: String,
}

impl Manifest {
    pub(crate) fn of(file: &RenderedFile) -> Self {
        let seen = FileSeen {
            digest: file.digest(),
            mode: file.mode,
        };
        let text = file.content.expose();
        let at = text.split("--listen-peer-urls=").nth(1).unwrap_or_default();
        let ends = |c: char| c.is_whitespace() || c == '"';
        let at = at.split(ends).next().unwrap_or_default().to_owned();
        if !text.contains("--initial-cluster-state=existing") {
            let told = Told::New;
            return Self { seen, told, at };
        }
        let word = text.split("--initial-cluster=").nth(1).expect("peers");
        let word = word.split_whitespace().next().unwrap_or_default();
        let urls = word.split(',').filter_map(|pair| pair.split_once('='));
        let mut urls: Vec<_> = urls.map(|(_, url)| url.trim().to_owned()).collect();
        urls.sort();
        let told = Told::Existing(urls);
        Self { seen, told, at }
    }
}

/// What an agent has seen and wants to do about it.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) actions: Vec<Action>,
    /// Whether all of it was seen at once.
    pub(crate) whole: bool,
    /// Whether somebody has told who the members are.
    pub(crate) answered: bool,
    /// Whether somebody listens where the API server should.
    pub(crate) listens: bool,
}

#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) identity: Identity,
    // Durable.
    pub(crate) order: Order,
    pub(crate) membership: Option<Membership>,
    /// The last order about its member.
    pub(crate) etcd_order: Option<EtcdOrder>,
    /// The member whose data is here.
    pub(crate) data: Option<MemberId>,
    // Gone with the power.
    /// What etcd is run by.
    pub(crate) manifest: Option<Manifest>,
    /// A unit's arguments, which it is not run by before it is told, and what it was told last.
    pub(crate) arguments: Option<Manifest>,
    pub(crate) note: Option<String>,
    pub(crate) etcd: Process,
    /// Where that listens, as long as it runs.
    pub(crate) listens: String,
    /// The address before this one, while the machine still has it.
    pub(crate) former: Option<u8>,
    pub(crate) api_manifest: Option<FileSeen>,
    /// Ticks until the API server listens.
    pub(crate) api: Option<u8>,
    /// Which boot this is.
    pub(crate) boot: u8,
    /// The members, asked for at the beginning of a look.
    pub(crate) asked: Option<(Probe<Vec<Member>>, Probe<TurnSeen>)>,
    pub(crate) seen: Option<Seen>,
    /// Of an agent that was killed.
    pub(crate) underway: Option<Action>,
    /// What its status says is next.
    pub(crate) next_step: Option<String>,
    /// How it is about to go down, by order.
    pub(crate) going: Option<Purpose>,
    pub(crate) retire: Retire,
    // The world's.
    /// Away by our own act, and not well since.
    pub(crate) away: bool,
    pub(crate) power: bool,
    /// Machines with the same mark reach each other.
    pub(crate) side: u8,
    pub(crate) slow: bool,
    pub(crate) now: i64,
    /// Orders about its member, so far.
    pub(crate) orders: u8,
    /// Others that have been in its place, and addresses that it has had.
    pub(crate) replaced: u8,
    pub(crate) moves: u8,
    wish: Option<Rc<Wish>>,
}

impl Machine {
    pub(crate) fn new(index: u8, apart: bool) -> Self {
        Self {
            identity: Identity {
                name: index,
                address: index,
                generation: 0,
                apart,
            },
            order: Order::None,
            membership: None,
            etcd_order: None,
            data: None,
            manifest: None,
            arguments: None,
            note: None,
            etcd: Process::Down,
            listens: String::new(),
            former: None,
            api_manifest: None,
            api: None,
            boot: 0,
            asked: None,
            seen: None,
            underway: None,
            next_step: None,
            going: None,
            retire: Retire::Nothing,
            away: false,
            power: true,
            side: 0,
            slow: false,
            now: 1_800_000_000,
            orders: 0,
            replaced: 0,
            moves: 0,
            wish: None,
        }
    }

    /// Its power goes: what was in memory goes along.
    pub(crate) fn stop(&mut self) {
        self.boot = self.boot.wrapping_add(1);
        self.manifest = None;
        self.arguments = None;
        self.note = None;
        self.etcd = Process::Down;
        self.former = None;
        self.api_manifest = None;
        self.api = None;
        self.asked = None;
        self.seen = None;
        self.next_step = None;
        self.stays();
    }

    /// An order to go down is no more.
    pub(crate) fn stays(&mut self) {
        self.going = None;
        self.retire = Retire::Nothing;
    }

    /// What it should be by now.
    pub(crate) fn wish(&mut self) -> Rc<Wish> {
        let (identity, joined) = (self.identity, self.membership.as_ref());
        let wish = self.wish.take();
        let wish = wish
            .filter(|w| w.identity == identity && w.peers.as_ref() == peers(joined))
            .unwrap_or_else(|| Wish::of(identity, joined));
        self.wish = Some(Rc::clone(&wish));
        wish
    }

    pub(crate) fn name(&self) -> String {
        hostname(self.identity.name)
    }

    /// Whether it has the address of this peer URL.
    pub(crate) fn has(&self, peer_url: &str) -> bool {
        let own = [Some(self.identity.address), self.former];
        own.into_iter().flatten().any(|a| url(a) == peer_url)
    }

    /// What is ordered about its member and not carried out.
    pub(crate) fn ordered(&self) -> Option<&EtcdVerb> {
        let order = self.etcd_order.as_ref()?;
        (!order.done).then_some(&order.verb)
    }

    /// Whether this member's data is here, and stays.
    pub(crate) fn holds(&self, id: MemberId) -> bool {
        self.data == Some(id) && self.ordered().is_none()
    }

    /// How many ticks a start takes.
    pub(crate) fn start(&self) -> u8 {
        if self.slow { 4 } else { 0 }
    }
}

pub(crate) fn hostname(name: u8) -> String {
    format!("cp{name}")
}

/// Where the member on this address is.
pub(crate) fn url(address: u8) -> String {
    format!("https://192.0.2.{}:2380", address + 1)
}

type Peers = Vec<(String, String)>;

fn peers(joined: Option<&Membership>) -> Option<&Peers> {
    joined.map(|joined| &joined.initial_cluster)
}

/// What a machine should be. Rendered once for all that it depends on:
/// a test below says that this is all.
pub(crate) struct Wish {
    identity: Identity,
    peers: Option<Peers>,
    pub(crate) desired: Desired,
    /// Where etcd's manifest goes.
    pub(crate) path: String,
    /// Where the API server's does; nowhere where there is none.
    pub(crate) api_path: String,
    /// Digest of the API server's manifest.
    pub(crate) api: Option<String>,
    /// Digest of the objects that it applies.
    pub(crate) objects: String,
    /// Digests of the manifests that are right once etcd has begun.
    pub(crate) begun: Vec<String>,
}

type Wishes = BTreeMap<(Identity, Option<Peers>), Rc<Wish>>;

thread_local! {
    static WISHES: RefCell<Wishes> = const { RefCell::new(BTreeMap::new()) };
    static BASES: RefCell<BTreeMap<Identity, Rc<Base>>> = const { RefCell::new(BTreeMap::new()) };
}

impl Wish {
    fn of(identity: Identity, joined: Option<&Membership>) -> Rc<Self> {
        let key = (identity, peers(joined).cloned());
        if let Some(known) = WISHES.with_borrow(|all| all.get(&key).cloned()) {
            return known;
        }
        let desired = desired(identity, joined);
        let path = |file: &Option<RenderedFile>| {
            let path = file.as_ref().map(|file| file.path.clone());
            path.unwrap_or_default()
        };
        let wish = Rc::new(Self {
            identity,
            peers: key.1.clone(),
            path: path(&desired.etcd),
            api_path: path(&desired.api_server),
            api: desired.api_server.as_ref().map(RenderedFile::digest),
            objects: objects_digest(&desired.objects),
            begun: desired
                .etcd_begun
                .iter()
                .chain(&desired.etcd)
                .map(RenderedFile::digest)
                .collect(),
            desired,
        });
        WISHES.with_borrow_mut(|all| all.insert(key, Rc::clone(&wish)));
        wish
    }
}

/// What a machine should be before it has joined, and what that was made of.
struct Base {
    bundle: Bundle,
    facts: HostFacts,
    desired: Desired,
}

fn base(identity: Identity) -> Rc<Base> {
    if let Some(known) = BASES.with_borrow(|all| all.get(&identity).cloned()) {
        return known;
    }
    let name = hostname(identity.name);
    let text = DOCUMENT.replace("hostname: w1", &format!("hostname: {name}"));
    let version = "  kubernetesVersion: v1.37.0\n";
    let beat = 100 + u16::from(identity.generation);
    let argument = format!("{{ name: heartbeat-interval, value: {beat} }}");
    let run_as = ["pod", "unit"][usize::from(identity.address % 2)];
    let with =
        format!("{version}  etcd:\n    runAs: {run_as}\n    extraArgs:\n      - {argument}\n");
    let argument = format!("{{ name: max-requests-inflight, value: {beat} }}");
    let with = format!("{with}  apiServer:\n    extraArgs:\n      - {argument}\n");
    let text = match identity.apart {
        true => of_etcd(&name, beat),
        false => text.replace(version, &with),
    };
    let bundle = machine_config::read(text.as_bytes());
    let bundle = bundle.expect("a valid document");
    let address = format!("192.0.2.{}", identity.address + 1);
    let facts = HostFacts::at(address.parse().expect("an address"));
    let base = Rc::new(Base {
        desired: whole(&bundle, &facts, None),
        bundle,
        facts,
    });
    BASES.with_borrow_mut(|all| all.insert(identity, Rc::clone(&base)));
    base
}

// Which addresses are on its list only matters to the adapter: a person keeps it as it should be.
fn of_etcd(name: &str, beat: u16) -> String {
    let text = OF_ETCD.replace("hostname: etcd1", &format!("hostname: {name}"));
    let argument = "{ name: quota-backend-bytes, value: 4294967296 }";
    let beat = format!("{{ name: heartbeat-interval, value: {beat} }}");
    assert!(text.contains(argument) && text.contains(name));
    text.replace(argument, &beat)
}

fn whole(bundle: &Bundle, facts: &HostFacts, joined: Option<&Membership>) -> Desired {
    let secrets = bundle.secrets.as_ref().expect("secrets");
    let mut desired = Desired::new(&bundle.config, secrets, facts, None, joined);
    // No stage that is asked here has to do with these, but for the digest of the objects.
    desired.objects.clear();
    desired.authorities.clear();
    desired.leaves.clear();
    desired.host.clear();
    desired.names.clear();
    desired
}

// As by `whole`, of which a membership only changes one file: a test below says so.
fn desired(identity: Identity, joined: Option<&Membership>) -> Desired {
    let base = base(identity);
    let mut desired = base.desired.clone();
    if let Some(joined) = joined {
        let initial_cluster = joined.initial_cluster.clone();
        let wish = EtcdWish::Join { initial_cluster };
        desired.etcd = Some(etcd_file(&base.bundle.config, &base.facts, &wish));
    }
    desired
}

#[test]
fn of_a_membership_only_the_peers_decide_and_only_about_one_manifest() {
    let kinds = [(1, false, false), (2, true, false), (3, true, true)];
    for (id, voter, apart) in kinds {
        let identity = Machine::new(0, apart).identity;
        let base = base(identity);
        let joined = Membership {
            version: Membership::VERSION,
            id: MemberId(id),
            initial_cluster: vec![("cp0".to_owned(), "https://192.0.2.1:2380".to_owned())],
            voter,
            boot: None,
        };
        let made = desired(identity, Some(&joined));
        assert_eq!(made, whole(&base.bundle, &base.facts, Some(&joined)));
        assert_ne!(made, base.desired);
    }
}
