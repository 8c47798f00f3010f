"""Index keys: their life beside the keys that seal, whose they are, and that they are for nothing else."""

import json
import os
import shutil

import pytest
from harness import memory, process
from harness.audit import Audit
from harness.index_keys import give, index_keys, states
from harness.keyrings import keyring
from harness.work import Work, at_once
from interop import open as reader
from sqlstate import fails

ROTATE = "SELECT envelope.rotate_index_key('people')"
SEAL_KEYS = ("SELECT key_id, version, state, keks, kms_contexts FROM envelope.keys "
             "WHERE relation = 'public.people' AND purpose = 'seal' ORDER BY version")
CACHED = "SELECT keys_cached FROM envelope.stats"


@pytest.fixture
def people(db):
    """A table with a value and an index key."""
    db.people(rows=["secret"])
    db.index_key = give(db)
    return db


def other_kek(db, name="other.kek"):
    """A second key file where the first is, which the settings allow."""
    default = db.cluster.base / "data.kek" / "default.kek"
    path = default.with_name(name)
    if not path.exists():
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
        shutil.chown(path, default.owner(), default.group())
    return f"file://{path}"


# -- its life -------------------------------------------------------------------------------------------------------


def test_the_next_version_goes_where_the_key_that_seals_is(people):
    before = people.sql(SEAL_KEYS)
    key_id = people.value("SELECT envelope.rotate_index_key('people', 'every other year')")
    assert index_keys(people) == [(people.index_key, 1, "decrypt-only"), (key_id, 2, "active")]
    assert people.value("SELECT reason FROM envelope.keys WHERE key_id = %s", (people.index_key,)) == "every other year"
    assert people.sql(SEAL_KEYS) == before
    assert people.sql("SELECT keks, kms_contexts FROM envelope.keys WHERE key_id = %s", (key_id,)) == [before[0][3:]]
    assert key_id.bytes[:2] != people.index_key.bytes[:2]
    assert people.value("SELECT bool_and(ok) FROM envelope.check()")


def test_a_partition_has_those_of_its_root(people):
    people.sql("CREATE TABLE parts (id int, ssn bytea) PARTITION BY LIST (id)")
    people.sql("CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)")
    people.sql("SELECT envelope.create_key('parts')")
    give(people, "parts")
    people.sql("SELECT envelope.rotate_index_key('part')")
    assert states(people, "public.parts") == ["decrypt-only", "active"]


@pytest.mark.parametrize("made", ["", "SELECT envelope.create_key('people')"])
def test_a_table_without_one_has_nothing_to_rotate(db, made):
    db.people()
    db.sql(made or "SELECT 1")
    with fails("42704"):
        db.sql(ROTATE)
    assert db.value("SELECT count(*) FROM envelope.data_key WHERE purpose = 'index'") == 0


def test_the_first_bytes_tell_the_index_keys_of_a_keyring_apart(people):
    """All that begin with less than F0 are taken, by keys that are gone: a key is drawn until it is another."""
    with people.connect() as c:
        c.execute("INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state) "
                  "SELECT (lpad(to_hex(n), 4, '0') || substr(replace(gen_random_uuid()::text, '-', ''), 5))::uuid, %s, "
                  "'index', n + 10, 'destroyed' FROM generate_series(0, 61439) n",
                  (keyring(people, "people"),))
    drawn = [people.value(ROTATE) for _ in range(3)]
    assert all(key_id.bytes[0] >= 0xF0 for key_id in drawn)
    assert len({key_id.bytes[:2] for key_id in drawn}) == 3


def test_rotated_by_many_at_once(people):
    at_once(lambda i: people.sql(ROTATE), 12)
    assert states(people) == ["decrypt-only"] * 12 + ["active"]
    assert [version for _, version, _ in index_keys(people)] == [*range(1, 14)]
    assert people.value("SELECT bool_and(ok) FROM envelope.check()")


@pytest.mark.parametrize("end, expected", [("COMMIT", ["decrypt-only", "decrypt-only", "active"]),
                                           ("ROLLBACK", ["decrypt-only", "active"])])
