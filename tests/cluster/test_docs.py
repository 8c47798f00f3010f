"""What the documents say is so: their SQL runs, their references are complete, and their links lead somewhere."""

import re
import subprocess

import psycopg
import pytest
from harness import moto as kms
from harness import place

DOCS = place.ROOT / "docs"
README = place.ROOT / "README.md"
# A page that says so is run from top to bottom, in one database.
IS_RUN = re.compile(r"tests\s+run\s+every\s+SQL\s+block\s+of\s+this\s+page")
# Pages whose SQL needs more than one database or server: other tests run it.
RUN_ELSEWHERE = {"backup.md", "moving-tables.md", "upgrades.md", "upgrading-the-extension.md", "kms/kmip.md",
                 "kms/pkcs11.md", "kms/vault.md"}
# Where a page tells what becomes of a misspelt setting.
MISSPELT = {"envelope.cach_ttl"}
ARN = re.compile(r"arn:aws:kms:([a-z0-9-]+):\d+:key/[0-9a-f-]+")
# A statement ends with a semicolon at the end of a line, before a comment if there is one, or with psql's \gexec.
STATEMENT = re.compile(r"((?:\$\$.*?\$\$|.)+?)(?:;|(?<=\\gexec))[ \t]*(?:--[ \t]*([^\n]*))?$", re.S | re.M)


# Pages that stand beside the code.
BESIDE = [place.ROOT / name for name in ("SECURITY.md", "SECURITY-REVIEW.md", "CONTRIBUTING.md")]


def pages():
    """Every page for people, but those on how tests and findings are kept."""
    return [README, *BESIDE, *sorted(DOCS.rglob("*.md"))]


def sql_blocks(text):
    return [block for _, block in re.findall(r"^( *)```sql\n(.*?)^\1```", text, re.S | re.M)]


def run_pages():
    return [page for page in sorted(DOCS.rglob("*.md")) if IS_RUN.search(page.read_text())]


def name(page):
    """As docs/README.md links to it."""
    return page.relative_to(DOCS).as_posix()


def statements(text):
    """Each statement with what is said of it."""
    return [(sql.strip(), said or "") for block in sql_blocks(text) for sql, said in STATEMENT.findall(block)]


def with_real_keys(text, moto):
    """A key of the KMS for each that the document names; the first is the one that is there already."""
    keys = {}
    for match in ARN.finditer(text):
        keys.setdefault(match.group(0), match.group(1))
    made = {shown: moto.create_key(region) for shown, region in keys.items()}
    for shown, real in made.items():
        text = text.replace(shown, real)
    return text, list(made.values())


def run(c, sql):
    """Runs a statement. Of one that ends in \\gexec each value of the answer is a statement, as in psql."""
    query, is_to_run, _ = sql.partition("\\gexec")
    cursor = c.execute(query)
    if is_to_run:
        made = [value for row in cursor.fetchall() for value in row if value is not None]
        assert made, f"{sql}: nothing to run"
        for statement in made:
            cursor = c.execute(statement)
    return cursor


def given(cursor):
    rows = cursor.fetchall() if cursor.description else []
    shown = [" ".join(str(v).lower() if isinstance(v, bool) else str(v) for v in row) for row in rows]
    return "\n".join(shown) or "(none)"


@pytest.mark.parametrize("page", run_pages(), ids=name)
def test_a_page_runs_as_it_stands(page, moto, kms_proxy, own_cluster, database):
    text, keys = with_real_keys(page.read_text(), moto)
    conf = {
        "shared_preload_libraries": "pgrx-example",
        "envelope.aws_endpoint_url": kms_proxy.url,
    }
    if keys:
        conf |= {"envelope.default_kek": kms.kek(keys[0]), "envelope.allowed_keks": "aws-kms://arn:aws:kms:*"}
    cluster = own_cluster(conf=conf, env=kms.CREDENTIALS).start()
    found = statements(text)
    assert found
    with database(cluster).connect() as c:
        for sql, said in found:
            expected, failure = said.partition("=> ")[2], said.partition("ERROR ")[2]
            try:
                result = given(run(c, sql))
            except psycopg.Error as e:
                assert e.sqlstate == failure, f"{sql}: {e}"
            else:
                assert not failure, f"{sql}: gave {result}"
                assert not expected or result == expected, f"{sql}: gave {result}"


