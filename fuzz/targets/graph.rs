//! What is done with a graph that was read.

use auscult::nn::{Engine, Error, Graph};

/// Larger graphs are valid too, but slow to fuzz with.
const MACS_MAX: u64 = 1 << 20;

/// Runs it once, if it is one that can run.
pub fn run(graph: Result<Graph, Error>) {
    let Ok(graph) = graph else { return };
    if graph.check().is_err() || graph.macs() > MACS_MAX {
        return;
    }
    let Ok(mut engine) = Engine::new(&graph, 1) else { return };
    let input = vec![1.0; engine.n_in()];
    let mut output = vec![0.0; engine.n_out()];
    engine.run(&input, &mut output);
}
