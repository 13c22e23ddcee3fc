//! How much is done: moments on a desk, minutes in CI, hours for a release.

/// The size that `AUSCULT_TIER` asks for: `ci`, `release`, or nothing.
pub(crate) fn tier<T>(quick: T, ci: T, release: T) -> T {
    match std::env::var("AUSCULT_TIER").as_deref() {
        Ok("release") => release,
        Ok("ci") => ci,
        Ok(other) => panic!("AUSCULT_TIER is ci or release, not {other}"),
        Err(_) => quick,
    }
}
