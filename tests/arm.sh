#!/bin/sh
# Tests on 64-bit ARM, emulated, the NEON kernels among them: tests/arm.sh [NAME...]. Needs root.
# A Debian of its own, below target/, brings a compiler that has the standard library of both processors.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- nn::
root=$PWD/target/arm
if [ ! -e "$root/ready" ]; then
    make -s packages PACKAGES=debootstrap
    rm -rf "$root"
    debootstrap --variant=minbase sid "$root"
    chroot "$root" sh -c 'dpkg --add-architecture arm64 &&
        apt-get -o Acquire::Check-Valid-Until=false update -qq &&
        apt-get install -y -qq --no-install-recommends rustc cargo libstd-rust-dev:arm64 gcc libc6-dev \
            gcc-aarch64-linux-gnu libc6-dev-arm64-cross libasound2-dev:arm64 pkg-config qemu-user'
    mkdir "$root/src" "$root/cargo" "$root/target"
    touch "$root/ready"
fi
cargo fetch --locked
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" ROOT="$root"
# The mounts end with the shell that has them.
exec unshare -m sh -c '
    mount --bind "$PWD" "$ROOT/src"
    mount --bind "$CARGO_HOME" "$ROOT/cargo"
    mount --bind /dev "$ROOT/dev"
    mount -t proc proc "$ROOT/proc"
    exec chroot "$ROOT" env -C /src PATH=/usr/bin:/bin HOME=/root \
        CARGO_HOME=/cargo CARGO_TARGET_DIR=/target CARGO_NET_OFFLINE=true \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -cpu max" \
        PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_PATH=/usr/lib/aarch64-linux-gnu/pkgconfig \
        cargo test --locked --target aarch64-unknown-linux-gnu --lib -- "$@"
' sh "$@"
