// Answers from validated denials of other names (RFC 8020, RFC 8198).

import fc from 'fast-check';
import t from 'tap';

import { RCODE } from '../../../src/base/outcome.js';

import { nameOf } from '../../../src/dnssec/name.js';
import type { Outcome } from '../../../src/pipeline/answer.js';
import { FLAG } from '../../../src/wire/header.js';
import { nameToText } from '../../../src/wire/name.js';
import { TYPE, typeToText } from '../../../src/wire/rrtype.js';
import { queryMessage } from '../../fixtures/client.js';
import { fakeClock } from '../../fixtures/clock.js';
import { type Parts, takeApart } from '../../fixtures/mutations.js';
import { withNsec3 } from '../../fixtures/nsec3-answers.js';
import { wireName, type ZoneRecord } from '../../fixtures/records.js';
import { type Asking, fakeUpstream, resolving, type Resolving, type Says } from '../../fixtures/resolving.js';
import { scripted, type Script, ScriptedZone } from '../../fixtures/scripted.js';
import { type SignedTree, signedTree, type Tree } from '../../fixtures/signed-records.js';
import type { SigningOptions } from '../../fixtures/signer.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const NOW_SEC = NOW_MS / 1000;

type Kind = 'NSEC' | 'NSEC3' | 'NSEC3 with opt-out';
const SIGNING: Readonly<Record<Kind, SigningOptions>> = {
  NSEC: {},
  NSEC3: { nsec3: { iterations: 1, salt: Buffer.from('ab') } },
  'NSEC3 with opt-out': { nsec3: { iterations: 0, optOut: true } },
};
const BOTH = ['NSEC', 'NSEC3'] as const;

function treeOf(kind: Kind, text: string, more: Tree = {}): SignedTree {
  const made = signedTree({ '.': { text: '' }, 'example.': { text, ...SIGNING[kind] }, ...more }, NOW_SEC);
  return kind === 'NSEC' ? made : withNsec3(made);
}
const honestly =
  (tree: SignedTree): Says =>
  query => {
    const reply = tree.answer(query);
    if (reply === undefined) throw new Error('the tree answers every query');
    return reply;
  };
const worldOf = (tree: SignedTree, says = honestly(tree)): Resolving =>
  resolving(says, { anchors: tree.anchors, clock: fakeClock(NOW_MS) });

/** The outcome of a query. Pauses of validation take no time. */
async function asked(world: Resolving, name: string, asking: Asking = {}): Promise<Outcome> {
  const outcomes = world.ask(name, asking);
  for (let turn = 0; outcomes.length === 0 && turn < 100; turn++) await world.clock.advance(0);
  const [only] = outcomes;
  if (only === undefined) throw new Error(`no outcome for ${name}`);
  return only;
}
const originOf = (outcome: Outcome): string => (outcome.at === 'failure' ? outcome.code : outcome.origin);
async function origin(world: Resolving, name: string, asking: Asking = {}): Promise<string> {
  return originOf(await asked(world, name, asking));
}

function partsOf(outcome: Outcome): Parts {
  if (outcome.at === 'failure') throw new Error(outcome.code);
  const { entry } = outcome;
  const octets = Buffer.from(entry.octets);
  octets.writeUInt16BE(entry.answers, 6);
  octets.writeUInt16BE(entry.authority, 8);
  octets.writeUInt16BE(entry.additional, 10);
  octets.writeUInt8((octets.readUInt8(3) & 0xf0) | entry.rcode, 3);
  return takeApart(octets);
}
const dataOf = ({ rcode, answer }: Parts): string =>
  [
    rcode,
    ...answer
      .filter(({ type }) => type !== TYPE.RRSIG)
      .map(({ owner, type, rdata }) => `${nameToText(owner)} ${typeToText(type)} ${rdata.toString('hex')}`)
      .sort(),
  ].join('\n');
const truth = (tree: SignedTree, name: string, type: string): string =>
  dataOf(takeApart(tree.answer(queryMessage(name, { type, dnssec: true })) ?? Buffer.alloc(0)));
