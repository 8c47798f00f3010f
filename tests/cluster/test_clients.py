"""The recipes of docs/clients.md: three drivers here, the other clients in `make test-clients`."""

import pytest
from clients import all as every
from clients import checks


@pytest.fixture(scope="module")
def served():
    with checks.cluster_for_clients() as c:
        yield c


@pytest.mark.parametrize("client", every.DAILY)
def test_a_recipe(client, served, tmp_path):
    checks.run(client, served, tmp_path)


def test_the_page_names_every_client():
    assert list(checks.table()) == [*every.DAILY, *every.OTHERS]
