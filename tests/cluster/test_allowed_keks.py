"""Which KEKs may go on sealing after a move, and that check() tells of those that may not."""

import os
import shutil

import pytest
from harness import moto as kms
from sqlstate import fails

SEAL = "SELECT envelope_encrypt('people', 'x')"
CHECKED = "SELECT relation, kek, ok, sqlstate, message FROM envelope.check()"
NOT_OK = CHECKED + " WHERE NOT ok"


def move_data_directory(c):
    c.stop()
    c.data = c.data.rename(c.base / "moved")
    c.start()


@pytest.fixture
def moved(own_cluster, database):
    """A database whose key file is not where the present data directory's would be."""
    c = own_cluster().start()
    db = database(c)
    db.people(rows=["x"])
    move_data_directory(c)
    return db


def key_file(db):
    return db.cluster.base / "data.kek" / "default.kek"


def refuses_new_values(db, setting):
    """Neither seals nor makes a key, and says by which setting."""
    for statement in (SEAL, "SELECT envelope.rotate_key('people')"):
        with fails("42501") as caught:
            db.sql(statement)
        diag = caught.value.diag
        assert "public.people" in diag.message_primary and setting in diag.message_primary
        assert "envelope.rewrap" in diag.message_hint


def test_after_the_data_directory_moved(moved):
    """As after pg_upgrade: what the key file wraps goes on sealing, and gets new versions."""
    moved.sql("INSERT INTO people VALUES (2, 'y')")
    moved.sql("SELECT envelope.rotate_key('people')")
    moved.sql("INSERT INTO people VALUES (3, 'z')")
    assert moved.sql("SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id") == [("x",), ("y",), ("z",)]
    assert {row[2] for row in moved.sql(CHECKED)} == {True}
    assert moved.sql("SELECT DISTINCT keks FROM envelope.keys") == [([f"file://{key_file(moved)}"],)]


def test_a_set_value_is_never_widened(moved):
    moved.sql(f"ALTER DATABASE {moved.name} SET envelope.allowed_keks = 'file:///nowhere/*'")
    refuses_new_values(moved, "envelope.allowed_keks")
    (table, kek, _, sqlstate, message), = moved.sql(NOT_OK)
    assert (table, kek, sqlstate) == ("public.people", f"file://{key_file(moved)}", "42501")
    assert "envelope.allowed_keks" in message and "public.people" in message
    # What was sealed opens.
    assert moved.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"


@pytest.mark.parametrize("spoil, sqlstate", [
    (lambda path: path.chmod(0o644), "55000"),
    (lambda path: path.write_bytes(b"x" * 33), "55000"),
    (lambda path: path.rename(path.with_suffix(".away")), "55000"),
])
def test_only_a_fit_key_file_goes_on(moved, spoil, sqlstate):
    spoil(key_file(moved))
    with fails(sqlstate) as caught:
        moved.sql(SEAL)
    assert "public.people" in caught.value.diag.message_primary
    assert [row[:1] + row[3:4] for row in moved.sql(NOT_OK)] == [("public.people", sqlstate)]


def test_nobody_gets_a_kek_in_by_naming_it(moved):
    """A key file as fit as any, which wraps nothing here or no active key: not by who manages a table, not by an import."""
    other = key_file(moved).with_name("other.kek")
    shutil.copy(key_file(moved), other)
    stat = key_file(moved).stat()
    os.chown(other, stat.st_uid, stat.st_gid)
    other.chmod(0o600)
    moved.sql(f"CREATE TABLE mine (v bytea); ALTER TABLE mine OWNER TO {moved.low}")
    moved.sql("SELECT envelope.create_key('mine')")
    naming = (f"SELECT envelope.create_key('more', 'file://{other}')", f"SELECT envelope.add_kek('mine', 'file://{other}')",
              f"SELECT * FROM envelope.rewrap('file://{key_file(moved)}', 'file://{other}')")
    moved.sql(f"CREATE TABLE more (v bytea); ALTER TABLE more OWNER TO {moved.low}")

    def nobody_may():
        for statement in naming:
            for user in ("postgres", moved.low):
                with fails("42501"):
                    moved.sql(statement, user=user)

    nobody_may()
    # Nor is it told whether there is such a file.
    with fails("42501"):
        moved.sql("SELECT envelope.create_key('more', 'file:///no/such/file')", user=moved.low)
    exported = moved.value("SELECT envelope.export_keyring('people')::text")
    elsewhere = exported.replace(str(key_file(moved)), str(other))
    with fails("42501"):
        moved.sql("SELECT envelope.import_keyring(%s::jsonb, 'more')", (elsewhere,))
    # A superuser let it in, and the key has been followed by another since.
    with moved.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute(f"SET envelope.allowed_keks = 'file://{other}, file://{key_file(moved)}, file://{moved.cluster.data}.kek/*'")
        c.execute(f"SELECT envelope.add_kek('people', 'file://{other}')")
        c.execute(f"SELECT envelope.rotate_key('people'), envelope.drop_kek('people', 'file://{key_file(moved)}')")
        c.execute(f"SELECT * FROM envelope.rewrap('file://{other}', 'file://{key_file(moved)}')")
        c.execute("SELECT envelope.rotate_key('people')")
        c.execute("UPDATE envelope.wrapped_key SET kek = %s WHERE key_id = (SELECT key_id FROM envelope.keys "
                  "WHERE relation = 'public.people' AND version = 1)", (f"file://{other}",))
    nobody_may()


