// The reporter of attested runs of jest, which runs the tests in contexts of the process that this is loaded in.
'use strict';

const records = require('./regreen-records.cjs');

let channel;

/** The first one who calls this is the launcher. */
function attach(given) {
  channel ??= given;
}

const OUTCOMES = { passed: 'passed', failed: 'failed' };

class Attested {
  onRunStart() {
    channel.state.begun = true;
  }

  onTestResult(_test, { testFilePath, testResults, testExecError, failureMessage }) {
    const file = records.nameOf(testFilePath);
    if (testExecError || !testResults.length) {
      const message = records.plain(failureMessage ?? testExecError?.message ?? 'no test ran');
      channel.send('test', records.record(file, 'failed', { message, file: testFilePath }));
    }
    for (const result of testResults) this.write(file, testFilePath, result);
  }

  write(file, path, { ancestorTitles, title, status, failureMessages, location, duration }) {
    const id = [file, ...ancestorTitles, title].join(' > ');
    const outcome = OUTCOMES[status] ?? 'skipped';
    const message = (failureMessages ?? []).join('\n');
    const seconds = (duration ?? 0) / 1000;
    const record = records.record(id, outcome, { message, file: path, line: location?.line, seconds });
    const raw = outcome === 'passed' && !message;
    channel.send('test', { ...record, raw, ...channel.seen(id) });
  }

  onRunComplete(_contexts, { numFailedTests, numRuntimeErrorTestSuites, snapshot }) {
    channel.state.ended = true;
    // As jest counts it itself, after it has called us.
    channel.state.status = numFailedTests || numRuntimeErrorTestSuites || snapshot?.failure ? 1 : 0;
  }
}

module.exports = Attested;
module.exports.attach = attach;
