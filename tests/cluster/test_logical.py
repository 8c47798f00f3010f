"""Logical replication: keys and values published together open on the subscriber, which has other OIDs; what holds
there when a key's state changes, when keys do not come along, when plaintext does."""

import itertools

import pytest
from harness import place, process, sealed
from harness.cluster import Cluster
from sqlstate import fails

# Roles do not replicate.
READER = "reader"
# Small intervals, so that a worker that failed comes back soon.
LOGICAL = {"wal_level": "logical", "wal_retrieve_retry_interval": "200ms", "max_logical_replication_workers": 12,
           "max_worker_processes": 24, "max_replication_slots": 20, "max_wal_senders": 20}
KEYS = "envelope.keyring, envelope.keyring_table, envelope.data_key, envelope.wrapped_key"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def publisher():
    with Cluster(conf=LOGICAL) as c:
        c.sql(f"CREATE ROLE {READER}")
        yield c


@pytest.fixture(scope="module")
def subscriber(publisher):
    with Cluster(conf={**LOGICAL, "envelope.file_kek_directory": f"{publisher.data}.kek"}) as c:
        c.sql(f"CREATE ROLE {READER}")
        # So that no OID of there is that of here.
        c.sql("CREATE TABLE filler (a int); DROP TABLE filler")
        yield c


class Pair:
    """Two databases of one name and one schema, and at most one subscription between them."""

    def __init__(self, publisher, subscriber):
        self.publisher, self.subscriber = publisher, subscriber
        self.name = f"pair{next(_numbers)}"
        for cluster in (publisher, subscriber):
            cluster.sql(f"CREATE DATABASE {self.name}")
            cluster.sql('CREATE EXTENSION "pgrx-example"', dbname=self.name)

    def here(self, query, params=None):
        return self.publisher.sql(query, params, self.name)

    def there(self, query, params=None):
        return self.subscriber.sql(query, params, self.name)

    def schema(self):
        """The publisher's tables and triggers, without rows, on the subscriber."""
        script = self.publisher.base / f"{self.name}.sql"
        self.publisher.client("pg_dump", "-s", "-f", script, dbname=self.name)
        self.subscriber.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=self.name)

    def subscribe(self, published, options="streaming = off"):
        self.here(f"CREATE PUBLICATION {self.name} {published}")
        self.there(f"CREATE SUBSCRIPTION {self.name} CONNECTION 'host={self.publisher.base} port={self.publisher.port} "
                   f"user=postgres dbname={self.name}' PUBLICATION {self.name} WITH ({options})")

    def copied(self):
        """Waits until the rows that were there have been copied."""
        process.wait_until(lambda: self.there("SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'")
                           == [(0,)], "initial copy")

    def applied(self):
        """Waits until all that was committed has been applied."""
        position = self.here("SELECT pg_current_wal_lsn()")[0][0]
        # Nothing confirms a position that no change follows.
        process.wait_until(
            lambda: self.here("SELECT bool_and(replay_lsn >= %s) FROM pg_stat_replication WHERE application_name = %s",
                              (position, self.name)) == [(True,)], "apply")

    def drop(self):
        self.there(f"ALTER SUBSCRIPTION {self.name} DISABLE")
        self.there(f"DROP SUBSCRIPTION {self.name}")


@pytest.fixture
def pair(publisher, subscriber):
    p = Pair(publisher, subscriber)
    yield p
    if p.there("SELECT 1 FROM pg_subscription WHERE subname = %s", (p.name,)):
        p.drop()
    for cluster in (publisher, subscriber):
        cluster.sql(f"DROP DATABASE {p.name} WITH (FORCE)")


@pytest.fixture
def sealed_pair(pair):
    """With every kind of sealed value on the publisher, and the same tables on the subscriber."""
    sealed.make(pair.here, READER)
    pair.schema()
    return pair


