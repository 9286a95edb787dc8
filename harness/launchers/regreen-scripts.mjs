// Reads the `scripts` of a package.json: which command runs a test runner, with which options, after what.
// It knows as much of a shell as such scripts use: words, quotes, assignments, and operators between commands.

import path from 'node:path';

const FOLLOWED = 8;

/** Options of node's own runner that say how results are reported, and whether each has a value. */
export const NODES_REPORTS = {
  '--test-reporter': true,
  '--test-reporter-destination': true,
  '--experimental-test-coverage': false,
  '--test-coverage-lines': true,
  '--test-coverage-branches': true,
  '--test-coverage-functions': true,
};
/** Options of node that have a value and come before its runner's. */
export const NODES_VALUED = ['--import', '--require', '-r', '--loader', '--experimental-loader', '--conditions', '-C', '--env-file'];

/** Splits a script into commands of words; a word keeps its quotes in `raw` and loses them in `text`. */
export function commands(script) {
  const found = [[]];
  const pattern = /\s+|(&&|\|\||[;|&\n])|((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s;|&"'\\])+)|./gs;
  for (const [, operator, raw] of String(script).matchAll(pattern)) {
    if (operator) found.push([]);
    else if (raw) found.at(-1).push({ raw, text: raw.replace(/"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g, '$1$2$3') });
  }
  return found.filter((words) => words.length);
}

/** The script that a command runs (`npm run build`, `yarn build`, `pnpm test`), if it does. */
function reference(words, scripts) {
  const texts = words.map((word) => word.text);
  const [program, ...rest] = texts;
  if (!/^(npm|pnpm|yarn|bun)$/.test(program)) return undefined;
  const names = rest.filter((text) => !text.startsWith('-') && text !== 'run' && text !== 'run-script');
  const name = names[0] === 't' ? 'test' : names[0];
  return Object.hasOwn(scripts, name ?? '') ? name : undefined;
}

/** All commands that a script runs, in order, those of scripts it refers to in their place. */
function chain(name, scripts, depth = FOLLOWED) {
  const own = (script) =>
    script === undefined
      ? []
      : commands(script).flatMap((words) => {
          const next = reference(words, scripts);
          if (next === undefined || !depth) return [{ words }];
          return chain(next, scripts, depth - 1).map((command) => ({ via: next, ...command }));
        });
  return [...own(scripts[`pre${name}`]), ...own(scripts[name])];
}

const RUNNERS = {
  jest: (text) => /^jest(\.js)?$/.test(path.basename(text)),
  vitest: (text) => /^vitest(\.mjs)?$/.test(path.basename(text)),
  mocha: (text) => /^_?mocha(\.js)?$/.test(path.basename(text)),
};

/** Where in a command the runner stands; -1 if it does not run there. */
function runnerAt(words, runner) {
  const texts = words.map((word) => word.text);
  if (runner in RUNNERS) return texts.findIndex(RUNNERS[runner]);
  const node = texts.findIndex((text) => path.basename(text) === 'node');
  if (node < 0) return -1;
  const isTest = texts.slice(node + 1).includes('--test');
  const isScript = texts.slice(node + 1).some((text) => /\.[cm]?[jt]s$/.test(text) && !text.startsWith('-'));
  return (runner === 'node-test' ? isTest : isScript && !isTest) ? node : -1;
}

/** Where the package runs the runner: assignments, node's options, the runner's words; and what comes before. */
export function find(scripts, runner) {
  const names = ['test', ...Object.keys(scripts).filter((name) => /test|unit|spec/.test(name))];
  for (const name of new Set(names)) {
    const run = chain(name, scripts);
    const at = run.findIndex(({ words }) => runnerAt(words, runner) >= 0);
    if (at < 0) continue;
    const words = run[at].words;
    const position = runnerAt(words, runner);
    const before = words.slice(0, position);
    const node = before.findIndex((word) => path.basename(word.text) === 'node');
    return {
      assignments: before.filter((word) => /^[A-Za-z_]\w*=/.test(word.text)),
      nodeOptions: node < 0 ? [] : before.slice(node + 1).filter((word) => word.text.startsWith('-')),
      words: words.slice(position + 1),
      before: run.slice(0, at),
    };
  }
  return { assignments: [], nodeOptions: [], words: [], before: [] };
}

/** Leaves out options; `dropped` maps each to whether its value is a word of its own. */
export function without(words, dropped) {
  const kept = [];
  for (let at = 0; at < words.length; at += 1) {
    const [name] = words[at].text.split('=', 1);
    const takes = Object.hasOwn(dropped, name) ? dropped[name] : undefined;
    if (takes === undefined) kept.push(words[at]);
    else if (takes && !words[at].text.includes('=')) at += 1;
  }
  return kept;
}

/** Splits words into options with their values, and the rest: files and patterns. */
export function split(words, valued) {
  const [options, rest] = [[], []];
  for (let at = 0; at < words.length; at += 1) {
    const { text } = words[at];
    if (!text.startsWith('-')) rest.push(words[at]);
    else {
      options.push(words[at]);
      if (valued.has(text) && at + 1 < words.length) options.push(words[(at += 1)]);
    }
  }
  return { options, rest };
}
