// Judges many small edits of JavaScript files by their tests, in warm processes; for the embedded repair engine. The
// protocol is that of regreen_repair.py. Tests are loaded (regreen-repair-modules.cjs) and run (regreen-repair-runners.cjs)
// anew for each candidate, in processes that stay. Where it cannot load the tests it says nothing, and the engine tries
// candidates one by one. What passes here is judged again by the ordinary run.
//
//     node regreen-repair.cjs node-test|mocha|jest|vitest --plan FILE --out FILE --tree FOLDER
'use strict';

const childProcess = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { fileURLToPath } = require('node:url');
const modules = require('./regreen-repair-modules.cjs');
const runners = require('./regreen-repair-runners.cjs');

const TRACED_SECONDS = 2;
const MOST_TRACED = 400;
/// The part of the guards that must pass here as they do in an ordinary run.
const ALIKE = 0.75;
/// Bytes of memory after which a process is followed by a new one.
const ROOM = 7e8;
const OPTIONS = ['--max-old-space-size=1024', '--experimental-vm-modules', '--no-warnings'];

// A worker.

let kit;

/// Tests of the files that look like tests, for a base whose own run did not end.
async function listed() {
  const files = fs.readdirSync(modules.folder, { recursive: true }).filter((file) => {
    const own = !file.split(path.sep).includes('node_modules');
    return own && /\.[cm]?[jt]sx?$/.test(file) && /[.\-_](test|spec)\.[cm]?[jt]sx?$|^test[.\-]|(^|[\\/])(test|tests|spec|__tests__)[\\/]/.test(file);
  });
  const ids = [];
  for (const file of files.sort()) {
    modules.forget();
    try {
      ids.push(...(await kit.list(file.split(path.sep).join('/'))));
    } catch {
      // It is no test, or one that cannot be loaded here.
    }
  }
  return ids;
}

const fileOf = (id) => id.split(' > ')[0];

function edited({ file, edits }) {
  const text = fs.readFileSync(path.join(modules.folder, file));
  let done = 0;
  const parts = [];
  for (const [start, end, added] of edits) {
    parts.push(text.subarray(done, start), Buffer.from(added));
    done = end;
  }
  return Buffer.concat([...parts, text.subarray(done)]).toString();
}

/// What becomes of tests: `p`, `f`, and `-` for those that were not run any more.
async function answer(request) {
  modules.replace(request.file ? path.join(modules.folder, request.file) : '', request.file ? edited(request) : '');
  modules.forget();
  const known = new Map();
  let [missing, told] = [0, undefined];
  for (const file of new Set(request.tests.map(fileOf))) {
    const wanted = request.tests.filter((id) => fileOf(id) === file);
    try {
      const results = await kit.run(file, wanted, request.all);
      for (const [id, good] of results) known.set(id, good);
      missing += wanted.filter((id) => !results.has(id)).length;
      if (!request.all && [...results.values()].includes(false)) break;
    } catch (error) {
      if (!request.all) return { how: error instanceof SyntaxError ? 'broken' : 'failed', passed: 0, results: '' };
      told = String(error);
    }
  }
  const results = request.tests.map((id) => (known.has(id) ? (known.get(id) ? 'p' : 'f') : '-')).join('');
  const passed = results.split('p').length - 1;
  return { how: passed === request.tests.length ? 'passed' : 'failed', passed, results, missing, told };
}

async function traced(id) {
  const inspector = require('node:inspector');
  const session = new inspector.Session();
  session.connect();
  const post = (method, words) => new Promise((resolve, reject) => session.post(method, words, (error, result) => (error ? reject(error) : resolve(result))));
  await post('Profiler.enable');
  await post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const began = process.cpuUsage();
  const told = await answer({ tests: [id], all: true });
  const used = process.cpuUsage(began);
  const { result } = await post('Profiler.takePreciseCoverage');
  await post('Profiler.stopPreciseCoverage');
  session.disconnect();
  const lines = {};
  for (const script of result) {
    const file = script.url.startsWith('file://') ? fileURLToPath(script.url) : script.url;
    if (modules.isOwn(file)) lines[file.slice(modules.folder.length + 1)] = covered(modules.running(file), script.functions);
  }
  return { id, passed: told.results === 'p', lines, seconds: (used.user + used.system) / 1e6 };
}