def is_whole(pair, catalog=sealed.CATALOG):
    for table in catalog:
        assert sealed.catalog(pair.there)[table] == sealed.catalog(pair.here)[table]
    assert all(oid == named for _, oid, named in sealed.bindings(pair.there))
    assert sealed.stored(pair.there) == sealed.stored(pair.here)
    assert sealed.opened(pair.there) == sealed.opened(pair.here)


# -- keys and tables together ---------------------------------------------------------------------------------------


EXPLICIT = "FOR TABLE " + ", ".join((KEYS, "envelope.key_grant", "envelope.sealed_column", *sealed.PLAINTEXTS))


@pytest.mark.parametrize("binary", ["false", "true"])
@pytest.mark.parametrize("published", ["FOR ALL TABLES", EXPLICIT], ids=["all", "explicit"])
def test_copied_and_streamed(sealed_pair, published, binary):
    pair = sealed_pair
    pair.subscribe(published, f"binary = {binary}")
    pair.copied()
    is_whole(pair)
    assert sealed.opened(pair.there) == sealed.PLAINTEXTS
    # New values, a new version of a key, a new table's key, all after the copy.
    for table in sealed.PLAINTEXTS:
        sealed.insert(pair.here, table, 50, b"new" if table not in ("texts", "records") else "new")
    pair.here("UPDATE people SET ssn = 'changed' WHERE id = 1")
    pair.here("DELETE FROM people WHERE id = 2")
    sealed.second_version(pair.here, "renamed")
    sealed.insert(pair.here, "renamed", 51, b"newer")
    pair.applied()
    is_whole(pair)
    assert pair.there(sealed.opening("people"))[0] == (b"changed",)
    assert pair.there(sealed.opening("renamed"))[1:] == [(b"new",), (b"newer",)]


def test_it_seals_with_the_keys_that_came(sealed_pair):
    """On the subscriber, for tables of its own writes; the publisher opens them too."""
    pair = sealed_pair
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    sealed.insert(pair.there, "people", 60, b"from there")
    value = sealed.stored(pair.there, ["people"])["people"][-1]
    assert pair.here("SELECT envelope_decrypt('people', %s)", (value,)) == [(b"from there",)]
    assert pair.there("SELECT count(*) FROM envelope.data_key") == pair.here("SELECT count(*) FROM envelope.data_key")


def test_a_change_of_state_reaches_a_warm_session_at_its_next_statement(sealed_pair):
    pair = sealed_pair
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    value = sealed.stored(pair.here, ["records"])["records"][0]
    of_records = ("WHERE keyring_id = (SELECT keyring_id FROM envelope.keyring_table "
                  "WHERE relation::text = 'public.records')")
    opening = sealed.opening("records")
    with pair.subscriber.connect(pair.name) as session:
        assert session.execute(opening).fetchone() == ("one",)
        session.execute("SELECT envelope_encrypt('records', 'x')")
        cached = session.execute("SELECT keys_cached FROM envelope.stats").fetchone()
        for state, sqlstate in (("retired", "55000"), ("active", None)):
            pair.here(f"UPDATE envelope.data_key SET state = '{state}' {of_records}")
            pair.applied()
            if sqlstate:
                with fails(sqlstate):
                    session.execute(opening)
            else:
                assert session.execute(opening).fetchone() == ("one",)
        # Not by chance: nothing had emptied its cache.
        assert cached == (1,)
        sealed.second_version(pair.here, "records")
        pair.applied()
        sealed_there = session.execute("SELECT envelope_encrypt('records', 'x')").fetchone()[0]
        assert sealed_there[:18] != value[:18]
        assert session.execute(opening).fetchone() == ("one",)
        pair.here(f"UPDATE envelope.data_key SET state = 'destroyed' {of_records}")
        pair.applied()
        with fails("55000"):
            session.execute(opening)
        pair.here(f"DELETE FROM envelope.data_key {of_records}")
        pair.applied()
        with fails("42704"):
            session.execute(opening)


