#!/bin/sh
# Fuzzes one target for so many seconds: fuzz/run.sh model_file 600
# As cargo-fuzz would, without it: needs a nightly toolchain and a C++ compiler.
set -eu
cd "$(dirname "$0")"
target=$1
seconds=${2:-60}
host=$(rustc -vV | sed -n 's/host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1 \
-Cdebug-assertions -Coverflow-checks"
cargo +nightly build --release --target "$host" --bin "$target"
mkdir -p "corpus/$target"
case $target in model_file) cp ../models/*.safetensors "corpus/$target/" ;; esac
exec "target/$host/release/$target" "corpus/$target" -max_total_time="$seconds" \
    -max_len=65536 -rss_limit_mb=2048 -timeout=20
