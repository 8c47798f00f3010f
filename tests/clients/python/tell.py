"""What the programs beside this one tell, a line a fact."""

import os

AWKWARD, CHANGED, NOTATION, SECRET, DSN = (
    os.environ[name] for name in ("AWKWARD", "CHANGED", "NOTATION", "SECRET", "DATABASE_URL"))


def tell(name, value):
    print(f"{name}\t{value}")


def kind(value):
    """How a sealed value came."""
    if isinstance(value, str):
        return "text" if value.startswith("\\xf7e1") else f"other text: {value}"
    return "bytes" if bytes(value)[:2] == b"\xf7\xe1" else "other bytes"


def fate(opened, given):
    """What became of a value on its way in."""
    return "kept" if opened == given else "changed"


def shown(error):
    """Whether an error's text shows the value that the statement came with."""
    return "shown" if SECRET in f"{error} {error!r} {getattr(error, '__cause__', '')}" else "not shown"
