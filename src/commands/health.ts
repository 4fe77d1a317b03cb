// `dotstub health`: the health check of a container.

import { listenText } from '../os/listen-address.js';
import { answers } from './alive.js';
import { parseArguments } from './arguments.js';
import type { Command } from './command.js';
import { listenerFrom } from './listener.js';

export const healthCommand: Command = {
  name: 'health',
  usage: 'health [--server IP:PORT | --config FILE]',
  summary: 'ask the daemon something it can answer by itself; for health checks',
  details: `Goes the way of every query over UDP, and needs no server: it says whether the daemon answers, not whether others do ("/readyz"
of metrics.listen does).

Options:
  --server IP:PORT  ask there
  --config FILE     ask the daemon that runs with this file

Exit code: 0 it answers, 1 it does not, 2 bad usage.`,
  async run(args) {
    const { value } = parseArguments(args, { server: { type: 'string' }, config: { type: 'string' } }, 0);
    const at = listenerFrom(value('server'), value('config'));
    const healthy = await answers(at, 2);
    console.log(`${listenText(at)} ${healthy ? 'answers' : 'does not answer'}`);
    return healthy ? 0 : 1;
  },
};