const told = async (world: Resolving, name: string, type = 'A'): Promise<string> => {
  const outcome = await asked(world, name, { type });
  return `${originOf(outcome)} ${partsOf(outcome).rcode}`;
};

const PLAIN = `ns.example. 300 A 192.0.2.1
b.example. 300 A 192.0.2.2
m.example. 300 A 192.0.2.3
*.wild.example. 300 A 192.0.2.9
*.wild.example. 300 TXT "wild"
deep.empty.example. 300 A 192.0.2.4
`;

// --- What is answered ---

for (const kind of BOTH) {
  await t.test(`${kind}: a name in a gap that is known does not exist, and no server is asked`, async t => {
    const tree = treeOf(kind, PLAIN);
    const world = worldOf(tree);
    // Every gap, whatever the hashes.
    for (const name of ['a', 'c', 'n', 'x', 'y', 'z', 'q', 'r', 's', 't', 'u', 'v', 'w', 'k', 'l', 'j', 'i', 'h', 'g'])
      await asked(world, `${name}.example`);
    const before = world.upstream.asked.length;
    const counted = world.recorder.count('cache', 'hit_aggressive');
    const outcome = await asked(world, 'aa.example');
    t.equal(originOf(outcome), 'denials');
    t.equal(world.upstream.asked.length, before);
    const { rcode, authority, answer } = partsOf(outcome);
    t.equal(rcode, RCODE.NXDOMAIN);
    t.same(answer, []);
    const types = authority.map(({ type }) => typeToText(type));
    t.ok(types.includes('SOA') && types.includes(kind), types.join(' '));
    t.equal(types.filter(each => each === 'RRSIG').length * 2, types.length, 'each with its signature');
    t.match(outcome, { entry: { verdict: 'secure', negative: true } });
    t.equal(await told(world, 'x.y.aa.example'), 'denials 3', 'nor do names below it (RFC 8020)');
    t.equal(await told(world, 'aa.example', 'MX'), 'denials 3', 'nor other types');
    t.equal(await told(world, 'AaBb.eXample'), 'denials 3', 'in any letter case');
    t.equal(world.upstream.asked.length, before);
    t.equal(world.recorder.count('cache', 'hit_aggressive') - counted, 4);
  });

  await t.test(`${kind}: a type that a name is known not to have, and an empty non-terminal`, async t => {
    const world = worldOf(treeOf(kind, PLAIN));
    t.equal(await told(world, 'b.example', 'TXT'), 'upstream 0');
    t.equal(await told(world, 'b.example', 'AAAA'), 'denials 0');
    t.equal(await told(world, 'b.example', 'A'), 'upstream 0', 'a type that it has');
    // An NSEC record of the name before says it already.
    t.equal(await told(world, 'empty.example', 'TXT'), kind === 'NSEC' ? 'denials 0' : 'upstream 0');
    t.equal(await told(world, 'empty.example', 'A'), 'denials 0');
    t.equal(await told(world, 'example', 'TXT'), 'upstream 0');
    t.equal(await told(world, 'example', 'MX'), 'denials 0', 'at the apex');
    t.equal(await told(world, 'example', 'SOA'), 'upstream 0');
    t.equal(await told(world, 'example', 'DS'), 'upstream 0', 'the DS is of the zone above');
  });

  await t.test(`${kind}: a wildcard answers for names that nothing closer is known to exist for`, async t => {
    const tree = treeOf(kind, PLAIN);
    const world = worldOf(tree);
    for (let i = 0; i < 40; i++) await asked(world, `${i}.wild.example`);
    await asked(world, '0.wild.example', { type: 'MX' });
    const before = world.upstream.asked.length;
    const outcome = await asked(world, 'Any.wild.example');
    t.equal(originOf(outcome), 'denials');
    t.equal(dataOf(partsOf(outcome)), truth(tree, 'any.wild.example', 'A'));
    t.match(outcome, { entry: { verdict: 'secure', negative: false } });
    t.equal(await told(world, 'any.wild.example', 'MX'), 'denials 0', 'a type that it does not have');
    t.equal(world.upstream.asked.length, before);
    t.equal(await told(world, 'any.wild.example', 'TXT'), 'upstream 0', 'a type whose data nobody has seen');
    t.equal(await told(world, '*.wild.example'), 'upstream 0', 'the wildcard itself');
  });
}

