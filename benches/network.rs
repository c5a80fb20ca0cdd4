//! Milliseconds per stamp of the shipped network by batch size and side (needs `make setup`): `cargo bench --bench network`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use divan::Bencher;
use divan::counter::ItemsCount;
use ndarray::Array2;
use stillair::network::{Network, NetworkInput, NetworkSettings, Runtime};

fn main() {
    divan::main();
}

fn network(batch: usize, threads: usize) -> Network {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let runtime = Runtime::load(&root.join("runtime")).unwrap_or_else(|error| panic!("{error}"));
    // Counted in stamps of 64 x 64: four times as much for 128 x 128.
    let settings = NetworkSettings { batch_max: 4 * batch, threads, ..NetworkSettings::default() };
    Network::load(&root.join("models/xdense"), &runtime, &settings).unwrap_or_else(|error| panic!("{error}"))
}

fn inputs(count: usize, side: usize) -> Vec<NetworkInput> {
    let plane = Array2::from_shape_fn((side, side), |(y, x)| {
        let r2 = (y as f32 - side as f32 / 2.0).powi(2) + (x as f32 - side as f32 / 2.0).powi(2);
        100.0 * (-r2 / 8.0).exp()
    });
    let one = NetworkInput {
        psf: plane.clone(),
        tikhonov: plane,
        noise_sigma: 1.0,
        sky_sigma: 1.0,
        ..NetworkInput::default()
    };
    vec![one; count]
}

/// Rows: batch. The count is stamps, so that the throughput column reads stamps per second.
#[divan::bench(args = [1, 4, 8, 32], consts = [64, 128], sample_count = 10)]
fn one_thread<const SIDE: usize>(bencher: Bencher, batch: usize) {
    let mut network = network(batch, 1);
    let inputs = inputs(batch, SIDE);
    network.run(&inputs).unwrap();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| network.run(&inputs).unwrap());
}

/// As above with as many threads as there are cores.
#[divan::bench(args = [1, 4, 8, 32], consts = [64, 128], sample_count = 10)]
fn all_threads<const SIDE: usize>(bencher: Bencher, batch: usize) {
    let mut network = network(batch, 0);
    let inputs = inputs(batch, SIDE);
    network.run(&inputs).unwrap();
    bencher.counter(ItemsCount::new(batch)).bench_local(|| network.run(&inputs).unwrap());
}
