"""The readers of interop/ and the Rust crate: all vectors, and random questions."""

import json
import re

import pytest
from envelope_reader.errors import NAMES
from interop import fuzz, known, make_conformance, make_unicode, readers
from interop.conformance import sealing

VECTORS = json.loads(make_conformance.FILE.read_text())["vectors"]


@pytest.fixture(scope="module")
def commands():
    return [readers.python(), readers.javascript(), readers.crate()]


def test_the_file_is_what_its_maker_makes():
    assert make_conformance.FILE.read_text() == make_conformance.write(make_conformance.make())


def test_the_readers_tables_are_what_their_maker_makes():
    text = make_unicode.write(make_unicode.make())
    assert all(file.read_text() == text for file in make_unicode.FILES)


def test_every_vector(commands):
    for vector, answers in zip(VECTORS, readers.ask_all(commands, VECTORS)):
        for command, answer in zip(commands, answers):
            if answer is None and vector.get("in_crate") is False:
                continue
            assert known.agrees(vector, answer), (command[0], vector["name"], answer)


def test_every_vector_of_others(commands):
    vectors = known.all_known()
    for vector, answers in zip(vectors, readers.ask_all(commands, vectors)):
        for command, answer in zip(commands, answers):
            if answer is not None or command is not commands[-1]:
                assert known.agrees(vector, answer), (command[0], vector["name"], answer)


def test_every_error_has_a_vector_and_one_name():
    javascript = (readers.ROOT / "interop/javascript/src/errors.js").read_text()
    assert re.findall(r"""^  (\w+): ['"](.*)['"],$""", javascript, re.M) == list(NAMES.items())
    # A caller's function raised the one that is no name.
    assert {v["fails"] for v in VECTORS if "fails" in v} - {"refused"} == set(NAMES)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_questions(commands, seed):
    wrong, by_value, by_crate = fuzz.run(seed, 1000, commands)
    assert not wrong, json.dumps(wrong[0])
    # Not all of them are refused, and few are not the crate's business.
    assert by_value > 300 and by_crate > 800


def test_damage_stays_in_its_question():
    known_context, source = dict(sealing.SHOP), fuzz.Fuzz(2)
    for _ in range(3000):
        source.keyring()
    assert sealing.SHOP == known_context
