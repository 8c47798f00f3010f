"""KMS asked under an IAM role of the database role's own: who asked is seen where the requests arrive."""

import pytest
from harness import faults
from harness import moto as kms
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"


def arn(name):
    return f"arn:aws:iam::123456789012:role/{name}"


def assume(name):
    return f"SET envelope.aws_role_arn = '{arn(name)}'"


@pytest.fixture
def people(aws, proxy):
    """A table with a value; the low role may open it, and two further roles."""
    aws.people(rows=["x"])
    for name in (aws.low, f"a_{aws.name}", f"b_{aws.name}"):
        if name != aws.low:
            aws.sql(f"CREATE ROLE {name}")
        aws.sql(f"GRANT SELECT ON people TO {name}; SELECT envelope.grant_key('people', '{name}', 'decrypt')")
    proxy.reset_counts()
    return aws


@pytest.mark.alone
def test_a_login_roles_own_setting(people, proxy):
    people.sql(f"ALTER ROLE {people.low} SET envelope.aws_role_arn = '{arn('reports')}'")
    with people.connect(people.low) as c:
        for _ in range(3):
            assert c.execute(OPEN).fetchone() == ("x",)
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchone() == ("x",)
    name = f"pg-{people.low}"
    # STS is asked once: the credentials last.
    assert proxy.callers == [("AssumeRole", "server"), ("Decrypt", name), ("Decrypt", name)]
    assert proxy.requests[0][1]["RoleArn"] == arn("reports")
    proxy.reset_counts()
    people.sql(OPEN)
    assert proxy.callers == [("Decrypt", "server")]


@pytest.mark.alone
def test_a_key_policy_decides_by_database_role(people, proxy):
    people.sql(f"ALTER ROLE {people.low} SET envelope.aws_role_arn = '{arn('reports')}'")
    proxy.fault("Decrypt", faults.deny_all_but(f"pg-{people.low}"))
    assert people.value(OPEN, user=people.low) == "x"
    with fails("28000") as error:
        people.sql(OPEN)
    assert "IAM role" not in error.value.diag.message_detail
    # Of a refusal one has to know who was refused.
    proxy.fault("Decrypt", faults.deny_all_but("server"))
    with fails("28000") as error:
        people.sql(OPEN, user=people.low)
    assert arn("reports") in error.value.diag.message_detail


@pytest.mark.alone
def test_no_identity_is_handed_anothers_key(people, proxy):
    """In one session, one role, one transaction: what the KMS gave one identity, another asks for itself."""
    with people.connect() as c:
        c.execute("BEGIN")
        assert c.execute(OPEN).fetchone() == ("x",)
        proxy.fault("Decrypt", faults.deny_all_but("server"))
        c.execute("SAVEPOINT s")
        c.execute(assume("stranger"))
        for _ in range(2):
            c.execute("SAVEPOINT t")
            with fails("28000"):
                c.execute(OPEN)
            c.execute("ROLLBACK TO t")
        c.execute("ROLLBACK TO s")
        # Back, also by a rollback; and what was refused to one is not held against the other.
        assert c.execute(OPEN).fetchone() == ("x",)
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchone() == ("x",)
        c.execute("COMMIT")
    decrypts = [who for operation, who in proxy.callers if operation == "Decrypt"]
    assert decrypts == ["server", "pg-postgres", "server"]


def test_each_identity_keeps_its_own(people, proxy):
    with people.connect() as c:
        for _ in range(3):
            for name in ("one", "two"):
                c.execute(assume(name))
                assert c.execute(OPEN).fetchone() == ("x",)
            c.execute("RESET envelope.aws_role_arn")
            assert c.execute(OPEN).fetchone() == ("x",)
        assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (3,)
        assert c.execute("SELECT envelope.flush_cache()").fetchone() == (3,)
    assert proxy.counts == {"AssumeRole": 2, "Decrypt": 3}


