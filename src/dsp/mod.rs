//! Signal tools: slices in, slices out; planned once, then run without allocating.