// --- What is not ---

await t.test('what may not be answered from denials goes to the servers', async t => {
  const tree = treeOf('NSEC', PLAIN);
  const world = worldOf(tree);
  await asked(world, 'a.example');
  t.equal(await origin(world, 'a1.example', { flags: FLAG.RD | FLAG.CD }), 'upstream', 'the client validates itself');
  t.equal(await origin(world, 'a2.example', { refresh: true }), 'upstream', 'a refresh');
  t.equal(await origin(world, 'a3.example', { type: 'RRSIG' }), 'upstream', 'signatures');
  world.settings.aggressive = false;
  t.equal(await origin(world, 'a4.example'), 'upstream', 'cache.aggressive_nsec: false');
  world.settings.aggressive = true;
  world.settings.mode = 'trust_ad';
  t.equal(await origin(world, 'a5.example'), 'upstream', 'nobody validates');
  world.settings.mode = 'require';
  const local = fakeUpstream(honestly(tree), 3);
  world.settings.routes = [{ zones: [wireName('a6.example')], kubernetes: false, upstream: () => local }];
  t.equal(await origin(world, 'x.a6.example'), 'route', 'a route takes the name');
  t.equal(await origin(world, 'a7.example'), 'denials');
  world.settings.mayLook = true;
  t.equal(await origin(world, 'a8.example', { flags: 0 }), 'denials', 'without RD, as from the cache');
  world.denials.clear();
  t.equal(await origin(world, 'a9.example'), 'upstream', 'denials were forgotten');
});

await t.test('below a negative trust anchor nothing is answered from denials', async t => {
  const world = worldOf(treeOf('NSEC', PLAIN));
  await asked(world, 'a.example');
  world.negative.add(nameOf(wireName('a1.example.')), 60);
  t.equal(await origin(world, 'x.a1.example'), 'upstream');
  t.equal(await origin(world, 'a2.example'), 'denials', 'beside it');
  world.negative.add(nameOf(wireName('example.')), 60);
  t.equal(await origin(world, 'a3.example'), 'upstream');
});

await t.test('a denial ends with its TTL, and tells clients the time that is left', async t => {
  const world = worldOf(treeOf('NSEC', PLAIN));
  await asked(world, 'a.example');
  await world.clock.advance(100_000);
  const outcome = await asked(world, 'a1.example');
  t.equal(originOf(outcome), 'denials');
  for (const { ttlSec } of partsOf(outcome).authority) t.equal(ttlSec, 200);
  t.match(outcome, { entry: { ttlSec: 200 } });
  world.settings.ttlLimits = { ...world.settings.ttlLimits, negativeMaxSec: 60 };
  t.match(await asked(world, 'a2.example'), { origin: 'denials', entry: { ttlSec: 60 } }, 'cache.negative_max_ttl');
  await world.clock.advance(199_500);
  t.equal(await origin(world, 'a3.example'), 'upstream');
});

await t.test('a denial ends with its signatures', async t => {
  const zone = new ScriptedZone('.', NOW_SEC);
  const gap = zone.gap('x.', { from: 'a.', to: 'c.' });
  const brief = gap.filter(({ type }) => type !== TYPE.RRSIG);
  const script: Script = name =>
    name === 'b.' || name === 'bb.'
      ? {
          rcode: RCODE.NXDOMAIN,
          authority: [
            ...zone.soa,
            ...zone.sign(brief, { expiration: NOW_SEC + 30 }),
            ...zone.gap('', { from: '.', to: 'a.' }),
          ],
        }
      : undefined;
  const world = scriptedWorld([zone], script);
  t.equal(await told(world, 'b'), 'upstream 3');
  t.equal(await told(world, 'b1'), 'denials 3');
  await world.clock.advance(30_000);
  t.equal(await origin(world, 'bb'), 'upstream');
});

