import pg from "pg";
import { add, change, read } from "./recipe.mjs";
import { DATABASE_URL, tell } from "./tell.mjs";

const client = new pg.Client(DATABASE_URL);
await client.connect();
await add(client, 1, "1234.5");
tell("added", JSON.stringify(await read(client, 1)));
await change(client, 1, -0.07);
tell("changed", JSON.stringify(await read(client, 1)));
await client.end();
