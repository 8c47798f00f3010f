"""KEKs in a PKCS#11 token, by SoftHSM: what it binds, refuses, hands back, and that it can hang."""

import json
import os
import re

import psycopg
import pytest
from harness import moto as kms
from harness import place, process
from harness.cluster import Cluster
from harness.pkcs11_faults import Faults
from harness.softhsm import SoftHsm
from harness.work import Work, at_once
from interop import kms_wraps
from interop import open as reader
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id"
KEY = bytes(range(32))
# CKR_: what the token answered, by the function that it answered to, and what the statement fails with.
ANSWERS = [
    # SoftHSM says this of a wrap that does not open, and others of a broken cable: it opens nothing else here.
    ("decrypt", "5", "58030"),
    ("decrypt", "6", "58030"),
    ("decrypt", "30", "58030"),
    ("decrypt", "40", "XX001"),
    ("decrypt", "41", "XX001"),
    ("decrypt", "42", "XX001"),
    ("decrypt", "32", "58030"),
    ("decrypt", "50", "58030"),
    ("decrypt", "54", "55000"),
    ("decrypt", "62", "55000"),
    ("decrypt", "68", "55000"),
    ("decrypt", "70", "55000"),
    ("decrypt", "1b", "28000"),
    ("decrypt", "80000123", "58030"),
    ("find", "32", "58030"),
    ("find", "b3", "58030"),
    ("find", "101", "58030"),
    ("login", "a3", "28000"),
    ("login", "a4", "28000"),
    ("login", "102", "28000"),
    ("login", "30", "58030"),
    ("login", "b1", "53400"),
]


@pytest.fixture(scope="module")
def token():
    with SoftHsm() as t:
        t.faults = Faults(t)
        t.import_key(KEY)
        yield t


@pytest.fixture(scope="module")
def p11(token):
    conf = {**token.settings, "envelope.default_kek": token.kek(), "envelope.allowed_keks": "pkcs11:*,file:///tmp/*",
            "envelope.kms_timeout": "20s"}
    with Cluster(conf=conf, env=token.env) as c:
        yield c


@pytest.fixture
def db(p11, token, database):
    """Begins with a token that does as it is told, and the right PIN."""
    token.faults.clear()
    yield database(p11)
    token.faults.clear()
    token.write_pin(token.pin)
    p11.set(envelope__kms_timeout="20s")


@pytest.fixture
def people(db, token):
    db.people(rows=["x", "y"])
    token.faults.clear()
    return db


def wraps(db):
    return db.sql("SELECT key_id, kms_context, wrapped FROM envelope.wrapped_key")


def opens(db, *texts):
    return db.sql(OPEN) == [(text,) for text in texts]


# -- what is stored --------------------------------------------------------------------------------------------------


def test_the_wrap_opens_by_other_hands(people, token):
    assert opens(people, "x", "y")
    people.sql("SELECT envelope.rotate_key('people')")
    found = wraps(people)
    assert len({bytes(wrapped)[:15] for _, _, wrapped in found}) == 2
    for key_id, context, wrapped in found:
        assert bytes(wrapped)[:3] == b"\xf7\x58\x0c" and len(wrapped) == 63
        assert reader.key_id(kms_wraps.unwrap(KEY, bytes(wrapped), context)) == key_id.bytes
    assert people.sql("SELECT kek FROM envelope.wrapped_key") == [(token.kek(),)] * 2


def test_a_context_of_ones_own(people):
    context = {"🔑": "1", "ﬁ": "2", "b": "\n\x7f\"", "aa": "\u2028"}
    people.sql("CREATE TABLE t (v bytea)")
    people.sql("SELECT envelope.create_key('t', kms_context => %s::jsonb)", (json.dumps(context),))
    found = [row for row in wraps(people) if row[1] == context]
    [(key_id, _, wrapped)] = found
    assert reader.key_id(kms_wraps.unwrap(KEY, bytes(wrapped), context)) == key_id.bytes


def damaged(wrapped):
    for at in (0, 1, 2, 3, 14, 15, 46, 47, 62):
        yield wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1:]
    yield from (wrapped[:-1], wrapped + b"\0", wrapped[:3], b"")


