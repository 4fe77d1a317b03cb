// Kinds of mistakes about limits, costs and signatures, each held by several instances of it. kinds-of-zones.test.ts
// has those about who may speak for a name.

import t, { type Test } from 'tap';

import type { DnssecLimit } from '../../src/base/observer.js';
import { ageSec } from '../../src/base/time.js';
import type { Clock } from '../../src/base/ports.js';
import { FailureCache, HOLDS } from '../../src/cache/failures.js';
import { nameOf } from '../../src/dnssec/name.js';
import type { ZoneState } from '../../src/dnssec/zones.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock } from '../fixtures/clock.js';
import { wireName, type ZoneRecord } from '../fixtures/records.js';
import { changed, inClass, type Reply, type Script, scripted, ScriptedZone, unhurried } from '../fixtures/scripted.js';
import type { OddSignature } from '../fixtures/signer.js';
import { type Upstream, validating, type Validating, verdictOf } from '../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const NOW_SEC = NOW_MS / 1000;
type Rest = ConstructorParameters<typeof ScriptedZone> extends [string, number, ...infer R] ? R : never;
const zone = (name: string, ...rest: Rest): ScriptedZone => new ScriptedZone(name, NOW_SEC, ...rest);
const root = zone('.');
const under = (upstream: Upstream, settings = {}, clock: Clock = fakeClock(NOW_MS)): Validating =>
  validating({
    anchors: [root.key.dsText],
    clock: unhurried(clock),
    upstream,
    upstreams: ['one', 'two'],
    settings,
  });
const stateOf = ({ validator }: Validating, name: string): ZoneState['at'] | undefined =>
  validator.zones.get(nameOf(wireName(name)), ageSec(1))?.at;
const alias = (from: string, to: string): string => `${from} 300 CNAME ${to}`;
const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** What a promise gives, if nothing must be waited for. */
const atOnce = async (verdict: Promise<string>): Promise<string> =>
  Promise.race([verdict, new Promise<string>(done => setTimeout(() => done('still waiting'), 300))]);

// --- A limit of one question is never a fact about the world ---

/** A victim, unsigned below a parent with NSEC3, and an attacker, whose aliases end at the victim's name. */
const com = zone('com.', { iterations: 0 });
const VICTIM = 'www.victim.com.';
const victimData: ZoneRecord[] = zone('victim.com.').sign(`${VICTIM} 300 A 192.0.2.1`).slice(0, 1);

/** Asks the attacker's question, then the victim's, in one world. */
async function attack(
  t: Test,
  limit: DnssecLimit,
  what: string,
  { zones, name, reply, settings = {} }: { zones: ScriptedZone[]; name: string; reply: Reply; settings?: object },
  script: Script = () => undefined,
): Promise<Validating> {
  const upstream = scripted(
    [root, com, ...zones],
    (asked, type) =>
      type === 'A' && asked === name
        ? reply
        : type === 'A' && asked === VICTIM
          ? { answer: victimData }
          : script(asked, type),
    ['victim.com.'],
  );
  const world = under(upstream, settings);
  t.equal(verdictOf(await world.ask(name)), 'dnssec_limit', what);
  t.equal(world.recorder.count('dnssecLimit', limit), 1, `${what}: ${limit}`);
  t.equal(world.recorder.count('dnssecRetry'), 0, `${what}: no other server is troubled with it`);
  for (const [each, truth] of [
    ['com.', 'signed'],
    ['victim.com.', 'unsigned'],
    [VICTIM, undefined],
  ] as const)
    t.ok(stateOf(world, each) === truth || stateOf(world, each) === undefined, `${what}: what is stored of ${each}`);
  t.equal(verdictOf(await world.ask(VICTIM)), 'insecure', `${what}: the victim's own name`);
  return world;
}

await t.test('limit: a failure that is not kept for longer than a second', async t => {
  t.equal(HOLDS.dnssec_limit, 'brief');
  const cache = new FailureCache<string>(1 << 20, () => 0);
  for (const sec of [0, 1, 2, 3]) {
    t.equal(cache.get('x', ageSec(sec)), undefined);
    cache.put('x', 'failed', 'brief', ageSec(sec), cache.epoch);
    t.equal(cache.get('x', ageSec(sec + 0.9)), 'failed');
  }
});