/** A world of scripted zones, the first of which is trusted. */
function scriptedWorld(zones: readonly ScriptedZone[], script: Script, unsigned: readonly string[] = []): Resolving {
  const upstream = scripted(zones, script, unsigned);
  const says: Says = query => {
    const { question } = takeApart(query);
    const reply = upstream(question, undefined as never);
    if (!Buffer.isBuffer(reply)) throw new Error('scripted zones answer at once here');
    return reply;
  };
  return resolving(says, { anchors: [zones[0]?.key.dsText ?? ''], clock: fakeClock(NOW_MS) });
}

// --- Checks of single records ---

/** Asks for b., with these denials in the answer, and then for another name. */
async function afterDenials(denials: (zone: ScriptedZone) => readonly ZoneRecord[], second = 'b1'): Promise<string> {
  const zone = new ScriptedZone('.', NOW_SEC);
  const world = scriptedWorld([zone], name =>
    name === 'b.'
      ? {
          rcode: RCODE.NXDOMAIN,
          authority: [
            ...zone.soa,
            ...zone.gap('', { from: 'a.', to: 'b0.' }),
            ...zone.gap('', { from: '.', to: 'a.' }),
            ...denials(zone),
          ],
        }
      : undefined,
  );
  await asked(world, 'b');
  return told(world, second);
}

await t.test('records that are not good for a name deny nothing', async t => {
  t.equal(await afterDenials(() => []), 'upstream 0', 'a name in no gap');
  t.equal(await afterDenials(zone => zone.gap('', { from: 'b0.', to: 'c.' })), 'denials 3', 'a name in a gap');
  const delegation = (zone: ScriptedZone, ...types: number[]): ZoneRecord[] => {
    const [record] = zone.at('b0.', ...types);
    if (record === undefined) throw new Error('a record');
    const bitmap = record.rdata.subarray(1 + wireName('b0.').length + 1);
    return zone.sign([{ ...record, rdata: Buffer.concat([wireName('c.'), bitmap]) }]);
  };
  t.equal(await afterDenials(zone => delegation(zone, TYPE.A), 'x.b0'), 'denials 3', 'below a name');
  t.equal(await afterDenials(zone => delegation(zone, TYPE.NS), 'x.b0'), 'upstream 0', 'below a zone cut');
  t.equal(await afterDenials(zone => delegation(zone, TYPE.DNAME), 'x.b0'), 'upstream 0', 'below a DNAME');
  t.equal(await afterDenials(zone => delegation(zone, TYPE.CNAME), 'b0'), 'upstream 0', 'at an alias');
  t.equal(await afterDenials(zone => delegation(zone, TYPE.NS), 'b0'), 'upstream 0', 'at a zone cut');
  const spoiled = (zone: ScriptedZone): ZoneRecord[] => {
    const [record, signature] = zone.gap('', { from: 'b0.', to: 'c.' });
    if (record === undefined || signature === undefined) throw new Error('a record and its signature');
    const rdata = Buffer.from(signature.rdata);
    rdata.writeUInt8(rdata.readUInt8(rdata.length - 1) ^ 1, rdata.length - 1);
    return [record, { ...signature, rdata }];
  };
  t.equal(await afterDenials(spoiled), 'upstream 0', 'whose signature is wrong');
  const made = (zone: ScriptedZone): ZoneRecord[] => {
    const [record] = zone.gap('', { from: 'b0.', to: 'c.' });
    return record === undefined ? [] : zone.sign([record], { labels: 0 });
  };
  t.equal(await afterDenials(made), 'upstream 0', 'that is made from a wildcard');
});

