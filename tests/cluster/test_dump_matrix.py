"""Every way in which a logical dump travels: formats, who dumps and who restores, what is left out, other encodings.
docs/backup.md gives these paths as commands."""

import subprocess

import pytest
from harness import place, sealed
from harness.cluster import Cluster
from harness.document import blocks
from sqlstate import fails

# Needs quotes.
READER = "reader-1"
KEYS_ALONE = ("--data-only", "-n", "envelope")


class Db:
    """A database, and the client programs run on it."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def sql(self, query, params=None, user="postgres"):
        with self.cluster.connect(self.name, user, client_encoding="utf8") as c:
            cur = c.execute(query, params)
            return cur.fetchall() if cur.description else None

    def client(self, program, *args, user="postgres"):
        return self.cluster.client(program, *args, dbname=self.name, user=user)

    def create(self, options=""):
        self.cluster.sql(f"CREATE DATABASE {self.name} {options}")
        return self

    def dump(self, path, *args, user="postgres"):
        self.client("pg_dump", "-f", path, *args, user=user)
        return path

    def restore(self, archive, *args, user="postgres"):
        self.client("pg_restore", "--exit-on-error", "-d", self.name, *args, archive, user=user)

    def psql(self, script, user="postgres"):
        self.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, user=user)

    def extension(self):
        self.sql('CREATE EXTENSION "pgrx-example"')
        return self


@pytest.fixture(scope="module")
def source():
    """The database `app`, owned by the role `owner` together with all tables in it."""
    with Cluster() as c:
        c.sql(f'CREATE ROLE "{READER}"')
        c.sql("CREATE ROLE owner LOGIN")
        db = Db(c, "app").create("OWNER owner").extension()
        sealed.make(db.sql, f'"{READER}"')
        own_everything(db)
        yield db


def own_everything(db):
    for schema in ("elsewhere", '"Größe ""x"""'):
        db.sql(f"ALTER SCHEMA {schema} OWNER TO owner")
    for table in (*sealed.PLAINTEXTS, "parts_low", "parts_high"):
        db.sql(f"ALTER TABLE {table} OWNER TO owner")


@pytest.fixture(scope="module")
def elsewhere(source):
    """Another cluster, with the same roles and what the wraps name: a key file's URI is its path."""
    with Cluster(conf={"envelope.file_kek_directory": f"{source.cluster.data}.kek"}) as c:
        c.sql(f'CREATE ROLE "{READER}"')
        c.sql("CREATE ROLE owner LOGIN")
        # OIDs of tables here are no table's there.
        c.sql("CREATE TABLE filler (a int); DROP TABLE filler")
        yield c


@pytest.fixture
def copy(elsewhere, request):
    db = Db(elsewhere, f"copy_{abs(hash(request.node.name))}").create()
    yield db
    elsewhere.sql(f"DROP DATABASE {db.name} WITH (FORCE)")


@pytest.fixture
def archive(source, tmp_path):
    """Dumps `app` in the custom format: archive(*args, user=…)."""
    return lambda *args, user="postgres": source.dump(tmp_path / "app.dump", "-Fc", *args, user=user)


def is_whole(db, source, left_out=()):
    """Every key row arrived and is bound to the table of that name here, every value is as it was, and opens."""
    expected = sealed.catalog(source.sql)
    assert sealed.catalog(db.sql) == expected
    assert all(oid == named for _, oid, named in sealed.bindings(db.sql))
    tables = [table for table in sealed.PLAINTEXTS if table not in left_out]
    assert sealed.stored(db.sql, tables) == sealed.stored(source.sql, tables)
    assert sealed.opened(db.sql, tables) == {table: sealed.PLAINTEXTS[table] for table in tables}


def goes_on(db):
    """The triggers that came seal with the keys that came, and nothing twice."""
    keys = db.sql("SELECT key_id FROM envelope.data_key ORDER BY 1")
    before = sealed.stored(db.sql)
    for table, column, *_ in sealed.TABLES:
        if table in sealed.TRIGGERED:
            db.sql(f"UPDATE {table} SET {column} = {column}")
            db.sql(f"INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (id) DO UPDATE "
                   f"SET {column} = excluded.{column}")
    assert sealed.stored(db.sql) == before
    for table in sealed.PLAINTEXTS:
        sealed.insert(db.sql, table, 50, "new")
        assert db.sql(sealed.opening(table))[-1][0] in ("new", b"new")
    assert db.sql("SELECT key_id FROM envelope.data_key ORDER BY 1") == keys