/** Wildcard aliases, whose proofs come with NSEC3 records of many salts: the one that fits is the last. */
function salted(
  aliases: number,
  salts: number,
  iterations: number,
): { zones: ScriptedZone[]; name: string; reply: Reply } {
  const evil = zone('evil.', { iterations });
  const name = (i: number): string => (i === aliases ? VICTIM : `a${i}.evil.`);
  const none = { from: '', to: '' };
  return {
    zones: [evil],
    name: name(0),
    reply: {
      answer: [...numbers(aliases).flatMap(i => evil.expanded(name(i), alias('*.evil.', name(i + 1)))), ...victimData],
      authority: [
        ...numbers(salts).flatMap(i => evil.gap('elsewhere.', none, { iterations, salt: Buffer.from([i]) })),
        ...numbers(aliases).flatMap(i => evil.gap(name(i), none)),
      ],
    },
  };
}

await t.test('limit: NSEC3 hashes', async t => {
  await attack(t, 'nsec3_hashes', 'all but the last are spent in the own zone', salted(4, 23, 0));
  await attack(t, 'nsec3_hashes', 'more than all', salted(5, 19, 0));
});

await t.test('limit: rounds of NSEC3 hashes', async t => {
  await attack(t, 'nsec3_hashes', 'exactly all', salted(4, 17, 50));
  await attack(t, 'nsec3_hashes', 'more than all', salted(5, 16, 50));
  const settings = { maxNsec3Iterations: 150 };
  await attack(t, 'nsec3_hashes', 'with the most iterations', { ...salted(4, 17, 150), settings });
});

await t.test('limit: signatures', async t => {
  for (const [aliases, wrong] of [
    [4, 7],
    [5, 7],
    [11, 2],
  ] as const) {
    const evil = zone('evil.');
    const name = (i: number): string => (i === aliases ? VICTIM : `a${i}.evil.`);
    const answer = numbers(aliases).flatMap(i => {
      const [own = [], ...others] = [i, ...numbers(wrong).map(j => 100 + j)].map(j =>
        evil.sign(alias(name(i), name(i === j ? i + 1 : j))),
      );
      return [...others.map(each => each[1]), ...own].filter(each => each !== undefined);
    });
    const reply = { answer: [...answer, ...victimData] };
    await attack(t, 'signatures', `${aliases} times ${wrong + 1}`, { zones: [evil], name: name(0), reply });
  }
});

await t.test('limit: lookups', async t => {
  // Without a signature, each label may be a delegation.
  for (const [aliases, labels] of [
    [1, 80],
    [1, 70],
    [4, 70],
  ] as const) {
    const evil = zone('evil.');
    const name = (i: number): string => (i === aliases ? VICTIM : `a${i}.${`${i}.`.repeat(labels)}evil.`);
    const links = numbers(aliases).map(i => evil.sign(alias(name(i), name(i + 1))));
    const answer = links.flatMap((link, i) => (i === aliases - 1 ? link.slice(0, 1) : link));
    const reply = { answer: [...answer, ...victimData] };
    await attack(t, 'lookups', `${aliases} names of ${labels} labels`, { zones: [evil], name: name(0), reply });
  }
});

await t.test('whether a zone lies between a signer and a deep name is not asked label by label', async t => {
  for (const labels of [2, 3, 20, 80]) {
    const example = zone('example.');
    const script: Script = (name, type) =>
      type === 'A' ? { answer: example.sign(`${name} 300 A 192.0.2.1`) } : undefined;
    const world = under(scripted([root, example], script));
    const name = `a.${'b.'.repeat(labels)}example.`;
    t.equal(verdictOf(await world.ask('www.example.')), 'secure');
    const before = world.asked.length;
    t.equal(verdictOf(await world.ask(name)), 'secure', `${labels} labels between`);
    const asked = world.asked.length - before;
    t.ok(asked <= 9, `${asked} questions, with those asked on suspicion`);
    t.equal(verdictOf(await world.ask(`c.${name.slice(2)}`)), 'secure');
    t.equal(world.asked.length - before, asked + 1, 'its neighbours need no more');
  }
});

/** Another key with the same tag: the checksum does not care for the order of its words. */
const sameTag = ({ key: { dnskey } }: ScriptedZone, i: number): ZoneRecord => {
  const rdata = Buffer.from(dnskey.rdata);
  const word = rdata.readUInt16BE(4);
  rdata.writeUInt16BE(rdata.readUInt16BE(6 + 2 * i), 4);
  rdata.writeUInt16BE(word, 6 + 2 * i);
  return { ...dnskey, rdata };
};
const otherKeys = (count: number): ZoneRecord[] => numbers(count).map(() => ({ ...zone('evil.').key.dnskey }));

