// A storm of full handshakes at a fixed rate, in a process of its own: `storm.ts PORT PER_SECOND`. It writes a line with how
// many it has made, ten times a second.

import { connect } from 'node:tls';

import { tlsOptions } from './tls-options.js';

const [port = 0, perSecond = 0] = process.argv.slice(2).map(Number);
const TELL_MS = 100;
/** One that is not over after this time is given up, and not counted. */
const PATIENCE_MS = 2000;
/** The most that may be on their way: a server that is slower gets no more. */
const MOST_AT_ONCE = 64;

const startedAt = performance.now();
const state = { begun: 0, open: 0, made: 0 };

/** Makes one. Without a session to resume, it is a full one. */
function begin(): void {
  state.begun++;
  state.open++;
  const socket = connect(tlsOptions(port), () => {
    state.made++;
    socket.destroy();
  });
  socket.setTimeout(PATIENCE_MS, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.on('close', () => state.open--);
}

// Those that a late timer has missed are made up for, so that the rate is kept as long as the server can.
setInterval(() => {
  const due = ((performance.now() - startedAt) * perSecond) / 1000;
  while (state.begun < due && state.open < MOST_AT_ONCE) begin();
}, 1);
setInterval(() => console.log(state.made), TELL_MS);
