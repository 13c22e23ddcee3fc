//! Closed forms, liars, and fifty machines that learn together.

use super::*;

fn average(rule: Average, members: &[(&[f32], f64)]) -> Result<Averaged, Error> {
    let updates: Vec<Update<'_>> =
        members.iter().map(|(change, weight)| Update { change, weight: *weight }).collect();
    rule.of(&updates, members[0].0.len())
}

#[test]
fn members_count_by_their_weight() {
    let plain = Average { clip: 1e9, trim: 0.0, weight_max: 1e9 };
    // One goes at each end; of the rest (1 with 100, 2 with 300) the mean is 1.75.
    let members: [(&[f32], f64); 4] =
        [(&[1.0], 100.0), (&[2.0], 300.0), (&[-9.0], 5.0), (&[9.0], 5.0)];
    assert_eq!(average(plain, &members).map(|it| it.change), Ok(vec![1.75]));
    let capped = Average { weight_max: 1.0, ..plain };
    // Median weight 52.5: both count alike.
    assert_eq!(average(capped, &members).map(|it| it.change), Ok(vec![1.5]));
}

#[test]
fn what_is_no_update_is_refused() {
    let good: &[f32] = &[1.0, 1.0];
    let members: [(&[f32], f64); 6] = [
        (good, 1.0),
        (&[f32::NAN, 1.0], 1.0),
        (good, 1.0),
        (&[1.0], 1.0),
        (good, 0.0),
        (good, 1.0),
    ];
    let averaged = average(Average::default(), &members).expect("three are sound");
    assert_eq!((averaged.change, averaged.refused), (vec![1.0, 1.0], vec![1, 3, 4]));
    let few = average(Average::default(), &members[..3]);
    assert_eq!(few, Err(Error::TooFew { found: 2 }));
}

#[test]
fn a_shout_is_shortened() {
    let members: [(&[f32], f64); 4] =
        [(&[3.0, 4.0], 1.0), (&[3.0, 4.0], 1.0), (&[3.0, 4.0], 1.0), (&[3e6, 4e6], 1.0)];
    let averaged = average(Average::default(), &members).expect("four are sound");
    assert_eq!((averaged.change, averaged.clipped), (vec![3.0, 4.0], vec![3]));
}

/// Numbers of a splitmix stream, about standard normal (Irwin and Hall).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        let mut sum = -6.0;
        for _ in 0..12 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            sum += ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0;
        }
        sum
    }
}

const N_IN: usize = 12;
const RANK: usize = 4;

/// One machine: `y = up (down x) + noise`, `down` the same everywhere, `up` nearly so.
struct Machine {
    up: Vec<f32>,
    noise: Noise,
}

impl Machine {
    fn sample(&mut self, down: &[Vec<f32>]) -> (Vec<f32>, Vec<f32>) {
        let x: Vec<f32> = (0..N_IN).map(|_| self.noise.next()).collect();
        let hidden: Vec<f32> =
            down.iter().map(|row| row.iter().zip(&x).map(|(d, x)| d * x).sum()).collect();
        let y = Self::apply(&self.up, &hidden);
        let y = y.iter().map(|y| y + self.noise.next()).collect();
        (hidden, y)
    }

    fn apply(up: &[f32], hidden: &[f32]) -> Vec<f32> {
        up.chunks(RANK).map(|row| row.iter().zip(hidden).map(|(u, h)| u * h).sum()).collect()
    }

    /// Least squares by gradient over few samples, beginning at `from`.
    fn learn(&mut self, down: &[Vec<f32>], from: &[f32], n: usize) -> Vec<f32> {
        let samples: Vec<_> = (0..n).map(|_| self.sample(down)).collect();
        let mut up = from.to_vec();
        for _ in 0..60 {
            let mut slope = vec![0.0; up.len()];
            for (hidden, y) in &samples {
                for (o, got) in Self::apply(&up, hidden).iter().enumerate() {
                    for (r, h) in hidden.iter().enumerate() {
                        slope[o * RANK + r] += (got - y[o]) * h / n as f32;
                    }
                }
            }
            up.iter_mut().zip(&slope).for_each(|(u, s)| *u -= 0.1 * s);
        }
        up
    }

    fn error(&self, up: &[f32]) -> f64 {
        self.up.iter().zip(up).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }
}

/// Error of learning alone, and of the average, with `n_liars` of fifty who send the opposite, tenfold.
fn fleet(rule: Average, n_liars: usize) -> (f64, f64) {
    let mut noise = Noise(7);
    let down: Vec<Vec<f32>> =
        (0..RANK).map(|_| (0..N_IN).map(|_| 0.3 * noise.next()).collect()).collect();
    let common: Vec<f32> = (0..N_IN * RANK).map(|_| noise.next()).collect();
    let mut machines: Vec<Machine> = (0..50_u64)
        .map(|i| {
            let up = common.iter().map(|u| u + 0.1 * noise.next()).collect();
            Machine { up, noise: Noise(100 + i) }
        })
        .collect();
    let start = vec![0.0; N_IN * RANK];
    let mut learned: Vec<Vec<f32>> =
        machines.iter_mut().map(|machine| machine.learn(&down, &start, 12)).collect();
    let mean = |errors: Vec<f64>| errors.iter().sum::<f64>() / errors.len() as f64;
    let honest = n_liars..machines.len();
    let alone = mean(honest.clone().map(|i| machines[i].error(&learned[i])).collect());
    learned[..n_liars].iter_mut().flatten().for_each(|u| *u *= -10.0);
    let updates: Vec<Update<'_>> =
        learned.iter().map(|change| Update { change, weight: 12.0 }).collect();
    let averaged = rule.of(&updates, start.len()).expect("all are sound").change;
    (alone, mean(honest.map(|i| machines[i].error(&averaged)).collect()))
}

#[test]
fn fifty_machines_learn_more_together_than_alone() {
    let (alone, together) = fleet(Average::default(), 0);
    assert!(together < alone / 3.0, "together {together:.3}, alone {alone:.3}");
}

#[test]
fn one_in_ten_may_lie() {
    let (_, honest) = fleet(Average::default(), 0);
    let (alone, robust) = fleet(Average::default(), 5);
    let plain = Average { clip: 1e9, trim: 0.0, weight_max: 1e9 };
    let (_, poisoned) = fleet(plain, 5);
    assert!(robust < alone / 2.0 && robust < 3.0 * honest, "{robust:.3} {honest:.3} {alone:.3}");
    assert!(poisoned > 3.0 * robust, "the lie must show: {poisoned:.3}");
}
