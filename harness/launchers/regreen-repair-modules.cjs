// Loads a repository's own modules anew as often as it is asked to, one of them in the text of a candidate: for
// regreen-repair.cjs. CommonJS by node's own loader with its cache emptied; ECMAScript modules as `vm` modules, which
// nobody keeps; TypeScript and what a runner transforms through whichever compiler the repository has installed. What is
// installed is loaded once, by node itself.
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const vm = require('node:vm');
const { fileURLToPath, pathToFileURL } = require('node:url');

const folder = fs.realpathSync(process.cwd());
const fromHere = Module.createRequire(path.join(folder, 'package.json'));
const EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts', '.tsx', '.jsx', '.json'];
const SCRIPT = /\.[cm]?[jt]sx?$/;
const COMPILED = /\.([cm]?ts|[jt]sx)$/;

/// What stands in for modules by name, how names are mapped, and how a runner transforms what node cannot read.
const settings = { stands: new Map(), aliases: [], transform: undefined, modules: false, meta: {} };
let replaced = { file: '', text: '' };
let output;
const compiled = new Map();
let fresh = new Map();

const isOwn = (file) => file.startsWith(folder + path.sep) && !file.includes(`${path.sep}node_modules${path.sep}`);

/// Takes the text of a candidate for a file; none for the base.
function replace(file, text) {
  replaced = { file, text };
}

/// Forgets all own modules.
function forget() {
  fresh = new Map();
  for (const file of Object.keys(require.cache)) if (isOwn(file)) delete require.cache[file];
}

function install() {
  const load = Module._load;
  Module._load = function (request, parent, ...rest) {
    return settings.stands.has(request) ? settings.stands.get(request) : load.call(this, request, parent, ...rest);
  };
  const resolve = Module._resolveFilename;
  Module._resolveFilename = function (request, parent, ...rest) {
    if (!parent?.filename || !isOwn(parent.filename)) return resolve.call(this, request, parent, ...rest);
    return located(request, parent.filename) ?? resolve.call(this, mapped(request), parent, ...rest);
  };
  for (const extension of ['.js', '.cjs', '.ts', '.cts', '.tsx', '.jsx']) {
    const before = Module._extensions[extension] ?? Module._extensions['.js'];
    Module._extensions[extension] = (module, file) => {
      if (!isOwn(file)) return before(module, file);
      return module._compile(script(file), file);
    };
  }
}

// Finding.

function mapped(request) {
  for (const [pattern, to] of settings.aliases) {
    if (pattern.test(request)) return request.replace(pattern, to);
  }
  return request;
}

/// The own file that a name means, if it is one: what it is compiled from, as it stands, or with an extension. An output
/// that an earlier build left tells nothing of a candidate.
function located(request, parent) {
  const name = mapped(request);
  if (!/^(\.|\/|file:)/.test(name)) return undefined;
  const plain = name.startsWith('file:') ? fileURLToPath(name) : path.resolve(path.dirname(parent), name.split('?')[0]);
  return found(plain);
}

function found(plain) {
  for (const file of [sourceOf(plain), plain].filter(Boolean)) {
    const stem = file.replace(/\.([cm]?)jsx?$/, '.$1ts');
    const all = [file, stem, `${stem}x`, ...EXTENSIONS.map((each) => file + each), ...EXTENSIONS.map((each) => path.join(file, `index${each}`))];
    const there = all.find((each) => fs.statSync(each, { throwIfNoEntry: false })?.isFile());
    if (there) return fs.realpathSync(there);
  }
  return undefined;
}

function installed(name, ...by) {
  let at = fromHere;
  try {
    for (const each of [...by, name]) {
      const file = at.resolve(each);
      if (each === name) return at(each);
      at = Module.createRequire(file);
    }
  } catch {
    // It is not installed, or not reached so.
  }
  return undefined;
}

/// What a file of a compiler's output folder is made from: candidates are edits of sources, and nobody builds here.
function sourceOf(file) {
  if (output === undefined) output = outputs();
  if (!output || !file.startsWith(output.out + path.sep)) return undefined;
  return path.join(output.root, file.slice(output.out.length));
}