def test_a_changed_wrap(people):
    [(_, _, wrapped)] = wraps(people)
    for bad in damaged(bytes(wrapped)):
        people.sql("UPDATE envelope.wrapped_key SET wrapped = %s", (bad,))
        with fails("XX001") as error:
            people.sql(OPEN)
        assert error.value.diag.message_hint
    people.sql("UPDATE envelope.wrapped_key SET wrapped = %s", (wrapped,))
    assert opens(people, "x", "y")


def test_a_token_that_binds_no_context(db, token):
    """It takes associated data, and says nothing of ignoring them: each wrap opens under every context."""
    token.faults.set("no-aad", "")
    assert steps(db, token.kek())[-1] == ("generate", False, "55000")
    db.sql("CREATE TABLE t (v bytea)")
    with fails("55000") as error:
        db.sql("SELECT envelope.create_key('t')")
    assert error.value.diag.message_hint
    assert db.sql("SELECT key_id FROM envelope.wrapped_key") == []
    token.faults.take_back("no-aad")
    db.sql("SELECT envelope.create_key('t')")


def test_another_context(people):
    people.sql("UPDATE envelope.wrapped_key SET kms_context = kms_context || '{\"table\": \"public.other\"}'")
    with fails("XX001") as error:
        people.sql(OPEN)
    assert "public.other" in error.value.diag.message_detail


# -- the key ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(token):
    """Makes a key for one test: key(**attributes)."""
    yield lambda **attributes: token.create_key("other", **attributes)
    token.destroy_key("other")


def steps(db, kek):
    return db.sql("SELECT step, ok, sqlstate FROM envelope.check_kek(%s)", (kek,))


@pytest.mark.parametrize("more, warnings", [({}, 0), ({"wrap": True}, 1), ({"wrap": True, "unwrap": True}, 2)], ids=str)
def test_check_kek(db, key, more, warnings):
    told = []
    with db.connect() as c:
        c.add_notice_handler(lambda diag: told.append((diag.severity, diag.message_primary)))
        assert [ok for _, ok, _ in c.execute("SELECT step, ok, sqlstate FROM envelope.check_kek(%s)", (key(**more),))] == [True] * 6
    assert len(told) == warnings and all(severity == "WARNING" and "CKA_" in said for severity, said in told)


@pytest.mark.parametrize("flaw", [{"value_len": 16}, {"private": False}, {"sensitive": False}, {"extractable": True},
                                  {"encrypt": False}, {"decrypt": False}], ids=str)
def test_a_key_that_is_not_fit(db, key, token, flaw):
    kek = key(**flaw)
    assert steps(db, kek)[-1][1:] == (False, "55000")
    db.sql("CREATE TABLE t (v bytea)")
    with fails("55000"):
        db.sql("SELECT envelope.create_key('t', %s)", (kek,))
    good = token.kek()
    db.sql("SELECT envelope.create_key('t', %s)", (good,))
    with fails("55000"):
        db.sql("SELECT envelope.add_kek('t', %s)", (kek,))
    assert db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s)", (good, kek)) == [(False, "55000")]
    assert db.sql("SELECT kek FROM envelope.wrapped_key") == [(good,)]


def test_a_key_of_another_type(db, key):
    assert steps(db, key(key_type="generic"))[-1] == ("generate", False, "55000")


def test_what_is_wrapped_opens_whatever_becomes_of_the_key(people, token):
    """But for what it needs for that: nothing new is wrapped."""
    token.change_key(encrypt=False)
    try:
        assert opens(people, "x", "y")
        with fails("55000"):
            people.sql("SELECT envelope.rotate_key('people')")
        [(_, _, wrapped)] = wraps(people)
        people.sql("UPDATE envelope.wrapped_key SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20))")
        with fails("XX001"):
            people.sql(OPEN)
        people.sql("UPDATE envelope.wrapped_key SET wrapped = %s", (wrapped,))
        token.change_key(decrypt=False)
        with fails("55000"):
            people.sql(OPEN)
    finally:
        token.change_key(encrypt=True, decrypt=True)
    assert opens(people, "x", "y")


def test_exactly_one_key(people, token, key):
    with fails("55000") as none:
        people.sql("SELECT envelope.add_kek('people', %s)", (token.kek("other"),))
    key()
    token.create_key("other")
    with fails("55000") as two:
        people.sql("SELECT envelope.add_kek('people', %s)", (token.kek("other"),))
    assert none.value.diag.message_hint != two.value.diag.message_hint


