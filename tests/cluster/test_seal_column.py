"""CALL envelope.seal_column: what a column holds in clear is sealed, beside everything else that goes on."""

import contextlib
import threading

import pytest
from harness import faults, process
from harness.work import Work
from sqlstate import fails

ROWS = 2000
CUT = (None, "57P01", "57P02", "57P03")
SEAL = ("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")


class Call(Work):
    """A statement in a session of its own, in the background."""

    def __init__(self, db, statement):
        self.connection = db.connect()
        self.pid = self.connection.info.backend_pid
        super().__init__(self._execute, statement)

    def _execute(self, statement):
        with self.connection as c:
            c.execute(statement)


def fill(db, rows=ROWS, kind="bytea"):
    """A table with plaintext in its column."""
    db.sql(f"CREATE TABLE people (id int PRIMARY KEY, ssn {kind}, n int DEFAULT 0, touched int DEFAULT 0)")
    db.sql(f"INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(1, {rows}) g")


def call(options=""):
    return f"CALL envelope.seal_column('people', 'ssn', batch_size => 20{options})"


def states(db, table="people", column="ssn"):
    return dict(db.sql("SELECT state, sum(rows)::int FROM envelope.census(%s, %s) GROUP BY 1", (table, column)))


def progress(db, work="seal"):
    """Rows done, and whether it has ended."""
    found = db.sql("SELECT rows_done, finished_at IS NOT NULL FROM envelope.progress WHERE work = %s", (work,))
    return found[0] if found else (0, False)


def wrong(db, where="true"):
    return db.value(f"SELECT count(*) FROM people WHERE {where} AND envelope_decrypt_text('people', ssn) <> 'v' || id")


def told(db, statement):
    """The WARNINGs of a statement."""
    notices = []
    with db.connect() as c:
        c.add_notice_handler(lambda n: notices.append(f"{n.message_primary} {n.message_detail} {n.message_hint}"))
        c.execute(statement)
    return [notice for notice in notices if "key file" not in notice]


def past_the_trigger(db, statement):
    with db.connect() as c:
        c.execute("SET session_replication_role = replica")
        c.execute(statement)


def changed_before_the_seal(db, change):
    """Another trigger, which fires before the sealing trigger."""
    db.sql(f"CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change}; RETURN NEW; END $$")
    db.sql("CREATE TRIGGER a_change BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change()")


# -- plaintext in place ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bytea", "envelope.sealed"])
@pytest.mark.parametrize("trigger", [False, True])
def test_all_values_are_sealed(db, kind, trigger):
    fill(db, kind=kind)
    if trigger:
        db.sql(SEAL)
        db.sql("UPDATE people SET ssn = ssn WHERE id <= 10")
    db.sql("UPDATE people SET ssn = NULL WHERE id = 500")
    before = dict(db.sql("SELECT id, ssn::bytea FROM people WHERE id <= 10"))
    db.sql(call())
    assert states(db) == {"active": ROWS - 1, "null": 1}
    assert wrong(db) == 0
    assert progress(db) == (ROWS - (11 if trigger else 1), True)
    if trigger:
        # What was sealed stays, byte for byte.
        assert dict(db.sql("SELECT id, ssn::bytea FROM people WHERE id <= 10")) == before
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    # Again: nothing to do, and nothing is touched.
    rows = db.sql("SELECT id, xmin::text FROM people ORDER BY 1")
    db.sql(call())
    assert db.sql("SELECT id, xmin::text FROM people ORDER BY 1") == rows


def test_the_first_key_is_made(db):
    fill(db, 3)
    assert db.value("SELECT count(*) FROM envelope.keys") == 0
    db.sql(call())
    assert states(db) == {"active": 3}


def test_no_key_where_none_may_be_made(own_cluster, database):
    db = database(own_cluster(conf={"envelope.auto_create_key": "off"}).start())
    fill(db, 3)
    with fails("42704"):
        db.sql(call())


def test_long_and_odd_values(db):
    fill(db, 1)
    db.sql("INSERT INTO people SELECT 10 + g, decode(repeat(md5(g::text), 4000), 'hex') FROM generate_series(1, 20) g")
    # What only begins as sealed values do is plaintext.
    odd = [b"", b"\xf7", b"\xf7\xe1", b"\xf7\xe1" + bytes(30), b"\xf7\xe1" + bytes(60), b"\x00" * 100]
    for i, value in enumerate(odd):
        db.sql("INSERT INTO people VALUES (%s, %s)", (100 + i, value))
    before = dict(db.sql("SELECT id, ssn FROM people"))
    db.sql(call())
    assert dict(db.sql("SELECT id, envelope_decrypt('people', ssn) FROM people")) == before


