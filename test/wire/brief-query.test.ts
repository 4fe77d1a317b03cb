import fc from 'fast-check';
import t from 'tap';

import { BriefQuery } from '../../src/wire/brief-query.js';
import { FLAG, flagsOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { parseQuery } from '../../src/wire/query.js';
import { queryMessage } from '../fixtures/client.js';

const brief = new BriefQuery();
const replyTo = (query: Buffer): Buffer => {
  if (!brief.read(query, 0, query.length)) throw new Error('not a query');
  const reply = Buffer.alloc(query.length);
  return reply.subarray(0, brief.writeTruncated(reply, 0));
};

await t.test('the reply has the question as it came, TC, and nothing else', t => {
  const query = queryMessage('WwW.example', { id: 4711, edns: false });
  const reply = replyTo(query);
  t.match(messageToText(reply), { rcode: 'NOERROR', flags: ['qr', 'tc', 'rd', 'ra'], answers: [] });
  t.equal(reply.length, query.length);
  t.same(reply.subarray(0, 2), query.subarray(0, 2), 'its id');
  t.same(reply.subarray(12), query.subarray(12), 'and the letters of its name');
  t.end();
});

await t.test('a client that speaks EDNS gets an OPT without options, and DO as it was', t => {
  for (const dnssec of [false, true]) {
    const query = queryMessage('www.example', { dnssec, options: [{ code: 10, data: Buffer.alloc(8, 1) }] });
    const reply = replyTo(query);
    t.equal(reply.length, query.length - 12, 'its options are left out');
    const { opt } = parsedReply(reply);
    t.match(opt, { version: 0, optionsBytes: 0 });
    t.equal((reply[reply.length - 4] ?? 0) >> 7, dnssec ? 1 : 0);
  }
  t.end();
});

await t.test('it is never longer than the query, and CD is kept', t => {
  for (const flags of [FLAG.RD, FLAG.RD | FLAG.CD, FLAG.RD | FLAG.AD])
    for (const edns of [false, true]) {
      const query = queryMessage('a.example', { flags, edns });
      const reply = replyTo(query);
      t.ok(reply.length <= query.length);
      t.equal(flagsOf(reply) & FLAG.CD, flags & FLAG.CD);
    }
  t.end();
});

await t.test('its cookie is found behind other options, wherever the message stands', t => {
  const data = Buffer.alloc(24, 9);
  const query = queryMessage('www.example', {
    options: [
      { code: 12, data: Buffer.alloc(5) },
      { code: 10, data },
    ],
  });
  const among = Buffer.concat([Buffer.alloc(7, 0xff), query, Buffer.alloc(7, 0xff)]);
  t.ok(brief.read(among, 7, query.length));
  t.same(among.subarray(brief.cookieAt, brief.cookieAt + brief.cookieBytes), data);
  t.ok(brief.read(queryMessage('www.example'), 0, queryMessage('www.example').length));
  t.equal(brief.cookieBytes, 0, 'and not that of the query before');
  t.end();
});

await t.test('a client that has had a cookie gets one with TC, and the reply is as long as the query at most', t => {
  const cookie = Buffer.alloc(24, 3);
  for (const [bytes, hasRoom] of [
    [8, false],
    [12, false],
    [24, true],
    [40, true],
    [41, false],
  ] as const) {
    const query = queryMessage('www.example', { options: [{ code: 10, data: Buffer.alloc(bytes, 9) }] });
    t.ok(brief.read(query, 0, query.length));
    t.equal(brief.hasCookieRoom, hasRoom, `${bytes} octets`);
    const reply = Buffer.alloc(query.length);
    const length = brief.writeTruncated(reply, 0, hasRoom ? cookie : undefined);
    t.ok(length <= query.length);
    const { opt } = parsedReply(reply.subarray(0, length));
    t.match(opt, { optionsBytes: hasRoom ? 28 : 0 });
    if (hasRoom) t.same(reply.subarray(length - 28, length), Buffer.concat([Buffer.from([0, 10, 0, 24]), cookie]));
  }
  t.end();
});

await t.test('whatever octets come, nothing outside of them is read, and no reply is longer than they are', t => {
  const query = queryMessage('www.example', { options: [{ code: 10, data: Buffer.alloc(24, 9) }] });
  const roll = fc.sample(fc.tuple(fc.nat(query.length - 1), fc.nat(255), fc.nat(query.length)), {
    numRuns: 50_000,
    seed: 5,
  });
  let readable = 0;
  for (const [at, octet, length] of roll) {
    const damaged = Buffer.from(query);
    damaged[at] = octet;
    if (!brief.read(damaged, 0, length)) continue;
    readable++;
    const reply = Buffer.alloc(length + 64, 0xee);
    const bytes = brief.writeTruncated(reply, 0);
    if (bytes > length || !reply.subarray(bytes).equals(Buffer.alloc(length + 64 - bytes, 0xee)))
      t.fail(`${damaged.toString('hex')} ${length}: ${bytes} octets`);
    if (brief.cookieAt + brief.cookieBytes > length) t.fail(`${damaged.toString('hex')}: its cookie is outside`);
  }
  t.ok(readable > 5000, `${readable} of them are readable`);
  for (const [at, octet, length] of roll) {
    const damaged = Buffer.from(query).subarray(0, length);
    if (at < length) damaged[at] = octet;
    if (parseQuery(damaged).at === 'query' && !brief.read(damaged, 0, length))
      t.fail(`${damaged.toString('hex')}: another reader takes it for a query`);
  }
  const update = Buffer.from(query);
  update[2] = 0x28;
  t.notOk(brief.read(update, 0, update.length), 'an update');
  const response = Buffer.from(query);
  response[2] = 0x80;
  t.notOk(brief.read(response, 0, response.length), 'a response');
  t.end();
});

/** The OPT of a reply, read as if it were a query. */
function parsedReply(reply: Buffer): { readonly opt: unknown } {
  const query = Buffer.from(reply);
  query[2] = 1;
  query[3] = 0;
  const parsed = parseQuery(query);
  return { opt: parsed.at === 'query' ? parsed.query.opt : undefined };
}