def test_the_token_by_its_name(people, token):
    with fails("55000"):
        people.sql("SELECT envelope.add_kek('people', 'pkcs11:token=none;object=pgkek')")


def test_two_tokens_of_one_name(own_cluster, database):
    with SoftHsm() as twin:
        twin.create_key()
        twin.add_token("kek")
        faults = Faults(twin)
        conf = {**twin.settings, "envelope.allowed_keks": "pkcs11:*"}
        db = database(own_cluster(conf=conf, env=twin.env).start())
        assert steps(db, twin.kek())[-1] == ("generate", False, "55000")
        # Looking again would not tell them apart, and closes the sessions of all tokens.
        assert len(faults.calls("C_Initialize")) == 1
        serials = [path.name for path in (twin.directory / "tokens").iterdir()]
        names = [f"pkcs11:token=kek;object=pgkek;serial={name.replace('-', '')[-16:]}" for name in serials]
        assert sorted(len(steps(db, name)) for name in names) == [4, 6]


# -- the PIN ---------------------------------------------------------------------------------------------------------


def test_a_wrong_pin_is_tried_once_by_all(people, token):
    token.write_pin("4321")

    def ask():
        with fails("28000") as error:
            people.sql(OPEN)
        assert str(token.pin_file) in error.value.diag.message_hint

    at_once(lambda _: ask(), 12)
    ask()
    assert len(token.faults.calls("C_Login")) == 1
    # Written or touched, it is another one.
    os.utime(token.pin_file)
    ask()
    ask()
    assert len(token.faults.calls("C_Login")) == 2
    token.write_pin(token.pin)
    assert opens(people, "x", "y")
    assert len(token.faults.calls("C_Login")) == 3


def test_the_tokens_pin_changes(people, token):
    """Who is logged in stays so. The file that was right is tried once more, by one."""
    with people.connect() as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        old = token.pin
        token.set_pin("5678")
        try:
            token.write_pin(old)
            token.faults.clear()

            def ask():
                with fails("28000"):
                    people.sql(OPEN)

            at_once(lambda _: ask(), 8)
            assert len(token.faults.calls("C_Login")) == 1
            c.execute("SELECT envelope.flush_cache()")
            assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
            token.write_pin(token.pin)
            assert opens(people, "x", "y")
        finally:
            token.set_pin(old)


@pytest.mark.parametrize("flag", ["20000", "40000"], ids=["final try", "locked"])
def test_the_last_try_is_a_humans(people, token, flag):
    token.faults.set("flags", flag)
    with fails("28000"):
        people.sql(OPEN)
    assert token.faults.calls("C_Login") == []


@pytest.mark.parametrize("how", ["readable", "link", "gone", "empty", "blank", "directory"])
def test_a_pin_file_that_is_none(people, token, how):
    path = token.pin_file
    if how == "readable":
        token.write_pin(token.pin, mode=0o644)
    elif how == "link":
        path.rename(path.with_suffix(".real"))
        path.symlink_to(path.with_suffix(".real"))
    elif how in ("empty", "blank"):
        path.write_text("" if how == "empty" else "\n")
    else:
        path.unlink()
        if how == "directory":
            path.mkdir()
    try:
        with fails("28000") as error:
            people.sql(OPEN)
        assert error.value.diag.message_hint and token.faults.calls("C_Login") == []
    finally:
        path.rmdir() if how == "directory" else path.unlink(missing_ok=True)
        token.write_pin(token.pin)
    assert opens(people, "x", "y")


# -- the module ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["", "libsofthsm2.so", "/nonexistent.so", "/etc/passwd", "/usr/lib/x86_64-linux-gnu/libc.so.6"])
def test_a_module_that_is_none(people, p11, token, module):
    with people.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute("SELECT set_config('envelope.pkcs11_module', %s, false)", (module,))
        with fails("22023") as error:
            c.execute(OPEN)
        assert "envelope.pkcs11_module" in error.value.diag.message_hint
        c.execute("RESET envelope.pkcs11_module")
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


def test_no_pin_file(people):
    with people.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.pkcs11_pin_file = ''")
        with fails("22023"):
            c.execute(OPEN)


@pytest.mark.parametrize("function, answer, state", ANSWERS)
def test_answers_are_told_apart(people, token, function, answer, state):
    token.faults.set(function, answer)
    with fails(state) as error:
        people.sql(OPEN)
    assert error.value.diag.message_hint
    token.faults.take_back(function)
    assert opens(people, "x", "y")


