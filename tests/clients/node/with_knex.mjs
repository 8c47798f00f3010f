import knex from "knex";
import { add, addNote, change, changeNote, read, readNote } from "./recipe.mjs";
import { AWKWARD, CHANGED, DATABASE_URL, NOTATION, SECRET, failure, fate, kind, shown, tell, version } from "./tell.mjs";

version("knex");
const db = knex({ client: "pg", connection: DATABASE_URL });

await add(db, 1, AWKWARD);
tell("added", await read(db, 1));
await change(db, 1, CHANGED);
tell("changed", await read(db, 1));
await addNote(db, 1, AWKWARD);
tell("note added", await readNote(db, 1));
await changeNote(db, 1, CHANGED);
tell("note changed", await readNote(db, 1));
await db("customers").insert({ id: 1, ssn: CHANGED }).onConflict("id").merge();
tell("upserts", (await read(db, 1)) === CHANGED);

tell("ssn", kind((await db("customers").first("ssn")).ssn));
tell("note", kind((await db("patients").first("note")).note));
await add(db, 3, Buffer.from(AWKWARD));
tell("bytes for ssn", fate(await read(db, 3), AWKWARD));
await db("patients").insert({ id: 2, note: NOTATION });
tell("a string for note", fate(await readNote(db, 2), NOTATION));
await db.select(db.raw("envelope_decrypt_text(?, note)", ["patients"])).from("patients");
tell("table", "taken");
tell("ssn =", (await failure(() => db("customers").where({ ssn: CHANGED }))).code);
tell("note =", (await db("patients").where({ note: Buffer.from(CHANGED) })).length);
tell("value in errors", shown(await failure(() => add(db, 1, SECRET))));
await db.destroy();
