// Sets a JavaScript or TypeScript package up, builds it, and runs its tests.
//
//     node regreen-js.mjs setup --tree FOLDER
//     node regreen-js.mjs build --tree FOLDER
//     node regreen-js.mjs test RUNNER --tree FOLDER --results FOLDER -- [IDS]
//
// RUNNER is node-test, node-script, jest, vitest or mocha. It runs as package.json says, with the options given
// there, but by itself: not through the package manager, without reporters, coverage and watchers, and without
// what the script does around it. What a script does before its tests, if it makes something, is the build.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:os';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { commands, find, NODES_REPORTS, NODES_VALUED, split, without } from './regreen-scripts.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const cut = process.argv.indexOf('--');
const words = process.argv.slice(2, cut < 0 ? undefined : cut);
const ids = cut < 0 ? [] : process.argv.slice(cut + 1);
const tree = fs.realpathSync(option('--tree') ?? process.cwd());

function option(name) {
  const at = words.indexOf(name);
  return at < 0 ? undefined : words[at + 1];
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function manifest(folder) {
  const text = read(path.join(folder, 'package.json'));
  try {
    const data = JSON.parse(text ?? '{}');
    return data !== null && typeof data === 'object' ? data : {};
  } catch (error) {
    console.error(`${path.join(folder, 'package.json')}: ${error.message}`);
    process.exit(1);
  }
}

/** The scripts that are texts. */
function scriptsOf(data) {
  return Object.fromEntries(Object.entries(data.scripts ?? {}).filter(([, text]) => typeof text === 'string'));
}

/** The suite's folder and those above it, up to the repository's. */
function folders() {
  const found = [fs.realpathSync(process.cwd())];
  while (found.at(-1) !== tree && found.at(-1) !== path.dirname(found.at(-1))) found.push(path.dirname(found.at(-1)));
  return found.at(-1) === tree ? found : found.slice(0, 1);
}

function environment(more = {}) {
  const bins = folders().map((folder) => path.join(folder, 'node_modules', '.bin'));
  return { ...process.env, PATH: [...bins, process.env.PATH].join(path.delimiter), ...more };
}

/** Runs a program to its end and gives its exit status; a signal counts as a shell would count it. */
function run(program, args, env = environment(), cwd = process.cwd()) {
  return new Promise((resolve) => {
    // Only an attested run has something on its stdin.
    const stdin = words.includes('--attested') ? 'inherit' : 'ignore';
    const child = spawn(program, args, { stdio: [stdin, 'inherit', 'inherit'], env, cwd });
    child.on('error', (error) => {
      const remedy = error.code === 'ENOENT' ? `${program} is not installed: npm install -g ${program}` : error.message;
      console.error(remedy);
      resolve(127);
    });
    child.on('close', (code, signal) => resolve(code ?? 128 + (constants.signals[signal] ?? 0)));
  });
}

// Set-up

const LOCKS = {
  'pnpm-lock.yaml': ['pnpm', 'install', '--frozen-lockfile', '--prefer-offline'],
  'package-lock.json': ['npm', 'ci', '--prefer-offline', '--no-audit', '--no-fund'],
  'npm-shrinkwrap.json': ['npm', 'ci', '--prefer-offline', '--no-audit', '--no-fund'],
  'yarn.lock': ['yarn', 'install', '--immutable'],
};
const NO_LOCK = ['npm', 'install', '--no-package-lock', '--prefer-offline', '--no-audit', '--no-fund'];

async function setup() {
  const { folder, lock } = locked();
  const data = manifest(folder);
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'];
  const needs = kinds.some((kind) => Object.keys(data[kind] ?? {}).length) || data.workspaces || lock === 'pnpm-lock.yaml';
  if (!needs) return 0;
  // The members of a workspace share one installation.
  const stamp = path.join(folder, 'node_modules', '.regreen-setup');
  const now = createHash('sha256').update(`${read(path.join(folder, 'package.json'))}${lock && read(path.join(folder, lock))}`);
  const digest = now.digest('hex');
  if (read(stamp) === digest) return 0;
  const argv = await command(folder, lock);
  console.log(`+ ${argv.join(' ')}`);
  const env = environment({
    // Nobody answers questions here.
    CI: 'true',
    // The version that package.json asks for would have to be downloaded first.
    npm_config_manage_package_manager_versions: 'false',
    COREPACK_ENABLE_STRICT: '0',
    // Runners are found in node_modules/.bin.
    YARN_NODE_LINKER: 'node-modules',
    YARN_ENABLE_TELEMETRY: '0',
  });
  const status = await install(argv, env, folder);
  if (status === 0 && fs.existsSync(path.dirname(stamp))) {
    fs.writeFileSync(stamp, digest);
    const ignore = path.join(folder, 'node_modules', '.gitignore');
    // Installed files are nobody's patch, even where the repository forgot to ignore them.
    if (!fs.existsSync(ignore)) fs.writeFileSync(ignore, '*\n');
  }
  return status;
}

/** npm cannot work on a cache that it may only read: it is asked for what is there, then a new one is filled. */
async function install(argv, env, folder) {
  const home = process.env.HOME ?? '';
  if (argv[0] !== 'npm' || canWrite(path.join(home, '.npm'))) return run(argv[0], argv.slice(1), env, folder);
  const own = path.join(home, '.npm-own');
  const quiet = { ...env, npm_config_logs_dir: path.join(own, '_logs'), npm_config_update_notifier: 'false' };
  const offline = [...argv.slice(1).filter((word) => word !== '--prefer-offline'), '--offline', '--loglevel=silent'];
  if ((await run('npm', offline, quiet, folder)) === 0) return 0;
  return run('npm', argv.slice(1), { ...quiet, npm_config_cache: own }, folder);
}

function canWrite(folder) {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return true;
  } catch (error) {
    return error.code === 'ENOENT';
  }
}