function outputs() {
  const typescript = fs.existsSync(path.join(folder, 'tsconfig.json')) && installed('typescript');
  if (!typescript) return null;
  const host = { ...typescript.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const read = typescript.getParsedCommandLineOfConfigFile(path.join(folder, 'tsconfig.json'), {}, host);
  const { outDir, rootDir } = read?.options ?? {};
  if (!outDir || path.resolve(outDir) === folder) return null;
  const folders = read.fileNames.filter((file) => !file.endsWith('.d.ts')).map((file) => path.dirname(file).split('/'));
  const common = folders.reduce((a, b) => a.slice(0, a.findIndex((part, at) => part !== b[at]) >>> 0), folders[0] ?? []);
  return { out: path.resolve(outDir), root: rootDir ? path.resolve(rootDir) : common.join('/') };
}

// Compiling.

const textOf = (file) => (file === replaced.file ? replaced.text : fs.readFileSync(file, 'utf8'));

/// What `make` makes of a file's text; of the base's text only once.
function once(file, kind, make) {
  if (file === replaced.file) return make(replaced.text);
  const key = `${kind} ${file}`;
  if (!compiled.has(key)) compiled.set(key, make(fs.readFileSync(file, 'utf8')));
  return compiled.get(key);
}

/// A file as CommonJS.
function script(file) {
  return once(file, 'script', (text) => {
    if (settings.transform) return kept(file, settings.transform(file, text));
    if (!COMPILED.test(file)) return text;
    const typescript = installed('typescript');
    if (typescript) return kept(file, transpiled(typescript, file, text, typescript.ModuleKind.CommonJS));
    const esbuild = compiler();
    if (!esbuild) throw new Error('no compiler of TypeScript is installed');
    return kept(file, esbuild.transformSync(text, { ...esbuildOptions(file), format: 'cjs' }));
  });
}

/// A file as an ECMAScript module.
async function text(file) {
  return once(file, 'module', async (text) => {
    if (!COMPILED.test(file)) return text;
    const esbuild = compiler();
    if (esbuild) return kept(file, await esbuild.transform(text, { ...esbuildOptions(file), format: 'esm' }));
    const typescript = installed('typescript');
    if (typescript) return kept(file, transpiled(typescript, file, text, typescript.ModuleKind.ES2022));
    const vite = await import(pathToFileURL(fromHere.resolve('vite')).href);
    return kept(file, await vite.transformWithOxc(text, file));
  });
}

const compiler = () => installed('esbuild', 'vitest/package.json', 'vite/package.json') ?? installed('esbuild');

function esbuildOptions(file) {
  return { loader: path.extname(file).replace(/^\.[cm]?/, ''), sourcemap: 'external', target: 'node20', sourcefile: file };
}

function transpiled(typescript, file, text, kind) {
  const { config } = typescript.readConfigFile(path.join(folder, 'tsconfig.json'), typescript.sys.readFile);
  const { options } = typescript.convertCompilerOptionsFromJson(config?.compilerOptions ?? {}, folder);
  const compilerOptions = { ...options, module: kind, moduleResolution: undefined, verbatimModuleSyntax: false, sourceMap: true, noEmit: false, declaration: false };
  const { outputText, sourceMapText } = typescript.transpileModule(text, { fileName: file, compilerOptions });
  return { code: outputText, map: sourceMapText };
}

const maps = new Map();

function kept(file, { code, map }) {
  if (map) maps.set(file, { code, map: typeof map === 'string' ? JSON.parse(map) : map });
  return code;
}

/// The text that runs for a file of the base, and the line of the file that a line of it comes from.
function running(file) {
  const known = maps.get(file);
  if (!known) return { code: fs.readFileSync(file, 'utf8'), lineOf: (line) => line };
  const map = new Module.SourceMap(known.map);
  const lineOf = (line, column) => {
    const entry = map.findEntry(line - 1, column);
    return entry.originalLine === undefined ? undefined : entry.originalLine + 1;
  };
  return { code: known.code, lineOf };
}

// Loading.

/// Whether a file is an ECMAScript module.
function isModule(file) {
  if (/\.m[jt]s$/.test(file)) return true;
  if (/\.c[jt]s$|\.json$/.test(file)) return false;
  if (settings.modules) return true;
  for (let at = path.dirname(file); at.startsWith(folder); at = path.dirname(at)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(at, 'package.json'), 'utf8')).type === 'module';
    } catch {
      // It stands further up.
    }
  }
  return false;
}

/// Loads an own file.
async function load(name) {
  const file = found(path.join(folder, name));
  if (!file) throw new Error(`there is no ${name}`);
  if (!isModule(file)) return fromHere(file);
  return evaluated(await ownModule(file));
}

async function evaluated(module) {
  if (module.status === 'unlinked') await module.link(linked);
  await module.evaluate();
  return module.namespace;
}

function linked(request, parent) {
  return imported(request, fileURLToPath(parent.identifier));
}

function imported(request, parent) {
  const key = `${request}\n${path.dirname(parent)}`;
  if (!fresh.has(key)) fresh.set(key, unknown(request, parent));
  return fresh.get(key);
}

async function unknown(request, parent) {
  if (settings.stands.has(request)) return synthetic(request, settings.stands.get(request));
  const own = located(request, parent) ?? byName(request, parent);
  if (own && isOwn(own)) return ownModule(own);
  return synthetic(request, await outside(mapped(request), parent));
}

/// An own file that is imported by the name of its package.
function byName(request, parent) {
  try {
    return Module.createRequire(parent).resolve(mapped(request));
  } catch {
    return undefined;
  }
}

/// What node itself imports for a file.
function outside(name, parent) {
  const options = { filename: parent, importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER };
  return vm.compileFunction('return import(name)', ['name'], options)(name);
}

function ownModule(file) {
  if (!fresh.has(file)) fresh.set(file, made(file));
  return fresh.get(file);
}

async function made(file) {
  const identifier = pathToFileURL(file).href;
  if (!SCRIPT.test(file) || !isModule(file)) return synthetic(identifier, fromHere(file));
  const initializeImportMeta = (meta) => {
    meta.url = identifier;
    meta.filename = file;
    meta.dirname = path.dirname(file);
    meta.resolve = (name) => pathToFileURL(located(name, file) ?? byName(name, file) ?? name).href;
    Object.assign(meta, settings.meta);
  };
  const importModuleDynamically = async (request) => {
    const module = await imported(request, file);
    await evaluated(module);
    return module;
  };
  return new vm.SourceTextModule(await text(file), { identifier, initializeImportMeta, importModuleDynamically });
}

/// A module with what an object has.
function synthetic(identifier, exports) {
  const isNamespace = exports?.[Symbol.toStringTag] === 'Module';
  const own = exports && /^(object|function)$/.test(typeof exports) ? Object.keys(exports) : [];
  const names = [...new Set([...own, ...(isNamespace && !own.includes('default') ? [] : ['default'])])];
  return new vm.SyntheticModule(
    names,
    function () {
      for (const name of names) {
        const given = name === 'default' && !isNamespace && !exports?.__esModule ? exports : exports[name];
        this.setExport(name, given);
      }
    },
    { identifier },
  );
}

module.exports = { folder, fromHere, settings, installed, install, replace, forget, load, running, isOwn, textOf, found };
