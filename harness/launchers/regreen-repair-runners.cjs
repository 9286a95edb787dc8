// How the warm judge regreen-repair.cjs runs tests within its own process: node's and mocha's by a small runner, jest's by
// jest-circus with jest's own `expect`, mocks and timers, vitest's by @vitest/runner with vitest's own. Each kit has
// `begin` for a process, and `run(file, wanted)`, which gives what became of the wanted tests of a file by their ids.
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const modules = require('./regreen-repair-modules.cjs');

const { folder, fromHere, settings } = modules;

/// Milliseconds of a test that waits.
const WAITS = 2000;

const nothing = () => {};

// node's own runner and mocha.

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

async function collect(file) {
  const root = (current = suite('', null));
  const items = new Map();
  await modules.load(file);
  const walk = (at, prefix) => {
    for (const test of at.tests) {
      const id = `${prefix} > ${test.name}`;
      if (!items.has(id)) items.set(id, test);
    }
    for (const inner of at.suites) walk(inner, `${prefix} > ${inner.name}`);
  };
  walk(root, file);
  return items;
}

function plain(mocha) {
  return {
    begin() {
      for (const name of ['node:test', 'test']) settings.stands.set(name, nodeTest);
      if (!mocha) return;
      Object.assign(globalThis, api);
      settings.stands.set('mocha', api);
    },
    list: async (file) => [...(await collect(file)).keys()],
    async run(file, wanted, all) {
      const items = await collect(file);
      const results = new Map();
      let failed = 0;
      for (const id of wanted.filter((each) => items.has(each))) {
        try {
          await runTest(items.get(id), mocha);
          results.set(id, true);
        } catch {
          results.set(id, false);
          failed += 1;
          if (!all && failed >= 3) break;
        }
      }
      return results;
    },
  };
}

// jest.

