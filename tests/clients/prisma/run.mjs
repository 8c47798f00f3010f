// Runs the recipe, and tells what it saw, a line a fact.
import { Prisma } from "./generated/client.ts";
import { prisma } from "./recipe.mjs";
import { AWKWARD, CHANGED, SECRET, failure, kind, shown, tell, version } from "./tell.mjs";

version("@prisma/adapter-pg");
const ssn = async (id) => (await prisma.customer.findUniqueOrThrow({ where: { id } })).ssn;
const note = async (id) => (await prisma.patient.findUniqueOrThrow({ where: { id } })).note;

const created = await prisma.customer.create({ data: { id: 1, ssnSealed: AWKWARD } });
tell("create gives it opened", created.ssn === AWKWARD);
tell("added", await ssn(1));
const updated = await prisma.customer.update({ where: { id: 1 }, data: { ssnSealed: CHANGED } });
tell("update gives it opened", updated.ssn === CHANGED);
tell("changed", await ssn(1));
await prisma.patient.create({ data: { id: 1, noteSealed: Buffer.from(AWKWARD) } });
tell("note added", await note(1));
await prisma.patient.update({ where: { id: 1 }, data: { noteSealed: Buffer.from(CHANGED) } });
tell("note changed", await note(1));
await prisma.customer.upsert({ where: { id: 1 }, create: { id: 1, ssnSealed: AWKWARD }, update: { ssnSealed: CHANGED } });
await prisma.customer.upsert({ where: { id: 2 }, create: { id: 2, ssnSealed: AWKWARD }, update: { ssnSealed: CHANGED } });
tell("upserts", (await ssn(1)) === CHANGED && (await ssn(2)) === AWKWARD);
await prisma.customer.createMany({ data: [{ id: 3, ssnSealed: AWKWARD }, { id: 4, ssnSealed: null }] });
tell("many rows and NULL", (await ssn(3)) === AWKWARD && (await ssn(4)) === null);

const one = await prisma.customer.findUniqueOrThrow({ where: { id: 1 } });
tell("ssn", kind(one.ssnSealed));
tell("note", kind((await prisma.patient.findUniqueOrThrow({ where: { id: 1 } })).noteSealed));
await prisma.customer.update({ where: { id: 1 }, data: { ssnSealed: one.ssnSealed } });
tell("written back", (await ssn(1)) === CHANGED);
tell("the opened value finds its row", (await prisma.customer.findMany({ where: { ssn: CHANGED } })).length === 1);
const bytes = await failure(() => prisma.customer.create({ data: { id: 5, ssnSealed: Buffer.from(AWKWARD) } }));
tell("bytes for ssn", bytes ? "refused" : "taken");
const string = await failure(() => prisma.patient.create({ data: { id: 5, noteSealed: "x" } }));
tell("a string for note", string ? "refused" : "taken");
const compared = await failure(() => prisma.customer.findMany({ where: { ssnSealed: CHANGED } }));
tell("ssn =", compared.meta.driverAdapterError.cause.originalCode);
tell("note =", (await prisma.patient.findMany({ where: { noteSealed: Buffer.from(CHANGED) } })).length);
const again = await failure(() => prisma.customer.create({ data: { id: 1, ssnSealed: SECRET } }));
tell("value in errors", shown(again));
await prisma.$disconnect();
