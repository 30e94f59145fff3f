//! The contexts file: which clusters this person talks to, and as whom.

use std::path::{Path, PathBuf};

use machine_pki::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::failure::Failure;
use crate::files::{self, Access};
use crate::target::Node;

/// The file's version.
const API_VERSION: &str = "machinectl/v1";

/// One cluster and one identity in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// What `--context` says.
    pub name: String,
    /// The machines of the cluster, by name.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The machine CA's certificate, PEM.
    pub ca: String,
    /// The client certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    #[serde(serialize_with = "expose", deserialize_with = "hide")]
    pub key: Secret,
}

// The one place where a key leaves its wrapper: a file of mode 0600.
fn expose<S: Serializer>(key: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

fn hide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: Vec<Context>,
}

/// The contexts file in memory.
#[derive(Debug)]
pub struct Contexts {
    path: PathBuf,
    /// Held by who is to change the file, for as long as this lives.
    lock: Option<std::fs::File>,
    current: Option<String>,
    contexts: Vec<Context>,
}

/// Where the contexts file is: `MACHINECTL_CONFIG`, or below the user's config folder.
pub fn default_path() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("MACHINECTL_CONFIG").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    Ok(user_folder("XDG_CONFIG_HOME", ".config")?.join("machinectl/config.yaml"))
}

/// A folder of the XDG base directory specification.
pub fn user_folder(variable: &str, below_home: &str) -> Result<PathBuf, Failure> {
    match std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        Some(folder) => Ok(folder),
        None => Ok(home()?.join(below_home)),
    }
}

/// The user's home folder.
pub fn home() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    home.ok_or_else(|| Failure::usage("HOME does not say where your files are"))
}

impl Contexts {
    /// Reads the contexts file to change it: whoever else wants that waits until it is done, so that
    /// no change is lost.
    pub fn load_to_change(path: &Path) -> Result<Self, Failure> {
        let lock = files::lock(&path.with_extension("lock"))?;
        let mut contexts = Self::load(path)?;
        contexts.lock = Some(lock);
        Ok(contexts)
    }

    /// Reads the contexts file; one that is not there is empty.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        if path.symlink_metadata().is_err() {
            return Ok(Self {
                path,
                lock: None,
                current: None,
                contexts: Vec::new(),
            });
        }
        warn_of_readers(&path);
        let text = files::read_text(&path)?;
        // No snippet: the lines around a typo may be those of a key.
        let options = serde_saphyr::options! { with_snippet: false };
        let written: Written =
            serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
                Failure::usage(format!("contexts file {}: {error}", path.display()))
                    .next("repair it, or name another with MACHINECTL_CONFIG")
            })?;
        if written.api_version != API_VERSION {
            return Err(Failure::usage(format!(
                "contexts file {} has apiVersion {}; this machinectl knows {API_VERSION}",
                path.display(),
                written.api_version
            )));
        }
        Ok(Self {
            path,
            lock: None,
            current: written.current,
            contexts: written.contexts,
        })
    }

    /// Writes the file, readable by its owner only.
    pub fn save(&self) -> Result<(), Failure> {
        let written = Written {
            api_version: API_VERSION.into(),
            current: self.current.clone(),
            contexts: self.contexts.clone(),
        };
        let text = serde_saphyr::to_string(&written)
            .map_err(|error| Failure::failed(format!("write contexts: {error}")))?;
        files::write(&self.path, text.as_bytes(), Access::Owner)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every context, as written.
    pub fn all(&self) -> &[Context] {
        &self.contexts
    }

    /// The name of the one used without `--context`.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// The context meant by `--context`, else the current one, else the only one.
    pub fn choose(&self, asked: Option<&str>) -> Result<&Context, Failure> {
        let Some(name) = asked.or(self.current()) else {
            return match self.contexts.as_slice() {
                [only] => Ok(only),
                [] => Err(
                    Failure::usage(format!("no context in {}", self.path.display())).next(
                        "machinectl gen config … makes one; machinectl context add brings one",
                    ),
                ),
                _ => Err(Failure::usage("several contexts and none is current")
                    .next("machinectl context use NAME")),
            };
        };
        self.find(name).ok_or_else(|| {
            let names: Vec<_> = self.contexts.iter().map(|c| c.name.as_str()).collect();
            let known = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            Failure::usage(format!(
                "no context {name} in {} (it has: {known})",
                self.path.display()
            ))
        })
    }

    /// A context by name.
    pub fn find(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().find(|context| context.name == name)
    }

    /// Adds a context. One of the same name is replaced if it is of the same
    /// cluster (the same CA) or if `force` says so; of the same cluster, its nodes
    /// stay where the new one names none.
    pub fn add(&mut self, mut context: Context, force: bool) -> Result<(), Failure> {
        if context.name.is_empty() {
            return Err(Failure::usage("a context needs a name"));
        }
        match self
            .contexts
            .iter_mut()
            .find(|other| other.name == context.name)
        {
            Some(other) if force || other.ca.trim() == context.ca.trim() => {
                if context.nodes.is_empty() && other.ca.trim() == context.ca.trim() {
                    context.nodes.clone_from(&other.nodes);
                }
                *other = context;
            }
            Some(_) => {
                return Err(Failure::usage(format!(
                    "context {} exists already and belongs to another cluster",
                    context.name
                ))
                .next("choose another name, or say --force to replace it"));
            }
            None => self.contexts.push(context),
        }
        Ok(())
    }

    /// Makes a context the current one.
    pub fn make_current(&mut self, name: &str) -> Result<(), Failure> {
        self.choose(Some(name))?;
        self.current = Some(name.to_owned());
        Ok(())
    }

    /// Takes a context out.
    pub fn remove(&mut self, name: &str) -> Result<(), Failure> {
        self.choose(Some(name))?;
        self.contexts.retain(|context| context.name != name);
        if self.current() == Some(name) {
            self.current = None;
        }
        Ok(())
    }
}

