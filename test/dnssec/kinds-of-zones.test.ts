// Kinds of mistakes about who may speak for a name: parents, strangers, trust anchors, and zones above an unsigned one.
// Each is held by several instances of it.

import t from 'tap';

import { ageSec } from '../../src/base/time.js';
import { nameOf } from '../../src/dnssec/name.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock } from '../fixtures/clock.js';
import type { ZoneRecord } from '../fixtures/records.js';
import { changed, type Reply, type Script, scripted, ScriptedZone, unhurried } from '../fixtures/scripted.js';
import {
  type Upstream,
  validating,
  type Validating,
  type ValidatingOptions,
  verdictOf,
} from '../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const NOW_SEC = NOW_MS / 1000;
type Rest = ConstructorParameters<typeof ScriptedZone> extends [string, number, ...infer R] ? R : never;
const zone = (name: string, ...rest: Rest): ScriptedZone => new ScriptedZone(name, NOW_SEC, ...rest);
const root = zone('.');
const trusting = (
  anchors: readonly ScriptedZone[],
  upstream: Upstream,
  options: Partial<ValidatingOptions> = {},
): Validating =>
  validating({
    anchors: anchors.map(({ key }) => key.dsText),
    clock: unhurried(fakeClock(NOW_MS)),
    upstream,
    ...options,
  });
const under = (upstream: Upstream): Validating => trusting([root], upstream);
const alias = (from: string, to: string): string => `${from} 300 CNAME ${to}`;
const address = (name: string): string => `${name} 300 A 192.0.2.1`;
const unsignedData = (name: string): ZoneRecord[] => root.sign(address(name)).slice(0, 1);
const HASHED = [undefined, { iterations: 1 }, { iterations: 1, optOut: true }] as const;

// --- A parent does not speak inside its child ---

await t.test("a parent's signature counts for nothing inside a delegated child", async t => {
  for (const hashed of HASHED) {
    for (const signed of [true, false]) {
      const example = zone('example.', hashed);
      const child = zone('child.example.');
      const script: Script = (name, type) => {
        if (type !== 'A' && type !== 'TXT') return undefined;
        const target = example.sign(address('www.child.example.'));
        if (name === 'alias.child.example.')
          return { answer: [...example.sign(alias(name, 'www.child.example.')), ...target] };
        if (name === 'to.example.') return { answer: [...example.sign(alias(name, 'www.child.example.')), ...target] };
        if (name === 'www.d.child.example.')
          return { answer: [...example.sign('d.child.example. 300 DNAME child.example.'), ...target] };
        return { answer: example.sign(address(name)) };
      };
      const zones = signed ? [root, example, child] : [root, example];
      const names = ['www', 'a.b.c', 'alias', 'www.d'].map(each => `${each}.child.example.`);
      for (const name of [...names, 'to.example.']) {
        const world = under(scripted(zones, script, signed ? [] : ['child.example.']));
        const what = `${name} below a ${signed ? 'signed' : 'unsigned'} delegation`;
        for (const time of ['first', 'second'])
          t.equal(verdictOf(await world.ask(name)), signed ? 'bogus' : 'insecure', `${what}, the ${time} time`);
      }
    }
  }
});

await t.test("nor does the parent's alias at a name between, which says nothing about the names above it", async t => {
  for (const signed of [true, false]) {
    const example = zone('example.');
    const child = zone('child.example.');
    const script: Script = (name, type) =>
      type === 'A'
        ? { answer: example.sign(address(name)) }
        : type === 'DS' && name === 'b.child.example.'
          ? { answer: example.sign(alias(name, 'www.example.')) }
          : undefined;
    const world = under(
      scripted(signed ? [root, example, child] : [root, example], script, signed ? [] : ['child.example.']),
    );
    // A zone that has shown hosts is not expected to have zones below it, so those are not asked about beforehand.
    for (const host of ['h1', 'h2', 'h3', 'h4']) t.equal(verdictOf(await world.ask(`${host}.example.`)), 'secure');
    for (const time of ['first', 'second'])
      t.equal(verdictOf(await world.ask('a.b.child.example.')), signed ? 'bogus' : 'insecure', `the ${time} time`);
  }
});

