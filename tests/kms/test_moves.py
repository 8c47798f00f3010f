"""Data keys move between any two providers, and values open through it all."""

import contextlib
import itertools

import pytest
from harness.cluster import Cluster
from harness.database import Database
from sqlstate import fails

from .cases import sqlstate
from .conftest import Place
from .providers import CHOSEN


def can_be_asked_together(providers):
    """Of those that need one and the same setting a server can have but one."""
    owners = [provider.one_a_server for provider in providers if provider.one_a_server]
    return len(owners) == len(set(owners))


PAIRS = [pair for pair in itertools.permutations(CHOSEN, 2) if can_be_asked_together(pair)]


@pytest.fixture(scope="module")
def asking(_started):
    """A server that asks both of a pair, and as many others as one server can."""
    with contextlib.ExitStack() as stack:
        made = []

        def ask(pair):
            for providers, db in made:
                if set(pair) <= providers.keys():
                    return providers, db
            chosen = list(pair)
            for other in CHOSEN:
                if other not in pair and can_be_asked_together([*chosen, other]):
                    chosen.append(other)
            providers = {provider: _started(provider)[0] for provider in chosen}
            made.append((providers, Database(stack.enter_context(cluster_of(providers.values())))))
            return made[-1]

        yield ask


def cluster_of(providers):
    conf, env = {}, {}
    for provider in providers:
        endpoints = [c.get("envelope.aws_endpoint_url") for c in (conf, provider.conf)]
        conf |= provider.conf
        # One for each region.
        if all(endpoints):
            conf["envelope.aws_endpoint_url"] = ", ".join(endpoints)
        env |= provider.env
    conf |= {"envelope.kms_timeout": "8s", "envelope.kms_max_attempts": 1, "envelope.allowed_keks": "*",
             "envelope.fallover_to_weaker": "on"}
    return Cluster(conf=conf, env=env)


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(provider.name for provider in pair))
def move(request, asking):
    """A table under a KEK of the one provider, and a KEK of the other."""
    providers, db = asking(request.param)
    one, other = (providers[provider] for provider in request.param)
    one.calm()
    other.calm()
    place = Place(one, db)
    place.create_key().insert()
    yield Move(place, other)
    one.calm()
    other.calm()
    place.forget()


class Move:
    def __init__(self, place, provider):
        self.place, self.provider = place, provider
        self.db, self.table = place.db, place.name
        self.one, self.other = place.kek, provider.new_kek()
        self.key = self.data_keys()[self.one]

    def call(self, function, *arguments):
        marks = ", ".join(["%s::text::regclass"] + ["%s"] * len(arguments))
        return self.db.sql(f"SELECT * FROM envelope.{function}({marks})", (self.table, *arguments))

    def data_keys(self):
        """Of the newest version: by KEK, and by the provider's own means."""
        newest = self.place.wraps()[-1][3]
        return {kek: (self.place.provider if kek == self.place.kek else self.provider).data_key(kek, wrapped, context)
                for kek, context, wrapped, key_id in self.place.wraps() if key_id == newest}

    def rewrap(self, source, target):
        moved = self.db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)",
                            (source, target, self.table))
        assert moved and all(row == (True, None) for row in moved)

    def keks(self):
        return {kek for kek, *_ in self.place.wraps()}


def checked(move):
    return [ok for ok, in move.db.sql("SELECT ok FROM envelope.check() WHERE relation = %s", (f"public.{move.table}",))]


def test_rewrap_and_back(move):
    move.rewrap(move.one, move.other)
    assert move.keks() == {move.other} and move.place.opens()
    move.place.insert()
    assert move.data_keys() == {move.other: move.key}
    move.call("rotate_key")
    move.place.insert()
    move.rewrap(move.other, move.one)
    assert move.keks() == {move.one} and move.place.opens()
    assert checked(move) == [True] * 2


def test_add_and_drop(move):
    assert move.call("add_kek", move.other) == [(1,)]
    assert move.data_keys() == {move.one: move.key, move.other: move.key}
    # New versions are wrapped by both.
    move.call("rotate_key")
    assert len(set(move.data_keys().values())) == 1 and move.keks() == {move.one, move.other}
    move.place.insert()
    assert move.call("drop_kek", move.one) and move.keks() == {move.other} and move.place.opens()
    assert move.call("add_kek", move.one) and move.call("drop_kek", move.other)
    assert move.keks() == {move.one} and move.place.opens()
    assert checked(move) == [True] * 2


def test_fall_over(move):
    """When the KEK that is tried first is out of reach the other opens; when it refuses, nobody else is asked."""
    move.call("add_kek", move.other)
    first = move.db.value("SELECT keks[1] FROM envelope.keys WHERE relation = %s", (f"public.{move.table}",))
    provider = move.place.provider if first == move.one else move.provider
    if "down" not in provider.lacks:
        with provider.fault("down", first):
            assert move.place.opens()
            move.place.insert()
        assert move.place.opens()
    with provider.fault("disabled", first), fails(sqlstate(provider, "disabled")):
        move.place.opens()
    if "disabled" not in provider.for_good:
        assert move.place.opens()
