"""A keyring that is imported again: what happened to it elsewhere goes on here, and nothing goes back."""

import json

import pytest
from harness import process
from harness.audit import Audit
from harness.keyrings import keyring, opened
from harness.work import Work
from sqlstate import fails

KEYS = "SELECT version, state, reason, state_changed_at FROM envelope.keys WHERE keyring_id = %s ORDER BY version"
SEAL = "SELECT version FROM envelope.inspect(envelope_encrypt('people', 'x'))"
CATALOG = ("SELECT to_jsonb(k) FROM envelope.keyring k UNION ALL SELECT to_jsonb(k) FROM envelope.keyring_table k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.data_key k UNION ALL SELECT to_jsonb(k) FROM envelope.wrapped_key k "
           "ORDER BY 1")


def exported(db, table="people"):
    return db.value("SELECT envelope.export_keyring(%s::text::regclass)", (table,))


def load(db, document, table="people"):
    db.sql("SELECT envelope.import_keyring(%s, %s::text::regclass)", (json.dumps(document), table))


def states(db, table="people"):
    """The states of a table's own key, by version."""
    return [state for _, state, *_ in db.sql(KEYS, (keyring(db, table),))]


def key_id(db, version, table="people"):
    return db.value("SELECT key_id FROM envelope.keys WHERE keyring_id = %s AND version = %s",
                    (keyring(db, table), version))


@pytest.fixture
def a(db):
    """Where the keys are made."""
    db.people(rows=["one"])
    return db


@pytest.fixture
def b(a, cluster, database):
    """Where they were imported once, with the values."""
    there = database(cluster)
    there.people()
    load(there, exported(a))
    for row in a.sql("SELECT id, ssn FROM people"):
        there.sql("INSERT INTO people VALUES (%s, %s)", row)
    return there


# -- all of it, elsewhere -------------------------------------------------------------------------------------------


