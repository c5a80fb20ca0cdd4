//! FFT plans: one normalisation, stated once.
