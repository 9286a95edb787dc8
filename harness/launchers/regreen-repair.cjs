// Judges many small edits of JavaScript files by their tests, in warm processes; for the embedded repair engine. The
// protocol is that of regreen_repair.py. It knows CommonJS tests of node's own runner and of mocha: tests are collected
// by a small runner of its own, anew for each candidate, in processes that stay. Where it cannot load the tests it says
// nothing, and the engine tries candidates one by one. What passes here is judged again by the ordinary run.
//
//     node regreen-repair.cjs node-test|mocha --plan FILE --out FILE --tree FOLDER
'use strict';

const childProcess = require('node:child_process');
const fs = require('node:fs');
const Module = require('node:module');
const os = require('node:os');
const path = require('node:path');

const TRACED_SECONDS = 2;
const MOST_TRACED = 400;

// The runner of a worker.

let root;
let current;

function suite(name, parent) {
  return { name, parent, tests: [], suites: [], hooks: { before: [], after: [], beforeEach: [], afterEach: [] }, begun: false };
}

function parsed(words) {
  const name = typeof words[0] === 'string' ? words[0] : words.find((word) => typeof word === 'function')?.name || '<anonymous>';
  const options = words.find((word) => word && typeof word === 'object') || {};
  return { name, options, work: words.findLast((word) => typeof word === 'function') };
}

function describe(...words) {
  const { name, options, work } = parsed(words);
  const inner = suite(name, current);
  current.suites.push(inner);
  if (options.skip || options.todo || !work) return;
  const outer = current;
  current = inner;
  try {
    work({});
  } finally {
    current = outer;
  }
}

function it(...words) {
  const { name, options, work } = parsed(words);
  if (!options.skip && !options.todo && work) current.tests.push({ name, work, suite: current });
}

function hook(kind) {
  return (...words) => current.hooks[kind].push(words.find((word) => typeof word === 'function'));
}

const nothing = () => {};
const api = { describe, it, suite: describe, test: it, context: describe, specify: it };
for (const kind of ['before', 'after', 'beforeEach', 'afterEach']) api[kind] = hook(kind);
for (const call of [describe, it]) Object.assign(call, { skip: nothing, todo: nothing, only: call });
// node's module is a function with the others as its properties.
const nodeTest = Object.assign((...words) => it(...words), api, { mock: undefined, skip: nothing, todo: nothing, only: it });

async function call(work, withDone, self) {
  if (withDone && work.length > 0) {
    await new Promise((resolve, reject) => work.call(self, (error) => (error ? reject(error) : resolve())));
  } else {
    await work.call(self, context());
  }
}

function context() {
  const cleanups = [];
  return {
    name: '', signal: new AbortController().signal, cleanups,
    after: (work) => cleanups.push(work), diagnostic: nothing, skip: nothing, todo: nothing, plan: nothing,
    test: async (...words) => { await parsed(words).work(context()); },
  };
}

function chain(test) {
  const found = [];
  for (let at = test.suite; at; at = at.parent) found.unshift(at);
  return found;
}

async function runTest(test, mocha) {
  const suites = chain(test);
  const self = { timeout: nothing, slow: nothing, retries: nothing, test: {} };
  for (const each of suites) {
    if (!each.begun) {
      each.begun = true;
      for (const work of each.hooks.before) await call(work, mocha, self);
    }
  }
  for (const each of suites) for (const work of each.hooks.beforeEach) await call(work, mocha, self);
  let failed;
  try {
    await call(test.work, mocha, self);
  } catch (error) {
    failed = error || new Error('failed');
  }
  for (const each of suites.reverse()) for (const work of each.hooks.afterEach) await call(work, mocha, self);
  if (failed) throw failed;
}

// Loading.

const folder = fs.realpathSync(process.cwd());
let replaced = { file: '', text: '' };

function forget() {
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(folder + path.sep) && !file.includes(`${path.sep}node_modules${path.sep}`)) delete require.cache[file];
  }
}

