"""Several KEKs over one data key: two regions of KMS, each behind a proxy of its own, one switched off."""

import json

import psycopg
import pytest
from harness import faults, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.proxy import FaultProxy
from harness.work import Work
from sqlstate import fails

OPEN_ALL = "SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id"


@pytest.fixture(scope="module")
def far_proxy(moto):
    with FaultProxy(moto.url) as p:
        yield p


@pytest.fixture
def far(far_proxy):
    far_proxy.clear()
    far_proxy.reset_counts()
    yield far_proxy
    far_proxy.clear()


@pytest.fixture(scope="module")
def keks(moto):
    """One in each region. Keys of their own, not one key and its replica (whose id is no key id of AWS's in moto): what
    the one wraps the other cannot unwrap."""
    return kms.kek(moto.create_key()), kms.kek(moto.create_key(kms.OTHER_REGION))


@pytest.fixture(scope="module")
def two_regions(kms_proxy, far_proxy, keks):
    conf = {
        "envelope.default_kek": keks[0],
        "envelope.allowed_keks": "aws-kms://arn:aws:kms:*",
        "envelope.aws_endpoint_url": f"{kms.REGION}={kms_proxy.url}, {kms.OTHER_REGION}={far_proxy.url}",
        "envelope.kms_timeout": "8s",
        "envelope.kms_max_attempts": "1",
    }
    with Cluster(conf=conf, env=kms.CREDENTIALS) as c:
        yield c


@pytest.fixture
def db(two_regions, database, proxy, far):
    db = database(two_regions)
    db.people(rows=["x"])
    return db


@pytest.fixture
def both(db, keks, proxy, far):
    db.sql("SELECT envelope.add_kek('people', %s)", (keks[1],))
    proxy.reset_counts()
    far.reset_counts()
    return db


def wrapped_by(db):
    return db.sql("SELECT version, keks FROM envelope.keys WHERE relation = 'public.people' ORDER BY version")


def noticed(c):
    messages = []
    c.add_notice_handler(lambda diag: messages.append(diag.message_primary))
    return messages


def test_adding(db, keks, proxy, far):
    db.sql("SELECT envelope.rotate_key('people')")
    proxy.reset_counts()
    assert db.value("SELECT envelope.add_kek('people', %s)", (keks[1],)) == 2
    # From one region to another the key goes by way of the server: each KMS knows its own only.
    assert proxy.counts == {"Decrypt": 2} and far.counts == {"Encrypt": 2, "Decrypt": 2}
    assert wrapped_by(db) == [(1, list(keks)), (2, list(keks))]
    assert db.sql("SELECT ok, count(*) FROM envelope.check() GROUP BY 1") == [(True, 4)]


def test_one_region_switched_off(both, keks, proxy, far):
    """Readers and writers go on, by either one; the other's return is seen by itself."""
    for away, here, fallovers in ((proxy, far, 1), (far, proxy, 0)):
        away.refuse()
        try:
            with both.connect() as c:
                messages = noticed(c)
                assert c.execute(OPEN_ALL).fetchall()[0] == ("x",)
                c.execute("INSERT INTO people SELECT 1 + max(id), 'y' FROM people")
                assert c.execute("SELECT kek_fallovers FROM envelope.stats").fetchone() == (fallovers,)
                assert len(messages) == fallovers and all(keks[0] in m and keks[1] in m for m in messages)
                # It is told of once, and counted every time.
                c.execute("SET envelope.cache_max_uses = 1")
                c.execute(OPEN_ALL)
                assert len(messages) == fallovers
                assert c.execute("SELECT kek_fallovers >= %s FROM envelope.stats", (2 * fallovers,)).fetchone()[0]
        finally:
            away.listen()
    assert len(both.sql(OPEN_ALL)) == 3


@pytest.mark.parametrize("fault, falls_over", [("hang", True), ("throttle", True), ("internal", True),
                                               ("deny", False), ("unauthorized", False), ("disabled", False),
                                               ("invalid_ciphertext", False)])
def test_it_falls_over_only_when_out_of_reach(both, proxy, far, fault, falls_over):
    proxy.fault("Decrypt", getattr(faults, fault))
    if falls_over:
        assert both.sql(OPEN_ALL) == [("x",)]
        assert far.counts == {"Decrypt": 1}
    else:
        with fails({"deny": "28000", "unauthorized": "28000", "disabled": "55000", "invalid_ciphertext": "XX001"}[fault]):
            both.sql(OPEN_ALL)
        assert not far.counts


