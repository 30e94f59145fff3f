use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use machine_plan::observed::Route;

use super::*;
use crate::testing::space::SILENCE;

/// One of each kind: kube-proxy's and a host's own among them, which only say what they are asked.
const PORTS: [u16; 12] = [
    22, 2379, 2380, 5000, 6443, 9100, 10250, 10256, 10257, 30080, 32768, 50000,
];

/// A node with a neighbour, a stranger behind another card, and a pod.
struct Lab {
    node: Space,
    neighbour: Space,
    stranger: Space,
    pod: Space,
}

fn lab() -> Lab {
    let [node, neighbour, stranger, pod] = std::array::from_fn(|_| Space::new());
    node.plug(
        "lan",
        ["10.9.0.1/24", "fd09::1/64"],
        &neighbour,
        ["10.9.0.2/24", "fd09::2/64"],
    );
    node.plug(
        "wan",
        ["192.0.2.1/24", "2001:db8::1/64"],
        &stranger,
        ["192.0.2.2/24", "2001:db8::2/64"],
    );
    node.plug(
        "cni0",
        ["10.244.0.1/24", "fd44::1/64"],
        &pod,
        ["10.244.0.2/24", "fd44::2/64"],
    );
    for way in [
        "route add default via 10.244.0.1",
        "-6 route add default via fd44::1",
    ] {
        pod.ip(way);
    }
    node.run(|| {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{switch}");
            let mut file = File::options().write(true).open(path).unwrap();
            file.write_all(b"1").unwrap();
        }
    });
    node.serve(&PORTS);
    Lab {
        node,
        neighbour,
        stranger,
        pod,
    }
}

impl Lab {
    /// Which ports each of them reaches, by both families alike.
    fn admitted(&self) -> [Vec<u16>; 3] {
        let at = [
            (&self.neighbour, ["10.9.0.1", "fd09::1"]),
            (&self.stranger, ["192.0.2.1", "2001:db8::1"]),
            (&self.pod, ["10.244.0.1", "fd44::1"]),
        ];
        at.map(|(from, addresses)| {
            let [v4, v6] = addresses.map(|ip| {
                let reached = from.reaches(ip.parse().unwrap(), &PORTS);
                reached
                    .into_iter()
                    .map(|(port, _)| port)
                    .collect::<Vec<_>>()
            });
            assert_eq!(v4, v6, "IPv4 and IPv6");
            v4
        })
    }
}

#[test]
fn each_role_admits_what_it_needs_and_no_more() {
    let lab = lab();
    assert_eq!(
        lab.admitted(),
        [PORTS.to_vec(), PORTS.to_vec(), PORTS.to_vec()]
    );

    lab.node.load(&rules("controlplane", "", "")).unwrap();
    let [neighbour, stranger, pod] = lab.admitted();
    assert_eq!(neighbour, [2379, 2380, 6443, 10250, 10256, 30080, 50000]);
    assert_eq!(stranger, [6443, 30080, 50000]);
    let but_etcd: Vec<_> = PORTS
        .into_iter()
        .filter(|p| !(2379..2381).contains(p))
        .collect();
    assert_eq!(pod, but_etcd);

    lab.node.load(&rules("worker", "", "")).unwrap();
    let [neighbour, stranger, pod] = lab.admitted();
    assert_eq!(neighbour, [10250, 10256, 30080, 50000]);
    assert_eq!(stranger, [30080, 50000]);
    assert_eq!(pod, PORTS);

    let machine = "  network:\n    firewall:\n      ingress:\n        - {name: metrics, ports: [9100]}\n        \
        - {name: far-etcd, ports: [2379-2380], subnets: [192.0.2.0/24, \"2001:db8::/32\"]}\n";
    let cluster = "  apiServer: {extraArgs: [{name: service-node-port-range, value: 5000-5100}]}\n";
    lab.node
        .load(&rules("controlplane", machine, cluster))
        .unwrap();
    let [neighbour, stranger, _] = lab.admitted();
    assert_eq!(
        neighbour,
        [2379, 2380, 5000, 6443, 9100, 10250, 10256, 50000]
    );
    assert_eq!(stranger, [2379, 2380, 5000, 6443, 9100, 50000]);

    let off = "  network: {firewall: {enabled: false}}\n";
    lab.node.load(&rules("worker", off, "")).unwrap();
    assert_eq!(
        lab.admitted(),
        [PORTS.to_vec(), PORTS.to_vec(), PORTS.to_vec()]
    );
}

#[test]
fn rules_are_replaced_as_a_whole_and_nobody_elses_are_touched() {
    let lab = lab();
    // As kube-proxy has it for a service whose pod uses the machine's own network.
    let proxy = "table ip proxy {\n\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\t\
        tcp dport 32700 dnat to 192.0.2.1:9100\n\t}\n}\n";
    lab.node.load(proxy).unwrap();
    let before = lab.node.rules();
    lab.node.load(&rules("controlplane", "", "")).unwrap();
    let loaded = lab.node.rules();
    let reached = lab
        .stranger
        .reaches("192.0.2.1".parse().unwrap(), &[9100, 32700]);
    assert_eq!(reached, [(32700, "192.0.2.2".to_owned())]);
    lab.node.load(&rules("controlplane", "", "")).unwrap();
    assert_eq!(lab.node.rules(), loaded);

    // Half of it is wrong: all of it is refused, and what was loaded holds.
    let broken = rules("worker", "", "").replace("dport 50000", "dport 500000");
    let refused = lab.node.load(&broken).unwrap_err();
    assert!(refused.contains("500000"), "{refused}");
    assert_eq!(lab.node.rules(), loaded);

    let (off, none) = (
        "  network: {firewall: {enabled: false}}\n",
        "  networkAddon: {type: none}\n",
    );
    lab.node.load(&rules("controlplane", off, none)).unwrap();
    assert_eq!(lab.node.rules(), before);
}