def full(db):
    """A keyring with something in every field: a destroyed, a retired, an opening and a sealing key, reasons, a minimum
    version, limits, a KEK and a context of its own."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    db.sql("SELECT envelope.create_key('people', kek => %s, kms_context => %s)",
           (db.value("SELECT keks[1] FROM envelope.keys"), json.dumps({"Größe": "ü", "table": "people"})))
    for reason in ("first round", "second round", None):
        db.sql("SELECT envelope.rotate_key('people', %s)", (reason,))
    db.sql("SELECT envelope.destroy_key(%s, 'no value left')", (key_id(db, 1),))
    db.sql("SELECT envelope.retire_key(%s, 'to be destroyed')", (key_id(db, 2),))
    db.sql("SELECT envelope.set_minimum_version('people', 2)")
    db.sql("SELECT envelope.set_limits('people', %s)", (json.dumps({"cache_ttl": 60, "rotate_after": 7776000}),))


def test_there_and_back(db, cluster, database):
    """Nothing of it is lost or changed on the way."""
    db.people("others", rows=["makes the key file"])
    full(db)
    document = exported(db)
    ring = document["keyrings"][0]
    # Each field differs from what it is at first, or this shows nothing.
    assert ring["minimum_version"] == 2 and ring["limits"] and ring["default_kek"] and ring["kms_context"]
    assert [key["state"] for key in ring["data_keys"]] == ["destroyed", "retired", "decrypt-only", "active"]
    assert all(key["reason"] and key["state_changed_at"] != key["created_at"] for key in ring["data_keys"][:3])
    there = database(cluster)
    there.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    load(there, document)
    assert exported(there) == document
    db.sql("SELECT envelope.flush_cache()")
    value = there.value("SELECT envelope_encrypt('people', 'x')")
    assert db.value("SELECT envelope_decrypt('people', %s)", (value,)) == b"x"
    # What is there is found to be the same.
    before = there.sql(CATALOG), db.sql(CATALOG)
    load(there, document)
    load(db, document)
    assert (there.sql(CATALOG), db.sql(CATALOG)) == before


# -- what happened since --------------------------------------------------------------------------------------------


def test_a_rotation_reaches_a_session_that_seals(a, b):
    with b.connect() as session:
        assert session.execute(SEAL).fetchone() == (1,)
        a.sql("SELECT envelope.rotate_key('people')")
        load(b, exported(a))
        assert session.execute(SEAL).fetchone() == (2,)
        assert session.execute("SELECT envelope_decrypt_text('people', ssn) FROM people").fetchone() == ("one",)
    value = b.value("SELECT envelope_encrypt('people', 'from there')")
    assert a.value("SELECT envelope_decrypt('people', %s)", (value,)) == b"from there"
    assert exported(b) == exported(a)


def test_what_goes_by_the_active_key_goes_by_the_imported_one(a, b):
    a.sql("SELECT envelope.rotate_key('people')")
    load(b, exported(a))
    with fails("55000"):
        b.sql("SELECT envelope.destroy_key(%s, 'not the one')", (key_id(a, 2),))
    with b.connect() as c:
        c.execute("CALL envelope.reencrypt('people', 'ssn')")
    assert b.sql("SELECT DISTINCT version FROM people, envelope.inspect(ssn)") == [(2,)]
    assert opened(b, "people") == ["one"]
    b.sql("SELECT envelope.destroy_key(%s, 'no value left')", (key_id(a, 1),))
    b.sql("SELECT envelope.rotate_key('people')")
    assert states(b) == ["destroyed", "decrypt-only", "active"]
    assert [ok for ok, in b.sql("SELECT ok FROM envelope.check()") if not ok] == []


@pytest.mark.parametrize("steps", [1, 3], ids=["each", "at once"])
def test_states_reasons_and_times_travel(a, b, steps):
    done = 0

    def do(query, *params):
        nonlocal done
        a.sql(query, params)
        done += 1
        if done % steps == 0:
            load(b, exported(a))
            assert exported(b) == exported(a)

    do("SELECT envelope.rotate_key('people', 'a first round')")
    do("SELECT envelope.retire_key(%s, 'out of use')", key_id(a, 1))
    do("SELECT envelope.rotate_key('people', 'a second round')")
    do("SELECT envelope.retire_key(%s, NULL)", key_id(a, 2))
    do("SELECT envelope.set_minimum_version('people', 3)")
    do("SELECT envelope.set_limits('people', '{\"cache_ttl\": 60}')")
    assert states(b) == ["retired", "retired", "active"]
    with fails("55000"):
        opened(b, "people")


def test_an_older_export_takes_nothing_back(a, b):
    old = exported(a)
    a.sql("SELECT envelope.rotate_key('people')")
    newer = exported(a)
    a.sql("SELECT envelope.retire_key(%s, 'r')", (key_id(a, 1),))
    a.sql("SELECT envelope.set_minimum_version('people', 2)")
    a.sql("SELECT envelope.set_limits('people', '{\"cache_ttl\": 60}')")
    load(b, exported(a))
    for db in (a, b):
        db.sql("SELECT envelope.rotate_key('people')")
        before = db.sql(CATALOG)
        for document in (old, newer):
            load(db, document)
            assert db.sql(CATALOG) == before


def test_what_went_further_here_stays(a, b):
    a.sql("SELECT envelope.rotate_key('people')")
    load(b, exported(a))
    b.sql("SELECT envelope.retire_key(%s, 'here')", (key_id(b, 1),))
    before = b.sql(CATALOG)
    load(b, exported(a))
    assert b.sql(CATALOG) == before
    # And back: retired there is retired here.
    load(a, exported(b))
    assert a.sql(KEYS, (keyring(a, "people"),)) == b.sql(KEYS, (keyring(b, "people"),))
    # To take it back is for each by itself.
    a.sql("SELECT envelope.unretire_key(%s)", (key_id(a, 1),))
    load(b, exported(a))
    assert states(b) == ["retired", "active"] and states(a) == ["decrypt-only", "active"]


def test_it_destroys_nothing(a, b):
    a.sql("SELECT envelope.rotate_key('people')")
    with a.connect() as c:
        c.execute("CALL envelope.reencrypt('people', 'ssn')")
    a.sql("SELECT envelope.destroy_key(%s, 'no value left')", (key_id(a, 1),))
    load(b, exported(a))
    assert states(b) == ["decrypt-only", "active"]
    assert opened(b, "people") == ["one"]
    # Nor does it bring back what was.
    load(a, exported(b))
    assert states(a) == ["destroyed", "active"]
    assert a.value("SELECT count(*) FROM envelope.wrapped_key WHERE key_id = %s", (key_id(a, 1),)) == 0


def test_a_table_whose_keys_were_all_destroyed_goes_on_where_it_seals(a, b):
    """Its active key seals until another takes its place."""
    a.sql("SELECT envelope.shred('people', 'all of it')")
    before = b.sql(CATALOG)
    load(b, exported(a))
    assert b.sql(CATALOG) == before
    a.sql("SELECT envelope.create_key('people')")
    load(b, exported(a))
    assert states(b) == ["decrypt-only", "active"]
    assert opened(b, "people") == ["one"]


def test_a_newer_key_that_only_opened_here_seals(a, b):
    """As imports of a rotation left it once."""
    a.sql("SELECT envelope.rotate_key('people')")
    load(b, exported(a))
    b.sql("UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = %s", (key_id(b, 2),))
    b.sql("UPDATE envelope.data_key SET state = 'active' WHERE key_id = %s", (key_id(b, 1),))
    load(b, exported(a))
    assert states(b) == ["decrypt-only", "active"]
    assert exported(b) == exported(a)


@pytest.mark.parametrize("state", ["retired", "destroyed"])
def test_a_newer_key_that_was_put_out_of_use_here_stays_so(a, b, state):
    """The one before goes on sealing, and its values open, whatever minimum version comes along."""
    a.sql("SELECT envelope.rotate_key('people')")
    load(b, exported(a))
    b.sql("UPDATE envelope.data_key SET state = %s WHERE key_id = %s", (state, key_id(b, 2)))
    if state == "destroyed":
        b.sql("DELETE FROM envelope.wrapped_key WHERE key_id = %s", (key_id(b, 2),))
    b.sql("UPDATE envelope.data_key SET state = 'active' WHERE key_id = %s", (key_id(b, 1),))
    a.sql("SELECT envelope.set_minimum_version('people', 2)")
    load(b, exported(a))
    assert states(b) == ["active", state]
    assert b.value(SEAL) == 1
    assert opened(b, "people") == ["one"]


def test_of_two_that_rotated_neither_gives_way(a, b):
    for db in (a, b):
        db.sql("SELECT envelope.rotate_key('people')")
    for db, other in ((a, b), (b, a)):
        before = db.sql(CATALOG)
        with fails("42710") as caught:
            load(db, exported(other))
        assert str(key_id(a, 2)) in str(caught.value) and str(key_id(b, 2)) in str(caught.value)
        assert db.sql(CATALOG) == before


def test_who_is_ahead_stays_ahead_and_brings_the_other_along(a, b):
    for _ in range(2):
        b.sql("SELECT envelope.rotate_key('people')")
    before = b.sql(CATALOG)
    load(b, exported(a))
    assert b.sql(CATALOG) == before
    load(a, exported(b))
    assert states(a) == ["decrypt-only", "decrypt-only", "active"]
    assert a.value(SEAL) == 3


def test_a_keyring_that_the_table_only_opens_with(a, b):
    for db in (a, b):
        db.sql("CREATE TABLE copy (id int, ssn bytea); SELECT envelope.share_keyring('people', 'copy')")
    a.sql("SELECT envelope.create_key('copy'); SELECT envelope.rotate_key('people')")
    load(b, exported(a, "copy"), "copy")
    assert b.value(SEAL) == 2
    assert states(b) == states(a) == ["decrypt-only", "active"]
    assert b.sql("SELECT relation::text, seals FROM envelope.keyring_table ORDER BY 1, 2") == [
        ("public.copy", False), ("public.copy", True), ("public.people", True)]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("is_new", [True, False])
def test_two_at_once(a, b, cluster, database, is_new, end):
    """The second waits for the first, and then brings what is missing still."""
    there = database(cluster) if is_new else b
    if is_new:
        there.people()
    older = exported(a)
    a.sql("SELECT envelope.rotate_key('people')")
    newer = exported(a)
    importing = "SELECT envelope.import_keyring(%s, 'people')"
    with there.connect(autocommit=False) as one, there.connect() as other:
        one.execute(importing, (json.dumps(newer),))
        work = Work(lambda: [other.execute(importing, (json.dumps(document),)) for document in (older, newer)])
        process.wait_until(lambda: there.waits_for_lock(other.info.backend_pid), "the second waits")
        getattr(one, end)()
        work.result()
    assert states(there) == ["decrypt-only", "active"] and exported(there) == newer


def test_under_an_older_snapshot(a, b):
    a.sql("SELECT envelope.rotate_key('people')")
    document = exported(a)
    with b.connect(autocommit=False) as c:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert c.execute(SEAL).fetchone() == (1,)
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
        assert c.execute(SEAL).fetchone() == (2,)
        c.rollback()
        assert c.execute(SEAL).fetchone() == (1,)
    assert states(b) == ["active"]


# -- limits, the minimum version ------------------------------------------------------------------------------------


@pytest.mark.parametrize("here, there, after", [
    ({}, {"cache_ttl": 60}, {"cache_ttl": 60}),
    ({"cache_ttl": 60}, {}, {"cache_ttl": 60}),
    ({"cache_ttl": 60}, {"cache_ttl": 30}, {"cache_ttl": 30}),
    ({"cache_ttl": 60}, {"cache_ttl": 90}, {"cache_ttl": 60}),
    # 0 is no limit.
    ({"cache_max_uses": 10}, {"cache_max_uses": 0}, {"cache_max_uses": 10}),
    ({"cache_max_uses": 0}, {"cache_max_uses": 10}, {"cache_max_uses": 10}),
    ({"cache_max_bytes": 0}, {"cache_max_bytes": 10}, {"cache_max_bytes": 10}),
    ({"session_max_values": 0}, {"session_max_values": 1}, {"session_max_values": 1}),
    ({"session_max_values": 1}, {"session_max_values": 0}, {"session_max_values": 1}),
    ({"rotate_after": 100}, {"rotate_after": 0}, {"rotate_after": 100}),
    ({"rotate_after": 100}, {"rotate_after": 50, "rotate_after_seals": 5}, {"rotate_after": 50, "rotate_after_seals": 5}),
    ({"rotate_after_bytes": 0}, {"rotate_after_bytes": 7}, {"rotate_after_bytes": 7}),
    # Here it is none at all.
    ({"cache_max_stale": 10}, {"cache_max_stale": 0}, {"cache_max_stale": 0}),
    ({"cache_max_stale": 0}, {"cache_max_stale": 10}, {"cache_max_stale": 0}),
    # A year, by the setting, where there is none of its own.
    ({}, {"cryptoperiod": 86400}, {"cryptoperiod": 86400}),
    ({}, {"cryptoperiod": 0}, {}),
    ({}, {"cryptoperiod": 63072000}, {}),
    ({"cryptoperiod": 0}, {}, {"cryptoperiod": 0}),
    ({"cryptoperiod": 0}, {"cryptoperiod": 63072000}, {"cryptoperiod": 63072000}),
])
def test_limits_become_tighter(a, b, here, there, after):
    for db, limits in ((b, here), (a, there)):
        db.sql("SELECT envelope.set_limits('people', %s)", (json.dumps(limits),))
    load(b, exported(a))
    assert b.value("SELECT limits FROM envelope.keyring") == after


def test_limits_of_a_later_version_stay(a, b):
    a.sql("SELECT envelope.set_limits('people', '{\"cache_ttl\": 60}')")
    b.sql("UPDATE envelope.keyring SET limits = '{\"cache_ttl\": 90, \"later\": 1}'")
    load(b, exported(a))
    assert b.value("SELECT limits FROM envelope.keyring") == {"cache_ttl": 90, "later": 1}
    with fails("22023"):
        b.sql("SELECT envelope.export_keyring('people')")


def test_the_minimum_version_rises(a, b):
    for _ in range(3):
        a.sql("SELECT envelope.rotate_key('people')")
    for there, here, after in ((2, 1, 2), (1, 2, 2), (3, 2, 3)):
        a.sql("SELECT envelope.set_minimum_version('people', %s)", (there,))
        load(b, exported(a))
        b.sql("SELECT envelope.set_minimum_version('people', %s)", (here,))
        load(b, exported(a))
        assert b.value("SELECT minimum_version FROM envelope.keyring") == after
    with fails("55000"):
        opened(b, "people")


# -- told -----------------------------------------------------------------------------------------------------------


def test_the_audit_tells_what_moved(a, b):
    a.sql("SELECT envelope.rotate_key('people')")
    a.sql("SELECT envelope.set_limits('people', '{\"cache_ttl\": 60}')")
    document = exported(a)
    audit = Audit(b.cluster)
    with b.connect() as c:
        c.execute("SET envelope.audit = 'ddl'")
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
        told = audit.lines("import")
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
        again = audit.lines("import")[len(told):]
    ring = str(keyring(b, "people"))
    assert all(line["keyring_id"] == ring and line["table"] == "public.people" for line in told + again)
    assert {line["key_id"] for line in told if "key_id" in line} == {str(key_id(b, 1)), str(key_id(b, 2))}
    assert len(again) == 1 and "key_id" not in again[0]


# -- a document from a stranger -------------------------------------------------------------------------------------


def stranger(ids, **fields):
    """A document of somebody who knows the ids of keyrings: of a table of theirs, with a key that nothing is known of."""
    tomb = {"key_id": "00112233-4455-8677-8899-aabbccddeeff", "purpose": "seal", "version": 1, "state": "destroyed",
            "created_at": 0, "state_changed_at": 0, "reason": None, "wraps": []}
    ring = {"table_name": "public.mine", "default_kek": None, "kms_context": None, "limits": {}, "minimum_version": 1}
    rings = [{**ring, "keyring_id": str(i), "seals": n == 0, "data_keys": [{**tomb, **fields}]} for n, i in enumerate(ids)]
    return {"format": "envelope/1 keyring", "schema": "public", "table": "mine", "keyrings": rings}


def known_tomb(a):
    """Of the first key of `people`, destroyed by now: what whoever has read an old value knows of it, and nothing that an
    import would change."""
    a.sql("SELECT envelope.rotate_key('people')")
    with a.connect() as c:
        c.execute("CALL envelope.reencrypt('people', 'ssn')")
    first = key_id(a, 1)
    a.sql("SELECT envelope.destroy_key(%s, 'a test')", (first,))
    return {"key_id": str(first), "version": 1}


def mine(a):
    """A table of the stranger's, and an export of it."""
    a.sql("CREATE TABLE mine (id int, v bytea)")
    a.sql("SELECT envelope.create_key('mine')")
    return exported(a, "mine")


