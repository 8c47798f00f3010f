"""One client: its recipe in docs/clients.md, and the program that runs it and tells what it saw."""

import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Callable

from harness import document

# What a notation of backslashes or quotes, or another encoding, would change.
AWKWARD = r"C:\101 \x41 O'Brien é 🔑"
CHANGED = r"\x4142\\ — ''"
# What PostgreSQL reads as other bytes, without an error, when it stands for a bytea.
NOTATION = r"C:\101"
# For a statement that fails, as its id is there already.
SECRET = "123-45-6789"

GIVEN = {"AWKWARD": AWKWARD, "CHANGED": CHANGED, "NOTATION": NOTATION, "SECRET": SECRET}


@dataclasses.dataclass
class Client:
    """The blocks of `language` below `heading` are put into the file `recipe`; `command(directory)` runs them. Some need
    more than the tables: the SQL below their heading."""

    heading: str
    language: str
    recipe: str
    command: Callable
    more_sql: bool = False

    def run(self, directory, dsn):
        """Runs the recipe in an empty directory; what the program told, by name."""
        path = pathlib.Path(directory) / self.recipe
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(document.blocks("clients.md", self.heading, self.language)))
        done = subprocess.run(
            [str(word) for word in self.command(directory)], cwd=directory, capture_output=True, text=True,
            env={**os.environ, **GIVEN, "DATABASE_URL": dsn, "LANG": "C.UTF-8"})
        assert done.returncode == 0, f"{self.heading}:\n{done.stdout}{done.stderr}"
        return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
