//! The image's `etcd.service` on systemd itself, started and stopped by the planner's word.

mod real {
    use std::net::{IpAddr, Ipv4Addr};
    use std::path::Path;
    use std::time::Duration;

    use machine_config::{Bundle, EtcdRunAs};
    use machine_plan::action::Action;
    use machine_plan::desired::{Desired, ETCD};
    use machine_plan::facts::HostFacts;
    use machine_plan::files::{Content, RenderedFile};
    use machine_plan::observed::{Observed, Probe, UnitSeen};
    use machine_plan::order::{EtcdOrder, EtcdVerb};
    use machine_plan::stages::{Stage, verdict};
    use machine_plan::verdict::Verdict;

    use crate::api::fixture;
    use crate::node::etcd::data::Data;
    use crate::node::files;
    use crate::node::systemd::tests::bench::Bench;
    use crate::testing::control_plane::{Ports, arguments, below, etcd_program, place};
    use crate::testing::{Scratch, within};

    const UNIT: &str = include_str!("../../../dist/etcd.service");

    /// What a manager of users cannot do everywhere: its own view of the file system. And what the test's
    /// has none of: other units.
    const LEFT_OUT: [&str; 10] = [
        "RequiresMountsFor=",
        "ProtectSystem=",
        "ReadWritePaths=",
        "ProtectHome=",
        "PrivateTmp=",
        "PrivateDevices=",
        "ProtectProc=",
        "ProtectKernel",
        "ProtectControlGroups=",
        "ProtectHostname=",
    ];

    /// For a start on a busy machine, after the unit's pause.
    const START: Duration = Duration::from_secs(120);

    struct Lab {
        bench: Bench,
        scratch: Scratch,
        ports: Ports,
        bundle: Bundle,
        /// The same machine, with a static pod.
        pod: Bundle,
        address: IpAddr,
        inputs: Option<String>,
    }

    impl Lab {
        async fn new() -> Self {
            let bench = Bench::real().await;
            let [_, _, high, low] = std::process::id().to_be_bytes();
            let address = IpAddr::from(Ipv4Addr::new(127, 86, high, low));
            let (_, [node, _]) = fixture::documents(&format!("{address}:6443"));
            let read = |text: &str| machine_config::read(text.as_bytes()).unwrap();
            let text = node.stream().expose().to_owned();
            let unit = "cluster:\n  etcd: { runAs: unit }\n";
            let unit = text.replacen("cluster:\n", unit, 1);
            let lab = Self {
                bench,
                scratch: Scratch::new(),
                ports: Ports::free(),
                bundle: read(&unit),
                pod: read(&text),
                address,
                inputs: None,
            };
            let root = lab.scratch.path();
            place(root, &lab.desired(), &lab.bundle);
            let kept = UNIT
                .lines()
                .filter(|line| LEFT_OUT.iter().all(|start| !line.starts_with(start)));
            let log = root.join("etcd.log").display().to_string();
            let unit = kept
                .map(|line| match line {
                    "[Unit]" => "[Unit]\nDefaultDependencies=no\n".to_owned(),
                    "[Service]" => {
                        format!(
                            "[Service]\nStandardOutput=append:{log}\nStandardError=append:{log}\n"
                        )
                    }
                    line => lab.here(line) + "\n",
                })
                .collect::<String>();
            let program = etcd_program().display().to_string();
            lab.bench
                .put(ETCD, &unit.replace("/usr/bin/etcd", &program));
            lab
        }

        /// As of this machine, in a text of any.
        fn here(&self, text: &str) -> String {
            let root = self.scratch.path();
            let text = text.replace("/etc/etcd/", &format!("{}/etc/etcd/", root.display()));
            self.ports.moved(&below(root, &text))
        }

        fn desired(&self) -> Desired {
            desired(&self.bundle, self.address)
        }

        fn file(&self, file: &RenderedFile) -> RenderedFile {
            RenderedFile {
                path: self.here(&file.path),
                content: Content::Plain(self.here(file.content.expose())),
                ..file.clone()
            }
        }

        fn data(&self) -> Data {
            Data::at(self.here("/var/lib/etcd"))
        }

        async fn unit(&self) -> UnitSeen {
            match self.bench.systemd.unit(ETCD).await {
                Probe::Seen(seen) => UnitSeen {
                    inputs: self.inputs.clone(),
                    ..seen
                },
                other => panic!("{other:?}"),
            }
        }

