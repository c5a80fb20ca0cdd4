"""Tests of every network of the registry: counts, shapes, inputs, losses, export, conversion."""

import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from stillair_training import cae, cnn3, convert, dataset, export, learnlet, loss, planes, shape, standin, tiling, train  # noqa: E402
from stillair_training.__main__ import main  # noqa: E402
from stillair_training.registry import RECIPES  # noqa: E402
from stillair_training.xdense import trainable_parameters  # noqa: E402

BIG = 10_000_000


class Counts(unittest.TestCase):
    def test_every_network_has_the_published_number_of_parameters(self):
        published = {"xdense": 184_301, "xdense-bias-free": 184_084, "unet-64": 31_023_940, "learnlet-large": 372_050,
                     "sunet": 38_365_111, "3cnn": 43_745}
        for name, recipe in RECIPES.items():
            with self.subTest(name):
                self.assertEqual(trainable_parameters(recipe.build()), published.get(name, recipe.parameters))
                self.assertEqual(recipe.parameters, published.get(name, recipe.parameters))

    def test_the_small_learnlet_counts_its_noise_levels_and_its_spline(self):
        model = RECIPES["learnlet"].build()
        self.assertEqual(trainable_parameters(model) + sum(b.numel() for b in model.buffers()), 44_840)

    def test_the_autoencoder_takes_three_bands(self):
        model = cae.Autoencoder(planes=3, bands=3).eval()
        self.assertEqual(trainable_parameters(model), 1_336_707)
        with torch.no_grad():
            self.assertEqual(model(torch.rand(2, 9, 64, 64)).shape, (2, 3, 64, 64))
        self.assertEqual(len(cae.SETS), 7)


class Shapes(unittest.TestCase):
    def test_outputs_have_the_side_of_the_stamp(self):
        for name, recipe in RECIPES.items():
            if recipe.parameters > BIG:
                continue
            for side in (64, 64 + 2 * recipe.multiple):
                with self.subTest(name, side=side), torch.no_grad():
                    wide = side + 2 * recipe.border
                    got = recipe.build().eval()(torch.rand(2, len(recipe.planes), wide, wide), *[torch.ones(2) for _ in recipe.scalars])
                    self.assertEqual(got.shape, (2, 1, side, side))

    def test_the_three_layers_take_32_to_14(self):
        self.assertEqual(cnn3.ThreeLayers()(torch.rand(1, 1, 32, 32)).shape, (1, 1, 14, 14))

    def test_tiles_make_the_same_image_as_the_whole(self):
        rng = np.random.default_rng(1)
        image = rng.normal(0.2, 1, (150, 97)).astype(np.float32)
        for build in (cnn3.ThreeLayers, cnn3.OneLayer):
            torch.manual_seed(1)
            model = build().eval()

            def run(batch):
                with torch.no_grad():
                    return model(torch.from_numpy(batch)).numpy()

            whole = run(np.pad(image, cnn3.BORDER)[None, None])[0, 0]
            self.assertEqual(whole.shape, image.shape)
            for tile in (32, 64, 200):
                np.testing.assert_allclose(tiling.tiled(run, image, tile, cnn3.BORDER), whole, atol=1e-5)


class Learnlets(unittest.TestCase):
    def test_no_threshold_no_change(self):
        for name in ("learnlet", "learnlet-large"):
            model = RECIPES[name].build().eval()
            with torch.no_grad():
                for alpha in model.alpha:
                    alpha.zero_()
                x = torch.randn(2, 1, 64, 96)
                self.assertLess((model(x, torch.ones(2)) - x).abs().max().item(), 1e-5, name)
                for alpha in model.alpha:
                    alpha.fill_(1.0)
                self.assertGreater((model(x, torch.ones(2)) - x).abs().max().item(), 0.1, name)

    def test_thresholds_stay_between_0_and_5(self):
        model = learnlet.Learnlet().eval()
        x = torch.randn(1, 1, 64, 64)
        with torch.no_grad():
            model.alpha[0].fill_(5.0)
            at_five = model(x, torch.ones(1))
            model.alpha[0].fill_(50.0)
            self.assertTrue(torch.equal(model(x, torch.ones(1)), at_five))
            model.alpha[1].fill_(-1.0)
        model.project()
        self.assertTrue(all(((a >= 0) & (a <= 5)).all() for a in model.alpha))
        self.assertEqual(model.alpha[0][0].item(), 5.0)

    def test_noise_levels_are_those_of_the_noise_given(self):
        torch.manual_seed(2)
        model = learnlet.Learnlet().eval()
        noise = torch.randn(64, 1, 64, 64)
        model.measure_noise(noise, 1.0)
        # The identity channel of the finest scale: noise less its low-pass part, over WNORM; nearly 1 for white noise.
        self.assertAlmostEqual(model.levels_0[-1].item(), 1.0, delta=0.05)
        flat = model.levels_0.clone()
        model.measure_noise(3 * noise, 1.0)
        torch.testing.assert_close(model.levels_0, 3 * flat)

    def test_blank_stamps_give_noise_of_about_unit_variance(self):
        with tempfile.TemporaryDirectory() as folder:
            standin.write(folder, 200, 64, 3)
            noise = train.blank_noise([dataset.read(folder)], 64)
            self.assertGreater(len(noise), 4)
            self.assertAlmostEqual(noise.square().mean().sqrt().item(), 1.0, delta=0.2)