await t.test('an NSEC record whose next name is outside its zone is not used', async t => {
  const root = new ScriptedZone('.', NOW_SEC);
  const zone = new ScriptedZone('example.', NOW_SEC);
  const world = scriptedWorld([root, zone], name =>
    name === 'b.example.'
      ? {
          rcode: RCODE.NXDOMAIN,
          authority: [
            ...zone.soa,
            ...zone.gap('', { from: 'a.example.', to: 'b0.example.' }),
            ...zone.gap('', { from: 'example.', to: 'a.example.' }),
            ...zone.gap('', { from: 'b1.example.', to: 'zzz.' }),
          ],
        }
      : undefined,
  );
  t.equal(await told(world, 'b.example'), 'upstream 3');
  t.equal(await told(world, 'b00.example'), 'upstream 0');
  t.equal(await told(world, 'b2.example'), 'upstream 0');
  t.equal(await told(world, 'ab.example'), 'denials 3');
});

await t.test('with opt-out, a gap denies no name', async t => {
  const world = worldOf(treeOf('NSEC3 with opt-out', PLAIN));
  for (let i = 0; i < 30; i++) t.equal(await told(world, `${i}.example`), 'upstream 3');
  await asked(world, 'b.example', { type: 'TXT' });
  t.equal(
    await told(world, 'b.example', 'AAAA'),
    'denials 0',
    'but a name that has a record does not have other types',
  );
});

for (const kind of BOTH) {
  await t.test(`${kind}: names in a delegated zone are never denied by the zone above`, async t => {
    const tree = treeOf(kind, PLAIN, {
      'child.example.': { text: 'www.child.example. 300 A 192.0.2.7\n' },
      'open.example.': { text: 'www.open.example. 300 A 192.0.2.8\n', unsigned: true },
    });
    const world = worldOf(tree);
    // All that the zone above can deny.
    for (let i = 0; i < 60; i++) await asked(world, `${i}.example`);
    for (const name of ['child.example', 'open.example']) await asked(world, name, { type: 'DS' });
    for (const name of ['www.child.example', 'www.open.example', 'child.example', 'open.example'])
      for (const type of ['A', 'MX', 'TXT', 'SOA']) {
        const outcome = await asked(world, name, { type });
        t.equal(dataOf(partsOf(outcome)), truth(tree, name, type), `${name} ${type}`);
      }
    t.equal(await told(world, 'none.open.example'), 'upstream 3', 'an unsigned zone');
    t.equal(await told(world, 'x.none.open.example'), 'upstream 3');
  });
}

// --- A synthesised answer is the zone's answer ---

const LABEL = fc.constantFrom('a', 'b', 'c', 'd', '*', 'aa', 'A0', '_t');
// The fixture knows no wildcards without records.
const NAME = fc
  .array(LABEL, { minLength: 1, maxLength: 3 })
  .filter(labels => labels.lastIndexOf('*') < 1)
  .map(labels => `${labels.join('.')}.example.`.toLowerCase());
const DATA = fc.constantFrom('A 192.0.2.1', 'A 192.0.2.2', 'TXT "x"', 'CNAME b.example.', 'MX 1 a.example.');
const CUTS = fc.uniqueArray(fc.constantFrom('a', 'b.a', 'c', 'd.c.b'), { maxLength: 2 });
const TYPES = ['A', 'TXT', 'MX', 'DS', 'CNAME', 'SOA'] as const;
const QUESTION = fc.tuple(
  fc.array(LABEL, { maxLength: 4 }).map(labels => `${labels.map(each => `${each}.`).join('')}example.`),
  fc.constantFrom(...TYPES),
);

