"""The package passes the project's vectors: python -m unittest discover interop/python/tests"""

import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import answers  # noqa: E402

VECTORS = json.loads((HERE.parents[2] / "tests/vectors/conformance-1.json").read_text())["vectors"]


class Conformance(unittest.TestCase):
    def test_every_vector(self):
        for vector in VECTORS:
            with self.subTest(vector["name"]):
                expected = {name: vector[name] for name in ("gives", "fails") if name in vector}
                self.assertEqual(answers.answer(vector["do"], vector["with"]), expected)


if __name__ == "__main__":
    unittest.main()
