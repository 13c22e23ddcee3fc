//! Makes models; never on the signal path.