await t.test('limit: keys, keys of one tag, DS records', async t => {
  const evil = zone('evil.');
  const dnskeys = (others: ZoneRecord[]): Reply => ({ answer: evil.sign([evil.key.dnskey, ...others]) });
  const digests = (count: number): ZoneRecord[] =>
    numbers(count).map(i => {
      const rdata = Buffer.from(evil.key.ds.rdata);
      rdata[4] = (rdata[4] ?? 0) ^ (i + 1);
      return { ...evil.key.ds, rdata };
    });
  for (const [limit, type, reply] of [
    ['dnskeys', 'DNSKEY', dnskeys(otherKeys(16))],
    ['dnskeys', 'DNSKEY', dnskeys(otherKeys(40))],
    ['key_tags', 'DNSKEY', dnskeys(numbers(4).map(i => sameTag(evil, i)))],
    ['key_tags', 'DNSKEY', dnskeys(numbers(7).map(i => sameTag(evil, i)))],
    ['ds', 'DS', { answer: root.sign([...digests(4), evil.key.ds]) }],
    ['ds', 'DS', { answer: root.sign(digests(9)) }],
  ] as const) {
    let odd = true;
    const answer = [...evil.sign(alias('a.evil.', VICTIM)), ...victimData];
    const bait = { zones: [evil], name: 'a.evil.', reply: { answer } };
    const world = await attack(t, limit, `too many ${limit}`, bait, (name, asked) =>
      odd && name === 'evil.' && asked === type ? reply : undefined,
    );
    t.equal(stateOf(world, 'evil.'), undefined, 'of the attacker, nothing is remembered either');
    odd = false;
    t.equal(verdictOf(await world.ask('a.evil.')), 'insecure', 'and it is well once it is mended');
  }
});

// --- Work is not charged twice ---

const DEEP = `${'2.'.repeat(32)}ip6.arpa.`;
/** The proof that a name does not exist: the apex, and two gaps (RFC 5155 §7.2.2). */
function noName(of: ScriptedZone, name: string): Reply {
  const labels = name.slice(0, -of.name.length - 1).split('.');
  const none = { from: '', to: '' };
  const apex = of.at(of.name, TYPE.SOA, TYPE.NS, TYPE.DNSKEY);
  const gaps = [...of.gap(`${labels.at(-1) ?? ''}.${of.name}`, none), ...of.gap(`*.${of.name}`, none)];
  return { rcode: 3, authority: [...of.soa, ...apex, ...gaps] };
}

await t.test('an honest denial of a deep name is secure', async t => {
  for (const [most, iterations, salt] of [
    [50, 48, undefined],
    [50, 48, Buffer.alloc(8, 7)],
    [50, 50, Buffer.alloc(255, 7)],
    [150, 150, undefined],
    [150, 150, Buffer.alloc(8, 7)],
  ] as const) {
    const arpa = zone('arpa.');
    const hashed = zone('ip6.arpa.', { iterations, ...(salt === undefined ? {} : { salt }) });
    const denial = noName(hashed, DEEP);
    const type = (name: string, asked: string): Reply | undefined =>
      name === DEEP && asked === 'PTR'
        ? denial
        : name === DEEP && asked === 'A'
          ? { authority: [...hashed.soa, ...hashed.at(DEEP, TYPE.PTR), ...(denial.authority ?? [])] }
          : name === DEEP && asked === 'CNAME'
            ? { answer: hashed.sign(alias(DEEP, 'x.')) }
            : undefined;
    const world = under(scripted([root, arpa, hashed], type), { maxNsec3Iterations: most });
    const what = `${iterations} iterations, ${salt?.length ?? 0} octets of salt`;
    t.equal(verdictOf(await world.ask(DEEP, 'PTR')), 'secure', `no name: ${what}`);
    t.equal(verdictOf(await world.ask(DEEP, 'A')), 'secure', `no type: ${what}`);
    t.equal(verdictOf(await world.ask(DEEP, 'CNAME')), 'secure', `data, with a question for each label: ${what}`);
  }
});

// --- A cold chain of aliases over many zones ---

