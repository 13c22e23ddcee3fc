//! What was learned of each asset: one file, replaced whole; the one before is kept.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Error, make_dir, replace};

/// First bytes of a memory file: name and version.
const MAGIC: &[u8; 8] = b"AUSMEM\x00\x01";

/// Largest memory taken, bytes.
const BYTES_MAX: usize = 64 << 20;

/// The learned memories of all assets, in a folder of their own.
#[derive(Debug)]
pub struct Baselines {
    dir: PathBuf,
}

impl Baselines {
    /// In `baseline/` under the folder of the store.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(store_dir: &Path) -> Result<Self, Error> {
        let dir = store_dir.join("baseline");
        make_dir(&dir)?;
        Ok(Self { dir })
    }

    /// Keeps what an asset has learned; what was kept before becomes the one before.
    ///
    /// # Errors
    /// If the disk refuses or the memory is over 64 MiB; then the old one stands.
    pub fn save(&self, asset: &str, memory: &[u8]) -> Result<(), Error> {
        let path = self.path(asset, "mem");
        if memory.len() > BYTES_MAX {
            let why = format!("{} bytes are more than a memory may have", memory.len());
            return Err(Error::Io { path, why });
        }
        // A damaged current must not push out a whole one before it.
        if let (Some(current), _) = self.read(asset, "mem")? {
            replace(&self.path(asset, "prev"), &pack(&current))?;
        }
        replace(&path, &pack(memory))
    }

    /// What an asset has learned, and whether it had to be taken from the one before because the
    /// current one is damaged or cannot be read; `None` if it never learned.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if both are damaged: it must learn again. If the disk refuses to give either: then
    /// the current one is put aside as `ASSET.unread`, so that what is learned now does not take its place.
    pub fn load(&self, asset: &str) -> Result<Option<(Vec<u8>, bool)>, Error> {
        let current = self.read(asset, "mem");
        if let Ok((Some(memory), _)) = current {
            return Ok(Some((memory, false)));
        }
        let previous = self.read(asset, "prev");
        if let Ok((Some(memory), _)) = previous {
            return Ok(Some((memory, true)));
        }
        match (current, previous) {
            (Ok((_, false)), Ok((_, false))) => Ok(None),
            (Ok(_), Ok(_)) => Err(Error::Corrupt {
                path: self.path(asset, "mem"),
                what: "its checksum is wrong".into(),
            }),
            (Err(error), _) | (_, Err(error)) => {
                drop(fs::rename(self.path(asset, "mem"), self.path(asset, "unread")));
                Err(error)
            }
        }
    }

    /// The memory before the current one, to roll back to.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn previous(&self, asset: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(asset, "prev").map(|(memory, _)| memory)
    }

    fn read(&self, asset: &str, kind: &str) -> Result<(Option<Vec<u8>>, bool), Error> {
        let path = self.path(asset, kind);
        match fs::read(&path) {
            Ok(bytes) => {
                let memory = unpack(&bytes);
                let damaged = memory.is_none();
                Ok((memory, damaged))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((None, false)),
            Err(error) => Err(Error::io(&path, &error)),
        }
    }

    fn path(&self, asset: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{asset}.{kind}"))
    }
}

fn pack(memory: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(memory.len() + 40);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(blake3::hash(memory).as_bytes());
    bytes.extend_from_slice(memory);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, memory) = rest.split_at_checked(32)?;
    (blake3::hash(memory).as_bytes() == sum).then(|| memory.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in the place of a file: a disk that refuses, and gives the file back one day.
    #[test]
    fn what_the_disk_refuses_to_give_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Baselines::open(dir.path()).unwrap();
        kept.save("fan", b"first").unwrap();
        kept.save("fan", b"second").unwrap();
        let refuse = |kind: &str| {
            fs::remove_file(kept.path("fan", kind)).unwrap();
            fs::create_dir(kept.path("fan", kind)).unwrap();
        };
        refuse("mem");
        assert_eq!(kept.load("fan").unwrap(), Some((b"first".to_vec(), true)));
        assert!(kept.save("fan", b"third").is_err());
        refuse("prev");
        assert!(matches!(kept.load("fan"), Err(Error::Io { .. })));
        assert!(kept.path("fan", "unread").exists());
        kept.save("fan", b"fourth").unwrap();
        assert_eq!(kept.load("fan").unwrap(), Some((b"fourth".to_vec(), false)));
    }

    #[test]
    fn every_flipped_bit_is_found_and_the_one_before_taken() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Baselines::open(dir.path()).unwrap();
        assert_eq!(kept.load("fan").unwrap(), None);
        kept.save("fan", b"first").unwrap();
        kept.save("fan", b"second").unwrap();
        assert_eq!(kept.load("fan").unwrap(), Some((b"second".to_vec(), false)));
        assert_eq!(kept.previous("fan").unwrap().as_deref(), Some(&b"first"[..]));
        let path = kept.path("fan", "mem");
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            replace(&path, &bytes).unwrap();
            assert_eq!(kept.load("fan").unwrap(), Some((b"first".to_vec(), true)), "bit {bit}");
        }
        kept.save("fan", b"third").unwrap();
        assert_eq!(kept.previous("fan").unwrap().as_deref(), Some(&b"first"[..]));
        fs::remove_file(kept.path("fan", "prev")).unwrap();
        replace(&path, &whole[..20]).unwrap();
        assert!(matches!(kept.load("fan"), Err(Error::Corrupt { .. })));
    }
}
