// Servers that are authenticated by TLSA records (RFC 7671): a daemon, and real TLS servers that write down everything
// that they are asked.

import t, { type Test } from 'tap';

import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { authority, certificate, type Identity } from '../fixtures/certificates.js';
import type { ServerSession } from '../fixtures/dot-server.js';
import { type Parts, putTogether, takeApart } from '../fixtures/mutations.js';
import { eventually, type Json, Rig, type RigServer } from '../fixtures/rig.js';
import { signedTree, type SignedTree } from '../fixtures/signed-records.js';
import { tlsaHex, tlsaIssuerLine, tlsaLine } from '../fixtures/tlsa.js';

// Refused servers are waited for; most of the time nobody computes anything.
t.jobs = 8;

const NAME = 'dns.example';
const NOW_SEC = Math.floor(Date.now() / 1000);
const CLIENT_ZONE = 'www.example. 300 A 192.0.2.80\n*.fresh.example. 300 A 192.0.2.99\n';
/** The questions that authentication needs. */
const OWN_TYPES = new Set(['TLSA', 'CNAME', 'DS', 'DNSKEY']);

const selfSigned = (): Identity => certificate({ common: 'nobody', names: ['nobody.invalid'] });

/** A server whose answers a test may exchange. */
interface DaneServer {
  readonly server: RigServer;
  /** `TYPE name`, in the order they came. */
  readonly asked: string[];
  /** The owner of its TLSA records. */
  readonly owner: string;
  /** What it answers from. */
  tree: SignedTree;
  /** Changes answers on their way. */
  change: (parts: Parts) => void;
  /** Names of clients that it was asked for. */
  clients(): string[];
}

async function daneServer(
  rig: Rig,
  identity: Identity,
  lines: (owner: string) => string,
  zone = 'example.',
): Promise<DaneServer> {
  const asked: string[] = [];
  const server = await rig.server(NAME, {
    identity,
    answer: query => {
      const { name = '', type = '' } = messageToText(query)?.question ?? {};
      asked.push(`${type} ${name}`);
      const reply = made.tree.answer(query);
      if (reply === undefined) return undefined;
      const parts = takeApart(reply);
      made.change(parts);
      return Buffer.concat([query.subarray(0, 2), putTogether(parts).subarray(2)]);
    },
  });
  const owner = `_${server.port}._tcp.${NAME}.`;
  const made: DaneServer = {
    server,
    asked,
    owner,
    tree: signedTree({ '.': { text: '' }, [zone]: { text: CLIENT_ZONE + lines(owner) } }, NOW_SEC),
    change: () => undefined,
    clients: () => asked.filter(each => !OWN_TYPES.has(each.split(' ')[0] ?? '')),
  };
  return made;
}

const configOf = ({ server, tree }: DaneServer, dnssec: Json = {}): Json => ({
  upstream: { servers: [{ ...server.entry, dane: true }] },
  dnssec: { mode: 'require', trust_anchors: tree.anchors, ...dnssec },
});

const addressOf = (rig: Rig) => rig.overview().servers[0]?.addresses[0];

/** Plays a server that must be refused: no client's name reaches it, and the reason is said. */
async function refused(t: Test, rig: Rig, dane: DaneServer, why: RegExp): Promise<void> {
  t.match(await rig.answer('www.example'), /^SERVFAIL/);
  t.match(addressOf(rig), { authenticated: false, failure: why });
  t.same(dane.clients(), [], 'no name of a client reached it');
}

void t.test('a self-signed certificate and a signed TLSA record prove a server', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  await rig.start(configOf(dane));
  t.equal(await rig.answer('www.example', { dnssec: true }), 'NOERROR ad 192.0.2.80');
  t.match(addressOf(rig), { authenticated: true, dane: true, state: 'private' });
  t.ok(dane.asked.indexOf('A www.example.') > dane.asked.indexOf(`TLSA ${dane.owner}`));
  t.match(rig.lines.join('\n'), /identity proved by DANE/);
});

void t.test('it does so while dnssec.mode is off', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  await rig.start(configOf(dane, { mode: 'off' }));
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
});

void t.test('queries that come before the proof wait for it, and are all answered', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  await rig.start(configOf(dane));
  const answers = await Promise.all(Array.from({ length: 20 }, async () => rig.answer(rig.fresh())));
  t.same(
    answers,
    answers.map(() => 'NOERROR 192.0.2.99'),
  );
});

