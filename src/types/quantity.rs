//! Physical units of what a sensor measures.

/// Standard gravity, m/s2 (exact by definition).
pub const G_MPS2: f64 = 9.80665;

/// The unit of a calibrated sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Acceleration in m/s2: what the vibration features are computed in.
    MetersPerSecond2,
    /// Acceleration in multiples of standard gravity.
    G,
    /// Sound pressure in pascal.
    Pascal,
    /// Uncalibrated volts.
    Volt,
    /// Fractions of full scale: nothing absolute may be said.
    #[default]
    FullScale,
}

impl Unit {
    /// The unit written as on an axis; `None` for a name we do not know.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "m/s2" | "m/s^2" | "m/s²" => Some(Self::MetersPerSecond2),
            "g" => Some(Self::G),
            "Pa" => Some(Self::Pascal),
            "V" => Some(Self::Volt),
            "FS" => Some(Self::FullScale),
            _ => None,
        }
    }

    /// As [`Unit::parse`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            Self::MetersPerSecond2 => "m/s2",
            Self::G => "g",
            Self::Pascal => "Pa",
            Self::Volt => "V",
            Self::FullScale => "FS",
        }
    }

    /// Multiplier to m/s2 or Pa; `None` where the unit says nothing absolute.
    pub fn to_si(self) -> Option<f64> {
        match self {
            Self::MetersPerSecond2 | Self::Pascal => Some(1.0),
            Self::G => Some(G_MPS2),
            Self::Volt | Self::FullScale => None,
        }
    }

    /// Whether this is an acceleration.
    pub fn is_acceleration(self) -> bool {
        matches!(self, Self::MetersPerSecond2 | Self::G)
    }
}
