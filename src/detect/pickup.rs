//! What a spectrum shows that no machine sent: mains hum in the cable, energy folded down.
//!
//! # Source
//! `domain.md` 9.4, HUM (a line at the mains frequency with its odd harmonics while the machine is off)
//! and ALIAS (more energy in the top tenth of the band than in the rest).

use crate::types::Spectrum;

/// Mains, Hz.
const MAINS_HZ: [f64; 2] = [50.0, 60.0];
/// Harmonics that pick-up has and a machine nearby, which shakes at twice the mains, has not.
const HARMONICS: [f64; 4] = [1.0, 3.0, 5.0, 7.0];
/// Harmonics that must stand out.
const STANDING_MIN: usize = 3;
/// How far a line stands over what is around it: 10 dB.
const OVER: f32 = 10.0;
/// Where around a line its surroundings are looked for, Hz.
const AROUND_HZ: f64 = 20.0;
/// Widest bins that tell a line from its surroundings, Hz.
const BIN_MAX_HZ: f64 = 4.0;

/// Whether the spectrum of a machine at rest shows mains hum.
pub(super) fn hums(spectrum: &Spectrum) -> bool {
    let fits = spectrum.df_hz > 0.0 && spectrum.df_hz <= BIN_MAX_HZ;
    let stands = |hz: &f64| stands_out(spectrum, *hz);
    fits && MAINS_HZ.into_iter().any(|mains_hz| {
        let lines = HARMONICS.map(|harmonic| harmonic * mains_hz);
        stands(&lines[0]) && lines.iter().filter(|hz| stands(hz)).count() >= STANDING_MIN
    })
}

/// Whether energy from above half the rate lies on the top of the band.
pub(super) fn is_folded(spectrum: &Spectrum) -> bool {
    let power = spectrum.power.get(1..).unwrap_or(&[]);
    let (rest, top) = power.split_at(power.len() - power.len() / 10);
    top.iter().sum::<f32>() > rest.iter().sum::<f32>()
}

/// Whether there is a line at a frequency: its strongest bin against the strongest further off, which
/// also keeps hum apart from noise that is merely uneven.
fn stands_out(spectrum: &Spectrum, hz: f64) -> bool {
    let bin = |hz: f64| (hz / spectrum.df_hz).round().max(0.0) as usize;
    let (low, high) = (bin(hz - AROUND_HZ), bin(hz + AROUND_HZ));
    // A Hann window spreads a line over three bins.
    let line = bin(hz).saturating_sub(2)..=bin(hz) + 2;
    let Some(around) = spectrum.power.get(low..=high) else { return false };
    let strongest = |is_line: bool| {
        let bins = (low..).zip(around).filter(|(k, _)| line.contains(k) == is_line);
        bins.map(|(_, &power)| power).fold(0.0, f32::max)
    };
    strongest(true) > OVER * strongest(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Even noise with lines of a power at some frequencies, in bins of 1 Hz.
    fn spectrum(lines_hz: &[usize]) -> Spectrum {
        let mut power: Vec<f32> = (0..2000).map(|k| 1.0 + (k % 7) as f32 / 7.0).collect();
        for &hz in lines_hz {
            power[hz] = 100.0;
        }
        Spectrum { df_hz: 1.0, power }
    }

    #[test]
    fn the_mains_and_its_odd_harmonics_are_hum() {
        assert!(hums(&spectrum(&[50, 150, 350])));
        assert!(hums(&spectrum(&[60, 180, 300, 420])));
    }

    #[test]
    fn a_motor_nearby_and_mere_noise_are_not() {
        assert!(!hums(&spectrum(&[100, 200, 300])));
        assert!(!hums(&spectrum(&[50, 100])));
        assert!(!hums(&spectrum(&[])));
        assert!(!hums(&Spectrum::default()));
    }

    #[test]
    fn a_line_folded_down_is_at_the_top_of_the_band() {
        assert!(is_folded(&Spectrum {
            power: vec![0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.5],
            df_hz: 1.0
        }));
        assert!(!is_folded(&spectrum(&[1000, 1900])));
        assert!(!is_folded(&Spectrum::default()));
    }
}
