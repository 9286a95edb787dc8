// Loaded with `--import` before everything else of a process that runs tests: takes the secret from stdin, opens
// the channel, freezes what tests are written with, and sees how the process ends.
//
// The assignment on stdin is JSON: `runner`, `key`, `records` (a path), `beacon` (the name of the global function that
// beacons call), `tests` (the beacons by test), `empty` (whether the file holds no test), `freeze`.

import assert from 'node:assert';
import { createHmac, Hmac } from 'node:crypto';
import fs from 'node:fs';
import test from 'node:test';
import { isMainThread } from 'node:worker_threads';

const OWN = /--import[= ]\S*regreen-attest\.mjs/;
const REPORTERS = {
  'node-test': './regreen-attest-node.mjs',
  mocha: './regreen-attest-mocha.cjs',
  jest: './regreen-attest-jest.cjs',
};

/** A process that was forked off, or a worker, has no assignment. */
function assigned() {
  if (!isMainThread) return undefined;
  // Whoever starts a process from here starts a plain one.
  const at = process.execArgv.findIndex((word) => word.includes('regreen-attest.mjs'));
  if (at >= 0) process.execArgv.splice(process.execArgv[at].startsWith('--import=') ? at : at - 1, OWN.test(process.execArgv[at]) ? 1 : 2);
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

/** A function that writes one record; the key is nowhere else. Everything it uses was bound before. */
function sender({ key, records }) {
  const bytes = Buffer.from(key, 'hex');
  const { update, digest } = Hmac.prototype;
  const { apply } = Reflect;
  const { stringify } = JSON;
  const { writeSync, openSync } = fs;
  const hmac = createHmac;
  let descriptor = openSync(records, 'a', 0o600);
  let number = 0;
  return (kind, data) => {
    const text = stringify(data);
    const code = apply(digest, apply(update, hmac('sha256', bytes), [`${number}\n${kind}\n${text}`]), ['hex']);
    const line = `${code} ${number} ${kind} ${text}\n`;
    number += 1;
    try {
      writeSync(descriptor, line);
    } catch {
      descriptor = openSync(records, 'a', 0o600);
      writeSync(descriptor, line);
    }
  };
}

/** What must be the same at the end as it was before the code under test was loaded. */
function originals() {
  const kept = [];
  for (const [name, object] of Object.entries({ assert, 'assert.strict': assert.strict, test })) {
    for (const key of Object.keys(object)) kept.push([`${name}.${key}`, object, key, object[key]]);
  }
  return () => kept.filter(([, object, key, value]) => object[key] !== value).map(([name]) => name);
}

async function begin(assignment) {
  const send = sender(assignment);
  const patched = originals();
  const reached = new Set();
  // Runners set their status in a listener of their own, after ours: they say it before.
  const state = { ended: false, begun: false, status: 0 };
  const beacon = (token, value) => {
    if (!reached.has(token)) {
      reached.add(token);
      send('body', { token: String(token) });
    }
    return value;
  };
  // On `process`, which jest hands into its contexts too.
  Object.defineProperty(process, assignment.beacon, { value: beacon });
  if (assignment.freeze) {
    for (const object of [assert, assert.strict, assert.AssertionError, test, test.test, test.it, test.describe]) {
      if (object) Object.freeze(object);
    }
  }
  send('begin', {});
  const channel = { send, tests: assignment.tests, state };
  const reporter = await import(REPORTERS[assignment.runner]);
  (reporter.attach ?? reporter.default.attach)(channel);
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