class Losses(unittest.TestCase):
    def test_the_bank_is_tight(self):
        np.testing.assert_allclose(np.square(shape.bank(48)).sum(axis=0), 1.0, atol=1e-12)

    def test_shape_constraint_counts_what_moves_the_shape(self):
        filters = torch.from_numpy(shape.constraints(32))
        truth = torch.zeros(1, 32, 32)
        self.assertEqual(shape.loss(truth, truth, filters).item(), 0.0)
        axis = torch.arange(32) - 15.5
        noise = torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(1))
        stretched = torch.exp(-(axis[:, None] ** 2 / 60 + axis[None, :] ** 2 / 20))[None]
        scaled = lambda image: image / image.square().sum().sqrt()  # noqa: E731
        plain = shape.loss(scaled(noise), truth, filters, 0.0).item()
        self.assertAlmostEqual(plain, 0.5, places=5)
        extra = [shape.loss(scaled(image), truth, filters).item() - plain for image in (noise, stretched)]
        self.assertGreater(extra[1], 2 * extra[0])

    def test_plain_losses(self):
        truth, output = torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 0.5)
        self.assertAlmostEqual(loss.plain("mse", output, truth).item(), 0.25)
        self.assertAlmostEqual(loss.plain("l1", output, truth).item(), 0.5)
        # p = 1/4, t = 1/2 once divided by the headroom of 2.
        self.assertAlmostEqual(loss.plain("bce", output, truth).item(), -0.5 * np.log(0.25) - 0.5 * np.log(0.75), places=5)


class Planes(unittest.TestCase):
    def test_filters_undo_and_repeat_the_seeing(self):
        n = 64
        axis = np.arange(n) - n // 2
        r2 = axis[:, None] ** 2 + axis[None, :] ** 2
        gaussian = lambda sigma: np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)  # noqa: E731
        # Seen through sigma 0.6, an object of sigma 2 has sigma^2 = 4.36; the transform of 0.6 stays above the floor on the grid.
        observed, psf = gaussian(np.sqrt(4.36))[None], gaussian(0.6)[None]
        got = planes.of_observed(planes.OF_OBSERVED, observed, psf / psf.sum())[0]
        np.testing.assert_allclose(got[0], observed[0], atol=1e-7)
        np.testing.assert_allclose(got[1], gaussian(np.sqrt(4.72)), atol=2e-4)
        np.testing.assert_allclose(got[2], gaussian(2.0), atol=2e-4)
        np.testing.assert_allclose(got[3], gaussian(np.sqrt(4 + planes.SMOOTHING**2)), atol=2e-4)