# -- everything -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["postgres", "owner"])
@pytest.mark.parametrize("form", ["plain", "custom", "directory"])
def test_everything_arrives(source, copy, tmp_path, form, user):
    if form == "plain":
        pipe([source, "pg_dump"], [copy, "psql", "-qX", "-v", "ON_ERROR_STOP=1"], user=user)
    elif form == "custom":
        copy.restore(source.dump(tmp_path / "app.dump", "-Fc", user=user), "-j4")
    else:
        copy.restore(source.dump(tmp_path / "app.dir", "-Fd", "-j4", user=user), "-j4")
    is_whole(copy, source)
    goes_on(copy)


def pipe(left, right, user):
    """left | right, each a database, a program and its arguments; what the right one said on stderr."""
    (source, dump, *dump_args), (target, load, *load_args) = left, right
    with subprocess.Popen([place.PG_BIN / dump, *dump_args], env=source.cluster.client_env(source.name, user),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as dumping:
        loading = subprocess.run([place.PG_BIN / load, *load_args], env=target.cluster.client_env(target.name),
                                 stdin=dumping.stdout, capture_output=True, text=True)
        complaint = dumping.stderr.read().decode()
    assert (dumping.returncode, complaint) == (0, "")
    assert loading.returncode == 0, loading.stderr
    return loading.stderr


def test_pg_dumpall(source, own_cluster):
    new = own_cluster(conf={"envelope.file_kek_directory": f"{source.cluster.data}.kek"}).start()
    errors = pipe([source, "pg_dumpall"], [Db(new, "postgres"), "psql", "-qX"], user="postgres")
    # It makes the superuser, too, whom initdb has made.
    assert errors.count("ERROR") == 1 and 'role "postgres" already exists' in errors, errors
    is_whole(Db(new, "app"), source)
    goes_on(Db(new, "app"))


def test_without_owners_and_rights_into_a_cluster_without_the_roles(source, archive, own_cluster):
    new = own_cluster(conf={"envelope.file_kek_directory": f"{source.cluster.data}.kek"}).start()
    copy = Db(new, "copy").create()
    copy.restore(archive(), "-O", "-x")
    assert copy.sql("SELECT grantee::text, grantee::oid FROM envelope.key_grant") == [("-", 0)]
    assert sealed.opened(copy.sql) == sealed.PLAINTEXTS
    goes_on(copy)


def test_clean_over_a_database_with_keys(source, archive, copy):
    """What was there is gone, keys too: those of the dump are there instead. Twice, so that it meets itself."""
    copy.extension()
    copy.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    copy.sql("INSERT INTO people VALUES (1, envelope_encrypt('people', 'of another key'))")
    dumped = archive()
    with copy.cluster.connect(copy.name) as session:
        session.execute("SELECT envelope_decrypt('people', ssn) FROM people")
        for _ in range(2):
            clean_restore(copy, dumped)
            is_whole(copy, source)
            # A session that had the old keys.
            opened = session.execute(sealed.opening("people")).fetchall()
            assert [row[0] for row in opened] == sealed.PLAINTEXTS["people"]
    goes_on(copy)


def clean_restore(db, archive):
    """PostgreSQL itself stumbles over the keys of partitions, and goes on to drop their table."""
    env = {**db.cluster.client_env(db.name), "PGOPTIONS": "-c envelope.allow_drop=on"}
    done = subprocess.run([place.PG_BIN / "pg_restore", "--clean", "--if-exists", "-d", db.name, archive],
                          env=env, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert all("cannot drop inherited constraint" in line for line in errors), done.stderr


def test_from_latin1_into_utf8(source, elsewhere, copy, tmp_path):
    latin = Db(source.cluster, "latin").create("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").extension()
    try:
        sealed.make(latin.sql, f'"{READER}"')
        assert copy.sql("SHOW server_encoding") == [("UTF8",)] != latin.sql("SHOW server_encoding")
        copy.restore(latin.dump(tmp_path / "latin.dump", "-Fc"))
        is_whole(copy, latin)
        goes_on(copy)
    finally:
        source.cluster.sql("DROP DATABASE latin")


def test_names_that_latin1_lacks(source, copy, tmp_path):
    db = Db(source.cluster, "names").create().extension()
    try:
        for name in ("таблица", "名前", "🔑", "-", "'"):
            db.sql(f'CREATE SCHEMA "{name}"')
            db.sql(f'CREATE TABLE "{name}"."{name}" (v bytea)')
            literal = f'"{name}"."{name}"'.replace("'", "''")
            db.sql(f'INSERT INTO "{name}"."{name}" VALUES (envelope_encrypt(\'{literal}\', \'x\'))')
        copy.restore(db.dump(tmp_path / "names.dump", "-Fc"), "-j4")
        assert sealed.catalog(copy.sql) == sealed.catalog(db.sql)
        for name in ("таблица", "名前", "🔑", "-", "'"):
            literal = f'"{name}"."{name}"'.replace("'", "''")
            assert copy.sql(f'SELECT envelope_decrypt(\'{literal}\', v) FROM "{name}"."{name}"') == [(b"x",)]
    finally:
        source.cluster.sql("DROP DATABASE names")


# -- the owner's path -----------------------------------------------------------------------------------------------


def test_the_owner_restores_and_a_superuser_brings_the_keys(source, archive, copy):
    """CREATE EXTENSION and the keys are a superuser's; all else is the database owner's."""
    dumped = archive(user="owner")
    copy.sql(f"ALTER DATABASE {copy.name} OWNER TO owner")
    # PostgreSQL 15 gives no right to create in public but to pg_database_owner; before, to everybody.
    copy.extension()
    copy.restore(dumped, "-N", "envelope", "--no-comments", user="owner")
    copy.restore(dumped, *KEYS_ALONE)
    is_whole(copy, source)
    goes_on(copy)
    assert copy.sql("SELECT count(*) FROM envelope.check() WHERE NOT ok", user="owner") == [(0,)]


def test_the_owner_alone_is_told(source, archive, copy):
    """No key can be loaded by who is no superuser: an error, and values that say which key they miss."""
    copy.sql(f"ALTER DATABASE {copy.name} OWNER TO owner")
    copy.extension()
    with pytest.raises(RuntimeError, match="permission denied for table data_key"):
        copy.client("pg_restore", "--no-comments", "-d", copy.name, archive(user="owner"), user="owner")
    misses_its_keys(copy, "people")
    # It can be made good.
    copy.restore(archive(), *KEYS_ALONE)
    is_whole(copy, source)


def test_who_owns_tables_only_cannot_dump_the_keys(archive, copy, tmp_path):
    """An error instead of a dump without keys."""
    copy.restore(archive())
    with pytest.raises(RuntimeError, match="permission denied for table (keyring|data_key|wrapped_key|column_index)"):
        copy.dump(tmp_path / "none.sql", user="owner")


# -- data alone, schema alone ---------------------------------------------------------------------------------------


def test_schema_alone_brings_no_key(source, archive, copy):
    copy.restore(archive("-s"))
    assert all(not rows for rows in sealed.catalog(copy.sql).values())
    sealed.insert(copy.sql, "people", 1, b"new")
    assert copy.sql(sealed.opening("people")) == [(b"new",)]


def test_data_alone_with_triggers_disabled(source, archive, copy):
    """The keys without, so that the catalog's own triggers stay as they are."""
    copy.restore(archive("-s"))
    dumped = archive("--data-only")
    copy.restore(dumped, "-n", "envelope")
    copy.restore(dumped, "-N", "envelope", "--disable-triggers")
    is_whole(copy, source)
    goes_on(copy)
    assert lowered_triggers(copy) == []


def lowered_triggers(db):
    """Triggers of the catalog that do not fire ALWAYS."""
    return db.sql("SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
                  "WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'envelope'::regnamespace) "
                  "AND tgenabled <> 'A'")


def test_disabled_triggers_of_the_catalog_come_back_as_they_were(source, archive, copy):
    """Those that tell other sessions of a change fire ALWAYS, so also when replication applies it."""
    copy.restore(archive("-s"))
    copy.restore(archive("--data-only"), "--disable-triggers")
    is_whole(copy, source)
    if lowered_triggers(copy):
        assert copy.sql("SELECT count(*) > 0 FROM envelope.check() WHERE NOT ok") == [(True,)], "nothing tells of it"


def test_disabled_triggers_can_be_mended(archive, copy):
    copy.restore(archive("-s"))
    copy.restore(archive("--data-only"), "--disable-triggers")
    assert lowered_triggers(copy)
    copy.sql("""DO $$ DECLARE t record; BEGIN
      FOR t IN SELECT tgrelid::regclass AS rel, tgname FROM pg_trigger
               WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'envelope'::regnamespace)
                 AND tgenabled <> 'A' LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', t.rel, t.tgname);
      END LOOP;
    END $$""")
    assert lowered_triggers(copy) == []
    assert copy.sql("SELECT relation FROM envelope.check() WHERE NOT ok AND relation LIKE 'envelope.%'") == []


def test_data_alone_into_live_triggers_keys_first(source, archive, copy):
    """The triggers see sealed values of keys that they know: kept, not sealed again."""
    copy.restore(archive("-s"))
    dumped = archive("--data-only")
    copy.restore(dumped, "-n", "envelope")
    copy.restore(dumped, "-N", "envelope")
    is_whole(copy, source)
    goes_on(copy)


def test_data_alone_into_live_triggers_in_the_order_of_names(source, archive, copy):
    """COPY goes by schema: what comes before `envelope` meets a trigger that knows no key. An error, no second seal."""
    copy.restore(archive("-s"))
    with pytest.raises(RuntimeError, match="key"):
        copy.restore(archive("--data-only"))
    assert copy.sql("SELECT count(*) FROM elsewhere.moved") == [(0,)]


# -- parts ----------------------------------------------------------------------------------------------------------


def named_schemas(chosen):
    """pg_restore is given -n again: the dump would create the schemas, too."""
    return chosen if "-n" in chosen else ()


def misses_its_keys(db, table):
    """Each value is refused by the name of its key."""
    for (value,) in sealed_values(db, table):
        key_id = db.sql("SELECT key_id FROM envelope.inspect(%s)", (value,))[0][0]
        with fails("42704") as caught:
            db.sql("SELECT envelope_decrypt(%s, %s)", (table, value))
        assert str(key_id) in str(caught.value)


def sealed_values(db, table):
    values = [(value,) for value in sealed.stored(db.sql, [table])[table] if value is not None]
    assert values
    return values


@pytest.mark.parametrize("left_out", ["people", "elsewhere.moved", "parts*", "elsewhere.*"])
def test_without_a_table(source, archive, copy, left_out):
    """Its keys come along, bound to nothing; what remains is whole."""
    gone = {"people": "people", "parts*": "parts"}.get(left_out, "elsewhere.moved")
    copy.restore(archive("-T", left_out))
    bound = {name for name, *_ in sealed.bindings(copy.sql)}
    everything = {name for name, *_ in sealed.bindings(source.sql)}
    assert everything - bound == {gone if "." in gone else f"public.{gone}"}
    assert all(oid == named for _, oid, named in sealed.bindings(copy.sql))
    for table in ("keyring", "data_key", "wrapped_key"):
        assert sealed.catalog(copy.sql)[table] == sealed.catalog(source.sql)[table]
    rest = [table for table in sealed.PLAINTEXTS if table != gone]
    assert sealed.opened(copy.sql, rest) == {table: sealed.PLAINTEXTS[table] for table in rest}


@pytest.mark.parametrize("chosen", [("-t", "people"), ("-n", "public")])
def test_chosen_tables_without_keys(archive, copy, chosen):
    copy.extension()
    copy.restore(archive(*chosen), *named_schemas(chosen))
    assert all(not rows for rows in sealed.catalog(copy.sql).values())
    misses_its_keys(copy, "people")


@pytest.mark.parametrize("chosen", [("-t", "people", "-t", "envelope.*"), ("-t", "people", "-e", "pgrx-example"),
                                    ("-n", "public", "-e", "pgrx-example")])
def test_chosen_tables_with_the_keys(source, archive, copy, chosen):
    copy.extension()
    copy.restore(archive(*chosen), *(["-n", "public", "-n", "envelope"] if "-n" in chosen else []))
    for table in ("keyring", "data_key", "wrapped_key"):
        assert sealed.catalog(copy.sql)[table] == sealed.catalog(source.sql)[table]
    assert sealed.stored(copy.sql, ["people"]) == sealed.stored(source.sql, ["people"])
    assert sealed.opened(copy.sql, ["people"]) == sealed.opened(source.sql, ["people"])
    sealed.insert(copy.sql, "people", 50, b"new")
    assert copy.sql(sealed.opening("people"))[-1] == (b"new",)


def test_a_chosen_schema_never_brings_the_keys(archive, copy):
    """pg_dump takes an extension's rows by its name (-e) or theirs (-t), not by their schema's."""
    copy.extension()
    copy.restore(archive("-n", "public", "-n", "envelope"), "-n", "public", "-n", "envelope")
    assert all(not rows for rows in sealed.catalog(copy.sql).values())
    misses_its_keys(copy, "people")


@pytest.mark.parametrize("left_out", [("-N", "envelope"), ("-T", "envelope.*")])
def test_the_keys_left_out(source, archive, copy, left_out):
    """Such a dump opens nothing, until the keys of another one come."""
    copy.restore(archive(*left_out))
    assert all(not rows for rows in sealed.catalog(copy.sql).values())
    misses_its_keys(copy, "people")
    copy.restore(archive(), *KEYS_ALONE)
    is_whole(copy, source)


def test_chosen_table_where_the_extension_is_not(archive, copy):
    with pytest.raises(RuntimeError, match="does not exist"):
        copy.restore(archive("-t", "people"))


def test_renamed_and_moved_after_the_restore(source, elsewhere, archive, copy, tmp_path):
    """A copy goes on as the source did, and so does the copy's copy."""
    copy.restore(archive())
    copy.sql("ALTER TABLE people RENAME TO folk")
    copy.sql("ALTER TABLE renamed SET SCHEMA elsewhere")
    second = Db(elsewhere, f"{copy.name}_2").create()
    try:
        second.restore(copy.dump(tmp_path / "second.dump", "-Fc"), "-j4")
        for db in (copy, second):
            assert [row[0] for row in db.sql("SELECT envelope_decrypt('folk', ssn) FROM folk ORDER BY id")
                    ] == sealed.PLAINTEXTS["people"]
            assert db.sql("SELECT envelope_decrypt('elsewhere.renamed', v) FROM elsewhere.renamed") == [(b"renamed",)]
            db.sql("INSERT INTO folk VALUES (50, 'new')")
            assert db.sql("SELECT count(*) FROM envelope.data_key") == source.sql(
                "SELECT count(*) FROM envelope.data_key")
    finally:
        elsewhere.sql(f"DROP DATABASE {second.name}")


def test_a_table_dropped_after_the_dump_comes_back(archive, copy):
    """Into the database it was dropped from: its keys are there but let go of it, until they are adopted."""
    copy.restore(archive())
    dumped = copy.dump(f"{archive()}.2", "-Fc")
    for table in ("records", "people"):
        copy.sql(f"DROP TABLE {table}")
        copy.restore(dumped, "-t", table)
        value = sealed_values(copy, table)[0][0]
        with fails("22023"):
            copy.sql("SELECT envelope_decrypt(%s, %s)", (table, value))
        adopt(copy, table)
        assert sealed.opened(copy.sql, [table]) == {table: sealed.PLAINTEXTS[table]}
    sealed.insert(copy.sql, "records", 50, "new")
    assert copy.sql(sealed.opening("records"))[-1] == ("new",)


def adopt(db, table):
    """As a superuser would, who knows that the table is the one that was dropped."""
    [command] = blocks("backup.md", "Bring back a dropped table", "sql")
    db.sql(command.replace("customers", table))


def test_it_comes_back_after_it_was_sealed_anew(archive, copy):
    """The new key goes on sealing, the old ones open."""
    copy.restore(archive())
    dumped = copy.dump(f"{archive()}.2", "-Fc")
    copy.sql("DROP TABLE texts")
    copy.restore(dumped, "-t", "texts")
    sealed.insert(copy.sql, "texts", 50, "new")
    adopt(copy, "texts")
    assert sealed.opened(copy.sql, ["texts"]) == {"texts": [*sealed.PLAINTEXTS["texts"], "new"]}
    keys = copy.sql("SELECT count(*) FROM envelope.data_key")
    sealed.insert(copy.sql, "texts", 51, "newer")
    assert copy.sql("SELECT count(*) FROM envelope.data_key") == keys
