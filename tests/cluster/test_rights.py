"""Rights on keys as other sessions see them change: the next statement counts, whatever was known before."""

import pytest
from harness import process
from harness.work import Work
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
# PL/pgSQL evaluates such an assignment without beginning a statement.
OPEN_FOR_EVER = """DO $$ DECLARE opened text; sealed bytea := (SELECT ssn FROM people); BEGIN LOOP
opened := envelope_decrypt_text('people', sealed); PERFORM pg_sleep(0.01); END LOOP; END $$"""


@pytest.fixture
def report(db):
    """The low role opens by a grant to the role `group_…`, whose member it is; another table is in use beside."""
    db.group = f"group_{db.name}"
    db.people(rows=["secret"])
    db.sql(f"CREATE ROLE {db.group}; GRANT {db.group} TO {db.low}; GRANT ALL ON people TO PUBLIC")
    db.sql(f"SELECT envelope.grant_key('people', '{db.group}', 'decrypt')")
    return db


CHANGES = {
    "revoke_key": ("SELECT envelope.revoke_key('people', '{group}', 'decrypt')",
                   "SELECT envelope.grant_key('people', '{group}', 'decrypt')"),
    "membership": ("REVOKE {group} FROM {low}", "GRANT {group} TO {low}"),
    "catalog": ("DELETE FROM envelope.key_grant", "SELECT envelope.grant_key('people', '{group}', 'decrypt')"),
    "truncate": ("TRUNCATE envelope.key_grant", "SELECT envelope.grant_key('people', '{group}', 'decrypt')"),
}


