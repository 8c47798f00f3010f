"""What every provider must do, each with its real server: table and cases stand in cases.py."""

import base64
import json

import psycopg
import pytest
from harness import process
from harness.work import Work, at_once
from interop import open as reader
from sqlstate import fails

from .cases import FAULTS, REFUSALS, WRONG, sqlstate, table
from .conftest import ATTEMPTS, TIMEOUT, together
from .providers import CHOSEN, QUICK, SLOW


def parameters(*cases):
    """A provider and a case for each that the provider has."""
    return [pytest.param(provider, case, id=f"{provider.name}-{case}", marks=together(provider))
            for provider in CHOSEN for case in cases if case not in provider.lacks]


def each(*cases):
    """Runs a test with `place` and `case`, for each provider that has the case."""
    return pytest.mark.parametrize("place, case", parameters(*cases), indirect=["place"])


def holds_no_secret(place, keys=()):
    """No value and no data key in the log, in any of the forms in which bytes are shown."""
    log = place.log().lower()
    secrets = [text.encode() for text in place.plaintexts]
    for key in keys:
        secrets += [key, key.hex().encode(), base64.b64encode(key).lower()]
    assert not [secret for secret in secrets if secret in log]


def costs(place, what):
    """The server counted no more requests than that may take."""
    most = place.provider.costs.get(what)
    if most is not None:
        assert 1 <= place.provider.requests <= most, (what, place.provider.requests)


# -- without a fault -------------------------------------------------------------------------------------------------


def test_the_table_is_full():
    """Each provider has each case or says why not, and nothing else."""
    rows, reasons = table()
    assert all(all(row) for row in rows) and all(reason.partition(": ")[2] for reason in reasons)
    for provider in QUICK + SLOW:
        for case in {*FAULTS, "slow", "rotated"} - provider.lacks.keys():
            assert callable(getattr(provider, case)), (provider.name, case)
        assert set(provider.lacks) <= {*FAULTS, "slow", "rotated"}
        assert set(provider.answers) <= {*FAULTS, *WRONG} and provider.for_good <= set(FAULTS)


def test_generate(place):
    place.create_key()
    costs(place, "generate")
    (kek, context, wrapped, key_id), = place.wraps()
    assert kek == place.kek and context == {"database": place.db.name, "table": f"public.{place.name}"}
    key, = place.data_keys()
    assert len(key) == 32 and reader.key_id(key) == key_id.bytes and key not in wrapped
    place.insert()
    sealed = place.db.value(f"SELECT ssn FROM {place.name}")
    assert reader.open_value(key, bytes(sealed)) == place.plaintexts[0].encode()
    place.db.sql("SELECT envelope.rotate_key(%s::text::regclass)", (place.name,))
    assert len(set(place.data_keys())) == 2
    holds_no_secret(place, place.data_keys())


def test_wrap(place):
    """A key that is there already, under a second KEK."""
    place.create_key().insert()
    other = place.provider.new_kek()
    assert place.db.value("SELECT envelope.add_kek(%s::text::regclass, %s)", (place.name, other)) == 1
    one, two = place.data_keys()
    assert one == two and {kek for kek, *_ in place.wraps()} == {place.kek, other}
    place.db.sql("SELECT envelope.drop_kek(%s::text::regclass, %s)", (place.name, place.kek))
    assert [kek for kek, *_ in place.wraps()] == [other] and place.opens()
    holds_no_secret(place, [one])


def test_unwrap(place):
    place.create_key().insert()
    place.provider.calm()
    with place.db.connect() as c:
        assert place.opens(c)
        place.insert(c)
        assert place.opens(c)
        costs(place, "unwrap")
    steps = place.db.sql("SELECT step, ok FROM envelope.check_kek(%s)", (place.kek,))
    assert steps and all(ok for _, ok in steps)
    assert place.db.sql("SELECT ok FROM envelope.check() WHERE relation = %s", (f"public.{place.name}",)) == [(True,)]
    holds_no_secret(place, place.data_keys())


CONTEXTS = [{}, {"a": "b"}, {"Zoë": "🔑", "b": "", "aa": '"\\/\n\x7f\u2028', "ﬁ": "<&>"}, {"long": "x" * 4000}]