function hookModules() {
  const load = Module._load;
  Module._load = function (request, ...rest) {
    return request === 'node:test' || request === 'test' ? nodeTest : load.call(this, request, ...rest);
  };
  const compile = Module.prototype._compile;
  Module.prototype._compile = function (content, file) {
    return compile.call(this, file === replaced.file ? replaced.text : content, file);
  };
}

function collect(files) {
  forget();
  const items = new Map();
  for (const file of files) {
    root = current = suite('', null);
    require(path.join(folder, file));
    const walk = (at, prefix) => {
      for (const test of at.tests) {
        const id = `${prefix} > ${test.name}`;
        if (!items.has(id)) items.set(id, test);
      }
      for (const inner of at.suites) walk(inner, `${prefix} > ${inner.name}`);
    };
    walk(root, file);
  }
  return items;
}

/// Tests of the files that look like tests, for a base whose own run did not end.
function listed() {
  const files = fs.readdirSync(folder, { recursive: true }).filter((file) => {
    const own = !file.split(path.sep).includes('node_modules');
    return own && /\.c?js$/.test(file) && /[.\-_](test|spec)\.c?js$|^test[.\-]|(^|[\\/])(test|tests|spec|__tests__)[\\/]/.test(file);
  });
  const ids = [];
  for (const file of files.sort()) {
    try {
      ids.push(...collect([file.split(path.sep).join('/')]).keys());
    } catch {
      // It is no test, or one that cannot be loaded here.
    }
  }
  return ids;
}

const fileOf = (id) => id.split(' > ')[0];

async function answer(request, mocha) {
  replaced = { file: request.file ? path.join(folder, request.file) : '', text: '' };
  if (request.file) {
    let text = fs.readFileSync(replaced.file);
    let done = 0;
    const parts = [];
    for (const [start, end, added] of request.edits) {
      parts.push(text.subarray(done, start), Buffer.from(added));
      done = end;
    }
    replaced.text = Buffer.concat([...parts, text.subarray(done)]).toString();
  }
  let items;
  try {
    items = collect([...new Set(request.tests.map(fileOf))]);
  } catch (error) {
    return { how: error instanceof SyntaxError ? 'broken' : 'failed', passed: 0, results: '', told: String(error) };
  }
  let [results, passed, missing] = ['', 0, 0];
  for (const [number, id] of request.tests.entries()) {
    const test = items.get(id);
    let good = Boolean(test);
    missing += !test;
    if (test) {
      try {
        await runTest(test, mocha);
      } catch {
        good = false;
      }
    }
    passed += good;
    results += good ? 'p' : 'f';
    if (!good && !request.all && (number >= 2 || passed === number)) break;
  }
  return { how: results.includes('f') ? 'failed' : 'passed', passed, results, missing };
}

async function traced(id, mocha) {
  const inspector = require('node:inspector');
  const session = new inspector.Session();
  session.connect();
  const post = (method, words) => new Promise((resolve, reject) => session.post(method, words, (error, result) => (error ? reject(error) : resolve(result))));
  await post('Profiler.enable');
  await post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const began = process.cpuUsage();
  const told = await answer({ tests: [id], all: true }, mocha);
  const used = process.cpuUsage(began);
  const { result } = await post('Profiler.takePreciseCoverage');
  await post('Profiler.stopPreciseCoverage');
  session.disconnect();
  const lines = {};
  for (const script of result) {
    const file = script.url.replace('file://', '');
    const own = file.startsWith(folder + path.sep) && !file.includes('/node_modules/');
    if (own) lines[file.slice(folder.length + 1)] = covered(fs.readFileSync(file, 'utf8'), script.functions);
  }
  return { id, passed: told.results === 'p', lines, seconds: (used.user + used.system) / 1e6 };
}

