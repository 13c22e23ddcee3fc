//! Space held back: let go of when the disk is full, so that alerts can still be kept.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::replace::replace_with;

/// A file of zeros that gives way to alerts.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// Of `bytes` bytes in the folder of the store; nothing is written yet.
    pub fn new(dir: &Path, bytes: u64) -> Self {
        Self { path: dir.join("ballast"), bytes }
    }

    /// Whether the space is held.
    pub fn is_held(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= self.bytes)
    }

    /// Takes the space if there is twice as much: taking the last would bring the need about.
    /// Gives whether it is held now.
    pub fn take(&self) -> bool {
        static PIECE: [u8; 1 << 16] = [0; 1 << 16];
        if self.is_held() {
            return true;
        }
        let bytes = self.bytes;
        replace_with(&self.path, |file| {
            for _ in 0..(2 * bytes).div_ceil(PIECE.len() as u64) {
                file.write_all(&PIECE)?;
            }
            file.set_len(bytes)
        })
        .is_ok()
    }

    /// Gives the space back to the disk; whether there was any.
    pub fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_and_released() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path(), 100_000);
        assert!(!ballast.is_held() && ballast.take() && ballast.is_held());
        assert_eq!(fs::metadata(dir.path().join("ballast")).unwrap().len(), 100_000);
        assert!(ballast.release() && !ballast.release() && !ballast.is_held());
    }
}