@pytest.mark.parametrize("context", CONTEXTS, ids=["none", "one", "hard", "long"])
def test_a_context_of_ones_own(place, context):
    place.db.sql("SELECT envelope.create_key(%s::text::regclass, %s, kms_context => %s::jsonb)",
                 (place.name, place.kek, json.dumps(context)))
    place.insert()
    (_, stored, wrapped, key_id), = place.wraps()
    assert stored == context and place.opens()
    assert reader.key_id(place.provider.data_key(place.kek, wrapped, context)) == key_id.bytes


def is_refused(place, *states):
    """A new session opens nothing and says what to do."""
    with pytest.raises(psycopg.Error) as caught:
        place.opens()
    assert caught.value.sqlstate in (states or ("XX001",)), caught.value
    diag = caught.value.diag
    assert diag.message_hint and place.name in diag.message_primary, caught.value
    return diag


@pytest.mark.parametrize("change", ["another", "none", "one more", "one less", "other value"])
def test_wrong_context(place, change):
    place.create_key().insert()
    right = place.wraps()[0][1]
    wrong = {
        "another": {"database": place.db.name, "table": "public.other"}, "none": {}, "one more": {**right, "x": "y"},
        "one less": {"database": right["database"]}, "other value": {**right, "database": right["database"] + " "},
    }[change]
    place.change_wrap(kms_context=json.dumps(wrong))
    is_refused(place)
    place.change_wrap(kms_context=json.dumps(right))
    assert place.opens()
    holds_no_secret(place, place.data_keys())


def test_changed_wrap(place):
    """A bit of it anywhere, cut, longer, empty, not a wrap at all."""
    place.create_key().insert()
    right = bytes(place.wraps()[0][2])
    keys = place.data_keys()
    flipped = [right[:at] + bytes([right[at] ^ 1]) + right[at + 1:]
               for at in (0, 1, len(right) // 3, len(right) // 2, len(right) - 17, len(right) - 1)]
    for wrong in [*flipped, right[:-1], right[: len(right) // 2], right + b"\0", b"", b"\xff" * len(right)]:
        place.change_wrap(wrapped=wrong)
        is_refused(place, "XX001", sqlstate(place.provider, "changed wrap"))
    place.change_wrap(wrapped=right)
    assert place.opens()
    holds_no_secret(place, keys)


def test_foreign_wrap(place):
    """That of another table under the same KEK, and that of an older key of the table."""
    other = type(place)(place.provider, place.db)
    other.kek = place.kek
    other.create_key()
    place.create_key()
    place.db.sql("SELECT envelope.rotate_key(%s::text::regclass)", (place.name,))
    place.insert()
    keys = place.data_keys()
    older, newest = (bytes(wrap[2]) for wrap in place.wraps())
    theirs, = other.wraps()
    for wrong in ({"wrapped": theirs[2]}, {"wrapped": theirs[2], "kms_context": json.dumps(theirs[1])}, {"wrapped": older}):
        right = {"wrapped": newest, "kms_context": json.dumps(place.wraps()[-1][1])}
        place.change_wrap(**wrong)
        is_refused(place)
        place.change_wrap(**right)
    assert place.opens()
    holds_no_secret(place, keys)


def test_wrong_key(place):
    """The catalog names another key of the KMS than the one that made the wrap."""
    place.create_key().insert()
    keys = place.data_keys()
    place.change_wrap(kek=place.provider.new_kek())
    is_refused(place, sqlstate(place.provider, "wrong key"))
    place.change_wrap(kek=place.kek)
    assert place.opens()
    holds_no_secret(place, keys)


def test_rewrap(place):
    place.create_key().insert()
    before, other = place.data_keys(), place.provider.new_kek()
    place.provider.calm()
    moved = place.db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)",
                         (place.kek, other, place.name))
    costs(place, "rewrap")
    assert moved == [(True, None)] and [wrap[0] for wrap in place.wraps()] == [other]
    assert place.data_keys() == before and place.opens()
    holds_no_secret(place, before)


@each("rotated")
def test_rotated_behind_our_back(place, case):
    """Old wraps open, new ones are made; moving keys to where they are brings them to the newest version."""
    place.create_key().insert()
    before, keys = bytes(place.wraps()[0][2]), place.data_keys()
    with place.provider.fault(case, place.kek):
        assert place.opens()
        place.insert()
        place.db.sql("SELECT envelope.rotate_key(%s::text::regclass)", (place.name,))
        place.insert()
        moved = place.db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)",
                             (place.kek, place.kek, place.name))
        assert moved == [(True, None)] * 2
        assert bytes(place.wraps()[0][2]) != before and place.data_keys()[0] == keys[0]
        assert place.opens()
    assert place.opens()
    holds_no_secret(place, place.data_keys())


