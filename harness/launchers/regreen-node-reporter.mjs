// A reporter for node's own test runner that writes records to its destination.

import path from 'node:path';
import records from './regreen-records.cjs';

const STDERR_CHARS = 16384;

/** The names of suites and tests that are open, outermost first, with their files. */
const open = [];
/** The head of what each test file wrote to stderr: a file that does not load says there why. */
const said = new Map();

export default async function* report(events) {
  for await (const { type, data } of events) {
    const record = read(type, data);
    if (record) yield `${JSON.stringify(record)}\n`;
  }
  yield `${JSON.stringify({ end: true, status: process.exitCode ?? 0 })}\n`;
}

/** The record of an event, if it makes one. */
export function read(type, data) {
  switch (type) {
    case 'test:start':
      open.length = data.nesting;
      open[data.nesting] = data;
      return undefined;
    case 'test:stderr':
      hear(data);
      return undefined;
    case 'test:diagnostic':
      // An error after the last test has ended.
      if (/^(Error|Warning):/.test(data.message)) hear(data);
      return undefined;
    case 'test:pass':
    case 'test:fail':
      return result(data, type === 'test:pass');
    default:
      return undefined;
  }
}

function hear({ file, message }) {
  said.set(file, ((said.get(file) ?? '') + message).slice(0, STDERR_CHARS));
}

function result(data, passed) {
  const chain = [...open.slice(0, data.nesting), data];
  const error = data.details?.error;
  const skipped = [data.skip, data.todo].some((mark) => mark !== undefined && mark !== false);
  const ownFault = error?.failureType !== 'subtestsFailed';
  // A suite is no test: it counts only where it fails by itself, in a hook or in its body.
  if (data.details?.type === 'suite' && (passed || skipped || !ownFault)) return undefined;
  const whole = isWholeFile(data);
  const id = whole
    ? records.nameOf(data.file ?? data.name)
    : [records.nameOf(chain[0].file ?? ''), ...chain.map((part) => part.name)].join(' > ');
  const outcome = skipped ? 'skipped' : passed ? 'passed' : 'failed';
  const failure = outcome === 'failed' ? failureOf(error, whole ? said.get(data.file) : undefined) : {};
  return records.record(id, outcome, {
    ...failure,
    file: data.file,
    line: whole ? 0 : data.line,
    seconds: (data.details?.duration_ms ?? 0) / 1000,
  });
}

/** The runner reports a file that holds no test, or that fails outside of its tests, as a test of its name. */
function isWholeFile(data) {
  return data.nesting === 0 && data.file !== undefined && path.resolve(data.name) === data.file;
}

function failureOf(error, stderr) {
  const cause = error?.cause ?? error;
  const stack = typeof cause === 'object' ? cause?.stack : undefined;
  if (stderr) return { message: `${stderr}\n${error?.message ?? ''}`, frames: records.framesOf(stderr) };
  const message = typeof cause === 'string' ? cause : records.messageOf(cause);
  return { message, frames: records.framesOf(stack) };
}
