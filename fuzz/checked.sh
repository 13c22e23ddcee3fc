# Sourced: builds as cargo-fuzz does, for libFuzzer and with every access to memory checked. The switches
# for that are not stable yet; RUSTC_BOOTSTRAP lets the stable compiler have them.
host=$(rustc -vV | sed -n 's/host: //p')
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$PWD/target"
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1 \
-Cdebug-assertions -Coverflow-checks"
