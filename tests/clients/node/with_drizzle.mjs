import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { customers, openedNote, openedSsn, patients } from "./recipe.mjs";
import { AWKWARD, CHANGED, DATABASE_URL, SECRET, failure, fate, kind, shown, tell, version } from "./tell.mjs";

version("drizzle-orm");
const db = drizzle(DATABASE_URL);
const reader = (table, opened) => async (id) =>
  (await db.select({ value: opened }).from(table).where(eq(table.id, id)))[0].value;

for (const [table, name, opened, said] of [[customers, "ssn", openedSsn, ""], [patients, "note", openedNote, "note "]]) {
  const read = reader(table, opened);
  await db.insert(table).values({ id: 1, [name]: AWKWARD });
  tell(`${said}added`, await read(1));
  await db.update(table).set({ [name]: CHANGED }).where(eq(table.id, 1));
  tell(`${said}changed`, await read(1));
  const upsert = { target: table.id, set: { [name]: CHANGED } };
  await db.insert(table).values({ id: 1, [name]: AWKWARD }).onConflictDoUpdate(upsert);
  tell(`${said}upserts`, (await read(1)) === CHANGED);
  await db.insert(table).values([{ id: 2, [name]: AWKWARD }, { id: 4, [name]: null }]);
  tell(`${said}many rows and NULL`, (await read(2)) === AWKWARD && (await read(4)) === null);
  const [row] = await db.select().from(table).where(eq(table.id, 1));
  tell(name, kind(row[name]));
}
await db.insert(customers).values({ id: 3, ssn: Buffer.from(AWKWARD) });
tell("bytes for ssn", fate(await reader(customers, openedSsn)(3), AWKWARD));
await db.select({ value: sql`envelope_decrypt_text(${"patients"}, ${patients.note})` }).from(patients);
tell("table", "taken");
tell("ssn =", (await failure(() => db.select().from(customers).where(eq(customers.ssn, CHANGED)))).cause.code);
tell("note =", (await db.select().from(patients).where(eq(patients.note, CHANGED))).length);
const again = await failure(() => db.insert(customers).values({ id: 1, ssn: SECRET }));
tell("value in errors", shown(again));
tell("value in the cause of errors", shown(again.cause));
await db.$client.end();
