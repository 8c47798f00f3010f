"""The commands that the documentation gives, so that tests run what a reader would."""

import re

from . import place


def blocks(name, heading, language):
    """The fenced blocks of a language below a heading of docs/<name>, up to the next heading."""
    text = (place.ROOT / "docs" / name).read_text()
    sections = re.split(r"^#+ (.*)$", text, flags=re.M)
    section = dict(zip(sections[1::2], sections[2::2], strict=True))[heading]
    found = re.findall(rf"^```{language}\n(.*?)^```", section, flags=re.M | re.S)
    assert found, f"no {language} below {heading}"
    return found
