//! Inputs of the tests about kubeadm's documents.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};

use machine_config::Role;
use machine_config::import::{Imported, Refused, Source, Words, kubeadm};

/// The documents of a folder below `tests/import`.
pub fn documents(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let entries = std::fs::read_dir(root.join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "{folder} holds no documents");
    files
}

/// One input.
pub fn source(name: &str, text: impl AsRef<[u8]>) -> Source {
    Source {
        name: name.to_owned(),
        bytes: text.as_ref().to_vec(),
    }
}

/// What a line such as `# words: hostname=cp1 role=worker` of the input says.
pub fn words(text: &str) -> Words {
    let mut words = Words {
        cluster_id: "0123456789abcdef".to_owned(),
        ..Words::default()
    };
    let line = text.lines().find_map(|line| line.strip_prefix("# words: "));
    for word in line.unwrap_or_default().split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        let field = match name {
            "name" => &mut words.name,
            "endpoint" => &mut words.endpoint,
            "hostname" => &mut words.hostname,
            "kubernetes_version" => &mut words.kubernetes_version,
            "image" => &mut words.image,
            "network_addon" => &mut words.network_addon,
            "role" => {
                let roles = [Role::ControlPlane, Role::Worker];
                words.role = roles.into_iter().find(|role| role.as_str() == value);
                continue;
            }
            other => panic!("{other} is no word"),
        };
        *field = Some(value.to_owned());
    }
    words
}

/// What becomes of a file.
pub fn imported(path: &Path) -> Result<Imported, Refused> {
    let bytes = std::fs::read(path).unwrap();
    let words = words(&String::from_utf8_lossy(&bytes));
    let name = path.file_name().unwrap().to_string_lossy();
    kubeadm(&[source(&name, bytes)], &words)
}
