// What writes the records of attested runs, and what test bodies call at their end. Everything that these use is bound
// when this is loaded, before the code under test.

import { createHmac, Hmac } from 'node:crypto';
import fs from 'node:fs';

const { update, digest } = Hmac.prototype;
const { apply } = Reflect;
const { stringify } = JSON;
const { writeSync, openSync } = fs;
const hmac = createHmac;

/** The code of a record: HMAC-SHA-256 over number, kind and data, one a line. */
export function codeOf(key, number, kind, data) {
  return apply(digest, apply(update, hmac('sha256', key), [`${number}\n${kind}\n${data}`]), ['hex']);
}

/** A function that writes one record to a file, or to a descriptor that is open; the key is nowhere else. */
export function sender(key, file) {
  let descriptor = typeof file === 'number' ? file : openSync(file, 'a', 0o600);
  let number = 0;
  return (kind, data) => {
    const text = stringify(data);
    const line = `${codeOf(key, number, kind, text)} ${number} ${kind} ${text}\n`;
    number += 1;
    try {
      writeSync(descriptor, line);
    } catch (error) {
      if (typeof file === 'number') throw error;
      descriptor = openSync(file, 'a', 0o600);
      writeSync(descriptor, line);
    }
  };
}

/** Defines what the beacons in test files call. */
export function plant(name, send) {
  const beacon = (token, value) => {
    send('body', { token: String(token) });
    return value;
  };
  // On `process`, which jest hands into its contexts too.
  Object.defineProperty(process, name, { value: beacon });
}

/** Takes the option that loaded one of our modules from what children inherit. */
export function forgetImport(name) {
  const at = process.execArgv.findIndex((word) => word.includes(name));
  if (at < 0) return;
  const own = process.execArgv[at].startsWith('--import=');
  process.execArgv.splice(own ? at : at - 1, own ? 1 : 2);
}
