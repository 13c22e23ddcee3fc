//! What each view of a channel costs: microseconds of one core per second of signal.

use anyhow::anyhow;

use super::bench::{Spread, timed};
use crate::acquire::Sense;
use crate::config::{Asset, Sensor};
use crate::extract::View;
use crate::nn::Model;
use crate::types::{Clock, Frame};

/// Repetitions of each view.
const REPS: usize = 25;
/// Windows whose mean is one figure: as many as a record has.
const WINDOWS: usize = 4;

/// One view and its price.
#[derive(serde::Serialize)]
pub(super) struct Cost {
    pub(super) view: &'static str,
    pub(super) us_per_s: Spread,
}

/// Costs of one channel up to its finding; `learning` and then `frames` follow each other.
pub(super) fn costs(
    (asset, sensor): (&Asset, &Sensor),
    model: Option<&Model>,
    learning: &[Frame],
    frames: &[Frame],
    clock: &dyn Clock,
) -> anyhow::Result<Vec<Cost>> {
    let mut costs = vec![health(frames, clock)];
    let first = &frames[0];
    let mut views = sensor.views(first).map_err(|why| anyhow!(why))?;
    let x: Vec<f32> = frames.iter().flat_map(|frame| frame.channel(0)).collect();
    let mut fine = 0.0;
    for view in View::ALL {
        let secs = views.samples(view) as f64 / first.rate_hz;
        let mut spent: Vec<f64> = (0..REPS)
            .map(|_| timed(clock, || views.measure(view, &x)).as_secs() * 1e6 / secs)
            .collect();
        if view == View::Envelopes {
            for us in &mut spent {
                *us = (*us - fine).max(0.0);
            }
        }
        let us_per_s = Spread::of(&mut spent);
        fine = us_per_s.median;
        costs.push(Cost { view: view.name(), us_per_s });
    }
    costs.extend(judging((asset, sensor), model, learning, frames, clock)?);
    Ok(costs)
}

/// Whether the sensor is alive and sound.
fn health(frames: &[Frame], clock: &dyn Clock) -> Cost {
    let mut frames = frames.to_vec();
    let secs = seconds(&frames);
    let mut spent: Vec<f64> = (0..REPS)
        .map(|_| {
            let mut sense = Sense::new(frames[0].rate_hz, frames[0].n_channels);
            let check = || frames.iter_mut().for_each(|frame| sense.check(frame));
            timed(clock, check).as_secs() * 1e6 / secs
        })
        .collect();
    Cost { view: "health of the sensor", us_per_s: Spread::of(&mut spent) }
}

/// The comparison with the learned normal, the model for one of its views; and the naming of faults.
fn judging(
    (asset, sensor): (&Asset, &Sensor),
    model: Option<&Model>,
    learning: &[Frame],
    frames: &[Frame],
    clock: &dyn Clock,
) -> anyhow::Result<[Cost; 2]> {
    let mut extractor = sensor.extractor(&frames[0]).map_err(|why| anyhow!(why))?;
    let mut detector = sensor.detect.build(frames[0].origin.clone(), model.cloned())?;
    let mut assessor = asset.assess.build(&[(&sensor.id, sensor.axes.clone())])?;
    let mut spent = [Vec::new(), Vec::new()];
    for (frame, is_timed) in chained(learning, frames) {
        if is_timed && detector.baseline().is_none() {
            detector.finish_learning();
        }
        extractor.push(frame);
        while let Some(features) = extractor.step() {
            let per_s = 1e6 / features.span.as_secs();
            let begin = clock.monotonic();
            let score = detector.step(features);
            let middle = clock.monotonic();
            assessor.step(features, score);
            let end = clock.monotonic();
            if is_timed {
                spent[0].push((middle - begin).as_secs() * per_s);
                spent[1].push((end - middle).as_secs() * per_s);
            }
        }
    }
    let mut names = ["detection", "naming of faults"].into_iter();
    Ok(spent.map(|windows| {
        // Not every window brings a record.
        let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
        let mut means: Vec<f64> = windows.chunks_exact(WINDOWS).map(mean).collect();
        Cost { view: names.next().unwrap_or_default(), us_per_s: Spread::of(&mut means) }
    }))
}

fn chained<'a>(
    learning: &'a [Frame],
    frames: &'a [Frame],
) -> impl Iterator<Item = (&'a Frame, bool)> {
    learning.iter().map(|frame| (frame, false)).chain(frames.iter().map(|frame| (frame, true)))
}

fn seconds(frames: &[Frame]) -> f64 {
    frames.iter().map(|frame| frame.len() as f64 / frame.rate_hz).sum()
}