def test_the_life_of_a_key():
    """The page that auditors read shows what each step gives."""
    found = statements((DOCS / "key-lifecycle.md").read_text())
    assert DOCS / "key-lifecycle.md" in run_pages()
    assert len(found) > 20 and sum("=>" in said for _, said in found) > 10


def test_no_page_has_sql_that_nobody_runs():
    with_sql = {name(page) for page in DOCS.rglob("*.md") if sql_blocks(page.read_text())}
    run = {name(page) for page in run_pages()}
    assert run <= with_sql <= run | RUN_ELSEWHERE


def test_the_readmes_sessions(own_cluster, database):
    """All of its blocks, in one database."""
    db = database(own_cluster().start())
    first, *others = sql_blocks(README.read_text())
    [(ssn,)], opened, [key] = answers(db, first.removeprefix('CREATE EXTENSION "pgrx-example";'))
    assert ssn.startswith("\\xf7e1") and len(bytes.fromhex(ssn[2:])) == 69
    assert opened == [("123-45-6789",)]
    assert key[:3] == ("public.customers", 1, "active")
    changed, _, name, found, *_, privileges = [answer for block in others for answer in answers(db, block)]
    assert (changed, name, found) == ([("987-65-4321",)], [("Ann",)], [])
    assert ("public.customers", "billing", "decrypt", "grant") in privileges


def answers(db, script):
    """What its queries give."""
    with db.connect() as c:
        ran = [c.execute(sql) for sql, _ in STATEMENT.findall(script)]
        return [cursor.fetchall() for cursor in ran if cursor.description]


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) < 200


# The references: everything is there, and nothing that is gone.

MEMBERS = """
  SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE '' END
         || CASE n.nspname WHEN 'envelope' THEN 'envelope.' ELSE '' END || p.proname
         || '(' || pg_get_function_arguments(p.oid) || ')'
         || CASE p.prokind WHEN 'p' THEN '' ELSE ' → ' || pg_get_function_result(p.oid) END
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'pgrx-example'
  UNION ALL
  SELECT 'VIEW ' || c.oid::regclass || ' (' || string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
         ORDER BY a.attnum) || ')'
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
  WHERE c.relkind = 'v' AND c.relnamespace = 'envelope'::regnamespace GROUP BY c.oid
  UNION ALL
  SELECT 'TYPE ' || t.oid::regtype FROM pg_type t
  WHERE t.typnamespace = 'envelope'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
"""


def signature(text):
    """On one line, with no casts and no marks of what is the default."""
    text = re.sub(r"\s+", " ", text.strip())
    text = re.sub(r"::[a-z]+( [a-z]+)*(\[\])?", "", text)
    return re.sub(r"\bIN ", "", text)


def test_functions_has_every_function_view_and_type(db):
    text = (DOCS / "functions.md").read_text()
    shown = [signature(one) for block in re.findall(r"^```text\n(.*?)^```", text, re.S | re.M) for one in block.split("\n\n")]
    assert len(shown) == len(set(shown))
    assert set(shown) == {signature(row[0]) for row in db.sql(MEMBERS)}


def test_functions_has_every_table_of_the_catalog(db):
    text = (DOCS / "functions.md").read_text()
    section = text.partition("## Catalog tables")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `(envelope\.\w+)`", section, re.M)
    tables = db.sql("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'envelope'::regnamespace")
    assert sorted(shown) == sorted(name for (name,) in tables)


OF_THE_EXTENSION = """
  FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND d.deptype = 'e'
    AND e.extname = 'pgrx-example'
"""
WHEN = {"a": "in assignments", "e": "explicit", "i": "implicit"}


def test_functions_has_every_cast(db):
    text = (DOCS / "functions.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) to `([^`]+)` \| ([a-z ]+) \|", text, re.M)
    shown = [(source.replace("char(n)", "character"), target, when) for cell, target, when in rows
             for source in re.findall(r"`([^`]+)`", cell)]
    shown = [(*db.sql("SELECT %s::regtype::text, %s::regtype::text", (source, target))[0], when) for source, target, when in shown]
    casts = db.sql("SELECT k.castsource::regtype::text, k.casttarget::regtype::text, k.castcontext::text"
                   f" {OF_THE_EXTENSION} JOIN pg_cast k ON d.classid = 'pg_cast'::regclass AND k.oid = d.objid")
    assert sorted(shown) == sorted((source, target, WHEN[context]) for source, target, context in casts)