#[test]
fn a_connection_outlives_a_change_of_the_rules() {
    let lab = lab();
    let at = "192.0.2.1:50000".parse().unwrap();
    lab.node.load(&rules("worker", "", "")).unwrap();
    let listener = lab
        .node
        .run(|| TcpListener::bind("192.0.2.1:30081").unwrap());
    let held = lab
        .stranger
        .run(|| TcpStream::connect("192.0.2.1:30081").unwrap());
    let (mut there, _) = listener.accept().unwrap();
    let moved = "  apiServer: {extraArgs: [{name: service-node-port-range, value: 5000-5100}]}\n";
    lab.node.load(&rules("worker", "", moved)).unwrap();
    held.set_read_timeout(Some(SILENCE)).unwrap();
    (&held).write_all(b"still").unwrap();
    let mut said = [0; 5];
    there.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"still");
    let again = lab
        .stranger
        .run(move || TcpStream::connect_timeout(&at, SILENCE).is_ok());
    assert!(again, "the machine API");
}

#[test]
fn pods_see_each_others_addresses_and_everybody_else_sees_the_nodes() {
    let lab = lab();
    // The neighbour is a node too, with a pod's address of its own.
    for address in ["10.244.1.2/32", "fd44:0:0:1::2/128 nodad"] {
        lab.neighbour.ip(&format!("address add {address} dev lo"));
    }
    for way in [
        "route add 10.244.0.0/24 via 10.9.0.1",
        "-6 route add fd44::/64 via fd09::1",
    ] {
        lab.neighbour.ip(way);
    }
    lab.neighbour.serve(&[80]);
    lab.stranger.serve(&[80]);
    lab.node.load(&rules("worker", "", "")).unwrap();
    lab.node.run(|| {
        let route = |to: &str, via: &str| Route {
            to: to.parse().unwrap(),
            via: via.parse().unwrap(),
        };
        let ways = [
            route("10.244.1.0/24", "10.9.0.2"),
            route("fd44:0:0:1::/64", "fd09::2"),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime
            .block_on(crate::node::routes::set(&ways, &[]))
            .unwrap();
    });
    // To ask for a neighbour on a pod's behalf a card needs its link-local address, which the kernel first
    // makes sure that nobody else has.
    std::thread::sleep(Duration::from_secs(3));
    let seen: BTreeSet<_> = [
        "10.244.1.2",
        "fd44:0:0:1::2",
        "10.9.0.2",
        "fd09::2",
        "192.0.2.2",
        "2001:db8::2",
    ]
    .into_iter()
    .map(|ip| {
        (
            ip,
            lab.pod
                .reaches(ip.parse().unwrap(), &[80])
                .pop()
                .map(|(_, as_whom)| as_whom),
        )
    })
    .collect();
    let whom = |ip: &str| Some(ip.to_owned());
    let expected = [
        ("10.244.1.2", whom("10.244.0.2")),
        ("fd44:0:0:1::2", whom("fd44::2")),
        ("10.9.0.2", whom("10.9.0.1")),
        ("fd09::2", whom("fd09::1")),
        ("192.0.2.2", whom("192.0.2.1")),
        ("2001:db8::2", whom("2001:db8::1")),
    ];
    assert_eq!(seen, BTreeSet::from(expected));
}

/// Whatever the goldens render is something that nftables takes.
#[test]
fn every_golden_is_taken() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../plan/tests/golden");
    let node = Space::new();
    let mut taken = 0;
    for golden in std::fs::read_dir(folder).unwrap() {
        let path = golden
            .unwrap()
            .path()
            .join("root/etc/nftables.d/machined.nft");
        let text = std::fs::read_to_string(&path).unwrap();
        for _ in 0..2 {
            node.load(&text)
                .unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        }
        taken += 1;
    }
    assert!(taken >= 8, "the goldens are gone");
}

#[test]
fn an_address_that_is_given_up_takes_nobody_new() {
    let lab = lab();
    let shared = "  virtualIP: {address: 10.9.0.1}\n";
    lab.node.load(&rules("controlplane", "", shared)).unwrap();
    let reaches = |address: &str, ports: &[u16]| {
        let reached = lab.neighbour.reaches(address.parse().unwrap(), ports);
        reached.into_iter().map(|(port, _)| port).collect()
    };
    let all: Vec<u16> = reaches("10.9.0.1", &[6443, 50000]);
    assert_eq!(all, [6443, 50000]);
    let leaves = "add element inet machined leaving { 10.9.0.1 timeout 1h }";
    lab.node.load(leaves).unwrap();
    let left: Vec<u16> = reaches("10.9.0.1", &[6443, 50000]);
    assert_eq!(left, [50000]);
    let own: Vec<u16> = reaches("fd09::1", &[6443]);
    assert_eq!(own, [6443], "the machine's own address serves on");
    // It ends by itself.
    let ended = "delete element inet machined leaving { 10.9.0.1 }\n\
                 add element inet machined leaving { 10.9.0.1 timeout 1ms }";
    lab.node.load(ended).unwrap();
    while lab.node.rules().contains("10.9.0.1 timeout") {
        std::thread::yield_now();
    }
    let again: Vec<u16> = reaches("10.9.0.1", &[6443]);
    assert_eq!(again, [6443]);
}