/** Zone text in which no name has an alias beside other data, and nothing is below a cut. */
function zoneText(names: readonly (readonly [string, string])[], cuts: readonly string[]): string {
  const seen = new Map<string, string>();
  const lines = new Set<string>();
  for (const [name, data] of names) {
    if (cuts.some(cut => name === cut || name.endsWith(`.${cut}`))) continue;
    const isAlias = data.startsWith('CNAME');
    const before = seen.get(name);
    if (before !== undefined && (isAlias || before === 'alias')) continue;
    seen.set(name, isAlias ? 'alias' : 'data');
    lines.add(`${name} 300 ${data}\n`);
  }
  return [...lines].join('');
}

for (const kind of ['NSEC', 'NSEC3', 'NSEC3 with opt-out'] as const) {
  await t.test(`${kind}: an answer that is put together is the one that the zone gives`, async t => {
    const seen = new Map<string, number>();
    const zones = fc.tuple(
      fc.array(fc.tuple(NAME, DATA), { minLength: 1, maxLength: 10 }),
      CUTS,
      fc.array(QUESTION, { minLength: 40, maxLength: 80 }),
    );
    const property = fc.asyncProperty(zones, async ([names, labels, questions]) => {
      const cuts = labels.map(each => `${each}.example.`);
      const children = Object.fromEntries(
        cuts
          .filter(cut => !cuts.some(each => each !== cut && cut.endsWith(`.${each}`)))
          .map((cut, i) => [cut, { text: `www.${cut} 300 A 192.0.2.3\n`, unsigned: i === 0 }]),
      );
      const tree = treeOf(kind, zoneText(names, cuts), children);
      const world = worldOf(tree);
      for (const [name, type] of questions) {
        const outcome = await asked(world, name, { type });
        if (originOf(outcome) !== 'denials') continue;
        const given = dataOf(partsOf(outcome)).toLowerCase();
        const wanted = truth(tree, name, type).toLowerCase();
        const sort = given.includes('\n') ? 'data' : given;
        seen.set(sort, (seen.get(sort) ?? 0) + 1);
        if (given !== wanted) throw new Error(`${name} ${type}: ${given}, not ${wanted}`);
      }
    });
    await fc.assert(property, { numRuns: 60, seed: 7 });
    // Each kind of answer was looked at.
    t.ok((seen.get('0') ?? 0) > 10, 'NODATA');
    if (kind !== 'NSEC3 with opt-out') {
      t.ok((seen.get('3') ?? 0) > 10, 'NXDOMAIN');
      t.ok((seen.get('data') ?? 0) > 5, 'wildcards');
    }
  });
}

// --- A flood ---

for (const kind of BOTH) {
  await t.test(`${kind}: of a flood of random names, at most one in twenty reaches a server`, async t => {
    let state = 1;
    const random = (): string => {
      state = (state * 48271) % 0x7fffffff;
      return `${state.toString(36)}${((state * 31) % 0x7fffffff).toString(36)}`;
    };
    const names = Array.from({ length: 300 }, () => `${random()}.example. 300 A 192.0.2.1\n`);
    const world = worldOf(treeOf(kind, names.join('')));
    for (let i = 0; i < 1500; i++) await asked(world, `${random()}.example`);
    const before = world.upstream.asked.length;
    for (let i = 0; i < 500; i++) await asked(world, `${random()}.example`);
    const sent = world.upstream.asked.length - before;
    t.ok(sent <= 25, `${sent} of 500 asked upstream`);
    t.ok(before <= 1000, `${before} to learn the zone`);
    t.ok(world.denials.bytes <= 1 << 20);
  });
}

await t.test('a name with as many labels as a name can have costs a bounded number of hashes', async t => {
  const world = worldOf(treeOf('NSEC3', PLAIN));
  await asked(world, 'b.example', { type: 'TXT' });
  t.equal(world.recorder.count('dnssecLimit', 'nsec3_hashes'), 0);
  const before = world.upstream.asked.length;
  t.equal(await origin(world, `${'a.'.repeat(118)}example`), 'dnssec_limit');
  t.ok(world.upstream.asked.length > before, 'the servers were asked');
  t.equal(world.recorder.count('dnssecLimit', 'nsec3_hashes'), 2, 'the limit is counted for what is stored, too');
});
