//! Files that are either the old one or the new one, whole: temp file, fsync, rename, fsync folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::Error;

/// Puts `bytes` in the place of `path`, whole or not at all.
///
/// # Errors
/// If the folder is missing, the disk is full or the system refuses; then `path` is as it was.
///
/// # Panics
/// If `path` names no file: a bug in the caller.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], written piece by piece.
pub(super) fn replace_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), Error> {
    let name = path.file_name().expect("a path that names a file");
    let part = path.with_file_name(format!("{}.part", name.to_string_lossy()));
    let done = File::create(&part).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&part, path)
    });
    if let Err(error) = done {
        // What is left of the attempt takes space that is needed.
        drop(fs::remove_file(&part));
        return Err(Error::io(path, &error));
    }
    sync_parent(path)
}

/// Makes the names in the folder of `path` last.
pub(super) fn sync_parent(path: &Path) -> Result<(), Error> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| Error::io(dir, &error))
}

/// Makes a folder and those above it, each name made to last.
///
/// # Errors
/// If the system refuses.
pub fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    match fs::create_dir(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(Error::io(dir, &error)),
        _ => sync_parent(dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&path, b"old").unwrap();
        let failed = replace_with(&path, |file| {
            file.write_all(b"ne")?;
            Err(std::io::Error::from(ErrorKind::StorageFull))
        });
        assert!(matches!(failed, Err(Error::DiskFull { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn folders_are_made_with_those_above() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        make_dir(&deep).unwrap();
        make_dir(&deep).unwrap();
        assert!(deep.is_dir());
    }
}