def test_the_second_waits_for_the_first(people, end, expected):
    with people.connect() as first, people.connect() as second:
        first.execute("BEGIN")
        first.execute(ROTATE)
        rotating = Work(second.execute, ROTATE)
        process.wait_until(lambda: people.waits_for_lock(second.info.backend_pid), "waiting")
        first.execute(end)
        rotating.result()
    assert states(people) == expected


def test_no_lock_that_sealing_needs_is_held(people):
    with people.connect() as c:
        c.execute("BEGIN")
        c.execute(ROTATE)
        people.sql("INSERT INTO people VALUES (2, 'x')")
        assert people.value("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 2") == "x"
        c.execute("ROLLBACK")


@pytest.mark.parametrize("begin, end", [("BEGIN", "ROLLBACK"), ("BEGIN; SAVEPOINT s", "ROLLBACK TO s")])
def test_what_rolls_back_leaves_no_key(people, begin, end):
    with people.connect() as c:
        c.execute("SELECT envelope_decrypt('people', ssn) FROM people")
        for statement in begin.split(";"):
            c.execute(statement)
        c.execute(ROTATE)
        assert c.execute(CACHED).fetchone() == (2,)
        c.execute(end)
        assert c.execute(CACHED).fetchone() == (1,)
        c.execute("SELECT envelope.warm('people')")
        assert c.execute(CACHED).fetchone() == (2,)
    assert index_keys(people) == [(people.index_key, 1, "active")]


def test_nothing_rotates_it_unasked(people):
    people.sql("""SELECT envelope.set_limits('people', '{"rotate_after_seals": 1}')""")
    with people.connect() as c:
        c.execute("INSERT INTO people VALUES (2, 'x')")
        c.execute("INSERT INTO people VALUES (3, 'x')")
    assert people.sql(SEAL_KEYS)[-1][1] > 1
    people.sql("SELECT * FROM envelope.rotate_due()")
    people.sql("SELECT envelope.rotate_key('people')")
    assert index_keys(people) == [(people.index_key, 1, "active")]


def test_minimum_versions_are_not_its(people):
    people.sql("SELECT envelope.rotate_key('people')")
    people.sql("SELECT envelope.set_minimum_version('people', 2)")
    taken = people.sql("SELECT purpose, version, is_taken FROM envelope.keys ORDER BY 1, 2")
    assert taken == [("index", 1, True), ("seal", 1, False), ("seal", 2, True)]
    people.sql(ROTATE)
    people.sql(ROTATE)
    with fails("22023"):
        people.sql("SELECT envelope.set_minimum_version('people', 3)")


def test_out_of_use(people):
    """The active one cannot be; another can, comes back, and goes for good."""
    for statement in ("retire_key(%s)", "destroy_key(%s, 'a test')"):
        with fails("55000") as caught:
            people.sql(f"SELECT envelope.{statement}", (people.index_key,))
        assert "rotate_index_key" in caught.value.diag.message_hint
    people.sql(ROTATE)
    people.sql("SELECT envelope.retire_key(%s)", (people.index_key,))
    people.sql("SELECT envelope.unretire_key(%s)", (people.index_key,))
    assert states(people) == ["decrypt-only", "active"]
    people.sql("SELECT envelope.destroy_key(%s, 'a test')", (people.index_key,))
    assert states(people) == ["destroyed", "active"]
    assert people.value("SELECT count(*) FROM envelope.wrapped_key WHERE key_id = %s", (people.index_key,)) == 0
    assert people.value("SELECT bool_and(ok) FROM envelope.check()")


def test_shred_takes_it_too(people):
    people.sql(ROTATE)
    assert people.value("SELECT envelope.shred('people', 'a test')") == 3
    assert people.value("SELECT count(*) FROM envelope.wrapped_key") == 0


