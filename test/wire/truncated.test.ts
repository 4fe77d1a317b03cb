import t from 'tap';

import { FLAG, flagsOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { parseQuery } from '../../src/wire/query.js';
import { truncatedReply } from '../../src/wire/truncated.js';
import { queryMessage } from '../fixtures/client.js';

const replyTo = (query: Buffer): Buffer => {
  const parsed = parseQuery(query);
  if (parsed.at !== 'query') throw new Error('not a query');
  return truncatedReply(query, parsed.query.question.length);
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
    t.match(opt, { version: 0, options: [] });
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

/** The OPT of a reply, read as if it were a query. */
function parsedReply(reply: Buffer): { readonly opt: unknown } {
  const query = Buffer.from(reply);
  query[2] = 1;
  query[3] = 0;
  const parsed = parseQuery(query);
  return { opt: parsed.at === 'query' ? parsed.query.opt : undefined };
}