def test_what_is_left_alone_is_told(db):
    """Values that look sealed: of another table, of no key here. Never plaintext."""
    fill(db, 100)
    db.sql("SELECT envelope.create_key('people')")
    db.people("others", ["theirs"])
    db.sql("UPDATE people SET ssn = (SELECT ssn FROM others) WHERE id IN (5, 6)")
    db.sql("UPDATE people SET ssn = set_byte(ssn, 12, get_byte(ssn, 12) # 1) WHERE id = 6")
    (notice,) = told(db, call())
    assert "1 under other tables' keyrings" in notice and "1 under keys that are not in this database" in notice
    assert states(db) == {"active": 99, "unknown": 1}
    assert wrong(db, "id NOT IN (5, 6)") == 0


def test_a_damaged_value(db):
    fill(db, 100)
    db.sql(call())
    db.sql("UPDATE people SET ssn = set_byte(ssn, 45, get_byte(ssn, 45) # 1) WHERE id = 50")
    db.sql("INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(101, 150) g")
    with fails("22000") as caught:
        db.sql(call())
    assert "ctid" in caught.value.diag.message_detail
    (notice,) = told(db, call(", on_damage => 'skip'"))
    assert "1 that do not open" in notice and "envelope.verify" in notice
    assert states(db) == {"active": 150} and wrong(db, "id <> 50") == 0
    # It is not looked at where that is not asked for.
    assert told(db, call(", verify => false")) == []


def test_a_sealed_value_as_text_is_not_sealed_again(db):
    fill(db, 3)
    db.sql(call())
    db.sql("UPDATE people SET ssn = convert_to(ssn::text, 'UTF8') WHERE id = 2")
    with fails("22P02"):
        db.sql(call())
    assert db.value("SELECT ssn LIKE '\\\\xf7e1%' FROM (SELECT convert_from(ssn, 'UTF8') FROM people WHERE id = 2) AS t (ssn)")


# -- from a source --------------------------------------------------------------------------------------------------


def fill_beside(db, rows=ROWS, kind="text", value="'v' || g"):
    db.sql(f"CREATE TABLE people (id int PRIMARY KEY, plain {kind}, ssn envelope.sealed, n int DEFAULT 0)")
    db.sql(f"INSERT INTO people SELECT g, {value} FROM generate_series(1, {rows}) g")
    db.sql("UPDATE people SET plain = NULL WHERE id % 100 = 0")


FROM_SOURCE = "CALL envelope.seal_column('people', 'ssn', source => 'plain', batch_size => 20{})"


def test_the_source_is_left(db):
    fill_beside(db)
    db.sql(FROM_SOURCE.format(""))
    assert states(db) == {"active": ROWS - 20, "null": 20}
    assert db.value("SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) IS DISTINCT FROM plain") == 0
    assert progress(db) == (ROWS - 20, True)


@pytest.mark.parametrize("left", ["1", "30", "1, 2", "29, 30", "7", ""])
def test_the_look_at_the_end_sees_what_a_source_says(db, left):
    fill_beside(db, 30)
    db.sql("UPDATE people SET plain = NULL WHERE id IN (5, 6)")
    db.sql(FROM_SOURCE.format(""))
    if left:
        db.sql(f"UPDATE people SET ssn = NULL WHERE id IN ({left})")
    for is_emptied in (False, True):
        def window(begins, is_emptied=is_emptied):
            return db.sql("SELECT pass, to_block FROM envelope.reencrypt_window("
                          "'seal', 'people', 'ssn', 1000, %s, NULL, false, false, 'plain', %s)", (begins, is_emptied))
        (first, blocks), = window(True)
        db.sql("SELECT envelope.reencrypt_note('seal', 'people', 'ssn', 1000, 0, %s, 0, 0, 0)", (blocks,))
        assert [number for number, _ in window(False)] == ([first + 1] if left or is_emptied else [])
    db.sql("UPDATE people SET plain = NULL")
    (_, blocks), = window(True)
    db.sql("SELECT envelope.reencrypt_note('seal', 'people', 'ssn', 1000, 0, %s, 0, 0, 0)", (blocks,))
    assert window(False) == []


@pytest.mark.parametrize("kind, value", [
    ("date", "'2020-01-01'::date + g"), ("numeric(10,2)", "g / 100.0"), ("integer", "g"), ("boolean", "g % 2 = 0"),
    ("timestamptz", "'2020-01-01'::timestamptz + g * interval '1 s'"), ("jsonb", "to_jsonb(g)"), ("varchar(20)", "'v' || g"),
    ("uuid", "gen_random_uuid()"), ("text[]", "ARRAY[g::text, NULL]"), ("float8", "g / 3.0"),
])
def test_values_with_types(db, kind, value):
    """Whatever the session's settings are."""
    fill_beside(db, 200, kind, value)
    with db.connect() as c:
        c.execute("SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -5")
        c.execute(FROM_SOURCE.format(""))
    assert db.value(f"SELECT count(*) FROM people WHERE envelope_decrypt_as('people', ssn, NULL::{kind}) "
                    "IS DISTINCT FROM plain") == 0
    lengths = db.sql("SELECT count(DISTINCT octet_length(ssn::bytea)) FROM people WHERE ssn IS NOT NULL")
    if kind in ("date", "boolean", "integer", "timestamptz"):
        assert lengths == [(1,)]


