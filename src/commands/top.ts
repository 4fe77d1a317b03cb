// `dotstub top`: shows the current activity of the running daemon.

import { setTimeout as sleep } from 'node:timers/promises';

import { between, type Sums, sumsFrom, numberText, percentText, latencyText } from '../base/rates.js';
import { checkConfig } from '../config/check.js';
import { askDaemon } from '../control/client.js';
import { STATE_WORDS } from '../control/status.js';
import { columns } from '../control/table.js';
import { parseArguments } from './arguments.js';
import type { Command } from './command.js';
import { loadConfig, problemReport } from '../config/load.js';
import { print, printJson, printProblem } from './print.js';

/** The daemon's reply; see control/top. */
interface Top {
  readonly sums: readonly number[];
  readonly bounds_ms: readonly number[];
  readonly privacy_words: string;
  readonly upstreams: readonly {
    readonly upstream: string;
    readonly purpose?: 'route' | 'portal';
    readonly clients?: readonly string[];
    readonly address?: string;
    readonly state: keyof typeof STATE_WORDS;
    readonly path: string;
    readonly rtt_ms?: number;
    readonly connections: number;
  }[];
  readonly names?: readonly (readonly [string, number])[];
  readonly clients?: readonly (readonly [string, number])[];
}

const LOOK_MS = 1000;
const CLEAR = '\x1b[H\x1b[J';

export const topCommand: Command = {
  name: 'top',
  usage: 'top [--once] [--json]',
  summary: 'watch what the running daemon is doing',
  details: `Queries per second, how they are answered and how quickly, and the servers, looked at once a second; ends with Ctrl-C. Names and
clients that ask most are shown as far as log.queries lets them be known, of the last 1,000 queries.

Options:
  --once           look twice, a second apart, print, and end
  --config FILE    the daemon's configuration, for its control.socket
  --socket PATH    the control socket
  --json           what the daemon says, as JSON, a line for each look

Exit code: 0 done, 1 the daemon was not reached, 2 bad usage.`,
  async run(args) {
    const { flag, value } = parseArguments(
      args,
      { once: { type: 'boolean' }, json: { type: 'boolean' }, config: { type: 'string' }, socket: { type: 'string' } },
      0,
    );
    const file = value('config');
    const checked = file === undefined ? checkConfig('') : loadConfig(file);
    if (!checked.ok) {
      printProblem(problemReport(file ?? '', checked.problems));
      return 2;
    }
    const socket = value('socket') ?? checked.config.control.socket;
    const live = !flag('once') && process.stdout.isTTY;
    let before: Sums | undefined;
    for (;;) {
      const reply = await askDaemon(socket, { command: 'top', args: [] });
      if (!reply.ok) {
        printProblem(`dotstub top: ${reply.problem}`);
        return 1;
      }
      const top = reply.data as Top;
      const now = sumsFrom(top.sums);
      if (flag('json')) printJson(top);
      else if (before !== undefined) {
        if (live) process.stdout.write(CLEAR);
        print(screen(top, before, now));
      }
      if (before !== undefined && !live) return 0;
      before = now;
      await sleep(LOOK_MS);
    }
  },
};

/** The text of the screen. */
export function screen(top: Top, before: Sums, now: Sums): string {
  const span = between(before, now, top.bounds_ms);
  const list = (title: string, rows: Top['names']): string[] =>
    rows === undefined || rows.length === 0
      ? []
      : ['', columns([[title, 'queries'], ...rows.map(([what, count]) => [what, String(count)])])];
  return [
    columns([
      ['privacy', top.privacy_words],
      ['queries/s', numberText(span?.queries ?? 0)],
      ['from cache', percentText(span?.hits)],
      ['sent encrypted', percentText(span?.encrypted)],
      ['median', latencyText(span?.median, top.bounds_ms)],
      ['slowest 1 %', latencyText(span?.tail, top.bounds_ms)],
    ]),
    '',
    columns([
      ['server', 'address', 'state', 'RTT', 'connections'],
      ...top.upstreams.map(({ upstream, purpose, clients, address = '', state, path, rtt_ms: rtt, connections }) => [
        purpose === undefined ? upstream : `${upstream} (${[purpose, ...(clients ?? [])].join(', ')})`,
        address,
        path === 'cleartext' ? 'in cleartext' : STATE_WORDS[state],
        rtt === undefined ? '' : `${numberText(rtt)} ms`,
        String(connections),
      ]),
    ]),
    ...list('name', top.names),
    ...list('client', top.clients),
    ...(top.names === undefined ? ['', 'Names and clients are not kept (log.queries).'] : []),
  ].join('\n');
}