def test_set_role_names_the_session(people, proxy):
    names = [f"a_{people.name}", f"b_{people.name}"]
    with people.connect() as c:
        c.execute(assume("reports"))
        for _ in range(2):
            for name in names:
                c.execute(f"SET ROLE {name}")
                assert c.execute(OPEN).fetchone() == ("x",)
    assert [who for operation, who in proxy.callers if operation == "Decrypt"] == [f"pg-{name}" for name in names]
    assert [request["RoleSessionName"] for operation, request in proxy.requests if operation == "AssumeRole"] == [
        f"pg-{name}" for name in names]


def test_a_renamed_role_is_another(people, proxy):
    with people.connect() as c:
        c.execute(assume("reports"))
        c.execute(f"SET ROLE a_{people.name}")
        c.execute(OPEN)
        people.sql(f"ALTER ROLE a_{people.name} RENAME TO c_{people.name}")
        c.execute(OPEN)
    assert [who for operation, who in proxy.callers if operation == "Decrypt"] == [
        f"pg-a_{people.name}", f"pg-c_{people.name}"]


@pytest.mark.alone
def test_a_definer_functions_own_setting_row_by_row(people, proxy):
    """One statement that opens each value as two identities asks the KMS twice, not twice a row."""
    people.sql("INSERT INTO people SELECT i, 'x' FROM generate_series(2, 500) i")
    people.sql("CREATE FUNCTION lent(bytea) RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public "
               f"SET envelope.aws_role_arn = '{arn('lender')}' "
               "AS $$ BEGIN RETURN envelope_decrypt_text('people', $1); END $$")
    proxy.reset_counts()
    query = "SELECT count(*) FROM people WHERE lent(ssn) = envelope_decrypt_text('people', ssn)"
    assert people.value(query, user=people.low) == 500
    assert sorted(proxy.callers) == [("AssumeRole", "server"), ("Decrypt", "pg-postgres"), ("Decrypt", "server")]
    # Its caller cannot keep what it lends.
    proxy.fault("Decrypt", faults.deny_all_but("pg-postgres"))
    with people.connect(people.low) as c:
        assert c.execute("SELECT lent(ssn) FROM people LIMIT 1").fetchone() == ("x",)
        with fails("28000"):
            c.execute(OPEN)


def test_a_low_roles_function_does_not_set_it(people):
    people.sql(f"GRANT CREATE ON SCHEMA public TO {people.low}")
    with people.connect(people.low) as c:
        c.execute(OPEN)
        with fails("42501"):
            c.execute(assume("mine"))
        with fails("42501"):
            c.execute(f"CREATE FUNCTION mine() RETURNS text LANGUAGE sql SET envelope.aws_role_arn = '{arn('mine')}' "
                      f"AS $${OPEN}$$; SELECT mine()")


def test_keys_are_made_as_it(aws, proxy):
    with aws.connect() as c:
        c.execute(assume("maker"))
        c.execute("CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'x'))")
    assert proxy.callers == [("AssumeRole", "server"), ("GenerateDataKey", "pg-postgres"), ("Decrypt", "pg-postgres")]
    assert aws.value("SELECT envelope_decrypt_text('t', v) FROM t") == "x"


def test_keys_are_changed_as_it(people, moto, proxy):
    """Rotated, rewrapped, under a further KEK, checked, resealed; and what it had made is kept for it alone."""
    kek, further = people.cluster.conf["envelope.default_kek"], kms.kek(moto.create_key())
    for operation in ("GenerateDataKey", "Encrypt", "Decrypt", "ReEncrypt", "DescribeKey"):
        proxy.fault(operation, faults.deny_all_but("pg-postgres"))
    with people.connect() as c:
        c.execute(f"SET envelope.allowed_keks = '{kek},{further}'")
        for step in ("SELECT envelope.rotate_key('people')",
                     f"SELECT envelope.add_kek('people', '{further}')",
                     f"SELECT envelope.drop_kek('people', '{kek}')",
                     f"SELECT done FROM envelope.rewrap('{further}', '{kek}')",
                     "SELECT bool_and(ok) FROM envelope.check()",
                     "SELECT envelope.reseal('people', ssn) FROM people",
                     """SELECT envelope.set_limits('people', '{"rotate_after_seals": 1}')""",
                     "INSERT INTO people VALUES (2, 'rotates')"):
            c.execute(assume("maker"))
            outcome = c.execute(step)
            assert outcome.description is None or False not in outcome.fetchone(), step
            c.execute("RESET envelope.aws_role_arn")
            with fails("28000"):
                c.execute("SELECT envelope_encrypt('people', 'x')")
    assert people.value("SELECT count(*) FROM envelope.keys") == 3