def test_a_kek_that_is_back_is_told_of_again_when_it_goes(both, proxy):
    with both.connect() as c:
        messages = noticed(c)
        for told in (1, 2):
            proxy.fault("Decrypt", faults.unavailable)
            c.execute("SELECT envelope.flush_cache()")
            c.execute(OPEN_ALL)
            assert len(messages) == told
            proxy.clear()
            c.execute("SELECT envelope.flush_cache()")
            c.execute(OPEN_ALL)


def test_new_keys_are_under_all_of_them_or_are_not_made(both, keks, proxy, far):
    both.sql("SELECT envelope.rotate_key('people')")
    assert proxy.counts == {"GenerateDataKey": 1, "Decrypt": 1} and far.counts == {"Encrypt": 1, "Decrypt": 1}
    assert wrapped_by(both) == [(1, list(keks)), (2, list(keks))]
    for away in (proxy, far):
        away.refuse()
        try:
            with fails("58030"):
                both.sql("SELECT envelope.rotate_key('people')")
            # By itself neither: the old key goes on, and a WARNING says so.
            both.sql("SELECT envelope.set_limits('people', '{\"rotate_after\": 60}')")
            both.sql("UPDATE envelope.data_key SET created_at = now() - interval '1 hour'")
            with both.connect() as c:
                messages = noticed(c)
                c.execute("INSERT INTO people SELECT 1 + max(id), 'y' FROM people")
                assert any("could not rotate" in m for m in messages)
        finally:
            away.listen()
    assert len(wrapped_by(both)) == 2


def test_a_lost_region_is_dropped_while_it_is_away(both, keks, proxy, far):
    proxy.refuse()
    try:
        assert both.value("SELECT envelope.drop_kek('people', %s)", (keks[0],)) == 1
        with fails("55000"):
            both.sql("SELECT envelope.drop_kek('people', %s)", (keks[1],))
        both.sql("SELECT envelope.rotate_key('people')")
        both.sql("INSERT INTO people VALUES (2, 'y')")
        assert both.sql(OPEN_ALL) == [("x",), ("y",)]
    finally:
        proxy.listen()
    assert wrapped_by(both) == [(1, [keks[1]]), (2, [keks[1]])]


@pytest.mark.parametrize("fault, sqlstate", [("unavailable", "58030"), ("deny", "28000"),
                                             ("another_plaintext", "XX001")])
def test_no_kek_is_dropped_unless_the_other_gives_the_key_back(both, keks, far, fault, sqlstate):
    both.sql(OPEN_ALL)
    far.fault("Decrypt", getattr(faults, fault))
    with both.connect() as c:
        # A key in the cache is no proof.
        c.execute(OPEN_ALL)
        with fails(sqlstate):
            c.execute("SELECT envelope.drop_kek('people', %s)", (keks[0],))
    assert wrapped_by(both) == [(1, list(keks))]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_two_cannot_drop_one_each(both, keks, end):
    with both.connect() as one, both.connect() as other:
        one.execute("BEGIN")
        one.execute("SELECT envelope.drop_kek('people', %s)", (keks[0],))
        dropping = Work(other.execute, "SELECT envelope.drop_kek('people', %s)", (keks[1],))
        process.wait_until(lambda: both.waits_for_lock(other.info.backend_pid), "the second waits")
        one.execute(end)
        if end == "COMMIT":
            assert dropping.error().sqlstate == "40001"
        else:
            dropping.result()
    assert wrapped_by(both) == [(1, [keks[1] if end == "COMMIT" else keks[0]])]
    assert both.sql(OPEN_ALL) == [("x",)]


@pytest.mark.parametrize("fault, sqlstate",
                         [("unavailable", "58030"), ("deny", "28000"), ("another_plaintext", "XX001")])
def test_adding_is_all_or_nothing(db, keks, far, fault, sqlstate):
    db.sql("SELECT envelope.rotate_key('people')")
    far.fault("Decrypt", lambda x: (getattr(faults, fault) if far.counts["Decrypt"] > 1 else faults.none)(x))
    with fails(sqlstate):
        db.sql("SELECT envelope.add_kek('people', %s)", (keks[1],))
    assert wrapped_by(db) == [(1, [keks[0]]), (2, [keks[0]])]