@pytest.mark.parametrize("by_name", [True, False])
def test_a_keyring_is_not_lent_for_its_id(a, cluster, database, by_name):
    """A keyring of theirs from elsewhere, and beside it the id of one that is here."""
    elsewhere = database(cluster)
    document = mine(elsewhere)
    lent = stranger([keyring(a, "people")], **known_tomb(a))["keyrings"][0]
    document["keyrings"].append(lent | {"seals": False})
    a.sql("CREATE TABLE mine (id int, v bytea)")
    before = a.sql(CATALOG)
    with fails("42710"):
        if by_name:
            a.sql("SELECT envelope.import_keyring(%s)", (json.dumps(document),))
        else:
            load(a, document, "mine")
    assert a.sql(CATALOG) == before


def test_an_orphaned_keyring_is_not_given_away_for_its_id(a):
    document = stranger([keyring(a, "people")], **known_tomb(a))
    a.sql("DROP TABLE people; CREATE TABLE mine (id int, v bytea)")
    before = a.sql(CATALOG)
    with fails("42710"):
        load(a, document, "mine")
    assert a.sql(CATALOG) == before


@pytest.mark.parametrize("version", [2, 10**9])
def test_a_keyring_is_not_changed_for_its_id(a, version):
    document = stranger([keyring(a, "people")], version=version)
    a.sql("CREATE TABLE mine (id int, v bytea)")
    before = a.sql(CATALOG)
    for relation in ("NULL", "'mine'"):
        with fails("42710"):
            a.sql(f"SELECT envelope.import_keyring(%s, {relation})", (json.dumps(document),))
    assert a.sql(CATALOG) == before


