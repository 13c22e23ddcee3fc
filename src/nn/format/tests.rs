//! The file against itself, against damage and against malice.

use proptest::prelude::*;

use super::*;
use crate::nn::dice::Dice;
use crate::nn::{Kind, Model, Normalisation, Preprocessing};

/// A small model with every kind of layer and weight; `seed` makes its numbers.
pub(in crate::nn) fn every_kind(seed: u64) -> Model {
    let mut dice = Dice(seed);
    let q = |scale| Some(Quant { scale, zero: -3 });
    let slide = |kernel| Slide { kernel, stride: 1, same: true };
    let mut int8 = |n_in, n_out, relu, out| Linear {
        n_in,
        n_out,
        weights: Weights::Int8 { codes: dice.codes(n_in * n_out, 127), scales: vec![0.01; n_out] },
        bias: Bias::I32((0..n_out as i32).map(|i| 10 * i).collect()),
        relu,
        side: None,
        out,
    };
    let conv = Layer::Conv { linear: int8(18, 6, true, q(0.05)), slide: slide(3) };
    let depth = Layer::Depthwise { linear: int8(2, 6, false, q(0.04)), slide: slide(2) };
    let mut adapted = int8(18, 18, true, q(0.06));
    let narrow = int8(18, 9, false, q(0.1));
    adapted.side = Some(Side { rank: 2, down: dice.halves(36, 1.0), up: dice.halves(36, 1.0) });
    let mut plain = |n_in, n_out, weights, relu, out| Linear {
        n_in,
        n_out,
        weights,
        bias: Bias::F32(dice.reals(n_out)),
        relu,
        side: None,
        out,
    };
    let mut more = Dice(seed + 1);
    let int4 = Weights::Int4 { codes: more.codes(63, 7), scales: more.halves(7, 0.1) };
    let layers = vec![
        Layer::Residual { body: vec![conv, depth], relu: true, out: q(0.07) },
        Layer::Dense(adapted),
        Layer::Dense(narrow),
        Layer::Dense(plain(9, 7, int4, true, q(0.2))),
        Layer::Dense(plain(7, 5, Weights::F16(more.halves(35, 1.0)), false, None)),
        Layer::Dense(plain(5, 18, Weights::F32(more.reals(90)), false, None)),
    ];
    let (n_hops, n_bands) = (3, 6);
    let normalisation = Normalisation {
        floor_db: -80.0,
        mean_db: vec![-40.0; n_bands],
        scale_db: vec![10.0; n_bands],
    };
    let card = Card {
        name: "every-kind".to_owned(),
        kind: Kind::Vibration,
        preprocessing: Preprocessing { n_hops, n_bands, ..Preprocessing::default() },
        normalisation,
        ..Card::default()
    };
    let input = Shape { len: n_hops, channels: n_bands };
    Model::new(card, Graph { input, input_quant: q(0.03), layers }).unwrap()
}

/// A small model whose weights are blocks and a palette.
pub(in crate::nn) fn every_packing() -> Model {
    let mut blocks = vec![0; 32 * 16];
    for (i, code) in blocks[..16 * 8].iter_mut().enumerate().filter(|(i, _)| i % 16 < 4) {
        *code = i as i8;
    }
    let palette = (0..16 * 32).map(|i| [-3, 1, 2, 50][i % 4]).collect();
    let layer = |n_in, n_out, codes, relu, scale| {
        Layer::Dense(Linear {
            n_in,
            n_out,
            weights: Weights::Int8 { codes, scales: vec![0.01] },
            bias: Bias::I32(vec![5; n_out]),
            relu,
            side: None,
            out: Some(Quant { scale, zero: -3 }),
        })
    };
    let layers = vec![layer(16, 32, blocks, true, 0.05), layer(32, 16, palette, false, 0.1)];
    let (n_hops, n_bands) = (2, 8);
    let card = Card {
        name: "every-packing".to_owned(),
        preprocessing: Preprocessing { n_hops, n_bands, ..Preprocessing::default() },
        normalisation: Normalisation {
            floor_db: -80.0,
            mean_db: vec![-40.0; n_bands],
            scale_db: vec![10.0; n_bands],
        },
        ..Card::default()
    };
    let input_quant = Some(Quant { scale: 0.03, zero: -3 });
    let input = Shape { len: n_hops, channels: n_bands };
    Model::new(card, Graph { input, input_quant, layers }).unwrap()
}

