import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { makeEntry } from '../../src/cache/entry.js';
import { FLAG, flagsOf } from '../../src/wire/header.js';
import { messageToText } from '../../src/wire/message.js';
import { parseQuery, type ClientQuery } from '../../src/wire/query.js';
import { answerReply, headerOnlyReply, type ReplyShape, udpLimit } from '../../src/wire/reply.js';
import { scanResponse } from '../../src/wire/scan.js';
import { type AskOptions, queryMessage } from '../fixtures/client.js';
import { responseTo, type ResponseParts } from '../fixtures/messages.js';

function query(name: string, options?: AskOptions): ClientQuery {
  const parsed = parseQuery(queryMessage(name, options));
  if (parsed.at !== 'query') throw new Error('not a query');
  return parsed.query;
}
function stored(parts: ResponseParts, name = 'www.example') {
  const message = responseTo(queryMessage(name), parts);
  const scan = scanResponse(message, 1);
  if (scan === undefined) throw new Error('not a response');
  return makeEntry(
    message,
    scan,
    { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 },
    { ageNow: ageSec(0), verdict: 'unchecked', upstream: 'u', protocol: 'dot' },
  );
}
const WIDE: ReplyShape = { limitBytes: 65535, pad: false, options: [] };
const one = stored({ answers: 'www.example. 300 A 192.0.2.1', flags: FLAG.AA | FLAG.AD });

await t.test("the reply has the client's id and letter case, and TTLs that have aged", t => {
  const reply = answerReply(query('WWW.exAmple', { id: 4711 }), one, 100, [], WIDE, false);
  t.equal(reply.readUInt16BE(0), 4711);
  t.match(messageToText(reply), { question: { name: 'WWW.exAmple.' }, answers: [{ ttl: 200, data: '192.0.2.1' }] });
  t.match(
    messageToText(answerReply(query('www.example'), one, 1000, [], WIDE, false)),
    { answers: [{ ttl: 0 }] },
    'never below 0',
  );
  t.equal(one.octets.readUInt32BE(one.ttlOffsets[0] ?? 0), 300, 'the stored octets are not touched');
  t.end();
});

await t.test('flags: RD and CD are repeated, RA is set, AA and AD never', t => {
  const flags = flagsOf(
    answerReply(query('www.example', { flags: FLAG.RD | FLAG.CD | FLAG.AD }), one, 0, [], WIDE, false),
  );
  t.equal(flags, FLAG.QR | FLAG.RD | FLAG.RA | FLAG.CD);
  t.equal(flagsOf(answerReply(query('www.example', { flags: 0 }), one, 0, [], WIDE, false)), FLAG.QR | FLAG.RA);
  t.end();
});

await t.test('RFC 6891 §6.1.1: only clients that sent an OPT get one, with their DO', t => {
  const without = answerReply(query('www.example', { edns: false }), one, 0, [], WIDE, false);
  t.equal(without.readUInt16BE(10), 0);
  const withDo = answerReply(query('www.example', { dnssec: true }), one, 0, [], WIDE, false);
  t.equal(withDo.readUInt16BE(10), 1);
  t.equal(withDo.readUInt16BE(withDo.length - 4), 0x8000);
  t.end();
});

await t.test('a reply that fits to the octet is whole, one octet less truncates it to question and OPT', t => {
  const asked = query('www.example');
  const whole = answerReply(asked, one, 0, [], WIDE, false);
  t.equal(answerReply(asked, one, 0, [], { ...WIDE, limitBytes: whole.length }, false).length, whole.length);
  const cut = answerReply(asked, one, 0, [], { ...WIDE, limitBytes: whole.length - 1 }, false);
  t.ok(flagsOf(cut) & FLAG.TC);
  t.match(messageToText(cut), { answers: [], authority: [], question: { name: 'www.example.' } });
  t.equal(cut.readUInt16BE(10), 1);
  t.end();
});

await t.test('UDP limits: 512 without EDNS, what the client can take, never above 1232', t => {
  t.equal(udpLimit(query('x.example', { edns: false })), 512);
  t.equal(udpLimit(query('x.example')), 1232);
  const big = query('x.example');
  t.equal(udpLimit({ ...big, opt: big.opt && { ...big.opt, udpSize: 4096 } }), 1232);
  t.equal(udpLimit({ ...big, opt: big.opt && { ...big.opt, udpSize: 600 } }), 600);
  t.end();
});

await t.test('RFC 8467 §4.1: replies to padding clients are multiples of 468', t => {
  for (const reply of [
    answerReply(query('www.example'), one, 0, [], { ...WIDE, pad: true }, false),
    headerOnlyReply(query('www.example'), 2, [], { ...WIDE, pad: true }),
  ]) {
    t.equal(reply.length % 468, 0);
    t.ok(messageToText(reply));
  }
  t.end();
});

await t.test('an explanation that does not fit is left out, the error is not', t => {
  const asked = query('www.example');
  const long = [{ infoCode: 22, text: 'x'.repeat(200) }];
  t.match(messageToText(headerOnlyReply(asked, 2, long, WIDE)), { rcode: 'SERVFAIL', extendedErrors: long });
  t.match(messageToText(headerOnlyReply(asked, 2, long, { ...WIDE, limitBytes: 100 })), {
    rcode: 'SERVFAIL',
    extendedErrors: [],
  });
  t.end();
});

await t.test("RFC 6891 §6.1.3: BADVERS needs the OPT's upper bits", t => {
  t.match(messageToText(headerOnlyReply(query('www.example'), 16, [], WIDE)), { rcode: 'BADVERS' });
  t.end();
});

await t.test('compressed owners follow the question into another letter case', t => {
  const message = responseTo(queryMessage('www.example'), { edns: false });
  const record = Buffer.from('c00c00010001000000 3c0004c0000201'.replace(' ', ''), 'hex');
  const compressed = Buffer.concat([message, record]);
  compressed.writeUInt16BE(1, 6);
  const scan = scanResponse(compressed, 1);
  if (scan === undefined) throw new Error('not a response');
  const entry = makeEntry(
    compressed,
    scan,
    { minSec: 0, maxSec: 100, negativeMaxSec: 1 },
    { ageNow: ageSec(0), verdict: 'unchecked', upstream: 'u', protocol: 'dot' },
  );
  t.match(messageToText(answerReply(query('WwW.eXaMpLe'), entry, 10, [], WIDE, false)), {
    answers: [{ name: 'WwW.eXaMpLe.', ttl: 50 }],
  });
  t.end();
});

await t.test('RFC 7873 §5.3: a reply with a cookie keeps it, and is truncated if it does not fit', t => {
  const cookie = { code: 10, data: Buffer.alloc(24, 7) };
  for (let bytes = 500; bytes < 700; bytes++) {
    const text = 'x'.repeat(bytes - 200);
    const answers = `www.example. 300 TXT "${text.slice(0, 250)}" "${text.slice(250)}"`;
    const reply = answerReply(
      query('www.example', { type: 'TXT', options: [cookie] }),
      stored({ answers }),
      0,
      [{ infoCode: 3, text: 'an explanation that need not be there' }],
      { limitBytes: 512, pad: false, options: [cookie] },
      false,
    );
    if (!reply.includes(cookie.data) || reply.length > 512) t.fail(`${bytes}: ${reply.length} octets, no cookie`);
  }
  t.end();
});