await t.test('a cold chain of aliases over zones in different top-level domains', async t => {
  for (const [count, attempts] of [
    [6, 1],
    [10, 1],
    [16, 2],
    [17, 2],
  ] as const) {
    const tops = numbers(count).map(i => zone(`t${i}.`));
    const zones = numbers(count).map(i => zone(`z.t${i}.`));
    const answer = zones.flatMap((each, i) =>
      each.sign(i + 1 < count ? alias(`www.z.t${i}.`, `www.z.t${i + 1}.`) : `www.z.t${i}. 300 A 192.0.2.1`),
    );
    const world = under(scripted([root, ...tops, ...zones], (_, type) => (type === 'A' ? { answer } : undefined)));
    const verdicts: string[] = [];
    for (let i = 0; i < attempts; i++) verdicts.push(verdictOf(await world.ask('www.z.t0.')));
    t.equal(verdicts.at(-1), 'secure', `${count} zones: ${verdicts.join(', ')}`);
    t.ok(verdicts.every(each => each === 'secure' || each === 'dnssec_limit'));
  }
});

// --- Extra questions are never on the critical path ---

await t.test('a server that never answers DS or DNSKEY below an unsigned delegation delays nothing', async t => {
  for (const hashed of [undefined, { iterations: 1 }, { iterations: 1, optOut: true }]) {
    const example = zone('example.', hashed);
    for (const silent of [['DS'], ['DNSKEY'], ['DS', 'DNSKEY']]) {
      const script: Script = (name, type) =>
        silent.includes(type) && (name.endsWith('.plain.example.') || (type === 'DNSKEY' && name === 'plain.example.'))
          ? 'silence'
          : type !== 'A'
            ? undefined
            : name === 'to.example.'
              ? { answer: example.sign(alias('to.example.', 'a.b.plain.example.')).concat(data('a.b.plain.example.')) }
              : { answer: data(name) };
      const data = (name: string): ZoneRecord[] => example.sign(`${name} 300 A 192.0.2.1`).slice(0, 1);
      const names = ['www.plain.example.', 'plain.example.', 'a.b.c.d.e.f.g.h.i.j.plain.example.', 'to.example.'];
      for (const name of names) {
        const world = under(scripted([root, example], script, ['plain.example.']));
        const what = `${name}, ${silent.join(' and ')}`;
        t.equal(await atOnce(world.ask(name).then(verdictOf)), 'insecure', what);
        t.equal(await atOnce(world.ask(name).then(verdictOf)), 'insecure', `${what}, again`);
        t.equal(
          await atOnce(world.ask(`x.${name}`).then(verdictOf)),
          name === 'to.example.' ? 'rrsigs_missing' : 'insecure',
          `${what}, a name below it`,
        );
      }
    }
  }
});

// --- Odd signatures and classes ---