function jest() {
  let [circus, object, timers, expect] = [];
  let mocks = new Map();

  function mockable(config) {
    const by = (name) => modules.installed(name, 'jest', '@jest/core', 'jest-config', 'jest-circus') ?? modules.installed(name, 'jest', '@jest/core', 'jest-runtime') ?? modules.installed(name);
    circus = by('jest-circus');
    expect = by('@jest/expect')?.jestExpect ?? by('expect');
    const mocker = new (by('jest-mock').ModuleMocker)(globalThis);
    timers = new (by('@jest/fake-timers').ModernFakeTimers)({ config, global: globalThis });
    object = { ...functions(mocker), ...functions(timers), isEnvironmentTornDown: () => false };
    const from = () => fromHere;
    const at = (name, parent) => modules.found(path.resolve(path.dirname(parent), name)) ?? from().resolve(name);
    object.forFile = (parent) => {
      const own = { ...object };
      const chained = (work) => (...words) => { work(...words); return own; };
      const automatic = (file) => mocker.generateFromMetadata(mocker.getMetadata(own.requireActual(file)));
      own.mock = own.doMock = own.setMock = chained((name, make) => {
        const file = at(name, parent);
        mocks.set(file, { make: typeof make === 'function' ? make : make === undefined ? () => automatic(file) : () => make });
        delete require.cache[file];
      });
      own.unmock = own.dontMock = own.deepUnmock = chained((name) => mocks.delete(at(name, parent)));
      own.requireActual = (name) => {
        const file = path.isAbsolute(name) ? name : at(name, parent);
        const mock = mocks.get(file);
        mocks.delete(file);
        try {
          return Module.createRequire(parent)(file);
        } finally {
          if (mock) mocks.set(file, mock);
        }
      };
      own.resetModules = chained(() => modules.forget());
      own.isolateModules = (work) => { modules.forget(); work(); };
      own.setTimeout = own.retryTimes = chained(nothing);
      own.useFakeTimers = chained((how) => timers.useFakeTimers(how));
      own.useRealTimers = chained(() => timers.useRealTimers());
      return own;
    };
  }

  /// What an object of jest's can do, whoever it is called by.
  function functions(instance) {
    const names = Object.getOwnPropertyNames(Object.getPrototypeOf(instance)).filter((name) => name !== 'constructor' && !name.startsWith('_'));
    return Object.fromEntries(names.filter((name) => typeof instance[name] === 'function').map((name) => [name, instance[name].bind(instance)]));
  }

  async function transformer(config) {
    const { createScriptTransformer } = modules.installed('@jest/transform', 'jest', '@jest/core') ?? {};
    if (!createScriptTransformer) return;
    const transform = await createScriptTransformer(config, new Map());
    const options = { instrument: false, supportsDynamicImport: false, supportsExportNamespaceFrom: false, supportsStaticESM: false, supportsTopLevelAwait: false };
    settings.transform = (file, text) => {
      // What node can read runs as it stands, and its lines are those of the file.
      if (!/\bjest\b/.test(text) && readable(file, text)) return { code: text };
      const { code, sourceMapPath } = transform.transformSource(file, text, options);
      return { code, map: sourceMapPath ? fs.readFileSync(sourceMapPath, 'utf8') : undefined };
    };
  }

  return {
    async prepare() {
      const text = fs.readFileSync(path.join(folder, 'package.json'), 'utf8');
      const named = /"[^"]*\bjest\b[^"]*(?:--config[= ]|-c )([^\s"]+)/.exec(text)?.[1];
      const { readConfigs } = modules.installed('jest-config', 'jest', '@jest/core');
      const { configs } = await readConfigs({ _: [], $0: 'jest', ...(named ? { config: named } : {}) }, [folder]);
      const [config] = configs;
      return configs.length === 1 && /jest-environment-node/.test(config.testEnvironment) ? { config } : undefined;
    },
    async begin({ config }) {
      mockable(config);
      await transformer(config);
      settings.aliases = config.moduleNameMapper.filter(([, to]) => typeof to === 'string').map(([from, to]) => [new RegExp(`.*${from}.*`), to]);
      const load = Module._load;
      Module._load = function (request, parent, ...rest) {
        const own = parent?.filename && modules.isOwn(parent.filename);
        if (own && request === '@jest/globals') return { ...globals(), jest: object.forFile(parent.filename) };
        if (mocks.size > 0 && own) {
          const mock = mocks.get(Module._resolveFilename(request, parent));
          if (mock) return (mock.made ??= { exports: mock.make() }).exports;
        }
        return load.call(this, request, parent, ...rest);
      };
      const globals = () => ({ ...circus.default, ...circus, expect });
      this.before = async (file) => {
        timers.useRealTimers();
        mocks = new Map();
        circus.resetState();
        Object.assign(circus.getState(), { parentProcess: process, testTimeout: WAITS });
        if (!this.handler) this.handler = (event) => checks(event, config);
        circus.addEventHandler?.(this.handler);
        const { describe, it, test } = circus;
        Object.assign(globalThis, pick(circus), { fdescribe: describe.only, fit: it.only, xdescribe: describe.skip, xit: it.skip, xtest: test.skip });
        Object.assign(globalThis, { expect, jest: object.forFile(file) });
        expect.setState({ testPath: file, snapshotState: undefined });
        for (const each of [...(config.setupFiles ?? []), ...(config.setupFilesAfterEnv ?? [])]) fromHere(each);
      };
    },
    async list(file) {
      await this.before(path.join(folder, file));
      await modules.load(file);
      return leaves(circus.getState().rootDescribeBlock).map((test) => idOf(file, test));
    },
    async run(file, wanted) {
      await this.before(path.join(folder, file));
      await modules.load(file);
      const ids = new Set(wanted);
      for (const test of leaves(circus.getState().rootDescribeBlock)) if (!ids.has(idOf(file, test))) test.mode = 'skip';
      const { testResults } = await circus.run();
      timers.useRealTimers();
      const results = new Map();
      for (const { testPath, status, errors } of testResults) {
        const id = [file, ...testPath.slice(1)].join(' > ');
        if (ids.has(id) && status === 'done') results.set(id, results.get(id) !== false && errors.length === 0);
      }
      return results;
    },
  };

  function checks(event, config) {
    if (event.name === 'test_start') {
      if (config.resetMocks) object.resetAllMocks();
      else if (config.clearMocks) object.clearAllMocks();
      if (config.restoreMocks) object.restoreAllMocks();
    }
    if (event.name === 'test_done') {
      for (const { error } of expect.extractExpectedAssertionsErrors?.() ?? []) event.test.errors.push(error);
    }
  }
}

function pick({ afterAll, afterEach, beforeAll, beforeEach, describe, it, test }) {
  return { afterAll, afterEach, beforeAll, beforeEach, describe, it, test };
}

function leaves(block) {
  return block.children.flatMap((child) => (child.type === 'describeBlock' ? leaves(child) : [child]));
}

function idOf(file, test) {
  const names = [];
  for (let at = test; at.parent; at = at.parent) names.unshift(at.name);
  return [file, ...names].join(' > ');
}

function readable(file, text) {
  if (!/\.c?js$/.test(file)) return false;
  try {
    new (require('node:vm').Script)(Module.wrap(text));
    return true;
  } catch {
    return false;
  }
}

// vitest.

