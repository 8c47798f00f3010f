"""The recipes of docs/clients.md: three drivers here, the other clients in `make test-clients`."""

import asyncio
import types

import asyncpg
import pytest
from clients import all as every
from clients import checks
from harness import document, pooler
from sqlstate import fails


@pytest.fixture(scope="module")
def served():
    with checks.cluster_for_clients() as c:
        yield c


@pytest.mark.parametrize("client", every.DAILY)
def test_a_recipe(client, served, tmp_path):
    checks.run(client, served, tmp_path)


@pytest.mark.parametrize("client", every.BY_SOURCE)
def test_a_source_column(client, served, tmp_path):
    dbname = checks.database(served, "A column that keeps its type")
    program, shown = every.BY_SOURCE[client]
    told = program.run(tmp_path, checks.url(served, dbname))
    assert told == {"added": shown.format("1234.50"), "changed": shown.format("-0.07")}
    rows = served.sql("SELECT balance, envelope.is_sealed(balance_sealed) FROM accounts WHERE id = 1", dbname=dbname)
    assert rows == [(None, True)]


def test_roles_behind_pgbouncer(served, tmp_path):
    """Two clients of one server connection, which has the key in memory."""
    dbname = checks.database(served)
    served.sql("INSERT INTO customers VALUES (1, 'x')", dbname=dbname)
    [roles] = document.blocks("clients.md", "PgBouncer", "sql")
    with served.connect(dbname) as c:
        c.execute(roles)
    recipe = types.ModuleType("recipe")
    exec("\n".join(document.blocks("clients.md", "PgBouncer", "python")), vars(recipe))
    with pooler.in_transaction_mode(served, dbname, tmp_path / "bouncer.log", user="pool") as port:
        url = f"postgres://pool@127.0.0.1:{port}/{dbname}"
        with recipe.connect(url) as one, recipe.connect(url) as other:
            assert recipe.read_as(one, "billing", 1) == "x"
            for c in (one, other):
                c.autocommit = True
                assert c.execute("SELECT current_user").fetchone() == ("pool",)
                with fails("42501"):
                    c.execute("SELECT FROM customers")
            # The right to the table without the right to its keys.
            served.sql("GRANT SELECT ON customers TO pool", dbname=dbname)
            with fails("42501"):
                other.execute("SELECT envelope_decrypt_text('customers', ssn) FROM customers")
            assert recipe.read_as(other, "billing", 1) == "x"
            assert asyncio.run(read_by_asyncpg(url)) == "x"


async def read_by_asyncpg(url):
    c = await asyncpg.connect(url, statement_cache_size=0)
    async with c.transaction():
        await c.execute("SET LOCAL ROLE billing")
        # Its parameter makes asyncpg look at types in statements of its own.
        return await c.fetchval("SELECT envelope_decrypt_text('customers', ssn) FROM customers WHERE id = $1", 1)


def test_the_page_names_every_client():
    assert list(checks.table()) == [*every.DAILY, *every.OTHERS]