await t.test('no odd signature and no other class is ever secure', async t => {
  const example = zone('example.');
  const sub = zone('sub.example.');
  const answers = (odd: OddSignature | undefined, where: string): Script => {
    const at = (what: string): OddSignature | undefined => (what === where ? odd : undefined);
    return (name, type) => {
      switch (`${name} ${type}`) {
        case 'www.sub.example. A':
          return { answer: sub.sign('www.sub.example. 300 A 192.0.2.1', at('data')) };
        case 'alias.sub.example. A':
          return {
            answer: [
              ...sub.sign(alias('alias.sub.example.', 'www.sub.example.'), at('alias')),
              ...sub.sign('www.sub.example. 300 A 192.0.2.1'),
            ],
          };
        case 'sub.example. DS':
          return { answer: example.sign([sub.key.ds], at('ds')) };
        case 'sub.example. DNSKEY':
          return { answer: sub.sign([sub.key.dnskey], at('keys')) };
        case 'none.sub.example. A': {
          const [nsec, ...rest] = sub.at('none.sub.example.');
          return { authority: [...sub.soa, ...(nsec === undefined ? rest : sub.sign([nsec], at('denial')))] };
        }
        default:
          return undefined;
      }
    };
  };
  const question: Record<string, string> = { alias: 'alias.sub.example.', denial: 'none.sub.example.' };
  const ask = async (upstream: Upstream, where: string): Promise<string> =>
    verdictOf(await under(upstream).ask(question[where] ?? 'www.sub.example.'));
  for (const where of ['data', 'alias', 'ds', 'keys', 'denial']) {
    const zones = [root, example, sub];
    t.equal(await ask(scripted(zones, answers(undefined, where)), where), 'secure', `${where} as it should be`);
    for (const [what, odd] of [
      ['ends before it begins', { inception: NOW_SEC + 3600, expiration: NOW_SEC - 3600 }],
      ['ends a second before it begins', { inception: NOW_SEC, expiration: NOW_SEC - 1 }],
      ['ends before it begins, both in the future', { inception: NOW_SEC + 1800, expiration: NOW_SEC + 600 }],
      ['ends before it begins, both in the past', { inception: NOW_SEC - 600, expiration: NOW_SEC - 1800 }],
      ['as many labels as the root', { labels: 0 }],
      ["fewer labels than the signer's", { labels: where === 'ds' ? 0 : 1 }],
      ['more labels than the owner', { labels: 4 }],
      ['signed for class CH', { class: 3 }],
    ] as const) {
      const verdict = await ask(scripted(zones, answers(odd, where)), where);
      t.match(verdict, /^(bogus|nsec_missing)$/, `${where}: ${what}`);
    }
    for (const [what, number] of [
      ['CH', 3],
      ['NONE', 254],
      ['ANY', 255],
      ['0', 0],
    ] as const) {
      for (const signedAs of [1, number]) {
        const replies = scripted(zones, answers({ class: signedAs }, where));
        for (const which of ['all', 'data', 'signatures'] as const) {
          const type = { data: TYPE.A, alias: TYPE.CNAME, ds: TYPE.DS, keys: TYPE.DNSKEY, denial: TYPE.NSEC }[where];
          const verdict = await ask(
            inClass(replies, number, which, type ?? 0, question[where] ?? '.sub.example.'),
            where,
          );
          t.notMatch(
            verdict,
            /^(secure|insecure|unchecked)$/,
            `${where}: class ${what} (${which}), signed as ${signedAs}`,
          );
        }
      }
    }
  }
  const both = changed(scripted([root, example, sub], answers(undefined, '')), () => undefined);
  t.equal(await ask(both, 'data'), 'secure', 'taking a reply apart changes nothing');
});

await t.test('a wildcard above the signer is never secure, even if the signer denies its own names', async t => {
  const example = zone('example.');
  const sub = zone('sub.example.', { iterations: 1 });
  const none = { from: '', to: '' };
  for (const [labels, closer, verdict] of [
    [2, 'www.sub.example.', 'secure'],
    [1, 'sub.example.', 'bogus'],
    [0, 'example.', 'bogus'],
  ] as const) {
    const reply = {
      answer: sub.sign('www.sub.example. 300 A 192.0.2.1', { labels }),
      authority: sub.gap(closer, none),
    };
    const upstream = scripted([root, example, sub], (_, type) => (type === 'A' ? reply : undefined));
    t.equal(verdictOf(await under(upstream).ask('www.sub.example.')), verdict, `${labels} labels`);
  }
});

// --- A name that is no zone cut ---

await t.test('that a name is no zone cut is remembered no longer than the negative TTL', async t => {
  for (const [minimumSec, hashed] of [
    [60, undefined],
    [300, { iterations: 1 }],
    [1800, undefined],
  ] as const) {
    const example = zone('example.', hashed, minimumSec);
    const sub = zone('sub.example.');
    let delegated = false;
    const script: Script = (name, type) =>
      type === 'A' && name === 'www.sub.example.'
        ? { answer: (delegated ? sub : example).sign('www.sub.example. 30 A 192.0.2.1') }
        : !delegated && name === 'sub.example.'
          ? { authority: [...example.soa, ...example.at('sub.example.')] }
          : undefined;
    const clock = fakeClock(NOW_MS);
    const world = under(scripted([root, example, sub], script), {}, clock);
    t.equal(verdictOf(await world.ask('www.sub.example.')), 'secure');
    t.equal(stateOf(world, 'sub.example.'), 'no_cut');
    delegated = true;
    await clock.advance((minimumSec - 1) * 1000);
    t.not(verdictOf(await world.ask('www.sub.example.')), 'secure', `${minimumSec} s: not yet over`);
    await clock.advance(61_000);
    t.equal(verdictOf(await world.ask('www.sub.example.')), 'secure', `${minimumSec} s: over`);
  }
});
