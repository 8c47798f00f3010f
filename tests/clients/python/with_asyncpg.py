import asyncio

import asyncpg
from recipe import add, add_note, change, change_note, read, read_note
from tell import AWKWARD, CHANGED, DSN, NOTATION, SECRET, fate, kind, shown, tell

tell("version", asyncpg.__version__)


async def main():
    c = await asyncpg.connect(DSN)
    await add(c, 1, AWKWARD)
    tell("added", await read(c, 1))
    await change(c, 1, CHANGED)
    tell("changed", await read(c, 1))
    await add_note(c, 1, AWKWARD)
    tell("note added", await read_note(c, 1))
    await change_note(c, 1, CHANGED)
    tell("note changed", await read_note(c, 1))

    tell("ssn", kind(await c.fetchval("SELECT ssn FROM customers")))
    tell("note", kind(await c.fetchval("SELECT note FROM patients")))
    try:
        await add(c, 3, AWKWARD.encode())
        tell("bytes for ssn", fate(await read(c, 3), AWKWARD))
    except asyncpg.DataError:
        tell("bytes for ssn", "refused")
    try:
        await c.execute("INSERT INTO patients VALUES (2, $1)", NOTATION)
        tell("a string for note", fate(await read_note(c, 2), NOTATION))
    except asyncpg.DataError:
        tell("a string for note", "refused")
    await c.fetchval("SELECT envelope_decrypt_text($1, note) FROM patients WHERE id = 1", "patients")
    tell("table", "taken")
    try:
        await c.fetch("SELECT FROM customers WHERE ssn = $1", CHANGED)
    except asyncpg.PostgresError as e:
        tell("ssn =", e.sqlstate)
    tell("note =", len(await c.fetch("SELECT FROM patients WHERE note = $1", CHANGED.encode())))
    try:
        await add(c, 1, SECRET)
    except asyncpg.PostgresError as e:
        tell("value in errors", shown(e))
    # Its own errors, before anything is sent.
    try:
        await c.execute("INSERT INTO patients VALUES (2, $1)", SECRET)
    except asyncpg.DataError as e:
        tell("value in its own errors", shown(e))
    await c.close()


asyncio.run(main())