def test_an_expression(db):
    fill_beside(db, 100)
    db.sql("CALL envelope.seal_column('people', 'ssn', source => 'upper(plain) || '' 100%s''')")
    assert db.value("SELECT count(*) FROM people WHERE plain IS NOT NULL "
                    "AND envelope_decrypt_text('people', ssn) = upper(plain) || ' 100%s'") == 99
    # The caller's own SQL: no more than the caller may do.
    with fails("42703"):
        db.sql("CALL envelope.seal_column('people', 'ssn', source => 'no_such')")


def shows(error, value):
    """Whether any part of an error does."""
    parts = ("message_primary", "message_detail", "message_hint", "context", "internal_query")
    return any(value in (getattr(error.diag, part) or "") for part in parts)


@pytest.mark.parametrize("kind, secret, value_type, sqlstate", [
    ("text", "123-45-6789", "date", "22008"), ("varchar(20)", "123-45-6789", "numeric(10,2)", "22P02"),
    ("text", "123-45-6789", "mood", "22P02"), ("text", '{"ssn": 123-45-6789}', "jsonb", "22P02"),
    ("text[]", "{123-45-6789}", "date[]", "22008"), ("bytea", "123-45-6789", "date", "22008"),
    ("bytea", r"\x3132332d34352dff", "text", "22021"),
])
@pytest.mark.parametrize("source", ["plain", "COALESCE(plain, NULL)"])
def test_what_is_no_value_of_the_type_is_not_shown(db, kind, secret, value_type, sqlstate, source):
    db.sql("CREATE TYPE mood AS ENUM ('well', 'unwell')")
    fill_beside(db, 1, kind, f"'{secret}'")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => %s)", (value_type,))
    with fails(sqlstate) as caught:
        db.sql("CALL envelope.seal_column('people', 'ssn', source => %s)", (source,))
    assert not shows(caught.value, "123-45") and "0xff" not in str(caught.value)


@pytest.mark.parametrize("kind", ["text", "bytea", "varchar(20)"])
def test_text_is_read_as_a_cast_reads_it(db, kind):
    fill_beside(db, 1, kind, "'01/02/2020'")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'date')")
    with db.connect() as c:
        c.execute("SET DateStyle = 'SQL, DMY'")
        c.execute(FROM_SOURCE.format(""))
    assert db.value("SELECT envelope_decrypt_as('people', ssn, NULL::date) = '2020-02-01' FROM people") is True


def test_a_column_named_like_sql(db):
    """A column's name comes before an expression."""
    db.sql('CREATE TABLE people (id int PRIMARY KEY, "current_user" text, "se%d ""x" bytea)')
    db.sql("INSERT INTO people SELECT g, 'v' || g FROM generate_series(1, 50) g")
    db.sql("CALL envelope.seal_column('people', 'se%d \"x', source => 'current_user')")
    assert db.value('SELECT count(*) FROM people WHERE envelope_decrypt_text(\'people\', "se%d ""x") = "current_user"') == 50


def test_a_source_that_says_something_else(db):
    fill_beside(db, 50)
    db.sql(FROM_SOURCE.format(""))
    db.sql("UPDATE people SET plain = 'newer' WHERE id = 7")
    with fails("22000") as caught:
        db.sql(FROM_SOURCE.format(""))
    assert "newer" not in str(caught.value)
    (notice,) = told(db, FROM_SOURCE.format(", on_damage => 'skip'"))
    assert "1 that do not open" in notice or "1 " in notice
    assert told(db, FROM_SOURCE.format(", verify => false")) == []
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 7") == "v7"


def with_policy(db, bind="'{}'", **kw):
    options = "".join(f", {name} => {value}" for name, value in kw.items())
    db.sql(f"SELECT envelope.set_policy('people', 'ssn', form => 'source', source => 'plain', bind => {bind}{options})")


def trigger(db, function):
    db.sql("DROP TRIGGER IF EXISTS seal ON people")
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION {function}('ssn=plain')")


@pytest.mark.parametrize("quiet", [False, True])
def test_beside_a_mirror_the_source_stays(db, quiet):
    fill_beside(db, 300)
    with_policy(db, "'{id}'")
    trigger(db, "envelope_mirror")
    db.sql(f"CALL envelope.seal_column('people', 'ssn', quiet => {quiet})")
    assert states(db) == {"active": 297, "null": 3}
    assert db.value("SELECT count(*) FROM people WHERE plain = 'v' || id AND envelope_decrypt_text("
                    "'people', ssn, envelope.row_context('people', 'ssn', id::text)) = plain") == 297