def test_it_outlives_its_table_with_the_keyring(people):
    sealing = people.sql(SEAL_KEYS)
    people.sql("DROP TABLE people")
    people.people("again")
    people.sql("SELECT envelope.adopt_keyring(keyring_id, 'again') FROM envelope.keys LIMIT 1")
    assert index_keys(people, "public.again") == [(people.index_key, 1, "active")]
    people.sql("SELECT envelope.rotate_index_key('again')")
    assert states(people, "public.again") == ["decrypt-only", "active"]
    people.sql("DROP TABLE again")
    people.sql("SELECT envelope.forget_keyring(keyring_id) FROM envelope.keyring")
    assert people.value("SELECT count(*) FROM envelope.wrapped_key") == 0
    assert {row[0] for row in people.sql("SELECT state FROM envelope.data_key")} == {"destroyed"}
    assert sealing


# -- under its KEKs -------------------------------------------------------------------------------------------------


def keks_of(db):
    return {tuple(keks) for keks, in db.sql("SELECT keks FROM envelope.keys")}


def test_it_moves_with_the_others(people):
    (default,), other = keks_of(people), other_kek(people)
    default, = default
    people.sql(ROTATE)
    assert people.value("SELECT envelope.add_kek('people', %s)", (other,)) == 3
    assert keks_of(people) == {(default, other)}
    assert people.value("SELECT envelope.drop_kek('people', %s)", (default,)) == 3
    assert keks_of(people) == {(other,)}
    moved = people.sql("SELECT done FROM envelope.rewrap(%s, %s, 'people')", (other, default))
    assert moved == [(True,)] * 3
    assert keks_of(people) == {(default,)}
    assert people.value("SELECT bool_and(ok) FROM envelope.check()")


def test_the_next_version_is_under_all_of_them(people):
    other = other_kek(people)
    people.sql("SELECT envelope.add_kek('people', %s)", (other,))
    people.sql(ROTATE)
    assert len(keks_of(people)) == 1 and len(keks_of(people).pop()) == 2


def test_check_misses_what_is_missing(people):
    bad = "SELECT key_id, sqlstate FROM envelope.check() WHERE NOT ok"
    assert people.sql(bad) == []
    people.sql("CREATE TABLE kept AS SELECT * FROM envelope.wrapped_key WHERE key_id = %s", (people.index_key,))
    people.sql("DELETE FROM envelope.wrapped_key WHERE key_id = %s", (people.index_key,))
    assert people.sql(bad) == [(people.index_key, "XX001")]
    people.sql("INSERT INTO envelope.wrapped_key SELECT * FROM kept")
    people.sql("UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = %s", (people.index_key,))
    assert people.sql(bad) == [(None, "XX001")]


# -- elsewhere ------------------------------------------------------------------------------------------------------


def exported(db):
    return json.dumps(db.value("SELECT envelope.export_keyring('people')"))


def test_it_travels_with_the_keyring(people, cluster, database):
    people.sql(ROTATE)
    there = database(cluster)
    there.people()
    there.sql("SELECT envelope.import_keyring(%s, 'people')", (exported(people),))
    assert index_keys(there) == index_keys(people)
    assert there.value("SELECT envelope.warm('people')") == 3
    people.sql(ROTATE)
    there.sql("SELECT envelope.import_keyring(%s, 'people')", (exported(people),))
    assert index_keys(there) == index_keys(people) and states(there) == ["decrypt-only", "decrypt-only", "active"]
    # Rotated on both sides.
    people.sql(ROTATE)
    there.sql(ROTATE)
    with fails("42710"):
        there.sql("SELECT envelope.import_keyring(%s, 'people')", (exported(people),))


# -- whose it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbs, allowed", [("encrypt, decrypt, search", False), ("manage", True)])
def test_who_rotates_it(people, verbs, allowed):
    people.sql(f"GRANT ALL ON people TO {people.low}")
    people.sql(f"SELECT envelope.grant_key('people', '{people.low}', '{verbs}')")
    if allowed:
        people.sql(ROTATE, user=people.low)
        assert states(people) == ["decrypt-only", "active"]
    else:
        with fails("42501"):
            people.sql(ROTATE, user=people.low)
        assert states(people) == ["active"]