@pytest.mark.parametrize("break_it", [
    lambda ring: ring.update(data_keys=[]),
    lambda ring: ring["data_keys"][0].update(version=2**31 - 1),
    lambda ring: ring["data_keys"][0].update(version=0),
    lambda ring: ring.update(minimum_version=2),
    lambda ring: ring.update(data_keys=stranger([ring["keyring_id"]])["keyrings"][0]["data_keys"]),
], ids=["no key", "last number", "no version", "minimum above", "all destroyed"])
def test_what_could_not_seal_or_open_is_refused(a, cluster, database, break_it):
    document = exported(a)
    break_it(document["keyrings"][0])
    there = database(cluster)
    there.people()
    with fails("22023"):
        load(there, document)
    assert there.sql(CATALOG) == []


def test_a_minimum_above_what_seals_is_refused_whatever_else_is_there(a, cluster, database):
    """Neither a destroyed key nor one for another purpose has a say in it."""
    document = exported(a)
    ring = document["keyrings"][0]
    for field, value in (("version", 9), ("purpose", "index")):
        ring["data_keys"] = ring["data_keys"][:1] + stranger([1], version=9, **({field: value} if field == "purpose" else {})
                                                             )["keyrings"][0]["data_keys"]
        ring["minimum_version"] = 9
        there = database(cluster)
        there.people()
        with fails("22023"):
            load(there, document)


