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


@pytest.mark.parametrize("client", every.BY_VIEW)
def test_a_date_through_a_view(client, served, tmp_path):
    dbname = checks.database(served, "Through a view", "One column for both")
    told = every.BY_VIEW[client].run(tmp_path, checks.url(served, dbname))
    assert told == {"added": "1999-12-31", "changed": "1987-06-05", "found": "[1]"}
    [row] = served.sql("SELECT envelope.is_sealed(born), envelope_decrypt_as('staff', born, NULL::date)::text "
                       "FROM staff WHERE id = 1", dbname=dbname)
    assert row == (True, "1987-06-05")
