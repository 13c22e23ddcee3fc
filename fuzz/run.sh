#!/bin/sh
# Feeds parsers random bytes, made by libFuzzer from what they have not seen yet, with every access to
# memory checked, as many at once as there are processors: fuzz/run.sh [SECONDS EACH [TARGET...]].
set -eu
cd "$(dirname "$0")"
seconds=${1:-60}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2046 # names without blanks
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' Cargo.toml)
. ./checked.sh
cargo build --release --target "$host" --bins

# Some samples of one channel at 1000 Hz: format tag, bytes and bits of each, in octal.
wav() {
    printf 'RIFF\64\0\0\0WAVEfmt \20\0\0\0' >"$1-$3"
    printf "\\$1\\0\\1\\0\\350\\3\\0\\0\\0\\0\\0\\0\\$2\\0\\$3\\0" >>"$1-$3"
    printf 'data\20\0\0\0samples_16_bytes' >>"$1-$3"
}

# Something right, and every kind of wrong, to begin with.
seed() {
    [ ! -d "../../seeds/$1" ] || cp "../../seeds/$1"/* .
    case $1 in
    wav)
        for file in ../../../fixtures/*.wav; do head -c 8000 "$file" >"$(basename "$file")"; done
        wav 1 1 10
        wav 1 4 40
        wav 3 4 40
        wav 3 10 100
        ;;
    flac) cp ../../../fixtures/*.flac . ;;
    csv) for n in 300 4000; do head -c $n ../../../fixtures/pump.csv >$n; done ;;
    sidecar) cp ../../../fixtures/*.json . ;;
    configuration) cp ../../../config/*.toml ../../../config/examples/*.toml . ;;
    command) # more than are remembered, too long an id, too long a command
        seq -f 'fan/command/ack {"id":"%g"}' 300 >many
        for n in 300 20000; do printf 'fan/command/ack {"id":"%0*d"}' $n 1 >$n; done
        ;;
    mqtt) # CONNECT, CONNACK, PUBLISH a/b "hi" with QoS 1, PUBACK to PUBCOMP, SUBSCRIBE, SUBACK,
        # UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT
        printf '\020\031\000\004MQTT\004\316\000\012\000\001c\000\001t\000\001m\000\001u\000\001p' >whole
        printf '\040\002\000\000\062\011\000\003a/b\000\003hi\100\002\000\001\120\002\000\001' >>whole
        printf '\142\002\000\001\160\002\000\001\202\010\000\002\000\003a/#\001\220\003\000\002\001' >>whole
        printf '\242\007\000\003\000\003a/#\260\002\000\003\300\000\320\000\340\000' >>whole
        ;;
    stream) # one channel of i16 at 1024 Hz in m/s2, a block of two samples
        printf 'AUSCULT\001\001\000\001\004\000\000\000\000' >whole
        printf '\000\000\000\000\000\000\220\100\000\000\000\000\000\000\360\077m/s2' >>whole
        printf 'BLCK\002\000\000\000\000\000\000\000\000\000\000\000\001\000\002\000' >>whole
        ;;
    store) # any bytes, another version, another owner
        for n in 100 2000; do head -c $n ../../../models/vibration.safetensors >$n; done
        printf '\000\000\074\004\000\000\000\002' >newer
        printf '\000\000\104\004NONE' >other
        ;;
    esac
}

fuzz() {
    mkdir -p "corpus/$1" artifacts
    (cd "corpus/$1" && seed "$1")
    log=artifacts/$1.log
    if "$CARGO_TARGET_DIR/$host/release/$1" "corpus/$1" -max_total_time="$seconds" -max_len=65536 \
        -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 \
        -artifact_prefix="artifacts/$1-" >"$log" 2>&1; then
        n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")
        echo "$1: $n inputs in $seconds s, $edges places of the code reached, none fatal"
    else
        tail -n 30 "$log"
        echo "$1: FAILED; the input is in fuzz/artifacts"
        touch artifacts/failed
    fi
}

rm -f artifacts/failed
started=0
for target; do
    fuzz "$target" &
    started=$((started + 1))
    [ $((started % $(nproc))) -ne 0 ] || wait
done
wait
[ ! -e artifacts/failed ]