        async fn observe(&self) -> Observed {
            let desired = self.desired();
            let wal = self.here("/var/lib/etcd/member/wal");
            // One that is as it was written is as it is desired.
            let told = desired.etcd.iter().chain(&desired.etcd_begun);
            let path = desired.etcd.as_ref().unwrap().path.clone();
            let there = files::look(&self.here(&path));
            let seen = told
                .filter(|file| {
                    there
                        .seen()
                        .is_some_and(|s| s.digest == self.file(file).digest())
                })
                .map(|file| {
                    let mode = there.seen().map_or(0, |seen| seen.mode);
                    let digest = file.digest();
                    Probe::Seen(machine_plan::observed::FileSeen { digest, mode })
                })
                .next();
            Observed {
                etcd_data: files::has_log(Path::new(&wal)),
                bootstrap_ordered: true,
                files: [(path, seen.unwrap_or(there))].into(),
                units: [(ETCD.to_owned(), Probe::Seen(self.unit().await))].into(),
                ..Observed::default()
            }
        }

        /// What the stage says of this look, carried out.
        async fn carry_out(&mut self, observed: &Observed) -> Vec<String> {
            let verdict = verdict(Stage::Etcd, &self.desired(), observed, 0).unwrap();
            let Verdict::Act { actions } = verdict else {
                return vec![format!("{verdict:?}")];
            };
            for action in &actions {
                match action {
                    Action::WriteFile { file } => files::write(&self.file(file)).unwrap(),
                    Action::RemoveFile { path } => files::remove(&self.here(path)).unwrap(),
                    Action::RestartUnit { unit, inputs } => {
                        self.bench.systemd.restart(unit).await.unwrap();
                        self.inputs = Some(inputs.clone());
                    }
                    Action::StopUnit { unit } => {
                        self.bench.systemd.stop(unit).await.unwrap();
                        self.inputs = None;
                    }
                    other => panic!("{other}"),
                }
            }
            actions.iter().map(ToString::to_string).collect()
        }

        async fn serves(&self) {
            let metrics = self.here("127.0.0.1:2381").parse().unwrap();
            let serves = async {
                while super::super::ask(metrics).await != Probe::Seen(()) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            within(START, "etcd's health", serves).await;
        }

        /// The arguments of whatever has this machine's data directory.
        fn running(&self) -> Vec<String> {
            let own = format!("--data-dir={}", self.here("/var/lib/etcd"));
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let lines =
                processes.filter_map(|p| std::fs::read_to_string(p.path().join("cmdline")).ok());
            let words = lines.map(|line| {
                let line = line.trim_end_matches('\0').to_owned();
                line.split('\0').map(str::to_owned).collect::<Vec<_>>()
            });
            words
                .filter(|words| words.contains(&own))
                .flatten()
                .skip(1)
                .collect()
        }
    }

    fn desired(bundle: &Bundle, address: IpAddr) -> Desired {
        let secrets = bundle.secrets.as_ref().unwrap();
        Desired::new(&bundle.config, secrets, &HostFacts::at(address), None, None)
    }

    #[tokio::test]
    async fn the_unit_runs_as_the_pod_would_and_stops_before_its_data_is_touched() {
        let mut lab = Lab::new().await;
        assert_eq!(lab.bundle.config.etcd_run_as(), EtcdRunAs::Unit);
        let fresh = lab.observe().await;
        let said = lab.carry_out(&fresh).await;
        let begun = ["write /etc/etcd/etcd.env", "restart etcd.service"];
        assert_eq!(said, begun);
        lab.serves().await;
        let begun = lab.observe().await;
        assert_eq!(lab.carry_out(&begun).await, ["Settled"]);

        let manifest = desired(&lab.pod, lab.address).etcd.unwrap();
        let expected = arguments(&manifest).into_iter();
        let expected: Vec<_> = expected.map(|word| lab.here(&word)).collect();
        assert!(expected.len() > 15, "{expected:?}");
        assert_eq!(lab.running(), expected);

        // systemd starts it again by itself, with the same data.
        lab.bench.crash(ETCD).await;
        let again = async {
            while lab.unit().await.restarts == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        within(START, "its restart", again).await;
        lab.serves().await;

        let discard = Observed {
            etcd_order: Probe::Seen(EtcdOrder {
                version: EtcdOrder::VERSION,
                id: "discard-7".to_owned(),
                by: "test".to_owned(),
                ordered_ms: 7,
                verb: EtcdVerb::Discard,
                done: false,
            }),
            etcd_runs: lab.data().runs(),
            ..lab.observe().await
        };
        assert_eq!(discard.etcd_runs, Probe::Seen(()));
        let stopped = ["stop etcd.service", "remove /etc/etcd/etcd.env"];
        assert_eq!(lab.carry_out(&discard).await, stopped);
        assert_eq!(lab.unit().await.active_state, "inactive");
        assert_eq!(lab.data().runs(), Probe::Absent);
        // Whoever starts it now: it has nothing to begin with.
        let refused = lab.bench.systemd.start(ETCD).await.unwrap_err();
        assert!(
            refused.to_string().contains("cannot start etcd.service"),
            "{refused}"
        );
        assert_eq!(lab.running(), Vec::<String>::new());
    }
}