await t.test('nor does its denial, once the child is known', async t => {
  for (const signed of [true, false]) {
    const example = zone('example.');
    const child = zone('child.example.');
    const script: Script = (name, type) =>
      type === 'A' && name === 'www.child.example.'
        ? { answer: signed ? child.sign(address(name)) : unsignedData(name) }
        : name === 'gone.child.example.' && type === 'A'
          ? {
              rcode: 3,
              authority: [...example.soa, ...example.gap('', { from: 'a.example.', to: 'z.example.' })],
            }
          : undefined;
    const world = under(
      scripted(signed ? [root, example, child] : [root, example], script, signed ? [] : ['child.example.']),
    );
    t.equal(verdictOf(await world.ask('www.child.example.')), signed ? 'secure' : 'insecure');
    t.equal(verdictOf(await world.ask('gone.child.example.')), signed ? 'nsec_missing' : 'insecure');
  }
});

/** Signatures of somebody else beside the good one of a record. */
const STRANGERS: Record<string, (record: ZoneRecord, own: ScriptedZone) => ZoneRecord> = {
  'another key of the same tag': (record, own) => zone(own.name).key.sign([record], { tag: own.key.tag }),
  'an unknown key': (record, own) => zone(own.name).key.sign([record]),
  'the root': record => root.key.sign([record]),
  'another root': record => zone('.').key.sign([record]),
  'a zone elsewhere': record => zone('elsewhere.').key.sign([record]),
  'the owner itself': record => root.key.sign([record], { signer: record.owner }),
  'fewer labels': (record, own) => own.key.sign([record], { labels: 0 }),
  "as many labels as the signer's": (record, own) => own.key.sign([record], { labels: 2 }),
  'more labels': (record, own) => own.key.sign([record], { labels: 9 }),
  expired: (record, own) => own.key.sign([record], { inception: NOW_SEC - 9e6, expiration: NOW_SEC - 8e6 }),
  'ends before it begins': (record, own) =>
    own.key.sign([record], { inception: NOW_SEC + 60, expiration: NOW_SEC - 60 }),
};

await t.test('a second signature by somebody else does not spoil a good one', async t => {
  const example = zone('example.');
  const sub = zone('sub.example.');
  const elsewhere = zone('elsewhere.');
  const denial: Reply = { rcode: 0, authority: [...sub.soa, ...sub.at('none.sub.example.', TYPE.TXT)] };
  const replies: Record<string, Reply> = {
    'www.sub.example.': { answer: sub.sign(address('www.sub.example.')) },
    'alias.sub.example.': {
      answer: [...sub.sign(alias('alias.sub.example.', 'www.sub.example.')), ...sub.sign(address('www.sub.example.'))],
    },
    'www.d.sub.example.': {
      answer: [...sub.sign('d.sub.example. 300 DNAME sub.example.'), ...sub.sign(address('www.sub.example.'))],
    },
    'none.sub.example.': denial,
  };
  const honest = scripted([root, example, sub, elsewhere], (name, type) => (type === 'A' ? replies[name] : undefined));
  for (const [type, own, name] of [
    [TYPE.A, sub, 'www.sub.example.'],
    [TYPE.CNAME, sub, 'alias.sub.example.'],
    [TYPE.DNAME, sub, 'www.d.sub.example.'],
    [TYPE.DS, example, 'www.sub.example.'],
    [TYPE.DNSKEY, sub, 'www.sub.example.'],
    [TYPE.NSEC, sub, 'none.sub.example.'],
    [TYPE.SOA, sub, 'none.sub.example.'],
  ] as const) {
    for (const [who, strange] of Object.entries(STRANGERS)) {
      for (const where of ['before', 'after'] as const) {
        const add = (list: ZoneRecord[]): void => {
          const found = list.find(
            each => each.type === type && each.owner.toString('latin1').endsWith('\x07example\0'),
          );
          // The records of example. itself are not the ones that this is about.
          if (found === undefined || (type !== TYPE.DS && found.owner.equals(example.apex))) return;
          const stranger = strange(found, own);
          if (where === 'before') list.unshift(stranger);
          else list.push(stranger);
        };
        let added = 0;
        const upstream = changed(honest, ({ answer, authority }) => {
          const before = answer.length + authority.length;
          add(answer);
          add(authority);
          added += answer.length + authority.length - before;
        });
        const verdict = verdictOf(await under(upstream).ask(name));
        t.equal(verdict, 'secure', `${name}, type ${type}: ${who}, ${where}`);
        t.ok(added > 0, 'it was there');
      }
    }
  }
});

