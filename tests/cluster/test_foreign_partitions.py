"""Shards of postgres_fdw: the parent has the keys and the trigger, the other nodes have rows and nothing else. docs/scale-out.md."""

import pytest
from harness.database import Database
from sqlstate import fails

SHIPPED = "EXPLAIN (VERBOSE, FORMAT JSON) "


@pytest.fixture
def shards(cluster):
    """Two nodes that have no keys, here databases beside."""
    made = [Database(cluster) for _ in range(2)]
    for node in made:
        node.sql("CREATE TABLE cust (id int NOT NULL, ssn envelope.sealed, ssn_ix bytea)")
        node.sql("CREATE INDEX ON cust (ssn_ix)")
    yield made
    for node in made:
        node.drop()


@pytest.fixture
def parent(db, cluster, shards):
    db.sql("CREATE EXTENSION postgres_fdw")
    db.sql("CREATE TABLE cust (id int NOT NULL, ssn envelope.sealed, ssn_ix bytea) PARTITION BY HASH (id)")
    for at, node in enumerate(shards):
        db.sql(f"CREATE SERVER shard_{at} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{cluster.base}', "
               f"port '{cluster.port}', dbname '{node.name}', extensions 'pgrx-example')")
        db.sql(f"CREATE USER MAPPING FOR postgres SERVER shard_{at} OPTIONS (user 'postgres')")
        db.sql(f"CREATE FOREIGN TABLE cust_{at} PARTITION OF cust FOR VALUES WITH (MODULUS 2, REMAINDER {at}) "
               f"SERVER shard_{at} OPTIONS (table_name 'cust')")
    db.sql("SELECT envelope.create_key('cust')")
    db.sql("SELECT envelope.set_policy('cust', 'ssn', value_type => 'text')")
    db.sql("SELECT envelope.add_index('cust', 'ssn', 'exact', 'ssn_ix')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON cust FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("CALL envelope.build_index('cust', 'ssn', 'ssn_ix')")
    db.sql("INSERT INTO cust SELECT g, 'number ' || g FROM generate_series(1, 100) g")
    return db


def scans(plan):
    if "Remote SQL" in plan:
        yield plan["Remote SQL"]
    for below in plan.get("Plans", []):
        yield from scans(below)


def test_other_nodes_have_neither_keys_nor_plaintext(parent, shards):
    for node in shards:
        assert node.value("SELECT count(*) > 20 FROM cust")
        assert node.value("SELECT count(*) FROM cust WHERE envelope.is_sealed(ssn) AND ssn_ix IS NOT NULL") == \
            node.value("SELECT count(*) FROM cust")
        assert node.value("SELECT count(*) FROM envelope.data_key") == 0
    assert parent.value("SELECT count(*) FROM cust WHERE envelope_decrypt_text('cust', ssn) = 'number ' || id") == 100
    assert parent.sql("SELECT version, rows FROM envelope.census('cust', 'ssn')") == [(1, 100)]


@pytest.mark.parametrize("term", ["ARRAY(SELECT unnest(envelope_search('cust', 'ssn', 'number 7')))", "%s"])
def test_a_term_that_is_made_first_is_asked_of_the_nodes(parent, term):
    given = () if "%s" not in term else (parent.value("SELECT envelope_search('cust', 'ssn', 'number 7')"),)
    query = f"SELECT id FROM cust WHERE ssn_ix = ANY ({term})"
    assert parent.sql(query, given) == [(7,)]
    sent = list(scans(parent.value(SHIPPED + query, given)[0]["Plan"]))
    assert len(sent) == 2 and all("WHERE" in sql and "ssn_ix" in sql.split("WHERE")[1] for sql in sent), sent
    assert not any("number" in sql for sql in sent)


def test_values_are_sealed_anew_from_the_parent(parent, shards):
    parent.sql("SELECT envelope.rotate_key('cust')")
    parent.sql("UPDATE cust SET ssn = envelope.reseal('cust', ssn)")
    assert parent.sql("SELECT version, rows FROM envelope.census('cust', 'ssn')") == [(2, 100)]


@pytest.mark.parametrize("kind, column, none, op, wanted", [("suffix(2)", "bytea", "", "suffix", "88"),
                                                            ("parts(3)", "bigint[]", "{}", "contains", "r 88")])
def test_an_index_is_built_once_the_other_nodes_have_terms(parent, shards, kind, column, none, op, wanted):
    """Until then questions do without it: they would miss what those have."""
    ask = f"SELECT id FROM cust WHERE envelope_matches('cust', 'ssn', ssn, new_ix, '{op}', '{wanted}') ORDER BY id"
    for node in shards:
        node.sql(f"ALTER TABLE cust ADD new_ix {column}")
    parent.sql(f"ALTER TABLE cust ADD new_ix {column}")
    parent.sql("SELECT envelope.add_index('cust', 'ssn', %s, 'new_ix')", (kind,))
    build = "CALL envelope.build_index('cust', 'ssn', 'new_ix')"
    for part in ("public.cust_0", "public.cust_1"):
        with fails("55000") as caught:
            parent.sql(build)
        assert parent.sql(ask) == [(88,)]
        assert f"UPDATE {part} SET \"new_ix\" = '{none}'" in caught.value.diag.message_hint
        parent.sql(f"UPDATE {part} SET new_ix = %s", (none,))
    parent.sql(build)
    assert parent.sql(ask) == [(88,)]
