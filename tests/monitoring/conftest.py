"""One scene for all tests that look on."""

import pytest

from .scene import Scene

# Of each phase.
SECONDS = 12


@pytest.fixture(scope="session")
def scene():
    with Scene(SECONDS) as played:
        yield played
