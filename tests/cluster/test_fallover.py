"""A key file beside AWS KMS: it binds the encryption context too, but no policy and no log sees it."""

import os

import pytest
from harness import faults, place
from harness import moto as kms
from sqlstate import fails

OPEN_ALL = "SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id"


@pytest.fixture
def weaker(aws):
    """A KEK in a file, which the database allows as well."""
    path = aws.cluster.base / f"{aws.name}.kek"
    path.write_bytes(os.urandom(32))
    user = place.server_user()
    os.chown(path, user.pw_uid, user.pw_gid)
    path.chmod(0o600)
    uri = f"file://{path}"
    own = aws.cluster.conf["envelope.default_kek"]
    aws.sql(f"ALTER DATABASE {aws.name} SET envelope.allowed_keks = '{own}, {uri}, aws-kms://arn:*'")
    return uri


def noticed(c):
    messages = []
    c.add_notice_handler(lambda diag: messages.append((diag.severity, diag.message_primary)))
    return messages


def bindings(db):
    return db.sql("SELECT DISTINCT context_binding FROM envelope.keys WHERE relation = 'public.people'")


def test_adding_a_weaker_kek_gives_a_warning(aws, weaker):
    own = aws.cluster.conf["envelope.default_kek"]
    aws.people(rows=["x"])
    assert bindings(aws) == [("kms policy and log",)]
    with aws.connect() as c:
        messages = noticed(c)
        c.execute("SELECT envelope.add_kek('people', %s)", (weaker,))
        assert [severity for severity, _ in messages] == ["WARNING"]
        assert weaker in messages[0][1] and own in messages[0][1]
        # Nothing was added: nothing is to be told.
        c.execute("SELECT envelope.add_kek('people', %s)", (weaker,))
        assert len(messages) == 1
    assert bindings(aws) == [("cipher",)]


def test_adding_a_stronger_kek_gives_none(aws, weaker):
    aws.sql("CREATE TABLE people (v bytea)")
    aws.sql("SELECT envelope.create_key('people', %s)", (weaker,))
    with aws.connect() as c:
        messages = noticed(c)
        c.execute("SELECT envelope.add_kek('people', %s)", (aws.cluster.conf["envelope.default_kek"],))
        assert messages == []
    assert bindings(aws) == [("cipher",)]


def test_moving_to_a_weaker_kek_gives_a_warning(aws, weaker):
    own = aws.cluster.conf["envelope.default_kek"]
    aws.people(rows=["x"])
    aws.people("others")
    aws.sql("SELECT envelope.create_key('others')")
    move = "SELECT done FROM envelope.rewrap(%s, %s, dry_run => %s)"
    with aws.connect() as c:
        messages = noticed(c)
        for dry_run, done in ((True, False), (False, True)):
            assert c.execute(move, (own, weaker, dry_run)).fetchall() == [(done,)] * 2
            # One for a statement.
            [(severity, message)] = messages
            assert severity == "WARNING" and weaker in message and own in message
            messages.clear()
        # Where nothing moves, and where it goes the other way, nothing is to be told.
        for one, other in ((own, weaker), (weaker, weaker), (weaker, own)):
            c.execute(move, (one, other, False))
        assert messages == []
    assert bindings(aws) == [("kms policy and log",)]


def test_importing_a_wrap_by_a_weaker_kek_gives_a_warning(aws, weaker):
    aws.people(rows=["x"])
    aws.sql("SELECT envelope.add_kek('people', %s)", (weaker,))
    exported = aws.value("SELECT envelope.export_keyring('people')::text")
    with aws.connect() as c:
        messages = noticed(c)
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (exported,))
        assert messages == []
        c.execute("SELECT envelope.drop_kek('people', %s)", (weaker,))
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (exported,))
        assert [severity for severity, _ in messages] == ["WARNING"] and weaker in messages[0][1]
    assert bindings(aws) == [("cipher",)]


def test_a_weaker_kek_does_not_step_in_by_itself(aws, weaker, moto, proxy):
    aws.people(rows=["x"])
    aws.sql("SELECT envelope.add_kek('people', %s)", (weaker,))
    proxy.fault("Decrypt", faults.unavailable)
    with aws.connect() as c:
        with fails("58030") as caught:
            c.execute(OPEN_ALL)
        assert aws.cluster.conf["envelope.default_kek"] in str(caught.value)
        assert "envelope.fallover_to_weaker" in caught.value.diag.message_hint
        # Nor does it where keys are wrapped by a further KEK.
        with fails("58030"):
            c.execute("SELECT envelope.add_kek('people', %s)", (kms.kek(moto.create_key()),))
        c.execute("SET envelope.fallover_to_weaker = on")
        c.execute("SELECT envelope.flush_cache()")
        messages = noticed(c)
        assert c.execute(OPEN_ALL).fetchall() == [("x",)]
        assert c.execute("SELECT kek_fallovers FROM envelope.stats").fetchone() == (1,)
        assert len(messages) == 1
    # The stronger one can be taken away: then nothing is passed over.
    aws.sql("SELECT envelope.drop_kek('people', %s)", (aws.cluster.conf["envelope.default_kek"],))
    assert aws.sql(OPEN_ALL) == [("x",)]


def test_a_kek_as_strong_behind_a_weaker_one_steps_in(aws, weaker, moto, proxy):
    aws.people(rows=["x"])
    second = kms.kek(moto.create_key())
    for kek in (weaker, second):
        aws.sql("SELECT envelope.add_kek('people', %s)", (kek,))
    # The first request alone: that to the first KEK.
    proxy.fault("Decrypt", faults.unavailable, times=1)
    with aws.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.kms_max_attempts = 1")
        assert c.execute(OPEN_ALL).fetchall() == [("x",)]


STEPS = ("uri", "allowed", "settings", "generate", "unwrap", "compare")


def test_check_kek_tells_what_binds_the_context(aws, weaker):
    for kek, binding in ((weaker, "cipher"), (aws.cluster.conf["envelope.default_kek"], "kms policy and log")):
        rows = aws.sql("SELECT step, ok, message FROM envelope.check_kek(%s)", (kek,))
        assert [row[:2] for row in rows] == [(step, True) for step in STEPS]
        assert [row[2] for row in rows[:-1]] == [None] * 5 and binding in rows[-1][2]


@pytest.mark.parametrize("kek, binding", [
    ("vault://h:8200/transit/keys/a", "kms policy and log"), ("vault+http://localhost/transit/keys/a", "kms policy and log"),
    ("pkcs11:token=t;object=o", "cipher"), ("kmip://h/1", "cipher")])
def test_the_catalog_is_shown_whatever_the_build_can_use(db, kek, binding):
    """As after a restore."""
    db.people(rows=["x"])
    db.sql("UPDATE envelope.wrapped_key SET kek = %s", (kek,))
    assert db.sql("SELECT keks, context_binding FROM envelope.keys") == [([kek], binding)]
    db.sql("DELETE FROM envelope.wrapped_key")
    assert db.sql("SELECT keks, context_binding FROM envelope.keys") == [([], None)]
