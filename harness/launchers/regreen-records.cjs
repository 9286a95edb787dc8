// What regreen's JavaScript launchers and reporters share: the record file, and errors as bounded text.
// The record format is described in README.md beside this file.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const util = require('node:util');

const MESSAGE_BYTES = 8192;
const VALUE_CHARS = 1024;
const MOST_FRAMES = 30;

/** Opens the record file. Every line is on disk when `write` returns, so that an abort loses no more. */
function open(file) {
  const descriptor = fs.openSync(file, 'a');
  return { write: (record) => fs.writeSync(descriptor, `${JSON.stringify(record)}\n`) };
}

/** A record of one test. */
function record(id, outcome, { message, file, line, frames, seconds } = {}) {
  return {
    id,
    outcome,
    ...(message ? { message: clip(plain(message)) } : {}),
    ...(file ? { file, line: line ?? 0 } : {}),
    ...(frames?.length ? { frames } : {}),
    seconds: seconds ?? 0,
  };
}

/** Head and tail of a text; the bound counts bytes. */
function clip(text, limit = MESSAGE_BYTES) {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  const half = limit / 2;
  const [head, tail] = [bytes.subarray(0, half), bytes.subarray(bytes.length - half)];
  return `${head}\n[… ${bytes.length - limit} bytes left out …]\n${tail}`;
}

/** Text without colours. */
function plain(text) {
  return util.stripVTControlCharacters(String(text));
}

/** What went wrong: name, message, values where the message lacks them, and own frames. */
function messageOf(error) {
  if (error === null || typeof error !== 'object') return `thrown: ${util.inspect(error)}`;
  const lines = (typeof error.stack === 'string' ? error.stack : '').split('\n');
  const foreign = (line) => /^\s+at /.test(line) && !isOwn(line);
  const stack = lines.filter((line) => !foreign(line)).join('\n');
  // Some libraries fill `message` after the stack was taken.
  const said = String(error.message ?? '');
  const text = stack.includes(said) ? stack : `${error.name ?? 'Error'}: ${said}\n${stack}`;
  return [text.trim(), ...values(error, said)].join('\n');
}

function values(error, said) {
  if (!('expected' in error) || /actual|Expected/.test(said)) return [];
  const shown = (value) => clip(util.inspect(value, { depth: 4, breakLength: 100 }), VALUE_CHARS);
  return [`actual: ${shown(error.actual)}`, `expected: ${shown(error.expected)}`];
}

function isOwn(line) {
  return !/node:|node_modules|<anonymous>\)?$|\bnative\b/.test(line) && !line.includes(__dirname);
}

/** Places in a stack, innermost first: frames, and the head line of a syntax error. Paths as they stand. */
function framesOf(stack) {
  const found = [];
  for (const line of plain(stack ?? '').split('\n')) {
    const at = /^\s+at (?:async )?(?:.*? \()?(.+?):(\d+):\d+\)?$/.exec(line);
    const head = /^((?:file:\/\/)?\/.*?):(\d+)$/.exec(line);
    const place = at ?? head;
    if (place && isOwn(line)) found.push({ file: unescaped(place[1]), line: Number(place[2]) });
  }
  return found.slice(0, MOST_FRAMES);
}

function unescaped(file) {
  try {
    return file.startsWith('file://') ? require('node:url').fileURLToPath(file) : file;
  } catch {
    return file;
  }
}

/** A test file's name in ids: relative to the suite's folder, with forward slashes. */
function nameOf(file) {
  return path.relative(process.cwd(), unescaped(file)).split(path.sep).join('/');
}

module.exports = { open, record, messageOf, framesOf, nameOf, plain };
