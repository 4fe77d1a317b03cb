// `dotstub query NAME [TYPE]`: sends a query to the running daemon over DNS, and prints the reply with its source.

import { domainToASCII } from 'node:url';

import { visible } from '../base/visible.js';
import { type ListenAddress, listenText } from '../os/listen-address.js';
import { systemClock, systemRandom } from '../os/clock.js';
import { dialer } from '../upstream/dial.js';
import { dialDatagram } from '../upstream/plain.js';
import { questionOf } from '../wire/compose.js';
import { OPTION, writeOpt } from '../wire/edns.js';
import { framed, frameReader } from '../wire/frame.js';
import { FLAG, flagsOf, HEADER_BYTES, writeHeader } from '../wire/header.js';
import { edeToText } from '../wire/ede.js';
import { messageToText, type MessageText, type RecordText } from '../wire/message.js';
import { nameFromText } from '../wire/name.js';
import { typeFromText, typeToText } from '../wire/rrtype.js';
import { answersQuery } from '../wire/upstream-query.js';
import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';
import { findListener } from './listener.js';
import { print, printJson, printProblem } from './print.js';

const TIMEOUT_MS = 5500;

export const queryCommand: Command = {
  name: 'query',
  usage: 'query NAME [TYPE] [--json] [--dnssec] [--tcp] [--server IP:PORT | --config FILE]',
  summary: 'ask the running daemon, and show answer, source, upstream and time',
  details: `TYPE is A where it is left out; any mnemonic or TYPEnnn will do. The installed daemon is asked, or the one that runs with
FILE, wherever it listens; without one, the default address (127.0.0.1:5300); or IP:PORT.

Options:
  --json            print one JSON object
  --dnssec          ask for signatures (DO)
  --tcp             ask over TCP
  --server IP:PORT  ask there
  --config FILE     ask the daemon that runs with this file

Exit code: 0 there was an answer (also "no such name"), 1 there was none, 2 bad usage.`,
  async run(args) {
    const {
      positionals: [nameText, typeText = 'A'],
      flag,
      value,
    } = parseArguments(
      args,
      {
        json: { type: 'boolean' },
        dnssec: { type: 'boolean' },
        tcp: { type: 'boolean' },
        server: { type: 'string' },
        config: { type: 'string' },
      },
      2,
    );
    if (nameText === undefined) throw new UsageError('query needs a NAME');
    const name = nameFromText(nameText) ?? nameFromText(domainToASCII(nameText));
    if (name === undefined) throw new UsageError(`${JSON.stringify(nameText)} is not a domain name`);
    const type = typeFromText(typeText);
    if (type === undefined)
      throw new UsageError(`${JSON.stringify(typeText)} is not a record type; e.g. A, AAAA, MX, HTTPS, TYPE65`);

    const { at: server } = await findListener(value('server'), value('config'));
    const startedAtMs = systemClock.monotonicMs();
    const asked = await ask(server, questionOf(name, type), flag('dnssec'), flag('tcp'));
    const ms = systemClock.monotonicMs() - startedAtMs;
    const reply = asked && messageToText(asked.reply);
    if (asked === undefined || reply === undefined) {
      printProblem(
        `no answer from ${listenText(server)} within ${TIMEOUT_MS / 1000} s: is dotstub running there? (dotstub run; dotstub query --help)`,
      );
      return 1;
    }
    // Only the first reply says where the answer came from: the second query, over TCP, is answered from the cache.
    const report = new URLSearchParams(messageToText(asked.first)?.option(OPTION.REPORT)?.toString() ?? '');
    if (flag('json')) printJson(asJson(reply, report, server, ms), 2);
    else print(asText(reply, typeToText(type), report, server, ms));
    return reply.rcode === 'NOERROR' || reply.rcode === 'NXDOMAIN' ? 0 : 1;
  },
};

/** Asks over UDP, then over TCP if the answer was truncated; undefined: there was no answer. */
export async function ask(
  server: ListenAddress,
  question: Buffer,
  dnssecOk: boolean,
  tcp: boolean,
): Promise<{ readonly first: Buffer; readonly reply: Buffer } | undefined> {
  const id = systemRandom().uint16();
  const header = Buffer.alloc(HEADER_BYTES);
  writeHeader(header, id, FLAG.RD | FLAG.AD, { questions: 1, answers: 0, authority: 0, additional: 1 });
  const query = Buffer.concat([
    header,
    question,
    writeOpt({ dnssecOk, options: [{ code: OPTION.REPORT, data: Buffer.alloc(0) }] }),
  ]);
  const accept = (message: Buffer): boolean => answersQuery(message, id, question);
  const first = tcp ? undefined : await dialDatagram(server, query, accept, TIMEOUT_MS);
  if (typeof first === 'string') return undefined;
  if (first !== undefined && !(flagsOf(first) & FLAG.TC)) return { first, reply: first };
  const reply = await askStream(server, query, accept);
  return reply && { first: first ?? reply, reply };
}

