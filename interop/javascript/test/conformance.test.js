// The package passes the project's vectors.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { answer } from './answers.js';

const FILE = new URL('../../../tests/vectors/conformance-1.json', import.meta.url);

test('every vector', async () => {
  for (const vector of JSON.parse(readFileSync(FILE, 'utf8')).vectors) {
    const expected = Object.hasOwn(vector, 'gives') ? { gives: vector.gives } : { fails: vector.fails };
    assert.deepEqual(await answer(vector), expected, vector.name);
  }
});