@pytest.mark.parametrize("field", ["created_at", "state_changed_at"])
@pytest.mark.parametrize("year", [0, 10_000])
def test_a_time_that_clients_cannot_read_is_refused(a, cluster, database, field, year):
    """One such key would fail the views in which it stands beside others, for everybody."""
    b = database(cluster)
    b.people()
    document = exported(a)
    document["keyrings"][0]["limits"] = {"cryptoperiod": 10**11}
    key = document["keyrings"][0]["data_keys"][0]
    outside = {0: -62_135_596_800_000_001, 10_000: 253_402_300_800_000_000}[year]
    for time in (outside, 2**63 - 1 if year else -2**63):
        key[field] = time
        with fails("22023"):
            load(b, document)
    key[field] = outside + (-1 if year else 1)
    load(b, document)
    assert b.value("SELECT count(*) FROM (SELECT * FROM envelope.crypto_inventory OFFSET 0) AS i") == 2
    assert b.value("SELECT envelope.evidence('-infinity') IS NOT NULL")


def test_a_key_that_was_destroyed_here_is_told(a, b):
    """The import has it, and it changes nothing."""
    document = exported(a)
    b.sql("SELECT envelope.shred('people', 'a test')")
    said = []
    with b.connect() as c:
        c.add_notice_handler(lambda notice: said.append(notice.message_primary))
        c.execute("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
    assert any("was destroyed here" in message for message in said)
    assert states(b) == ["destroyed"]


def test_what_is_no_export_is_told_what_is(db):
    for document in ({}, {"format": "envelope/1 keyring", "schema": "public", "table": "t"}):
        with fails("22023") as caught:
            db.sql("SELECT envelope.import_keyring(%s)", (json.dumps(document),))
        assert "export_keyring" in caught.value.diag.message_hint
