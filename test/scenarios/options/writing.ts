// Options about what is written, and about when the files are read again: log, reload_on_change.

import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

import { ask } from '../../fixtures/client.js';
import { eventually, type Json, type Rig } from '../../fixtures/rig.js';
import type { Row } from './row.js';

/** Lines that were written since the last call. */
class Lines {
  private seen = 0;

  constructor(private readonly all: () => readonly string[]) {}

  fresh(): readonly string[] {
    const lines = this.all().slice(this.seen);
    this.seen += lines.length;
    return lines;
  }
}

const isJson = (line: string): boolean => line.startsWith('{');

const LOG: readonly Row[] = [
  {
    title: 'log.level',
    options: ['log.level'],
    scene: async rig => {
      const lines = new Lines(() => rig.lines);
      return {
        before: {},
        after: { log: { level: 'error' } },
        facts: async () => {
          lines.fresh();
          // Says something at info.
          await rig.command('probe');
          return lines.fresh().some(line => line.includes('asked to'));
        },
        expected: { before: true, after: false },
      };
    },
  },
  {
    title: 'log.format',
    options: ['log.format'],
    scene: async rig => {
      const lines = new Lines(() => rig.lines);
      return {
        before: { log: { format: 'json' } },
        after: { log: { format: 'text' } },
        facts: async () => {
          lines.fresh();
          await rig.command('probe');
          return lines
            .fresh()
            .filter(line => line.includes('asked to'))
            .map(isJson);
        },
        expected: { before: [true], after: [false] },
      };
    },
  },
];

/** What a line of the query log says about a query. */
const shown = (name: string, lines: readonly string[]): readonly unknown[] =>
  lines.filter(line => !line.includes('canary')).map(line => [line.includes(name), line.includes('127.0.0.1')]);

const queries = (before: string, after: string, expected: readonly [unknown, unknown]): Row => ({
  title: `log.queries: ${before} and ${after}`,
  options: ['log.queries'],
  scene: async rig => {
    const lines = new Lines(() => rig.printed);
    return {
      before: { log: { queries: before } },
      after: { log: { queries: after } },
      facts: async () => {
        lines.fresh();
        const name = rig.fresh();
        // The second time it would be ready, if nobody wanted to know.
        await rig.answer(name);
        await rig.answer(name);
        await rig.answer(name);
        return shown(name, lines.fresh());
      },
      expected: { before: expected[0], after: expected[1] },
    };
  },
});

const FULL = [true, true];
const HASHED = [true, false];
const NAMELESS = [false, false];
const thrice = (one: unknown): unknown => [one, one, one];

const QUERIES: readonly Row[] = [
  queries('off', 'full', [[], thrice(FULL)]),
  queries('hashed_client', 'no_name', [thrice(HASHED), thrice(NAMELESS)]),
  {
    title: 'log.query_file',
    options: ['log.query_file'],
    slow: true,
    scene: async rig => {
      const files = [rig.path('one.log'), rig.path('two.log')];
      const sizes = (): number[] => files.map(path => (existsSync(path) ? readFileSync(path).length : 0));
      let written = sizes();
      return {
        before: { log: { queries: 'full', query_file: files[0] } },
        after: { log: { queries: 'full', query_file: files[1] } },
        facts: async () => {
          await rig.answer(rig.fresh());
          const before = written;
          const grown = (): boolean[] => sizes().map((size, i) => size > (before[i] ?? 0));
          while (!grown().includes(true)) await new Promise(resolve => setTimeout(resolve, 5));
          const found = grown();
          written = sizes();
          return { grown: found, printed: rig.printed.length };
        },
        expected: { before: { grown: [true, false], printed: 0 }, after: { grown: [false, true], printed: 0 } },
      };
    },
  },
  {
    title: 'log.dnstap',
    options: ['log.dnstap'],
    slow: true,
    scene: async rig => {
      const taps = await Promise.all([tap(rig, 'one.sock'), tap(rig, 'two.sock')]);
      return {
        before: { log: { dnstap: taps[0].path } },
        after: { log: { dnstap: taps[1].path } },
        facts: async () => taps.map(each => each.open()),
        expected: { before: [1, 0], after: [0, 1] },
      };
    },
  },
];

/** A listener for dnstap that never says that it accepts; how many are connected is all that matters. */
async function tap(rig: Rig, name: string): Promise<{ readonly path: string; open(): number }> {
  const path = rig.path(name);
  let open = 0;
  const server = createServer(socket => {
    open++;
    socket.on('error', () => undefined);
    socket.on('close', () => open--);
    socket.resume();
    rig.onEnd(() => socket.destroy());
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  rig.onEnd(() => server.close());
  return { path, open: () => open };
}

/** How long nothing may happen before it is believed that nothing will. */
const NOTHING_MS = 1000;

/** Whether another configuration comes into force when it is written, and the one of before when that is. */
async function followed(rig: Rig, config: Json): Promise<boolean> {
  const ttl = async (): Promise<number | undefined> =>
    (await ask(rig.at, rig.fresh('long.example'))).text.answers[0]?.ttl;
  rig.write({ ...config, cache: { max_ttl: '100s' } });
  const there = await eventually(ttl, 100);
  rig.write(config);
  return there === 100 && (await eventually(ttl, 86_400)) === 86_400;
}

const ON_CHANGE: Row = {
  title: 'reload_on_change: the configuration, and the files that it names',
  options: ['reload_on_change'],
  scene: async (rig, main) => {
    const files = { client_certificate: rig.path('client.pem'), client_key: rig.path('client.key') };
    const renew = (): void => {
      const { cert, key } = rig.issued('client.test');
      rig.file('client.pem', cert);
      rig.file('client.key', key);
    };
    renew();
    const config = (watched: boolean): Json => ({ reload_on_change: watched, upstream: files });
    return {
      before: config(false),
      after: config(true),
      facts: async () => {
        const before = rig.overview().reload.takenMs;
        const taken = (): boolean => rig.overview().reload.takenMs > before;
        renew();
        const isOn = readFileSync(rig.configFile, 'utf8').includes('"reload_on_change":true');
        if (isOn) await eventually(taken, true);
        else await new Promise(resolve => setTimeout(resolve, NOTHING_MS));
        const seen = taken();
        // As it was, so that going back changes nothing else.
        if (!isOn) await rig.daemon.reload();
        const next = { ...config(true), upstream: { ...files, servers: [main.entry] } };
        return { taken: seen, followed: isOn && (await followed(rig, next)) };
      },
      expected: { before: { taken: false, followed: false }, after: { taken: true, followed: true } },
    };
  },
};

/** The rows. */
export const WRITING: readonly Row[] = [...LOG, ...QUERIES, ON_CHANGE];
