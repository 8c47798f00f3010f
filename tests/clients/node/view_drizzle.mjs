import { eq, lt } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { staff } from "./recipe.mjs";
import { DATABASE_URL, tell } from "./tell.mjs";

const db = drizzle(DATABASE_URL);
const [added] = await db.insert(staff).values({ id: 1, bornSealed: "1999-12-31" }).returning();
tell("added", added.born);
const [changed] = await db.update(staff).set({ bornSealed: "1987-06-05" }).where(eq(staff.id, 1)).returning();
tell("changed", changed.born);
const found = await db.select({ id: staff.id }).from(staff).where(lt(staff.born, "1990-01-01"));
tell("found", `[${found.map((row) => row.id)}]`);
await db.$client.end();