/** The folder whose lock file holds for this package. */
function locked() {
  for (const folder of folders()) {
    const lock = Object.keys(LOCKS).find((name) => fs.existsSync(path.join(folder, name)));
    if (lock) return { folder, lock };
  }
  return { folder: process.cwd(), lock: undefined };
}

async function command(folder, lock) {
  if (lock === undefined) return NO_LOCK;
  // Yarn of today would rewrite a lock file of Yarn 1; npm reads it, and leaves it alone.
  const classic = lock === 'yarn.lock' && /^# yarn lockfile v1/m.test(read(path.join(folder, lock)) ?? '');
  return classic ? NO_LOCK : LOCKS[lock];
}

// Build

/** Commands that make something that tests may need; linting and formatting are no reason to be red. */
const MAKES = /\b(tsc|tsup|tsdown|babel|rollup|esbuild|swc|webpack|vite build|vue-tsc|unbuild|ncc|microbundle)\b/;
const MAKES_BY_NAME = /build|compile|generate|codegen|prepare|bundle|typecheck|type-check/;

async function build() {
  for (const step of steps()) {
    console.log(`+ ${step}`);
    const status = await run('sh', ['-c', step]);
    if (status !== 0) return status;
  }
  return 0;
}

/** What comes before the tests in the test script; else the build or type check of a TypeScript package. */
function steps() {
  const scripts = scriptsOf(manifest(process.cwd()));
  const runner = words[1] ?? 'node-test';
  const before = find(scripts, runner).before.filter(
    ({ words: parts, via }) => MAKES.test(text(parts)) || MAKES_BY_NAME.test(via ?? ''),
  );
  if (before.length) return [...new Set(before.map(({ words: parts }) => text(parts)))];
  if (!fs.existsSync('tsconfig.json')) return [];
  if (/\btsc\b/.test(scripts.build ?? '')) return commands(scripts.build).map(text);
  // Only where the package itself has its types checked: elsewhere nobody keeps them right.
  const checks = Object.values(scripts).some((script) => /\btsc\b/.test(script));
  return checks ? ['tsc --noEmit --pretty false'] : [];
}

function text(parts) {
  return parts.map((word) => word.raw).join(' ');
}

// Tests

const COMMON = { '--watch': false, '-w': false, '--coverage': false, '--bail': false, '-b': false };
const DROPPED = {
  'node-test': {
    ...COMMON,
    ...NODES_REPORTS,
  },
  jest: {
    ...COMMON,
    '--watchAll': false,
    '--reporters': true,
    '--json': false,
    '--outputFile': true,
    '--onlyChanged': false,
    '-o': false,
    '--changedSince': true,
    '--collectCoverage': false,
    '--coverageReporters': true,
    '--ci': false,
  },
  vitest: {
    ...COMMON,
    '--ui': false,
    '--reporter': true,
    '--outputFile': true,
    '--run': false,
    '--changed': false,
    '--coverage.enabled': false,
    ...(words.includes('--attested') ? { '--pool': true } : {}),
  },
  mocha: {
    ...COMMON,
    '--reporter': true,
    '-R': true,
    '--reporter-option': true,
    '--reporter-options': true,
    '-O': true,
    '--parallel': false,
    '-p': false,
  },
  'node-script': {},
};
const VALUED = {
  'node-test': new Set([
    ...NODES_VALUED,
    ...['--test-name-pattern', '--test-skip-pattern', '--test-concurrency', '--test-timeout', '--test-shard'],
  ]),
  jest: new Set(['--config', '-c', '--testPathPattern', '--env', '--maxWorkers', '-w', '--rootDir', '--projects']),
  vitest: new Set(['--config', '-c', '--root', '-r', '--dir', '--project', '--environment', '--pool', '--mode']),
};

