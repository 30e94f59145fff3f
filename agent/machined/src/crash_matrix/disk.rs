//! What a disk may have after the end of a process, or of the power, between any two steps.
//!
//! A killed process leaves all steps that it has taken. After a power cut a name that was made, renamed
//! or removed is there or not, by itself, unless its folder was synced after that; bytes are there,
//! half there or not, unless their file was synced after that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::durable::steps::Step;

/// Where the agent keeps anything.
const ROOTS: [&str; 3] = ["/etc", "/run", "/var/lib"];

/// What is at a path, with its mode.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kept {
    Folder(u32),
    File(u32, Vec<u8>),
    Link(PathBuf),
}

/// All of it.
pub(crate) type Tree = BTreeMap<PathBuf, Kept>;

/// What is below these folders, as it is now.
pub(crate) fn read(roots: &[&Path]) -> Tree {
    let mut tree = Tree::new();
    let mut left: Vec<PathBuf> = roots.iter().map(|root| PathBuf::from(*root)).collect();
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let facts = std::fs::symlink_metadata(&path).unwrap();
            let mode = facts.permissions().mode() & 0o7777;
            let kept = match facts.file_type() {
                kind if kind.is_dir() => {
                    left.push(path.clone());
                    Kept::Folder(mode)
                }
                kind if kind.is_symlink() => Kept::Link(std::fs::read_link(&path).unwrap()),
                _ => Kept::File(mode, std::fs::read(&path).unwrap()),
            };
            tree.insert(path, kept);
        }
    }
    tree
}