fn warn_of_readers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let open = path.metadata().is_ok_and(|meta| {
        meta.is_file() && meta.len() > 0 && meta.permissions().mode() & 0o077 != 0
    });
    if open {
        crate::tell!(
            "warning: {} holds a key and others may read it: chmod 600 it",
            path.display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(name: &str, ca: &str) -> Context {
        Context {
            name: name.into(),
            nodes: vec![Node {
                name: "cp1".into(),
                address: "10.0.0.1:50000".into(),
            }],
            ca: ca.into(),
            certificate: "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n".into(),
            key: Secret::new(
                "-----BEGIN PRIVATE KEY-----\nYQ==\n-----END PRIVATE KEY-----\n".into(),
            ),
        }
    }

    fn holding(contexts: Vec<Context>) -> Contexts {
        Contexts {
            path: "x".into(),
            lock: None,
            current: None,
            contexts,
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.yaml");
        let mut contexts = Contexts::load(&path).unwrap();
        contexts.add(context("no", "ca-1\nca-2\n"), false).unwrap();
        contexts.make_current("no").unwrap();
        contexts.save().unwrap();
        let again = Contexts::load(&path).unwrap();
        assert_eq!((again.all(), again.current()), (contexts.all(), Some("no")));
        assert!(!format!("{again:?}").contains("BEGIN PRIVATE"));
    }

    #[test]
    fn another_cluster_of_the_same_name_is_kept() {
        let mut contexts = holding(vec![context("demo", "one")]);
        contexts.add(context("demo", "one\n"), false).unwrap();
        assert!(contexts.add(context("demo", "two"), false).is_err());
        contexts.add(context("demo", "two"), true).unwrap();
        assert_eq!(contexts.find("demo").unwrap().ca, "two");
    }

    #[test]
    fn nodes_outlive_a_new_certificate() {
        let mut contexts = holding(vec![context("demo", "one")]);
        let mut renewed = context("demo", "one");
        renewed.nodes.clear();
        contexts.add(renewed.clone(), true).unwrap();
        assert_eq!(contexts.find("demo").unwrap().nodes.len(), 1);
        renewed.ca = "two".into();
        contexts.add(renewed, true).unwrap();
        assert!(contexts.find("demo").unwrap().nodes.is_empty());
    }

    #[test]
    fn changes_at_once_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/config.yaml");
        let add = |name: String| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut contexts = Contexts::load_to_change(&path).unwrap();
                contexts.add(context(&name, "ca"), false).unwrap();
                contexts.save().unwrap();
            })
        };
        let all: Vec<_> = (0..8).map(|n| add(format!("c{n}"))).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
        assert_eq!(Contexts::load(&path).unwrap().all().len(), 8);
    }

    #[test]
    fn the_only_context_needs_no_choice_and_several_do() {
        let mut contexts = holding(Vec::new());
        assert!(
            contexts
                .choose(None)
                .unwrap_err()
                .message
                .contains("no context")
        );
        contexts.add(context("one", "1"), false).unwrap();
        assert_eq!(contexts.choose(None).unwrap().name, "one");
        contexts.add(context("two", "2"), false).unwrap();
        assert!(contexts.choose(None).is_err());
        contexts.make_current("two").unwrap();
        assert_eq!(contexts.choose(None).unwrap().name, "two");
        contexts.remove("two").unwrap();
        assert_eq!(contexts.choose(None).unwrap().name, "one");
        assert!(
            contexts
                .choose(Some("three"))
                .unwrap_err()
                .message
                .contains("it has: one")
        );
    }

    #[test]
    fn a_broken_file_is_named_and_none_of_its_keys_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yaml");
        files::write(
            &path,
            "apiVersion: machinectl/v1\ncontexts:\n- name: a\n  kee: hunter2\n".as_bytes(),
            Access::Owner,
        )
        .unwrap();
        let failure = Contexts::load(&path).unwrap_err();
        assert!(failure.message.contains("config.yaml"), "{failure}");
        assert!(!failure.message.contains("hunter2"), "{failure}");
        files::write(
            &path,
            "apiVersion: machinectl/v9\n".as_bytes(),
            Access::Owner,
        )
        .unwrap();
        assert!(
            Contexts::load(&path)
                .unwrap_err()
                .message
                .contains("machinectl/v9")
        );
    }
}
