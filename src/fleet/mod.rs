//! Many boxes.
