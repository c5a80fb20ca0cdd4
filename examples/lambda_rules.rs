//! Which rule for lambda gives the best image: windowed NMSE against the truth on simulated stamps, as a Markdown table.
//!
//! `cargo run --release --example lambda_rules [PSF_FWHM [FACTOR [REALISATIONS]]]`: Moffat PSF (beta 3, FWHM 4 px unless given),
//! exponential discs of four half-light radii and random ellipticity on white noise, 64 x 64 px, target Gaussian of FWHM 2 px.

mod shared;

use rand::{RngExt, SeedableRng};
use stillair::deconv::{DeconvSettings, LambdaRule, TikhonovInput, Workspace};
use stillair::image::Plane;

use shared::{Result, TARGET, centre_cut, disc, half_light, moffat, nmse};

const N: usize = 64;
const BIG: usize = 128;

/// A rule's name, and what it makes of the object's SNR.
type Rule = (String, Box<dyn Fn(f64) -> LambdaRule>);

/// Position angles are drawn below this, radians: all but a thousandth of half a turn.
const ANGLES: f64 = 157.0 / 50.0;

fn main() -> Result<()> {
    let arg = |i: usize, default: f64| std::env::args().nth(i).map_or(Ok(default), |v| v.parse::<f64>());
    let (fwhm, factor, realisations) = (arg(1, 4.0)?, arg(2, 1.0)? as usize, arg(3, 24.0)? as usize);
    let rules: Vec<Rule> = {
        let mut r: Vec<Rule> = vec![
            ("fixed 9e-3".into(), Box::new(|_| LambdaRule::Fixed { lambda: 9e-3 })),
            ("3e-3 * 20 / SNR".into(), Box::new(|snr| LambdaRule::Fixed { lambda: 0.06 / snr })),
            ("SURE prediction".into(), Box::new(|_| LambdaRule::SurePrediction)),
            ("SURE projection".into(), Box::new(|_| LambdaRule::SureProjection)),
            ("GCV".into(), Box::new(|_| LambdaRule::Gcv)),
        ];
        for radii in [0.7, 1.0, 1.4, 2.0] {
            r.push((format!("SURE object, {radii} radii"), Box::new(move |_| LambdaRule::SureObject { radii })));
        }
        for radii in [0.7, 1.0, 1.4, 2.0] {
            r.push((format!("Bayes, {radii} radii"), Box::new(move |_| LambdaRule::Bayes { radii })));
        }
        r
    };
    let sizes = [0.7, 1.5, 3.0, 6.0];
    let snrs = [10.0, 30.0, 100.0, 300.0];
    let mut table = vec![vec![vec![0.0; sizes.len()]; snrs.len()]; rules.len() + 1];
    let mut lambdas = vec![vec![vec![0.0; sizes.len()]; snrs.len()]; rules.len() + 1];
    let mut work = Workspace::default();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(20);
    let psf = moffat((31 * factor) | 1, fwhm * factor as f64);
    let side = N * factor;
    for (i_snr, snr) in snrs.iter().enumerate() {
        for (i_size, size) in sizes.iter().enumerate() {
            for _ in 0..realisations {
                let (e, angle) = (rng.random_range(0.0..0.5), rng.random_range(0.0..ANGLES));
                let centre = (32.0 + rng.random_range(-0.5..0.5), 32.0 + rng.random_range(-0.5..0.5));
                let sky = disc(BIG * factor, size * factor as f64, e, angle)?;
                let big_centre = (centre.0 + 32.0, centre.1 + 32.0);
                let clean = centre_cut(&work.forward_model(&sky, &psf, big_centre, factor, TARGET)?, N);
                let truth = centre_cut(&sky, side);
                let sigma = clean.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() / snr;
                let observed = clean.mapv(|v| v + sigma as f32 * rng.sample::<f32, _>(rand_distr::StandardNormal));
                let middle = (side / 2) as f64;
                let width = 2.0 * half_light(&truth, middle, middle) / 2.354_82;
                let window = Plane::from_shape_fn((side, side), |(y, x)| {
                    (-0.25 * ((x as f64 - middle).powi(2) + (y as f64 - middle).powi(2)) / width / width).exp() as f32
                });
                let input = TikhonovInput {
                    observed: &observed,
                    psf: &psf,
                    centre,
                    sigma,
                    flux: 1.0 + 2.0 * rng.sample::<f64, _>(rand_distr::StandardNormal) / snr,
                    half_light_radius: half_light(&clean, centre.0, centre.1)
                        * (1.0 + 2.0 * rng.sample::<f64, _>(rand_distr::StandardNormal) / snr),
                };
                let mut settings = DeconvSettings { target_fwhm: TARGET, ..Default::default() };
                for (i, (_, rule)) in rules.iter().enumerate() {
                    settings.lambda = rule(*snr);
                    let got = work.tikhonov(&input, factor, &settings)?;
                    table[i][i_snr][i_size] += nmse(&got.image, &truth, &window) / realisations as f64;
                    lambdas[i][i_snr][i_size] += got.lambda.ln() / realisations as f64;
                }
                let mut best = (f64::INFINITY, 0.0);
                for step in 0..36 {
                    let lambda = 10f64.powf(-6.0 + 0.2 * f64::from(step));
                    settings.lambda = LambdaRule::Fixed { lambda };
                    let value = nmse(&work.tikhonov(&input, factor, &settings)?.image, &truth, &window);
                    if value < best.0 {
                        best = (value, lambda);
                    }
                }
                table[rules.len()][i_snr][i_size] += best.0 / realisations as f64;
                lambdas[rules.len()][i_snr][i_size] += best.1.ln() / realisations as f64;
            }
        }
    }
    let names = rules.iter().map(|(n, _)| n.as_str()).chain(["best, chosen with the truth"]);
    println!(
        "| rule | SNR 10 | SNR 30 | SNR 100 | SNR 300 | geometric mean of NMSE / best | lambda at SNR 10 ... 300, radius 1.5 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (i, name) in names.enumerate() {
        let cell = |row: &Vec<f64>| row.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" / ");
        let excess: f64 =
            table[i].iter().flatten().zip(table[rules.len()].iter().flatten()).map(|(a, b)| (a / b).ln()).sum::<f64>()
                / (snrs.len() * sizes.len()) as f64;
        let strength: Vec<String> = lambdas[i].iter().map(|row| format!("{:.1e}", row[1].exp())).collect();
        println!(
            "| {name} | {} | {} | {} | {} | {:.2} | {} |",
            cell(&table[i][0]),
            cell(&table[i][1]),
            cell(&table[i][2]),
            cell(&table[i][3]),
            excess.exp(),
            strength.join(", ")
        );
    }
    Ok(())
}
