"""What came with 0.2.0, in a database beside what sealed.py makes: typed values, policies and row binding, source columns, search
indexes, several KEKs, keys in every state. `run` is a function that runs one statement in that database and gives its rows."""

# As PostgreSQL writes them, whatever the session's settings.
TYPED = {
    "boolean": "true", "smallint": "-32768", "bigint": "9223372036854775807", "numeric": "-12345.6700", "real": "1.5",
    "double precision": "-0.1", "date": "1985-07-09", "time": "23:59:59.999999", "timestamp": "2026-12-01 12:30:00",
    "interval": "1 mon 2 days 03:00:00", "uuid": "00112233-4455-6677-8899-aabbccddeeff", "inet": "2001:db8::1/64",
    "text": "Größe", "varchar(20)": "short", "json": '{"a": [1, 2]}', "jsonb": '{"b": null}', "integer[]": "{1,NULL,-3}",
    "text[]": '{a,"b c",NULL}',
}
PATIENTS = 40
# What an index finds: the index's column, the column, its operator and value, and which patients.
FOUND = [
    ("ssn_ix", "ssn", "=", "'900 00 0007'", [7]),
    ("ssn_last4", "ssn", "suffix", "'0012'", [12]),
    ("mail_start", "mail", "prefix", "'p031'", [31]),
    ("name_ix", "name", "contains", "'ENT 3'", [3, *range(30, 40)]),
    ("note_ix", "note", "words", "'seven'", [7, 14, 21, 28, 35]),
    ("born_ix", "born", "=", "date '1990-01-11'", [10]),
    ("visit_ix", "visit", "<", "date '2000-01-05'", [1, 2, 3, 4]),
    ("salary_ix", "salary", ">=", "1039.50", [39, 40]),
    ("pulse_ix", "pulse", "<", "63", [1, 2]),
]


def make(run, reader, second_kek):
    """Makes it all; `reader` is a role, `second_kek` a KEK that is allowed."""
    run("CREATE TABLE patients (id int PRIMARY KEY, clinic int NOT NULL DEFAULT 1, ssn text, mail text, name text, born date, "
        "visit date, salary numeric(12,2), pulse int, note text, card text)")
    for column in ("mail", "name", "born", "visit", "salary", "pulse"):
        run(f"SELECT envelope.protect('patients', '{column}')")
    run("SELECT envelope.protect('patients', 'ssn', bind => '{id,clinic}')")
    run("SELECT envelope.protect('patients', 'note', block => 64)")
    run("SELECT envelope.protect('patients', 'card', mask => 'last4')")
    for number in range(1, PATIENTS + 1):
        run(f"INSERT INTO patients SELECT {number}, 1 + {number} % 3, '900-00-{number:04}', 'p{number:03}@example.org', 'Patient {number}', "
            f"(date '1990-01-01' + {number})::text, (date '2000-01-01' + {number} - 1)::text, '{1000 + number}.50', '{60 + number}', "
            f"'{'seven' if number % 7 == 0 else 'other'} words', '4929-{number:04}'")
    for column, kind, index, form, options in [
        ("ssn", "exact", "ssn_ix", "digits", {}), ("ssn", "suffix(4)", "ssn_last4", "digits", {}), ("mail", "prefix(4)", "mail_start", None, {}),
        ("name", "parts(3)", "name_ix", None, {}), ("note", "words", "note_ix", None, {}), ("born", "days", "born_ix", None, {}),
        ("visit", "buckets", "visit_ix", None, '{"bounds": ["2000-01-10", "2000-01-20"]}'), ("salary", "steps(10)", "salary_ix", None, {}),
        ("pulse", "tree", "pulse_ix", None, '{"low": 0, "high": 300}'),
    ]:
        form = f"'{form}'" if form else "NULL"
        for (statement,) in run(f"SELECT envelope.add_index('patients', '{column}', '{kind}', '{index}', form => {form}, "
                                f"options => '{options or '{}'}', force => true)"):
            run(statement)
    run("SELECT envelope.rotate_index_key('patients', 'each year')")
    run("CALL envelope.build_index('patients', 'ssn', 'ssn_ix')")
    run(f"SELECT envelope.add_kek('patients', '{second_kek}')")
    run(f"SELECT envelope.grant_key('patients', '{reader}', 'search')")
    for (statement,) in run("SELECT envelope.open_view('patients', 'patients_open')"):
        run(statement)

    run("CREATE TABLE visits (id int PRIMARY KEY, day date, day_sealed envelope.sealed)")
    run("SELECT envelope.set_policy('visits', 'day_sealed', 'source', source => 'day', bind => '{id}')")
    run("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION envelope_seal('day_sealed=day')")
    run("INSERT INTO visits VALUES (1, '2026-12-01'), (2, NULL)")

    run("CREATE TABLE typed (type text PRIMARY KEY, v bytea)")
    for kind, value in TYPED.items():
        run(f"INSERT INTO typed VALUES (%s, envelope_encrypt_as('typed', %s::{kind}))", (kind, value))
    run("SELECT envelope.rotate_key('typed', activate => false)")

    # Three versions: destroyed, retired, active.
    run("CREATE TABLE turned (id int PRIMARY KEY, v bytea)")
    run("INSERT INTO turned VALUES (1, envelope_encrypt('turned', 'turned'))")
    for reason in ("first", "second"):
        run(f"SELECT envelope.rotate_key('turned', '{reason}')")
        run("CALL envelope.reencrypt('turned', 'v')")
    version = "(SELECT key_id FROM envelope.keys WHERE relation = 'public.turned' AND version = {})"
    run(f"SELECT envelope.retire_key({version.format(1)}, 'no longer used')")
    run(f"SELECT envelope.retire_key({version.format(2)}, 'no longer used')")
    run(f"SELECT envelope.destroy_key({version.format(1)}, 'end of its life')")


def cases():
    """(query, what its rows give, as text): what opens and what is found."""
    numbers = range(1, PATIENTS + 1)
    yield ("SELECT envelope_decrypt_text('turned', v) FROM turned", ["turned"])
    yield ("SELECT envelope_decrypt_text('patients', ssn, envelope.row_context('patients', 'ssn', id::text, clinic::text)) "
           "FROM patients ORDER BY id", [f"900-00-{number:04}" for number in numbers])
    yield ("SELECT envelope_decrypt_as('patients', salary, NULL::numeric)::text FROM patients ORDER BY id",
           [f"{1000 + number}.50" for number in numbers])
    yield ("SELECT note FROM patients_open ORDER BY id", [f"{'seven' if number % 7 == 0 else 'other'} words" for number in numbers])
    yield ("SELECT card FROM patients_open WHERE id = 1", ["4929-0001"])
    yield ("SELECT envelope_decrypt_as('visits', day_sealed, NULL::date, envelope.row_context('visits', 'day_sealed', id::text))::text "
           "FROM visits ORDER BY id", ["2026-12-01", None])
    for kind, value in TYPED.items():
        yield (f"SELECT envelope_decrypt_as('typed', v, NULL::{kind})::text FROM typed WHERE type = '{kind}'", [value])
    for index, column, operator, value, ids in FOUND:
        context = ", envelope.row_context('patients', 'ssn', id::text, clinic::text)" if column == "ssn" else ""
        yield (f"SELECT id::text FROM patients WHERE envelope_matches('patients', '{column}', {column}, {index}, '{operator}', {value}{context}) "
               "ORDER BY patients.id", [str(number) for number in ids])
    yield ("SELECT state FROM envelope.keys WHERE relation = 'public.turned' ORDER BY version", ["destroyed", "retired", "active"])
