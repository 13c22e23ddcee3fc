//! Gets alerts off the box, at least once.
