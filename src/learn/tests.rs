//! The verbs on a small model, end to end: what they promise holds of what they give.

use super::*;
use crate::nn::{Kind, Layer, Model, Weights};

fn corpus(seed: u64) -> Corpus {
    let scale = Scale { machines: 10, trials: 4, windows: 4 };
    Corpus::generated(Kind::Vibration, seed, scale, &mut |_, _| ())
}

/// What is tested is not how good so small a model is.
const WIDE: Gate = Gate { auc_loss_max: 1.0, mse_ratio_max: 1e3, rank_min: -1.0 };

fn foundry(corpus: &Corpus) -> Foundry<'_> {
    let recipe = Recipe { epochs: 8, batch: 32, ..Recipe::default() };
    Foundry { corpus, recipe, gate: WIDE }
}

fn small(foundry: &Foundry<'_>) -> Model {
    train(foundry, &[48, 8, 48].map(Stage::Dense), &mut |_| ()).expect("a small network").0
}

fn widths(model: &Model) -> Vec<usize> {
    model.graph().layers.iter().filter_map(Layer::linear).map(|linear| linear.n_out).collect()
}

#[test]
fn the_shipped_way_gives_the_same_bytes_again() {
    let make = || {
        let corpus = corpus(3);
        let foundry = foundry(&corpus);
        let float = small(&foundry);
        let pruned = prune(&foundry, &float, Part::Units, 0.5, &mut |_| ()).expect("a wide gate");
        let to = Target::All(Precision::Int8);
        let small = quantize(&foundry, &pruned.model, to, true, &mut |_| ()).expect("a wide gate");
        (float, pruned.model, small.model)
    };
    let (float, pruned, small) = make();
    assert_eq!(widths(&float), [48, 8, 48, 128]);
    assert_eq!(widths(&pruned), [32, 8, 32, 128]);
    assert!(small.bytes() < pruned.bytes() / 2);
    assert_eq!(small.card().training.steps.len(), 3);
    assert_eq!(small.card().parent.as_deref().map(str::len), Some(64));
    let bytes = small.save();
    assert_eq!(bytes, make().2.save());
    assert_eq!(Model::load(&bytes).expect("as written").digest(), small.digest());
}

#[test]
fn the_shipped_models_load_and_hear_generated_machines() {
    for (kind, file) in [
        (Kind::Vibration, &include_bytes!("../../models/vibration.safetensors")[..]),
        (Kind::Sound, &include_bytes!("../../models/sound.safetensors")[..]),
    ] {
        assert!(file.len() <= 64 << 10, "{kind:?} has {} bytes", file.len());
        let model = Model::load(file).expect("a shipped model");
        assert_eq!(model.card().kind, kind);
        assert_eq!(model.card().preprocessing, preprocessing(kind));
        // Other seeds than it was trained on.
        let scale = Scale { machines: 4, trials: 0, windows: 2 };
        let heard = marks(&model, &Corpus::generated(kind, 77, scale, &mut |_, _| ()));
        assert!(heard.mse < 0.5, "{kind:?} reproduces no better than {}", heard.mse);
    }
}

#[test]
fn blocks_left_out_stay_out_when_quantised() {
    let corpus = corpus(4);
    let foundry = foundry(&corpus);
    let float = small(&foundry);
    let pruned = prune(&foundry, &float, Part::Blocks, 0.6, &mut |_| ()).expect("a wide gate");
    let to = Target::All(Precision::Int8);
    let small = quantize(&foundry, &pruned.model, to, true, &mut |_| ()).expect("a wide gate");
    for linear in small.model.graph().layers.iter().filter_map(Layer::linear) {
        let Weights::Int8 { codes, .. } = &linear.weights else { panic!("all are INT8") };
        let zeros = codes.iter().filter(|code| **code == 0).count();
        assert!(zeros * 2 > codes.len(), "{zeros} of {} are left out", codes.len());
    }
    let dense = quantize(&foundry, &float, to, false, &mut |_| ()).expect("a wide gate");
    assert!(small.model.bytes() < dense.model.bytes() - 4000);
}

#[test]
fn a_codebook_of_sixteen_takes_half_a_byte_per_weight() {
    let corpus = corpus(5);
    let foundry = foundry(&corpus);
    let float = small(&foundry);
    let shared = share(&foundry, &float, 16, &mut |_| ()).expect("a wide gate").model;
    for linear in shared.graph().layers.iter().filter_map(Layer::linear) {
        let Weights::Int8 { codes, .. } = &linear.weights else { panic!("all are INT8") };
        let mut values = codes.clone();
        values.sort_unstable();
        values.dedup();
        assert!(values.len() <= 16, "{} values", values.len());
    }
    let to = Target::All(Precision::Int8);
    let int8 = quantize(&foundry, &float, to, false, &mut |_| ()).expect("a wide gate").model;
    assert!(shared.bytes() + 5000 < int8.bytes(), "{} of {}", shared.bytes(), int8.bytes());
}