def test_functions_has_every_other_object(db):
    """Whatever is neither a function, a view, a type, a table nor a cast."""
    section = (DOCS / "functions.md").read_text().partition("## Other objects")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `([^`]+)`", section, re.M)
    others = db.sql(f"SELECT i.type || ' ' || i.identity {OF_THE_EXTENSION}, pg_identify_object(d.classid, d.objid, 0) AS i"
                    " WHERE i.type NOT IN ('function', 'procedure', 'view', 'table', 'type', 'cast')")
    assert sorted(shown) == sorted(name for (name,) in others)


def test_functions_has_every_wait_event():
    """By the names that the library gives them."""
    section = (DOCS / "functions.md").read_text().partition("## Wait events")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `(\w+)`", section, re.M)
    sources = "".join(source.read_text() for source in (place.ROOT / "src" / "pg").rglob("*.rs"))
    named = re.findall(r'\bnamed\(&\w+, c"(\w+)"\)', sources)
    assert len(named) > 1 and sorted(shown) == sorted(named)
    # Before 17 no event has a name of its own.
    if place.major() >= 17:
        library = (place.PG_BIN.parent / "lib" / "pgrx-example.so").read_bytes()
        assert all(name.encode() + b"\0" in library for name in named)


def test_each_function_for_users_has_a_heading_and_an_example(db):
    text = (DOCS / "functions.md").read_text().partition("## Internal functions")[0]
    entries = re.findall(r"^### (\S+)\n(.*?)(?=^##)", text, re.S | re.M)
    assert len(entries) > 40
    for name, rest in entries:
        [signatures] = re.findall(r"^```text\n(.*?)^```", rest, re.S | re.M)
        if not signatures.startswith("VIEW"):
            assert f"{name}(" in signatures
            assert any(re.search(rf"\b{re.escape(name)}\b", block) for block in sql_blocks(rest))


def test_settings_has_every_setting(db):
    """Type, unit, default and bounds are those of the server, and all are for superusers, but the one that is the
    server's own."""
    text = (DOCS / "settings.md").read_text()
    shown = re.findall(r"^\| \[`(envelope\.\w+)`\]\(#\w+\) \| (.*) \|$", text, re.M)
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        known = c.execute(
            "SELECT name, vartype, coalesce(unit, ''), coalesce(boot_val, ''), coalesce(min_val, ''), coalesce(max_val, ''), "
            "context FROM pg_settings WHERE name LIKE 'envelope.%' AND name <> 'envelope.planted_setting' ORDER BY name").fetchall()
    assert [(name, *(cell.strip() for cell in cells.split("|"))) for name, cells in shown] == [row[:6] for row in known]
    assert {(row[0], row[6]) for row in known if row[6] != "superuser"} == {("envelope.shared_keys", "sighup")}
    headings = re.findall(r"^### (envelope\.\w+)$", text, re.M)
    assert sorted(headings) == [row[0] for row in known]


def test_errors_has_every_sqlstate():
    """Those that src/error.rs gives, by their names in PostgreSQL's header; and no other."""
    include = subprocess.run([place.PG_BIN / "pg_config", "--includedir-server"], capture_output=True, text=True, check=True)
    header = f"{include.stdout.strip()}/utils/errcodes.h"
    with open(header) as f:
        packed = re.findall(r"^#define (ERRCODE_\w+) MAKE_SQLSTATE\(([^)]*)\)", f.read(), re.M)
    code_of = {name: re.sub(r"[', ]", "", code) for name, code in packed}
    sources = [place.ROOT / "src" / "error.rs", *(place.ROOT / "src" / "error").glob("*.rs")]
    raised = {code_of[name] for source in sources for name in re.findall(r"\bERRCODE_\w+", source.read_text())}
    shown = re.findall(r"^### ([0-9A-Z]{5}) ([a-z_]+)$", (DOCS / "errors.md").read_text(), re.M)
    assert len(raised) > 20
    # What PL/pgSQL raises, by its names for them.
    scripts = [script for script in (place.ROOT / "sql").glob("*.sql") if "--" not in script.name]
    in_sql = {name for script in scripts for name in re.findall(r"ERRCODE = '(\w+)'", script.read_text())}
    assert len(in_sql) > 3 and in_sql <= {condition for _, condition in shown}
    assert sorted(code for code, _ in shown) == sorted(raised)
    # The second word is the name by which PL/pgSQL knows it, if it knows one.
    for code, condition in shown:
        known = psycopg.errors.lookup(code).__name__
        assert condition.replace("_", "") == known.lower(), code


def test_what_the_documents_name_exists(db):
    """Functions, tables, views, types, triggers and settings, in whatever page."""
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        known = {name for (name,) in c.execute(
            "SELECT proname FROM pg_proc WHERE proname LIKE 'envelope_%' UNION "
            "SELECT 'envelope.' || proname FROM pg_proc WHERE pronamespace = 'envelope'::regnamespace UNION "
            "SELECT 'envelope.' || relname FROM pg_class WHERE relnamespace = 'envelope'::regnamespace UNION "
            "SELECT 'envelope.' || typname FROM pg_type WHERE typnamespace = 'envelope'::regnamespace UNION "
            "SELECT 'envelope.' || opcname FROM pg_opclass WHERE opcnamespace = 'envelope'::regnamespace UNION "
            "SELECT evtname FROM pg_event_trigger UNION SELECT name FROM pg_settings")}
    named = {(page.name, name) for page in pages() for name in re.findall(r"(?<![\w/.])envelope[._][a-z]\w*", page.read_text())}
    # tests/monitoring has that the page tells of those, and of no other.
    named -= {("monitoring.md", name) for name in metrics()}
    # The package in Python.
    named -= {("open-elsewhere.md", "envelope_reader")}
    assert len(named) > 100
    assert not sorted((page, name) for page, name in named if name not in known | MISSPELT)


def metrics():
    """As Prometheus has them."""
    query = None
    for line in (place.ROOT / "monitoring" / "queries.yaml").read_text().splitlines():
        if top := re.match(r"(\w+):", line):
            query = top[1]
        elif metric := re.match(r"    - (\w+): \{usage: (GAUGE|COUNTER|HISTOGRAM)", line):
            yield from (f"{query}_{metric[1]}{part}" for part in ("", "_bucket", "_count", "_sum"))
            # As in `envelope_kek_…`.
            yield f"{query}_"


def anchors(page):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    more = [place.ROOT / name for name in ("CHANGELOG.md", "findings/README.md", "tests/fixtures/README.md")]
    links = 0
    for page in [*pages(), *more]:
        text = re.sub(r"\s+", " ", page.read_text())
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("https://", "http://")):
                continue
            path, _, anchor = target.partition("#")
            to = (page.parent / path).resolve() if path else page
            assert to.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(to), f"{page.name}: {target}"
            links += 1
    assert links > 50


def test_files_that_the_documents_name_exist():
    """With their paths, as the pages beside the code have them: docs/architecture.md has those within a wing."""
    named = {(page.name, path) for page in BESIDE
             for path in re.findall(r"`((?:src|sql|tests|fuzz|monitoring|site|docs)/[\w./-]+)`", page.read_text())}
    assert len(named) > 50
    assert not sorted((page, path) for page, path in named if not (place.ROOT / path).exists())


def test_no_unsafe_code_where_the_review_says_so():
    [line] = re.findall(r"^- None in (.*?)\. A test", (place.ROOT / "SECURITY-REVIEW.md").read_text(), re.M | re.S)
    wings = re.findall(r"`(src/\w+)`", line)
    assert len(wings) > 5
    for wing in wings:
        sources = [*(place.ROOT / wing).rglob("*.rs"), *place.ROOT.glob(f"{wing}.rs")]
        assert sources
        assert not [source for source in sources if re.search(r"\bunsafe\b", re.sub(r"//.*|unsafe_code", "", source.read_text()))]


def test_the_index_has_every_page():
    index = (DOCS / "README.md").read_text()
    pages = [name(page) for page in DOCS.rglob("*.md") if page != DOCS / "README.md"]
    pages += [f"../{page.name}" for page in BESIDE]
    assert not [page for page in pages if f"({page})" not in index]


def test_the_architecture_has_every_wing():
    """In the order of src/lib.rs, which is the order of calls."""
    wings = re.findall(r"^//! - \[`(\w+)`\]", (place.ROOT / "src" / "lib.rs").read_text(), re.M)
    assert len(wings) > 10
    assert re.findall(r"^\| `(\w+)` \|", (DOCS / "architecture.md").read_text(), re.M) == wings
