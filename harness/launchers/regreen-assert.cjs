// Loaded before the tests: a `console.assert` that does not hold only prints, and the run would look green.
'use strict';

const { AssertionError } = require('node:assert');
const { format } = require('node:util');

let broken = false;

console.assert = function assert(condition, ...words) {
  if (condition) return;
  broken = true;
  const message = words.length ? `Assertion failed: ${format(...words)}` : 'Assertion failed';
  throw new AssertionError({ message, actual: condition, expected: true, stackStartFn: assert });
};

// Whoever catches the error still does not end well.
process.on('exit', (code) => {
  if (broken && code === 0) process.exitCode = 1;
});