@pytest.mark.parametrize("quiet", [False, True])
def test_under_the_sealing_trigger_the_source_is_emptied(db, quiet):
    fill_beside(db, 300)
    with_policy(db, "'{id}'")
    trigger(db, "envelope_mirror")
    # Half is sealed before the switch, and both columns are full there.
    db.sql("UPDATE people SET plain = plain WHERE id <= 150")
    trigger(db, "envelope_seal")
    db.sql(f"CALL envelope.seal_column('people', 'ssn', quiet => {quiet})")
    assert db.value("SELECT count(*) FROM people WHERE plain IS NOT NULL") == 0
    assert db.value("SELECT count(*) FROM people WHERE envelope_decrypt_text("
                    "'people', ssn, envelope.row_context('people', 'ssn', id::text)) = 'v' || id") == 297
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []


def test_nothing_newer_is_emptied(db):
    """A source that says something else than the sealed value is kept, and told."""
    fill_beside(db, 100)
    with_policy(db)
    trigger(db, "envelope_mirror")
    db.sql("UPDATE people SET plain = plain")
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    db.sql("UPDATE people SET plain = 'newer' WHERE id = 9")
    trigger(db, "envelope_seal")
    with fails("22000"):
        db.sql("CALL envelope.seal_column('people', 'ssn')")
    assert db.value("SELECT plain FROM people WHERE id = 9") == "newer"
    db.sql("CALL envelope.seal_column('people', 'ssn', on_damage => 'skip')")
    assert db.sql("SELECT id, plain FROM people WHERE plain IS NOT NULL") == [(9, "newer")]


# -- what values are bound to ---------------------------------------------------------------------------------------


def bound(db):
    return db.value("SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn, "
                    "envelope.row_context('people', 'ssn', id::text)) = 'v' || id")


def test_plaintext_is_bound_to_its_row(db):
    fill(db, 300)
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    db.sql(call())
    assert bound(db) == 300
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    # One that was moved to another row does not open there, and is listed.
    db.sql("UPDATE people a SET ssn = b.ssn FROM people b WHERE a.id = 5 AND b.id = 6")
    assert db.sql("SELECT row_key, sqlstate FROM envelope.verify('people', 'ssn')") == [("5", "22000")]


@pytest.mark.parametrize("with_trigger", [False, True])
def test_values_are_bound_anew(db, with_trigger):
    fill(db, 300)
    db.sql(call())
    if with_trigger:
        db.sql(SEAL)
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    # Until it has ended, both open; re-encryption keeps them, too.
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    db.sql("SELECT envelope.rotate_key('people')")
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    db.sql(call())
    assert bound(db) == 300
    # The former context is over.
    assert db.sql("SELECT former_context FROM envelope.sweep_contexts('people', 'ssn')") == [(None,)]
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []


def test_what_is_bound_anew_is_of_the_columns_type(db):
    """Whoever had sealed it may have sealed anything: the trigger looks, though the value was sealed a moment ago."""
    fill(db, 20)
    db.sql("UPDATE people SET ssn = envelope_encrypt_text('people', CASE id WHEN 7 THEN 'secret' ELSE id::text END)")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', value_type => 'integer', bind => '{id}')")
    db.sql(SEAL)
    with fails("22023") as caught:
        db.sql(call())
    assert "secret" not in str(caught.value)
    db.sql("DELETE FROM people WHERE id = 7")
    db.sql(call())
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []


def test_the_former_binding_stays_while_something_is_left(db):
    """A value under a retired key opens again some day, under the context that it has."""
    fill(db, 20)
    db.sql(call())
    db.sql("SELECT envelope.rotate_key('people')")
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    db.sql("INSERT INTO people VALUES (21, 'v21')")
    old = db.value("SELECT key_id FROM envelope.keys WHERE version = 1")
    db.sql("UPDATE people SET ssn = envelope_encrypt_text('people', 'v' || id) WHERE id < 5")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    db.sql("SELECT envelope.rotate_key('people')")
    second = db.value("SELECT key_id FROM envelope.keys WHERE version = 2")
    db.sql("SELECT envelope.retire_key(%s)", (second,))
    db.sql(call(", on_damage => 'skip'"))
    assert db.value("SELECT former_context IS NOT NULL FROM envelope.sweep_contexts('people', 'ssn')")
    db.sql("SELECT envelope.unretire_key(%s)", (second,))
    db.sql(call())
    assert bound(db) == 21
    assert old
    assert db.value("SELECT former_context IS NULL FROM envelope.sweep_contexts('people', 'ssn')")


