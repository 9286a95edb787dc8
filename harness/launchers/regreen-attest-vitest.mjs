// Attested runs of vitest, whose tests run in workers: children of the process that this is loaded in. Each worker gets
// a key of its own through a pipe and writes its beacons to a file that is open already; here they are checked and put
// on the channel before the results are. Nothing of the product is loaded in this process, unless the configuration
// of the base does it.

import childProcess from 'node:child_process';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { codeOf } from './regreen-attest-channel.mjs';
import records from './regreen-records.cjs';

const CHANNEL = Symbol.for('regreen.channel');
const WORKER = `--import=${new URL('regreen-attest-worker.mjs', import.meta.url)}`;
// Where a worker finds them: after stdin, stdout, stderr and node's own channel.
const [BODIES, KEY] = [4, 5];

/** Called by the launcher, before vitest is loaded. */
export function attach(channel, { key, beacon }) {
  const workers = [];
  const { fork } = childProcess;
  childProcess.fork = (file, given, options) => {
    const [args, settings] = Array.isArray(given) ? [given, options ?? {}] : [[], given ?? {}];
    const stdio = Array.isArray(settings.stdio) ? settings.stdio : [...Array(3).fill(settings.stdio ?? 'pipe'), 'ipc'];
    if (stdio.length !== BODIES) return fork(file, args, settings);
    const own = createHmac('sha256', Buffer.from(key, 'hex')).update(`worker ${workers.length}`).digest();
    const bodies = unnamed();
    workers.push({ own, bodies });
    const execArgv = [...(settings.execArgv ?? process.execArgv), WORKER];
    const child = fork(file, args, { ...settings, stdio: [...stdio, bodies, 'pipe'], execArgv });
    child.stdio[KEY].on('error', () => {});
    child.stdio[KEY].end(JSON.stringify({ key: own.toString('hex'), beacon }));
    return child;
  };
  syncBuiltinESMExports();
  Object.defineProperty(process, CHANNEL, { value: { ...channel, workers }, configurable: true });
}

/** An open file that has no name any more. */
function unnamed() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bodies-'));
  const file = path.join(folder, 'bodies');
  const descriptor = fs.openSync(file, 'a+', 0o600);
  fs.rmSync(folder, { recursive: true });
  return descriptor;
}

/** Puts what the workers said on the channel. */
function gather({ send, workers }) {
  for (const { own, bodies } of workers) {
    const text = Buffer.alloc(fs.fstatSync(bodies).size);
    fs.readSync(bodies, text, 0, text.length, 0);
    for (const [number, line] of text.toString().split('\n').filter(Boolean).entries()) {
      const [, code, said, kind, data] = /^(\w+) (\d+) (\w+) (.*)$/.exec(line) ?? [];
      if (said !== String(number) || kind !== 'body' || code !== codeOf(own, number, kind, data)) {
        send('contradiction', { what: 'a record of a worker is forged, or one is missing before it' });
        break;
      }
      send('body', JSON.parse(data));
    }
  }
}

/** The reporter. Vitest loads it as a module of its own. */
export default class Attested {
  constructor() {
    this.channel = process[CHANNEL];
    this.done = false;
    this.channel.state.begun = true;
  }

  /** Up to vitest 3. */
  onFinished(files = [], errors = []) {
    this.finish(files, errors);
  }

  /** From vitest 3 on. */
  onTestRunEnd(modules, errors) {
    this.finish(modules.map((module) => module.task), errors);
  }

  finish(files, errors) {
    if (this.done) return;
    this.done = true;
    gather(this.channel);
    for (const file of files) this.file(file);
    const red = files.some((file) => file.result?.state === 'fail') || errors.length > 0;
    this.channel.state.ended = true;
    this.channel.state.status = red || !files.length ? 1 : 0;
  }

  file(file) {
    const name = records.nameOf(file.filepath);
    if (file.result?.state === 'fail' && (file.result.errors?.length || !file.tasks.length)) {
      const message = messagesOf(file) || 'no test ran';
      this.channel.send('test', records.record(name, 'failed', { message, file: file.filepath }));
    }
    this.tasks(file.tasks, [name], file.filepath);
  }

  tasks(tasks, above, path) {
    for (const task of tasks) {
      const names = [...above, task.name];
      if (task.tasks) this.tasks(task.tasks, names, path);
      else this.test(task, names.join(' > '), path);
    }
  }

  test(task, id, path) {
    const outcome = { pass: 'passed', fail: 'failed' }[task.result?.state] ?? 'skipped';
    const seconds = (task.result?.duration ?? 0) / 1000;
    const frames = (task.result?.errors ?? []).flatMap((error) => records.framesOf(error.stack));
    const record = records.record(id, outcome, { message: messagesOf(task), file: path, line: task.location?.line, frames, seconds });
    const seen = this.channel.seen(id);
    // Tests that the base expects to fail carry no beacon.
    const raw = outcome === 'passed' && !task.result.errors?.length && (seen.why !== undefined || !task.fails);
    this.channel.send('test', { ...record, raw, ...seen });
  }
}

function messagesOf({ result }) {
  return (result?.errors ?? []).map((error) => error.stack || error.message).join('\n');
}
