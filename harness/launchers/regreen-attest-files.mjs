// Says as JSON what an attested run of node's own test runner is to run: the files that `node --test` would run in
// this folder, as the test script has it, and the options that the script gives to node.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { find, NODES_REPORTS, NODES_VALUED, split, without } from './regreen-scripts.mjs';

const RUNNERS_OWN = {
  '--test': false,
  '--watch': false,
  ...NODES_REPORTS,
  '--test-concurrency': true,
  '--test-timeout': true,
  '--test-shard': true,
};
const NAMED = /(^|\/)(test\/.*|test|test-[^/]*|[^/]*[._-]test)\.[cm]?js$/;

function scripts() {
  try {
    const { scripts: all } = JSON.parse(fs.readFileSync('package.json', 'utf8'));
    return Object.fromEntries(Object.entries(all ?? {}).filter(([, text]) => typeof text === 'string'));
  } catch {
    return {};
  }
}

function* walk(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory() && entry.name !== 'node_modules') yield* walk(name);
    else if (entry.isFile()) yield name;
  }
}

function filesOf(words) {
  if (!words.length) return [...walk('.')].filter((file) => NAMED.test(file));
  const line = `printf '%s\\n' ${words.map((word) => word.raw).join(' ')}`;
  const said = spawnSync('sh', ['-c', line], { encoding: 'utf8' }).stdout.split('\n').filter(Boolean);
  return said.flatMap((name) => {
    if (!fs.existsSync(name)) return [];
    return fs.statSync(name).isDirectory() ? [...walk(name)].filter((file) => /\.[cm]?js$/.test(file)) : [name];
  });
}

const said = find(scripts(), 'node-test');
const { options, rest } = split(without(said.words, RUNNERS_OWN), new Set(NODES_VALUED));
const files = [...new Set(filesOf(rest).map((file) => path.normalize(file)))].sort();
console.log(JSON.stringify({ options: [...said.nodeOptions, ...options].map((word) => word.text), files }));
