// Loaded with `--import` before everything else of a process that runs tests: takes the secret from stdin, opens
// the channel, freezes what tests are written with, and sees how the process ends.
//
// The assignment on stdin is JSON: `runner`, `key`, `records` (a path), `beacon` (the name of the global function that
// beacons call), `tests` (the beacons by test) and `patterns` (those of tests whose names are made while they run),
// `empty` (whether the file holds no test), `freeze`.

import assert from 'node:assert';
import fs from 'node:fs';
import test from 'node:test';
import { isMainThread } from 'node:worker_threads';
import { forgetImport, plant, sender } from './regreen-attest-channel.mjs';

const OWN = /--import[= ]\S*regreen-attest\.mjs/;
const REPORTERS = {
  'node-test': './regreen-attest-node.mjs',
  mocha: './regreen-attest-mocha.cjs',
  jest: './regreen-attest-jest.cjs',
  vitest: './regreen-attest-vitest.mjs',
};

/** A process that was forked off, or a worker, has no assignment. */
function assigned() {
  if (!isMainThread) return undefined;
  // Whoever starts a process from here starts a plain one.
  forgetImport('regreen-attest.mjs');
  const options = (process.env.NODE_OPTIONS ?? '').replace(OWN, '').trim();
  if (options) process.env.NODE_OPTIONS = options;
  else delete process.env.NODE_OPTIONS;
  try {
    const text = fs.readFileSync(0, 'utf8');
    fs.closeSync(0);
    fs.openSync('/dev/null', 'r');
    return text ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}

/** What must be the same at the end as it was before the code under test was loaded. */
function originals() {
  const kept = [];
  for (const [name, object] of Object.entries({ assert, 'assert.strict': assert.strict, test })) {
    for (const key of Object.keys(object)) kept.push([`${name}.${key}`, object, key, object[key]]);
  }
  return () => kept.filter(([, object, key, value]) => object[key] !== value).map(([name]) => name);
}

/** What is to be seen of a test that passed: its beacon, one of several, or why there is none. */
function witness({ tests, patterns }) {
  const known = patterns.map(([text, token]) => [new RegExp(text, 's'), token]);
  return (id) => {
    if (Object.hasOwn(tests, id)) return { token: tests[id] };
    const tokens = known.filter(([pattern]) => pattern.test(id)).map(([, token]) => token);
    return tokens.length ? { tokens } : { why: 'its body is made while it runs' };
  };
}

async function begin(assignment) {
  const send = sender(Buffer.from(assignment.key, 'hex'), assignment.records);
  const patched = originals();
  // Runners set their status in a listener of their own, after ours: they say it before.
  const state = { ended: false, begun: false, status: 0 };
  if (assignment.runner !== 'vitest') plant(assignment.beacon, send);
  if (assignment.freeze) {
    for (const object of [assert, assert.strict, assert.AssertionError, test, test.test, test.it, test.describe]) {
      if (object) Object.freeze(object);
    }
  }
  send('begin', {});
  const channel = { send, seen: witness(assignment), state };
  const reporter = await import(REPORTERS[assignment.runner]);
  (reporter.attach ?? reporter.default.attach)(channel, assignment);
  process.on('exit', (said) => {
    const code = said || state.status;
    for (const name of patched()) send('contradiction', { what: `the runner was patched: ${name}` });
    if (assignment.empty && !state.begun && code === 0) {
      send('test', { id: assignment.file, outcome: 'passed', raw: true, why: 'the file holds no test', seconds: 0 });
      state.ended = true;
    }
    if (state.ended) send('finish', { status: code });
    send('end', { status: code });
  });
}

const assignment = assigned();
if (assignment) await begin(assignment);