/// Lines that ran: the innermost range around a line's first character decides. What only the module itself ran, and no
/// function, says nothing about a test.
function covered({ code, lineOf }, functions) {
  const ranges = functions.filter((each) => !(each.functionName === '' && each.ranges[0].startOffset === 0)).flatMap((each) => each.ranges);
  const found = new Set();
  let offset = 0;
  for (const [number, line] of code.split('\n').entries()) {
    const column = line.length - line.trimStart().length;
    const at = offset + column;
    offset += line.length + 1;
    let best = null;
    for (const range of ranges) {
      const inside = range.startOffset <= at && at < range.endOffset;
      if (inside && (!best || range.endOffset - range.startOffset <= best.endOffset - best.startOffset)) best = range;
    }
    if (line.trim() && best && best.count > 0) found.add(lineOf(number + 1, column));
  }
  return [...found].filter(Boolean);
}

async function worker(kind, prepared) {
  require('./regreen-assert.cjs');
  for (const name of ['log', 'info', 'debug', 'warn', 'error']) console[name] = () => {};
  process.on('uncaughtException', () => {});
  process.on('unhandledRejection', () => {});
  kit = runners[kind]();
  modules.install();
  const begun = Promise.resolve(kit.begin(prepared)).catch((error) => process.exit(error ? 3 : 4));
  process.on('message', async (request) => {
    await begun;
    if (request.list) process.send({ ids: await listed() });
    else if (request.trace) process.send(await traced(request.trace));
    else process.send({ ...(await answer(request)), full: process.memoryUsage.rss() > ROOM });
  });
}

// The judge.

class Worker {
  constructor(kind, prepared) {
    this.words = [kind, '--worker', JSON.stringify(prepared)];
    this.start();
  }

