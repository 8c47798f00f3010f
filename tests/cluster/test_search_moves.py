"""Search indexes go where their tables go: by a dump, to a standby, by replication, by an export of the keys."""

import json

import psycopg
import pytest
from harness.base_backup import BaseBackup
from harness.index_keys import index_keys
from sqlstate import fails
from test_logical import KEYS, pair, publisher, subscriber  # noqa: F401 (fixtures)

INDEXES = {
    "name_ix": ("name", "exact", "casefold", {}, "btree"),
    "starts": ("name", "prefix(3)", "casefold", {}, "btree"),
    "words": ("name", "words", None, {}, "gin"),
    "pieces": ("name", "parts(3)", None, {}, "gin"),
    "class": ("born", "buckets", None, {"bounds": ["1960-01-01", "1970-01-01", "1980-06-30"]}, "btree"),
    "near": ("born", "tree", None, {"low": "1900-01-01", "high": "2079-06-05"}, "gin"),
}
QUESTIONS = [
    ("name", "name_ix", "=", "'HANS MEIER 7'"), ("name", "starts", "prefix", "'hans m'"), ("name", "words", "words", "'meier 12'"),
    ("name", "pieces", "contains", "'ier 1'"), ("born", "class", "<", "date '1965-05-05'"), ("born", "near", ">=", "date '1979-01-01'"),
]
ROWS = 200
# Of its rows all are there, and all are whole.
FILL = ("INSERT INTO people (id, name, born) SELECT i, ('Hans Meier ' || i)::text::envelope.sealed, "
        "(date '1955-01-01' + 60 * i)::text::envelope.sealed FROM generate_series({}, {}) i")


def tables(run):
    run("CREATE TABLE people (id int PRIMARY KEY, name envelope.sealed, born envelope.sealed)")
    run("SELECT envelope.set_policy('people', 'name', value_type => 'text'), envelope.set_policy('people', 'born', value_type => 'date')")
    run("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('name', 'born')")


def add(run):
    for column, (of, kind, form, options, method) in INDEXES.items():
        run("SELECT envelope.add_index('people', %s, %s, index_column => %s, form => %s, options => %s, label => %s, force => true)",
            (of, kind, column, form, json.dumps(options), column))
        run(f"CALL envelope.build_index('people', '{of}', '{column}')")
        run(f"CREATE INDEX people_{column} ON people USING {method} ({column})")


