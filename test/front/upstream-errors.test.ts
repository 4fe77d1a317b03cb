// Errors of a server, as clients see them: none of them is an error of the client's query.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { PacketCache, packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { PacketReplies } from '../../src/fastpath/ready-replies.js';
import { front } from '../../src/front/front.js';
import { OPTION } from '../../src/wire/edns.js';
import { countsOf, FLAG, flagsOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { queryMessage } from '../fixtures/client.js';
import { fakeClock } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';
import { resolving, type Says } from '../fixtures/resolving.js';

/** What a client gets. */
function asked(says: Says, query: Buffer, transport: 'udp' | 'tcp' | 'tls' = 'udp'): Buffer {
  const { resolver } = resolving(says);
  const made = front({
    resolve: resolver.resolve,
    maxInflight: 10,
    maxPerClient: 0,
    allowed: () => true,
    ready: new PacketReplies(
      new PacketCache(packetCacheMemory(1 << 16)),
      () => ageSec(0),
      () => 0,
    ),
    streamIdleMs: () => 10_000,
    observer: recorder().observer,
    clock: fakeClock(),
    ageNow: () => ageSec(0),
  });
  let reply: Buffer | undefined;
  made.handle(
    query,
    { address: '192.0.2.1', port: 1, family: 4, transport },
    bytes => (reply = bytes && Buffer.from(bytes)),
  );
  if (reply === undefined) throw new Error('no reply');
  return reply;
}

/** RCODE, its name, and the code of the extended error. */
const ERRORS: readonly (readonly [number, string, number])[] = [
  [1, 'FORMERR', 23],
  [2, 'SERVFAIL', 22],
  [4, 'NOTIMP', 23],
  [5, 'REFUSED', 22],
  [7, 'YXRRSET', 23],
  [8, 'NXRRSET', 23],
  [9, 'NOTAUTH', 22],
  [11, 'DSOTYPENI', 23],
  [15, 'RCODE15', 23],
  [16, 'BADVERS', 23],
  [23, 'RCODE23', 23],
  [3841, 'RCODE3841', 23],
  [4095, 'RCODE4095', 23],
];
const RECORDS = {
  answers: 'x.example. 300 A 192.0.2.66\nother.example. 300 A 192.0.2.66',
  authority: 'example. 300 SOA a. b. 1 1 1 1 300\nexample. 300 NS ns.example.',
  additional: 'ns.example. 300 A 192.0.2.66',
};

await t.test('an error of a server is SERVFAIL without records, with the RCODE in words', t => {
  for (const [rcode, name, infoCode] of ERRORS)
    for (const parts of [{}, RECORDS]) {
      // AD says nothing about an error.
      const says: Says = query => responseTo(query, { ...parts, rcode, flags: FLAG.AD });
      const query = queryMessage('x.example', { flags: FLAG.RD | FLAG.AD, id: 77 });
      for (const transport of ['udp', 'tcp', 'tls'] as const) {
        const reply = asked(says, query, transport);
        t.match(messageToText(reply), {
          rcode: 'SERVFAIL',
          extendedErrors: [{ infoCode, text: `server 1 answered ${name}` }],
        });
        t.same(countsOf(reply), { questions: 1, answers: 0, authority: 0, additional: 1 }, name);
        t.equal(flagsOf(reply) & (FLAG.AD | FLAG.TC), 0);
        t.same(reply.subarray(12, 12 + 15), query.subarray(12, 12 + 15), 'the question');
      }
      const plain = asked(says, queryMessage('x.example', { edns: false }));
      t.equal(flagsOf(plain) & 15, 2, `${name}: the upper bits of an RCODE need EDNS`);
      t.same(countsOf(plain), { questions: 1, answers: 0, authority: 0, additional: 0 });
      t.equal(plain.length, 12 + 15, 'no OPT');
    }
  t.end();
});

await t.test('what the server says about its error comes before our own words', t => {
  const data = Buffer.from('\x00\x14not my zone', 'latin1');
  const reply = asked(
    query => responseTo(query, { rcode: 5, options: [{ code: OPTION.EDE, data }] }),
    queryMessage('x.example'),
  );
  t.match(messageToText(reply)?.extendedErrors, [
    { infoCode: 20, text: 'not my zone' },
    { infoCode: 22, text: 'server 1 answered REFUSED' },
  ]);
  t.end();
});

await t.test('an error about the target of an alias is the error of the whole', t => {
  for (const [rcode, name] of ERRORS) {
    const says: Says = (query, asks) =>
      responseTo(
        query,
        asks === 'x.example.' ? { answers: 'x.example. 300 CNAME target.example.' } : { ...RECORDS, rcode },
      );
    const query = queryMessage('x.example');
    const reply = asked(says, query);
    t.match(messageToText(reply), { rcode: 'SERVFAIL', extendedErrors: [{ text: `server 1 answered ${name}` }] });
    t.same(countsOf(reply), { questions: 1, answers: 0, authority: 0, additional: 1 });
    t.same(reply.subarray(12, 12 + 15), query.subarray(12, 12 + 15), 'the question of the client');
  }
  t.end();
});

await t.test('a circle of aliases is SERVFAIL with an explanation', t => {
  const says: Says = query => responseTo(query, { answers: 'x.example. 300 CNAME x.example.', flags: FLAG.AD });
  const reply = asked(says, queryMessage('x.example', { flags: FLAG.RD | FLAG.AD }));
  t.match(messageToText(reply), { rcode: 'SERVFAIL', extendedErrors: [{ infoCode: 0, text: /circle: server 1/ }] });
  t.equal(flagsOf(reply) & FLAG.AD, 0);
  t.equal(flagsOf(asked(says, queryMessage('x.example', { edns: false }))) & 15, 2);
  t.end();
});
