#!/bin/sh
# How many lines of each parser are reached by the inputs that fuzz/run.sh has found, tests not counted, or
# which lines of one file are not: fuzz/coverage.sh [FILE].
set -eu
cd "$(dirname "$0")"

# What reads the bytes of others, by target; a place that ends in / is all that lies there.
parsers='
model_file src/nn/format.rs src/nn/format/packing.rs src/nn/card.rs src/nn/graph.rs src/nn/model.rs
tflite src/nn/import/tflite.rs src/nn/import/flatbuffer.rs
onnx src/nn/import/onnx.rs src/nn/import/onnx_tensor.rs src/nn/import/protobuf.rs
wav src/acquire/wav.rs
flac src/acquire/flac.rs
csv src/acquire/csv.rs src/acquire/csv/layout.rs
sidecar src/acquire/sidecar.rs src/acquire/calibration.rs src/acquire/recording.rs
configuration src/config/load.rs src/config/file.rs src/config/reader.rs src/config/check.rs
configuration src/config/fault.rs src/config/build.rs src/config/parts.rs
command src/publish/command.rs
mqtt /mqttbytes/v4/
stream src/acquire/tcp.rs src/acquire/tcp/wire.rs
store src/store/salvage.rs src/store/row.rs
'

# The counts are read by tools of the compiler's own LLVM.
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
llvm=/usr/lib/llvm-$version/bin
make -s -C .. packages PACKAGES="g++ llvm-$version"

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR="$PWD/target/coverage" CARGO_PROFILE_DEV_DEBUG=0
export RUSTFLAGS="--cfg fuzzing -Cinstrument-coverage"
cargo build --target "$host" --bins

programs=$CARGO_TARGET_DIR/$host/debug
counts=$CARGO_TARGET_DIR/counts
rm -rf "$counts"
objects=
for corpus in corpus/*; do
    target=${corpus#corpus/}
    LLVM_PROFILE_FILE=$counts/$target.profraw "$programs/$target" -runs=0 "$corpus" 2>"$counts.log"
    objects="$objects -object $programs/$target"
done
"$llvm/llvm-profdata" merge -sparse "$counts"/*.profraw -o "$counts/all.profdata"

# shellcheck disable=SC2086 # options without blanks
read_counts() { "$llvm/llvm-cov" "$@" -instr-profile="$counts/all.profdata" $objects; }
if [ $# -gt 0 ]; then
    read_counts show -show-instantiations=false -sources "../$1" | grep '| *0|'
else
    read_counts export -format=lcov | awk -F '[:,]' -v parsers="$parsers" '
        /^SF/ { file = $2 }
        /^DA/ { lines[file]++; reached[file] += $3 > 0 }
        END {
            n = split(parsers, words, "[ \n]+")
            for (i = 1; i <= n; i++) {
                if (words[i] !~ "/") { parser = words[i]; continue }
                for (file in lines) if (index(file, words[i]))
                    printf "%-14s %5.1f %% of %3d lines  %s\n", parser, 100 * reached[file] / lines[file],
                        lines[file], substr(file, index(file, words[i]))
            }
        }'
fi
