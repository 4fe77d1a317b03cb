import t from 'tap';

import { questionOf } from '../../src/wire/compose.js';
import { OPTION } from '../../src/wire/edns.js';
import { FLAG, HEADER_BYTES } from '../../src/wire/header.js';
import { ALL_ROUTES, cacheKey, keyOfType, keyWithRoutes, LAST_ROUTE_SET, parseQuery } from '../../src/wire/query.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { queryMessage } from '../fixtures/client.js';
import { wireName } from '../fixtures/records.js';

const patched = (message: Buffer, at: number, value: number): Buffer => {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(value, at);
  return copy;
};
const code = (message: Buffer): string => {
  const parsed = parseQuery(message);
  return parsed.at === 'reject' ? parsed.code : parsed.at === 'ignore' ? parsed.reason : 'query';
};
const plain = queryMessage('www.example', { edns: false });
const edns = queryMessage('www.example', {});

await t.test('a query is read', t => {
  const parsed = parseQuery(
    queryMessage('wWw.example', { type: 'AAAA', dnssec: true, flags: FLAG.RD | FLAG.CD, id: 77 }),
  );
  if (parsed.at !== 'query') throw new Error('not a query');
  t.match(parsed.query, { id: 77, type: 28, recurse: true, dnssecOk: true, checkingDisabled: true });
  t.match(parsed.query.question.toString('latin1'), 'wWw', 'letter case is kept');
  t.end();
});

await t.test('letter case and DO share a key; CD has its own', t => {
  const key = (...args: Parameters<typeof queryMessage>): string => {
    const parsed = parseQuery(queryMessage(...args));
    return parsed.at === 'query' ? parsed.query.key : '';
  };
  t.equal(key('WWW.example'), key('www.EXAMPLE'));
  t.equal(
    key('www.example'),
    key('www.example', { dnssec: true }),
    'signatures are kept for all, and shown to those who ask',
  );
  const keys = [
    key('www.example'),
    key('www.example', { flags: FLAG.RD | FLAG.CD }),
    key('www.example', { type: 'AAAA' }),
    key('ww.example'),
  ];
  t.equal(new Set(keys).size, keys.length);
  t.not(
    key('www.example', { type: 'HTTPS' }),
    key('www.example', { type: 'TYPE97' }),
    'type 65 is an A, type 97 is not its small letter',
  );
  t.end();
});

await t.test('what deserves no reply', t => {
  t.equal(code(plain.subarray(0, 11)), 'short');
  t.equal(code(Buffer.alloc(0)), 'short');
  t.equal(code(patched(plain, 2, FLAG.QR)), 'response', 'a response to a response would be a loop');
  t.end();
});

await t.test('refused queries and their error replies', t => {
  t.equal(code(patched(plain, 2, 4 << 11)), 'opcode', 'NOTIFY');
  t.equal(code(patched(plain, 4, 0)), 'form_error', 'no question');
  t.equal(code(patched(plain, 4, 2)), 'form_error', 'RFC 9619: two questions');
  t.equal(code(patched(plain, 6, 1)), 'form_error', 'an answer in a query');
  t.equal(code(patched(plain, 8, 1)), 'form_error', 'authority in a query');
  t.equal(code(plain.subarray(0, plain.length - 1)), 'form_error', 'cut');
  t.equal(code(Buffer.concat([plain, Buffer.from([0])])), 'form_error', 'octets too many');
  t.equal(code(queryMessage('x.example', { type: 'AXFR' })), 'meta_type');
  t.equal(code(queryMessage('x.example', { type: 'IXFR' })), 'meta_type');
  t.equal(code(queryMessage('x.example', { type: 'OPT' })), 'meta_type');
  t.equal(code(queryMessage('x.example', { type: 'NXNAME' })), 'nxname', 'RFC 9824 §3.3');
  t.equal(code(patched(plain, plain.length - 2, 3)), 'class', 'CHAOS');
  t.end();
});

await t.test('RFC 6891 §6.1.1: one OPT at most, at the root, whole, version 0', t => {
  const opt = edns.subarray(plain.length);
  const count = (message: Buffer, records: number): Buffer => patched(message, 10, records);
  t.equal(code(edns), 'query');
  t.equal(code(count(Buffer.concat([edns, opt]), 2)), 'form_error', 'two');
  const atName = Buffer.concat([plain, Buffer.from([0xc0, HEADER_BYTES]), opt.subarray(1)]);
  t.equal(code(count(atName, 1)), 'form_error', 'not at the root');
  const version1 = Buffer.from(edns);
  version1[plain.length + 6] = 1;
  t.equal(code(version1), 'bad_version');
  const cutOption = queryMessage('www.example', { options: [{ code: OPTION.COOKIE, data: Buffer.alloc(8) }] });
  cutOption.writeUInt16BE(9, plain.length + 13);
  t.equal(code(cutOption), 'form_error', 'an option longer than the RDATA');
  t.end();
});

await t.test('the key of another type is that of the same question for it', t => {
  const name = wireName('www.example');
  for (const checkingDisabled of [false, true])
    for (const routes of [ALL_ROUTES, LAST_ROUTE_SET]) {
      const keyFor = (type: number): string =>
        keyWithRoutes(cacheKey(questionOf(name, type), checkingDisabled), routes);
      for (const type of [TYPE.CNAME, TYPE.HTTPS, 0x0101])
        t.equal(keyOfType(keyFor(TYPE.A), type), keyFor(type), `type ${type}`);
    }
  t.end();
});