#[test]
fn a_layer_goes_and_a_pupil_is_taught() {
    let corpus = corpus(6);
    let foundry = foundry(&corpus);
    let stages = [32, 32, 8, 32].map(Stage::Dense);
    let deep = train(&foundry, &stages, &mut |_| ()).expect("a small network").0;
    let fewer = prune_layers(&foundry, &deep, 1, &mut |_| ()).expect("a wide gate").model;
    assert_eq!(widths(&fewer), [32, 8, 32, 128]);
    let none = prune_layers(&foundry, &fewer, 1, &mut |_| ());
    assert!(matches!(none, Err(Error::Ask { key: "layers", .. })));
    let stages = [16, 8, 16].map(Stage::Dense);
    let pupil = distill(&foundry, &deep, &stages, &mut |_| ()).expect("a wide gate").model;
    assert_eq!(widths(&pupil), [16, 8, 16, 128]);
    let thin = factorize(&foundry, &deep, 0.9, &mut |_| ()).expect("a wide gate").model;
    assert!(thin.graph().n_params() < deep.graph().n_params());
}

#[test]
fn every_verb_works_on_convolutions() {
    let corpus = Corpus::generated(
        Kind::Sound,
        8,
        Scale { machines: 6, trials: 2, windows: 1 },
        &mut |_, _| (),
    );
    let foundry =
        Foundry { recipe: Recipe { epochs: 4, ..foundry(&corpus).recipe }, ..foundry(&corpus) };
    let stages =
        ["conv32x3", "depth3", "conv32x1", "conv16x3/2", "24"].map(|s| s.parse().expect(s));
    let float = train(&foundry, &stages, &mut |_| ()).expect("a small network").0;
    assert_eq!(widths(&float), [32, 32, 32, 16, 24, 640]);
    let quiet = &mut |_: &Progress| ();
    let pruned = prune(&foundry, &float, Part::Units, 0.5, quiet).expect("a wide gate").model;
    // Channels go, through the depthwise layer too; the code stays.
    assert_eq!(widths(&pruned), [16, 16, 16, 8, 24, 640]);
    assert!(pruned.macs() < float.macs() * 6 / 10);
    let all = [
        prune(&foundry, &float, Part::Blocks, 0.6, quiet),
        prune_layers(&foundry, &float, 1, quiet),
        quantize(&foundry, &float, Target::All(Precision::Int8), false, quiet),
        quantize(&foundry, &pruned, Target::All(Precision::Int8), true, quiet),
        quantize(&foundry, &float, Target::All(Precision::Int4), false, quiet),
        quantize(&foundry, &float, Target::All(Precision::F16), false, quiet),
        quantize(&foundry, &float, Target::Mixed, false, quiet),
        share(&foundry, &float, 16, quiet),
        distill(&foundry, &float, &stages[3..], quiet),
    ];
    for outcome in all {
        let made = outcome.expect("a wide gate").model;
        let again = Model::load(&made.save()).expect("as written");
        assert_eq!(again.digest(), made.digest());
    }
    let int8 = quantize(&foundry, &float, Target::All(Precision::Int8), false, quiet);
    let int8 = int8.expect("a wide gate").model;
    let neutral = Adapter::neutral(&int8, 4, 1).expect("a small rank");
    let (adapter, _) = adapt(&foundry, &int8, &neutral, quiet).expect("it fits");
    let adapted = adapter.over(&int8).expect("its own base");
    let (before, after) = (marks(&int8, &corpus), marks(&adapted, &corpus));
    assert!(after.mse <= before.mse, "{} after {}", after.mse, before.mse);
    assert_eq!(Adapter::load(&adapter.save()).expect("as written"), adapter);
}

#[test]
fn a_narrow_gate_refuses() {
    let corpus = corpus(7);
    let mut foundry = foundry(&corpus);
    let float = small(&foundry);
    foundry.gate = Gate { rank_min: 1.1, ..WIDE };
    let refused = prune(&foundry, &float, Part::Units, 0.5, &mut |_| ());
    assert!(matches!(refused, Err(Error::Gate { .. })));
    let senseless = prune(&foundry, &float, Part::Units, 1.0, &mut |_| ());
    assert!(matches!(senseless, Err(Error::Ask { key: "ratio", .. })));
}
