//! Every kernel against the plain one, and the plain one against sums written out.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::nn::Requant;
use crate::nn::dice::Dice;

/// Calls `run` with every kernel; all must give what the last, the plain one, gives.
fn all_equal<T: PartialEq + std::fmt::Debug>(run: impl Fn(&dyn Kernel) -> T) -> T {
    let (plain, others) = available().split_last().unwrap();
    let want = run(*plain);
    for kernel in others {
        assert_eq!(run(*kernel), want, "{}", kernel.name());
    }
    want
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #[test]
    fn dense8(n_in in 1_usize..90, n_out in 1_usize..200, n_rows in 0_usize..16, gap in 0_usize..5, zero in -128..=127, size in 1_i32..=127, empty in 0_u32..100, shifted: (bool, bool), seed: u64) {
        let mut dice = Dice(seed);
        let mut codes = dice.codes(n_out * n_in, size);
        // A few large ones among smaller ones, as training leaves them.
        for _ in 0..codes.len().div_ceil(1000) {
            let at = dice.next() as usize % codes.len();
            codes[at..].iter_mut().take(2).for_each(|code| *code = 127);
        }
        if empty > 40 {
            // Whole blocks of 8 by 4, as pruning leaves them.
            for block in 0..n_out.div_ceil(8) * n_in.div_ceil(4) {
                if dice.next() % 100 < empty {
                    let (o, i) = (block / n_in.div_ceil(4) * 8, block % n_in.div_ceil(4) * 4);
                    for at in (o..(o + 8).min(n_out)).flat_map(|o| (i..(i + 4).min(n_in)).map(move |i| o * n_in + i)) {
                        codes[at] = 0;
                    }
                }
            }
        }
        let bias: Vec<i32> = (0..n_out).map(|_| dice.next() as i32 % 100_000).collect();
        let mut w = Dense8::new(&codes, n_in, &bias, zero);
        w.shifted = w.takes_shifted() && shifted.0;
        let stride = n_in + gap;
        let values = dice.activations(stride * n_rows + 64);
        let lanes = n_out.next_multiple_of(LANES);
        let rows = Rows { values: &values, stride, n_rows };
        let got = all_equal(|kernel| {
            let mut acc = vec![7; lanes * n_rows];
            kernel.dense8(&w, rows, &mut acc);
            // Beyond the outputs there may be anything.
            acc.chunks_exact_mut(lanes).for_each(|acc| acc[n_out..].fill(0));
            acc
        });
        let factors = (0..n_out).map(|_| Requant::new(f64::from(dice.next() % 1000) * 1e-5));
        let mut table = Table::new(factors, Quant { scale: 1.0, zero: 5 }, seed.is_multiple_of(2));
        table.shifted = w.takes_shifted() && shifted.1;
        let codes_at_once = all_equal(|kernel| {
            let (mut acc, mut out) = (vec![7; lanes * n_rows], vec![7; n_out * n_rows]);
            kernel.dense8_codes(&w, &table, rows, &mut acc, &mut out);
            out
        });
        let mut codes_apart = vec![7; n_out * n_rows];
        reference::requantise(&table, &got, &mut codes_apart);
        prop_assert_eq!(codes_at_once, codes_apart);
        let flip = if w.shifted { -128 } else { 0 };
        for (row, got) in got.chunks_exact(lanes).enumerate() {
            for o in 0..n_out {
                let x = &values[row * stride..][..n_in];
                let terms = x.iter().zip(&codes[o * n_in..][..n_in]);
                let want = bias[o] + terms.map(|(x, w)| (i32::from(*x ^ flip) - zero) * i32::from(*w)).sum::<i32>();
                prop_assert_eq!(got[o], want, "row {} output {}", row, o);
            }
        }
    }

    #[test]
    fn dense4(n_in in 1_usize..100, n_out in 1_usize..70, n_rows in 0_usize..5, gap in 0_usize..5, zero in -128..=127, seed: u64) {
        let mut dice = Dice(seed);
        let codes = dice.codes(n_out * n_in, 7);
        let n_groups = n_in.div_ceil(32);
        let scales: Vec<f16> = dice.halves(n_out * n_groups, 10.0);
        let bias = dice.reals(n_out);
        let from = Quant { scale: 0.5, zero };
        let w = Dense4::new(&codes, &scales, n_in, &bias, from);
        let stride = n_in + gap;
        let values = dice.activations(stride * n_rows + 64);
        let rows = Rows { values: &values, stride, n_rows };
        let got = all_equal(|kernel| {
            let mut out = vec![7.0; n_out * n_rows];
            kernel.dense4(&w, rows, &mut out);
            bits(&out)
        });
        for (at, got) in got.iter().enumerate() {
            let (row, o) = (at / n_out, at % n_out);
            let terms = (0..n_in).map(|i| {
                let x = f64::from(from.decode(values[row * stride + i]));
                x * f64::from(codes[o * n_in + i]) * f64::from(scales[o * n_groups + i / 32])
            });
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size): (f64, f64), x| (sum + x, size + x.abs()));
            let want = sum + f64::from(bias[o]);
            let got = f64::from(f32::from_bits(*got));
            prop_assert!((got - want).abs() <= 1e-6 * (size + want.abs() + 1.0), "{} for {}", got, want);
        }
    }

    #[test]
    fn dense_f(n_in in 1_usize..50, n_out in 1_usize..50, n_rows in 0_usize..4, seed: u64) {
        let mut dice = Dice(seed);
        let (values, bias) = (dice.reals(n_out * n_in), dice.reals(n_out));
        let w = DenseF::new(&values, n_in, &bias);
        let x = dice.reals(n_in * n_rows + 16);
        let got = all_equal(|kernel| {
            let mut out = vec![7.0; n_out * n_rows];
            kernel.dense_f(&w, Rows { values: &x, stride: n_in, n_rows }, &mut out);
            bits(&out)
        });
        for (at, got) in got.iter().enumerate() {
            let (row, o) = (at / n_out, at % n_out);
            let want: f64 = f64::from(bias[o])
                + (0..n_in).map(|i| f64::from(x[row * n_in + i]) * f64::from(values[o * n_in + i])).sum::<f64>();
            prop_assert!((f64::from(f32::from_bits(*got)) - want).abs() < 1e-2);
        }
    }

    #[test]
    fn depthwise(n_channels in 1_usize..70, n_taps in 1_usize..6, zero in -128..=127, seed: u64) {
        let mut dice = Dice(seed);
        let codes = dice.codes(n_channels * n_taps, 127);
        let bias: Vec<i32> = (0..n_channels).map(|_| dice.next() as i32 % 1000).collect();
        let w = Depth8::new(&codes, n_taps, &bias, zero);
        let x = dice.activations(n_channels * n_taps);
        let got = all_equal(|kernel| {
            let mut acc = vec![7; n_channels];
            kernel.depth8(&w, &x, &mut acc);
            acc
        });
        for c in 0..n_channels {
            let terms = (0..n_taps).map(|t| (i32::from(x[t * n_channels + c]) - zero) * i32::from(codes[c * n_taps + t]));
            prop_assert_eq!(got[c], bias[c] + terms.sum::<i32>());
        }
        let (values, bias) = (dice.reals(n_channels * n_taps), dice.reals(n_channels));
        let (w, x) = (DepthF::new(&values, n_taps, &bias), dice.reals(n_channels * n_taps));
        all_equal(|kernel| {
            let mut out = vec![7.0; n_channels];
            kernel.depth_f(&w, &x, &mut out);
            bits(&out)
        });
    }

    #[test]
    fn requantise(n_out in 1_usize..70, n_rows in 0_usize..4, zero in -128..=127, relu: bool, one: bool, seed: u64) {
        let mut dice = Dice(seed);
        let factors: Vec<Requant> = (0..n_out)
            .map(|_| Requant::new(f64::from(dice.next() % 100_000) * 10_f64.powi(-(dice.next() as i32 % 12) - 4)))
            .collect();
        let factors = if one { vec![factors[0]; n_out] } else { factors };
        let out = Quant { scale: 1.0, zero };
        let mut table = Table::new(factors.iter().copied(), out, relu);
        table.shifted = cfg!(target_arch = "x86_64") && seed.is_multiple_of(2);
        let lanes = n_out.next_multiple_of(LANES);
        let mut acc = || {
            let size = (dice.next() as i32) >> (dice.next() % 24) >> 2;
            if dice.next().is_multiple_of(2) { size } else { -size }
        };
        let acc: Vec<i32> = (0..lanes * n_rows).map(|_| acc()).collect();
        let got = all_equal(|kernel| {
            let mut codes = vec![7; n_out * n_rows];
            kernel.requantise(&table, &acc, &mut codes);
            codes
        });
        for (at, got) in got.iter().enumerate() {
            let (row, o) = (at / n_out, at % n_out);
            let want = (factors[o].apply(acc[row * lanes + o]) + zero).clamp(-128, 127);
            let want = if relu { want.max(zero) } else { want };
            prop_assert_eq!(i32::from(*got ^ table.flip()), want);
        }
        let scales: Vec<f32> = dice.reals(n_out).iter().map(|scale| scale.abs()).collect();
        let got = all_equal(|kernel| {
            let mut real = vec![7.0; n_out * n_rows];
            kernel.widen(&scales, relu, &acc, &mut real);
            bits(&real)
        });
        for (at, got) in got.iter().enumerate() {
            let (row, o) = (at / n_out, at % n_out);
            let want = acc[row * lanes + o] as f32 * scales[o];
            prop_assert_eq!(f32::from_bits(*got), if relu { want.max(0.0) } else { want });
        }
    }

    #[test]
    fn value_by_value(n in 1_usize..100, zeros in (-128..=127, -128..=127, -128..=127), scale in 1e-3_f32..10.0, ratio in 1e-3_f32..1e3, relu: bool, seed: u64) {
        let mut dice = Dice(seed);
        let quant = |scale, zero| Quant { scale, zero };
        let (a, b, y) = (quant(scale, zeros.0), quant(scale * ratio, zeros.1), quant(scale * ratio.max(1.0) * 1.5, zeros.2));
        let sum = Sum8::new(a, b, y, relu);
        let (xa, xb) = (dice.activations(n), dice.activations(n));
        let got = all_equal(|kernel| {
            let mut out = vec![7; n];
            kernel.add8(&sum, &xa, &xb, &mut out);
            out
        });
        for i in 0..n {
            let want = (a.decode(xa[i]) + b.decode(xb[i])) / y.scale;
            let want = if relu { want.max(0.0) } else { want };
            let want = (want + y.zero as f32).clamp(-128.0, 127.0);
            prop_assert!((f32::from(got[i]) - want).abs() <= 0.51, "{} for {}", got[i], want);
        }
        let mut real = dice.reals(n);
        real[0] = f32::NAN;
        all_equal(|kernel| {
            let (mut codes, mut back) = (vec![7; n], vec![7.0; n]);
            kernel.encode(a, &real, &mut codes);
            kernel.decode(a, &codes, &mut back);
            (codes, bits(&back))
        });
        let (mean, spread) = (dice.reals(n), vec![3.0; n]);
        let other = dice.reals(n);
        all_equal(|kernel| {
            let (mut out, mut residual) = (vec![7.0; n], vec![7.0; n]);
            kernel.normalise(-5.0, &mean, &spread, &real, &mut out);
            let score = kernel.residual(&out, &other, &mut residual);
            (bits(&out), bits(&residual), score.to_bits())
        });
    }
}

