//! Waiting for a file descriptor, with an end.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

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
#[allow(unsafe_code, reason = "poll(2) has no safe wrapper in std")]
pub(super) fn readable(fd: BorrowedFd<'_>, patience: Span) -> io::Result<Ready> {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ms = (patience.0 / 1_000_000).clamp(0, 10_000) as libc::c_int;
    // SAFETY: one valid pollfd that outlives the call; the descriptor is borrowed for as long.
    let n = unsafe { libc::poll(&raw mut poll, 1, ms) };
    if n < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(Ready::Quiet),
            _ => Err(error),
        };
    }
    Ok(match poll.revents {
        0 => Ready::Quiet,
        what if what & libc::POLLIN != 0 => Ready::Readable,
        what if what & (libc::POLLHUP | libc::POLLNVAL) != 0 => Ready::Gone,
        _ => Ready::Readable,
    })
}
