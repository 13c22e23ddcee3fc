#!/usr/bin/env bash
# Everything the reliability of auscult is claimed by, at its full size; writes docs/evidence.md.
# `make evidence` calls it. It takes hours; stopped, it goes on with the first leg that is not yet done
# for this commit. `tests/evidence.sh kills day` does only those.
set -uo pipefail
cd "$(dirname "$0")/.."
export AUSCULT_TIER=release
commit=$(git rev-parse --short HEAD)
results=target/evidence/$commit
mkdir -p "$results"

it() { cargo test --release --locked --test it -- "$@" --nocapture --test-threads=1; }

# Name, what must hold, command.
legs() {
    leg kills "B1-B3: no alert lost, doubled or corrupted over 10,000 kill -9" it store::a_kill
    leg broker-kills "B1-B3: the same over 1,000 kills of the broker" it publish::nothing_is_lost
    leg power-cuts "B4: no kept row lost in 100,000 states after a power cut" it store::power
    leg simulation "B5: no broken promise in simulated weeks of faults" it publish::sim
    leg network "table N: slow, dead, torn and false networks, certificates" it publish::faults publish::tls
    leg damage "H3-H5: full, refusing and rotten disks" it store::refusal store::no_flipped store::a_damaged store::a_full
    leg capture "table S: ten minutes of 48 kHz through ALSA, then stall, end and return" it live::
    leg sensors "B13: every sensor fault told in five seconds, never as the machine's" it sensor::
    leg day "B10: a day of device time with flat memory, each trouble told once" it run::a_day
    leg model-files "B14: every byte of a model flipped, files made up" cargo test --release --locked --lib nn::
    leg exposure "B16: the unit's exposure is at most 1.3" systemd-analyze security --no-pager --offline=true --threshold=13 systemd/auscult.service
    leg supply "B18: licences, sources, one copy of each crate" make audit
    leg bench "B6, B11: start with 100,000 alerts waiting, memory at four channels of 48 kHz" cargo run --release --locked --quiet -- bench
}

# What a person wants to see of a leg's output: what the tests say themselves, not the test runner.
gist() {
    grep -vE '^(running|test |test result|failures|successes|$)|^ *(Finished|Running|Compiling|Blocking)|skipped|^[✓✗]' "$1" |
        tail -n 6 | tr '|' '/' | sed 's/^ *//' | paste -sd ';' - | sed 's/;/; /g' | cut -c1-400
}

only=("$@")
table=""
failed=0
leg() {
    local name=$1 bar=$2 out=$results/$1.out
    shift 2
    if [ ${#only[@]} -gt 0 ] && [[ ! " ${only[*]} " == *" $name "* ]]; then return; fi
    if [ ! -e "$results/$name.secs" ]; then
        echo "== $name: $bar"
        local from=$SECONDS
        if ! "$@" >"$out" 2>&1; then
            tail -n 30 "$out"
            echo "== $name FAILED; all of it: $out"
            failed=1
            table+="| $name | $bar | **failed** | |"$'\n'
            return
        fi
        echo $((SECONDS - from)) >"$results/$name.secs"
    fi
    table+="| $name | $bar | $(gist "$out") | $(cat "$results/$name.secs") s |"$'\n'
}
legs

if [ ${#only[@]} -eq 0 ]; then
    cat >docs/evidence.md <<EOF
# Evidence

Made by \`make evidence\` at commit $commit on $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1).
Each line is a leg of it: what must hold, what came out, how long it took. B1-B18 are the bars of our
reliability plan, S, H and N its tables of faults in sensors, host and network. \`tests/evidence.sh NAME\` repeats one;
\`AUSCULT_TIER=ci make test\` is the smaller size that CI runs every time.

| leg | what must hold | what came out | time |
|---|---|---|---|
$table
EOF
fi
exit $failed