# What each right lets a role have unwrapped of: a key that seals, a former version of it, an index key.
WARMED = {"encrypt": 2, "decrypt": 2, "search": 1, "manage": 3}


@pytest.mark.parametrize("verb", WARMED)
def test_search_is_a_right_of_its_own(people, verb):
    people.sql("SELECT envelope.rotate_key('people')")
    people.sql(f"GRANT ALL ON people TO {people.low}")
    people.sql(f"SELECT envelope.grant_key('people', '{people.low}', '{verb}')")
    has = {right for right in ("encrypt", "decrypt", "search", "manage")
           if people.value("SELECT envelope.has_key_privilege('people', %s)", (right,), people.low)}
    assert has == ({"decrypt", "search", "manage"} if verb == "manage" else {verb})
    assert has == {right for right, in people.sql(
        "SELECT verb FROM envelope.key_privileges WHERE grantee = current_user", user=people.low)}
    assert people.value("SELECT envelope.warm('people')", user=people.low) == WARMED[verb]
    sealed, opens = "SELECT envelope_encrypt('people', 'x')", "SELECT envelope_decrypt('people', ssn) FROM people"
    for statement, right in ((sealed, "encrypt"), (opens, "decrypt")):
        if right in has:
            people.sql(statement, user=people.low)
        else:
            with fails("42501"):
                people.sql(statement, user=people.low)


# -- what it is for -------------------------------------------------------------------------------------------------


def test_it_opens_nothing(people):
    """What begins like a value under it is none, to be opened, verified, or taken by the trigger."""
    looks = b"\xf7\xe1" + people.index_key.bytes + bytes(60)
    for statement in ("SELECT envelope_decrypt('people', %s)", "INSERT INTO people VALUES (2, %s)",
                      "SELECT envelope.reseal('people', %s)"):
        with fails("22000"):
            people.sql(statement, (looks,))
    assert people.value("SELECT count(*) FROM people") == 1


def test_it_is_in_locked_pages_alone_and_then_nowhere(people):
    with people.connect() as c:
        wrapped, context = c.execute("SELECT wrapped, kms_context FROM envelope.wrapped_key WHERE key_id = %s",
                                     (people.index_key,)).fetchone()
        kek = (people.cluster.base / "data.kek" / "default.kek").read_bytes()
        index_key = reader.unwrap(kek, bytes(wrapped), context)
        derived = [reader.expand(index_key, f"envelope/1 {label}", 32) for label in ("index", "boundaries")]
        never = {"index key": index_key, "seal key": reader.expand(index_key, "envelope/1 seal", 32)}
        pid = c.info.backend_pid
        c.execute("SELECT envelope.warm('people')")
        assert c.execute(CACHED).fetchone() == (2,)
        for key in derived:
            assert [{"lo", "dd", "wf"} <= mapping.flags for mapping in memory.holding(pid, key)] == [True]
        assert memory.held(pid, never) == set()
        assert c.execute("SELECT envelope.flush_cache()").fetchone() == (2,)
        assert memory.held(pid, {**never, **dict(enumerate(derived))}) == set()


# -- what the log is told -------------------------------------------------------------------------------------------


def test_the_log_is_told(people):
    audit = Audit(people.cluster)
    with people.connect() as c:
        c.execute("SET envelope.audit = 'ddl'")
        key_id, = c.execute(ROTATE).fetchone()
        c.execute("SELECT envelope.warm('people')")
        c.execute("SELECT envelope.retire_key(%s, 'why not')", (people.index_key,))
    told = [(line["event"], line["key_id"], line.get("detail")) for line in audit.lines("rotate", "retire")]
    assert told == [("rotate", str(key_id), "index key: envelope.rotate_index_key"),
                    ("retire", str(people.index_key), "why not")]
    assert str(people.index_key) in {line["key_id"] for line in audit.lines("unwrap")}