// --- Trust anchors ---

const SPECIAL = ['internal.', 'test.', 'home.arpa.', '10.in-addr.arpa.', 'corp.internal.', 'a.b.test.'];

await t.test('a trust anchor at or below a special name is in force', async t => {
  for (const name of SPECIAL) {
    const special = zone(name);
    const www = `www.${name}`;
    const data = special.sign(address(www));
    const [, signature] = data;
    const tampered = [...unsignedData(www), ...(signature === undefined ? [] : [signature])].map(each =>
      each.type === TYPE.A ? { ...each, rdata: Buffer.from([192, 0, 2, 66]) } : each,
    );
    for (const anchors of [[root, special], [special]]) {
      const ask = async (answer: ZoneRecord[]): Promise<string> => {
        const reply: Script = (asked, type) => (type === 'A' && asked === www ? { answer } : undefined);
        return verdictOf(await trusting(anchors, scripted([root, special], reply)).ask(www));
      };
      const what = `${name} with ${anchors.length} anchors`;
      t.equal(await ask(data), 'secure', what);
      t.equal(await ask(tampered), 'bogus', `${what}: tampered`);
      t.equal(await ask(unsignedData(www)), 'rrsigs_missing', `${what}: without signatures`);
    }
  }
});

await t.test('no zone above an anchor can make what is below it insecure', async t => {
  for (const [lower, upper, unsigned] of [
    ['corp.example.', 'example.', ['example.']],
    ['a.b.example.', 'example.', ['example.']],
    ['corp.internal.', 'internal.', []],
    ['x.10.in-addr.arpa.', '10.in-addr.arpa.', []],
  ] as const) {
    const own = zone(lower);
    const forger = zone(upper);
    const www = `www.${lower}`;
    const sub = zone(`sub.${lower}`);
    for (const [what, name, script] of [
      ['data', www, { [`${www} A`]: { answer: forger.sign(address(www)) } }],
      ['an alias', www, { [`${www} A`]: { answer: forger.sign(alias(www, 'elsewhere.')) } }],
      ['a denial', www, { [`${www} A`]: { authority: [...forger.soa, ...forger.at(www)] } }],
      [
        'a delegation',
        `www.${sub.name}`,
        {
          [`www.${sub.name} A`]: { answer: sub.sign(address(`www.${sub.name}`)) },
          [`${sub.name} DS`]: { answer: forger.sign([sub.key.ds]) },
        },
      ],
      [
        'a denied delegation',
        `www.${sub.name}`,
        {
          [`www.${sub.name} A`]: { answer: unsignedData(`www.${sub.name}`) },
          [`${sub.name} DS`]: { authority: [...forger.soa, ...forger.at(sub.name, TYPE.NS)] },
        },
      ],
    ] as const) {
      const replies: Readonly<Record<string, Reply>> = script;
      const upstream = scripted([root, own], (asked, type) => replies[`${asked} ${type}`], unsigned);
      const world = trusting([root, own], upstream);
      for (const time of ['first', 'second'])
        t.match(
          verdictOf(await world.ask(name)),
          /^(bogus|nsec_missing|rrsigs_missing)$/,
          `${what} of ${lower}, signed by ${upper}, the ${time} time`,
        );
    }
  }
});