def test_a_session_that_is_gone_is_made_anew(people, token):
    with people.connect() as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        token.faults.clear()
        token.faults.set("find-once", "b3")
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        assert len(token.faults.calls("C_Login")) == 1


def test_a_token_that_others_write_to_meanwhile(people, token):
    """SoftHSM may lose sight of its token then, and sees it again once it is initialised anew."""
    token.faults.set("token-info-once", "5")
    assert opens(people, "x", "y")
    assert not (token.faults.directory / "token-info-once").exists()
    assert len(token.faults.calls("C_Initialize")) == 2 and len(token.faults.calls("C_Login")) == 1


def test_an_iv_of_the_tokens(db, p11, token):
    p11.set(envelope__pkcs11_token_chooses_iv="on")
    try:
        process.wait_until(lambda: db.value("SHOW envelope.pkcs11_token_chooses_iv") == "on", "the setting")
        # It is given zeros, and leaves them.
        assert steps(db, token.kek())[-1] == ("generate", False, "55000")
        token.faults.set("iv", "random")
        db.people(rows=["x", "y"])
        [(key_id, context, wrapped)] = wraps(db)
        assert reader.key_id(kms_wraps.unwrap(KEY, bytes(wrapped), context)) == key_id.bytes
        assert opens(db, "x", "y")
        token.faults.set("iv", "same")
        with db.connect() as c:
            c.execute("SELECT envelope.rotate_key('people')")
            with fails("55000"):
                c.execute("SELECT envelope.rotate_key('people')")
    finally:
        p11.set(envelope__pkcs11_token_chooses_iv=None)


# -- processes -------------------------------------------------------------------------------------------------------


def test_parallel_workers(people, token):
    people.sql("INSERT INTO people SELECT n, 'z' FROM generate_series(3, 3000) n")
    with people.connect() as c:
        for name, value in (("parallel_setup_cost", 0), ("parallel_tuple_cost", 0), ("min_parallel_table_scan_size", 0),
                            ("max_parallel_workers_per_gather", 2), ("parallel_leader_participation", "off")):
            c.execute(f"SET {name} = {value}")
        query = "SELECT count(DISTINCT envelope_decrypt_text('people', ssn)) FROM people"
        plan = c.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query}").fetchone()[0]
        assert '"Workers Launched": 2' in json.dumps(plan)
        assert c.execute(query).fetchone() == (3,)
    # Each process logs in by itself: a worker of each of both at least, as those of the second are new.
    assert len(set(token.faults.calls("C_Login"))) > 1


def test_many_sessions_at_once(people):
    assert all(at_once(lambda _: opens(people, "x", "y"), 50))


