"""Runs docs/bring-your-own.md: its block of Python, `stillair models check` and `stillair process`. Skipped, and said so, where there is no
stillair binary (STILLAIR, or target/release or target/debug below the repository)."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def binary():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    places = [Path(os.environ["STILLAIR"])] if "STILLAIR" in os.environ else [target / "release/stillair", target / "debug/stillair"]
    return next((place.resolve() for place in places if place.is_file()), None)


class Tutorial(unittest.TestCase):
    def test_the_page_leads_to_a_running_plug_in(self):
        program = binary()
        if program is None:
            self.skipTest("no stillair binary: cargo build --release, or set STILLAIR")
        text = (ROOT / "docs/bring-your-own.md").read_text()
        block = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
        self.assertLess(len(block.strip().splitlines()), 40)
        with tempfile.TemporaryDirectory() as folder:
            env = os.environ | {"ORT_DYLIB_PATH": os.environ.get("ORT_DYLIB_PATH", str(ROOT / "runtime/libonnxruntime.so"))}

            def run(*command):
                done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}\n{done.stderr}")
                return done.stdout

            run(program, "simulate", "--stamps", "500", "--seed", "1", "--out", "data")
            (Path(folder) / "tiny.py").write_text(block)
            run(sys.executable, "tiny.py")
            self.assertIn("tiny", run(program, "models", "list"))
            run(program, "models", "check", "tiny")
            run(program, "simulate", "--seed", "2", "--size", "512,512", "--objects", "200", "--out", "sky")
            run(program, "process", "sky/lsst-2.fits", "--model", "tiny", "--out", "out")
            self.assertTrue(list(Path(folder).glob("out/**/summary.json")))


if __name__ == "__main__":
    unittest.main()
