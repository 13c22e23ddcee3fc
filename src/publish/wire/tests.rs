//! Tests of the payloads.
