"""Every network of the registry, untrained, through `stillair process` on the processor: the exported file, its card and the adapter agree.
Skipped, and said so, where there is no stillair binary. STILLAIR_NETWORKS=a,b restricts it."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import sys

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from stillair_training import standin  # noqa: E402
from stillair_training.__main__ import main  # noqa: E402
from stillair_training.registry import RECIPES  # noqa: E402
from tests.test_bring_your_own import ROOT, binary  # noqa: E402


class Process(unittest.TestCase):
    def test_every_network_runs(self):
        program = binary()
        if program is None:
            self.skipTest("no stillair binary: cargo build --release, or set STILLAIR")
        names = os.environ.get("STILLAIR_NETWORKS", ",".join(RECIPES)).split(",")
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            standin.write(root / "data", 32, 64, 5)
            env = os.environ | {"ORT_DYLIB_PATH": os.environ.get("ORT_DYLIB_PATH", str(ROOT / "runtime/libonnxruntime.so"))}

            def run(*command, expect=(0,)):
                done = subprocess.run([program, *command], cwd=root, env=env, capture_output=True, text=True)
                self.assertIn(done.returncode, expect, f"{command}\n{done.stdout}\n{done.stderr}")
                return done.stdout

            run("simulate", "--seed", "2", "--size", "512,512", "--objects", "150", "--stars", "60", "--out", "sky")
            for name in names:
                with self.subTest(name):
                    data, out = str(root / "data"), str(root / "models" / name)
                    self.assertEqual(main(["export", name, "--untrained", "--data", data, "--out", out]), 0)
                    # An untrained network keeps no star: what counts is the graph, the batches and the example, PyTorch against the adapter.
                    said = run("models", "check", name, expect=(0, 1, 2))
                    wrong = [line for line in said.splitlines() if line.split()[:1] == ["FAIL"] and line.split()[1] in ("graph", "batches", "example")]
                    self.assertEqual(wrong, [])
                    self.assertIn("stored stamps are met", said)
                    run("process", "sky/lsst-2.fits", "--model", name, "--out", f"out-{name}")
                    [summary] = root.glob(f"out-{name}/**/summary.json")
                    text = json.dumps(json.loads(summary.read_text()))
                    self.assertIn(name, text)


if __name__ == "__main__":
    unittest.main()
