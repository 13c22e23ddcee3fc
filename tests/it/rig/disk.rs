//! A disk that loses its power: what was made to last is there, of the rest nothing, all or any part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::trace::{File, Op};

/// What a disk writes in one piece, bytes.
const SECTOR: usize = 512;

/// What is left of that which was not made to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// Any sectors, names and lengths, by this seed.
    Some(u64),
}

/// Change to a file that may be lost.
#[derive(Clone, Debug)]
enum Change {
    Sector { at: usize, bytes: Vec<u8> },
    Resize(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    lasting: Vec<u8>,
    pending: Vec<Change>,
}

/// Change to the names in a folder that may be lost.
#[derive(Clone, Debug)]
enum Naming {
    Set { path: PathBuf, file: Option<File> },
    Unset(PathBuf),
    Move { from: PathBuf, to: PathBuf },
}

impl Naming {
    fn folder(&self) -> Option<&Path> {
        let (Self::Set { path, .. } | Self::Unset(path) | Self::Move { to: path, .. }) = self;
        path.parent()
    }
}

/// `None` is a folder.
type Names = BTreeMap<PathBuf, Option<File>>;

/// A folder on a disk, with what would be lost with the power.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: BTreeMap<File, Content>,
    names: Names,
    pending: Vec<Naming>,
}

/// Files by path, folders too.
pub(crate) type Picture = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Disk {
    pub(crate) fn step(&mut self, op: &Op) {
        match op {
            Op::Write { file, at, bytes } => self.write(*file, *at, bytes),
            Op::Resize { file, bytes } => {
                self.files.entry(*file).or_default().pending.push(Change::Resize(*bytes));
            }
            Op::Sync(file) => {
                let content = self.files.entry(*file).or_default();
                for change in std::mem::take(&mut content.pending) {
                    apply(&mut content.lasting, &change);
                }
            }
            Op::Name { path, file } => {
                self.pending.push(Naming::Set { path: path.clone(), file: Some(*file) });
            }
            Op::Folder(path) => self.pending.push(Naming::Set { path: path.clone(), file: None }),
            Op::Unname(path) => self.pending.push(Naming::Unset(path.clone())),
            Op::Rename { from, to } => {
                assert_eq!(from.parent(), to.parent(), "moves between folders are not modelled");
                self.pending.push(Naming::Move { from: from.clone(), to: to.clone() });
            }
            Op::SyncFolder(folder) => {
                let pending = std::mem::take(&mut self.pending);
                let (done, left) =
                    pending.into_iter().partition(|naming| naming.folder() == Some(folder));
                self.pending = left;
                let done: Vec<Naming> = done;
                for naming in &done {
                    rename(&mut self.names, naming);
                }
            }
            Op::Said(_) => {}
        }
    }

    /// Whether anything could be lost now.
    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.files.values().all(|content| content.pending.is_empty())
    }

    fn write(&mut self, file: File, at: usize, bytes: &[u8]) {
        let content = self.files.entry(file).or_default();
        let mut from = 0;
        while from < bytes.len() {
            let to = bytes.len().min(from + SECTOR - (at + from) % SECTOR);
            let bytes = bytes[from..to].to_vec();
            content.pending.push(Change::Sector { at: at + from, bytes });
            from = to;
        }
    }

    /// What is found after the power came back.
    pub(crate) fn cut(&self, left: Left) -> Picture {
        let mut dice = Dice::new(match left {
            Left::Some(seed) => seed,
            _ => 0,
        });
        // Some cuts come early in what the disk still has to do, some late.
        let share = dice.unit();
        let in_order = dice.unit() < 0.5;
        let mut names = self.names.clone();
        for naming in &self.pending {
            let is_kept = match left {
                Left::Nothing => false,
                Left::All => true,
                Left::Some(_) => dice.unit() < share,
            };
            if is_kept {
                rename(&mut names, naming);
            } else if in_order {
                // A file system with a journal keeps names in their order.
                break;
            }
        }
        let is_there = |path: &Path| {
            path.ancestors().skip(1).all(|it| it.as_os_str().is_empty() || names.contains_key(it))
        };
        names
            .iter()
            .filter(|(path, _)| is_there(path))
            .map(|(path, file)| {
                let bytes = file.map(|file| self.content(file, left, share, &mut dice));
                (path.clone(), bytes)
            })
            .collect()
    }

    fn content(&self, file: File, left: Left, share: f64, dice: &mut Dice) -> Vec<u8> {
        let Some(content) = self.files.get(&file) else { return Vec::new() };
        let mut bytes = content.lasting.clone();
        // The length may be on the disk before what is to fill it.
        let has_length = matches!(left, Left::Some(_)) && dice.unit() < 0.5;
        for change in &content.pending {
            let is_kept = match left {
                Left::Nothing => return bytes,
                Left::All => true,
                Left::Some(_) => dice.unit() < share,
            };
            match change {
                _ if is_kept => apply(&mut bytes, change),
                Change::Sector { at, bytes: new } if has_length => {
                    bytes.resize(bytes.len().max(at + new.len()), 0);
                }
                _ => {}
            }
        }
        bytes
    }
}

/// Lays a picture down as real files, in the place of whatever was there.
pub(crate) fn lay_down(picture: &Picture, dir: &Path) {
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap();
    }
    fs::create_dir(dir).unwrap();
    for (path, bytes) in picture.iter().filter(|(path, _)| !path.as_os_str().is_empty()) {
        match bytes {
            None => fs::create_dir(dir.join(path)).unwrap(),
            Some(bytes) => write(&dir.join(path), bytes),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a picture is laid down, not kept")]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Sector { at, bytes: new } => {
            let end = at + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(new);
        }
        Change::Resize(len) => bytes.resize(*len, 0),
    }
}

fn rename(names: &mut Names, naming: &Naming) {
    match naming {
        Naming::Set { path, file } => drop(names.insert(path.clone(), *file)),
        Naming::Unset(path) => drop(names.remove(path)),
        Naming::Move { from, to } => {
            // Without the name it had, the file is found under neither.
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}