def test_backends_end_without_the_librarys_destructors(people, p11, token):
    """Some of them crash, above all while a thread is in the library: that would be a restart of all sessions."""
    for end in ("exit", "terminate"):
        with people.connect() as c:
            assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
            pid = c.info.backend_pid
            if end == "terminate":
                assert people.value("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        process.wait_until(lambda: not process.alive(pid), "the backend ends")
        assert pid in token.faults.calls("C_Login") and pid not in token.faults.calls("destructor")
    # As others have it.
    token.call("generate", token="kek", pin=token.pin, attributes={"label": "x", "value_len": 32})
    token.destroy_key("x")
    assert len(token.faults.calls("destructor")) == 2
    assert "was terminated by signal" not in p11.log.read_text()


def test_no_pin_in_the_log(people, p11, token):
    token.write_pin("secret-pin-4321")
    with fails("28000"):
        people.sql(OPEN)
    log = p11.log.read_text()
    assert "secret-pin" not in log and people.name in log


# -- a token that hangs ----------------------------------------------------------------------------------------------


def asked(token, name, calls=1):
    process.wait_until(lambda: len(token.faults.calls(name)) >= calls, f"{name} is called")


@pytest.mark.parametrize("fault, function", [("hang", "C_Decrypt"), ("hang-login", "C_Login"),
                                             ("hang-start", "C_Initialize")])
def test_a_hung_token_ends_with_the_statement(people, token, fault, function):
    token.faults.set(fault)
    with people.connect() as c:
        # Long enough to come there.
        c.execute("SET statement_timeout = '3s'")
        with fails("57014"):
            c.execute(OPEN)
        asked(token, function)
        c.execute("SET statement_timeout = 0")
        token.faults.take_back(fault)
        # The call that was left behind comes back, and the next has its turn.
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


def test_seen_cancelled_and_terminated(people, token):
    token.faults.set("hang")
    with people.connect() as c:
        pid = c.info.backend_pid
        work = Work(c.execute, OPEN)
        waits = "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = %s"
        process.wait_until(lambda: people.value(waits, (pid,)), "it waits")
        people.sql("SELECT pg_cancel_backend(%s)", (pid,))
        assert work.error().sqlstate == "57014"
        work = Work(c.execute, OPEN)
        process.wait_until(lambda: people.value(waits, (pid,)), "it waits")
        # The thread still is in the module's call.
        assert people.value("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        assert work.error().sqlstate == "57P01"
    assert "was terminated by signal" not in people.cluster.log.read_text()


def test_a_call_that_does_not_come_back(people, p11, token):
    p11.set(envelope__kms_timeout="3s")
    process.wait_until(lambda: people.value("SHOW envelope.kms_timeout") == "3s", "the setting")
    token.faults.set("hang")
    with people.connect() as c:
        with fails("58030"):
            c.execute(OPEN)
        # No second call is made.
        for _ in range(3):
            with fails("58030"):
                c.execute(OPEN)
        assert len(token.faults.calls("C_Decrypt")) == 1
        assert c.execute("SELECT 1").fetchone() == (1,)
        token.faults.take_back("hang")
        process.wait_until(lambda: has_answer(c), "it answers again")


def has_answer(c):
    try:
        return c.execute(OPEN).fetchall() == [("x",), ("y",)]
    except psycopg.Error as error:
        assert error.sqlstate == "58030"


# -- other KEKs ------------------------------------------------------------------------------------------------------


def test_to_a_file_and_back(people, token, p11):
    file = p11.base / "kek"
    file.write_bytes(os.urandom(32))
    file.chmod(0o600)
    token._own(file)
    kek = f"file://{file}"
    for one, other in ((token.kek(), kek), (kek, token.kek())):
        assert people.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s)", (one, other)) == [(True, None)]
        assert people.sql("SELECT kek FROM envelope.wrapped_key") == [(other,)]
        assert opens(people, "x", "y")


def test_to_aws_and_back(own_cluster, database, token, moto):
    aws = kms.kek(moto.create_key())
    conf = {**token.settings, "envelope.default_kek": aws, "envelope.allowed_keks": f"pkcs11:*,{aws}",
            "envelope.aws_region": kms.REGION, "envelope.aws_endpoint_url": moto.url}
    token.faults.clear()
    db = database(own_cluster(conf=conf, env={**kms.CREDENTIALS, **token.env}).start())
    db.people(rows=["x", "y"])
    for one, other in ((aws, token.kek()), (token.kek(), aws)):
        assert db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s)", (one, other)) == [(True, None)]
        assert opens(db, "x", "y")


# -- the page --------------------------------------------------------------------------------------------------------


def test_the_set_up_of_its_page(own_cluster, database):
    """docs/kms/pkcs11.md, from the shell to the last query."""
    text = (place.ROOT / "docs/kms/pkcs11.md").read_text()
    [shell], [conf], [sql] = ([block for _, block in re.findall(rf"^( *)```{kind}\n(.*?)^\1```", text, re.S | re.M)]
                              for kind in ("sh", "ini", "sql"))
    with SoftHsm(label="another") as t:
        pin = str(t.directory / "page.pin")
        shell, conf = shell.replace("/etc/postgresql/pkcs11.pin", pin), conf.replace("/etc/postgresql/pkcs11.pin", pin)
        process.run_as_server("/bin/sh", "-euc", shell, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **t.env})
        settings = dict(re.findall(r"^(\S+) = '(.*)'$", conf, re.M))
        assert len(settings) == len(conf.splitlines())
        db = database(own_cluster(conf=settings, env=t.env).start())
        ran = [(db.sql(query), said) for query, said in re.findall(r"(SELECT .*?);(?:  -- => ([^\n]*))?$", sql, re.S | re.M)]
        assert len(ran) == 2 and all(ok for _, ok, _ in ran[0][0])
        assert " ".join(str(value).lower() for value in ran[1][0][0]) == ran[1][1]
        db.people(rows=["x"])
        assert db.sql(OPEN) == [("x",)]
