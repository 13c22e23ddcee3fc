#!/bin/sh
# Our engine against LiteRT, ONNX Runtime and tract, in one run: benches/peers/run.sh [MODEL.tflite]
# Without a model: the MLPerf Tiny anomaly model from $AUSCULT_DATA. Python packages go into target/.
# AVX2=1 hides from all of them what the processor has beyond AVX2.
set -eu
cd "$(dirname "$0")/../.."
model=${1:-${AUSCULT_DATA:-../shared/data}/mlperf_ad01/ad01_int8.tflite}
venv=target/peers
if [ ! -x $venv/bin/python ] || ! $venv/bin/python -c 'import ai_edge_litert, onnx, onnxruntime' 2>/dev/null; then
    python3 -m venv $venv
    $venv/bin/pip install --quiet -r benches/peers/requirements.txt
fi
bench=$(cargo bench --bench nn --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/nn-[^"]*\)".*/\1/p' | tail -1)
cargo build --release --manifest-path benches/peers/tract/Cargo.toml --target-dir target/peers-tract
if [ -n "${AVX2:-}" ]; then
    cc -O2 -shared -fPIC -o target/avx2_only.so benches/peers/avx2_only.c
    export LD_PRELOAD="$PWD/target/avx2_only.so"
fi
exec $venv/bin/python benches/peers/peers.py "$model" "$bench" \
    target/peers-tract/release/tract-peer target/peers-models
