// A reporter for mocha that writes records, and, loaded with `--require`, keeps a test file that does not
// load from hiding the others.
'use strict';

const path = require('node:path');
const { createRequire } = require('node:module');
const records = require('./regreen-records.cjs');

/** Tests that stand for a file that does not load, with the reason. */
const broken = new Map();

class Reporter {
  constructor(runner, options) {
    this.out = options.reporterOptions.out ?? records.open(options.reporterOptions.records);
    // Taken before mocha leaves out what `.only` leaves out.
    this.all = testsIn(runner.suite);
    this.narrowed = runner.suite.hasOnly();
    this.seen = new Set();
    this.hooks = [];
    runner.on('test', (test) => this.out.write({ start: idOf(test) }));
    runner.on('pass', (test) => this.write(test, 'passed'));
    runner.on('pending', (test) => this.write(test, 'skipped'));
    runner.on('fail', (runnable, error) => this.fail(runnable, error));
    runner.on('end', () => this.end(runner));
  }

  write(test, outcome, failure = {}) {
    this.seen.add(test);
    const seconds = (test.duration ?? 0) / 1000;
    this.out.write(records.record(idOf(test), outcome, { ...failure, file: test.file, seconds }));
  }

  fail(runnable, error) {
    const failure = failureOf(error);
    if (runnable.type !== 'hook') {
      this.write(runnable, 'failed', failure);
      return;
    }
    failure.message = `${runnable.title}: ${failure.message}`;
    const test = runnable.ctx?.currentTest;
    if (/^"(before|after) each"/.test(runnable.title) && test) this.write(test, 'failed', failure);
    this.hooks.push([runnable.parent, failure]);
  }

  /** Mocha gives up the rest of a suite whose hook failed, and says nothing of its tests. */
  end(runner) {
    for (const [suite, failure] of this.hooks) {
      const left = testsIn(suite).filter((test) => !this.seen.has(test));
      for (const test of left) this.write(test, 'failed', failure);
      if (!left.length && !suite.tests.concat(suite.suites).some((part) => part.state === 'failed')) {
        this.out.write(records.record(idOf(suite), 'failed', failure));
      }
    }
    for (const test of this.all.filter((each) => this.narrowed && !this.seen.has(each))) {
      const error = broken.get(test);
      if (error === undefined) this.write(test, 'skipped');
      else this.write(test, 'failed', failureOf(error));
    }
    this.out.write({ end: true, status: runner.failures });
  }
}

function failureOf(error) {
  return { message: records.messageOf(error), frames: records.framesOf(error?.stack) };
}

function testsIn(suite) {
  return [...suite.tests, ...suite.suites.flatMap(testsIn)];
}

function idOf(runnable) {
  const file = records.nameOf(runnable.file ?? fileOf(runnable) ?? '');
  return broken.has(runnable) ? file : [file, ...runnable.titlePath()].join(' > ');
}

function fileOf(suite) {
  return suite.file ?? testsIn(suite)[0]?.file;
}

/** Loads each test file by itself; one that fails becomes a failing test under the name of the file. */
function loadEachFile(Mocha) {
  for (const name of ['loadFilesAsync', 'loadFiles']) {
    const load = Mocha.prototype[name];
    if (typeof load !== 'function') continue;
    const failed = (mocha, file, error) => {
      const test = new Mocha.Test(file, () => {
        throw error;
      });
      test.file = path.resolve(file);
      broken.set(test, error);
      mocha.suite.addTest(test);
    };
    Mocha.prototype[name] =
      name === 'loadFiles'
        ? function loadFiles(done) {
            eachFile(this, (file) => {
              try {
                load.call(this);
              } catch (error) {
                failed(this, file, error);
              }
            });
            done?.();
          }
        : async function loadFilesAsync(options) {
            const files = this.files;
            for (const file of files) {
              this.files = [file];
              try {
                await load.call(this, options);
              } catch (error) {
                failed(this, file, error);
              }
            }
            this.files = files;
          };
  }
}

function eachFile(mocha, act) {
  const files = mocha.files;
  for (const file of files) {
    mocha.files = [file];
    act(file);
  }
  mocha.files = files;
}

try {
  loadEachFile(createRequire(path.resolve('package.json'))('mocha'));
} catch {
  // A mocha that lies elsewhere stops at the first file that does not load, as it would without us.
}

module.exports = Reporter;