async function test() {
  const runner = words[1];
  const results = option('--results');
  const said = find(scriptsOf(manifest(process.cwd())), runner);
  let own = without(said.words, DROPPED[runner]);
  if (runner === 'vitest') own = own.filter(({ text: word }, at) => at || !/^(run|watch|dev)$/.test(word));
  const { program, before, after } = { ...PLANS[runner](results, own) };
  const kept = before.own ?? own;
  // A shell expands the script's own patterns and variables; what we add is passed by beside it.
  const options = said.nodeOptions.map((word) => word.raw);
  const bin = runner in RUN_BY_NODE || !options.length ? undefined : binary(program);
  // Not every option of node's may stand in NODE_OPTIONS.
  const start = bin ? ['node', ...options, quoted(bin)] : [program];
  const parts = [...said.assignments.map((word) => word.raw), ...start, '"$@"', ...kept.map((word) => word.raw)];
  const line = after.length ? `${parts.join(' ')} ${after.map(quoted).join(' ')}` : parts.join(' ');
  const attest = words.includes('--attested') ? `--import=${new URL('regreen-attest.mjs', import.meta.url)}` : undefined;
  const nodeOptions = [process.env.NODE_OPTIONS, attest, ...(bin ? [] : said.nodeOptions.map((word) => word.text))];
  const extra = runner in RUN_BY_NODE ? {} : { NODE_OPTIONS: nodeOptions.filter(Boolean).join(' ') };
  return run('sh', ['-c', line, 'sh', ...before.added], environment(extra));
}

const RUN_BY_NODE = { 'node-test': true, 'node-script': true };
const preload = path.join(here, 'regreen-assert.cjs');

/** Files of the chosen tests that are there. */
function chosenFiles() {
  const files = new Set(ids.map((id) => id.split(' > ', 1)[0]));
  return [...files].filter((file) => fs.existsSync(file));
}

/** Each runner's program, the arguments before the script's own, and those after. */
const PLANS = {
  'node-test'(results, own) {
    const records = path.join(results, 'records.jsonl');
    const reporter = path.join(here, 'regreen-node-reporter.mjs');
    const added = ['--require', preload, `--test-reporter=${reporter}`, `--test-reporter-destination=${records}`];
    if (!own.some((word) => word.text === '--test')) added.push('--test');
    const { options } = split(own, VALUED['node-test']);
    return ids.length
      ? { program: 'node', before: { added, own: options }, after: chosenFiles() }
      : { program: 'node', before: { added }, after: [] };
  },
  'node-script'() {
    return { program: 'node', before: { added: ['--require', preload] }, after: [] };
  },
  jest(results, own) {
    const report = path.join(results, 'report.json');
    const added = ['--ci', '--testLocationInResults'];
    if (words.includes('--attested')) added.push('--runInBand', `--reporters=${path.join(here, 'regreen-attest-jest.cjs')}`);
    else added.push('--json', `--outputFile=${report}`);
    const chosen = split(own, VALUED.jest).rest.length ? [] : chosenFiles();
    return { program: 'jest', before: { added }, after: chosen.length ? ['--runTestsByPath', ...chosen] : [] };
  },
  vitest(results, own) {
    const report = path.join(results, 'report.json');
    const attested = words.includes('--attested');
    const reporter = attested
      ? [`--reporter=${path.join(here, 'regreen-attest-vitest.mjs')}`, '--pool=forks']
      : ['--reporter=json', `--outputFile=${report}`];
    // On a build server an `.only` would fail its file; here it disables the others.
    const added = ['run', ...reporter, '--allowOnly', '--bail=0'];
    if (major('vitest') >= 2) added.push('--includeTaskLocation');
    return { program: 'vitest', before: { added }, after: split(own, VALUED.vitest).rest.length ? [] : chosenFiles() };
  },
  mocha(results, own) {
    const records = path.join(results, 'records.jsonl');
    const kind = words.includes('--attested') ? 'regreen-attest-mocha.cjs' : 'regreen-mocha-reporter.cjs';
    const reporter = path.join(here, kind);
    const added = ['--reporter', reporter, '--reporter-option', `records=${records}`, '--no-parallel', '--no-bail'];
    added.push('--require', preload, '--require', reporter);
    const picky = own.some((word) => /^(-g|-f|--grep|--fgrep|-i|--invert)\b/.test(word.text));
    const titles = ids.map((id) => id.split(' > ').slice(1).join(' '));
    const all = picky || !titles.length || titles.includes('');
    return { program: 'mocha', before: { added }, after: all ? [] : ['--grep', `^(?:${titles.map(literal).join('|')})$`] };
  },
};

/** Where an installed program is. */
function binary(name) {
  const found = folders().map((folder) => path.join(folder, 'node_modules', '.bin', name));
  const place = found.find((file) => fs.existsSync(file));
  return place === undefined ? undefined : fs.realpathSync(place);
}

/** The major version of an installed package. */
function major(name) {
  const found = folders().map((folder) => path.join(folder, 'node_modules', name));
  return Number.parseInt(manifest(found.find((folder) => fs.existsSync(folder)) ?? '.').version ?? '0', 10);
}

function literal(title) {
  return title.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

const phases = { setup, build, test };
const phase = phases[words[0]];
if (!phase || (words[0] === 'test' && !(words[1] in PLANS))) {
  console.error('usage: regreen-js.mjs setup|build|test [RUNNER] --tree FOLDER [--results FOLDER] [-- IDS]');
  process.exit(2);
}
process.exitCode = await phase();
