#!/bin/sh
# Every kernel against the plain one on random layers, with every access to memory checked:
# fuzz/kernels.sh [LAYERS FOR EACH TEST].
set -eu
cd "$(dirname "$0")"
. ./checked.sh
PROPTEST_CASES=${1:-200000} cargo test --release --locked --target "$host" \
    --manifest-path ../Cargo.toml --lib nn::kernel
