#!/usr/bin/env bash
# The unit under a real systemd, in namespaces of its own and on copies of the machine's folders: it starts, sees
# what sensors need, comes back when killed and when halted, and stops. tests/systemd.sh [BINARY]; needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1-}" = inside ]; then
    mount -t tmpfs tmpfs /run
    for dir in etc usr var; do
        over=/run/over/$dir
        mkdir -p "$over/upper" "$over/work"
        mount -t overlay overlay -o "lowerdir=/$dir,upperdir=$over/upper,workdir=$over/work" "/$dir"
    done
    install "$2" /usr/bin/auscult
    install -D -m 644 config/auscult.toml /etc/auscult/auscult.toml
    mkdir -p /etc/auscult/credentials /run/systemd/system
    cp systemd/auscult.service /run/systemd/system
    printf '[Unit]\nDefaultDependencies=no\nWants=auscult.service\n' >/run/systemd/system/only.target
    # systemd empties it when it starts.
    mount -t tmpfs tmpfs /tmp
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec env container=lxc /lib/systemd/systemd --system --log-target=null --show-status=0 --unit=only.target
fi

fail() { echo "systemd: $*" >&2; exit 1; }
unshare --fork --kill-child --pid --mount --uts --ipc --cgroup --mount-proc "$0" inside \
    "$(realpath "${1:-target/release/auscult}")" &
outer=$!
trap 'kill -9 $outer 2>/dev/null' EXIT

enter() { nsenter -t "$(pgrep -P $outer)" -m -p -u -i -C "$@"; }
show() { enter systemctl show auscult --value -p "$1"; }
running() { [ "$(show SubState 2>/dev/null)" = running ] && main=$(show MainPID) && [ "$main" != "${1-}" ]; }
# Until it runs, as another process than $1.
wait_running() {
    local begin=$SECONDS
    until running "${1-}"; do
        [ $((SECONDS - begin)) -lt 60 ] || fail "not running after a minute"
        sleep 0.2
    done
    took=$((SECONDS - begin))
}

wait_running
echo "ready after $took s, as $(enter ps -o user= -p "$main")"
inside() { enter nsenter -t "$main" -m "$@"; }
inside test -e /proc/devices || fail "/proc/asound would be hidden"
inside test -w /sys/bus || fail "/sys is read-only"
was=$main
enter kill -9 "$was"
wait_running "$was"
echo "killed: back after $took s"
was=$main
enter kill -STOP "$was"
wait_running "$was"
echo "halted: killed by the watchdog and back after $took s"
enter systemctl stop auscult
[ "$(show Result) $(show ExecMainStatus)" = "success 0" ] || fail "the stop was none: $(show Result)"
echo "stopped in order"
