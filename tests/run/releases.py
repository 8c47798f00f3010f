"""What holds for releases: released files are as they were, each release has its fixtures and a way to the newest, the
library has the symbols that released catalogs call, and all files tell one version. Fails with a line for each fault."""

import datetime
import hashlib
import itertools
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures"
# As sha256sum writes it. Lines come with a release (tests/fixtures/make.py) and never change.
LIST = FIXTURES / "released.sha256"
NAME = "pgrx-example"
SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")

# Where else the version stands: a file that may be missing, and what gives the version from its text.
TOLD = {
    "Cargo.lock": lambda text: re.search(rf'^name = "{NAME}"\nversion = "(.*)"', text, re.M)[1],
    f"{NAME}.control": lambda text: re.search(r"^default_version = '(.*)'", text, re.M)[1],
    "META.json": lambda text: json.loads(text)["version"],
    "rpm/pgrx-example.spec": lambda text: re.search(r"^Version: *(\S+)", text, re.M)[1],
    # The newest entry, without what is the package's own: -1, ~rc1.
    "debian/changelog": lambda text: re.match(r"\S+ \(([^-~)]*)", text)[1],
}


def numbers(version):
    return tuple(map(int, version.split(".")))


def cargo_version():
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def versions_agree(version):
    if not VERSION.fullmatch(version):
        yield f"Cargo.toml: {version} is no semantic version MAJOR.MINOR.PATCH"
    for name, told in TOLD.items():
        path = ROOT / name
        if path.exists() and (found := told(path.read_text())) not in (version, "@CARGO_VERSION@"):
            yield f"{name}: the version is {found}, in Cargo.toml {version}"


def changelog():
    """Its releases, newest first: version, date, headings of the sections. Not released yet: without a date."""
    text = (ROOT / "CHANGELOG.md").read_text()
    for entry in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, body = entry.partition("\n")
        yield title, re.findall(r"^### (.*)", body, re.M), body


def releases_of(entries):
    """(version, date) of each release, newest first; entries that are no release are left out."""
    found = [re.fullmatch(r"\[(\S+)\] - (\d{4}-\d{2}-\d{2})(?: \[YANKED\])?", title) for title, _, _ in entries]
    return [(match[1], match[2]) for match in found if match and VERSION.fullmatch(match[1])]


def changelog_is_in_order(version, entries):
    releases = releases_of(entries)
    if not entries or entries[0][0] != "[Unreleased]":
        yield "CHANGELOG.md: the first entry must be [Unreleased]"
    if len(releases) != len(entries) - 1:
        yield "CHANGELOG.md: each entry but the first must be `## [MAJOR.MINOR.PATCH] - YYYY-MM-DD`"
    for title, sections, _ in entries:
        if unknown := set(sections) - set(SECTIONS):
            yield f"CHANGELOG.md: {title} has sections that are not of Keep a Changelog: {', '.join(sorted(unknown))}"
        if [name for name in SECTIONS if name in sections] != [name for name in sections if name in SECTIONS]:
            yield f"CHANGELOG.md: {title} must have each section once, in the order {', '.join(SECTIONS)}"
    for (newer, later), (older, earlier) in itertools.pairwise(releases):
        if numbers(newer) <= numbers(older):
            yield f"CHANGELOG.md: {newer} stands above {older}"
        if later < earlier:
            yield f"CHANGELOG.md: {newer} has an earlier date than {older}"
    for number, date in releases:
        try:
            datetime.date.fromisoformat(date)
        except ValueError:
            yield f"CHANGELOG.md: {number} has no date: {date}"
    if not releases or not VERSION.fullmatch(version):
        return
    newest = releases[0][0]
    major, minor, patch = numbers(newest)
    following = [(major, minor, patch + 1), (major, minor + 1, 0), (major + 1, 0, 0)]
    if version != newest and numbers(version) not in following:
        yield f"Cargo.toml: {version} does not follow the newest release, {newest}"
    if version == newest and entries[0][2].strip():
        yield f"Cargo.toml: {version} is released, and CHANGELOG.md has changes after it"


def listed():
    return dict(reversed(line.split(maxsplit=1)) for line in LIST.read_text().splitlines())


def released_files(releases):
    """What a release has brought and nobody may change: paths from the root."""
    released = {version for version, _ in releases}
    for version in sorted(released, key=numbers):
        yield from sorted(str(p.relative_to(ROOT)) for p in (FIXTURES / version).rglob("*") if p.is_file())
    for old, new, path in scripts():
        if {old, new} <= released:
            yield str(path.relative_to(ROOT))


def released_stay(releases):
    sums = listed()
    for name, digest in sums.items():
        path = ROOT / name
        if not path.is_file():
            yield f"{name}: a released file is gone"
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{name}: a released file has changed; what is new goes into the next upgrade script"
    for name in released_files(releases):
        if name not in sums:
            yield f"{name}: of a release, and not in {LIST.relative_to(ROOT)}"


