#!/usr/bin/env bash
# The Debian package as an administrator meets it: installed, run, upgraded, removed, purged. Needs root,
# and a machine on which auscult is not installed. `make package` calls it.
set -euo pipefail
cd "$(dirname "$0")/.."
old=$1 new=$2
say() { echo "-- $*"; }
fail() { echo "package: $*" >&2; exit 1; }
has() { [ -e "$1" ] || fail "$1 is missing"; }
lacks() { [ ! -e "$1" ] || fail "$1 is left behind"; }

! dpkg-query -W auscult >/dev/null 2>&1 || fail "auscult is installed here; this test would replace it"
state=/var/lib/auscult
trap 'dpkg --purge auscult >/dev/null 2>&1 || true' EXIT

# As the unit does it, for two seconds.
run() {
    install -d -o auscult -g auscult "$state"
    status=0
    STATE_DIRECTORY=$state timeout --signal=TERM 2 runuser -u auscult -- auscult run --config /etc/auscult/auscult.toml || status=$?
    [ "$status" = 0 ] || [ "$status" = 124 ] || fail "auscult run ended with $status"
}

say "install"
dpkg -i "$old" >/dev/null
has /usr/bin/auscult
has /usr/lib/systemd/system/auscult.service
has /usr/lib/udev/rules.d/99-auscult.rules
has /usr/lib/tmpfiles.d/auscult.conf
id -nG auscult | grep -qw audio || fail "the user auscult may not open sound cards"
auscult check --config /etc/auscult/auscult.toml
systemd-analyze verify /usr/lib/systemd/system/auscult.service 2>&1 | grep -i auscult && fail "the unit has mistakes"
run
has "$state/core.db"

say "upgrade keeps the configuration and the state"
echo "# ours" >> /etc/auscult/auscult.toml
before=$(stat -c %i "$state/core.db")
dpkg -i "$new" >/dev/null
grep -q "# ours" /etc/auscult/auscult.toml || fail "the configuration was replaced"
[ "$(stat -c %i "$state/core.db")" = "$before" ] || fail "the store was replaced"
run

say "remove keeps them too"
dpkg -r auscult >/dev/null
lacks /usr/bin/auscult
lacks /usr/lib/systemd/system/auscult.service
has "$state/core.db"
has /etc/auscult/auscult.toml

say "purge leaves nothing"
dpkg --purge auscult >/dev/null
lacks "$state"
lacks /etc/auscult
echo "the package installs, runs, upgrades, removes and purges cleanly"