def test_a_new_kek_that_is_out_of_reach_is_the_one_that_is_told(db, keks, moto, proxy, far):
    """No other of those that are there is asked: it could not help."""
    second = kms.kek(moto.create_key())
    db.sql("SELECT envelope.add_kek('people', %s)", (second,))
    proxy.reset_counts()
    for operation in ("Encrypt", "Decrypt"):
        far.clear()
        far.reset_counts()
        far.fault(operation, faults.unavailable)
        with fails("58030") as caught:
            db.sql("SELECT envelope.add_kek('people', %s)", (keks[1],))
        message = caught.value.diag.message_primary
        assert keks[1] in message.partition("KEK ")[2] and keks[0] not in message and second not in message
        assert "fallover" not in (caught.value.diag.message_hint or "")
        assert far.counts[operation] == 1
    assert proxy.counts == {"Decrypt": 2}
    # Where it is that of a KEK that is there, the next one is asked.
    far.clear()
    proxy.fault("Decrypt", faults.unavailable, times=1)
    assert db.value("SELECT envelope.add_kek('people', %s)", (keks[1],)) == 1


@pytest.mark.parametrize("call", ["envelope.add_kek('people', %(new)s)", "envelope.rewrap(%(old)s, %(new)s)"])
def test_a_new_kek_that_kms_names_is_the_one_that_is_told(db, keks, moto, proxy, call):
    """ReEncrypt is one request with two keys."""
    new = kms.kek(moto.create_key())
    for told in (new, keks[0]):
        said = json.dumps({"__type": "DisabledException", "message": f"{told.removeprefix('aws-kms://')} is disabled."})
        proxy.fault("ReEncrypt", lambda x: x.answer(400, faults.AMZ_JSON, said.encode()), times=1)
        with db.connect() as c:
            try:
                message = c.execute(f"SELECT * FROM {call}", {"new": new, "old": keks[0]}).fetchone()[-1]
            except psycopg.Error as error:
                message = error.diag.message_primary
        assert message.rpartition('KEK "')[2].startswith(told)


def test_a_key_made_while_a_kek_is_added(db, keks, far):
    """It would be missing under the new KEK."""
    held = far.hold("Encrypt")
    with db.patient() as c:
        adding = Work(c.execute, "SELECT envelope.add_kek('people', %s)", (keks[1],))
        held()
        db.sql("SELECT envelope.rotate_key('people')")
        far.clear()
        assert adding.error().sqlstate == "40001"
    assert wrapped_by(db) == [(1, [keks[0]]), (2, [keks[0]])]


def test_a_kek_dropped_while_a_keyring_is_imported(both, keks, far):
    """The import has its wrap as well, and has not tried it: it was there."""
    both.sql("SELECT envelope.rotate_key('people')")
    document = both.value("SELECT envelope.export_keyring('people')::text")
    both.sql("DELETE FROM envelope.wrapped_key w USING envelope.data_key d "
             "WHERE d.key_id = w.key_id AND d.version = 2 AND w.kek = %s", (keks[1],))
    importing = "SELECT envelope.import_keyring(%s, 'people')"
    held = far.hold("Decrypt")
    with both.patient() as c:
        work = Work(c.execute, importing, (document,))
        held()
        both.sql("SELECT envelope.drop_kek('people', %s)", (keks[1],))
        far.clear()
        assert work.error().sqlstate == "40001"
        assert wrapped_by(both) == [(1, [keks[0]]), (2, [keks[0]])]
        c.execute(importing, (document,))
    assert wrapped_by(both) == [(1, list(keks)), (2, list(keks))]


def test_a_region_is_moved_to_by_way_of_the_server(db, keks, proxy, far):
    proxy.reset_counts()
    rows = db.sql("SELECT done FROM envelope.rewrap(%s, %s)", keks)
    assert rows == [(True,)] and wrapped_by(db) == [(1, [keks[1]])]
    assert proxy.counts == {"Decrypt": 1} and far.counts == {"Encrypt": 1, "Decrypt": 1}
    assert db.sql(OPEN_ALL) == [("x",)]
