"""AWS KMS end to end, with the requests counted where they arrive."""

import uuid

import pytest
from harness.work import at_once
from sqlstate import fails

ROWS = 100_000


def copy_in(db, rows):
    with db.connect() as c, c.cursor().copy("COPY people (id, ssn) FROM STDIN") as copy:
        for i in range(rows):
            copy.write_row((i, f"ssn {i}"))


def test_requests_for_many_rows(aws, proxy):
    aws.people()
    # A table's first key costs two requests: it is made, and its wrap is tried before it is written.
    aws.sql("INSERT INTO people VALUES (-2, 'first')")
    assert proxy.counts == {"GenerateDataKey": 1, "Decrypt": 1}
    proxy.reset_counts()
    copy_in(aws, ROWS)
    assert proxy.counts == {"Decrypt": 1}
    aws.sql("DELETE FROM people WHERE id < 0")
    proxy.reset_counts()
    with aws.connect() as c:
        # A worker is a backend of its own, with a cache of its own.
        c.execute("SET max_parallel_workers_per_gather = 0")
        query = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'ssn ' || id"
        assert c.execute(query).fetchone() == (ROWS,)
        assert proxy.counts == {"Decrypt": 1}
        c.execute("INSERT INTO people VALUES (-1, 'one more')")
        assert proxy.counts == {"Decrypt": 1}
        assert c.execute("SELECT keys_cached, kms_requests, kms_failures FROM envelope.stats").fetchone() == (1, 1, 0)


def test_encryption_context(aws, proxy):
    aws.people(rows=["x"])
    given = {"database": aws.name, "table": "public.people"}
    assert proxy.requests[0][1]["EncryptionContext"] == given
    proxy.reset_counts()
    # Frozen with the wrap: a rename does not touch it.
    aws.sql("ALTER TABLE people RENAME TO persons")
    assert aws.value("SELECT envelope_decrypt_text('persons', ssn) FROM persons") == "x"
    operation, request = proxy.requests[0]
    assert operation == "Decrypt" and request["EncryptionContext"] == given and request["KeyId"]


def test_users_own_context(aws, proxy):
    aws.sql("CREATE TABLE t (v bytea)")
    aws.sql("""SELECT envelope.create_key('t', kms_context => '{"purpose": "läge"}')""")
    assert proxy.requests[0][1]["EncryptionContext"] == {"purpose": "läge"}
    aws.sql("INSERT INTO t VALUES (envelope_encrypt('t', 'x'))")
    assert aws.value("SELECT envelope_decrypt_text('t', v) FROM t") == "x"


@pytest.mark.parametrize("sessions", [12])
def test_many_first_inserts_make_one_key(aws, sessions):
    aws.people()

    def insert(i):
        aws.sql("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}"))

    at_once(insert, sessions)
    assert aws.value("SELECT count(*) FROM envelope.data_key") == 1
    opened = aws.sql("SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id")
    assert opened == [(f"v{i}",) for i in range(sessions)]


def test_check_kek(aws, aws_cluster):
    kek = aws_cluster.conf["envelope.default_kek"]
    steps = aws.sql("SELECT step, ok, sqlstate FROM envelope.check_kek(%s)", (kek,))
    assert steps and all(ok for _, ok, _ in steps)
    broken = aws.sql("SELECT ok, sqlstate FROM envelope.check_kek(%s)", (kek[:-36] + str(uuid.uuid4()),))
    assert [state for ok, state in broken if not ok]


def test_alias_is_stored_as_arn(aws, moto, aws_cluster):
    arn = moto.create_key()
    moto.client().create_alias(AliasName="alias/wanted", TargetKeyId=arn)
    aws_cluster.set(envelope__allowed_keks="aws-kms://*")
    try:
        aws.sql("CREATE TABLE t (v bytea)")
        aws.sql("SELECT envelope.create_key('t', 'aws-kms://alias/wanted')")
        assert aws.value("SELECT kek FROM envelope.wrapped_key") == f"aws-kms://{arn}"
    finally:
        aws_cluster.set(envelope__allowed_keks=None)


def test_an_alias_is_looked_up_for_superusers_only(aws, moto, proxy, aws_cluster):
    """KMS's answer tells whether there is such an alias, and where it leads."""
    moto.client().create_alias(AliasName="alias/there", TargetKeyId=moto.create_key())
    aws.sql(f"CREATE TABLE t (v bytea); ALTER TABLE t OWNER TO {aws.low}")
    for alias in ("alias/there", "alias/elsewhere", "arn:aws:kms:us-east-1:123456789012:alias/there"):
        with fails("42501"):
            aws.sql(f"SELECT envelope.create_key('t', 'aws-kms://{alias}')", user=aws.low)
    assert proxy.counts == {}
    steps = aws.sql("SELECT step, sqlstate FROM envelope.check_kek('aws-kms://alias/there')")
    assert steps == [("uri", None), ("allowed", "42501")] and proxy.counts == {"DescribeKey": 1}


def test_parallel_workers_open_too(aws, proxy):
    aws.people()
    copy_in(aws, 20_000)
    proxy.reset_counts()
    with aws.connect() as c:
        for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                        "max_parallel_workers_per_gather = 2"):
            c.execute(f"SET {setting}")
        query = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'ssn ' || id"
        assert "Workers Planned: 2" in str(c.execute("EXPLAIN " + query).fetchall())
        assert c.execute(query).fetchone() == (20_000,)
    assert 1 <= proxy.counts["Decrypt"] <= 3
