//! Whole rendered trees, byte for byte.
//!
//! Each folder of `tests/golden` has a `config.yaml`; the rest of it is what that config renders
//! to. `UPDATE=1 cargo nextest run -p machine-plan` writes the folders anew: read the difference
//! before committing it, since it is what every node of that version will get.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests read goldens and may panic"
)]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use machine_plan::render::to_yaml;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Everything in a folder, by path below it.
fn tree(folder: &Path, below: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            tree(folder, &path, found);
        } else {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            found.insert(path.display().to_string(), text);
        }
    }
}

fn rendered(config_text: &str) -> BTreeMap<String, String> {
    let config = support::config(config_text);
    let mut tree = BTreeMap::from([("config.yaml".to_owned(), config_text.to_owned())]);
    let mut modes = String::new();
    for file in support::files(&config) {
        writeln!(modes, "{:04o} {}", file.mode, file.path).unwrap();
        let known = tree.insert(
            format!("root{}", file.path),
            file.content.expose().to_owned(),
        );
        assert!(known.is_none(), "{} is rendered twice", file.path);
    }
    tree.insert("modes.txt".to_owned(), modes);
    if config.role().is_control_plane() {
        let objects = support::objects(&config);
        let documents: Vec<String> = objects.iter().map(to_yaml).collect();
        tree.insert("objects.yaml".to_owned(), documents.join("---\n"));
        let marks = machine_plan::render::node_marks(&config);
        tree.insert("marks.txt".to_owned(), format!("{marks:#?}\n"));
    }
    tree
}

#[test]
fn rendered_trees_are_the_goldens() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(goldens()).unwrap() {
        let folder = entry.unwrap().path();
        let config = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
        let rendered = rendered(&config);
        cases += 1;
        if update {
            write(&folder, &rendered);
            continue;
        }
        let mut kept = BTreeMap::new();
        tree(&folder, Path::new(""), &mut kept);
        let case = folder.file_name().unwrap().display();
        for path in kept
            .keys()
            .chain(rendered.keys().filter(|path| !kept.contains_key(*path)))
        {
            let (old, new) = (kept.get(path), rendered.get(path));
            if old != new {
                writeln!(wrong, "== {case}/{path}\n{}", first_difference(old, new)).unwrap();
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nUPDATE=1 accepts what is rendered now"
    );
    assert!(cases >= 8, "the goldens are gone");
}

fn first_difference(old: Option<&String>, new: Option<&String>) -> String {
    let (Some(old), Some(new)) = (old, new) else {
        return if old.is_some() {
            "is no longer rendered"
        } else {
            "is new"
        }
        .to_owned();
    };
    let lines = old.lines().zip(new.lines()).enumerate();
    match lines.into_iter().find(|(_, (old, new))| old != new) {
        Some((number, (old, new))) => format!("line {}:\n- {old}\n+ {new}", number + 1),
        None => "one is longer than the other".to_owned(),
    }
}

fn write(folder: &Path, rendered: &BTreeMap<String, String>) {
    let stale = folder.join("root");
    if stale.exists() {
        std::fs::remove_dir_all(&stale).unwrap();
    }
    for (path, text) in rendered {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
