// What is forgotten while a snapshot is read does not come back from there, and all else does.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { AnswerCache } from '../../src/cache/answers.js';
import { makeEntry } from '../../src/cache/entry.js';
import type { StoredBlock } from '../../src/cache/snapshot.js';
import { isWithin, nameOf } from '../../src/dnssec/name.js';
import { ForgottenWhileRead } from '../../src/pipeline/forgotten.js';
import { questionOf } from '../../src/wire/compose.js';
import { cacheKey } from '../../src/wire/query.js';
import { scanResponse } from '../../src/wire/scan.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

const LIMITS = { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 };
const A = '300 A 192.0.2.1';
/** The answers of before, by name. */
const ANSWERS: Readonly<Record<string, string>> = {
  'www.example': `www.example. ${A}`,
  'below.www.example': `below.www.example. ${A}`,
  'alias.other': `alias.other. 300 CNAME WWW.example.\nWWW.example. ${A}`,
  'www.other': `www.other. ${A}`,
  'nothing.other': '',
};
const keyOf = (name: string): string => cacheKey(questionOf(wireName(name), 1), false);
const cache = (): AnswerCache => new AnswerCache(1 << 20, recorder().observer);

function blocks(): StoredBlock[] {
  const before = cache();
  for (const [name, answers] of Object.entries(ANSWERS)) {
    const parts = answers === '' ? { authority: 'other. 300 SOA a. b. 1 1 1 1 300' } : { answers };
    const message = responseTo(queryMessage(name), parts);
    const scan = scanResponse(message, 1);
    if (scan === undefined) throw new Error('not a response');
    const from = { ageNow: ageSec(1), verdict: 'insecure', upstream: 'dns.test', protocol: 'dot' } as const;
    before.put(keyOf(name), makeEntry(message, scan, LIMITS, from));
  }
  return Array.from(before.blocks(ageSec(1), 0), each => ({
    ...each,
    octets: each.octets.map(octets => Buffer.from(octets)),
    shiftSec: 0,
  }));
}

/** Which answers of before are taken. */
function taken(forgotten: ForgottenWhileRead): string[] {
  const after = cache();
  let count = 0;
  for (const each of blocks()) count += after.restore(each, ageSec(1), forgotten);
  const there = Object.keys(ANSWERS).filter(name => after.peek(keyOf(name)) !== undefined);
  t.equal(count, there.length, 'and no others are counted');
  return there;
}
const www = nameOf(wireName('www.example'));

await t.test('nothing was forgotten: all are taken', t => {
  const forgotten = new ForgottenWhileRead();
  t.same(taken(forgotten), Object.keys(ANSWERS));
  t.notOk(forgotten.hasDenials);
  t.end();
});

await t.test('a name that was forgotten keeps out its answers, and those that lead to it by an alias', t => {
  const forgotten = new ForgottenWhileRead();
  forgotten.names(name => name === www);
  t.same(taken(forgotten), ['below.www.example', 'www.other', 'nothing.other']);
  t.ok(forgotten.hasDenials, 'it may be in any gap');
  t.end();
});

await t.test('so do a zone, several names, and all of them', t => {
  const forgotten = new ForgottenWhileRead();
  forgotten.names(name => isWithin(name, www));
  t.same(taken(forgotten), ['www.other', 'nothing.other']);
  forgotten.names(name => name === nameOf(wireName('www.other')));
  t.same(taken(forgotten), ['nothing.other']);
  forgotten.names(() => true);
  t.same(taken(forgotten), []);
  t.end();
});

await t.test('negative answers that were forgotten keep out those, and denials', t => {
  const forgotten = new ForgottenWhileRead();
  forgotten.negatives();
  t.same(taken(forgotten), Object.keys(ANSWERS).slice(0, -1));
  t.ok(forgotten.hasDenials);
  t.end();
});

await t.test('more than 64 are all names: it is bounded', t => {
  const forgotten = new ForgottenWhileRead();
  for (let i = 0; i < 64; i++) forgotten.names(name => name === nameOf(wireName(`n${i}.example`)));
  t.same(taken(forgotten), Object.keys(ANSWERS));
  forgotten.names(name => name === nameOf(wireName('n64.example')));
  t.same(taken(forgotten), []);
  t.end();
});

await t.test('once all was read, what is forgotten is not kept', t => {
  const forgotten = new ForgottenWhileRead();
  forgotten.names(() => true);
  forgotten.negatives();
  forgotten.end();
  for (const each of [1, 2]) {
    t.same([forgotten.isForgotten, forgotten.hasNegative, forgotten.hasDenials], [undefined, false, false], `${each}`);
    forgotten.names(() => true);
    forgotten.negatives();
  }
  t.end();
});
