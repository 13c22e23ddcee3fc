//! The learned network's view: how far each band is from what the others make it expect.

use std::sync::Arc;

use crate::nn::{Model, Runner};
use crate::types::{Axis, Features, ModelId};

/// A model, its runner and its buffers.
pub(super) struct Residual {
    runner: Runner,
    id: ModelId,
    n_hops: usize,
    n_bands: usize,
    /// dB per unit of residual, band by band.
    scale_db: Vec<f32>,
    scratch: Vec<f32>,
    /// Level of each band above what the model expects, dB, mean over the window: `[n_axes, n_bands]`;
    /// empty where the model does not fit. A mean of signed departures scatters as the band's level
    /// does; the logarithm of their squares would scatter by ten dB and more.
    pub(super) db: Vec<f32>,
}

impl Residual {
    pub(super) fn new(model: &Model) -> Self {
        let (n_hops, n_bands) = (model.n_hops(), model.n_bands());
        Self {
            runner: model.runner(),
            id: ModelId { name: Arc::clone(model.name()), digest: model.digest() },
            n_hops,
            n_bands,
            scale_db: model.card().normalisation.scale_db.clone(),
            scratch: vec![0.0; n_hops * n_bands],
            db: Vec::new(),
        }
    }

    /// Which model.
    pub(super) fn id(&self) -> &ModelId {
        &self.id
    }

    /// Bands of residual per axis that windows like this one give; 0 where the model does not fit.
    pub(super) fn n_bands(&self, features: &Features) -> usize {
        let fits = |axis: &Axis| {
            axis.mel.db.len() == self.n_bands && (!axis.mel_hops.is_empty() || self.n_hops == 1)
        };
        if features.axes.iter().all(fits) { self.n_bands } else { 0 }
    }

    /// Hop by hop where there are hops, else the window as one.
    fn hops(axis: &Axis) -> &[f32] {
        if axis.mel_hops.is_empty() { &axis.mel.db } else { &axis.mel_hops }
    }

    /// Runs the model over the window, hop by hop, for every axis.
    pub(super) fn run(&mut self, features: &Features) {
        self.db.clear();
        if self.n_bands(features) == 0 {
            return;
        }
        let n_input = self.n_hops * self.n_bands;
        for axis in &features.axes {
            let begin = self.db.len();
            self.db.resize(begin + self.n_bands, 0.0);
            let out = &mut self.db[begin..];
            let mut n = 0.0;
            let hops = Self::hops(axis);
            for start in (0..hops.len()).step_by(self.n_bands) {
                let Some(input) = hops.get(start..start + n_input) else { break };
                self.runner.run(input, &mut self.scratch);
                for hop in self.scratch.chunks_exact(self.n_bands) {
                    for ((out, off), scale) in out.iter_mut().zip(hop).zip(&self.scale_db) {
                        *out += off * scale;
                    }
                }
                n += self.n_hops as f32;
            }
            for value in out.iter_mut() {
                *value = if n > 0.0 { *value / n } else { f32::NAN };
            }
        }
    }
}
