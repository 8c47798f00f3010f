#!/usr/bin/env python3
"""The SQL of a page for psql -At -F ' ', which then prints the rows that the page shows, each in brackets: sql.py PAGE
With --expected: what that must be."""

import re
import sys

BLOCK = re.compile(r"^```sql\n(.*?)^```", re.M | re.S)
SHOWN = re.compile(r";\s*--\s*=>\s*(.*)$")
WORDS = {"true": "t", "false": "f"}


def statements(page):
    """Each statement, and what the page says that it gives, or None."""
    lines = []
    for line in "".join(BLOCK.findall(page)).splitlines():
        lines.append(line)
        if re.search(r";\s*(--.*)?$", line):
            shown = SHOWN.search(line)
            yield "\n".join(lines), shown and shown[1].strip()
            lines = []


def main(page, expected=False):
    for statement, shown in statements(open(page).read()):
        if expected:
            if shown and shown != "(none)":
                print(" ".join(WORDS.get(word, word) for word in shown.split(" ")))
        else:
            print("\\o" if shown else "\\o /dev/null", statement, sep="\n")


if __name__ == "__main__":
    main([a for a in sys.argv[1:] if a != "--expected"][0], "--expected" in sys.argv)