def make(run, rows=ROWS):
    """Half of the rows are from before the indexes."""
    tables(run)
    run(FILL.format(1, rows // 2))
    add(run)
    run(FILL.format(rows // 2 + 1, rows))
    run("ANALYZE people")


def answers(connect, by_index=True):
    """What each question finds. By its index, which may be one of a former key's terms, too."""
    found = []
    with connect() as c:
        c.execute(f"SET enable_seqscan = {'off' if by_index else 'on'}")
        for of, column, op, value in QUESTIONS:
            query = f"SELECT id FROM people WHERE envelope_matches('people', '{of}', {of}, {column}, '{op}', {value})"
            if by_index:
                plan = str(c.execute(f"EXPLAIN {query}").fetchall())
                assert f"people_{column}" in plan and "Index Cond" in plan, plan
            found.append(sorted(number for number, in c.execute(query).fetchall()))
    return found


def expected(last=ROWS):
    # 1965-05-05 is 3,777 days after the first; 1979-01-01 8,766.
    numbers = range(1, last + 1)
    pieces = [n for n in numbers if str(n).startswith("1")]
    return [[7], list(numbers), [12], pieces, [n for n in numbers if 60 * n < 3777], [n for n in numbers if 60 * n >= 8766]]


def goes_on(run, connect, first=ROWS + 1):
    """Rows that are written there are found there."""
    run(FILL.format(first, first + 99))
    assert answers(connect) == expected(first + 99)
    assert run("SELECT count(*) FROM envelope.verify('people', 'name')") == [(0,)]
    assert run("SELECT count(*) FROM envelope.verify('people', 'born')") == [(0,)]


@pytest.fixture
def source(db):
    make(db.sql)
    assert answers(db.connect) == expected()
    return db


# -- dumps ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def target(cluster, own_cluster):
    c = own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start()
    c.sql("CREATE DATABASE copy")
    return c


def at(cluster, name):
    return (lambda query, params=None: cluster.sql(query, params, name)), (lambda: cluster.connect(name))


@pytest.mark.parametrize("way", ["plain", "four jobs", "extension there", "keys first", "tables there"])
def test_a_restore_brings_indexes_that_answer(source, target, way):
    archive = source.cluster.base / f"{source.name}.dump"

    def restore(*arguments):
        target.client("pg_restore", "--exit-on-error", "-d", "copy", *arguments, archive)

    if way == "plain":
        archive.write_text(source.cluster.client("pg_dump", dbname=source.name))
        target.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", archive, dbname="copy")
    else:
        source.cluster.client("pg_dump", "-Fc", "-f", archive, dbname=source.name)
    if way == "four jobs":
        restore("-j4")
    if way == "extension there":
        target.sql('CREATE EXTENSION "pgrx-example"', dbname="copy")
        restore("-j4")
    if way == "keys first":
        restore("--section=pre-data")
        restore("--data-only", "-n", "envelope")
        restore("--data-only", "-N", "envelope")
        restore("--section=post-data")
    if way == "tables there":
        # Its triggers are there, too: each row that arrives is compared with its terms.
        restore("--schema-only")
        restore("--data-only", "-n", "envelope")
        restore("--data-only", "-N", "envelope")
    run, connect = at(target, "copy")
    run("ANALYZE people")
    assert run("TABLE envelope.indexes") == source.sql("TABLE envelope.indexes") != []
    assert run("TABLE people ORDER BY id") == source.sql("TABLE people ORDER BY id")
    assert answers(connect) == expected()
    goes_on(run, connect)


def test_a_table_that_is_restored_alone_is_searched_again(source, target):
    """As backup.md says: it adopts its keyring, and its indexes are those that it had."""
    archive = source.cluster.base / f"{source.name}.dump"
    source.cluster.client("pg_dump", "-Fc", "-t", "people", "-f", archive, dbname=source.name)
    source.sql("DROP TABLE people")
    assert source.sql("TABLE envelope.indexes") == []
    source.cluster.client("pg_restore", "--exit-on-error", "-d", source.name, archive)
    source.sql("SELECT envelope.adopt_keyring(keyring_id, 'people') FROM envelope.keys GROUP BY keyring_id")
    # Policies and indexes went with the table. Terms by the same label and key are those that the rows hold.
    source.sql("SELECT envelope.set_policy('people', 'name', value_type => 'text'), envelope.set_policy('people', 'born', value_type => 'date')")
    for column, (of, kind, form, options, _) in INDEXES.items():
        if kind == "buckets":
            continue
        source.sql("SELECT envelope.add_index('people', %s, %s, index_column => %s, form => %s, options => %s, label => %s, force => true)",
                   (of, kind, column, form, json.dumps(options), column))
        before = source.sql("SELECT id, xmin::text FROM people ORDER BY id")
        source.sql(f"CALL envelope.build_index('people', '{of}', '{column}')")
        assert source.sql("SELECT id, xmin::text FROM people ORDER BY id") == before, column
    # A boundary set went with its index: another one's classes are other numbers.
    source.sql("ALTER TABLE people DROP COLUMN class")
    of, kind, form, options, _ = INDEXES["class"]
    source.sql("SELECT envelope.add_index('people', 'born', 'buckets', index_column => 'class', options => %s, label => 'class 2', force => true)",
               (json.dumps(options),))
    source.sql("CALL envelope.build_index('people', 'born', 'class')")
    source.sql("CREATE INDEX people_class ON people (class); ANALYZE people")
    assert answers(source.connect) == expected()


@pytest.mark.parametrize("keys", ["shared", "adopted"])
def test_a_copy_is_searched_once_its_indexes_are_added(source, keys):
    """What moving-tables.md says of index columns that come along."""
    source.sql("CREATE TABLE copy (LIKE people INCLUDING ALL)")
    if keys == "shared":
        source.sql("SELECT envelope.share_keyring('people', 'copy')")
    source.sql("INSERT INTO copy TABLE people")
    if keys == "adopted":
        source.sql("DROP TABLE people")
        source.sql("SELECT envelope.adopt_keyring(keyring_id, 'copy') FROM envelope.keys GROUP BY keyring_id")
    source.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON copy FOR EACH ROW EXECUTE FUNCTION envelope_seal('name', 'born')")
    source.sql("SELECT envelope.set_policy('copy', 'name', value_type => 'text'), envelope.set_policy('copy', 'born', value_type => 'date')")
    with fails("42704"):
        source.sql("SELECT envelope_search('copy', 'name', 'x', 'name_ix')")
    source.sql("ALTER TABLE copy DROP COLUMN class")
    for column, (of, kind, form, options, _) in INDEXES.items():
        source.sql("SELECT envelope.add_index('copy', %s, %s, index_column => %s, form => %s, options => %s, label => %s, force => true)",
                   (of, kind, column, form, json.dumps(options), column if column != "class" else "class 2"))
        before = source.sql("SELECT id, xmin::text FROM copy ORDER BY id")
        source.sql(f"CALL envelope.build_index('copy', '{of}', '{column}')")
        is_same = source.sql("SELECT id, xmin::text FROM copy ORDER BY id") == before
        assert is_same is (keys == "adopted" and column != "class"), column
    source.sql("CREATE INDEX copy_class ON copy (class)")
    source.sql("DROP TABLE IF EXISTS people")
    source.sql("ALTER TABLE copy RENAME TO people; ANALYZE people")
    for column in INDEXES:
        named, = source.sql("SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_attribute a "
                            "ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = 'people'::regclass AND a.attname = %s", (column,))
        source.sql(f'ALTER INDEX "{named[0]}" RENAME TO people_{column}')
    assert answers(source.connect) == expected()
    goes_on(source.sql, source.connect)


# -- a standby --------------------------------------------------------------------------------------------------------

def test_a_standby_answers_and_goes_on_when_promoted(own_cluster):
    primary = own_cluster().start()
    primary.sql("CREATE DATABASE app")
    run, connect = at(primary, "app")
    run('CREATE EXTENSION "pgrx-example"')
    make(run)
    with BaseBackup(primary, standby=True) as standby:
        there, connect_there = at(standby, "app")
        standby.caught_up()
        assert answers(connect_there) == expected()
        with connect_there() as warm:
            ask = "SELECT id FROM people WHERE name_ix = ANY (envelope_search('people', 'name', 'hans meier 201', 'name_ix'))"
            assert warm.execute(ask).fetchall() == []
            # What the primary writes meanwhile is found, under a new key, too.
            run("SELECT envelope.rotate_index_key('people')")
            run(FILL.format(201, 210))
            standby.caught_up()
            assert warm.execute(ask).fetchall() == [(201,)]
            assert warm.execute(ask.replace("201", "7")).fetchall() == [(7,)]
            # A key that is not there is not made.
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                warm.execute("SELECT envelope.rotate_index_key('people')")
        standby.promote()
        for column, (of, *_) in INDEXES.items():
            there(f"CALL envelope.build_index('people', '{of}', '{column}')")
        goes_on(there, connect_there, 211)


# -- logical replication ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("always", [False, True])
def test_a_subscriber_finds_what_arrived(pair, always):  # noqa: F811
    """Index columns arrive as they are; keys, policies and indexes come with their tables of the catalog."""
    make(pair.here)
    pair.schema()
    if always:
        pair.there("ALTER TABLE people ENABLE ALWAYS TRIGGER seal")
    pair.subscribe(f"FOR TABLE {KEYS}, envelope.sealed_column, envelope.column_index, people")
    pair.copied()
    connect = lambda: pair.subscriber.connect(pair.name)
    pair.there("ANALYZE people")
    if always:
        # A copy may come before its keys: then the trigger cannot open a value, and the copy is tried again.
        assert pair.there("SELECT count(*) FROM people") == [(ROWS,)]
    assert pair.there("TABLE envelope.indexes") == pair.here("TABLE envelope.indexes") != []
    assert answers(connect) == expected()
    with connect() as warm:
        ask = "SELECT id FROM people WHERE name_ix = ANY (envelope_search('people', 'name', %s, 'name_ix'))"
        assert warm.execute(ask, ("hans meier 7",)).fetchall() == [(7,)]
        pair.here("SELECT envelope.rotate_index_key('people')")
        pair.here(FILL.format(ROWS + 1, ROWS + 50))
        pair.here("UPDATE people SET name = 'Hans Meier 7' WHERE id = 8")
        pair.applied()
        # Of both keys.
        assert len(index_keys_of(pair.there)) == 2
        assert sorted(warm.execute(ask, ("hans meier 7",)).fetchall()) == [(7,), (8,)]
        assert warm.execute(ask, ("hans meier 201",)).fetchall() == [(201,)]
        for column, (of, *_) in INDEXES.items():
            pair.here(f"CALL envelope.build_index('people', '{of}', '{column}')")
        pair.here("UPDATE people SET name = 'Hans Meier 8' WHERE id = 8")
        pair.applied()
        assert pair.there("TABLE people ORDER BY id") == pair.here("TABLE people ORDER BY id")
        assert answers(connect) == expected(ROWS + 50)
        assert pair.there("SELECT count(*) FROM envelope.verify('people', 'name')") == [(0,)]


def index_keys_of(run):
    return run("SELECT key_id FROM envelope.keys WHERE relation = 'public.people' AND purpose = 'index'")


def test_without_the_index_rows_a_subscriber_says_so(pair):  # noqa: F811
    """The keys alone do not say how terms are made: an error, and no empty answer."""
    make(pair.here, 20)
    pair.schema()
    pair.subscribe(f"FOR TABLE {KEYS}, envelope.sealed_column, people")
    pair.copied()
    with fails("42704"):
        pair.there("SELECT envelope_search('people', 'name', 'x', 'name_ix')")


@pytest.mark.parametrize("column, unknown", [("name_ix", "'\\xfffe00'"), ("words", "'{-9223372036854775808,7}'")])
@pytest.mark.parametrize("asked", ["check", "lint"])
def test_rows_that_came_before_their_index_key_are_told_of(source, column, unknown, asked):
    """No question finds them, and none fails: something must say so."""
    ask = {"check": "SELECT sqlstate FROM envelope.check() WHERE NOT ok",
           "lint": "SELECT sqlstate FROM envelope.lint('people') WHERE severity = 'error'"}[asked]
    assert source.sql(ask) == []
    with source.connect() as c:
        c.execute("BEGIN; SET LOCAL session_replication_role = replica")
        c.execute(f"UPDATE people SET {column} = {unknown} WHERE id = 7")
        c.execute("SET LOCAL session_replication_role = origin")
        assert c.execute(ask).fetchall() == [("42704",)]
        c.execute("ROLLBACK; SELECT envelope.rotate_index_key('people')")
        assert c.execute(ask).fetchall() == []


# -- keys that were exported ------------------------------------------------------------------------------------------

def test_another_node_searches_by_the_imported_keys(source, cluster, database):
    """Keys travel alone: indexes are added there, with the same label, and rows that arrive with their terms are found."""
    there = database(cluster)
    tables(there.sql)
    document = source.value("SELECT envelope.export_keyring('people')")
    there.sql("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(document),))
    assert index_keys(there) == index_keys(source) != []
    for column, (of, kind, form, options, method) in INDEXES.items():
        if kind != "buckets":
            there.sql("SELECT envelope.add_index('people', %s, %s, index_column => %s, form => %s, options => %s, label => %s, force => true)",
                      (of, kind, column, form, json.dumps(options), column))
            there.sql(f"CREATE INDEX people_{column} ON people USING {method} ({column})")
    # No key of its own was made.
    assert index_keys(there) == index_keys(source)
    columns = "id, name, born, name_ix, starts, words, pieces, near"
    for row in source.sql(f"SELECT {columns} FROM people"):
        there.sql(f"INSERT INTO people ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)
    for column, (of, kind, *_) in INDEXES.items():
        if kind != "buckets":
            before = there.sql("SELECT id, xmin::text FROM people ORDER BY id")
            there.sql(f"CALL envelope.build_index('people', '{of}', '{column}')")
            assert there.sql("SELECT id, xmin::text FROM people ORDER BY id") == before
    of, kind, form, options, _ = INDEXES["class"]
    there.sql("SELECT envelope.add_index('people', 'born', 'buckets', index_column => 'class', options => %s, label => 'class', force => true)",
              (json.dumps(options),))
    there.sql("CALL envelope.build_index('people', 'born', 'class'); ")
    there.sql("CREATE INDEX people_class ON people (class); ANALYZE people")
    assert answers(there.connect) == expected()
    # A rotation travels by another export.
    source.sql("SELECT envelope.rotate_index_key('people')")
    there.sql("SELECT envelope.import_keyring(%s, 'people')", (json.dumps(source.value("SELECT envelope.export_keyring('people')")),))
    assert index_keys(there) == index_keys(source)
    source.sql(FILL.format(ROWS + 1, ROWS + 1))
    term, sealed = source.sql("SELECT name_ix, name FROM people WHERE id = %s", (ROWS + 1,))[0]
    there.sql("INSERT INTO people (id, name, name_ix) VALUES (%s, %s, %s)", (ROWS + 1, sealed, term))
    for value, number in (("hans meier 7", 7), ("hans meier 201", 201)):
        assert there.sql("SELECT id FROM people WHERE name_ix = ANY (envelope_search('people', 'name', %s, 'name_ix'))", (value,)) == [(number,)]