await t.test('too many iterations of a zone above say nothing about a signed zone or an anchor below', async t => {
  for (const warm of [true, false]) {
    for (const nested of [true, false]) {
      // What a child is that nobody has looked at, such a parent cannot tell.
      if (!warm && !nested) continue;
      const example = zone('example.', { iterations: 100 });
      const lower = zone('corp.example.');
      const www = 'www.corp.example.';
      let replayed = !warm;
      const upstream = scripted([root, example, lower], (name, type) =>
        type !== 'A' || name !== www
          ? undefined
          : replayed
            ? { authority: example.at('mail.example.') }
            : { answer: lower.sign(address(www)) },
      );
      const world = trusting(nested ? [root, lower] : [root], upstream);
      if (warm) t.equal(verdictOf(await world.ask(www)), 'secure');
      replayed = true;
      t.equal(
        verdictOf(await world.ask(www)),
        'nsec_missing',
        `${warm ? 'known' : 'not known'}, ${nested ? 'an anchor' : 'delegated'}`,
      );
    }
  }
});

await t.test('nested anchors: one good chain is enough, and what is above stores nothing about the lower', async t => {
  const example = zone('example.');
  const lower = zone('corp.example.');
  const www = 'www.corp.example.';
  const script: Script = (name, type) =>
    type === 'A' && name === www ? { answer: lower.sign(address(www)) } : undefined;
  const honest = scripted([root, example, lower], script);
  const ask = async (anchors: ScriptedZone[], upstream: Upstream, name = www, type = 'A'): Promise<string> =>
    verdictOf(await trusting(anchors, upstream).ask(name, type));
  const wrong = (name: string): ScriptedZone => zone(name);
  t.equal(await ask([root, lower], honest), 'secure', 'both good');
  t.equal(await ask([wrong('.'), lower], honest), 'secure', 'the upper is wrong');
  t.equal(await ask([root, wrong('corp.example.')], honest), 'secure', 'the lower is wrong');
  t.not(await ask([wrong('.'), wrong('corp.example.')], honest), 'secure', 'both are wrong');
  t.not(await ask([wrong('.'), wrong('corp.example.')], honest), 'insecure');
  t.equal(await ask([root, lower], honest, 'corp.example.', 'DS'), 'secure', 'DS at the apex of the lower');
  t.equal(await ask([root, example, lower], honest, 'corp.example.', 'DS'), 'secure');

  // Where the lower zone is private, those above deny it or delegate to an unsigned one.
  for (const denies of [true, false]) {
    const about = { authority: denies ? example.gap('', { from: 'a.example.', to: 'z.example.' }) : [] };
    const outside: Reply = denies
      ? { rcode: 3, authority: [...example.soa, ...about.authority] }
      : { authority: [...example.soa, ...example.at('corp.example.', TYPE.NS)] };
    const split = scripted([root, example, lower], (name, type) =>
      name === 'corp.example.' && type === 'DS' ? outside : script(name, type),
    );
    const isKeys = (question: Buffer): boolean =>
      question.readUInt16BE(question.length - 4) === TYPE.DNSKEY && question.includes('corp');
    const forged = scripted([wrong('corp.example.')], () => undefined);
    let fails = true;
    const failing: Upstream = (question, server) => (fails && isKeys(question) ? undefined : split(question, server));
    const world = trusting([root, lower], failing);
    t.equal(verdictOf(await world.ask(www)), 'dnssec_indeterminate', 'its keys could not be fetched');
    t.equal(world.validator.zones.get(nameOf(lower.apex), ageSec(1)), undefined, 'nothing is stored');
    fails = false;
    t.equal(verdictOf(await world.ask(www)), 'secure', 'the next question finds them');

    const lying: Upstream = (question, server) =>
      (server === 'liar' && isKeys(question) ? forged : split)(question, server);
    const two = trusting([root, lower], lying, { upstreams: ['liar', 'good'] });
    t.equal(verdictOf(await two.ask(www)), 'secure', 'one server lies about them');
    t.equal(await ask([root, lower], lying), 'secure', 'a server that is no liar');
    const alone = trusting([root, lower], lying, { upstreams: ['liar'] });
    for (const time of ['first', 'second'])
      t.match(verdictOf(await alone.ask(www)), /^(bogus|dnskey_missing)$/, `only the liar, the ${time} time`);
  }
});

