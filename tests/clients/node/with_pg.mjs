import pg from "pg";
import { add, addNote, change, changeNote, read, readNote } from "./recipe.mjs";
import { AWKWARD, CHANGED, DATABASE_URL, NOTATION, SECRET, failure, fate, kind, shown, tell, version } from "./tell.mjs";

version("pg");
const client = new pg.Client(DATABASE_URL);
await client.connect();
const value = async (query, values) => Object.values((await client.query(query, values)).rows[0])[0];

await add(client, 1, AWKWARD);
tell("added", await read(client, 1));
await change(client, 1, CHANGED);
tell("changed", await read(client, 1));
await addNote(client, 1, AWKWARD);
tell("note added", await readNote(client, 1));
await changeNote(client, 1, CHANGED);
tell("note changed", await readNote(client, 1));

tell("ssn", kind(await value("SELECT ssn FROM customers")));
const binary = { text: "SELECT ssn FROM customers WHERE id = $1", values: [1], binary: true };
tell("ssn in binary", kind(await value(binary)));
tell("note", kind(await value("SELECT note FROM patients")));
await add(client, 3, Buffer.from(AWKWARD));
tell("bytes for ssn", fate(await read(client, 3), AWKWARD));
await client.query("INSERT INTO patients VALUES (2, $1)", [NOTATION]);
tell("a string for note", fate(await readNote(client, 2), NOTATION));
await value("SELECT envelope_decrypt_text($1, note) FROM patients WHERE id = 2", ["patients"]);
tell("table", "taken");
tell("ssn =", (await failure(() => client.query("SELECT FROM customers WHERE ssn = $1", [CHANGED]))).code);
tell("note =", (await client.query("SELECT FROM patients WHERE note = $1", [Buffer.from(CHANGED)])).rowCount);
tell("value in errors", shown(await failure(() => add(client, 1, SECRET))));
await client.end();