class Export(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = Path(cls.folder.name)
        for name, count, seed in (("train", 96, 1), ("validation", 64, 2)):
            standin.write(cls.root / name, count, 64, seed)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_every_untrained_network_exports_with_parity_and_a_card_that_says_so(self):
        for name in RECIPES:
            with self.subTest(name):
                out = self.root / "untrained" / name
                self.assertEqual(main(["export", name, "--untrained", "--data", str(self.root / "validation"), "--out", str(out)]), 0)
                card = (out / "card.toml").read_text()
                self.assertIn("UNTRAINED", card)
                self.assertTrue((out / "example" / "expected.npy").exists())

    def test_every_kind_trains_resumes_and_evaluates(self):
        for name, extra in (("unet-16", ["--loss", "shape", "--crop", "64"]), ("learnlet", []), ("3cnn", []), ("1cnn", []),
                            ("cae-psf-ipsf1", []), ("xdense-bias-free", [])):
            with self.subTest(name):
                run, model = str(self.root / "runs" / name), str(self.root / "models" / name)
                begin = ["train", name, "--data", str(self.root / "train"), "--validation", str(self.root / "validation"), "--out", run,
                         "--batch", "4", "--every", "1", "--validation-stamps", "16", "--threads", "1", "--device", "cpu", *extra]
                self.assertEqual(main([*begin, "--steps", "1"]), 0)
                self.assertEqual(main([*begin, "--steps", "2"]), 0)
                steps = [line.split(",")[0] for line in (Path(run) / "log.csv").read_text().splitlines()[1:]]
                self.assertEqual(steps, ["1", "1", "2", "2"])
                data = str(self.root / "validation")
                self.assertEqual(main(["export", name, "--run", run, "--data", data, "--out", model]), 0)
                self.assertEqual(main(["evaluate", name, "--model", model, "--data", data, "--write-card", "a test"]), 0)
                card = (Path(model) / "card.toml").read_text()
                self.assertIn("A short training", card)
                self.assertIn("[[validation.bins]]", card)

    def test_sunet_learns_a_step(self):
        recipe = RECIPES["sunet"]
        torch.manual_seed(1)
        model = recipe.build()
        model(torch.rand(1, 1, 64, 64)).square().mean().backward()
        silent = [name for name, p in model.named_parameters() if p.grad is None]
        self.assertEqual(silent, ["unused.weight"])


class Conversion(unittest.TestCase):
    def check(self, recipe, model, weights, flip=False):
        with tempfile.TemporaryDirectory() as folder:
            convert.convert(recipe.name, weights, Path(folder) / "run", flip)
            back = export.load(recipe, Path(folder) / "run")
        x = torch.rand(1, len(recipe.planes), 40, 40)
        with torch.no_grad():
            self.assertTrue(torch.equal(back(x), model(x)))

    def keras(self, path, model, order, nested=False):
        """A file as Keras writes it."""
        import h5py

        with h5py.File(path, "w") as file:
            root = file.create_group("model_weights") if nested else file
            root.attrs["layer_names"] = [b"conv_one", b"conv_two", b"conv_three"]
            for label, layer in zip(("conv_one", "conv_two", "conv_three"), (model.first, model.second, model.third)):
                group = root.create_group(label)
                group.attrs["weight_names"] = [f"{label}/kernel:0".encode(), f"{label}/bias:0".encode()]
                kernel = layer.weight.detach().numpy()
                kernel = kernel.transpose(2, 3, 1, 0) if order == "tf" else kernel[:, :, ::-1, ::-1]
                group.create_dataset(f"{label}/kernel:0", data=kernel)
                group.create_dataset(f"{label}/bias:0", data=layer.bias.detach().numpy())

    def test_keras_files_of_the_three_layers(self):
        torch.manual_seed(3)
        model = cnn3.ThreeLayers().eval()
        with tempfile.TemporaryDirectory() as folder:
            for order, nested in (("tf", False), ("tf", True), ("th", False)):
                path = Path(folder) / f"{order}{nested}.h5"
                self.keras(path, model, order, nested)
                self.check(RECIPES["3cnn"], model, path, flip=order == "th")

    def test_state_dicts_with_our_names_others_and_a_wrong_shape(self):
        torch.manual_seed(4)
        model = cnn3.ThreeLayers().eval()
        state = model.state_dict()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
            self.check(RECIPES["3cnn"], model, path)
            torch.save({f"features.{i}": v for i, v in enumerate(state.values())}, path)
            self.check(RECIPES["3cnn"], model, path)
            torch.save({f"features.{i}": v for i, v in enumerate(state.values()) if i != 2}, path)
            with self.assertRaisesRegex(ValueError, "5 tensors, the network has 6"):
                convert.convert("3cnn", path, Path(folder) / "run")
            torch.save({f"f{i}": v[:1] if i == 2 else v for i, v in enumerate(state.values())}, path)
            with self.assertRaisesRegex(ValueError, r"f2 has shape \(1, 64, 6, 6\), second.weight needs \(16, 64, 6, 6\)"):
                convert.convert("3cnn", path, Path(folder) / "run")


if __name__ == "__main__":
    unittest.main()