@pytest.fixture
def alias(aws, moto):
    """A database whose default KEK is an alias."""
    name = f"alias/{aws.name}"
    moto.client().create_alias(AliasName=name, TargetKeyId=moto.create_key())
    aws.sql(f"ALTER DATABASE {aws.name} SET envelope.default_kek = 'aws-kms://{name}'")
    aws.people(rows=["x"])
    return name


def test_an_alias_that_was_moved(aws, alias, moto):
    before = aws.value("SELECT keks[1] FROM envelope.keys")
    assert aws.sql(NOT_OK) == []
    # The session has asked what it stands for, and goes by that; check() asks anew.
    with aws.connect() as c:
        c.execute(SEAL)
        moto.client().update_alias(AliasName=alias, TargetKeyId=moto.create_key())
        (table, kek, _, sqlstate, message), = c.execute(NOT_OK).fetchall()
    assert (table, kek, sqlstate) == ("public.people", before, "42501")
    assert "envelope.default_kek" in message and "public.people" in message
    refuses_new_values(aws, "envelope.default_kek")
    assert aws.sql("SELECT done FROM envelope.rewrap(%s, %s)", (before, f"aws-kms://{alias}")) == [(True,)]
    aws.sql(SEAL)
    assert aws.sql(NOT_OK) == []


def test_an_alias_that_was_deleted(aws, alias, moto):
    before = aws.value("SELECT keks[1] FROM envelope.keys")
    moto.client().delete_alias(AliasName=alias)
    with fails("55000") as caught:
        aws.sql(SEAL)
    diag = caught.value.diag
    for part in ("public.people", "envelope.default_kek", alias):
        assert part in diag.message_primary
    assert "envelope.rewrap" in diag.message_hint
    found = {(table, kek): (sqlstate, message) for table, kek, _, sqlstate, message in aws.sql(NOT_OK)}
    assert set(found) == {("public.people", before), (None, f"aws-kms://{alias}")}
    assert {sqlstate for sqlstate, _ in found.values()} == {"55000"}
    assert all("envelope.default_kek" in message for _, message in found.values())
    # One alias that cannot be found keeps no other from being looked up.
    other = f"alias/other-{aws.name}"
    moto.client().create_alias(AliasName=other, TargetKeyId=before.removeprefix("aws-kms://"))
    aws.sql(f"ALTER DATABASE {aws.name} SET envelope.allowed_keks = 'aws-kms://{alias}, aws-kms://{other}'")
    aws.sql(SEAL)


def test_a_default_under_which_no_key_can_be_made(aws, alias, moto):
    """The tables' keys are allowed by name, and what the alias stands for is not."""
    before = aws.value("SELECT keks[1] FROM envelope.keys")
    aws.sql(f"ALTER DATABASE {aws.name} SET envelope.allowed_keks = '{before}'")
    assert aws.sql(NOT_OK) == []
    moto.client().update_alias(AliasName=alias, TargetKeyId=moto.create_key())
    aws.sql(SEAL)
    (table, kek, _, sqlstate, message), = aws.sql(NOT_OK)
    assert (table, kek, sqlstate) == (None, f"aws-kms://{alias}", "42501")
    assert "envelope.allowed_keks" in message and "envelope.default_kek" in message
    with fails("42501"):
        aws.sql("CREATE TABLE t (); SELECT envelope.create_key('t')")


def test_a_default_that_is_no_kek(db):
    db.people(rows=["x"])
    db.sql(f"ALTER DATABASE {db.name} SET envelope.default_kek = 'nonsense'")
    assert db.sql("SELECT relation, kek, sqlstate FROM envelope.check() WHERE NOT ok") == [(None, "nonsense", "22023")]
    # Others than superusers need not see what they cannot mend.
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    assert db.sql("SELECT DISTINCT ok FROM envelope.check()", user=db.low) == [(True,)]


def test_a_partition_that_seals_with_its_roots_keyring_needs_no_kek_to_seal(aws, moto):
    """Its own, from before it was attached, only opens."""
    own, roots = kms.kek(moto.create_key()), aws.cluster.conf["envelope.default_kek"]
    aws.sql("CREATE TABLE root (y int, v bytea) PARTITION BY RANGE (y); CREATE TABLE part (y int, v bytea)")
    with aws.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute(f"SET envelope.allowed_keks = '{own}, {roots}'")
        c.execute(f"SELECT envelope.create_key('part', '{own}'), envelope.create_key('root')")
    assert [row[0] for row in aws.sql(NOT_OK)] == ["public.part"]
    aws.sql("ALTER TABLE root ATTACH PARTITION part FOR VALUES FROM (1) TO (2)")
    assert aws.sql(NOT_OK) == []


def test_a_stranger_learns_of_no_key_file(db):
    """Whether it is there, in use, or as it must be: who has nothing to move is told nothing of where to."""
    db.people(rows=["x"])
    used = db.value("SELECT keks[1] FROM envelope.keys")
    for uri in (used, "file:///nowhere/at/all", "aws-kms://alias/any"):
        for dry_run in (True, False):
            assert db.sql("SELECT * FROM envelope.rewrap('file:///x', %s, dry_run => %s)", (uri, dry_run), user=db.low) == []
