//! Bearing defect orders from multipliers, geometry or a small catalogue that names its sources.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Error;

/// Bearing defect frequencies in orders of shaft speed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Cage.
    pub ftf: f64,
    /// Outer race.
    pub bpfo: f64,
    /// Inner race.
    pub bpfi: f64,
    /// Spin of a rolling element; the defect line is twice that.
    pub bsf: f64,
}

/// A rolling bearing by its geometry.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Geometry {
    /// Rolling elements per row.
    pub elements: u32,
    /// Diameter of a rolling element, mm.
    pub element_diameter_mm: f64,
    /// Pitch diameter, mm.
    pub pitch_diameter_mm: f64,
    /// Contact angle, degrees.
    #[serde(default)]
    pub contact_angle_deg: f64,
    /// Whether the outer ring turns and the inner ring stands still.
    #[serde(default)]
    pub outer_turns: bool,
}

impl Geometry {
    /// Defect orders under pure rolling.
    ///
    /// With r = d/D cos phi: FTF = (1 -+ r)/2, BPFO = Z/2 (1 - r), BPFI = Z/2 (1 + r), BSF = D/2d (1 - r^2);
    /// the cage takes the plus sign where the outer ring turns.
    ///
    /// # Source
    /// T. A. Harris, Rolling Bearing Analysis, 4th ed. (2001), ch. 8; R. B. Randall, J. Antoni, MSSP 25 (2011) 485-520, eq. 1-4.
    pub fn orders(&self) -> Orders {
        let z = f64::from(self.elements);
        let ratio = self.element_diameter_mm / self.pitch_diameter_mm;
        let r = ratio * self.contact_angle_deg.to_radians().cos();
        let ftf = if self.outer_turns { 0.5 * (1.0 + r) } else { 0.5 * (1.0 - r) };
        Orders {
            ftf,
            bpfo: 0.5 * z * (1.0 - r),
            bpfi: 0.5 * z * (1.0 + r),
            bsf: 0.5 / ratio * (1.0 - r * r),
        }
    }

    fn check(&self) -> Result<(), String> {
        if !(3..=200).contains(&self.elements) {
            return Err(format!("{} rolling elements; 3 to 200 make a bearing", self.elements));
        }
        let (d, pitch) = (self.element_diameter_mm, self.pitch_diameter_mm);
        if !(d.is_finite() && pitch.is_finite() && d > 0.0 && d < 0.6 * pitch) {
            return Err(format!(
                "element {d} mm on a pitch circle of {pitch} mm; the element is above 0 and well below the pitch diameter"
            ));
        }
        let arc = f64::from(self.elements) * d / (std::f64::consts::PI * pitch);
        if arc > 1.0 {
            return Err(format!("{} elements of {d} mm do not fit on {pitch} mm", self.elements));
        }
        if !(0.0..90.0).contains(&self.contact_angle_deg) {
            return Err(format!("contact angle {} degrees; 0 up to 90", self.contact_angle_deg));
        }
        Ok(())
    }
}

impl Orders {
    fn check(&self) -> Result<(), String> {
        let all = [self.ftf, self.bpfo, self.bpfi, self.bsf];
        if !all.iter().all(|order| order.is_finite() && *order > 0.0 && *order < 200.0) {
            return Err("every order is above 0 and below 200".into());
        }
        if self.ftf >= 1.0 || self.bpfo >= self.bpfi {
            return Err(format!(
                "ftf {} must be below 1, bpfo {} below bpfi {}; are they exchanged, or in Hz?",
                self.ftf, self.bpfo, self.bpfi
            ));
        }
        Ok(())
    }
}

/// One bearing and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatalogueEntry {
    /// Designation, as written on the ring.
    pub designation: &'static str,
    /// Its geometry.
    pub geometry: Geometry,
    /// Where the geometry was published.
    pub source: &'static str,
}

const INCH_MM: f64 = 25.4;

const fn entry(
    designation: &'static str,
    elements: u32,
    element_diameter_mm: f64,
    pitch_diameter_mm: f64,
    contact_angle_deg: f64,
    source: &'static str,
) -> CatalogueEntry {
    let geometry = Geometry {
        elements,
        element_diameter_mm,
        pitch_diameter_mm,
        contact_angle_deg,
        outer_turns: false,
    };
    CatalogueEntry { designation, geometry, source }
}

/// The catalogue: only bearings whose geometry is published with data that confirm it.
pub const CATALOGUE: [CatalogueEntry; 6] = [
    entry(
        "SKF 6205-2RS JEM",
        9,
        0.3126 * INCH_MM,
        1.537 * INCH_MM,
        0.0,
        "Case Western Reserve University Bearing Data Center, drive end bearing",
    ),
    entry(
        "SKF 6203-2RS JEM",
        8,
        0.2656 * INCH_MM,
        1.122 * INCH_MM,
        0.0,
        "Case Western Reserve University Bearing Data Center, fan end bearing",
    ),
    entry(
        "NICE",
        8,
        0.235 * INCH_MM,
        1.245 * INCH_MM,
        0.0,
        "Society for Machinery Failure Prevention Technology, bearing fault data set",
    ),
    entry(
        "Rexnord ZA-2115",
        16,
        0.331 * INCH_MM,
        2.815 * INCH_MM,
        15.17,
        "H. Qiu, J. Lee, J. Lin, G. Yu, J. Sound Vib. 289 (2006) 1066-1090, test rig",
    ),
    entry("NSK 6804DD", 13, 3.5, 25.6, 0.0, "P. Nectoux et al., PRONOSTIA, IEEE PHM 2012, table 1"),
    entry(
        "LDK UER204",
        8,
        7.92,
        34.55,
        0.0,
        "B. Wang, Y. Lei, N. Li, N. Li, IEEE Trans. Reliability 69 (2020) 401-412, table II",
    ),
];

