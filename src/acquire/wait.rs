//! Waiting for a file descriptor, with an end.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::types::Span;

/// What waiting brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// There is something to read (or an error to fetch by reading).
    Readable,
    /// Nothing within the time given.
    Quiet,
    /// The other side is gone, and everything it left was read.
    Gone,
}

/// Waits until `fd` can be read, for `patience` at most.
///
/// # Errors
/// What poll(2) gives, interruption aside: that counts as quiet.
pub(super) fn readable(fd: BorrowedFd<'_>, patience: Span) -> io::Result<Ready> {
    let ns = patience.0.clamp(0, 10_000_000_000);
    let patience = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match poll(&mut watched, Some(&patience)) {
        Err(rustix::io::Errno::INTR) => return Ok(Ready::Quiet),
        n => n?,
    };
    let [seen] = watched.map(|fd| fd.revents());
    Ok(if seen.is_empty() {
        Ready::Quiet
    } else if seen.intersects(PollFlags::HUP | PollFlags::NVAL) && !seen.contains(PollFlags::IN) {
        Ready::Gone
    } else {
        Ready::Readable
    })
}