def test_an_alias_leads_where_it_does_for_who_asks(aws, moto, proxy):
    """Another account may have another key under the same alias."""
    alias = f"alias/{aws.name}"
    moto.client().create_alias(AliasName=alias, TargetKeyId=moto.create_key())
    with aws.connect() as c:
        c.execute(f"SET envelope.allowed_keks = 'aws-kms://{alias}'")
        c.execute(f"CREATE TABLE t (); SELECT envelope.create_key('t', 'aws-kms://{alias}')")
        proxy.reset_counts()
        for _ in range(2):
            for setting in ("RESET envelope.aws_role_arn", assume("other")):
                c.execute(setting)
                c.execute("SELECT envelope_encrypt('t', 'x')")
    described = [who for operation, who in proxy.callers if operation == "DescribeKey"]
    assert described == ["pg-postgres"]


def test_a_key_that_rolls_back_leaves_every_identitys_cache(aws):
    aws.sql("CREATE TABLE t (v bytea)")
    with aws.connect() as c:
        c.execute("BEGIN; SAVEPOINT s")
        c.execute("CREATE TEMP TABLE sealed AS SELECT envelope_encrypt('t', 'x') AS v")
        c.execute(assume("other"))
        assert c.execute("SELECT envelope_decrypt_text('t', v) FROM sealed").fetchone() == ("x",)
        assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (2,)
        c.execute("ROLLBACK TO s")
        assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)
        c.execute("COMMIT")


def test_parallel_workers_ask_as_the_leader(people, proxy):
    number = people.value("SELECT current_setting('server_version_num')::int")
    force = "force_parallel_mode" if number < 160000 else "debug_parallel_query"
    people.sql(f"ALTER ROLE {people.low} SET envelope.aws_role_arn = '{arn('reports')}'")
    with people.connect(people.low, options=f"-c {force}=on") as c:
        assert c.execute(OPEN).fetchone() == ("x",)
    assert [who for operation, who in proxy.callers if operation == "Decrypt"] == [f"pg-{people.low}"]


@pytest.mark.parametrize("fault, sqlstate", [
    (faults.sts_error("AccessDenied"), "28000"),
    (faults.sts_error("SignatureDoesNotMatch"), "28000"),
    (faults.sts_error("InvalidIdentityToken", 400), "28000"),
    (faults.sts_error("InternalFailure", 500), "58030"),
    (faults.hang, "58030"),
    (faults.reset, "58030"),
])
def test_sts_does_not_give_credentials(people, proxy, fault, sqlstate):
    proxy.fault("AssumeRole", fault)
    with people.connect() as c:
        c.execute(assume("reports"))
        with fails(sqlstate):
            c.execute(OPEN)
        # The server itself goes on, at once.
        c.execute("RESET envelope.aws_role_arn")
        assert c.execute(OPEN).fetchone() == ("x",)
        # And so does the role, once STS does.
        proxy.clear()
        c.execute(assume("reports"))
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchone() == ("x",)


@pytest.mark.parametrize("value", ["nonsense", "arn:aws:iam::123456789012:user/u", "arn:aws:iam::123456789012:role/"])
def test_what_is_no_role(people, proxy, value):
    with people.connect() as c:
        c.execute(f"SET envelope.aws_role_arn = '{value}'")
        with fails("22023"):
            c.execute(OPEN)
    assert proxy.counts == {}