def test_bound_to_columns_of_every_type(db):
    db.sql("CREATE DOMAIN short AS smallint; CREATE DOMAIN words AS varchar(30); CREATE DOMAIN bytes AS bytea")
    db.sql("CREATE TABLE people (a short NOT NULL, b bigint NOT NULL, c uuid NOT NULL, d text NOT NULL, e words NOT NULL, "
           "f bytea NOT NULL, g bytes NOT NULL, \"h %s\" int NOT NULL, ssn bytea)")
    db.sql(SEAL)
    db.sql("INSERT INTO people SELECT g, -g, gen_random_uuid(), 'Zoë ''' || g, 'w' || g, decode('ff0' || g % 10, 'hex'), '\\x', g, "
           "convert_to('v' || g, 'UTF8') FROM generate_series(1, 50) g")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => ARRAY['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h %s'])")
    db.sql(call())
    # What the trigger binds to is the same.
    db.sql("UPDATE people SET a = a + 1, d = d || 'x'")
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    assert states(db) == {"active": 50}


# -- cut off, and beside others -------------------------------------------------------------------------------------


@pytest.fixture
def own_db(own_cluster, database):
    return database(own_cluster(conf={"max_prepared_transactions": 5}).start())


@contextlib.contextmanager
def in_the_middle(db):
    """A call that has done some rows, and cannot end before the block does: another session holds a row."""
    with contextlib.closing(db.connect()) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM people WHERE id = %s FOR UPDATE", (ROWS,))
        running = Call(db, call(", pause => '20ms', row_lock_timeout => '1 min'"))
        process.wait_until(lambda: progress(db)[0] >= 300, "some rows")
        yield running


def test_killed_in_the_middle(own_db):
    fill(own_db)
    with in_the_middle(own_db) as running:
        own_db.cluster.kill9()
        assert running.error().sqlstate in CUT
    own_db.cluster.start()
    done, ended = progress(own_db)
    assert not ended and 300 <= done < ROWS
    assert states(own_db) == {"active": done, "not sealed": ROWS - done}
    own_db.sql(call())
    assert states(own_db) == {"active": ROWS} and wrong(own_db) == 0
    assert progress(own_db) == (ROWS, True)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_cancelled_in_the_middle(db, how):
    fill(db)
    with in_the_middle(db) as running:
        db.sql(f"SELECT {how}(%s)", (running.pid,))
        with fails("57014" if how == "pg_cancel_backend" else "57P01"):
            running.result()
    done, ended = progress(db)
    assert states(db) == {"active": done, "not sealed": ROWS - done} and not ended
    db.sql(call())
    assert progress(db) == (ROWS, True) and wrong(db) == 0


def test_a_rotation_meanwhile(db):
    """What is sealed already stays; the rest goes under the new key."""
    fill(db)
    with in_the_middle(db) as running:
        db.sql("SELECT envelope.rotate_key('people')")
    running.result()
    assert set(states(db)) == {"active", "decrypt-only"} and wrong(db) == 0
    assert progress(db) == (ROWS, True)
    # The two kinds of work have a row each.
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert states(db) == {"active": ROWS}
    assert progress(db) == (ROWS, True) and progress(db, "reencrypt")[1]


def test_two_at_once_share_the_work(db):
    fill(db)
    with in_the_middle(db) as one:
        other = Call(db, call(", row_lock_timeout => '1 min'"))
        # One that came to it when all was done would begin anew.
        process.wait_until(lambda: db.sleeps(other.pid), "it waits for the row that is held")
    for running in (one, other):
        running.result()
    assert states(db) == {"active": ROWS} and wrong(db) == 0
    assert progress(db) == (ROWS, True)


