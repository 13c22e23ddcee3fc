//! Statistics that know no machine: slices and numbers in, numbers out.
//!
//! Nothing here keeps a reference to what it is given; the sequential tests are a few numbers each
//! and never allocate. Probabilities come from survival functions, so that a far tail keeps its
//! digits, and `ln_*` forms where even those would underflow.

mod change;
mod quantile;
mod robust;
mod special;
mod tail;
mod trend;

pub use change::{Cusum, EDetector, PageHinkley};
pub use quantile::StreamingQuantile;
pub use robust::{MAD_TO_SIGMA, mad, median, median_of, quantile};
pub use special::{
    beta_inc, beta_quantile, chi2_quantile, chi2_sf, f_sf, gamma_q, ln_chi2_sf, ln_gamma,
    ln_normal_sf, ln_t_sf, normal_cdf, normal_quantile, normal_sf, t_quantile, t_sf,
};
pub use tail::{Gpd, Pot, conformal_p};
pub use trend::{KalmanLevel, Line, theil_sen};