function vitest() {
  const home = () => path.dirname(fromHere.resolve('vitest/package.json'));
  let [runner, expect, vi] = [];
  let collected;

  function ids(file, tasks, above = [file]) {
    return tasks.flatMap((task) => (task.tasks ? ids(file, task.tasks, [...above, task.name]) : [[[...above, task.name].join(' > '), task]]));
  }

  async function tests(file, wanted) {
    vi.useRealTimers();
    collected = (task) => {
      for (const [id, test] of ids(file, task.tasks)) if (wanted && !wanted.has(id)) test.mode = 'skip';
    };
    const [task] = await runner.startTests([path.join(folder, file)], runner.own);
    if (!task.tasks.length) throw new Error(task.result?.errors?.[0]?.message ?? 'no test');
    return ids(file, task.tasks);
  }

  return {
    async prepare() {
      const { createVitest } = await import(pathToFileURL(path.join(home(), 'dist', 'node.js')).href);
      const here = await createVitest('test', { watch: false, reporters: [{}], run: true });
      const projects = here.projects ?? [here];
      const { config, server } = { config: projects[0].config, server: projects[0].vite ?? projects[0].server ?? here.server };
      const alias = (server.config.resolve.alias ?? []).map(({ find, replacement }) => [find instanceof RegExp ? find.source : `^${literal(find)}(?=/|$)`, replacement]);
      const { root, globals, environment, setupFiles, sequence, retry, clearMocks, mockReset, restoreMocks } = config;
      await here.close().catch(nothing);
      if (projects.length > 1 || (environment ?? 'node') !== 'node' || fs.realpathSync(root) !== folder) return undefined;
      const own = alias.filter(([, to]) => typeof to === 'string' && !to.includes('vite/dist'));
      return { alias: own, globals, setupFiles: [setupFiles ?? []].flat(), hooks: sequence?.hooks, retry, clearMocks, mockReset, restoreMocks };
    },
    async begin({ alias, globals, setupFiles, hooks, clearMocks, mockReset, restoreMocks }) {
      settings.modules = true;
      settings.aliases = alias.map(([from, to]) => [new RegExp(from), to]);
      settings.meta = { env: { ...process.env, MODE: 'test', DEV: true, PROD: false, SSR: true, BASE_URL: '/' } };
      const config = {
        root: folder, name: '', setupFiles: [], allowOnly: true, passWithNoTests: true, maxConcurrency: 5, retry: 0,
        testTimeout: WAITS, hookTimeout: WAITS, includeTaskLocation: false, fakeTimers: {}, expect: {}, snapshotOptions: {}, diffOptions: {},
        sequence: { shuffle: false, concurrent: false, seed: 1, hooks: hooks ?? 'stack', setupFiles: 'list' }, chaiConfig: {}, tags: [], strictTags: false,
      };
      globalThis.__vitest_worker__ = { config, ctx: {}, environment: { name: 'node' }, metaEnv: process.env, providedContext: {}, durations: {}, onCancel: nothing, rpc: {} };
      const given = await import(pathToFileURL(path.join(home(), 'dist', 'index.js')).href);
      const at = Module.createRequire(path.join(home(), 'package.json')).resolve('@vitest/runner');
      const { startTests } = await import(pathToFileURL(at).href);
      ({ expect, vi } = given);
      settings.stands.set('vitest', given);
      if (globals) Object.assign(globalThis, given);
      const own = {
        config,
        importFile: async (file) => {
          for (const each of setupFiles) await modules.load(path.relative(folder, each));
          if (/\bvi\.(mock|hoisted|doMock)\(|import\.meta\.glob/.test(fs.readFileSync(file, 'utf8'))) throw new Error('only vitest itself can load it');
          return modules.load(path.relative(folder, file));
        },
        onCollected: ([task]) => collected(task),
        extendTaskContext: (context) => Object.assign(context, { expect }),
        onBeforeTryTask: (test) => {
          if (clearMocks) vi.clearAllMocks();
          if (mockReset) vi.resetAllMocks();
          if (restoreMocks) vi.restoreAllMocks();
          expect.setState({ assertionCalls: 0, isExpectingAssertions: false, expectedAssertionsNumber: null, expectedAssertionsNumberErrorGen: null, currentTestName: test.name });
        },
        onAfterTryTask: () => {
          const { assertionCalls, isExpectingAssertions, expectedAssertionsNumber: number } = expect.getState();
          if (typeof number === 'number' ? number !== assertionCalls : isExpectingAssertions && !assertionCalls) throw new Error('other assertions were expected');
        },
      };
      runner = { startTests, own };
    },
    list: async (file) => (await tests(file, new Set())).map(([id]) => id),
    async run(file, wanted) {
      const results = new Map();
      for (const [id, task] of await tests(file, new Set(wanted))) {
        const state = task.result?.state;
        if (wanted.includes(id) && (state === 'pass' || state === 'fail')) results.set(id, results.get(id) !== false && state === 'pass');
      }
      vi.useRealTimers();
      return results;
    },
  };
}

const literal = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

module.exports = { 'node-test': () => plain(false), mocha: () => plain(true), jest, vitest };