def test_truncate_reaches_a_warm_session(sealed_pair):
    pair = sealed_pair
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    with pair.subscriber.connect(pair.name) as session:
        assert session.execute(sealed.opening("records")).fetchone() == ("one",)
        pair.here("TRUNCATE envelope.data_key")
        pair.applied()
        with fails("42704"):
            session.execute(sealed.opening("records"))


def test_a_table_that_the_subscriber_lacks(pair):
    """Its keys come, bound to nothing, and stop nothing else."""
    for table in ("kept", "missing"):
        pair.here(f"CREATE TABLE {table} (id int PRIMARY KEY, v bytea)")
        pair.here(f"INSERT INTO {table} VALUES (1, envelope_encrypt('{table}', '{table}'))")
    pair.there("CREATE TABLE kept (id int PRIMARY KEY, v bytea)")
    pair.subscribe(f"FOR TABLE {KEYS}, kept")
    pair.copied()
    assert pair.there("SELECT envelope_decrypt('kept', v) FROM kept") == [(b"kept",)]
    assert pair.there("SELECT relation::text FROM envelope.keyring_table ORDER BY 1") == [("-",), ("public.kept",)]


def test_a_key_made_on_the_subscriber_collides(sealed_pair):
    """A table seals with one keyring: the publisher's does not come over the subscriber's own, silently."""
    pair = sealed_pair
    own = pair.there("SELECT envelope.create_key('people')")
    log = pair.subscriber.log
    already = len(log.read_text())
    pair.subscribe("FOR ALL TABLES")
    process.wait_until(lambda: 'unique constraint "keyring_table_seals"' in log.read_text()[already:], "the clash")
    assert pair.there("SELECT key_id FROM envelope.inspect(envelope_encrypt('people', 'x'))") == own


# -- the table alone ------------------------------------------------------------------------------------------------


def test_without_the_keys_values_name_what_they_miss(sealed_pair):
    pair = sealed_pair
    pair.subscribe("FOR TABLE people")
    pair.copied()
    assert sealed.stored(pair.there, ["people"]) == sealed.stored(pair.here, ["people"])
    for key_id, value in pair.here("SELECT (envelope.inspect(ssn)).key_id, ssn FROM people WHERE ssn IS NOT NULL"):
        with fails("42704") as caught:
            pair.there("SELECT envelope_decrypt('people', %s)", (value,))
        assert str(key_id) in str(caught.value)


# -- what later majors publish --------------------------------------------------------------------------------------


def test_all_tables_except_some(sealed_pair):
    """From 19 on. Tables are left out by name, not by schema: who leaves out the keys' tables names each."""
    pair = sealed_pair
    if place.major() < 19:
        with fails("42601"):
            pair.subscribe("FOR ALL TABLES EXCEPT (TABLE people)")
        return
    with fails("42601"):
        pair.subscribe("FOR ALL TABLES EXCEPT (TABLES IN SCHEMA envelope)")
    pair.subscribe("FOR ALL TABLES EXCEPT (TABLE people)")
    pair.copied()
    others = [table for table in sealed.PLAINTEXTS if table != "people"]
    assert sealed.stored(pair.there)["people"] == []
    assert sealed.opened(pair.there, others) == {table: sealed.PLAINTEXTS[table] for table in others}
    assert pair.there("SELECT * FROM envelope.check() WHERE NOT ok") == []
    pair.drop()
    pair.here(f"DROP PUBLICATION {pair.name}")
    pair.there("TRUNCATE " + ", ".join([*others, KEYS, "envelope.key_grant", "envelope.sealed_column"]))
    pair.subscribe(f"FOR ALL TABLES EXCEPT (TABLE {KEYS})")
    pair.copied()
    assert sealed.stored(pair.there) == sealed.stored(pair.here)
    with fails("42704"):
        pair.there(sealed.opening("renamed"))