/// The orders of whichever way the bearing is given; `None` where it is not.
///
/// # Errors
/// If it is given in two ways, is unknown to the catalogue, or makes no sense.
pub(super) fn resolve(
    orders: Option<Orders>,
    geometry: Option<Geometry>,
    designation: Option<&str>,
) -> Result<Option<Orders>, Error> {
    let n_given = usize::from(orders.is_some())
        + usize::from(geometry.is_some())
        + usize::from(designation.is_some());
    if n_given > 1 {
        let why = "give one of bearing, bearing_geometry and bearing_designation".into();
        return Err(Error { key: "bearing", why });
    }
    if let Some(orders) = orders {
        orders.check().map_err(|why| Error { key: "bearing", why })?;
        return Ok(Some(orders));
    }
    if let Some(geometry) = geometry {
        geometry.check().map_err(|why| Error { key: "bearing_geometry", why })?;
        return Ok(Some(geometry.orders()));
    }
    let Some(name) = designation else { return Ok(None) };
    let found = CATALOGUE.iter().find(|entry| entry.designation.eq_ignore_ascii_case(name));
    let Some(found) = found else {
        let known: Vec<_> = CATALOGUE.iter().map(|entry| entry.designation).collect();
        let why = format!(
            "{name:?} is not in the catalogue ({}); give bearing_geometry or bearing instead",
            known.join(", ")
        );
        return Err(Error { key: "bearing_designation", why });
    };
    Ok(Some(found.geometry.orders()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_bearings_have_their_published_orders() {
        let check = |name: &str, ftf: f64, bpfo: f64, bpfi: f64, bsf: f64| {
            let o = resolve(None, None, Some(name)).unwrap().unwrap();
            for (got, want) in [(o.ftf, ftf), (o.bpfo, bpfo), (o.bpfi, bpfi), (o.bsf, bsf)] {
                assert!((got - want).abs() < 5.1e-5, "{name}: {got} is not {want}");
            }
        };
        check("skf 6205-2rs jem", 0.3983, 3.5848, 5.4152, 2.3567);
        check("SKF 6203-2RS JEM", 0.3816, 3.0531, 4.9469, 1.9938);
        check("NICE", 0.4056, 3.2450, 4.7550, 2.5546);
        check("Rexnord ZA-2115", 0.4433, 7.0921, 8.9079, 4.1975);
        check("NSK 6804DD", 0.4316, 5.6113, 7.3887, 3.5888);
        check("LDK UER204", 0.3854, 3.0831, 4.9169, 2.0666);
    }

    proptest::proptest! {
        #[test]
        fn the_sum_rules_hold(elements in 5u32..20, d in 3.0..9.0f64, pitch in 60.0..90.0f64, angle in 0.0..40.0f64) {
            let geometry = Geometry {
                elements,
                element_diameter_mm: d,
                pitch_diameter_mm: pitch,
                contact_angle_deg: angle,
                outer_turns: false,
            };
            let (o, z) = (geometry.orders(), f64::from(elements));
            assert!((o.bpfo + o.bpfi - z).abs() < 1e-12 * z);
            assert!((o.bpfo - z * o.ftf).abs() < 1e-12 * z);
            assert!((o.bpfi - z * (1.0 - o.ftf)).abs() < 1e-12 * z);
        }
    }

    #[test]
    fn a_bearing_that_cannot_be_is_refused() {
        let fits = Geometry {
            elements: 9,
            element_diameter_mm: 7.94,
            pitch_diameter_mm: 39.04,
            contact_angle_deg: 0.0,
            outer_turns: false,
        };
        let check = |geometry: Geometry| resolve(None, Some(geometry), None).unwrap_err();
        assert!(resolve(None, Some(fits), None).is_ok());
        assert!(check(Geometry { elements: 40, ..fits }).to_string().contains("do not fit"));
        assert!(
            check(Geometry { element_diameter_mm: f64::NAN, ..fits }).to_string().contains("NaN")
        );
        assert!(
            check(Geometry { contact_angle_deg: 90.0, ..fits }).to_string().contains("degrees")
        );
        assert!(resolve(None, None, Some("6205")).unwrap_err().to_string().contains("catalogue"));
        assert!(resolve(Some(fits.orders()), Some(fits), None).is_err());
        let swapped = Orders { bpfo: 5.4, bpfi: 3.6, ..fits.orders() };
        assert!(resolve(Some(swapped), None, None).unwrap_err().to_string().contains("exchanged"));
    }
}
