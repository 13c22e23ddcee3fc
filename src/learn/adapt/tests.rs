//! An adapter that changes nothing, one that helps, and files that are damaged.

use super::*;
use crate::learn::{Corpus, Gate, Precision, Scale, Stage, Target, marks, quantize, train};
use crate::nn::Kind;

fn recipe(seed: u64) -> Recipe {
    Recipe { epochs: 8, batch: 16, seed, ..Recipe::default() }
}

fn corpus(seed: u64, machines: usize) -> Corpus {
    let scale = Scale { machines, trials: 0, windows: 6 };
    Corpus::generated(Kind::Vibration, seed, scale, &mut |_, _| ())
}

/// A wide gate: what is tested is not how good so small a model is.
const GATE: Gate = Gate { auc_loss_max: 1.0, mse_ratio_max: 100.0, rank_min: -1.0 };

#[test]
fn an_adapter_over_an_int8_model() {
    let many = corpus(1, 12);
    let foundry = Foundry { corpus: &many, recipe: recipe(1), gate: GATE };
    let (float, _) =
        train(&foundry, &[16, 8, 16].map(Stage::Dense), &mut |_| ()).expect("a small network");
    let to = Target::All(Precision::Int8);
    let base = quantize(&foundry, &float, to, false, &mut |_| ()).expect("a wide gate").model;

    let neutral = Adapter::neutral(&base, 4, 5).expect("dense layers");
    let same = neutral.over(&base).expect("its own base");
    let mut one = corpus(2, 1);
    one.valid = one.train.clone();
    assert_eq!(marks(&same, &one).scores, marks(&base, &one).scores);

    let foundry = Foundry { corpus: &one, recipe: Recipe { epochs: 120, ..recipe(2) }, gate: GATE };
    let (adapter, _) = adapt(&foundry, &base, &neutral, &mut |_| ()).expect("it fits");
    let adapted = adapter.over(&base).expect("its own base");
    let (before, after) = (marks(&base, &one).mse, marks(&adapted, &one).mse);
    assert!(after < 0.9 * before, "{after} after {before}");

    let other = adapter.over(&float);
    assert!(matches!(other, Err(Error::Ask { key: "adapter", .. })));

    let file = adapter.save();
    assert_eq!(Adapter::load(&file).expect("as written"), adapter);
    let last = file.len() - 1;
    let mut bad = file.clone();
    bad[last] ^= 1;
    assert!(Adapter::load(&bad).is_err());
    assert!(Adapter::load(&file[..last]).is_err());
}