void t.test('an authority of a TLSA record proves a server of its name, and no other', async t => {
  const rig = await Rig.make(t);
  const own = authority('own authority');
  const issued = certificate({ common: NAME, names: [NAME], issuer: own });
  const chained = { ...issued, cert: issued.cert + own.cert };
  const dane = await daneServer(rig, chained, owner => tlsaIssuerLine(owner, own));
  await rig.start(configOf(dane));
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');

  const another = await Rig.make(t);
  const elsewhere = certificate({ common: 'x', names: ['elsewhere.example'], issuer: own });
  const wrong = await daneServer(another, { ...elsewhere, cert: elsewhere.cert + own.cert }, owner =>
    tlsaIssuerLine(owner, own),
  );
  await another.start(configOf(wrong));
  await refused(t, another, wrong, /for elsewhere\.example, not for dns\.example/);
});

void t.test('a trusted certificate without a matching TLSA record proves nothing', async t => {
  const rig = await Rig.make(t);
  const dane = await daneServer(rig, rig.issued(NAME), owner => tlsaLine(owner, selfSigned()));
  await rig.start(configOf(dane));
  await refused(
    t,
    rig,
    dane,
    /no TLSA record of _\d+\._tcp\.dns\.example\. matches .* the server shows the key "3 1 1 /,
  );
});

void t.test('a record of usage PKIX also requires an authority that is trusted', async t => {
  const rig = await Rig.make(t);
  const trusted = rig.issued(NAME);
  const pkix = (identity: Identity) => (owner: string) =>
    tlsaHex(owner, `010101${Buffer.from(identity.pin, 'base64').toString('hex')}`);
  const dane = await daneServer(rig, trusted, pkix(trusted));
  await rig.start(configOf(dane));
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');

  const another = await Rig.make(t);
  const own = certificate({ common: NAME, names: [NAME] });
  const wrong = await daneServer(another, own, pkix(own));
  await another.start(configOf(wrong));
  await refused(t, another, wrong, /the TLSA record "1 1 1 [0-9a-f]+" matches, but its certificate is self-signed/);
});

void t.test('TLSA records that are forged, stripped or left out are a refusal', async t => {
  const changes: readonly (readonly [string, (parts: Parts, own: Identity) => void, RegExp])[] = [
    [
      'forged',
      ({ answer }, own) => {
        const digest = Buffer.concat([Buffer.from('030101', 'hex'), Buffer.from(own.pin, 'base64')]);
        for (const [i, each] of answer.entries()) if (each.type === TYPE.TLSA) answer[i] = { ...each, rdata: digest };
      },
      /are bogus: the answer failed DNSSEC validation/,
    ],
    [
      'stripped',
      parts => {
        for (const list of [parts.answer, parts.authority])
          list.splice(0, Infinity, ...list.filter(({ type }) => type !== TYPE.RRSIG));
      },
      /are bogus: RRSIG records are missing: dns\.example leaves them out of all answers/,
    ],
    [
      'left out',
      ({ answer }) => {
        if (answer.some(({ type }) => type === TYPE.TLSA)) answer.splice(0, Infinity);
      },
      /are bogus: the denial of existence is not proven/,
    ],
  ];
  for (const [what, change, why] of changes) {
    await t.test(what, async t => {
      const rig = await Rig.make(t);
      const identity = selfSigned();
      const dane = await daneServer(rig, identity, owner => tlsaLine(owner, selfSigned()));
      dane.change = parts => change(parts, identity);
      await rig.start(configOf(dane));
      await refused(t, rig, dane, why);
    });
  }
});

void t.test('no TLSA records, and a zone without signatures, are a refusal with that reason', async t => {
  const rig = await Rig.make(t);
  const none = await daneServer(rig, rig.issued(NAME), () => '');
  await rig.start(configOf(none));
  await refused(t, rig, none, /there are no TLSA records at _\d+\._tcp\.dns\.example\./);

  const another = await Rig.make(t);
  const identity = selfSigned();
  const insecure = await daneServer(another, identity, owner => tlsaLine(owner, identity));
  const text = CLIENT_ZONE + tlsaLine(insecure.owner, identity);
  insecure.tree = signedTree({ '.': { text: '' }, 'example.': { unsigned: true, text } }, NOW_SEC);
  await another.start(configOf(insecure));
  await refused(t, another, insecure, /in a zone that is not signed/);
});

