//! Kubeconfigs of the two kinds that a machine has: the one we write, with everything in it, and
//! kubelet's, which names the file that its certificate and key are in.

use std::path::Path;

use data_encoding::BASE64;
use machine_pki::Secret;
use machine_plan::yaml;
use serde_json::Value;

use super::door::Identity;

/// What its current context says.
pub struct Kubeconfig {
    /// URL.
    pub server: String,
    /// PEM.
    pub authority: String,
    pub identity: Identity,
}

/// Reads one, and the files that it names. Errors say the path, never what is in the file.
pub fn read(path: &str, text: &Secret) -> Result<Kubeconfig, String> {
    let wrong = |why: &str| format!("{path}: {why}");
    let config = yaml::read_one(text.expose()).map_err(|_| wrong("not a kubeconfig"))?;
    let current = config["current-context"].as_str().unwrap_or_default();
    let context = named(&config["contexts"], current).map(|entry| &entry["context"]);
    let context = context.ok_or_else(|| wrong("no current context"))?;
    let find = |list: &str, kind: &str| {
        let name = context[kind].as_str().unwrap_or_default();
        let entry = named(&config[list], name).map(|entry| &entry[kind]);
        entry.ok_or_else(|| wrong(&format!("no {kind} of its current context")))
    };
    let (cluster, user) = (find("clusters", "cluster")?, find("users", "user")?);
    let server = cluster["server"].as_str();
    // Of a file beside it, the path is from there.
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    let pem = |of: &Value, field: &str| pem(folder, of, field).map_err(|why| wrong(&why));
    Ok(Kubeconfig {
        server: server.ok_or_else(|| wrong("no server"))?.to_owned(),
        authority: pem(cluster, "certificate-authority")?.expose().to_owned(),
        identity: Identity {
            certificate: pem(user, "client-certificate")?.expose().to_owned(),
            key: pem(user, "client-key")?,
        },
    })
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    let mut entries = list.as_array()?.iter();
    entries.find(|entry| entry["name"].as_str() == Some(name))
}

fn pem(folder: &Path, of: &Value, field: &str) -> Result<Secret, String> {
    if let Some(data) = of[format!("{field}-data")].as_str() {
        let bytes = BASE64.decode(data.as_bytes()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| format!("{field}-data is not base64 of text"))?;
        return Ok(Secret::new(text));
    }
    let file = of[field].as_str().ok_or_else(|| format!("no {field}"))?;
    let file = folder.join(file);
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1\nkind: Config\ncurrent-context: own\n\
        clusters:\n- name: other\n  cluster: {server: https://other:1}\n\
        - name: demo\n  cluster:\n    certificate-authority-data: Y2E=\n    server: https://a:6443\n\
        contexts:\n- name: own\n  context: {cluster: demo, user: kubelet}\n\
        users:\n- name: kubelet\n  user:\n    client-certificate: pki/own.pem\n    \
        client-key: pki/own.pem\n";

    fn refused(path: &str, text: &str) -> String {
        match read(path, &Secret::new(text.to_owned())) {
            Ok(_) => panic!("taken: {text}"),
            Err(why) => why,
        }
    }

    #[test]
    fn a_kubelets_names_its_certificates_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("pki")).unwrap();
        let pem = folder.path().join("pki/own.pem");
        crate::durable::replace(&pem, b"both", 0o600).unwrap();
        let path = folder.path().join("kubelet.conf").display().to_string();
        let read = read(&path, &Secret::new(TEXT.to_owned())).ok().unwrap();
        assert_eq!(read.server, "https://a:6443");
        assert_eq!(read.authority, "ca");
        assert_eq!(read.identity.certificate, "both");
        assert_eq!(read.identity.key.expose(), "both");
    }

    #[test]
    fn ours_reads_back() {
        let key = Secret::new("key".to_owned());
        let text = machine_plan::render::kubeconfig("demo", "https://b:1", "ca", "me", "own", &key);
        let read = read("admin.conf", &text).ok().unwrap();
        assert_eq!(read.server, "https://b:1");
        assert_eq!(read.identity.certificate, "own");
        assert_eq!(read.identity.key, key);
    }

    #[test]
    fn what_is_missing_is_said_and_no_secret() {
        let gone = refused("/etc/kubernetes/kubelet.conf", TEXT);
        assert!(
            gone.starts_with("/etc/kubernetes/kubelet.conf: /etc/kubernetes/pki/own.pem: "),
            "{gone}"
        );
        assert_eq!(refused("a", "{"), "a: not a kubeconfig");
        let other = TEXT.replace("current-context: own", "current-context: none");
        assert_eq!(refused("a", &other), "a: no current context");
        let other = TEXT.replace("user: kubelet", "user: other");
        assert_eq!(refused("a", &other), "a: no user of its current context");
        let other = TEXT.replace("Y2E=", "secret!");
        assert_eq!(
            refused("a", &other),
            "a: certificate-authority-data is not base64 of text"
        );
    }
}
