//! x
use criterion::{Criterion, criterion_group, criterion_main};
fn x(_: &mut Criterion) {}
criterion_group!(benches, x);
criterion_main!(benches);
