//! A checked model: its card, its graph, its file; and what runs it.

use std::sync::Arc;

use super::engine::Engine;
use super::program::Program;
use super::{Card, Error, Graph, format};
use crate::types::Digest;

/// A checked model, ready to run; cheap to clone.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    card: Card,
    graph: Graph,
    program: Arc<Program>,
    /// Mean and scale of each input value: the card's bands, hop after hop.
    mean: Vec<f32>,
    scale: Vec<f32>,
    digest: Digest,
    n_bytes: usize,
}

impl Model {
    /// From its parts: an autoencoder over `n_hops` by `n_bands`.
    ///
    /// # Errors
    /// If the card or the graph breaks a rule, or they do not fit each other.
    pub fn new(card: Card, graph: Graph) -> Result<Self, Error> {
        let (card, graph, program) = checked(card, graph)?;
        let file = format::write(&card, &graph);
        Ok(Self::of(card, graph, program, &file))
    }

    /// Parses and checks a model file; what is refused is refused before anything is allocated for
    /// it.
    ///
    /// # Errors
    /// If anything in the file is not as the format says.
    pub fn load(bytes: &[u8]) -> Result<Self, Error> {
        let (card, graph) = format::read(bytes)?;
        let (card, graph, program) = checked(card, graph)?;
        Ok(Self::of(card, graph, program, bytes))
    }

    /// The model file; the same model gives the same bytes.
    pub fn save(&self) -> Vec<u8> {
        format::write(&self.0.card, &self.0.graph)
    }

    fn of(card: Card, graph: Graph, program: Program, file: &[u8]) -> Self {
        let n_hops = card.preprocessing.n_hops;
        Self(Arc::new(Inner {
            name: card.name.as_str().into(),
            mean: card.normalisation.mean_db.repeat(n_hops),
            scale: card.normalisation.scale_db.repeat(n_hops),
            card,
            graph,
            program: Arc::new(program),
            digest: Digest(blake3::hash(file).into()),
            n_bytes: file.len(),
        }))
    }

    /// Name, as its card has it.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Digest of the file.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What is known of it.
    pub fn card(&self) -> &Card {
        &self.0.card
    }

    /// Its layers and weights.
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// Hops of log-mel per input vector.
    pub fn n_hops(&self) -> usize {
        self.0.card.preprocessing.n_hops
    }

    /// Log-mel bands per hop.
    pub fn n_bands(&self) -> usize {
        self.0.card.preprocessing.n_bands
    }

    /// Multiply-accumulates per inference, empty blocks counted.
    pub fn macs(&self) -> u64 {
        self.0.graph.macs()
    }

    /// Size of the file, bytes.
    pub fn bytes(&self) -> usize {
        self.0.n_bytes
    }

    /// A runner with its arena, planned once, for one input at a time.
    ///
    /// # Panics
    /// Never: that one input fits was checked when the model was made.
    pub fn runner(&self) -> Runner {
        self.runner_of(1).expect("checked with the model")
    }

    /// A runner for up to `batch` inputs at a time.
    ///
    /// # Errors
    /// `Error::TooBig` if the batch is over `BATCH_MAX` or does not fit the arena.
    pub fn runner_of(&self, batch: usize) -> Result<Runner, Error> {
        let engine = Engine::over(Arc::clone(&self.0.program), batch)?;
        Ok(Runner { model: Arc::clone(&self.0), engine })
    }
}

fn checked(card: Card, graph: Graph) -> Result<(Card, Graph, Program), Error> {
    card.check()?;
    let program = Program::new(&graph)?;
    let (p, shape) = (&card.preprocessing, program.input.shape);
    let invalid = |why: String| Error::Invalid { at: "graph".to_owned(), why };
    if (shape.len, shape.channels) != (p.n_hops, p.n_bands) {
        return Err(invalid(format!(
            "takes {shape:?}, the card says {} by {}",
            p.n_hops, p.n_bands
        )));
    }
    if program.output.shape.size() != shape.size() {
        let n_out = program.output.shape.size();
        return Err(invalid(format!("gives {n_out} values for {}: no autoencoder", shape.size())));
    }
    Ok((card, graph, program))
}

/// Runs one model; owns its arena, allocates nothing.
pub struct Runner {
    model: Arc<Inner>,
    engine: Engine,
}

impl Runner {
    /// One inference. `input`: `[n_hops * n_bands]`, dB, as `Axis::mel_hops` has them (un-normalised:
    /// the model's own normalisation is applied inside). `residual`: same shape, the reconstruction
    /// error per input value in normalised units. Returns the mean square of `residual`.
    ///
    /// # Panics
    /// If a length is not the model's: a bug in the caller.
    pub fn run(&mut self, input: &[f32], residual: &mut [f32]) -> f32 {
        let mut score = [0.0];
        self.run_batch(input, residual, &mut score);
        score[0]
    }

    /// `scores.len()` inferences at once, at most the runner's batch: inputs and residuals one after
    /// the other. Gives what `run` gives for each.
    ///
    /// # Panics
    /// If a length does not fit: a bug in the caller.
    pub fn run_batch(&mut self, inputs: &[f32], residuals: &mut [f32], scores: &mut [f32]) {
        let n_items = scores.len();
        let size = self.engine.n_in();
        assert!(
            inputs.len() == n_items * size && residuals.len() == n_items * size,
            "{} values in and {} out for {n_items} inputs of {size}",
            inputs.len(),
            residuals.len()
        );
        let kernel = self.engine.kernel_ops();
        let Inner { mean, scale, card, .. } = &*self.model;
        let floor = card.normalisation.floor_db;
        let real_in = self.engine.real_in(n_items);
        for (x, out) in inputs.chunks_exact(size).zip(real_in.chunks_exact_mut(size)) {
            kernel.normalise(floor, mean, scale, x, out);
        }
        self.engine.all_steps(n_items);
        let (x, y) = self.engine.ends(n_items);
        let pairs = x.chunks_exact(size).zip(y.chunks_exact(size));
        for ((score, out), (x, y)) in
            scores.iter_mut().zip(residuals.chunks_exact_mut(size)).zip(pairs)
        {
            *score = kernel.residual(x, y, out);
        }
    }

    /// The same with a kernel by name, one of `Engine::kernels`.
    ///
    /// # Errors
    /// `Error::Unsupported` if this processor has no such kernel.
    pub fn with_kernel(self, name: &str) -> Result<Self, Error> {
        Ok(Self { engine: self.engine.with_kernel(name)?, ..self })
    }

    /// The engine below, for its kernel and its arena's size.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}