  start() {
    this.child = childProcess.fork(__filename, this.words, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: OPTIONS });
  }

  cpu() {
    try {
      const fields = fs.readFileSync(`/proc/${this.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    } catch {
      return 0;
    }
  }

  /// The answer to a request, within so many CPU seconds and four times that of wall time; else `timeout`.
  ask(request, limit) {
    const [began, before] = [Date.now(), this.cpu()];
    return new Promise((resolve) => {
      const end = (told) => {
        clearInterval(watch);
        this.child.removeAllListeners();
        resolve({ ...told, cpu: Math.max(0, this.cpu() - before) });
        if (told.how === 'timeout' || told.gone || told.full) {
          this.child.kill('SIGKILL');
          this.start();
        }
      };
      const watch = setInterval(() => {
        if (this.cpu() - before > limit || Date.now() - began > (limit * 4 + 2) * 1000) end({ how: 'timeout', passed: 0, results: '' });
      }, 20);
      this.child.once('message', end);
      this.child.once('exit', () => end({ how: 'failed', passed: 0, results: '', gone: true }));
      this.child.send(request, (error) => error && end({ how: 'failed', passed: 0, results: '', gone: true }));
    });
  }

  /// Ends the process and waits for it: who counts CPU time sees that of processes that were waited for.
  end() {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    child.kill('SIGKILL');
    return new Promise((resolve) => child.once('exit', resolve));
  }
}

async function judge(plan, kind, prepared, say) {
  const size = Math.max(1, Math.min(os.cpus().length, plan.workers || 2));
  const workers = Array.from({ length: size }, () => new Worker(kind, prepared));
  const began = Date.now();
  let [cpu, tried, plausible, first] = [0, 0, 0, null];
  const guards = await steady(workers[0], plan);
  const over = () =>
    cpu >= plan.cpu || (Date.now() - began) / 1000 >= plan.wall || plausible >= plan.enough || (first !== null && tried >= first + plan.after);
  let [until, broken] = [Infinity, []];
  const queues = plan.limits.map((_, level) => plan.candidates.filter((each) => each[3] === level));
  const fresh = queues[0].length > 0;
  for (const [level, limit] of plan.limits.entries()) {
    const [queue, before] = [queues[level], cpu];
    if (guards === null || (first !== null && level > 0)) break;
    const one = async (at) => {
      while (queue.length > 0 && cpu < until && !over()) {
        const [n, file, edits, begun] = queue.shift();
        let told = await at.ask({ file, edits, tests: plan.targets }, limit + 0.1 + plan.seconds);
        cpu += told.cpu;
        if (level === begun) tried += 1;
        const passed = told.passed;
        for (const tests of [broken, guards].filter((each) => each.length > 0)) {
          if (told.how !== 'passed') break;
          told = await at.ask({ file, edits, tests }, limit * 4 + plan.guard_seconds);
          cpu += told.cpu;
          const failed = tests === guards ? guards[(told.results || '').indexOf('f')] : undefined;
          // What broke once breaks again, so it is asked first, alone: in another order the others may do otherwise.
          if (failed !== undefined) {
            const alone = await at.ask({ tests: [failed] }, 5);
            cpu += alone.cpu;
            if (alone.how === 'passed') broken = [failed];
          }
        }
        if (told.how === 'timeout') queues[level + 1]?.push([n, file, edits, begun]);
        if (told.how === 'passed') {
          plausible += 1;
          first ??= tried;
        }
        say({ n, how: told.how, passed, level: level + 1, cpu: told.cpu, at: (Date.now() - began) / 1000 });
      }
    };
    await Promise.all(workers.map(one));
    if (over()) break;
    // Slow candidates get a part of what the quick ones took, and the rest when no quick ones are left.
    until = fresh ? cpu + Math.max(2, (cpu - before) / 2) : Infinity;
  }
  say({ end: true, tried, cpu });
  await Promise.all(workers.map((each) => each.end()));
}

/// The guards that pass here on the base too; none of anything where the tests cannot be loaded, or do otherwise here.
async function steady(at, plan) {
  const all = await at.ask({ tests: plan.targets, all: true }, 5 + plan.seconds);
  // What does not end is a target.
  if (all.how !== 'timeout' && (all.how === 'passed' || all.told || all.missing || !all.results)) return null;
  if (plan.guards.length === 0) return [];
  const { results = '' } = await at.ask({ tests: plan.guards, all: true }, 20);
  const kept = plan.guards.filter((_, at) => results[at] === 'p');
  return kept.length >= plan.guards.length * ALIKE ? kept : null;
}

async function trace(plan, kind, prepared, say) {
  const at = new Worker(kind, prepared);
  const began = Date.now();
  const tests = plan.tests.length > 0 ? plan.tests : ((await at.ask({ list: true }, 10)).ids || []);
  for (const id of tests.slice(0, MOST_TRACED)) {
    if ((Date.now() - began) / 1000 > plan.wall) break;
    const told = await at.ask({ trace: id }, TRACED_SECONDS);
    say({ id, passed: told.id ? told.passed : false, lines: told.lines || {}, seconds: told.seconds || 0 });
  }
  await at.end();
}

async function main() {
  const [kind, ...words] = process.argv.slice(2);
  if (words[0] === '--worker') return worker(kind, JSON.parse(words[1]));
  const named = Object.fromEntries(Array.from({ length: words.length / 2 }, (_, at) => [words[2 * at], words[2 * at + 1]]));
  const plan = JSON.parse(fs.readFileSync(named['--plan'], 'utf8'));
  const out = fs.openSync(named['--out'], 'a');
  const say = (record) => fs.writeSync(out, `${JSON.stringify(record)}\n`);
  const { prepare = () => ({}) } = runners[kind]();
  // Without an answer the engine tries candidates one by one.
  const prepared = await prepare();
  if (prepared) await (plan.mode === 'trace' ? trace : judge)(plan, kind, prepared, say);
  process.exit(0);
}

main();
