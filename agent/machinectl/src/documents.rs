//! Document streams on the workstation: read, joined with their secrets, checked.

use std::path::{Path, PathBuf};

use machine_config::{Bundle, ClusterSecrets, Problems};
use machine_pki::Secret;

use crate::failure::Failure;
use crate::files;

/// One file's document stream: what is sent, and what it says.
#[derive(Debug)]
pub struct Document {
    /// Where it is from.
    pub path: PathBuf,
    /// What is sent.
    pub stream: Secret,
    /// What it says.
    pub bundle: Bundle,
}

impl Document {
    /// The machine it is for.
    pub fn hostname(&self) -> String {
        self.bundle.config.hostname().to_string()
    }
}

/// Reads files, each with the secrets added where given. Problems of all files are told at once.
pub fn read(paths: &[PathBuf], secrets: Option<&Path>) -> Result<Vec<Document>, Failure> {
    let secrets = secrets.map(|path| files::read(path).map(|bytes| (path, bytes)));
    let secrets = secrets.transpose()?;
    let mut documents = Vec::new();
    let mut refused = Vec::new();
    let mut unread = None;
    for path in paths {
        let own = match files::read(path) {
            Ok(own) => own,
            Err(failure) => {
                refused.push(failure.message.clone());
                unread = unread.or(Some(failure));
                continue;
            }
        };
        let lines = own.split(|byte| *byte == b'\n').count() - usize::from(own.ends_with(b"\n"));
        let bytes = with_secrets(own, secrets.as_ref().map(|(_, bytes)| bytes.as_slice()));
        match machine_config::read(&bytes) {
            Ok(bundle) => {
                let text = String::from_utf8(bytes)
                    .map_err(|_| Failure::refused(format!("{}: not UTF-8", path.display())))?;
                documents.push(Document {
                    path: path.clone(),
                    stream: Secret::new(text),
                    bundle,
                });
            }
            Err(problems) => {
                let places = match &secrets {
                    Some((secrets, bytes)) => {
                        let ruled = usize::from(!bytes.starts_with(b"---"));
                        vec![(path.as_path(), 0), (*secrets, lines + ruled)]
                    }
                    None => vec![(path.as_path(), 0)],
                };
                refused.push(listed(&places, &problems));
            }
        }
    }
    match unread {
        None if refused.is_empty() => Ok(documents),
        None => Err(Failure::refused(refused.join("\n"))),
        Some(failure) => Err(Failure {
            message: refused.join("\n"),
            ..failure
        }),
    }
}

/// Reads a cluster's secrets.
pub fn read_secrets(path: &Path) -> Result<ClusterSecrets, Failure> {
    machine_config::read_secrets(&files::read(path)?)
        .map_err(|problems| Failure::refused(listed(&[(path, 0)], &problems)))
}

fn with_secrets(mut stream: Vec<u8>, secrets: Option<&[u8]>) -> Vec<u8> {
    if let Some(secrets) = secrets {
        if !stream.ends_with(b"\n") {
            stream.push(b'\n');
        }
        if !secrets.starts_with(b"---") {
            stream.extend_from_slice(b"---\n");
        }
        stream.extend_from_slice(secrets);
    }
    stream
}

/// `file:line:column path: message (hint)`, one a line. The files that a stream is put together from,
/// each with how many lines came before it.
fn listed(places: &[(&Path, usize)], problems: &Problems) -> String {
    let first = places.first().map_or(Path::new(""), |(path, _)| path);
    let mut text = match problems.len() {
        1 => format!("{}: 1 problem", first.display()),
        count => format!("{}: {count} problems", first.display()),
    };
    for problem in problems {
        let of = places
            .iter()
            .rev()
            .find(|(_, before)| problem.line > *before);
        let (path, before) = of.copied().unwrap_or((first, 0));
        let mut problem = problem.clone();
        problem.line -= before;
        let space = if problem.line == 0 { " " } else { "" };
        text.push_str(&format!("\n  {}:{space}{problem}", path.display()));
    }
    text
}
