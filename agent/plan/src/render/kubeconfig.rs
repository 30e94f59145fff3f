//! Kubeconfigs, in kubeadm's shape and order.

use data_encoding::BASE64;
use machine_pki::Secret;
use serde_json::Value;

use super::yaml::to_yaml;

/// The user that kubeadm's bootstrap kubeconfig names.
const BOOTSTRAP_USER: &str = "tls-bootstrap-token-user";

/// The kubeconfig of someone with a client certificate.
#[must_use]
pub fn kubeconfig(
    cluster: &str,
    server: &str,
    ca_pem: &str,
    user: &str,
    certificate_pem: &str,
    key: &Secret,
) -> Secret {
    let certificate = BASE64.encode(certificate_pem.as_bytes());
    let key = Secret::new(BASE64.encode(key.expose().as_bytes()));
    let fields = [
        ("client-certificate-data", certificate.as_str()),
        ("client-key-data", key.expose()),
    ];
    text(cluster, server, ca_pem, user, &fields)
}

/// The kubeconfig with which a worker's kubelet first asks for a certificate.
#[must_use]
pub fn bootstrap_kubeconfig(cluster: &str, server: &str, ca_pem: &str, token: &Secret) -> Secret {
    let token = Secret::new(scalar(token.expose()));
    text(
        cluster,
        server,
        ca_pem,
        BOOTSTRAP_USER,
        &[("token", token.expose())],
    )
}

/// Written line by line into one buffer that is large enough from the start, so that no copy of a
/// key stays behind in memory that was outgrown. `fields` are not quoted.
fn text(cluster: &str, server: &str, ca_pem: &str, user: &str, fields: &[(&str, &str)]) -> Secret {
    let ca = BASE64.encode(ca_pem.as_bytes());
    let context = scalar(&format!("{user}@{cluster}"));
    let [cluster, server, user] = [cluster, server, user].map(scalar);
    let long: usize = fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let short = 4 * (cluster.len() + server.len() + user.len() + context.len());
    let mut out = String::with_capacity(1024 + ca.len() + long + short);
    let room = out.capacity();
    for part in [
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ",
        &ca,
        "\n    server: ",
        &server,
        "\n  name: ",
        &cluster,
        "\ncontexts:\n- context:\n    cluster: ",
        &cluster,
        "\n    user: ",
        &user,
        "\n  name: ",
        &context,
        "\ncurrent-context: ",
        &context,
        "\nkind: Config\npreferences: {}\nusers:\n- name: ",
        &user,
        "\n  user:\n",
    ] {
        out.push_str(part);
    }
    for (name, value) in fields {
        for part in ["    ", name, ": ", value, "\n"] {
            out.push_str(part);
        }
    }
    debug_assert_eq!(out.capacity(), room);
    Secret::new(out)
}

/// One YAML scalar, quoted where it must be.
fn scalar(text: &str) -> String {
    to_yaml(&Value::from(text)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &Secret) -> Value {
        serde_saphyr::from_str(text.expose()).unwrap()
    }

    #[test]
    fn reads_back_as_what_was_put_in() {
        let key = Secret::new("key".to_owned());
        let config = parsed(&kubeconfig(
            "yes",
            "https://[fd00::1]:6443",
            "ca",
            "a:b",
            "cert",
            &key,
        ));
        assert_eq!(config["clusters"][0]["name"], "yes");
        assert_eq!(
            config["clusters"][0]["cluster"]["server"],
            "https://[fd00::1]:6443"
        );
        assert_eq!(
            config["clusters"][0]["cluster"]["certificate-authority-data"],
            "Y2E="
        );
        assert_eq!(config["contexts"][0]["name"], "a:b@yes");
        assert_eq!(config["contexts"][0]["context"]["cluster"], "yes");
        assert_eq!(config["contexts"][0]["context"]["user"], "a:b");
        assert_eq!(config["current-context"], "a:b@yes");
        assert_eq!(config["users"][0]["name"], "a:b");
        assert_eq!(
            config["users"][0]["user"]["client-certificate-data"],
            "Y2VydA=="
        );
        assert_eq!(config["users"][0]["user"]["client-key-data"], "a2V5");
    }

    #[test]
    fn a_bootstrap_kubeconfig_has_a_token_and_no_certificate() {
        let token = Secret::new("000000.0000000000000000".to_owned());
        let config = parsed(&bootstrap_kubeconfig(
            "demo",
            "https://a:6443",
            "ca",
            &token,
        ));
        let user = config["users"][0]["user"].as_object().unwrap();
        // All digits and a dot: it must stay text.
        assert_eq!(user["token"], "000000.0000000000000000");
        assert_eq!(user.len(), 1);
        assert_eq!(config["current-context"], "tls-bootstrap-token-user@demo");
    }
}
