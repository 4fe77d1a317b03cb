#!/usr/bin/env node
// The program's entry: says which Node.js is needed. An older one cannot read the rest, and its error would be a
// SyntaxError somewhere inside. So this file has no import that is not made at run time, and `bundle.js` writes it in a
// syntax that Node.js 10 reads, as a module or as a script.

/** The oldest Node.js that will do; package.json says the same. */
const NEEDED = [20, 19] as const;

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) {
  // What it throws must end the process, as everywhere.
  void import('./start.js');
} else {
  console.error(
    `dotstub needs Node.js ${NEEDED.join('.')} or newer, and ${process.execPath} is ${process.versions.node}. docs/install.md says how each system gets one.`,
  );
  process.exitCode = 1;
}
