//! Amplitudes, moments, residual tests.
