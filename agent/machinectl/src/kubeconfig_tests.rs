use super::*;

fn made(cluster: &str, ca: &str, server: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {cluster}\n  cluster:\n    \
         certificate-authority-data: {ca}\n    server: {server}\ncontexts:\n- name: admin@{cluster}\n  \
         context:\n    cluster: {cluster}\n    user: admin-{cluster}\ncurrent-context: admin@{cluster}\n\
         users:\n- name: admin-{cluster}\n  user:\n    client-certificate-data: Yw==\n    \
         client-key-data: aw==\n"
    )
}

fn read(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn others_are_kept_and_a_second_merge_changes_nothing() {
    let other = made("other", "b3RoZXI=", "https://10.1.1.1:6443");
    let demo = made("demo", "ZGVtbw==", "https://10.0.0.1:6443");
    let once = merge(&other, &demo, Merge::default()).unwrap();
    assert_eq!(once.context, "admin@demo");
    let file = read(&once.text);
    assert_eq!(file["clusters"].as_array().unwrap().len(), 2);
    assert_eq!(file["current-context"], "admin@demo");
    let twice = merge(&once.text, &demo, Merge::default()).unwrap();
    assert_eq!(once.text, twice.text);
}

#[test]
fn another_cluster_of_the_same_name_is_refused_unless_forced() {
    let old = made("demo", "b2xk", "https://10.1.1.1:6443");
    let new = made("demo", "bmV3", "https://10.0.0.1:6443");
    let failure = merge(&old, &new, Merge::default()).unwrap_err();
    assert!(failure.message.contains("another cluster"), "{failure}");
    let forced = merge(
        &old,
        &new,
        Merge {
            force: true,
            ..Merge::default()
        },
    )
    .unwrap();
    let file = read(&forced.text);
    assert_eq!(
        file["clusters"][0]["cluster"]["certificate-authority-data"],
        "bmV3"
    );
    assert_eq!(file["clusters"].as_array().unwrap().len(), 1);
}

#[test]
fn a_tunnel_keeps_the_name_that_the_certificate_has() {
    let demo = made("demo", "ZGVtbw==", "https://cp.example:6443");
    let how = Merge {
        server: Some("https://127.0.0.1:16443"),
        ..Merge::default()
    };
    let cluster = read(&merge("", &demo, how).unwrap().text)["clusters"][0]["cluster"].clone();
    assert_eq!(cluster["server"], "https://127.0.0.1:16443");
    assert_eq!(cluster["tls-server-name"], "cp.example");
    let how = Merge {
        server: Some("127.0.0.1:16443"),
        ..Merge::default()
    };
    assert!(merge("", &demo, how).is_err());
}

#[test]
fn the_current_context_is_kept_on_demand_but_never_left_empty() {
    let other = made("other", "b3RoZXI=", "https://10.1.1.1:6443");
    let demo = made("demo", "ZGVtbw==", "https://10.0.0.1:6443");
    let how = Merge {
        keep_current: true,
        ..Merge::default()
    };
    let current = |text: &str| read(text)["current-context"].as_str().map(str::to_owned);
    assert_eq!(
        current(&merge(&other, &demo, how).unwrap().text).unwrap(),
        "admin@other"
    );
    assert_eq!(
        current(&merge("", &demo, how).unwrap().text).unwrap(),
        "admin@demo"
    );
}

#[test]
fn files_that_are_no_kubeconfig_are_left_alone() {
    let demo = made("demo", "ZGVtbw==", "https://10.0.0.1:6443");
    for text in ["- a\n- b\n", "clusters: 3\n", "a: [\n", "just words"] {
        assert!(merge(text, &demo, Merge::default()).is_err(), "{text:?}");
    }
    for text in ["", "\n", "# nothing\n", "clusters: null\nusers: []\n"] {
        assert!(merge(text, &demo, Merge::default()).is_ok(), "{text:?}");
    }
}
