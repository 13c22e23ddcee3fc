#!/usr/bin/env bash
# This commit, built in two folders, gives the same bytes: the program and its package.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
# What CI looks for, paths and dates in the bytes, is there without optimisation too.
[ "${AUSCULT_TIER:-}" != ci ] || export CARGO_PROFILE_RELEASE_OPT_LEVEL=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in one another/and/deeper; do
    mkdir -p "$work/$folder"
    git archive "$commit" | tar -x -C "$work/$folder"
    make -C "$work/$folder" deb TOOLS="$root/target/tools" >&2
    cp "$work/$folder/target/package/build/release/auscult" "$work/$folder/target/package/"
    (cd "$work/$folder/target/package" && sha256sum auscult auscult.deb) | tee "$work/$(basename "$folder").sums"
    rm -rf "$work/$folder/target/package/build"
done
cmp "$work/one.sums" "$work/deeper.sums"
echo "the same bytes in two folders"
