//! Two of three members are lost for good: a cluster is made again of what one has, and of a snapshot,
//! while the agent is killed; the others come back and join anew. Then one leaves, and joins again.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use machine_plan::observed::Probe;
use machine_plan::order::{EtcdVerb, Source};
use machine_plan::recovery::Survey;
use rand::RngExt;
use sha2::{Digest, Sha256};

use super::machines::{Machines, raises_revisions};

impl Machines {
    fn put(&self, at: usize, key: &str) {
        assert_eq!(
            self.etcdctl(at, &["put", key, "there"]).trim(),
            "OK",
            "{key}"
        );
    }

    fn has(&self, at: usize, key: &str) -> bool {
        self.etcdctl(at, &["get", "--print-value-only", key]).trim() == "there"
    }

    fn revision(&self, at: usize) -> u64 {
        let text = self.etcdctl(at, &["get", "nothing", "--write-out=json"]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["header"]["revision"].as_u64().unwrap()
    }

    async fn snapshot(&self, at: usize) -> Vec<u8> {
        let machine = &self.machines[at];
        let parts = machine.cluster.snapshot(&[machine.address()].into()).await;
        let parts = parts.unwrap().map(|part| part.unwrap().0);
        parts.collect::<Vec<_>>().await.concat()
    }

    /// Whether a machine's last word has these.
    fn says(&self, at: usize, words: &str) -> bool {
        self.machines[at].said.lock().unwrap().contains(words)
    }

    fn order(&self, at: usize, verb: EtcdVerb) {
        let ledger = &self.machines[at].ledger;
        ledger.order_etcd(verb, "test").unwrap();
    }

    fn is_done(&self, at: usize) -> bool {
        let order = self.machines[at].ledger.etcd_order().unwrap();
        order.is_some_and(|order| order.done)
    }

    /// Until the first is a cluster of its own, its agent killed on the way.
    async fn recovered(&mut self, source: Source) {
        self.order(0, EtcdVerb::Recover(source));
        let (mut random, mut left) = (rand::rng(), 25);
        let alone = async |this: &mut Self| {
            if left > 0 && random.random_bool(0.5) {
                left -= 1;
                this.kill_agent(0);
            }
            this.is_done(0) && this.listed(0).len() == 1
        };
        self.until("one member of a new cluster", alone).await;
    }

    async fn survey(&self, at: usize) -> Survey {
        let machine = &self.machines[at];
        let own = machine.ledger.membership().unwrap();
        let mut asked: BTreeSet<_> = machine.others();
        asked.insert(machine.address());
        Survey {
            name: machine.name.clone(),
            peer_url: machine.desired().etcd_peer_url,
            own: own.map(|own| own.id),
            etcd: machine.cluster.look(&asked).await,
            data: Probe::Seen(()),
            endpoint_answers: false,
            api_elsewhere: false,
            founding: false,
        }
    }
}

#[tokio::test]
async fn a_lost_quorum_is_recovered_from_data_and_from_a_snapshot() {
    let mut machines = Machines::new();
    machines.machines[0].ledger.order_bootstrap("test").unwrap();
    machines.until_three_voters().await;
    machines.put(0, "before");
    let snapshot = machines.snapshot(0).await;
    machines.put(0, "after");
    let last = machines.revision(0);
    let whole = machines.survey(0).await;
    assert_eq!(whole.etcd.findings(), []);
    assert!(
        whole
            .refused()
            .unwrap()
            .contains("etcd has its quorum: of 3 voters 3")
    );

    // For good, as far as anybody knows.
    machines.lose(1).await;
    let two = machines.survey(0).await;
    assert!(two.refused().unwrap().contains("of 3 voters 2 answer"));
    machines.lose(2).await;
    let alone = machines.survey(0).await;
    assert_eq!(alone.refused(), None, "{:?}", alone.etcd);
    assert_eq!(alone.etcd.members.len(), 3);
    let said = format!("{:?}", alone.etcd.findings());
    assert!(
        said.contains("of 3 voters 1 answer, and 2 are needed"),
        "{said}"
    );

    machines.recovered(Source::Data).await;
    assert!(machines.has(0, "before") && machines.has(0, "after"));
    assert!(machines.revision(0) >= last, "watchers are not sent back");
    machines.put(0, "new");

    // Together they are the old cluster's quorum.
    for index in [1, 2] {
        machines.find(index);
    }
    let told = async |this: &mut Machines| {
        [1, 2]
            .iter()
            .all(|index| this.says(*index, "etcd leave --discard"))
    };
    machines.until("who is left behind says so", told).await;
    machines.order(1, EtcdVerb::Discard);
    let joined = async |this: &mut Machines| this.voters(0) == 2;
    machines.until("the second joins anew", joined).await;
    machines.order(2, EtcdVerb::Discard);
    machines.until_three_voters().await;
    for index in 0..3 {
        assert!(machines.has(index, "after") && machines.has(index, "new"));
    }

    leaves_and_joins(&mut machines).await;

    // Nothing is left but a file, and one disk of before.
    for index in 0..3 {
        machines.lose(index).await;
    }
    machines.machines[0].wipe();
    machines.machines[2].wipe();
    let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(&snapshot));
    let file = machines.machines[0].ledger.etcd_snapshot(&sha256);
    crate::durable::replace(&file, &snapshot, 0o600).unwrap();
    machines.find(0);
    machines.recovered(Source::Snapshot { sha256 }).await;
    assert!(machines.has(0, "before") && !machines.has(0, "after"));
    assert!(!file.exists(), "it holds every Secret");
    if raises_revisions() {
        assert!(machines.revision(0) > last + 1_000_000);
    }
    machines.find(1);
    machines.find(2);
    let one =
        async |this: &mut Machines| this.says(1, "etcd leave --discard") && this.voters(0) == 2;
    machines
        .until("the empty one joins, the other says what it is", one)
        .await;
    machines.order(1, EtcdVerb::Discard);
    machines.until_three_voters().await;
    assert!((0..3).all(|index| machines.has(index, "before")));
    let survey = machines.survey(2).await;
    assert_eq!(survey.etcd.findings(), []);
    for seen in &survey.etcd.members {
        let cluster = &machines.machines[0].cluster;
        cluster.defragment(&seen.member).await.unwrap();
    }
}

async fn leaves_and_joins(machines: &mut Machines) {
    machines.order(2, EtcdVerb::Leave);
    let out = async |this: &mut Machines| {
        this.voters(0) == 2 && this.is_done(2) && this.says(2, "left etcd by order")
    };
    machines.until("the third is out", out).await;
    let data = machines.machines[2].path("/var/lib/etcd/member");
    assert!(!std::path::Path::new(&data).exists(), "its data is aside");
    machines.machines[2].ledger.forget_etcd_order().unwrap();
    machines.until_three_voters().await;
}