def test_a_published_generated_column_is_what_it_was_made_of(pair):
    """From 18 on. It is computed when the trigger is through, of the sealed value; it opens where that does."""
    made = "CREATE TABLE made (id int PRIMARY KEY, v bytea, again bytea {})"
    pair.here(made.format("GENERATED ALWAYS AS (v) STORED"))
    pair.here("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON made FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    pair.there(made.format(""))
    pair.here("INSERT INTO made VALUES (1, 'copied')")
    published = f"FOR TABLE {KEYS}, made WITH (publish_generated_columns = stored)"
    if place.major() < 18:
        with fails("42601"):
            pair.subscribe(published)
        return
    pair.subscribe(published)
    pair.copied()
    pair.here("INSERT INTO made VALUES (2, 'streamed')")
    pair.applied()
    assert pair.there("SELECT v = again, envelope_decrypt_text('made', again) FROM made ORDER BY id") == [
        (True, "copied"), (True, "streamed")]


# -- the trigger on the subscriber ----------------------------------------------------------------------------------


@pytest.fixture
def clear(pair):
    """A table that the publisher does not seal, and the subscriber's trigger would."""
    pair.here("CREATE TABLE clear (id int PRIMARY KEY, v bytea)")
    pair.there("CREATE TABLE clear (id int PRIMARY KEY, v bytea)")
    pair.there("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON clear FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    pair.there("SELECT envelope.create_key('clear')")
    return pair


def test_it_does_not_fire_when_changes_are_applied(clear):
    """As for any trigger: plaintext of the publisher is plaintext on the subscriber."""
    clear.subscribe("FOR TABLE clear")
    clear.copied()
    clear.here("INSERT INTO clear VALUES (1, 'plain')")
    clear.applied()
    assert clear.there("SELECT v FROM clear") == [(b"plain",)]
    clear.there("INSERT INTO clear VALUES (2, 'sealed')")
    assert clear.there("SELECT envelope.is_sealed(v) FROM clear ORDER BY id") == [(False,), (True,)]


@pytest.mark.parametrize("when", ["streamed", "copied"])
def test_a_check_stops_plaintext(clear, when):
    clear.there("ALTER TABLE clear ADD CHECK (envelope.is_sealed(v))")
    log = clear.subscriber.log
    already = len(log.read_text())
    if when == "copied":
        clear.here("INSERT INTO clear VALUES (1, 'plain')")
    clear.subscribe("FOR TABLE clear")
    if when == "streamed":
        clear.copied()
        clear.here("INSERT INTO clear VALUES (1, 'plain')")
    process.wait_until(lambda: 'violates check constraint "clear_v_check"' in log.read_text()[already:],
                       "the refusal")
    assert clear.there("SELECT * FROM clear") == []


def test_always_it_seals_what_is_applied(clear):
    """A subscriber that shall seal for a publisher that does not: the trigger is told to fire always."""
    clear.there("ALTER TABLE clear ENABLE ALWAYS TRIGGER seal")
    clear.there("ALTER TABLE clear ADD CHECK (envelope.is_sealed(v))")
    clear.here("INSERT INTO clear VALUES (1, 'copied')")
    clear.subscribe("FOR TABLE clear")
    clear.copied()
    clear.here("INSERT INTO clear VALUES (2, 'streamed')")
    clear.here("UPDATE clear SET v = 'changed' WHERE id = 1")
    clear.applied()
    opening = "SELECT envelope_decrypt_text('clear', v) FROM clear ORDER BY id"
    assert clear.there(opening) == [("changed",), ("streamed",)]


# -- keys are made where they come from -----------------------------------------------------------------------------


def test_keys_that_come_from_elsewhere_rotate_there(sealed_pair):
    """One made on the subscriber would have the version of the publisher's next, and stop the subscription."""
    pair = sealed_pair
    pair.here("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 10}')")
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    for i in range(20):
        sealed.insert(pair.there, "people", 100 + i, b"there")
    assert pair.there("SELECT * FROM envelope.rotate_due()") == []
    assert sealed.catalog(pair.there)["data_key"] == sealed.catalog(pair.here)["data_key"]
    for i in range(20):
        sealed.insert(pair.here, "people", 200 + i, b"here")
    assert pair.here("SELECT max(version) FROM envelope.keys WHERE relation = 'public.people'") >= [(3,)]
    pair.applied()
    assert sealed.catalog(pair.there)["data_key"] == sealed.catalog(pair.here)["data_key"]
    # On its own it rotates again.
    pair.drop()
    for i in range(20):
        sealed.insert(pair.there, "people", 300 + i, b"there")
    assert len(sealed.catalog(pair.there)["data_key"]) > len(sealed.catalog(pair.here)["data_key"])


MAKE = ("SELECT envelope.rotate_key('people')", "SELECT envelope.rotate_key('parts')",
        "SELECT envelope.rotate_key('parts_low')")


@pytest.mark.parametrize("published", ["FOR ALL TABLES", EXPLICIT], ids=["all", "explicit"])
@pytest.mark.parametrize("copy", ["true", "false"])
def test_a_subscriber_makes_no_keys_of_published_tables(sealed_pair, published, copy):
    """Also when it had the keys before, from a dump."""
    pair = sealed_pair
    if copy == "false":
        script = pair.publisher.base / f"{pair.name}-data.sql"
        pair.publisher.client("pg_dump", "-a", "-n", "envelope", "-n", "public", "-e", "pgrx-example", "-f", script,
                              dbname=pair.name)
        pair.subscriber.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=pair.name)
    # One that is published, and has no key yet.
    for run in (pair.here, pair.there):
        run("CREATE TABLE later (id int PRIMARY KEY, v bytea)")
    also = "" if published == "FOR ALL TABLES" else ", later"
    pair.subscribe(published + also, f"copy_data = {copy}")
    pair.copied()
    before = sealed.catalog(pair.there)["data_key"]
    for statement in (*MAKE, "SELECT envelope.create_key('later')", "SELECT envelope_encrypt('later', 'x')",
                      "SELECT envelope.unfollow_keyring('people')"):
        with fails("55000"):
            pair.there(statement)
    assert sealed.catalog(pair.there)["data_key"] == before
    # Where they come from they are made, and arrive.
    pair.here("SELECT envelope.create_key('later')")
    for statement in MAKE:
        pair.here(statement)
    pair.applied()
    assert sealed.catalog(pair.there)["data_key"] == sealed.catalog(pair.here)["data_key"] != before
    pair.there("SELECT envelope_encrypt('later', 'x')")
    # A table of its own has keys of its own.
    pair.there("CREATE TABLE own (id int PRIMARY KEY, v bytea)")
    pair.there("SELECT envelope_encrypt('own', 'x')")
    pair.there("SELECT envelope.rotate_key('own')")
    # As soon as the subscription is gone, all are.
    pair.drop()
    for statement in MAKE:
        pair.there(statement)


def test_a_database_copied_from_a_subscriber_makes_its_own_keys(sealed_pair):
    pair = sealed_pair
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    pair.there(f"ALTER SUBSCRIPTION {pair.name} DISABLE")
    process.wait_until(lambda: pair.subscriber.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s",
                                                   (pair.name,)) == [(0,)], "the worker's end")
    copy = f"{pair.name}_copy"
    pair.subscriber.sql(f"CREATE DATABASE {copy} TEMPLATE {pair.name}")
    try:
        pair.subscriber.sql("SELECT envelope.rotate_key('people')", dbname=copy)
        with fails("55000"):
            pair.there("SELECT envelope.rotate_key('people')")
    finally:
        pair.subscriber.sql(f"DROP DATABASE {copy} WITH (FORCE)")


