// Proves that a daemon finds names, and says in sentences by which way.

import { setTimeout as sleep } from 'node:timers/promises';

import { askDaemon } from '../control/client.js';
import type { ListenAddress } from '../os/listen-address.js';
import { questionOf } from '../wire/compose.js';
import { edeToText } from '../wire/ede.js';
import { OPTION } from '../wire/edns.js';
import { type MessageText, messageToText } from '../wire/message.js';
import { nameFromText } from '../wire/name.js';
import { typeFromText } from '../wire/rrtype.js';
import { ask } from './query.js';

/** Reserved for examples (RFC 2606), signed, and there on every network that leads to the Internet. */
const NAME = 'example.com';
const TRIES = 3;
const PAUSE_MS = 1000;
/** How long the state of the servers may take to settle: an attempt at TLS ends within this time. */
const SETTLE_MS = 8000;
const LOOK_MS = 250;

/** What was found. */
export interface WayOut {
  readonly found: boolean;
  /** Sentences for people. */
  readonly words: readonly string[];
}

/** What its configuration says. */
export interface DaemonFacts {
  /** The path of its control socket. */
  readonly socket: string;
  readonly dnssecMode: string | undefined;
}

/** A row of `dotstub upstreams --json`, as far as it is used. */
export interface ServerRow {
  readonly upstream: string;
  readonly address: string | undefined;
  readonly state: string;
  readonly path: string;
  readonly transport: string;
  readonly authenticated: boolean;
  readonly failure: string | undefined;
}

/**
 * Asks a daemon for a name that only a server can tell.
 * @param at where it listens
 */
export async function wayOut(at: ListenAddress, { socket, dnssecMode }: DaemonFacts): Promise<WayOut> {
  let reply: MessageText | undefined;
  for (let i = 0; i < TRIES && !isAnswer(reply); i++) {
    if (i > 0) await sleep(PAUSE_MS);
    reply = await answerTo(at);
  }
  const servers = await settledServers(socket);
  const ways = serverWords(servers);
  if (isAnswer(reply)) return { found: true, words: [...ways, verdictWords(verdictOf(reply), dnssecMode)] };
  return { found: false, words: [failureWords(reply), ...ways] };
}

/** Whether a name exists and has an address: that it does not is the answer of a network that lies. */
const isAnswer = (reply: MessageText | undefined): reply is MessageText =>
  reply?.rcode === 'NOERROR' && reply.answers.length > 0;

async function answerTo(at: ListenAddress): Promise<MessageText | undefined> {
  const [name, type] = [nameFromText(NAME), typeFromText('A')];
  if (name === undefined || type === undefined) throw new Error(`${NAME} is a name, and A a type`);
  const asked = await ask(at, questionOf(name, type), false, false);
  return asked && messageToText(asked.reply);
}

const verdictOf = (reply: MessageText): string =>
  new URLSearchParams(reply.option(OPTION.REPORT)?.toString() ?? '').get('verdict') ?? '';

/** @param mode dnssec.mode; undefined: it is left out */
export function verdictWords(verdict: string, mode: string | undefined): string {
  if (verdict === 'secure') return 'Answers are validated here (DNSSEC).';
  if (mode === 'off' || mode === 'trust_ad') return `Answers are not validated here (dnssec.mode ${mode}).`;
  return 'Signatures do not get here: answers are not validated ("dotstub status" says more).';
}

function failureWords(reply: MessageText | undefined): string {
  if (reply === undefined) return `There was no answer about ${NAME}.`;
  const [error] = reply.extendedErrors;
  const words =
    error === undefined ? '' : ` (${edeToText(error.infoCode)}${error.text === '' ? '' : `: ${error.text}`})`;
  if (reply.rcode === 'NOERROR') return `${NAME} has an address, but this network says that it has none${words}.`;
  if (reply.rcode === 'NXDOMAIN') return `${NAME} exists, but this network says that it does not${words}.`;
  return `${NAME} was answered with ${reply.rcode}${words}.`;
}

/** The servers, once it is known how each is reached. */
async function settledServers(socket: string): Promise<readonly ServerRow[]> {
  const until = performance.now() + SETTLE_MS;
  for (;;) {
    const reply = await askDaemon(socket, { command: 'upstreams', args: [] });
    const rows = reply.ok && Array.isArray(reply.data) ? reply.data.flatMap(rowOf) : [];
    const settled = rows.length > 0 && rows.every(({ state }) => state !== 'probing' && state !== 'looking');
    if (settled || !reply.ok || performance.now() > until) return rows;
    await sleep(LOOK_MS);
  }
}

/** Servers of routes and of a portal window are left out. */
function rowOf(data: unknown): ServerRow[] {
  if (typeof data !== 'object' || data === null) return [];
  const row: Readonly<Record<string, unknown>> = { ...data };
  if (row['purpose'] !== undefined) return [];
  const text = (key: string): string | undefined => (typeof row[key] === 'string' ? row[key] : undefined);
  return [
    {
      upstream: text('upstream') ?? '',
      address: text('address'),
      state: text('state') ?? '',
      path: text('path') ?? '',
      transport: text('transport') ?? '',
      authenticated: row['authenticated'] === true,
      failure: text('failure'),
    },
  ];
}

/** By which way names go: a sentence for each kind of way, and one for each server that is not reached. */
export function serverWords(servers: readonly ServerRow[]): string[] {
  if (servers.length === 0) return ['There is no server to ask: /etc/resolv.conf names none, and none is configured.'];
  const isReached = ({ state, path }: ServerRow): boolean => state === 'private' && path === 'tls';
  const reached = servers.filter(isReached);
  const proved = reached.filter(({ authenticated }) => authenticated);
  const unproved = reached.filter(({ authenticated }) => !authenticated);
  const clear = servers.filter(row => row.path === 'cleartext');
  const lost = servers.filter(row => !isReached(row) && row.path !== 'cleartext');
  const over = (rows: readonly ServerRow[]): string => (rows.some(row => row.transport === 'https') ? 'HTTPS' : 'TLS');
  return [
    ...(proved.length > 0
      ? [`Names go over ${over(proved)} to ${named(proved)}, proved to be ${proved.length > 1 ? 'those' : 'that'}.`]
      : []),
    ...(unproved.length > 0
      ? [
          `Names go over ${over(unproved)} to ${named(unproved)}, which ${unproved.length > 1 ? 'have' : 'has'} not proved to be that.`,
        ]
      : []),
    // While one server is known to be private, no other is asked in cleartext.
    ...(reached.length > 0 ? [] : clear.map(cleartextWords)),
    ...lost.map(row => `${named([row])} is not reached${row.failure === undefined ? '' : `: ${row.failure}`}.`),
  ];
}

const cleartextWords = (row: ServerRow): string =>
  row.failure === undefined
    ? `Names go in cleartext to ${named([row])} (upstream.mode).`
    : `${named([row])} does not speak TLS (${row.failure}): names go in cleartext to it.`;

/** Each server with its addresses. */
function named(rows: readonly ServerRow[]): string {
  const labels = [...new Set(rows.map(({ upstream }) => upstream))];
  return labels
    .map(label => {
      const addresses = rows.flatMap(row => (row.upstream === label && row.address !== undefined ? [row.address] : []));
      const others = addresses.filter(address => address !== label);
      return others.length === 0 ? label : `${label} (${others.join(', ')})`;
    })
    .join(' and ');
}