/// Small files of graphs that break a rule, with words of it; none where it is only seldom seen.
pub(in crate::nn) fn seldom() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let q = |scale| Some(Quant { scale, zero: 0 });
    let linear = |n_in, n_out, weights, bias, out| Linear {
        n_in,
        n_out,
        weights,
        bias,
        relu: false,
        side: None,
        out,
    };
    let real = |n_in: usize, n_out: usize| {
        let weights = Weights::F32(vec![0.5; n_in * n_out]);
        linear(n_in, n_out, weights, Bias::F32(vec![0.0; n_out]), None)
    };
    let int8 = |n_in: usize, n_out: usize, scale| {
        let weights = Weights::Int8 { codes: vec![1; n_in * n_out], scales: vec![0.01] };
        linear(n_in, n_out, weights, Bias::I32(vec![0; n_out]), q(scale))
    };
    let side = |of: Linear| {
        let halves = |n| vec![f16::ONE; n];
        let side = Some(Side { rank: 1, down: halves(of.n_in), up: halves(of.n_out) });
        Linear { side, ..of }
    };
    let half = |of: Linear| {
        let weights = Weights::F16(vec![f16::ONE; of.n_in * of.n_out]);
        Linear { weights, ..of }
    };
    let conv = |linear, kernel, stride, same| {
        vec![Layer::Conv { linear, slide: Slide { kernel, stride, same } }]
    };
    let depthwise = |linear| {
        let slide = Slide { kernel: 1, stride: 1, same: true };
        Layer::Depthwise { linear, slide }
    };
    let sum = |body, out| Layer::Residual { body, relu: false, out };
    let float = vec![
        sum(conv(real(2, 2), 1, 1, true), None),
        depthwise(real(1, 2)),
        conv(real(4, 4), 2, 1, false).remove(0),
    ];
    let dense = |n_out| vec![Layer::Dense(real(4, n_out))];
    let short = Shape { len: 2, channels: 2 };
    let (flat, long) = (Shape { len: 1, channels: 4 }, Shape { len: 1 << 20, channels: 1 });
    let codes = q(0.03);
    let graphs = [
        ("float", "", short, None, float),
        ("no_body", "without a body", short, None, vec![sum(vec![], None)]),
        ("sum_in_sum", "inside a residual", short, None, vec![sum(vec![sum(vec![], None)], None)]),
        ("sum_of_shapes", "body turns", short, None, vec![sum(dense(4), None)]),
        ("half_codes", "all be codes or", short, None, {
            vec![sum(conv(real(2, 2), 1, 1, true), codes)]
        }),
        ("far_scales", "too far apart", short, codes, {
            vec![sum(conv(int8(2, 2, 1e-9), 1, 1, true), codes)]
        }),
        ("stride", "stride 9", short, None, conv(real(2, 2), 1, 9, true)),
        ("too_short", "output of 0 by 2", short, None, conv(real(18, 2), 9, 1, false)),
        ("adapted", "no side path", short, codes, vec![depthwise(side(int8(1, 2, 0.03)))]),
        ("halves", "takes f32 or int8", short, None, vec![depthwise(half(real(1, 2)))]),
        ("macs", "MACs", long, None, conv(real(512, 1), 512, 1, true)),
        ("card", "the card says", flat, None, dense(4)),
        ("output", "no autoencoder", short, None, dense(3)),
    ];
    let preprocessing = Preprocessing { n_hops: 2, n_bands: 2, ..Preprocessing::default() };
    let normalisation = Normalisation::none(2);
    let card = Card { name: "seldom".to_owned(), preprocessing, normalisation, ..Card::default() };
    let file = |(name, why, input, input_quant, layers)| {
        (name, why, write(&card, &Graph { input, input_quant, layers }))
    };
    graphs.map(file).into()
}

#[test]
fn a_graph_that_breaks_a_rule_is_refused_with_the_rule() {
    for (name, why, file) in seldom() {
        let told = load_and_run(&file).err().map(|error| error.to_string());
        let is_so = told.as_ref().map_or(why.is_empty(), |it| !why.is_empty() && it.contains(why));
        assert!(is_so, "{name}: {told:?}");
    }
}

/// Puts a right digest on changed bytes: damage done on purpose.
fn resign(file: &mut [u8]) {
    file[DIGEST_AT..DIGEST_AT + DIGEST_LEN].fill(b'0');
    let digest = blake3::hash(file).to_hex();
    file[DIGEST_AT..DIGEST_AT + DIGEST_LEN].copy_from_slice(digest.as_bytes());
}

