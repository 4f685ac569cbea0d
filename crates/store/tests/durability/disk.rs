//! A disk that keeps only what was synced: file contents by a sync of the file, names by a sync of their folder.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::trace::Step;

/// A repeatable source of random numbers (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit`, exclusive.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A sector: what a disk writes whole.
const SECTOR: usize = 512;

#[derive(Clone)]
enum Content {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

#[derive(Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Content>,
    /// How much of `pending` the sync under way covers.
    syncing: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(usize),
    Folder,
}

/// A change of a name, which its folder's sync makes durable.
struct NameChange {
    path: PathBuf,
    node: Option<Node>,
    covered: bool,
}

/// The files below a folder, as the process sees them and as they are on the disk.
pub(crate) struct Disk {
    root: PathBuf,
    files: Vec<File>,
    handles: HashMap<usize, (Node, PathBuf)>,
    seen: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<NameChange>,
}

impl Disk {
    /// A disk on which the folder is missing and its parent is there.
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            files: Vec::new(),
            handles: HashMap::new(),
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    /// Takes a step; `true` if it made something durable.
    pub(crate) fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Opened { handle, path, create, truncate } => {
                let node = match self.seen.get(path) {
                    Some(node) => *node,
                    None if *create => {
                        self.files.push(File::default());
                        let node = Node::File(self.files.len() - 1);
                        self.name(path, Some(node));
                        node
                    }
                    None => panic!("{} was opened and is not there", path.display()),
                };
                self.handles.insert(*handle, (node, path.clone()));
                if let (Node::File(file), true) = (node, *truncate) {
                    self.files[file].pending.push(Content::Truncate(0));
                }
            }
            Step::Write { handle, offset, data } => {
                self.file(*handle).pending.push(Content::Write(*offset, data.clone()));
            }
            Step::Truncate { handle, length } => self.file(*handle).pending.push(Content::Truncate(*length)),
            Step::Syncing { handle } => match self.handles[handle].clone() {
                (Node::File(file), _) => self.files[file].syncing = self.files[file].pending.len(),
                (Node::Folder, folder) => {
                    for change in &mut self.pending {
                        change.covered |= change.path.parent() == Some(&*folder);
                    }
                }
            },
            Step::Synced { handle } => {
                match self.handles[handle].clone() {
                    (Node::File(file), _) => {
                        let file = &mut self.files[file];
                        for change in file.pending.drain(..file.syncing) {
                            write(&mut file.durable, &change);
                        }
                        file.syncing = 0;
                    }
                    (Node::Folder, folder) => {
                        for change in &self.pending {
                            if change.covered && change.path.parent() == Some(&*folder) {
                                set(&mut self.durable, &change.path, change.node);
                            }
                        }
                        self.pending
                            .retain(|change| !change.covered || change.path.parent() != Some(&*folder));
                    }
                }
                return true;
            }
            Step::MakeFolder(path) => self.name(path, Some(Node::Folder)),
            Step::Remove(path) => self.name(path, None),
            Step::Rename(from, to) => {
                let node = self.seen[from];
                self.name(to, Some(node));
                self.name(from, None);
            }
            Step::Ack(_) => {}
        }
        false
    }

    fn file(&mut self, handle: usize) -> &mut File {
        match &self.handles[&handle] {
            (Node::File(file), _) => &mut self.files[*file],
            (Node::Folder, path) => panic!("write to folder {}", path.display()),
        }
    }

    fn name(&mut self, path: &Path, node: Option<Node>) {
        set(&mut self.seen, path, node);
        // The parent of the root is opened under a path outside of it: its sync is not in the trace.
        if path == self.root {
            set(&mut self.durable, path, node);
        } else {
            self.pending.push(NameChange { path: path.to_owned(), node, covered: false });
        }
    }

    /// Writes the files as they are after a power cut now. With a chance, some of what was not synced is there,
    /// too: any of the writes, whole or torn between sectors, and any of the names.
    pub(crate) fn write_out(&self, target: &Path, mut chance: Option<&mut Chance>) {
        let mut names = self.durable.clone();
        for change in &self.pending {
            if flip(&mut chance) {
                set(&mut names, &change.path, change.node);
            }
        }
        std::fs::create_dir(target).unwrap();
        for (path, node) in names.iter().filter(|(path, _)| **path != self.root) {
            let place = target.join(path.strip_prefix(&self.root).unwrap());
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            match node {
                Node::Folder => std::fs::create_dir(&place).unwrap(),
                Node::File(file) => std::fs::write(&place, self.files[*file].after_cut(&mut chance)).unwrap(),
            }
        }
    }
}

fn flip(chance: &mut Option<&mut Chance>) -> bool {
    chance.as_mut().is_some_and(|chance| chance.below(2) == 0)
}

impl File {
    fn after_cut(&self, chance: &mut Option<&mut Chance>) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.pending {
            if !flip(chance) {
                continue;
            }
            match change {
                Content::Write(offset, data) if flip(chance) => {
                    // Only some sectors, by their place on the disk.
                    let start = usize::try_from(*offset).unwrap();
                    let mut at = 0;
                    while at < data.len() {
                        let end = data.len().min((start + at) / SECTOR * SECTOR + SECTOR - start);
                        if flip(chance) {
                            write(&mut content, &Content::Write(offset + at as u64, data[at..end].to_vec()));
                        }
                        at = end;
                    }
                }
                change => write(&mut content, change),
            }
        }
        content
    }
}

fn set(names: &mut BTreeMap<PathBuf, Node>, path: &Path, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(path.to_owned(), node)),
        None => drop(names.remove(path)),
    }
}

fn write(content: &mut Vec<u8>, change: &Content) {
    match change {
        Content::Truncate(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        Content::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            if content.len() < start + data.len() {
                content.resize(start + data.len(), 0);
            }
            content[start..start + data.len()].copy_from_slice(data);
        }
    }
}
