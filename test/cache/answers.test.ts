import t from 'tap';

import { type Entry, makeEntry, type TtlLimits } from '../../src/cache/entry.js';
import { ageSec } from '../../src/base/time.js';
import { AnswerCache } from '../../src/cache/answers.js';
import { questionOf } from '../../src/wire/compose.js';
import { cacheKey } from '../../src/wire/query.js';
import { ttlAt } from '../../src/wire/records.js';
import { scanResponse } from '../../src/wire/scan.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo, type ResponseParts } from '../fixtures/messages.js';
import { wireName } from '../fixtures/records.js';
import { recorder } from '../fixtures/recorder.js';

const LIMITS: TtlLimits = { minSec: 0, maxSec: 86_400, negativeMaxSec: 900 };
const SOA = 'example. 9000 SOA ns.example. host.example. 1 2 3 4 3600';

function entry(parts: ResponseParts, limits: Partial<TtlLimits> = {}, nowSec = 0): Entry {
  const message = responseTo(queryMessage('www.example'), parts);
  const scan = scanResponse(message, 1);
  if (scan === undefined) throw new Error('not a response');
  return makeEntry(
    message,
    scan,
    { ...LIMITS, ...limits },
    { ageNow: ageSec(nowSec), verdict: 'unchecked', upstream: 'u', protocol: 'dot' },
  );
}
const ttls = ({ octets, ttlOffsets }: Entry): number[] => Array.from(ttlOffsets, offset => ttlAt(octets, offset));
const A = 'www.example. 300 A 192.0.2.1';

await t.test('TTLs are brought into the configured bounds, in the octets too', t => {
  t.match(entry({ answers: A }), { ttlSec: 300 });
  t.match(entry({ answers: A }, { maxSec: 60 }), { ttlSec: 60 });
  t.same(ttls(entry({ answers: A }, { maxSec: 60 })), [60]);
  t.same(ttls(entry({ answers: A }, { minSec: 600 })), [600]);
  t.match(entry({ answers: A }, { minSec: 600 }), { ttlSec: 600 });
  t.end();
});

await t.test('RFC 2308 §5: a denial is bounded on its own, and its SOA says so', t => {
  const denial = entry({ rcode: 3, authority: SOA });
  t.equal(denial.ttlSec, 900);
  t.same(ttls(denial), [900]);
  t.equal(entry({ rcode: 3, authority: SOA }, { negativeMaxSec: 0 }).ttlSec, 0);
  t.end();
});

await t.test('min_ttl keeps nothing that may not be kept', t => {
  for (const parts of [{ rcode: 2 }, { rcode: 3 }, { rcode: 5, answers: A }, { answers: A, flags: 0x0200 }]) {
    t.equal(entry(parts, { minSec: 600 }).ttlSec, 0, JSON.stringify(parts));
  }
  t.end();
});

await t.test('an entry is served until its TTL is over, and not a second longer', t => {
  const { observer, count } = recorder();
  const kept = new AnswerCache(1 << 20, observer);
  kept.put('k', entry({ answers: A }, {}, 1000));
  t.ok(kept.get('k', ageSec(1000)));
  t.ok(kept.get('k', ageSec(1299.9)));
  t.equal(kept.get('k', ageSec(1300)), undefined);
  t.equal(kept.get('other', ageSec(1000)), undefined);
  t.equal(count('cache', 'hit_positive'), 2);
  t.equal(count('cache', 'miss'), 2);
  kept.put('n', entry({ rcode: 3, authority: SOA }, {}, 1000));
  kept.get('n', ageSec(1001));
  t.equal(count('cache', 'hit_negative'), 1);
  kept.clear();
  t.equal(kept.entries, 0);
  t.end();
});

await t.test('what lives 0 seconds is not kept', t => {
  const kept = new AnswerCache(1 << 20, recorder().observer);
  kept.put('k', entry({ rcode: 2 }));
  t.equal(kept.entries, 0);
  t.end();
});

await t.test('answers are forgotten by the names of their aliases, too', t => {
  const kept = new AnswerCache(1 << 20, recorder().observer);
  const key = (name: string): string => cacheKey(questionOf(wireName(name), 1), false);
  const forget = (name: string): number => kept.forget(each => each === wireName(name).toString('latin1'));
  const chain = 'www.example. 300 CNAME Mid.example.\nMid.example. 300 CNAME host.other.\nhost.other. 300 A 192.0.2.1';
  const cases: readonly (readonly [answers: string, ...names: readonly string[]])[] = [
    [chain, 'www.example', 'mid.example', 'host.other'],
    ['www.example. 300 CNAME gone.other.', 'gone.other'],
    [`example. 300 DNAME other.\nwww.example. 300 CNAME www.other.`, 'example', 'other', 'www.other'],
  ];
  for (const [answers, ...names] of cases) {
    for (const name of names) {
      kept.put(key('www.example'), entry({ answers, authority: SOA }));
      kept.put(key('plain.example'), entry({ answers: 'plain.example. 300 A 192.0.2.1' }));
      t.equal(forget(name), 1, `${answers}: ${name}`);
      t.equal(kept.entries, 1);
    }
  }
  t.equal(forget('192.0.2.1'), 0, 'and no other');
  t.end();
});

await t.test('what comes out is what went in', t => {
  const kept = new AnswerCache(1 << 20, recorder().observer);
  const made: Entry = {
    ...entry({ answers: A }, {}, 12.5),
    verdict: 'secure',
    protocol: 'udp',
    extendedErrors: [
      { infoCode: 3, text: 'älter' },
      { infoCode: 22, text: '' },
    ],
  };
  kept.put('first', entry({ rcode: 3, authority: SOA }, {}, 12.5));
  kept.put('k', made);
  const found = kept.get('k', ageSec(20));
  t.same(found, { ...made, octets: found?.octets, ttlOffsets: [...Array.from(made.ttlOffsets)] });
  t.ok(found?.octets.equals(made.octets));
  t.match(kept.get('first', ageSec(20)), { negative: true, rcode: 3, verdict: 'unchecked', extendedErrors: [] });
  t.end();
});