/// Makes what is below these folders this.
pub(crate) fn put(roots: &[&Path], tree: &Tree) {
    for root in roots {
        for entry in std::fs::read_dir(root).into_iter().flatten() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => std::fs::remove_dir_all(path).unwrap(),
                false => std::fs::remove_file(path).unwrap(),
            }
        }
    }
    for (path, kept) in tree {
        let mode = match kept {
            Kept::Folder(mode) => {
                std::fs::create_dir(path).unwrap();
                *mode
            }
            Kept::File(mode, bytes) => {
                let mut file = std::fs::File::create(path).unwrap();
                std::io::Write::write_all(&mut file, bytes).unwrap();
                *mode
            }
            Kept::Link(target) => {
                std::os::unix::fs::symlink(target, path).unwrap();
                continue;
            }
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// A machine's folders.
pub(crate) fn roots() -> [&'static Path; 3] {
    ROOTS.map(Path::new)
}

/// What a process leaves that ends after these steps.
pub(crate) fn killed(before: &Tree, steps: &[Step]) -> Tree {
    let (mut disk, changes) = Disk::run(before, steps);
    for change in changes.iter().flatten() {
        disk.apply(change, 2);
    }
    disk.tree()
}

/// All that may be there when the power goes after these steps.
pub(crate) fn cut(before: &Tree, steps: &[Step]) -> BTreeSet<Tree> {
    let (disk, changes) = Disk::run(before, steps);
    let changes: Vec<&Change> = changes.iter().flatten().collect();
    let lasts = |at: usize, change: &Change| {
        let synced = |id: usize| {
            let later = changes[at..].iter();
            later
                .filter(|c| matches!(c, Change::Sync(i) if *i == id))
                .count()
                > 0
        };
        match change {
            Change::Enter(name, _) | Change::Leave(name) => synced(name.0),
            // One step, in both folders or in none: file systems with a journal keep it so.
            Change::Move(from, to) => synced(from.0) || synced(to.0),
            Change::Fill(id, _) => synced(*id),
            Change::Sync(_) => true,
        }
    };
    let certain: Vec<bool> = changes
        .iter()
        .enumerate()
        .map(|(at, change)| lasts(at, change))
        .collect();
    let open: Vec<usize> = (0..changes.len()).filter(|at| !certain[*at]).collect();
    let ways = open.iter().map(|at| {
        if matches!(changes[*at], Change::Fill(..)) {
            3
        } else {
            2
        }
    });
    let ways: Vec<usize> = ways.collect();
    let all: usize = ways.iter().product();
    assert!(all <= 4096, "{all} ways: {steps:?}");
    (0..all)
        .map(|mut which| {
            let mut level = vec![2; changes.len()];
            for (at, ways) in open.iter().zip(&ways) {
                // Of a name there is nothing between kept and lost.
                level[*at] = (which % ways) * if *ways == 2 { 2 } else { 1 };
                which /= ways;
            }
            let mut kept = disk.clone();
            for (change, level) in changes.iter().zip(level) {
                kept.apply(change, level);
            }
            kept.tree()
        })
        .collect()
}

/// A name in a folder.
type Name = (usize, OsString);

/// A step, in terms of what was there when it was taken.
enum Change {
    Enter(Name, usize),
    Move(Name, Name),
    Leave(Name),
    Fill(usize, Vec<u8>),
    Sync(usize),
}

#[derive(Clone, Default)]
struct Disk {
    names: BTreeMap<Name, usize>,
    things: Vec<Kept>,
    /// Those of them that are no part of what was read: the way to it.
    way: BTreeSet<usize>,
}

impl Disk {
    /// The disk as it was, and what each step does to it; none where it has nothing to do.
    fn run(before: &Tree, steps: &[Step]) -> (Self, Vec<Option<Change>>) {
        let mut disk = Self::default();
        disk.things.push(Kept::Folder(0o755));
        for root in ROOTS {
            disk.folders(Path::new(root));
        }
        for (path, kept) in before {
            if let Some(above) = path.parent() {
                disk.folders(above);
            }
            let name = disk.name(path).unwrap();
            disk.things.push(kept.clone());
            disk.names.insert(name, disk.things.len() - 1);
        }
        let mut now = disk.clone();
        let mut changes = Vec::new();
        for step in steps {
            let change = now.change(step);
            if let Some(change) = &change {
                now.apply(change, 2);
            }
            changes.push(change);
        }
        // What things there ever were is no part of what is kept: names are.
        let made = now.things.split_off(disk.things.len()).into_iter();
        disk.things.extend(made.map(|kept| match kept {
            Kept::File(mode, _) => Kept::File(mode, Vec::new()),
            other => other,
        }));
        (disk, changes)
    }

    fn folders(&mut self, path: &Path) {
        if self.find(path).is_none() {
            self.folders(path.parent().unwrap());
            let name = self.name(path).unwrap();
            self.things.push(Kept::Folder(0o755));
            self.way.insert(self.things.len() - 1);
            self.names.insert(name, self.things.len() - 1);
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        let mut id = 0;
        for part in path.iter().skip(1) {
            id = *self.names.get(&(id, part.to_owned()))?;
        }
        Some(id)
    }

    fn name(&self, path: &Path) -> Option<Name> {
        Some((self.find(path.parent()?)?, path.file_name()?.to_owned()))
    }

    fn enter(&mut self, path: &Path, thing: Kept) -> Option<Change> {
        let name = self.name(path);
        let name = name.unwrap_or_else(|| panic!("nothing is known of {}", path.display()));
        if self.names.contains_key(&name) {
            return None;
        }
        self.things.push(thing);
        Some(Change::Enter(name, self.things.len() - 1))
    }

    fn change(&mut self, step: &Step) -> Option<Change> {
        match step {
            Step::Make(path, mode) => self.enter(path, Kept::Folder(*mode)),
            Step::Create(path, mode) => self.enter(path, Kept::File(*mode, Vec::new())),
            Step::Link(path, target) => self.enter(path, Kept::Link(target.clone())),
            Step::Write(path, bytes) => Some(Change::Fill(self.find(path)?, bytes.clone())),
            Step::Sync(path) => Some(Change::Sync(self.find(path)?)),
            Step::Remove(path) => self.find(path).and(self.name(path)).map(Change::Leave),
            Step::Rename(from, to) => {
                self.find(from)?;
                Some(Change::Move(self.name(from)?, self.name(to)?))
            }
        }
    }

    /// `level`: 0 it is lost, 2 it is kept, 1 half of the bytes are.
    fn apply(&mut self, change: &Change, level: usize) {
        if level == 0 {
            return;
        }
        match change {
            Change::Enter(name, id) => drop(self.names.insert(name.clone(), *id)),
            Change::Move(from, to) => {
                if let Some(id) = self.names.remove(from) {
                    self.names.insert(to.clone(), id);
                }
            }
            Change::Leave(name) => {
                let id = self.names.get(name).copied();
                // A folder that something is in stays.
                if self.names.keys().all(|(above, _)| Some(*above) != id) {
                    self.names.remove(name);
                }
            }
            Change::Fill(id, bytes) => {
                if let Kept::File(_, kept) = &mut self.things[*id] {
                    *kept = bytes[..bytes.len() * level / 2].to_owned();
                }
            }
            Change::Sync(_) => {}
        }
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        let mut left = vec![(0, PathBuf::from("/"))];
        while let Some((folder, path)) = left.pop() {
            let here = self.names.iter().filter(|((above, _), _)| *above == folder);
            for ((_, name), id) in here {
                let path = path.join(name);
                if matches!(self.things[*id], Kept::Folder(_)) {
                    left.push((*id, path.clone()));
                }
                if !self.way.contains(id) {
                    tree.insert(path, self.things[*id].clone());
                }
            }
        }
        tree
    }
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_and_nothing_else() {
    let steps = |path: &Path| {
        crate::durable::steps::record(usize::MAX);
        crate::durable::replace(path, b"new!", 0o600).unwrap();
        crate::durable::steps::recorded()
    };
    let scratch = crate::testing::Scratch::new();
    let path = scratch.path().join("file");
    crate::durable::replace(&path, b"old", 0o600).unwrap();
    let before = read(&[scratch.path()]);
    let steps = steps(&path);
    let there = |tree: &Tree| match tree.get(&path) {
        Some(Kept::File(_, bytes)) => String::from_utf8(bytes.clone()).unwrap(),
        other => format!("{other:?}"),
    };
    let mut found = BTreeSet::new();
    for count in 0..=steps.len() {
        found.extend(cut(&before, &steps[..count]).iter().map(there));
    }
    assert_eq!(found, ["new!", "old"].map(str::to_owned).into());
    let last: BTreeSet<_> = cut(&before, &steps).iter().map(there).collect();
    assert_eq!(
        last,
        ["new!".to_owned()].into(),
        "once acknowledged it lasts"
    );
    // The model finds what is wrong: without the file's own sync it may be torn, without the folder's
    // it may be the old one.
    let synced = |step: &Step| matches!(step, Step::Sync(_));
    let careless: Vec<_> = steps.iter().filter(|step| !synced(step)).cloned().collect();
    let torn: BTreeSet<_> = cut(&before, &careless).iter().map(there).collect();
    assert_eq!(torn, ["", "ne", "new!", "old"].map(str::to_owned).into());
    assert_eq!(there(&killed(&before, &careless)), "new!");
}
