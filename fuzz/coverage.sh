#!/bin/sh
# How many lines of each parser the inputs reach that fuzz/run.sh has found, tests not counted; fails below
# 95 %. With a file: its lines that none reaches. fuzz/coverage.sh [FILE]
set -eu
cd "$(dirname "$0")"

# What reads the bytes of others, by target, and what builds parts from a configuration.
parsers='
model_file nn/format.rs nn/format/packing.rs nn/card.rs nn/graph.rs nn/model.rs
tflite nn/import/tflite.rs nn/import/flatbuffer.rs
onnx nn/import/onnx.rs nn/import/onnx_tensor.rs nn/import/protobuf.rs
wav acquire/wav.rs
flac acquire/flac.rs
csv acquire/csv.rs acquire/csv/layout.rs
sidecar acquire/sidecar.rs acquire/calibration.rs acquire/recording.rs
configuration config/load.rs config/file.rs config/reader.rs config/check.rs config/fault.rs
parts config/build.rs config/parts.rs
command publish/command.rs
stream acquire/tcp/wire.rs
store store/salvage.rs
'

[ -d corpus ] || ./run.sh

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
"$llvm/llvm-profdata" merge -sparse "$counts"/*.profraw -o "$counts/all"

# shellcheck disable=SC2086 # names without blanks
show() { "$llvm/llvm-cov" "$@" -instr-profile="$counts/all" $objects; }
if [ $# -gt 0 ]; then
    show show -show-instantiations=false -sources "../$1" | grep '| *0|'
    exit
fi
show export -format=lcov >"$counts/lines"
echo "$parsers" | awk -F '[:,]' '
    /^SF/ { file = $2; sub(".*/src/", "", file) }
    /^DA/ { lines[file]++; reached[file] += $3 > 0 }
    FILENAME != "-" || !NF { next }
    {
        n = split($0, words, " ")
        all = met = 0
        each = ""
        for (i = 2; i <= n; i++) {
            file = words[i]
            all += lines[file]
            met += reached[file]
            each = each sprintf(" %s %.0f", file, 100 * reached[file] / lines[file])
        }
        printf "%s: %.1f %% of %d lines (%s)\n", words[1], 100 * met / all, all, substr(each, 2)
        low += met < 0.95 * all
    }
    END { exit low > 0 }' "$counts/lines" -
