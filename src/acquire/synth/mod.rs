//! A seeded machine: shaft, bearing, gear, blades and motor, wearing out to order, and its sensor.
//!
//! Any stretch of its signal is a function of the configuration and the sample numbers alone: the same
//! whatever was asked before, and the same bits on every computer. The physics is that of textbook
//! signatures (each in the doc of the part that makes it), not of any one machine.

use std::sync::Arc;

use crate::acquire::{Error, Pace, Paced, Source};
use crate::types::{Clock, FaultCode, Origin, Stamp};

mod chance;
mod config;
mod impact;
mod lines;
mod machine;
mod motion;
mod noise;
mod random;
mod sensor;
mod source;

pub use config::{
    Bearing, Config, Fault, FaultKind, Kind, Law, SensorFault, SensorFaultKind, Stop,
};
pub use machine::{Machine, Truth};

use source::Synth;

impl Config {
    /// Opens the machine as a source; in real time it begins now, unless `start` is given.
    ///
    /// # Errors
    /// As [`Config::build`].
    pub(super) fn open(
        &self,
        origin: Origin,
        clock: &Arc<dyn Clock>,
    ) -> Result<Box<dyn Source>, Error> {
        let machine = self.build()?;
        let start = match (Stamp::parse(&self.start), self.pace) {
            (Some(start), _) => start,
            (None, Pace::Max) => Stamp::default(),
            (None, Pace::Real) => clock.now(),
        };
        let source = Box::new(Synth::new(machine, origin, start));
        Ok(match self.pace {
            Pace::Max => source,
            Pace::Real => Box::new(Paced::new(source, Arc::clone(clock), 1.0)),
        })
    }
}

impl Machine {
    /// The machine as a source that begins at `start` and is read as fast as one likes.
    pub fn into_source(self, origin: Origin, start: Stamp) -> Box<dyn Source> {
        Box::new(Synth::new(self, origin, start))
    }
}

impl FaultKind {
    /// The name the rest of auscult has for it.
    pub fn code(self) -> FaultCode {
        match self {
            Self::Imbalance => FaultCode::Unbalance,
            Self::Misalignment => FaultCode::Misalignment,
            Self::BentShaft => FaultCode::BentShaft,
            Self::Looseness => FaultCode::Looseness,
            Self::OuterRace => FaultCode::OuterRace,
            Self::InnerRace => FaultCode::InnerRace,
            Self::Ball => FaultCode::Ball,
            Self::Cage => FaultCode::Cage,
            Self::GearMesh => FaultCode::GearMesh,
            Self::BladePass => FaultCode::BladePass,
            Self::Electrical => FaultCode::Electrical,
            Self::Cavitation => FaultCode::Cavitation,
            Self::Lubrication => FaultCode::Lubrication,
        }
    }
}

#[cfg(test)]
mod tests;
