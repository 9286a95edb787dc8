// The reporter of attested runs of mocha: what `regreen-mocha-reporter.cjs` writes, on the channel.
'use strict';

const Reporter = require('./regreen-mocha-reporter.cjs');

let channel;

/** The first one who calls this is the launcher. */
function attach(given) {
  channel ??= given;
}

class Attested extends Reporter {
  constructor(runner, options) {
    super(runner, { ...options, reporterOptions: { out: { write: (record) => write(record) } } });
    channel.state.begun = true;
  }
}

function write(record) {
  if (record.start !== undefined) return;
  if (record.end) {
    channel.state.ended = true;
    channel.state.status = Math.min(record.status, 255);
    return;
  }
  const raw = record.outcome === 'passed';
  channel.send('test', { ...record, raw, ...channel.seen(record.id) });
}

module.exports = Attested;
module.exports.attach = attach;