def scripts():
    for path in sorted((ROOT / "sql").glob(f"{NAME}--*--*.sql")):
        _, old, new = path.stem.split("--")
        yield old, new, path


def releases_are_whole(version, releases):
    known = {number for number, _ in releases}
    sums = listed()
    for number in sorted(known, key=numbers):
        for name in ("dump.sql", "kek", "plaintexts.json", f"{NAME}--{number}.sql"):
            path = FIXTURES / number / name
            if not path.is_file():
                yield f"{path.relative_to(ROOT)}: missing (tests/run/python.sh release fixtures/make.py)"
            elif str(path.relative_to(ROOT)) not in sums:
                yield f"{path.relative_to(ROOT)}: not in {LIST.relative_to(ROOT)}"
    for path in FIXTURES.iterdir():
        if VERSION.fullmatch(path.name) and path.name not in known:
            yield f"tests/fixtures/{path.name}: CHANGELOG.md has no such release with a date"
    # From each release to the one at hand, by scripts that go forwards.
    ways = {}
    for old, new, path in scripts():
        if not (VERSION.fullmatch(old) and VERSION.fullmatch(new)) or numbers(old) >= numbers(new):
            yield f"{path.relative_to(ROOT)}: goes from no version to a later one"
        elif not {old, new} <= known | {version}:
            yield f"{path.relative_to(ROOT)}: names a version that is neither released nor in Cargo.toml"
        else:
            ways.setdefault(old, set()).add(new)
    for number in known - {version}:
        reached, ahead = set(), {number}
        while ahead:
            reached |= ahead
            ahead = set().union(*(ways.get(at, set()) for at in ahead)) - reached
        # Every later release, too: whoever takes it goes there by `UPDATE TO`.
        for goal in {version} | {other for other in known if numbers(other) > numbers(number)}:
            if goal not in reached:
                yield f"sql: no upgrade scripts lead from {number} to {goal}"


def called(script):
    """The symbols that an install script calls, and with how many arguments."""
    text = re.sub(r"--.*", "", script)
    for declared in re.finditer(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\s+([^;]*?)AS\s+"
                                r"'MODULE_PATHNAME'\s*,\s*'(\w+)'", text, re.I):
        head = declared[1]
        begin = head.index("(")
        depth, quoted, parts, last = 0, False, [], begin + 1
        for at in range(begin, len(head)):
            letter = head[at]
            quoted ^= letter == "'"
            if quoted:
                continue
            depth += (letter in "([") - (letter in ")]")
            if depth == 0 or (letter == "," and depth == 1):
                parts.append(head[last:at].strip())
                last = at + 1
                if depth == 0:
                    break
        yield declared[2], sum(1 for part in parts if part and not re.match(r"OUT\s", part, re.I))


def parameters(code, begin):
    """How many arguments of SQL a function of Rust takes whose parenthesis stands at `begin`; None: it reads them from
    the call."""
    depth, parts, last = 0, [], begin + 1
    for at in range(begin, len(code)):
        if code[at] in "([{<":
            depth += 1
        elif code[at] in ")]}" or (code[at] == ">" and code[at - 1] != "-"):
            depth -= 1
        if (code[at] == "," and depth == 1) or depth == 0:
            parts.append(code[last:at].strip())
            last = at + 1
            if depth == 0:
                break
    named = sum(1 for part in parts if part and "FunctionCallInfo" not in part)
    return None if named == 0 and any(parts) else named


def symbols():
    """What the library exports: symbol to the number of arguments, None where it reads them itself."""
    found = {}
    for path in sorted((ROOT / "src").rglob("*.rs")):
        code = re.sub(r"//.*", "", path.read_text())
        for match in re.finditer(r"\b(?:row|support)_function!\(\s*(\w+)|#\[unsafe\(no_mangle\)\][^{]*?\bfn (\w+)\(", code):
            found[match[1] or match[2]] = None
        for match in re.finditer(r"#\[pg_extern\b", code):
            named = re.compile(r"\bfn (\w+)(?:<[^(]*>)?\(").search(code, match.end())
            found[f"{named[1]}_wrapper"] = parameters(code, named.end() - 1)
    return found


def symbols_stay(releases):
    there = symbols()
    for number, _ in releases:
        script = FIXTURES / number / f"{NAME}--{number}.sql"
        for symbol, count in called(script.read_text()) if script.is_file() else ():
            if symbol not in there:
                yield f"src: {symbol}, which the catalog of {number} calls, is gone (src/sql/released.rs)"
            elif there[symbol] not in (None, count):
                yield (f"src: {symbol} takes {there[symbol]} arguments, and the catalog of {number} gives {count}: "
                       "give what is new another symbol, and keep the old one in src/sql/released.rs")


def faults():
    version = cargo_version()
    entries = list(changelog())
    releases = releases_of(entries)
    yield from versions_agree(version)
    yield from changelog_is_in_order(version, entries)
    yield from released_stay(releases)
    yield from releases_are_whole(version, releases)
    yield from symbols_stay(releases)


if __name__ == "__main__":
    sys.exit("\n".join(faults()) or None)