/// Lines that ran: the innermost range around a line's first character decides. What only the module itself ran, and no
/// function, says nothing about a test.
function covered(text, functions) {
  const ranges = functions.filter((each) => !(each.functionName === '' && each.ranges[0].startOffset === 0)).flatMap((each) => each.ranges);
  const found = [];
  let offset = 0;
  for (const [number, line] of text.split('\n').entries()) {
    const at = offset + (line.length - line.trimStart().length);
    offset += line.length + 1;
    let best = null;
    for (const range of ranges) {
      const inside = range.startOffset <= at && at < range.endOffset;
      if (inside && (!best || range.endOffset - range.startOffset <= best.endOffset - best.startOffset)) best = range;
    }
    if (line.trim() && best && best.count > 0) found.push(number + 1);
  }
  return found;
}

function worker(kind) {
  const mocha = kind === 'mocha';
  require('./regreen-assert.cjs');
  hookModules();
  if (mocha) Object.assign(globalThis, api);
  for (const name of ['log', 'info', 'debug', 'warn', 'error']) console[name] = nothing;
  process.on('uncaughtException', nothing);
  process.on('unhandledRejection', nothing);
  process.on('message', async (request) => {
    if (request.list) process.send({ ids: listed() });
    else process.send(request.trace ? await traced(request.trace, mocha) : await answer(request, mocha));
  });
}

// The judge.

class Worker {
  constructor(kind) {
    this.kind = kind;
    this.start();
  }

  start() {
    this.child = childProcess.fork(__filename, [this.kind, '--worker'], { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: ['--max-old-space-size=1024'] });
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
        if (told.how === 'timeout' || told.gone) {
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

  end() {
    this.child.kill('SIGKILL');
  }
}

async function judge(plan, kind, say) {
  const size = Math.max(1, Math.min(os.cpus().length, plan.workers || 2));
  const workers = Array.from({ length: size }, () => new Worker(kind));
  const began = Date.now();
  let [cpu, tried, plausible, first] = [0, 0, 0, null];
  const guards = await steady(workers[0], plan);
  const over = () =>
    cpu >= plan.cpu || (Date.now() - began) / 1000 >= plan.wall || plausible >= plan.enough || (first !== null && tried >= first + plan.after);
  let until = Infinity;
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
        if (told.how === 'passed' && guards.length > 0) {
          told = await at.ask({ file, edits, tests: guards }, limit * 4 + plan.guard_seconds);
          cpu += told.cpu;
          const broken = (told.results || '').indexOf('f');
          if (broken > 0) guards.unshift(...guards.splice(broken, 1));
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
  for (const each of workers) each.end();
}

/// The guards that pass here on the base too; none of anything where the tests cannot be loaded at all.
async function steady(at, plan) {
  const all = await at.ask({ tests: plan.targets, all: true }, 2 + plan.seconds);
  // A module of the new kind gets node's own runner, and its tests are not seen here. What does not end is a target.
  if (all.how !== 'timeout' && (all.told || !all.results || all.missing)) return null;
  if (plan.guards.length === 0) return [];
  const told = await at.ask({ tests: plan.guards, all: true }, 20);
  return plan.guards.filter((_, at) => (told.results || '')[at] === 'p');
}

async function trace(plan, kind, say) {
  const at = new Worker(kind);
  const began = Date.now();
  const tests = plan.tests.length > 0 ? plan.tests : ((await at.ask({ list: true }, 10)).ids || []);
  for (const id of tests.slice(0, MOST_TRACED)) {
    if ((Date.now() - began) / 1000 > plan.wall) break;
    const told = await at.ask({ trace: id }, TRACED_SECONDS);
    say({ id, passed: told.id ? told.passed : false, lines: told.lines || {}, seconds: told.seconds || 0 });
  }
  at.end();
}

function main() {
  const [kind, ...words] = process.argv.slice(2);
  if (words[0] === '--worker') return worker(kind);
  const named = Object.fromEntries(Array.from({ length: words.length / 2 }, (_, at) => [words[2 * at], words[2 * at + 1]]));
  const plan = JSON.parse(fs.readFileSync(named['--plan'], 'utf8'));
  const out = fs.openSync(named['--out'], 'a');
  const say = (record) => fs.writeSync(out, `${JSON.stringify(record)}\n`);
  (plan.mode === 'trace' ? trace(plan, kind, say) : judge(plan, kind, say)).then(() => process.exit(0));
}

main();
