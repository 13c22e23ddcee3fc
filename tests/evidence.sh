#!/usr/bin/env bash
# Everything the reliability of auscult is claimed by, at its full size; writes docs/evidence.md.
# `make evidence` calls it. It takes hours; stopped, it goes on with the first leg that has not passed at this
# commit. `tests/evidence.sh kills day` does only those; AUSCULT_TIER=ci does them at the size of CI.
set -uo pipefail
cd "$(dirname "$0")/.."
export AUSCULT_TIER=${AUSCULT_TIER:-release}
commit=$(git rev-parse --short HEAD)
results=target/evidence
mkdir -p $results
# What does not know the tier itself.
if [ "$AUSCULT_TIER" = release ]; then
    size="" days=30 weeks=100000 fuzz_s=600 layers=1700000
else
    size=" ($AUSCULT_TIER size)" days=3 weeks=1000 fuzz_s=60 layers=50000
fi

it() { cargo test --release --locked --test it -- "$@" --nocapture --test-threads=1; }
month() { AUSCULT_DAYS=$days it run::soak; }
unit() { cargo build --release --locked --bin auscult && tests/systemd.sh; }
simulation() { AUSCULT_SEEDS=$(($1 * weeks))..$((($1 + 1) * weeks)) it publish::sim; }

memcheck() {
    local tests
    tests=$(cargo test --release --locked --lib --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
    PROPTEST_CASES=60 valgrind --quiet --error-exitcode=1 "$tests" nn::kernel
}

# Name, what must hold, command.
legs() {
    leg exposure "B16: the unit's exposure is at most 1.3" systemd-analyze security --no-pager --offline=true --threshold=13 systemd/auscult.service
    leg unit "the unit under a real systemd starts, sees its sensors, comes back when killed and halted, stops" unit
    leg supply "B18: licences, sources, one copy of each crate" make audit
    leg reproducible "B18: the program and its package are the same bytes from two folders" tests/reproducible.sh
    leg sensors "B13: 5,000 sensor faults told in five seconds, never as health or the machine's" it sensor::
    leg network "table N: slow, dead, torn and false networks, certificates; two hosts and a bad cable" it publish::faults publish::tls publish::cable
    leg clock "H6: a clock set by hours and by half a century raises nothing and loses nothing" it run::clock
    leg start "B6: ready within a second with 100,000 alerts waiting, 10,000 kills and starts" it run::start
    leg returns "B7: a sensor that is back is heard within three seconds and a window, 2,000 times" it returns::
    leg outages "B8: first alert 5 s after a broker is back, 35 s after a long outage; 10,000 alerts in a minute" it publish::outage
    leg latency "B9: window's end to the disk 50 ms, to the broker 250 ms, for an hour" it run::latency
    leg starved "B12: a fifth of a processor loses nothing, a hundredth counts what it loses" it run::starved
    leg memory "B11: four channels of 48 kHz in 96 MiB, none lost" it run::memory
    leg damage "H3-H5: full, refusing and rotten disks" it store::refusal store::no_flipped store::a_damaged store::a_full
    leg capture "table S: ten minutes of 48 kHz through ALSA, then stall, end and return" it live::
    leg day "B10: a day of device time with flat memory, each trouble told once" it run::soak
    leg month "B10: three times ten days on one store" month
    leg kills "B1-B3: no alert lost, doubled or corrupted over 10,000 kill -9" it store::a_kill
    leg broker-kills "B1-B3: the same over 1,000 kills of the broker" it publish::nothing_is_lost
    leg mixed "B1-B3: 20 hours of boxes killed, brokers killed and bad networks at once" it publish::mixed
    for part in {0..9}; do
        leg simulation-$part "B5: no broken promise in 1,000,000 simulated weeks of faults, part $((part + 1)) of 10" simulation $part
    done
    leg power-cuts "B4: no kept row lost in 100,000 states after a power cut" it store::power
    leg model-files "B14: every byte of a model flipped, files made up" cargo test --release --locked --lib nn::
    leg fuzz "B14: ten minutes of random bytes for each parser" fuzz/run.sh $fuzz_s
    leg coverage "B14: fuzzing reaches 95 % of each parser's lines" fuzz/coverage.sh
    leg kernels "B17: ten million random layers through every kernel, the same bits, memory checked" fuzz/kernels.sh $layers
    leg memcheck "B17: the kernels valgrind knows, AVX2 and plain" memcheck
    leg arm "B17: the same on 64-bit ARM, emulated: NEON with dot product and without" tests/arm.sh
    leg bench "B6, B11: start with 100,000 alerts waiting, memory at four channels of 48 kHz" cargo run --release --locked --quiet -- bench
}

# What a person wants to see of a leg's output: what the tests say themselves, not the test runner, not the log.
gist() {
    sed -E 's/^test [a-z_:0-9]+ \.\.\. //' "$1" |
        grep -vE '^(running|test |test result|failures|successes|ok$|$)|^ *(Finished|Running|Compiling|Blocking)|skipped|^[✓✗]|^[0-9]{4}-[0-9-]+T' |
        tail -n 12 | tr '|' '/' | sed 's/^ *//' | paste -sd ';' - | sed 's/;/; /g' | cut -c1-900
}

only=("$@")
failed=0
leg() {
    local name=$1 bar=$2 out=$results/$1.out row=$results/$1.row
    names+=("$name")
    shift 2
    if [ ${#only[@]} -gt 0 ] && [[ ! " ${only[*]} " == *" $name "* ]]; then return; fi
    if [ ${#only[@]} -eq 0 ] && grep -qs "passed$size at $commit\b" "$row"; then return; fi
    echo "== $name: $bar"
    local from=$SECONDS what=passed
    if ! "$@" >"$out" 2>&1; then
        tail -n 30 "$out"
        echo "== $name FAILED; all of it: $out"
        failed=1 what="**failed**"
    fi
    echo "| $name | $bar | $what$size at $commit | $(gist "$out") | $((SECONDS - from)) s |" >"$row"
}
names=()
legs

{
    cat <<EOF
# Evidence

Made by \`make evidence\` on $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1).
Each line is a leg of it: what must hold, whether it did and at which commit, what came out, how long it took. B1-B14 and B16-B18 are the
bars of [reliability.md](reliability.md), which says where we stand against each; S, H and N are its tables of faults in sensors,
host and network. \`tests/evidence.sh NAME\` repeats one; \`AUSCULT_TIER=ci make test\` is the smaller size that CI runs every time.

| leg | what must hold | did it | what came out | time |
|---|---|---|---|---|
EOF
    for name in "${names[@]}"; do
        cat "$results/$name.row" 2>/dev/null || echo "| $name | | not run | | |"
    done
} >docs/evidence.md
exit $failed
