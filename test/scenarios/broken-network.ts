// Runs in separate namespaces (see broken-networks.test.ts). It starts the resolver of a broken network at 127.0.0.2 and the
// program on port 53 of the network namespace's loopback, asks for some names, and prints as JSON what every surface says.

import { createSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { RCODE } from '../../src/base/outcome.js';
import { askDaemon } from '../../src/control/client.js';
import { FLAG, flagsOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { parseQuery } from '../../src/wire/query.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { tryAsk } from '../fixtures/client.js';
import { dotServer, type Handler } from '../fixtures/dot-server.js';
import { responseTo } from '../fixtures/messages.js';
import { putTogether, takeApart } from '../fixtures/mutations.js';
import { dotstub, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { signedTree, type Tree } from '../fixtures/signed-records.js';

const ROUTER = '127.0.0.2';
const NAMES = ['www.one', 'www.two', 'www.three', 'www.four', 'www.five'];
const ZONES: Tree = {
  '.': { text: '' },
  ...Object.fromEntries(NAMES.map((name, i) => [`${name.slice(4)}.`, { text: `${name}. 60 A 192.0.2.${i + 1}\n` }])),
};
const PROOFS: readonly number[] = [TYPE.RRSIG, TYPE.NSEC, TYPE.NSEC3];

type Answer = (query: Buffer) => Buffer | undefined;

const nowSec = Math.floor(Date.now() / 1000);
const tree = signedTree(ZONES, nowSec);
const typeOf = (query: Buffer): number => {
  const parsed = parseQuery(query);
  return parsed.at === 'query' ? parsed.query.type : 0;
};
const refuses =
  (rcode: number): Answer =>
  query => {
    const reply = responseTo(query);
    reply.writeUInt16BE((flagsOf(reply) & ~15) | FLAG.QR | rcode, 2);
    return reply;
  };
const strips: Answer = query => {
  const reply = tree.answer(query);
  if (reply === undefined) return undefined;
  const parts = takeApart(reply);
  for (const section of [parts.answer, parts.authority])
    section.splice(0, Infinity, ...section.filter(({ type }) => !PROOFS.includes(type)));
  const made = putTogether(parts);
  query.copy(made, 0, 0, 2);
  return made;
};
const portal: Answer = query => {
  const { name = '' } = messageToText(query)?.question ?? {};
  return responseTo(query, typeOf(query) === TYPE.A ? { answers: `${name} 60 A 10.0.0.1` } : {});
};

/** What the network's resolver answers in cleartext, or the server over TLS. */
const CLEARTEXT: Readonly<Record<string, Answer>> = {
  strips,
  servfail: refuses(RCODE.SERVFAIL),
  nxdomain: refuses(RCODE.NXDOMAIN),
  refused: refuses(RCODE.REFUSED),
  silence: () => undefined,
  portal,
  'port 853 blocked': tree.answer,
};
/** Answers signed with other keys than those that are trusted. */
const forged = signedTree(ZONES, nowSec).answer;
const OVER_TLS: Readonly<Record<string, { readonly name: string; readonly answer: Answer }>> = {
  'wrong certificate': { name: 'other.test', answer: tree.answer },
  bogus: { name: 'dns.test', answer: forged },
  'strict, strips': { name: 'dns.test', answer: strips },
  'wrong clock': { name: 'dns.test', answer: tree.answer },
  fine: { name: 'dns.test', answer: tree.answer },
};
/** The clock of the program shows the year 2001. */
const WRONG_CLOCK = '--import=data:text/javascript,const%20now=Date.now.bind(Date);Date.now=()=>now()-25*365*864e5';

const situation = process.argv[2] ?? '';
const directory = temporaryDirectory();
const cleartext = CLEARTEXT[situation];
if (cleartext !== undefined) {
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const reply = cleartext(query);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  await new Promise<void>(resolve => socket.bind(53, ROUTER, resolve));
}
const overTls = OVER_TLS[situation];
const ca = authority();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
const handler: Handler = (query, session) => {
  const reply = overTls?.answer(query);
  if (reply !== undefined) session.reply(reply);
};
if (overTls !== undefined)
  await dotServer({
    identity: certificate({ common: 'x', names: [overTls.name], issuer: ca }),
    handler,
    address: ROUTER,
    port: 853,
  });
const servers = overTls === undefined ? '' : `, servers: [{ name: dns.test, addresses: [${ROUTER}] }]`;
const cli = new URL('../../dist/cli.js', import.meta.url).pathname;
const daemon = await startDotstub(
  `
listen: ["127.0.0.1:53"]
metrics: { listen: "127.0.0.1:9153" }
state_directory: ${directory.path}
upstream: { ca_file: ${join(directory.path, 'ca.pem')}${servers} }
dnssec: { trust_anchors: ${JSON.stringify(tree.anchors)} }
`,
  [],
  [process.execPath, ...(situation === 'wrong clock' ? [WRONG_CLOCK] : []), cli],
);
const rcodes = await Promise.all(
  NAMES.map(async name => {
    const { rcode = 'none', answers = [] } =
      (await tryAsk({ address: '127.0.0.1', port: 53 }, name, { timeoutMs: 9000 }))?.text ?? {};
    return [rcode, ...answers.map(({ data }) => data)].join(' ');
  }),
);
const status = await askDaemon(daemon.controlSocket, { command: 'status', args: [] });
const told = async (...args: readonly string[]): Promise<string> =>
  (await dotstub([...args, '--config', daemon.configFile])).stdout;
const get = async (path: string): Promise<Response> => fetch(`http://127.0.0.1:9153${path}`);
const page: unknown = await (await get('/status.json')).json();
const result = {
  answers: rcodes,
  findings: status.ok ? (status.data as { readonly findings: unknown }).findings : undefined,
  status: await told('status'),
  health: await told('health'),
  page,
  ready: await get('/readyz').then(async reply => `${reply.status} ${await reply.text()}`),
  metrics: (await (await get('/metrics')).text()).split('\n').filter(line => /^dotstub_findings\{.* 1$/.test(line)),
  log: daemon.log(),
};
await daemon.stop();
directory.remove();
console.log(JSON.stringify(result));
process.exit(0);
