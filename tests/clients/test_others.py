"""Every client of docs/clients.md that `make test` does not run."""

import pytest
from clients import all as every
from clients import checks


@pytest.fixture(scope="module")
def served():
    with checks.cluster_for_clients() as c:
        yield c


@pytest.mark.parametrize("client", every.OTHERS)
def test_a_recipe(client, served, tmp_path):
    checks.run(client, served, tmp_path)
