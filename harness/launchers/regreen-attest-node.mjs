// The reporter of attested runs of node's own test runner. It sees results as the runner's internals tell them, in
// the process that runs the tests, and writes them to the channel it was given before these were loaded.

import { read } from './regreen-node-reporter.mjs';

let channel;

/** The first one who calls this is the launcher. */
export function attach(given) {
  channel ??= given;
}

export default async function* report(events) {
  channel.state.begun = true;
  for await (const { type, data } of events) {
    const record = read(type, data);
    if (record) channel.send('test', { ...record, ...seen(record, data) });
  }
  channel.state.ended = true;
  yield '';
}

function seen(record, data) {
  const raw = record.outcome === 'passed' && data.details?.error === undefined;
  return { raw, ...channel.seen(record.id) };
}
