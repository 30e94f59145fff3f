//! A network namespace of a test's own: a thread is in it, and it ends with that.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use crate::testing::Scratch;

/// A packet that is dropped is not answered; one that is not is answered in a fraction of this, also on
/// a machine that has much else to do.
pub(crate) const SILENCE: Duration = Duration::from_millis(1500);

type Job = Box<dyn FnOnce() + Send>;

/// A network of its own, and a thread in it.
pub(crate) struct Space {
    jobs: Sender<Job>,
    id: String,
}

impl Space {
    pub(crate) fn new() -> Self {
        let (jobs, orders) = channel::<Job>();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace: run as root");
            // "PROCESS/task/THREAD".
            let itself = std::fs::read_link("/proc/thread-self").unwrap();
            let id = itself.file_name().unwrap().to_str().unwrap();
            tell.send(id.to_owned()).unwrap();
            orders.iter().for_each(|job| job());
        });
        let space = Self {
            jobs,
            id: told.recv().unwrap(),
        };
        space.ip("link set lo up");
        space
    }

    /// Runs this there. What it starts, threads and programs, is there too.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = channel();
        let job = Box::new(move || drop(tell.send(work())));
        self.jobs.send(job).unwrap();
        told.recv().expect("what was run in a namespace failed")
    }

    pub(crate) fn ip(&self, words: &str) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let ran = self.run(move || Command::new("ip").args(words).output().unwrap());
        let why = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{why}");
    }

    /// Gives both a card, with addresses of both families.
    pub(crate) fn plug(&self, card: &str, own: [&str; 2], other: &Self, others: [&str; 2]) {
        let id = &other.id;
        self.ip(&format!(
            "link add {card} type veth peer name en0 netns {id}"
        ));
        for (space, card, addresses) in [(self, card, own), (other, "en0", others)] {
            space.ip(&format!("address add {} dev {card}", addresses[0]));
            // What another has is not looked for: there is nobody else.
            space.ip(&format!("address add {} dev {card} nodad", addresses[1]));
            space.ip(&format!("link set {card} up"));
        }
    }

    /// `nft`'s answer, or its complaint.
    pub(crate) fn nft(&self, words: &[&str], rules: &str) -> Result<String, String> {
        let scratch = Scratch::new();
        let file = scratch.path().join("rules.nft");
        crate::durable::replace(&file, rules.as_bytes(), 0o600).unwrap();
        let mut command = Command::new("nft");
        command.args(words).stdin(Stdio::null());
        if words.last() == Some(&"-f") {
            command.arg(&file);
        }
        let ran = self.run(move || command.output().expect("run nft"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match ran.status.success() {
            true => Ok(text(&ran.stdout)),
            false => Err(text(&ran.stderr)),
        }
    }

    pub(crate) fn load(&self, rules: &str) -> Result<String, String> {
        self.nft(&["-f"], rules)
    }

    /// Every rule of every table.
    pub(crate) fn rules(&self) -> String {
        self.nft(&["-s", "list", "ruleset"], "").unwrap()
    }

    /// Listens on these ports, for both families, and answers with the address that a client has here.
    pub(crate) fn serve(&self, ports: &[u16]) {
        for port in ports.iter().copied() {
            let listener = self.run(move || TcpListener::bind(("::", port)).unwrap());
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let Ok(peer) = client.peer_addr() else {
                        continue;
                    };
                    let ip = peer.ip().to_canonical().to_string();
                    let _ = (&client).write_all(ip.as_bytes());
                }
            });
        }
    }

    /// As whom a client there is seen at an address, all ports at once; of those that do not answer, none.
    pub(crate) fn reaches(&self, ip: IpAddr, ports: &[u16]) -> Vec<(u16, String)> {
        let ports = ports.to_vec();
        let ask = move |port: u16| {
            let connected = TcpStream::connect_timeout(&SocketAddr::new(ip, port), SILENCE);
            let mut seen = String::new();
            connected.ok()?.read_to_string(&mut seen).ok()?;
            Some((port, seen))
        };
        self.run(move || {
            let asked = ports
                .into_iter()
                .map(|p| std::thread::spawn(move || ask(p)));
            let asked: Vec<_> = asked.collect();
            asked
                .into_iter()
                .filter_map(|a| a.join().unwrap())
                .collect()
        })
    }
}
