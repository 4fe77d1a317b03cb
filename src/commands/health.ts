// `dotstub health`: the health check of a container.

import { askStatus } from '../control/client.js';
import { findingLines, readFindings } from '../control/status.js';
import { listenText } from '../os/listen-address.js';
import { answers } from './alive.js';
import { parseArguments } from './arguments.js';
import type { Command } from './command.js';
import { findListener } from './listener.js';
import { print } from './print.js';

export const healthCommand: Command = {
  name: 'health',
  usage: 'health [--server IP:PORT | --config FILE]',
  summary: 'ask the daemon something it can answer by itself; for health checks',
  details: `Goes the way of every query over UDP, and needs no server: the exit code says whether the daemon answers, not whether
others do ("/readyz" of metrics.listen does). Below it is what is wrong, as "dotstub status" says it.

Options:
  --server IP:PORT  ask there
  --config FILE     ask the daemon that runs with this file

Exit code: 0 it answers, 1 it does not, 2 bad usage.`,
  async run(args) {
    const { value } = parseArguments(args, { server: { type: 'string' }, config: { type: 'string' } }, 0);
    const { at, socket } = await findListener(value('server'), value('config'));
    const healthy = await answers(at, 2);
    console.log(`${listenText(at)} ${healthy ? 'answers' : 'does not answer'}`);
    if (healthy && socket !== undefined) for (const line of await findingsAt(socket)) print(line);
    return healthy ? 0 : 1;
  },
};

/** What the daemon says is wrong; nothing if it cannot be asked. */
async function findingsAt(socket: string): Promise<readonly string[]> {
  const reply = await askStatus(socket, { command: 'status', args: [] });
  return reply.ok ? findingLines(readFindings(reply.data)) : [];
}
