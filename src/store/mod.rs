//! Crash-safe or not at all: SQLite, and files replaced whole.
