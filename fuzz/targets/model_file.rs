//! Any bytes as a model file, as they come and with the digest put right: refused, or it runs.
#![no_main]

use auscult::nn::{Canary, MACS_MAX, Model};
use libfuzzer_sys::fuzz_target;

/// Hex digits of a digest, and the text before them.
const DIGEST_LEN: usize = 64;
const BEFORE: &[u8] = br#"\"blake3\":\""#;

fuzz_target!(|bytes: &[u8]| {
    load_and_run(bytes);
    let mut file = bytes.to_vec();
    if resign(&mut file).is_some() {
        load_and_run(&file);
    }
});

fn load_and_run(file: &[u8]) {
    let Ok(model) = Model::load(file) else { return };
    let n_values = model.n_hops() * model.n_bands();
    let input: Vec<f32> = (0..n_values).map(|i| i as f32 - 60.0).collect();
    let mut residual = vec![0.0; n_values];
    model.runner().run(&input, &mut residual);
    Canary::new(&model).expect("every kernel gives the same bits");
    let saved = model.save();
    let again = Model::load(&saved).expect("what is saved is loaded");
    assert!(again.graph() == model.graph() && again.card() == model.card(), "and is the same");
    assert!(model.graph().n_params() > 0);
    assert!(again.macs() <= MACS_MAX && again.bytes() == saved.len());
    let parts = Model::new(model.card().clone(), model.graph().clone()).expect("its parts fit");
    assert_eq!((parts.digest(), parts.name()), (again.digest(), again.name()));
}

/// Puts a right digest on the bytes: damage done on purpose.
fn resign(file: &mut [u8]) -> Option<()> {
    let at = file.windows(BEFORE.len()).position(|text| text == BEFORE)? + BEFORE.len();
    file.get_mut(at..at + DIGEST_LEN)?.fill(b'0');
    let digest = blake3::hash(file).to_hex();
    file[at..at + DIGEST_LEN].copy_from_slice(digest.as_bytes());
    Some(())
}