async function askStream(
  server: ListenAddress,
  query: Buffer,
  accept: (message: Buffer) => boolean,
): Promise<Buffer | undefined> {
  return new Promise(resolve => {
    const frames = frameReader();
    const timer = setTimeout(() => finish(undefined), TIMEOUT_MS);
    const stream = dialer({ ca: undefined, client: undefined, clock: systemClock })(
      { ...server, security: { at: 'cleartext' } },
      {
        connected: () => stream.send(framed(query)),
        bytes: chunk => frames.push(chunk, message => accept(message) && finish(Buffer.from(message))),
        closed: () => finish(undefined),
      },
    );
    function finish(message: Buffer | undefined): void {
      clearTimeout(timer);
      stream.destroy();
      resolve(message);
    }
  });
}

/** Words for the verdicts of answers without AD. */
const VERDICT_WORDS: Readonly<Record<string, string>> = {
  insecure: 'DNSSEC insecure: the zone is not signed',
  bogus: 'DNSSEC bogus: not what the zone signed',
  indeterminate: 'not validated: the clock of this machine is wrong, or signatures were left out',
};

const PROTOCOL_WORDS: Readonly<Record<string, string>> = {
  dot: 'DNS over TLS',
  udp: 'cleartext UDP',
  tcp: 'cleartext TCP',
};

/** The source of the answer. A cached failure came from no server. */
function sourceWords(source: string, report: URLSearchParams): string {
  if (source === 'local') return 'dotstub itself';
  if (source === 'error')
    return report.get('origin') === 'cache' ? 'cache: it failed a moment ago' : 'no server, or it was not believed';
  const upstream = report.get('upstream') ?? '';
  const protocol = PROTOCOL_WORDS[report.get('protocol') ?? ''];
  const server = protocol === undefined ? upstream : `${upstream} (${protocol})`;
  if (source !== 'cache') return server;
  return upstream === '' ? 'cache' : `cache, first brought by ${server}`;
}

function asText(reply: MessageText, type: string, report: URLSearchParams, server: ListenAddress, ms: number): string {
  const lines: string[] = [];
  const heading = (words: string): void => void lines.push(words);
  if (reply.rcode === 'NXDOMAIN') heading(`${reply.question?.name ?? ''} does not exist`);
  else if (reply.rcode !== 'NOERROR') heading(`${reply.question?.name ?? ''} ${type}: ${reply.rcode}`);
  else if (reply.answers.length === 0) heading(`${reply.question?.name ?? ''} exists, but has no ${type} record`);
  lines.push(...table(reply.answers));
  for (const { infoCode, text } of reply.extendedErrors)
    lines.push(`why:      ${edeToText(infoCode)}${text === '' ? '' : `: ${visible(text)}`}`);
  lines.push('');
  const source = report.get('source');
  if (source !== null) lines.push(`from:     ${visible(sourceWords(source, report))}`);
  lines.push(
    `checked:  ${reply.flags.includes('ad') ? 'DNSSEC secure' : (VERDICT_WORDS[report.get('verdict') ?? ''] ?? 'not validated')}`,
  );
  lines.push(`took:     ${ms.toFixed(1)} ms, asked ${listenText(server)}`);
  return lines.join('\n').trimStart();
}

/** Records in columns. */
function table(records: readonly RecordText[]): string[] {
  const rows = records.map(({ name, ttl, type, data }) => [name, String(ttl), type, data]);
  const widths = [0, 1, 2].map(column => Math.max(0, ...rows.map(row => row[column]?.length ?? 0)));
  return rows.map(row => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
}

function asJson(
  reply: MessageText,
  report: URLSearchParams,
  server: ListenAddress,
  ms: number,
): Record<string, unknown> {
  return {
    name: reply.question?.name,
    type: reply.question?.type,
    rcode: reply.rcode,
    flags: reply.flags,
    answers: reply.answers,
    authority: reply.authority,
    additional: reply.additional,
    extendedErrors: reply.extendedErrors.map(({ infoCode, text }) => ({
      infoCode,
      meaning: edeToText(infoCode),
      text,
    })),
    verdict: report.get('verdict'),
    source: report.get('source'),
    upstream: report.get('upstream'),
    protocol: report.get('protocol'),
    server: listenText(server),
    ms: Number(ms.toFixed(3)),
  };
}