# -- faults ----------------------------------------------------------------------------------------------------------


@each(*FAULTS)
def test_fault(place, case):
    """Its SQLSTATE and a HINT, in time, with no more requests than are worth it; nothing half made. A session that has
    the key goes on. What opened before opens when it is over."""
    place.create_key().insert()
    keys, state, provider = place.data_keys(), sqlstate(place.provider, case), place.provider
    other = type(place)(provider, place.db)
    other.kek = place.kek
    wraps = place.wraps()
    with place.db.connect() as has_it, place.db.connect() as asks:
        assert place.opens(has_it)
        with provider.fault(case, place.kek):
            provider.calm_counts()
            diag = is_refused(place, state)
            if provider.requests is not None:
                assert provider.requests <= (1 if case in REFUSALS else ATTEMPTS), provider.requests
            assert place.kek in " ".join(filter(None, (diag.message_primary, diag.message_detail, diag.message_hint)))
            # Remembered for a moment, then asked again.
            with fails(state):
                place.opens(asks)
            for statement in ("envelope.rotate_key(%s::text::regclass)", "envelope.warm(%s::text::regclass)"):
                with fails(state):
                    place.db.sql(f"SELECT {statement}", (place.name,))
            with fails(state):
                other.create_key()
            assert place.db.sql("SELECT ok, sqlstate FROM envelope.check() WHERE relation = %s",
                                (f"public.{place.name}",)) == [(False, state)]
            assert place.wraps() == wraps and other.wraps() == []
            place.insert(has_it)
            assert place.opens(has_it)
            # An ordinary statement of this session is not touched.
            assert asks.execute("SELECT 1").fetchone() == (1,)
        if case not in provider.for_good:
            process.wait_until(lambda: opens_again(place, asks), "the session that was refused opens again")
            assert place.opens()
            place.insert(asks)
            other.create_key().insert()
            assert place.opens() and other.opens()
    holds_no_secret(place, keys)


def opens_again(place, c):
    """A call of a module that hung comes back a moment after the token: till then its session is not served."""
    c.execute("SELECT envelope.flush_cache()")
    try:
        return place.opens(c)
    except psycopg.errors.IoError:
        return False


@each("slow")
def test_slow(place, case):
    """It is waited for, and the wait is one that can be cancelled."""
    place.create_key().insert()
    with place.provider.fault(case, place.kek):
        assert place.opens()
        with place.db.connect() as c:
            with fails("57014"):
                c.execute(f"SET statement_timeout = '200ms'; {place.opening}")
            assert place.opens(c)


@each("hanging")
def test_cancelled_and_terminated_while_it_hangs(place, case):
    place.create_key().insert()
    with place.provider.fault(case, place.kek):
        for how, state in (("pg_cancel_backend", "57014"), ("pg_terminate_backend", "57P01")):
            place.provider.calm_counts()
            c = place.db.connect()
            c.execute("LOAD 'pgrx-example'")
            c.execute("SET envelope.kms_timeout = '120s'")
            asking = Work(lambda: c.execute(place.opening))
            waiting = ("SELECT count(*) FROM pg_stat_activity WHERE pid = %s "
                       "AND wait_event IN ('EnvelopeKms', 'Extension')")
            # For what hangs, and not for a login before it.
            process.wait_until(lambda: place.provider.requests != 0, "it was asked")
            process.wait_until(lambda: place.db.value(waiting, (c.info.backend_pid,)), "the session waits")
            assert place.db.value(f"SELECT {how}(%s)", (c.info.backend_pid,))
            assert asking.error().sqlstate == state
            c.close()
    assert place.opens()


@pytest.mark.parametrize("sessions", [200 if SLOW[0] in CHOSEN else 40])
def test_many_at_once(place, sessions):
    """Each session asks for itself; the server bears it, and so do we."""
    place.create_key().insert()
    connections = [place.db.connect() for _ in range(sessions)]
    place.provider.calm()
    try:
        for c in connections:
            c.execute("LOAD 'pgrx-example'")
            # PyKMIP answers one after the other.
            c.execute("SET envelope.kms_timeout = '300s'")
        assert at_once(lambda i: place.opens(connections[i]), sessions, seconds=300) == [True] * sessions
        most = place.provider.costs.get("unwrap")
        if most is not None:
            assert place.provider.requests <= most * sessions
    finally:
        for c in connections:
            c.close()
    holds_no_secret(place, place.data_keys())
