//! `auscult.toml`: one field per room's `Config`; load, check, build the parts.