def test_whose_keys_come_from_elsewhere_is_not_sent_on(sealed_pair):
    """FOR ALL TABLES publishes it: of a publisher that is a subscriber itself."""
    pair = sealed_pair
    followed = "SELECT keyring_id, origin FROM envelope.followed_keyring ORDER BY 1"
    pair.here("INSERT INTO envelope.followed_keyring SELECT keyring_id, 'of the publisher' FROM envelope.keyring")
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    own = pair.there(followed)
    assert own and all(origin.startswith("pg_") for _, origin in own)
    pair.here("UPDATE envelope.followed_keyring SET origin = 'another'")
    pair.here("DELETE FROM envelope.followed_keyring WHERE origin = 'another'")
    sealed.insert(pair.here, "people", 70, b"after it")
    pair.applied()
    assert pair.there(followed) == own


def test_each_keeps_the_place_of_its_own_re_encryption(sealed_pair):
    """Pages are those of a table's own file; and two rows for one column would stop the subscription."""
    pair = sealed_pair
    pair.subscribe("FOR ALL TABLES")
    pair.copied()
    places = "SELECT id, relation::text, rows_done FROM envelope.reencryption"
    pair.there("CALL envelope.reencrypt('people', 'ssn')")
    own = pair.there(places)
    sealed.second_version(pair.here, "people")
    pair.here("CALL envelope.reencrypt('people', 'ssn')")
    sealed.insert(pair.here, "people", 70, b"after it")
    pair.applied()
    is_whole(pair)
    assert pair.there(places) == own != pair.here(places)