@pytest.mark.parametrize("isolation", ["autocommit", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_another_session_changes_counts_at_once(report, change, isolation):
    away, back = (sql.format(group=report.group, low=report.low) for sql in CHANGES[change])
    with report.connect(report.low) as c:
        if isolation != "autocommit":
            c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        assert c.execute(OPEN).fetchall() == [("secret",)]
        report.sql(away)
        c.execute("SAVEPOINT s") if isolation != "autocommit" else None
        with fails("42501"):
            c.execute(OPEN)
        c.execute("ROLLBACK TO s") if isolation != "autocommit" else None
        report.sql(back)
        assert c.execute(OPEN).fetchall() == [("secret",)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_loop_that_is_running_learns_of_it_too(report, change):
    with report.connect(report.low) as c:
        c.execute("SET statement_timeout = '60s'")
        loop = Work(c.execute, OPEN_FOR_EVER)
        process.wait_until(lambda: report.sleeps(c.info.backend_pid), "the loop")
        report.sql(CHANGES[change][0].format(group=report.group, low=report.low))
        with fails("42501"):
            loop.result()


def test_the_tables_owner_changes(report):
    report.sql(f"REVOKE {report.group} FROM {report.low}; ALTER TABLE people OWNER TO {report.low}")
    with report.connect(report.low) as c:
        assert c.execute(OPEN).fetchall() == [("secret",)]
        report.sql("ALTER TABLE people OWNER TO postgres")
        with fails("42501"):
            c.execute(OPEN)


def test_a_superuser_no_more(report):
    report.sql(f"REVOKE {report.group} FROM {report.low}; ALTER ROLE {report.low} SUPERUSER")
    with report.connect(report.low) as c:
        assert c.execute(OPEN).fetchall() == [("secret",)]
        report.sql(f"ALTER ROLE {report.low} NOSUPERUSER")
        with fails("42501"):
            c.execute(OPEN)


def test_a_dropped_role_that_is_still_connected(report):
    """PostgreSQL drops a role under its sessions; what it was granted itself ends with it."""
    report.sql(f"REVOKE {report.group} FROM {report.low}; SELECT envelope.grant_key('people', '{report.low}', 'decrypt')")
    with report.connect(report.low) as c:
        assert c.execute(OPEN).fetchall() == [("secret",)]
        report.sql(f"DROP ROLE {report.low}")
        with fails("42501"):
            c.execute(OPEN)


def test_parallel_workers_ask_for_the_leaders_role(report):
    number = report.value("SELECT current_setting('server_version_num')::int")
    force = "force_parallel_mode" if number < 160000 else "debug_parallel_query"
    with report.connect(report.low, options=f"-c {force}=on") as c:
        assert c.execute(OPEN).fetchall() == [("secret",)]
        report.sql(f"REVOKE {report.group} FROM {report.low}")
        with fails("42501"):
            c.execute(OPEN)


def test_a_dba_owns_nothing_and_opens_nothing(db):
    """CREATEROLE, CREATEDB, the database itself, monitoring, reading and writing everything: none is a right on keys."""
    dba = f"dba_{db.name}"
    db.people(rows=["secret"])
    db.sql("SELECT envelope.grant_key('people', 'postgres', 'search')")
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    db.sql("INSERT INTO envelope.key_use SELECT gen_random_uuid(), key_id, 1, 1 FROM envelope.data_key")
    db.sql(f"CREATE ROLE {dba} LOGIN CREATEROLE CREATEDB IN ROLE pg_monitor, pg_read_all_data, pg_write_all_data")
    db.sql(f"ALTER DATABASE {db.name} OWNER TO {dba}")
    with db.connect(dba) as c:
        assert c.execute("SELECT count(*) FROM people").fetchone() == (1,)
        for statement in (OPEN, "SELECT envelope_encrypt('people', 'x')", "INSERT INTO people VALUES (2, 'x')",
                          f"SELECT envelope.grant_key('people', '{dba}', 'decrypt')",
                          "SELECT envelope.set_limits('people', '{}')", "SELECT envelope.warm('people')",
                          f"UPDATE envelope.key_grant SET grantee = '{dba}'::regrole",
                          "INSERT INTO envelope.key_grant SELECT gen_random_uuid(), keyring_id, "
                          f"'{dba}'::regrole, 'decrypt' FROM envelope.keyring",
                          "UPDATE envelope.keyring SET limits = '{}'", "DELETE FROM envelope.wrapped_key",
                          "UPDATE envelope.keyring_table SET seals = false", "TRUNCATE envelope.data_key",
                          "UPDATE envelope.data_key SET state = 'retired'", "DELETE FROM envelope.key_use",
                          "INSERT INTO envelope.key_use SELECT gen_random_uuid(), key_id, 1000000, 1 FROM envelope.data_key",
                          "UPDATE envelope.reencryption SET next_block = 1", "DELETE FROM envelope.reencryption",
                          "INSERT INTO envelope.followed_keyring SELECT keyring_id, 'x' FROM envelope.keyring",
                          "DELETE FROM envelope.followed_keyring", "DELETE FROM envelope.key_event",
                          "INSERT INTO envelope.key_event (id, event, role, login_role) "
                          f"VALUES (gen_random_uuid(), 'destroy', '{dba}', '{dba}')"):
            with fails("42501"):
                c.execute(statement)
        # What monitoring shows: the keys' names and states, and who may use them.
        assert c.execute("SELECT relation, state FROM envelope.keys").fetchall() == [("public.people", "active")]
        assert c.execute("SELECT DISTINCT grantee FROM envelope.key_privileges").fetchall() == [("postgres",)]


PLANT = {
    "UPDATE": "WITH planted AS (UPDATE envelope.keyring_table SET relation = 'mine', seals = {seals} RETURNING 1) "
              "SELECT spy() FROM (SELECT count(*) FROM planted) AS p WHERE count > 0",
    "INSERT": "WITH planted AS (INSERT INTO envelope.key_grant SELECT gen_random_uuid(), keyring_id, '{low}', 'decrypt' "
              "FROM envelope.keyring RETURNING 1) SELECT spy() FROM (SELECT count(*) FROM planted) AS p WHERE count > 0",
}


@pytest.mark.parametrize("seals", [False, True])
@pytest.mark.parametrize("plant", PLANT)
def test_what_a_statement_calls_does_not_see_what_it_has_planted(db, plant, seals):
    """pg_write_all_data lets its members write to every table; that they may not to the catalog's is said before any row
    is, not after the statement's own functions have used it."""
    db.people(rows=["secret"])
    db.sql(f"GRANT pg_write_all_data, pg_read_all_data TO {db.low}; GRANT CREATE ON SCHEMA public TO {db.low}")
    db.sql("""CREATE TABLE mine (v bytea);
              CREATE FUNCTION spy() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                PERFORM envelope_decrypt(t, ssn) FROM people, unnest('{mine,people}'::regclass[]) AS t;
                RAISE EXCEPTION 'opened'; END $$""", user=db.low)
    with db.connect(db.low) as c:
        with fails("42501"):
            c.execute(PLANT[plant].format(low=db.low, seals=seals))
        for table in ("mine", "people"):
            with fails("22023" if table == "mine" else "42501"):
                c.execute(f"SELECT envelope_decrypt('{table}', ssn) FROM people")


def after(db, first, statement, second, other):
    """The second session's statement, which has waited for the first one's transaction."""
    first.execute("BEGIN")
    first.execute(statement)
    waiting = Work(second.execute, other)
    process.wait_until(lambda: db.waits_for_lock(second.info.backend_pid), "it waits")
    first.execute("COMMIT")
    return waiting


def test_who_was_a_manager_when_they_began_grants_nothing(db):
    """The revocation waits for the grant, or the grant for the revocation: never does one of them miss the other."""
    db.people(rows=["secret"])
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'manage'); CREATE ROLE puppet_{db.name}")
    grant = f"SELECT envelope.grant_key('people', 'puppet_{db.name}', 'manage')"
    revoke = f"SELECT envelope.revoke_key('people', '{db.low}', 'manage')"
    with db.connect() as owner, db.connect(db.low) as manager:
        assert after(db, owner, revoke, manager, grant).error().sqlstate == "42501"
    assert db.value("SELECT count(*) FROM envelope.key_grant") == 0
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'manage')")
    with db.connect() as owner, db.connect(db.low) as manager:
        after(db, manager, grant, owner, revoke).result()
    assert db.sql("SELECT grantee::text FROM envelope.key_grant") == [(f"puppet_{db.name}",)]


CENSUS = {
    "a cast": "CREATE TYPE kind AS ENUM ('a'); CREATE FUNCTION spy(kind) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS "
              "$$ BEGIN RAISE EXCEPTION 'ran'; END $$; CREATE CAST (kind AS bytea) WITH FUNCTION spy(kind) AS IMPLICIT; "
              "CREATE TABLE theirs (v kind); INSERT INTO theirs VALUES ('a')",
    "a view": "CREATE FUNCTION spy() RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran'; END $$; "
              "CREATE VIEW theirs AS SELECT spy() AS v",
}


@pytest.mark.parametrize("kind, sqlstate", [("a cast", "42804"), ("a view", "42809")])
def test_a_census_runs_no_code_of_the_tables_owner(db, kind, sqlstate):
    """A superuser counts other people's values."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}; ALTER DATABASE {db.name} OWNER TO {db.low}")
    db.sql(CENSUS[kind], user=db.low)
    with fails(sqlstate):
        db.sql("SELECT * FROM envelope.census('theirs', 'v')")


def test_a_census_locks_nothing_for_who_may_not_read(db):
    db.people(rows=["secret"])
    with db.connect(db.low) as c:
        c.execute("BEGIN")
        with fails("42501"):
            c.execute("SELECT * FROM envelope.census('people', 'ssn')")
        c.execute("ROLLBACK; BEGIN")
        c.execute("SELECT envelope.keep_stored('people', 'ssn')")
        assert db.value("SELECT count(*) FROM pg_locks WHERE relation = 'people'::regclass") == 0


def test_reencrypt_calls_nothing_that_others_can_name(db):
    """Its statements run with the caller's rights, a superuser's maybe, in a schema where others may create."""
    db.people(rows=["secret"])
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}; SELECT envelope.rotate_key('people')")
    db.sql("""CREATE FUNCTION envelope_decrypt(integer, bytea, text) RETURNS bytea LANGUAGE plpgsql AS
              $$ BEGIN RAISE EXCEPTION 'ran'; END $$""", user=db.low)
    for _ in range(2):
        db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert db.sql(OPEN) == [("secret",)]


def test_a_refusal_names_the_role_that_lacks_the_right(db):
    """In a function that runs as another role, that one's rights count: a message that does not say so sends people astray."""
    db.people(rows=["secret"])
    inner = f"inner_{db.name}"
    db.sql(f"CREATE ROLE {inner}; GRANT ALL ON people TO {db.low}, {inner}")
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    db.sql(f"CREATE FUNCTION opened() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ {OPEN} $$;"
           f"ALTER FUNCTION opened() OWNER TO {inner}")
    assert db.value(OPEN, user=db.low) == "secret"
    with fails("42501") as error:
        db.sql("SELECT opened()", user=db.low)
    assert f'"{inner}"' in error.value.diag.message_detail and f"'{inner}'" in error.value.diag.message_hint
    key = db.value("SELECT key_id FROM envelope.keys")
    with fails("42501") as error:
        db.sql("SELECT envelope.retire_key(%s)", (key,), user=db.low)
    assert f'"{db.low}"' in error.value.diag.message_detail
