use super::*;
use machined_proto::v1::{Condition, Stage};

fn machine(name: &str, kubernetes: &str, status: StatusResponse) -> Outcome<Heard> {
    let version = VersionResponse {
        kubernetes_version: kubernetes.into(),
        ..Default::default()
    };
    let failed = Service {
        name: "kubelet.service".into(),
        active_state: "failed".into(),
        result: "exit-code".into(),
        ..Default::default()
    };
    let result = Ok(Heard {
        status,
        version,
        services: vec![failed],
    });
    Outcome {
        target: name.parse().unwrap(),
        result,
    }
}

#[test]
fn all_causes_are_told_and_each_has_a_next_step() {
    let stage = |verdict: &str| Stage {
        name: "etcd".into(),
        verdict: verdict.into(),
        message: "waits for bootstrap".into(),
    };
    let status = StatusResponse {
        stages: vec![stage("settled"), stage("blocked"), stage("held")],
        conditions: vec![Condition {
            name: "disk-full".into(),
            object: "/var".into(),
            message: "2 MiB left".into(),
            next_step: "make room".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let findings = of_machine(&machine("cp1", "v1.20.2", status));
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| finding.check.as_str())
        .collect();
    assert_eq!(
        checks,
        [
            "disk-full /var",
            "stage etcd",
            "service kubelet.service",
            "node"
        ]
    );
    assert!(
        findings.iter().all(|finding| !finding.next.is_empty()),
        "{findings:?}"
    );
    assert_eq!(findings[1].next, "machinectl bootstrap -n cp1");
}

#[test]
fn versions_that_differ_are_a_finding_of_the_cluster() {
    let one = || machine("a", "v1.20.2", StatusResponse::default());
    let other = machine("b", "v1.21.0", StatusResponse::default());
    assert_eq!(of_cluster(&[one(), one()]), []);
    assert_eq!(of_cluster(&[one(), other])[0].cause, "v1.20.2, v1.21.0");
}