# -- another type on the subscriber ---------------------------------------------------------------------------------

VALUES = "SELECT id, v::bytea FROM cards ORDER BY id"


def cards(run, kind, identity="DEFAULT"):
    """With FULL there is no other identity: rows are found by all of their columns."""
    key = "PRIMARY KEY" if identity == "DEFAULT" else ""
    run(f"CREATE TABLE cards (id int {key}, v {kind}, n int)")
    run("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON cards FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    run(f"ALTER TABLE cards REPLICA IDENTITY {identity}")


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("binary", ["false", "true"])
@pytest.mark.parametrize("here, there", [("bytea", "envelope.sealed"), ("envelope.sealed", "bytea"),
                                         ("envelope.sealed", "envelope.sealed")])
def test_bytea_and_sealed(pair, here, there, binary, identity):
    cards(pair.here, here, identity)
    cards(pair.there, there, identity)
    pair.here("INSERT INTO cards SELECT g, g::text::bytea FROM generate_series(1, 5) g")
    pair.subscribe(f"FOR TABLE {KEYS}, cards", f"binary = {binary}")
    pair.copied()
    assert pair.there(VALUES) == pair.here(VALUES) != []
    pair.here("INSERT INTO cards VALUES (6, 'new'), (7, NULL)")
    pair.here("UPDATE cards SET v = 'changed' WHERE id = 1")
    pair.here("UPDATE cards SET n = 1 WHERE id = 2")
    pair.here("UPDATE cards SET id = 9 WHERE id = 3")
    pair.here("DELETE FROM cards WHERE id = 4")
    pair.applied()
    assert pair.there(VALUES) == pair.here(VALUES)
    assert pair.there("SELECT envelope_decrypt_text('cards', v) FROM cards ORDER BY id") == [
        ("changed",), ("2",), ("5",), ("new",), (None,), ("3",)]


def test_escaped_bytes_are_not_taken_for_text(pair):
    """The publisher writes bytea as its own setting says, which the subscriber would store as that text."""
    cards(pair.here, "bytea")
    cards(pair.there, "envelope.sealed")
    pair.publisher.sql(f"ALTER DATABASE {pair.name} SET bytea_output = 'escape'")
    pair.here("INSERT INTO cards VALUES (1, 'one')")
    logged = pair.subscriber.log.stat().st_size
    pair.subscribe(f"FOR TABLE {KEYS}, cards")
    process.wait_until(lambda: "text that begins like a sealed value" in pair.subscriber.log.read_text()[logged:],
                       "the copy's refusal")
    assert pair.there(VALUES) == []
    pair.publisher.sql(f"ALTER DATABASE {pair.name} SET bytea_output = 'hex'")
    pair.copied()
    assert pair.there(VALUES) == pair.here(VALUES) != []


def test_text_arrives_and_is_sealed(pair):
    """A way to adopt: the publisher's column stays text; the subscriber's trigger fires ALWAYS."""
    pair.here("CREATE TABLE cards (id int PRIMARY KEY, v text, n int)")
    cards(pair.there, "envelope.sealed CHECK (envelope.is_sealed(v))")
    pair.there("ALTER TABLE cards ENABLE ALWAYS TRIGGER seal; SELECT envelope.create_key('cards')")
    pair.here("INSERT INTO cards VALUES (1, 'C:\\101'), (2, '\\x41')")
    pair.subscribe("FOR TABLE cards")
    pair.copied()
    pair.here("UPDATE cards SET v = 'Zoë \\' WHERE id = 1")
    pair.applied()
    assert pair.there("SELECT envelope_decrypt_text('cards', v) FROM cards ORDER BY id") == [("Zoë \\",), ("\\x41",)]


@pytest.mark.parametrize("binary", ["false", "true"])
def test_policies_come_along(pair, binary):
    """Tables, types and columns have other OIDs there, and what was bound to its row opens by the same policy."""
    for run in (pair.there, pair.here):
        run("CREATE TYPE mood AS ENUM ('glad', 'sad')")
        run("CREATE TABLE feelings (id bigint PRIMARY KEY, v mood, sealed envelope.sealed)")
        run("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON feelings FOR EACH ROW "
            "EXECUTE FUNCTION envelope_seal('sealed=v')")
    pair.here("SELECT envelope.set_policy('feelings', 'sealed', 'source', source => 'v', bind => '{id}')")
    pair.here("INSERT INTO feelings (id, v) VALUES (1, 'glad')")
    pair.subscribe(f"FOR TABLE {KEYS}, envelope.sealed_column, feelings", f"binary = {binary}")
    pair.copied()
    pair.here("INSERT INTO feelings (id, v) VALUES (2, 'sad')")
    pair.here("UPDATE feelings SET id = 3 WHERE id = 1")
    pair.applied()
    opened = ("SELECT id, envelope_decrypt_as('feelings', sealed, NULL::mood, "
              "envelope.row_context('feelings', 'sealed', id::text))::text FROM feelings ORDER BY id")
    assert pair.there("TABLE envelope.policies") == pair.here("TABLE envelope.policies") != []
    assert pair.there(opened) == pair.here(opened) == [(2, "sad"), (3, "glad")]
    # It seals there by the policy that came, too.
    pair.there("UPDATE feelings SET v = 'glad' WHERE id = 2")
    assert pair.there(opened) == [(2, "glad"), (3, "glad")]


def test_plaintext_arrives_in_a_source(pair):
    """Replication names all columns of a row: a source that is NULL there erases nothing and refuses nothing."""
    pair.here("CREATE TABLE feelings (id int PRIMARY KEY, note text, v date)")
    pair.there("CREATE TABLE feelings (id int PRIMARY KEY, note text, v date, sealed envelope.sealed)")
    pair.there("SELECT envelope.set_policy('feelings', 'sealed', 'source', source => 'v', bind => '{id}')")
    pair.there("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON feelings FOR EACH ROW "
               "EXECUTE FUNCTION envelope_seal('sealed=v')")
    pair.there("ALTER TABLE feelings ENABLE ALWAYS TRIGGER seal; SELECT envelope.create_key('feelings')")
    pair.here("INSERT INTO feelings VALUES (1, 'n', '2026-11-30'), (2, 'n', NULL)")
    pair.subscribe("FOR TABLE feelings")
    pair.copied()
    pair.here("UPDATE feelings SET note = 'm'")
    pair.here("UPDATE feelings SET id = 3 WHERE id = 1")
    pair.applied()
    assert pair.there("SELECT id, note, v, envelope_decrypt_as('feelings', sealed, NULL::date, envelope.row_context("
                      "'feelings', 'sealed', id::text))::text FROM feelings ORDER BY id") == [
        (2, "m", None, None), (3, "m", None, "2026-11-30")]