void t.test('a server that never answers about its TLSA records is refused in the time for connecting', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  const handler = dane.server.dot.handler;
  dane.server.dot.handler = () => undefined;
  await rig.start(configOf(dane));
  const startedAt = performance.now();
  t.match(await rig.answer('www.example', { timeoutMs: 6000 }), /^SERVFAIL/);
  t.ok(performance.now() - startedAt < 5000);
  t.match(addressOf(rig)?.failure, /no TLSA records within 4000 ms/);
  dane.server.dot.handler = handler;
  t.equal(await eventually(async () => rig.answer('www.example'), 'NOERROR 192.0.2.80'), 'NOERROR 192.0.2.80');
});

void t.test('a server that closes before its TLSA records came is refused', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  dane.server.dot.handler = (_query: Buffer, session: ServerSession) => session.socket.end();
  await rig.start(configOf(dane));
  t.match(await rig.answer('www.example'), /^SERVFAIL/);
  t.match(addressOf(rig)?.failure, /closed before its TLSA records came/);
});

void t.test('after a restart, kept records prove the server, and the first question is that of the client', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  const config = { ...configOf(dane), dnssec: { mode: 'off', trust_anchors: dane.tree.anchors } };
  await rig.start(config);
  t.equal(await rig.answer('www.example'), 'NOERROR 192.0.2.80');
  await rig.daemon.stop();
  dane.asked.splice(0);
  await rig.start(config);
  t.equal(await rig.answer('after.fresh.example'), 'NOERROR 192.0.2.99');
  t.same(dane.asked, ['A after.fresh.example.']);
});

void t.test('a roll of the key with both records published fails no query', async t => {
  const rig = await Rig.make(t);
  const [old, next] = [selfSigned(), selfSigned()];
  const dane = await daneServer(rig, old, owner => tlsaLine(owner, old) + tlsaLine(owner, next));
  await rig.start(configOf(dane));
  t.equal(await rig.answer(rig.fresh()), 'NOERROR 192.0.2.99');
  roll(dane, next);
  const answers = await Promise.all(Array.from({ length: 20 }, async () => rig.answer(rig.fresh())));
  t.same(
    answers,
    answers.map(() => 'NOERROR 192.0.2.99'),
  );
  t.equal(dane.asked.filter(each => each === `TLSA ${dane.owner}`).length, 1, 'the kept records hold the new key');
});

void t.test('a key that kept records do not hold is looked up anew before it is refused', async t => {
  const rig = await Rig.make(t);
  const [old, next] = [selfSigned(), selfSigned()];
  const dane = await daneServer(rig, old, owner => tlsaLine(owner, old));
  await rig.start(configOf(dane));
  t.equal(await rig.answer(rig.fresh()), 'NOERROR 192.0.2.99');
  // The zone is signed with other keys: the trust anchor is exchanged by a reload.
  dane.tree = signedTree(
    { '.': { text: '' }, 'example.': { text: CLIENT_ZONE + tlsaLine(dane.owner, next) } },
    NOW_SEC,
  );
  roll(dane, next);
  await refused(t, rig, { ...dane, clients: () => dane.clients().slice(1) }, /are bogus/);
  await rig.reload(configOf(dane));
  const answer = async (): Promise<string> => rig.answer(rig.fresh());
  t.equal(await eventually(answer, 'NOERROR 192.0.2.99'), 'NOERROR 192.0.2.99');
});

void t.test('other trust anchors end what was proven under those of before, TLS sessions included', async t => {
  const rig = await Rig.make(t);
  const identity = selfSigned();
  const dane = await daneServer(rig, identity, owner => tlsaLine(owner, identity));
  await rig.start(configOf(dane, { mode: 'off' }));
  t.equal(await rig.answer(rig.fresh()), 'NOERROR 192.0.2.99');
  const other = signedTree({ '.': { text: '' } }, NOW_SEC);
  await rig.reload(configOf(dane, { mode: 'off', trust_anchors: other.anchors }));
  dane.asked.splice(0);
  for (const each of dane.server.dot.sessions) each.reset();
  await refused(t, rig, dane, /are bogus/);
});

/** The server shows another certificate from now on, and its connections are cut. */
function roll({ server: { dot } }: DaneServer, { cert, key }: Identity): void {
  dot.exchange({ cert, key });
  for (const each of dot.sessions) each.reset();
}