#[test]
fn a_row_too_long_to_be_shifted_at_once() {
    let (n_in, n_out) = (4 * 1024 + 6, 24);
    for empty in [0, 90] {
        let mut dice = Dice(empty);
        let mut codes = dice.codes(n_out * n_in, 20);
        for row in codes.chunks_mut(n_in) {
            row[..n_in * empty as usize / 100].fill(0);
        }
        let w = Dense8::new(&codes, n_in, &vec![0; n_out], 3);
        assert_eq!(w.sparse.is_some(), empty > 0);
        let values = dice.activations(n_in + 64);
        all_equal(|kernel| {
            let mut acc = vec![7; n_out.next_multiple_of(LANES)];
            kernel.dense8(&w, Rows { values: &values, stride: n_in, n_rows: 1 }, &mut acc);
            acc.truncate(n_out);
            acc
        });
    }
}

#[test]
fn seven_bits_are_summed_in_sixteen() {
    let (n_in, bias) = (64, vec![0; 24]);
    let largest = |size: i8| Dense8::new(&vec![size; n_in * bias.len()], n_in, &bias, 0).tame;
    let seven = largest(64).expect("two of 64 are 128");
    assert!(seven.together == 1 && seven.steps.is_empty());
    let six = largest(-32).expect("four of 32 are 128");
    assert!(six.together == 2 && six.steps.is_empty());
    assert!(largest(65).is_none());
}

#[test]
fn the_plain_kernel_is_always_there() {
    let names: Vec<_> = available().iter().map(|kernel| kernel.name()).collect();
    println!("kernels: {names:?}");
    assert_eq!(names.last(), Some(&"reference"));
}