@pytest.mark.parametrize("with_trigger", [False, True])
def test_writers_go_on(db, with_trigger):
    """Each writes rows of its own, old and new; what it wrote last is there in the end, and sealed."""
    fill(db)
    if with_trigger:
        db.sql(SEAL)
    written, stop = [{} for _ in range(3)], threading.Event()

    def write(own, first):
        with db.connect() as c:
            for i in range(10**9):
                if stop.is_set():
                    return
                row = first + (i * 7) % (ROWS // 3)
                value = f"w{first}-{i}"
                if i % 3 == 0:
                    c.execute("UPDATE people SET n = n + 1 WHERE id = %s", (row,))
                elif i % 3 == 1:
                    c.execute("UPDATE people SET ssn = %s WHERE id = %s", (value.encode(), row))
                    own[row] = value
                else:
                    c.execute("INSERT INTO people VALUES (%s, %s)", (first * 100_000 + i, value.encode()))
                    own[first * 100_000 + i] = value

    writers = [Work(write, own, 1 + i * (ROWS // 3)) for i, own in enumerate(written)]
    process.wait_until(lambda: all(written), "each writes")
    running = Call(db, call(", pause => '1ms', row_lock_timeout => '1 min'"))
    process.wait_until(lambda: progress(db)[0] >= 500, "some rows")
    if not with_trigger:
        # Without it plaintext would come for ever.
        db.sql(SEAL)
    running.result()
    process.wait_until(lambda: sum(map(len, written)) > 100, "they go on")
    stop.set()
    for writer in writers:
        writer.result()
    expected = {i: f"v{i}" for i in range(1, ROWS + 1)}
    for own in written:
        expected.update(own)
    assert dict(db.sql("SELECT id, envelope_decrypt_text('people', ssn) FROM people")) == expected
    assert set(states(db)) == {"active"}


def test_a_row_held_is_passed_by_and_its_new_value_wins(db):
    fill(db)
    db.sql(SEAL)
    db.sql("SELECT envelope.create_key('people')")
    with db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE people SET ssn = 'theirs' WHERE id = 1000")
        running = Call(db, call(", row_lock_timeout => '1 min'"))
        process.wait_until(lambda: progress(db)[0] == ROWS - 1, "all other rows")
        holder.execute("COMMIT")
    running.result()
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 1000") == "theirs"
    assert states(db) == {"active": ROWS}


def test_a_row_held_for_long_is_told(own_db):
    fill(own_db, 200)
    with own_db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM people WHERE id IN (7, 8) FOR UPDATE")
        holder.execute("PREPARE TRANSACTION 'held'")
    with fails("55P03"):
        own_db.sql(call(", row_lock_timeout => '0.3s'"))
    assert states(own_db) == {"active": 198, "not sealed": 2}
    own_db.sql("ROLLBACK PREPARED 'held'")
    own_db.sql(call())
    assert states(own_db) == {"active": 200}


def test_a_trigger_that_puts_plaintext_back_is_found_out(db):
    fill(db, 100)
    db.sql("CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ssn := OLD.ssn; RETURN NEW; END $$")
    db.sql("CREATE TRIGGER zz BEFORE UPDATE ON people FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION keep()")
    with fails("55P03"):
        db.sql(call(", row_lock_timeout => '0.3s'"))
    assert states(db) == {"active": 99, "not sealed": 1}


def test_a_trigger_that_changes_what_was_sealed_is_found_out(db):
    """What the sealing trigger has not to open once more is what was compared, to the last bit."""
    fill(db, 30)
    db.sql(SEAL)
    changed_before_the_seal(db, "NEW.ssn := set_byte(NEW.ssn, 45, get_byte(NEW.ssn, 45) # 1)")
    with fails("22000"):
        db.sql(call())
    assert states(db) == {"not sealed": 30}


def test_a_trigger_that_puts_it_into_another_column_is_found_out(db):
    fill(db, 30)
    db.sql("ALTER TABLE people ADD born bytea")
    db.sql("SELECT envelope.set_policy('people', 'born', 'bytea', value_type => 'date')")
    db.sql(SEAL.replace("'ssn'", "'ssn', 'born'"))
    changed_before_the_seal(db, "NEW.born := NEW.ssn")
    with fails("22023"):
        db.sql(call())
    assert states(db) == {"not sealed": 30}


def test_a_trigger_that_changes_what_it_is_bound_to(db):
    fill(db, 30)
    db.sql("ALTER TABLE people ALTER n SET NOT NULL")
    db.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', bind => ARRAY['n'])")
    db.sql(SEAL)
    changed_before_the_seal(db, "NEW.n := NEW.n + 1")
    db.sql(call())
    assert states(db) == {"active": 30}
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []


def test_another_table_of_its_name_is_not_touched(db):
    """What is run for each batch is kept, and names the table."""
    fill(db)
    running = Call(db, call(", pause => '20ms'"))
    process.wait_until(lambda: progress(db)[0] >= 100, "some rows")
    with db.connect() as c:
        c.execute("BEGIN; ALTER TABLE people RENAME TO former; CREATE TABLE people (LIKE former); "
                  "INSERT INTO people VALUES (1, 'clear'); COMMIT")
    running.result()
    assert states(db) == {"not sealed": 1}
    assert states(db, "former") == {"active": ROWS}


def test_a_column_of_plaintext_is_read_once(db):
    """New versions of its rows stand on pages that are yet to be read, and are no reason to read all again."""
    fill(db)
    db.sql(call())
    assert db.value("SELECT pass FROM envelope.progress") == 1
    assert states(db) == {"active": ROWS}


def test_an_error_of_a_trigger_comes_out_as_it_is(db):
    fill(db, 10)
    db.sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
           "RAISE EXCEPTION 'no' USING ERRCODE = 'ZZ123', CONSTRAINT = 'mine'; END $$")
    db.sql("CREATE TRIGGER zz BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse()")
    with fails("ZZ123") as caught:
        db.sql(call())
    assert caught.value.diag.constraint_name == "mine"


@pytest.mark.parametrize("options", ["", ", verify => false"])
def test_what_was_sealed_before_is_opened(db, options):
    """Also where all plaintext around it was sealed at the first attempt."""
    fill(db, 300)
    db.sql("UPDATE people SET ssn = envelope_encrypt('people', ssn) WHERE id = 150")
    db.sql("UPDATE people SET ssn = set_byte(ssn, 45, get_byte(ssn, 45) # 1) WHERE id = 150")
    db.sql("VACUUM FULL people")
    if options:
        db.sql(call(options))
    else:
        with fails("22000"):
            db.sql(call(options))
    assert states(db) == {"active": 300}


def test_quiet_leaves_other_triggers_out(db):
    fill(db, 100)
    db.sql(SEAL)
    db.sql("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
           "$$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$")
    db.sql("CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touch()")
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("SELECT FROM people WHERE id IN (3, 50) FOR UPDATE")
        running = Call(db, call(", quiet => true"))
        process.wait_until(lambda: states(db).get("active", 0) >= 90, "the others are sealed")
        c.execute("COMMIT")
        running.result()
    assert states(db) == {"active": 100} and wrong(db) == 0
    assert db.value("SELECT sum(touched) FROM people") == 0
    db.sql("ALTER TABLE people DISABLE TRIGGER seal, ENABLE ALWAYS TRIGGER touch")
    db.sql("UPDATE people SET ssn = convert_to('v' || id, 'UTF8')")
    db.sql(call(", quiet => true"))
    assert states(db) == {"active": 100}
    assert db.value("SELECT sum(touched) FROM people") == 200


def test_quiet_ends_with_its_statement(db):
    fill(db, 40)
    db.sql(SEAL)
    db.sql("ALTER TABLE people ADD CONSTRAINT one CHECK (n = 1) NOT VALID; CREATE TABLE told (id int)")
    db.sql("CREATE RULE tell AS ON UPDATE TO people DO ALSO INSERT INTO told VALUES (OLD.id)")
    role = "SHOW session_replication_role"
    with db.connect() as c:
        with fails("23514"):
            c.execute(call(", quiet => true"))
        assert c.execute(role).fetchone() == ("origin",)
        c.execute("ALTER TABLE people DROP CONSTRAINT one")
        c.execute(call(", quiet => true"))
        assert c.execute(role).fetchone() == ("origin",)
        # Triggers and rules fire again.
        c.execute("INSERT INTO people VALUES (41, 'v41')")
        assert states(db) == {"active": 41} and wrong(db) == 0
        assert c.execute("SELECT count(*) FROM told").fetchone() == (0,)
        past_the_trigger(db, "UPDATE people SET ssn = 'v1' WHERE id = 1")
        c.execute(call())
        assert c.execute("SELECT count(*) > 0 FROM told").fetchone() == (True,)
    assert states(db) == {"active": 41} and wrong(db) == 0


@pytest.mark.parametrize("options", ["", ", on_damage => 'skip'", ", source => 'plain'"])
def test_a_row_that_moves_to_pages_already_read_is_found(db, options):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, plain bytea, ssn bytea)")
    db.sql("INSERT INTO people SELECT g, 'x', envelope_encrypt('people', 'x') FROM generate_series(1, 1000) g")
    db.sql("UPDATE people SET ssn = CASE WHEN %s THEN NULL::bytea ELSE 'x' END WHERE id = 1000", ("source" in options,))
    db.sql("VACUUM FULL people")
    by_rows = str(bool(options))
    db.sql(f"SELECT envelope.reencrypt_window('seal', 'people', 'ssn', 10, true, NULL, {by_rows})")
    db.sql("SELECT envelope.reencrypt_note('seal', 'people', 'ssn', 10, 0, 1, 0, 0, 0)")
    db.sql("UPDATE people SET id = 0 WHERE id = 1000")
    db.sql("CLUSTER people USING people_pkey")
    assert db.value("SELECT ctid::text FROM people WHERE id = 0") == "(0,1)"
    db.sql(f"CALL envelope.seal_column('people', 'ssn'{options})")
    assert states(db) == {"active": 1000}


def test_emptied_meanwhile(db):
    fill(db)
    with in_the_middle(db) as running:
        db.sql("SELECT pg_cancel_backend(%s)", (running.pid,))
        running.error()
    db.sql("TRUNCATE people")
    db.sql("INSERT INTO people VALUES (1, 'v1')")
    db.sql(call())
    assert states(db) == {"active": 1}


# -- partitions, rights ---------------------------------------------------------------------------------------------


def test_partitions(db):
    db.sql("CREATE TABLE people (id int NOT NULL, ssn bytea) PARTITION BY RANGE (id)")
    for i in range(3):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES FROM ({i * 100}) TO ({i * 100 + 100})")
    db.sql("INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(0, 299) g")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    # Of one partition alone the binding does not end.
    db.sql("CALL envelope.seal_column('p1', 'ssn')")
    assert states(db) == {"active": 100, "not sealed": 200}
    db.sql(call())
    assert states(db) == {"active": 300} and bound(db) == 300
    # That of one was done before.
    assert db.sql("SELECT relation, rows_done FROM envelope.progress ORDER BY 1") == [
        ("public.p0", 100), ("public.p1", 0), ("public.p2", 100)]


def test_of_one_partition_the_binding_does_not_end(db):
    db.sql("CREATE TABLE people (id int NOT NULL, ssn bytea) PARTITION BY RANGE (id)")
    for i in range(2):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES FROM ({i * 100}) TO ({i * 100 + 100})")
    db.sql("INSERT INTO people SELECT g, envelope_encrypt_text('people', 'v' || g) FROM generate_series(0, 199) g")
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    db.sql("CALL envelope.seal_column('p0', 'ssn')")
    assert db.sql("SELECT * FROM envelope.verify('people', 'ssn')") == []
    db.sql(call())
    assert bound(db) == 200
    assert db.sql("SELECT former_context FROM envelope.sweep_contexts('people', 'ssn')") == [(None,)]


def test_a_partition_that_comes_is_brought_along(db):
    db.sql("CREATE TABLE people (id int, ssn bytea) PARTITION BY RANGE (id)")
    for i in range(2):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES FROM ({i * 100}) TO ({i * 100 + 100})")
    db.sql("INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(0, 199) g")
    db.sql("CREATE TABLE p2 AS SELECT 200 + id AS id, ssn FROM p0")
    with db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM p1 WHERE id = 150 FOR UPDATE")
        running = Call(db, call(", row_lock_timeout => '1 min'"))
        process.wait_until(lambda: db.value("SELECT count(*) FROM envelope.progress WHERE relation = 'public.p1' "
                                            "AND rows_done = 99"), "all of the second but one")
        db.sql("ALTER TABLE people ATTACH PARTITION p2 FOR VALUES FROM (200) TO (300)")
        holder.execute("COMMIT")
    running.result()
    assert states(db) == {"active": 300}


def test_rights(db):
    fill(db, 50)
    db.sql("SELECT envelope.create_key('people')")
    with fails("42501"):
        db.sql(call(), user=db.low)
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'encrypt')")
    with fails("42501"):
        db.sql(call(), user=db.low)
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    with fails("42501"):
        db.sql(call(), user=db.low)
    db.sql(f"GRANT SELECT, UPDATE ON people TO {db.low}")
    with fails("42501"):
        db.sql(call(", quiet => true"), user=db.low)
    assert states(db) == {"not sealed": 50}
    db.sql(call(), user=db.low)
    assert states(db) == {"active": 50}
    # To end a binding is for who manages the keys.
    db.sql("SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{id}')")
    with fails("42501"):
        db.sql(call(), user=db.low)
    # Before anything is done.
    assert wrong(db) == 0
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'manage')")
    db.sql(call(), user=db.low)
    assert bound(db) == 50


