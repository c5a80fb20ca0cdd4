"""Tests of the training house: python -m unittest discover models/training/tests (from models/training's environment)."""

import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from stillair_training import dataset, loss, metrics, normalise, standin  # noqa: E402
from stillair_training.__main__ import main  # noqa: E402
from stillair_training.train import Batches  # noqa: E402
from stillair_training.xdense import XDense, trainable_parameters  # noqa: E402


class Network(unittest.TestCase):
    def test_counts_are_those_of_the_published_code(self):
        model = XDense()
        self.assertEqual(trainable_parameters(model), 184_301)
        norms = [p for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()]
        self.assertEqual(sum(p.numel() for p in norms), 5_176)
        convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
        self.assertEqual(sum(m.weight.numel() for m in convolutions), 178_908)
        self.assertEqual(sum(m.bias.numel() for m in convolutions if m.bias is not None), 217)

    def test_any_multiple_of_eight_keeps_its_shape(self):
        model = XDense().eval()
        for rows, columns in ((64, 64), (40, 72)):
            with torch.no_grad():
                self.assertEqual(model(torch.zeros(2, 1, rows, columns)).shape, (2, 1, rows, columns))


class Normalisation(unittest.TestCase):
    def test_peak_in_the_box_and_floor(self):
        image = np.zeros((2, 64, 64), np.float32)
        image[:, 39, 24] = 9.0
        image[:, 5, 5] = 1e6
        np.testing.assert_allclose(normalise.scale_of(image, np.array([0.01, 2.0])), [1.0, 10.0])


class Loss(unittest.TestCase):
    def test_truth_costs_nothing_and_weights_come_from_the_input_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            standin.write(folder, 8, 64, 3)
            stamps = dataset.read(folder)
            before = loss.denominators(stamps)
            stamps.truth = stamps.truth * 0 + 7
            np.testing.assert_array_equal(before, loss.denominators(stamps))
            w, v = (torch.from_numpy(a) for a in loss.windows(64))
            t = torch.rand(8, 64, 64)
            d, d_flux = (torch.from_numpy(a) for a in before)
            self.assertEqual(loss.loss(t, t, w, v, d, d_flux)[0].item(), 0.0)
            self.assertTrue((before[0] > 0).all() and (before[1] > 0).all())


class Metrics(unittest.TestCase):
    def test_a_scaled_truth(self):
        axis = np.arange(64) - 32
        r2 = axis[:, None] ** 2 + axis[None, :] ** 2
        truth = np.exp(-r2 / 8.0)[None]
        nmse, flux = metrics.per_object(0.9 * truth, truth)
        np.testing.assert_allclose([nmse[0], flux[0]], [0.01, -0.1], atol=1e-12)


class Run(unittest.TestCase):
    def test_batches_depend_on_seed_and_step_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            standin.write(folder, 24, 64, 3)
            sets = [dataset.read(folder)]
            one, two = Batches(sets, 4, 40, 1), Batches(sets, 4, 40, 1)
            for step in (0, 3, 9):
                for a, b in zip(one(step), two(step)):
                    # The second is the list of scalars, of which xdense has none.
                    self.assertTrue(a == b if isinstance(a, list) else torch.equal(a, b))

    def test_train_resume_export_evaluate(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, count, seed in (("train", 64, 1), ("validation", 64, 2)):
                self.assertEqual(main(["stand-in", "--out", str(root / name), "--count", str(count), "--seed", str(seed)]), 0)
            train = ["train", "xdense", "--data", str(root / "train"), "--validation", str(root / "validation"), "--out",
                     str(root / "run"), "--batch", "8", "--crop", "32", "--every", "2", "--validation-stamps", "16", "--threads", "1"]
            self.assertEqual(main([*train, "--steps", "2"]), 0)
            self.assertEqual(main([*train, "--steps", "4"]), 0)
            steps = [line.split(",")[0] for line in (root / "run" / "log.csv").read_text().splitlines()[1:]]
            self.assertEqual(steps[-1], "4")
            model = str(root / "model")
            self.assertEqual(main(["export", "xdense", "--run", str(root / "run"), "--data", str(root / "validation"), "--out", model]), 0)
            self.assertTrue((root / "model" / "example" / "expected.npy").exists())
            self.assertEqual(main(["evaluate", "xdense", "--model", model, "--data", str(root / "validation"), "--out", str(root / "e.json")]), 0)

    def test_a_missing_column_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            standin.write(folder, 4, 64, 3)
            table = Path(folder) / "table.csv"
            table.write_text(table.read_text().replace("noise_sigma", "sigma"))
            with self.assertRaisesRegex(ValueError, "no column noise_sigma"):
                dataset.read(folder)


if __name__ == "__main__":
    unittest.main()
