// Boundary sets: which interval of the order of a type a value is in, for `buckets`.

import { netstring } from './context.js';
import { EnvelopeError } from './errors.js';
import { numberOf, scalar } from './forms.js';
import { ofDouble, ordinalOf } from './ordinals.js';
import { Rule } from './rules.js';
import { openedBy } from './values.js';

const MOST = 2 ** 32 - 1;
const FIELDS = ['set', 'bounds', 'classes', 'former'];

export const boundariesContext = (label, rule) => `envelope/1 boundaries,${netstring(label)}${netstring(rule)}`;

/** The text of a set, with the data key of its index. */
export function openBoundaries(dataKey, label, rule, sealed) {
  const raw = openedBy(dataKey, 'envelope/1 boundaries', sealed, boundariesContext(label, rule));
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw);
  } catch {
    throw new EnvelopeError('not_a_boundary_set');
  }
}

function boundOf(rule, text) {
  const name = { int: 'int8', float: 'float8' }[rule.subject] ?? rule.subject;
  if (name !== 'float8') return ordinalOf(name, scalar(name, Buffer.from(text)), rule.scale);
  const number = numberOf(name, text);
  return Number.isFinite(number) ? ofDouble(number) : undefined;
}

const isNumber = (of) => Number.isInteger(of) && of >= 0 && of <= MOST;
const areLists = (of) => Array.isArray(of) && of.every((one) => Array.isArray(one) && one.every(isNumber));

function read(rule, text) {
  const found = JSON.parse(text);
  const { set, bounds, classes, former = classes.map(() => []) } = found;
  const ordinals = bounds.map((bound) => boundOf(rule, bound));
  const areInOrder = ordinals.every((at, i) => typeof at === 'bigint' && (i === 0 || ordinals[i - 1] < at));
  const areRight = isNumber(set) && areLists(classes) && areLists(former) && classes.every((one) => one.length > 0);
  const areOnce = new Set(classes.flat()).size === classes.flat().length;
  const isNeeded = !('former' in found) || former.some((one) => one.length > 0);
  const count = bounds.length + 1;
  const fields = Object.fromEntries(FIELDS.filter((name) => name in found).map((name) => [name, found[name]]));
  const isSized = classes.length === count && former.length === count;
  if (![areInOrder, areRight, areOnce, isNeeded, isSized].every(Boolean) || JSON.stringify(fields) !== text) {
    throw new EnvelopeError('not_a_boundary_set');
  }
  return { set, bounds: ordinals, classes, former };
}

/** A set, from its text and the rule that it is of. */
export class Boundaries {
  constructor(ruleText, text) {
    const rule = new Rule(ruleText);
    if (rule.kind !== 'buckets') throw new EnvelopeError('no_answer');
    try {
      Object.assign(this, read(rule, text));
    } catch {
      throw new EnvelopeError('not_a_boundary_set');
    }
  }

  interval(at) {
    return this.bounds.filter((bound) => bound <= at).length;
  }

  classesOf(at) {
    return this.classes[this.interval(at)];
  }

  asked(low, high) {
    const [first, end] = [this.interval(low), this.interval(high) + 1];
    const all = this.classes.slice(first, end).flatMap((classes, at) => [...classes, ...this.former[first + at]]);
    return [...new Set(all)];
  }

  payload(one) {
    const out = Buffer.alloc(8);
    out.writeUInt32BE(this.set);
    out.writeUInt32BE(one, 4);
    return out;
  }
}