def test_rows_that_a_policy_hides_are_an_error(db):
    fill(db, 50)
    db.sql("SELECT envelope.create_key('people')")
    for verb in ("encrypt", "decrypt"):
        db.sql(f"SELECT envelope.grant_key('people', '{db.low}', '{verb}')")
    db.sql(f"GRANT SELECT, UPDATE ON people TO {db.low}")
    db.sql("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
    db.sql("CREATE POLICY half ON people USING (id < 5)")
    with fails("42501"):
        db.sql(call(), user=db.low)
    assert states(db) == {"not sealed": 50}


@pytest.mark.parametrize("arguments, state", [
    ("NULL, 'ssn'", "22023"), ("'people', NULL", "22023"), ("'people', 'no'", "42703"), ("'people', 'n'", "42804"),
    ("'people', 'ssn', batch_size => 0", "22023"), ("'people', 'ssn', on_damage => 'no'", "22023"),
    ("'people', 'ssn', on_damage => NULL", "22023"), ("'people', 'ssn', verify => NULL", "22023"),
    ("'shows', 'ssn'", "42809"), ("0, 'ssn'", "42P01"), ("'people', 'ssn', source => ''", "42601")])
def test_arguments(db, arguments, state):
    fill(db, 3)
    db.sql("CREATE VIEW shows AS TABLE people")
    with fails(state):
        db.sql(f"CALL envelope.seal_column({arguments})")


def test_refused_in_a_transaction(db):
    fill(db, 3)
    with db.connect() as c, c.transaction(), fails("2D000") as caught:
        c.execute(call())
    assert "BEGIN" in caught.value.diag.message_hint


def test_a_kms_that_is_away(aws, proxy):
    fill(aws, 50)
    aws.sql("SELECT envelope.create_key('people')")
    proxy.fault("*", faults.reset)
    with fails("58030"):
        aws.sql(call(", on_damage => 'skip'"))
    proxy.clear()
    proxy.reset_counts()
    aws.sql(call())
    assert dict(proxy.counts) == {"Decrypt": 1}
    assert states(aws) == {"active": 50}


def test_a_stricter_isolation_by_default(db):
    fill(db, 300)
    db.sql(f"ALTER DATABASE {db.name} SET default_transaction_isolation = serializable")
    db.sql(call())
    assert states(db) == {"active": 300}