await t.test('a denial by a zone above is accepted, and so is a DS at a negative anchor', async t => {
  for (const lower of [zone('internal.'), zone('corp.test.'), zone('corp.')]) {
    const gone: Reply = {
      rcode: 3,
      authority: [...root.soa, ...root.gap('', { from: 'a.', to: 'zzz.' }), ...root.gap('', { from: '.', to: 'a.' })],
    };
    const world = trusting(
      [root, lower],
      scripted([root], (_, type) => (type === 'A' ? gone : undefined)),
    );
    t.equal(verdictOf(await world.ask(`www.${lower.name}`)), 'secure', `${lower.name} does not exist outside`);
  }
  const example = zone('example.');
  const sub = zone('sub.example.');
  const honest = scripted([root, example, sub], () => undefined);
  const negative = ['sub.example'];
  t.equal(verdictOf(await trusting([root], honest, { negative }).ask('sub.example.', 'DS')), 'secure');
  t.equal(verdictOf(await trusting([root], honest, { negative }).ask('sub.example.', 'TXT')), 'insecure');
  const forged = scripted([root, example, sub], (name, type) =>
    name === 'sub.example.' && type === 'DS' ? { answer: zone('example.').sign([sub.key.ds]) } : undefined,
  );
  t.not(verdictOf(await trusting([root], forged, { negative }).ask('sub.example.', 'DS')), 'secure');
  t.not(verdictOf(await trusting([root], forged, { negative }).ask('sub.example.', 'DS')), 'insecure');
});

// --- Below a proven unsigned delegation ---

await t.test('below an unsigned delegation all is insecure, whatever denials of ancestors stand beside', async t => {
  for (const hashed of HASHED) {
    const example = zone('example.', hashed);
    const target = 'www.plain.example.';
    const none = { from: 'a.example.', to: 'plain.example.' };
    const plainSoa = zone('plain.example.').soa.slice(0, 1);
    const direct = example.sign(alias('to.example.', target));
    const wild = example.expanded('b.example.', alias('*.example.', target));
    const proof = example.gap('b.example.', none);
    for (const unsigned of ['plain.example.', target]) {
      const denials = {
        nothing: [],
        'the SOA of the child': plainSoa,
        'the apex of the parent': [...example.soa, ...example.at('example.', TYPE.SOA, TYPE.NS)],
        'the delegation': example.at(unsigned, TYPE.NS),
        'the gap before it': example.gap('b.example.', none),
        'all of them': [...plainSoa, ...example.at('example.', TYPE.SOA), ...example.at(unsigned, TYPE.NS)],
      };
      for (const [what, authority] of Object.entries(denials)) {
        for (const rcode of [0, 3]) {
          const replies: Record<string, Reply> = {
            'to.example.': { rcode, answer: direct, authority },
            'b.example.': { rcode, answer: wild, authority: [...proof, ...authority] },
            [target]: { rcode, authority },
          };
          const upstream = scripted([root, example], (name, type) => (type === 'A' ? replies[name] : undefined), [
            unsigned,
          ]);
          for (const name of Object.keys(replies)) {
            const world = under(upstream);
            const case_ = `${name}, ${unsigned} unsigned, RCODE ${rcode}, beside ${what}, ${JSON.stringify(hashed)}`;
            t.equal(verdictOf(await world.ask(name)), 'insecure', case_);
            t.equal(verdictOf(await world.ask(name)), 'insecure', `${case_}, again`);
          }
        }
      }
    }
  }
});

await t.test('the same, where names of a signed zone have no data: those must be proven', async t => {
  for (const hashed of HASHED) {
    const example = zone('example.', hashed);
    const answer = example.sign(alias('to.example.', 'www.example.'));
    for (const [what, authority, verdict] of [
      ['nothing', [], /^(nsec_missing|rrsigs_missing)$/],
      ['the apex', example.at('example.', TYPE.SOA), /^nsec_missing$/],
      ['its own denial', example.at('www.example.'), /^secure$/],
      ['a denial with the type', example.at('www.example.', TYPE.A), /^nsec_missing$/],
    ] as const) {
      const upstream = scripted([root, example], (name, type) =>
        // The target says no more when it is asked by itself.
        type === 'A' ? { answer: name === 'to.example.' ? answer : [], authority } : undefined,
      );
      t.match(verdictOf(await under(upstream).ask('to.example.')), verdict, what);
    }
  }
});