/// Loads, and if it loads, runs: nothing may panic.
fn load_and_run(file: &[u8]) -> Result<f32, Error> {
    let model = Model::load(file)?;
    let size = model.n_hops() * model.n_bands();
    let input: Vec<f32> = (0..size).map(|i| i as f32 - 60.0).collect();
    Ok(model.runner().run(&input, &mut vec![0.0; size]))
}

#[test]
fn what_is_saved_is_loaded() {
    is_loaded(&every_kind(1));
    let packed = every_packing();
    is_loaded(&packed);
    let text = String::from_utf8_lossy(&packed.save()).into_owned();
    assert!(text.contains("int8_blocks") && text.contains("int8_palette"));
}

fn is_loaded(model: &Model) {
    let file = model.save();
    let again = Model::load(&file).unwrap();
    assert_eq!(again.card(), model.card());
    assert_eq!(again.graph(), model.graph());
    assert_eq!(again.save(), file);
    assert_eq!((again.digest(), again.bytes()), (model.digest(), file.len()));
    assert_eq!(load_and_run(&file).unwrap(), load_and_run(&model.save()).unwrap());
}

#[test]
fn any_other_byte_is_noticed() {
    let mut file = every_kind(2).save();
    for at in 0..file.len() {
        for flip in [1, 0x80, 0xff] {
            file[at] ^= flip;
            assert!(Model::load(&file).is_err(), "byte {at} xor {flip}");
            file[at] ^= flip;
        }
    }
    for len in 0..file.len() {
        assert!(Model::load(&file[..len]).is_err(), "cut to {len}");
    }
    file.push(0);
    assert!(Model::load(&file).is_err(), "a byte too many");
}

#[test]
fn hostile_bytes_with_a_right_digest_do_no_harm() {
    let file = every_kind(3).save();
    for at in 0..file.len() {
        if (8..DIGEST_AT + DIGEST_LEN).contains(&at) {
            continue;
        }
        for flip in [1, 0x10, 0x80] {
            let mut file = file.clone();
            file[at] ^= flip;
            resign(&mut file);
            if let Ok(score) = load_and_run(&file) {
                assert!(score >= 0.0, "byte {at} xor {flip} scores {score}");
            }
        }
    }
}

#[test]
fn lies_about_sizes_are_refused() {
    let file = every_kind(4).save();
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = file.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
        let mut file = file.clone();
        file[at..at + from.len()].copy_from_slice(to.as_bytes());
        resign(&mut file);
        Model::load(&file).err().map(|e| e.to_string()).expect("refused")
    };
    for (from, to) in [
        (r#"\"n_in\":18,"#, r#"\"n_in\":99,"#),
        (r#"\"rank\":2"#, r#"\"rank\":9"#),
        (r#"\"kernel\":3"#, r#"\"kernel\":0"#),
        (r#"\"stride\":1"#, r#"\"stride\":0"#),
        (r#"\"n_hops\":3"#, r#"\"n_hops\":2"#),
        (r#"\"scale\":0.0"#, r#"\"scale\":-.0"#),
    ] {
        text(from, to);
    }
    assert!(text(r#"\"version\":1"#, r#"\"version\":7"#).contains("version 7"));
}

proptest! {
    #[test]
    fn encodings_give_back_the_codes(n_in in 1_usize..20, n_out in 1_usize..20, seed: u64, colours in 1_i32..30, empty in 0_u64..100) {
        let mut state = seed | 1;
        let mut next = || { state = state.wrapping_mul(6364136223846793005).wrapping_add(1); state >> 40 };
        let codes: Vec<i8> = (0..n_in * n_out)
            .map(|_| if next() % 100 < empty { 0 } else { (next() as i32 % colours - colours / 2) as i8 })
            .collect();
        let (encoding, parts) = packing::pack8(&codes, n_in, n_out);
        let data = |what: &str| parts.iter().find(|p| p.what == what).map(|p| p.data.clone()).unwrap();
        let again = match encoding {
            Encoding::Int8 => data("weight").iter().map(|b| *b as i8).collect(),
            Encoding::Int8Blocks => packing::unpack_blocks(&data("mask"), &data("block"), n_in, n_out).unwrap(),
            Encoding::Int8Palette => packing::unpack_palette(&data("palette"), &data("index"), n_in).unwrap(),
            other => panic!("{other:?} for INT8"),
        };
        prop_assert_eq!(again, codes);
        let nibbles: Vec<i8> = (0..n_in * n_out).map(|_| (next() % 15) as i8 - 7).collect();
        prop_assert_eq!(packing::unpack4(&packing::pack4(&nibbles, n_in), n_in).unwrap(), nibbles);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Model::load(&bytes).is_err());
    }
}
