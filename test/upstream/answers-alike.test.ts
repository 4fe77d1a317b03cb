// What the answers of one address have in common.

import t from 'tap';

import type { AnswersAlike } from '../../src/base/overview.js';
import { AnswersSeen } from '../../src/upstream/answers-alike.js';
import { typeFromText } from '../../src/wire/rrtype.js';
import { questionOf } from '../../src/wire/compose.js';
import { scanResponse } from '../../src/wire/scan.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { wireName } from '../fixtures/records.js';

type Told = readonly [name: string, what: number | string, type?: string];

/** @param told names with an RCODE, or with records */
function seen(told: readonly Told[], { isCleartext = true, before = new AnswersSeen() } = {}): AnswersSeen {
  for (const [name, what, type = 'A'] of told) {
    const code = typeFromText(type) ?? 0;
    const query = queryMessage(name, { type });
    const message =
      typeof what === 'number' ? responseTo(query, { rcode: what }) : responseTo(query, { answers: what });
    const scan = scanResponse(message, code);
    if (scan === undefined) throw new Error(name);
    before.note(questionOf(wireName(name), code), code, message, scan, isCleartext);
  }
  return before;
}
const at = (name: string, address: string): Told => [name, `${name}. 60 A ${address}`];
const names = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => `www.zone${i}.test`);
const all = (count: number, rcode: number): readonly Told[] => names(count).map(name => [name, rcode]);
const GOOD = at('good.test', '192.0.2.1');
const alike = (told: readonly Told[]): AnswersAlike | undefined => seen(told).alike;

await t.test('errors about several names in a row, and nothing else, are those of a broken server', t => {
  t.same(alike(all(3, 2)), { at: 'errors', rcode: 2, count: 3 });
  t.same(alike(all(3, 5)), { at: 'errors', rcode: 5, count: 3 });
  t.equal(alike(all(2, 2)), undefined);
  t.equal(alike(Array.from({ length: 20 }, () => ['www.broken.test', 2])), undefined, 'one name may be broken');
  t.equal(alike([...all(3, 2), GOOD]), undefined, 'one good answer ends it');
  t.equal(alike([...all(3, 2), ['gone.test', 3]]), undefined, 'and so does a denial');
  t.equal(alike([GOOD, ...all(7, 2)]), undefined, 'after a good one, more are needed');
  t.same(alike([GOOD, ...all(8, 2)]), { at: 'errors', rcode: 2, count: 8 });
  t.end();
});

await t.test('an error about the root is enough, but not from a server that only lacks the types of validation', t => {
  t.same(alike([['.', 2, 'DNSKEY']]), { at: 'errors', rcode: 2, count: 1 });
  t.same(alike([GOOD, ['.', 5, 'NS']]), { at: 'errors', rcode: 5, count: 1 });
  t.equal(alike([GOOD, ['.', 2, 'DNSKEY'], ['test', 2, 'DS'], ...all(7, 2)]), undefined);
  t.end();
});

await t.test('denials of everything: of the root, or of more names than a mistyping user asks for', t => {
  t.same(alike([['.', 3, 'DNSKEY']]), { at: 'denials', count: 1 });
  t.same(alike(all(5, 3)), { at: 'denials', count: 5 });
  t.equal(alike(all(4, 3)), undefined);
  t.equal(alike([GOOD, ...all(15, 3)]), undefined);
  t.same(alike([GOOD, ...all(16, 3)]), { at: 'denials', count: 16 });
  t.equal(alike([...all(16, 3), GOOD]), undefined);
  t.end();
});

await t.test('one address for the names of four domains, in cleartext alone', t => {
  const portal = names(4).map(name => at(name, '10.0.0.1'));
  t.same(alike(portal), { at: 'one_address', address: '10.0.0.1', count: 4 });
  t.equal(alike(portal.slice(1)), undefined);
  t.equal(alike(['a', 'b', 'c', 'd', 'e'].map(host => at(`${host}.one.test`, '10.0.0.1'))), undefined, 'one domain');
  t.equal(alike([...portal.slice(0, 3), GOOD, ...portal.slice(3)]), undefined, 'another one between them');
  t.equal(alike(names(9).map(name => at(name, '0.0.0.0'))), undefined, 'a resolver that blocks names');
  t.equal(seen(portal, { isCleartext: false }).alike, undefined, 'a portal has no certificate');
  const signed = portal.map(([name, text]): Told => [name, `${String(text)}\n${name}. 60 A 10.0.0.2`]);
  t.equal(alike(signed), undefined, 'portals give one record');
  t.end();
});

await t.test('another network: what was seen before does not count', t => {
  const before = seen([...all(8, 2)]);
  before.forget();
  t.equal(before.alike, undefined);
  t.equal(seen(all(2, 2), { before }).alike, undefined);
  t.end();
});
