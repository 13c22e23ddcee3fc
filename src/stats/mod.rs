//! Statistics that know no machine.
