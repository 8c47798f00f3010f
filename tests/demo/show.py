"""How the demo prints."""

import itertools

_numbers = itertools.count(1)


def heading(text):
    print(f"\n== {next(_numbers)}. {text}")


def say(*lines):
    for line in lines:
        print(f"   {line}")


def check(holds, what):
    """A promise of the demo; it ends here when one does not hold."""
    if not holds:
        raise SystemExit(f"   FAILED: {what}")
    say(f"ok: {what}")


def shown(sql):
    """Prints a statement as one would type it, and gives it back."""
    print("   => " + "\n      ".join(sql.strip().splitlines()))
    return sql


def table(cursor):
    """Prints a result as psql does, roughly."""
    names = [c.name for c in cursor.description]
    rows = [[_text(v) for v in row] for row in cursor.fetchall()]
    widths = [max(map(len, column)) for column in zip(names, *rows)]
    for row in [names, *rows]:
        say("   " + " | ".join(v.ljust(w) for v, w in zip(row, widths)).rstrip())


def _text(value):
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return str(value)
