// What the programs beside this one tell, a line a fact.
import { readFileSync } from "node:fs";
import { inspect } from "node:util";

export const { AWKWARD, CHANGED, NOTATION, SECRET, DATABASE_URL } = process.env;
export const tell = (name, value) => console.log(`${name}\t${value}`);

// How a sealed value came.
export const kind = (value) =>
  typeof value === "string"
    ? value.startsWith("\\xf7e1") ? "text" : "other text"
    : value[0] === 0xf7 && value[1] === 0xe1 ? "bytes" : "other bytes";

// What became of a value on its way in.
export const fate = (opened, given) => (opened === given ? "kept" : "changed");

// What a statement fails with.
export const failure = async (run) => {
  try {
    await run();
  } catch (e) {
    return e;
  }
};

// Whether an error's text shows the value that the statement came with.
export const shown = (error) => (inspect(error, { depth: null }).includes(SECRET) ? "shown" : "not shown");

export const version = (name) =>
  tell("version", JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version);
