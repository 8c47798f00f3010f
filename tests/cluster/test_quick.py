"""tests/quick.txt, by which `make quick` chooses among the tests beside this one."""

import quick
from harness import place


def test_every_test_is_chosen_by_some_change():
    named = {name for _, names in quick.table() for name in names}
    assert named == set(quick.test_files())


def test_every_part_of_the_source_has_its_tests():
    # The pure crates have tests of their own, which run whatever was changed.
    own = {"src/envelope", "src/gcm", "src/tests"}
    beginnings = [beginning for beginning, _ in quick.table() if beginning != "/"]
    parts = [f"src/{part.name}{'/' if part.is_dir() else ''}" for part in (place.ROOT / "src").iterdir()]
    assert [p for p in parts if p.rstrip("/") not in own and not p.startswith(tuple(beginnings))] == []


def test_what_is_chosen():
    assert quick.chosen(["src/audit/opened.rs"]) == ["audit", "logs", "quick", "round_trip"]
    assert quick.chosen(["tests/cluster/test_drops.py"]) == ["drops", "quick", "round_trip"]
    assert quick.chosen([""]) == ["quick", "round_trip"]
