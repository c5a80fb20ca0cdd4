"""Golden values for the choice of lambda, by numpy alone.

    python tests/golden/deconv/make_sure.py

For one noisy stamp (kept in the result) and factors 1 and 2: the lambda at which SURE (prediction, projection, inside the
object's area) and GCV are least on a dense grid, and the risk of the prediction by brute force: the mean over 2,000 noise
realisations of |H x - A y|^2, which SURE must equal on average.
"""

import json
import pathlib

import numpy as np

N, SIGMA, FWHM, TARGET, RADIUS = 32, 0.35, 3.2, 2.0, 3.0
CENTRE = (16.3, 15.8)  # column, row
LAMBDAS = 10.0 ** np.arange(-8, 4.0001, 0.01)
rng = np.random.default_rng(20)


def moffat(size, fwhm):
    alpha = 0.5 * fwhm / np.sqrt(2 ** (1 / 3.0) - 1)
    y, x = np.mgrid[:size, :size] - size // 2
    p = (1 + (x**2 + y**2) / alpha**2) ** -3.0
    return (p / p.sum()).astype(np.float32).astype(float)


def model(factor):
    """H (with phase), G and L on the full target grid."""
    side = N * factor
    psf = moffat(10 * factor + 1, FWHM * factor)
    grid = np.zeros((side, side))
    grid[: len(psf), : len(psf)] = psf
    grid = np.roll(grid, (-(len(psf) // 2), -(len(psf) // 2)), (0, 1))
    k = np.fft.fftfreq(side) * side
    phase = [np.exp(-2j * np.pi * k * factor * (c - N // 2) / side) for c in CENTRE]
    for p, c in zip(phase, CENTRE):
        p[side // 2] = np.cos(np.pi * factor * (c - N // 2))
    h = np.fft.fft2(grid) * phase[0][None, :] * phase[1][:, None]
    s = TARGET / (2 * np.sqrt(2 * np.log(2)))
    j = np.arange(side)
    g1 = sum(np.exp(-0.5 * ((j + m * side) / s) ** 2) for m in range(-3, 4))
    g1 = np.fft.fft(g1 / g1.sum()).real
    l1 = 2 - 2 * np.cos(2 * np.pi * k / side)
    return h, g1[:, None] * g1[None, :], l1[:, None] + l1[None, :]


def fold(a, factor):
    return a.reshape(factor, N, factor, N).sum((0, 2))


def half_light_of_psf(h, factor):
    """Radius of the Gaussian whose transform falls to 1/2 where |H| does, mean of both axes."""
    radii = []
    for line in (abs(h[:, 0]), abs(h[0, :])):
        k = next(k for k in range(1, N // 2 + 1) if line[k] <= 0.5) - 1
        k += (line[k] - 0.5) / (line[k] - line[k + 1])
        radii.append(2 * np.log(2) * N / (2 * np.pi * k))
    return np.mean(radii)


out = {"n": N, "sigma": SIGMA, "psf_fwhm": FWHM, "target_fwhm": TARGET, "centre": CENTRE, "radius": RADIUS}
y, x = np.mgrid[:N, :N]
r = np.hypot(x - CENTRE[0], (y - CENTRE[1]) / 0.8)
clean = np.exp(-r / 2.0)
clean *= 100 / clean.sum()
stamp = (clean + SIGMA * rng.standard_normal((N, N))).astype(np.float32).astype(float)
out["observed"] = [float(f"{v:.7g}") for v in stamp.ravel()]
out["flux"] = 100.0
for factor in (1, 2):
    h, g, lap = model(factor)
    with np.errstate(divide="ignore"):
        w = 1 / (lap * g) ** 2
    w[0, 0] = 1e30
    t = fold(abs(h) ** 2 * w, factor)
    gain = fold(abs(h / g) ** 2, factor)
    power = abs(np.fft.fft2(stamp)) ** 2 / N**2
    a = t[None] / (t[None] + LAMBDAS[:, None, None])
    var = SIGMA**2

    def least(risk):
        return float(LAMBDAS[np.argmin(risk)])

    def sure(weight, p, v):
        return (weight * (a**2 * p + 2 * (v - p) * a)).sum((1, 2))

    prediction = sure(1, power, var)
    res = {"prediction": least(prediction), "projection": least(sure((gain >= 1e-12) / gain, power, var))}
    res["gcv"] = least(((1 - a) ** 2 * power).sum((1, 2)) / (1 - a).sum((1, 2)) ** 2)
    # SURE inside the object's area.
    rp = half_light_of_psf(h, factor)
    r0 = np.sqrt(max(RADIUS**2 - rp**2, 0.1 * RADIUS**2)) / 1.67834699
    nu = 2 * np.pi * np.fft.fftfreq(N) * r0
    keep = np.r_[0 : N // 2 + 1, N * factor - N // 2 + 1 : N * factor]
    expected = 100.0**2 / N**2 / var * abs(h[np.ix_(keep, keep)]) ** 2 / (1 + nu[:, None] ** 2 + nu[None] ** 2) ** 3
    trust = expected / (1 + expected)
    signal = expected + trust * (power / var - 1 - expected)
    area = np.pi * RADIUS**2 / N**2
    res["object"] = least(((a**2 * (signal + area) - 2 * a * signal) / gain).sum((1, 2)))
    # Brute force, on a coarser grid of lambda.
    some = slice(0, None, 25)
    y_hat = np.fft.fft2(clean) / N
    risk, mean_sure = 0.0, 0.0
    for _ in range(2000):
        noisy = y_hat + np.fft.fft2(SIGMA * rng.standard_normal((N, N))) / N
        risk = risk + (abs(y_hat - a[some] * noisy) ** 2).sum((1, 2)) / 2000
        p = abs(noisy) ** 2
        mean_sure = mean_sure + (a[some] ** 2 * p + 2 * (var - p) * a[some]).sum((1, 2)) / 2000
    constant = (abs(y_hat) ** 2).sum()
    worst = np.max(abs(mean_sure + constant - risk)) / constant
    assert worst < 5e-3, worst  # what is left is the scatter of 2,000 realisations
    res["lambda"] = [float(f"{v:.6g}") for v in LAMBDAS[some]]
    res["brute_force_risk"] = [float(f"{v:.6g}") for v in risk]
    print(factor, {k: v for k, v in res.items() if k not in ("lambda", "brute_force_risk")},
          "brute-force optimum", LAMBDAS[some][np.argmin(risk)], "SURE - risk", worst)
    out[f"factor_{factor}"] = res

path = pathlib.Path(__file__).with_name("sure.json")
path.write_text(json.dumps(out))
