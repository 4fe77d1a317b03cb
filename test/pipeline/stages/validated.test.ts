// Conversations about validation: what is asked, what is believed, and what that may cost. The upstream answers are made
// here, signed by fixtures/signer.ts; the clock is the test's.

import { createHash, generateKeyPairSync } from 'node:crypto';
import { performance } from 'node:perf_hooks';

import t from 'tap';

import { systemClock } from '../../../src/os/clock.js';
import { wallSec } from '../../../src/base/time.js';
import { keyTagOf } from '../../../src/dnssec/dnskey.js';
import { FLAG } from '../../../src/wire/header.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { fakeClock } from '../../fixtures/clock.js';
import { type Parts, putTogether, takeApart } from '../../fixtures/mutations.js';
import { keyTrap } from '../../fixtures/key-trap.js';
import { responseTo } from '../../fixtures/messages.js';
import { honest, queryFor, type SignedTree, signedTree } from '../../fixtures/signed-records.js';
import { type Upstream, validating, verdictOf } from '../../fixtures/validating.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const DAY_MS = 86_400_000;
const WWW = (zone: string): string => `www.${zone} 300 A 192.0.2.80\n`;
const SENTINELS = ['is', 'not']
  .map(what => ['00001', '99999'].map(tag => `root-key-sentinel-${what}-ta-${tag}.example. 300 A 192.0.2.1\n`).join(''))
  .join('');

const tree = signedTree(
  {
    '.': { text: '' },
    'example.': { text: WWW('example.') + SENTINELS },
    'sub.example.': { text: WWW('sub.example.') + 'alias.sub.example. 300 CNAME www.example.\n' },
    'pool.ntp.': { text: 'pool.ntp. 300 A 192.0.2.123\n' },
    'deep.down.example.': { text: WWW('deep.down.example.') },
  },
  NOW_MS / 1000,
);

/** An answer that is changed on its way. */
const changing =
  (from: SignedTree, change: (parts: Parts) => unknown): Upstream =>
  question => {
    const reply = from.answer(queryFor(question));
    if (reply === undefined) return undefined;
    const parts = takeApart(reply);
    change(parts);
    return putTogether(parts);
  };
const isSignature = ({ type }: { type: number }): boolean => type === TYPE.RRSIG;
const without = <T>(list: T[], which: (each: T) => boolean): void =>
  void list.splice(0, Infinity, ...list.filter(each => !which(each)));

await t.test('what the chain needs is asked with the question, and only once', async t => {
  const clock = fakeClock(NOW_MS);
  const world = validating({ anchors: tree.anchors, upstream: honest(tree), clock });
  t.equal(verdictOf(await world.ask('www.sub.example.')), 'secure');
  t.same(
    [...world.asked].sort(),
    [
      '1 \x03www\x03sub\x07example\0',
      '43 \x03sub\x07example\0',
      '43 \x07example\0',
      '48 \0',
      '48 \x03sub\x07example\0',
      '48 \x07example\0',
    ].sort(),
  );
  const before = world.asked.length;
  t.equal(verdictOf(await world.ask('www.sub.example.')), 'secure');
  t.equal(world.asked.length, before + 1, 'of a known zone nothing is asked but the question');
  t.equal(verdictOf(await world.ask('alias.sub.example.')), 'secure');
  t.equal(world.asked.length, before + 2);
});

await t.test('one SERVFAIL to a question of the chain: the only server is asked once more', async t => {
  for (const [fails, verdict] of [
    [1, 'secure'],
    [2, 'dnssec_indeterminate'],
  ] as const) {
    const seen = new Map<string, number>();
    const honestly = honest(tree);
    const world = validating({
      anchors: tree.anchors,
      upstream: async question => {
        const key = question.toString('latin1');
        const type = question.readUInt16BE(question.length - 4);
        const count = (seen.get(key) ?? 0) + 1;
        seen.set(key, count);
        if (type === TYPE.A || count > fails) return honestly(question);
        return responseTo(queryFor(question), { rcode: 2 });
      },
      clock: fakeClock(NOW_MS),
    });
    t.equal(verdictOf(await world.ask('www.sub.example.')), verdict, `${fails} times`);
    t.ok(
      [...seen.values()].every(count => count <= 2),
      'never more than twice',
    );
  }
});

await t.test('bogus at one server: asked once more, of another', async t => {
  const clock = fakeClock(NOW_MS);
  const lies = changing(tree, parts =>
    parts.answer.forEach((each, i) => {
      if (each.type === TYPE.A) parts.answer[i] = { ...each, rdata: Buffer.from([192, 0, 2, 66]) };
    }),
  );
  const one: Upstream = async (question, upstream) => (upstream === 'liar' ? lies : honest(tree))(question, upstream);
  const mixed = validating({ anchors: tree.anchors, upstream: one, upstreams: ['liar', 'good'], clock });
  const answer = await mixed.ask('www.example.');
  t.equal(verdictOf(answer), 'secure');
  t.equal(answer.at === 'answer' && answer.entry.upstream, 'good');
  t.equal(mixed.recorder.count('dnssecRetry'), 1);
  const alone = validating({
    anchors: tree.anchors,
    upstream: lies,
    upstreams: ['liar', 'liar too', 'and this one'],
    clock,
  });
  t.equal(verdictOf(await alone.ask('www.example.')), 'bogus');
  t.equal(alone.recorder.count('dnssecRetry'), 1, 'once, not at all of them');
});

await t.test('a denial that cannot be read is bogus, and asked for once more at most', async t => {
  const clock = fakeClock(NOW_MS);
  // The next name begins with a label of an unknown kind.
  const upstream = changing(tree, ({ authority }) => {
    for (const [i, each] of authority.entries())
      if (each.type === TYPE.NSEC) authority[i] = { ...each, rdata: Buffer.from([0x80, 0, 0, 1, 0x40]) };
  });
  for (const upstreams of [['one'], ['one', 'another']]) {
    const world = validating({ anchors: tree.anchors, upstream, clock, upstreams });
    t.match(await world.ask('nobody.example.'), { at: 'failure' });
    t.equal(world.asked.filter(each => each.includes('nobody')).length, upstreams.length);
  }
});

await t.test('B17 row 6: a server that strips signatures is left for another; alone it is named', async t => {
  const clock = fakeClock(NOW_MS);
  const strips = changing(tree, parts => {
    without(parts.answer, isSignature);
    without(parts.authority, each => isSignature(each) || each.type === TYPE.NSEC);
  });
  const mixed = validating({
    anchors: tree.anchors,
    clock,
    upstreams: ['router', 'good'],
    upstream: async (question, upstream) => (upstream === 'router' ? strips : honest(tree))(question, upstream),
  });
  t.equal(verdictOf(await mixed.ask('www.example.')), 'secure');
  const retries = mixed.recorder.count('dnssecRetry');
  const second = await mixed.ask('www.sub.example.');
  t.equal(second.at === 'answer' && second.entry.upstream, 'good');
  t.equal(mixed.recorder.count('dnssecRetry'), retries, 'it is known now, and not asked first');
  t.equal(mixed.validations.strippers.stateOf(1), 'strips');
  t.equal(mixed.validations.strippers.stateOf(2), 'ok');
  t.ok(mixed.log.lines.some(line => line.startsWith('warn: router leaves DNSSEC signatures out')));

  const alone = validating({ anchors: tree.anchors, clock, upstreams: ['router'], upstream: strips });
  const refused = await alone.ask('www.example.');
  t.match(refused, { at: 'failure', code: 'rrsigs_missing', detail: 'router leaves them out of all answers' });
  const lenient = validating({ anchors: tree.anchors, clock, upstreams: ['router'], upstream: strips, mode: 'prefer' });
  t.equal(verdictOf(await lenient.ask('www.example.')), 'unchecked', 'prefer: given, and not called secure');
  const wrong = validating({
    anchors: tree.anchors,
    clock,
    mode: 'prefer',
    upstream: changing(tree, parts =>
      parts.answer.forEach((each, i) => {
        if (each.type === TYPE.A) parts.answer[i] = { ...each, rdata: Buffer.from([192, 0, 2, 66]) };
      }),
    ),
  });
  t.equal(verdictOf(await wrong.ask('www.example.')), 'bogus', 'prefer: what is there and wrong is not given');
});

await t.test('one bad zone does not bring a server into disrepute', async t => {
  const clock = fakeClock(NOW_MS);
  const world = validating({
    anchors: tree.anchors,
    clock,
    upstream: (question, upstream) =>
      (question.includes('sub') ? changing(tree, parts => without(parts.answer, isSignature)) : honest(tree))(
        question,
        upstream,
      ),
  });
  t.equal(verdictOf(await world.ask('www.sub.example.')), 'rrsigs_missing');
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
  t.equal(world.validations.strippers.stateOf(1), 'ok');
  t.notOk(world.log.lines.some(line => line.includes('leaves DNSSEC signatures out')));
});

await t.test(
  'B17 row 7: a clock that cannot be right passes the names of time servers, not as secure, and nothing else',
  async t => {
    const clock = fakeClock(0);
    const world = validating({
      anchors: tree.anchors,
      clock,
      upstream: honest(tree),
      built: wallSec(NOW_MS / 1000 - DAY_MS / 1000),
      settings: { clockNames: ['\x04pool\x03ntp\0'] },
    });
    t.equal(verdictOf(await world.ask('pool.ntp.')), 'indeterminate');
    const other = await world.ask('www.example.');
    t.match(other, { at: 'failure', code: 'signature_early' });
    t.match(
      other.at === 'failure' ? other.detail : '',
      /^this machine's clock says 1970-01-01T00:00Z, which cannot be/,
    );
    clock.setWall(NOW_MS);
    await clock.advance(61_000);
    t.equal(verdictOf(await world.ask('www.example.')), 'secure', 'once it is set, all is well');
    t.equal(verdictOf(await world.ask('pool.ntp.')), 'secure');
  },
);

await t.test('a clock that nobody has set passes them too, but only what its dates are wrong of', async t => {
  const clock = fakeClock(NOW_MS + 60 * DAY_MS);
  const options = {
    anchors: tree.anchors,
    clock,
    upstream: honest(tree),
    settings: { clockNames: ['\x04pool\x03ntp\0'] },
  };
  t.equal(verdictOf(await validating({ ...options, clockIsSet: () => false }).ask('pool.ntp.')), 'indeterminate');
  t.equal(verdictOf(await validating({ ...options, clockIsSet: () => true }).ask('pool.ntp.')), 'signature_expired');
  t.equal(
    verdictOf(await validating({ ...options, clockIsSet: () => undefined }).ask('pool.ntp.')),
    'signature_expired',
  );
  t.equal(
    verdictOf(await validating({ ...options, clockIsSet: () => false }).ask('www.example.')),
    'signature_expired',
  );
  const right = fakeClock(NOW_MS);
  t.equal(
    verdictOf(await validating({ ...options, clock: right, clockIsSet: () => false }).ask('pool.ntp.')),
    'secure',
    'where the dates are right nothing is lost',
  );
});

await t.test(
  'signatures count a little beyond their dates: a tenth of their life, at least an hour and at most a day',
  async t => {
    for (const [afterMs, verdict] of [
      [14 * DAY_MS, 'secure'],
      [14.9 * DAY_MS, 'secure'],
      [15.1 * DAY_MS, 'signature_expired'],
      [-DAY_MS, 'secure'],
      [-1.2 * DAY_MS, 'signature_early'],
    ] as const) {
      t.equal(
        verdictOf(
          await validating({ anchors: tree.anchors, clock: fakeClock(NOW_MS + afterMs), upstream: honest(tree) }).ask(
            'www.example.',
          ),
        ),
        verdict,
        `${afterMs / DAY_MS} days`,
      );
    }
  },
);

await t.test('RFC 7646: below a negative trust anchor nothing is checked', async t => {
  const clock = fakeClock(NOW_MS);
  const strips = changing(tree, parts => without(parts.answer, isSignature));
  const world = validating({ anchors: tree.anchors, clock, upstream: strips, negative: ['sub.example'] });
  t.equal(verdictOf(await world.ask('www.sub.example.')), 'insecure');
  t.equal(verdictOf(await world.ask('www.example.')), 'rrsigs_missing');
  t.equal(verdictOf(await world.ask('printer.home.arpa.')), 'insecure', 'nor where names are private (RFC 8375)');
});

await t.test('RFC 8509: sentinel names tell which keys of the root are believed', async t => {
  const clock = fakeClock(NOW_MS);
  const tag = tree.anchors[0]?.split(' ')[2]?.padStart(5, '0') ?? '';
  const named = signedTree(
    {
      '.': { text: '' },
      'example.': {
        text: ['is', 'not']
          .flatMap(what => [tag, '00001'].map(each => `root-key-sentinel-${what}-ta-${each}.example. 300 A 192.0.2.1`))
          .join('\n'),
      },
    },
    NOW_MS / 1000,
  );
  const believed = named.anchors[0]?.split(' ')[2] ?? '';
  const own = signedTree({ '.': { text: '' }, 'example.': { text: '' } }, NOW_MS / 1000);
  t.ok(own.anchors.length === 1 && believed !== '');
  const world = validating({
    anchors: [...named.anchors, `. DS ${Number(tag)} 13 2 ${'00'.repeat(32)}`],
    upstream: honest(named),
    clock,
  });
  t.equal(verdictOf(await world.ask(`root-key-sentinel-is-ta-${tag}.example.`)), 'secure');
  t.equal(verdictOf(await world.ask(`root-key-sentinel-not-ta-${tag}.example.`)), 'sentinel');
  t.equal(verdictOf(await world.ask('root-key-sentinel-is-ta-00001.example.')), 'sentinel');
  t.equal(verdictOf(await world.ask('root-key-sentinel-not-ta-00001.example.')), 'secure');
});

await t.test('RFC 4034 §2.1.1: a key without the zone flag opens nothing, though the DS speaks of it', async t => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const key = Buffer.concat([
    Buffer.from([0, 1, 3, 15]),
    Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'),
  ]);
  const ds = Buffer.concat([
    Buffer.from([keyTagOf(key) >> 8, keyTagOf(key) & 0xff, 15, 2]),
    createHash('sha256')
      .update(Buffer.concat([Buffer.from('\x07example\0'), key]))
      .digest(),
  ]);
  const odd = signedTree(
    {
      '.': { text: `example. 300 DS \\# ${ds.length} ${ds.toString('hex')}` },
      'example.': {
        unsigned: true,
        text: `${WWW('example.')}example. 300 DNSKEY \\# ${key.length} ${key.toString('hex')}`,
      },
    },
    NOW_MS / 1000,
  );
  t.match(
    await validating({ anchors: odd.anchors, clock: fakeClock(NOW_MS), upstream: honest(odd) }).ask('www.example.'),
    { code: 'no_zone_key' },
  );
});

await t.test('CD: the client checks for itself (RFC 6840 §5.9)', async t => {
  const world = validating({
    anchors: tree.anchors,
    clock: fakeClock(NOW_MS),
    upstream: changing(tree, parts => without(parts.answer, isSignature)),
  });
  t.equal(verdictOf(await world.ask('www.example.', 'A', FLAG.RD | FLAG.CD)), 'unchecked');
  t.equal(world.asked.length, 1);
});

await t.test("an answer's rcode, bystanders and proofs have to hold as well", async t => {
  const clock = fakeClock(NOW_MS);
  const wild = signedTree(
    { '.': { text: '' }, 'example.': { text: `${WWW('example.')}*.wild.example. 300 A 192.0.2.99\n` } },
    NOW_MS / 1000,
  );
  const asked = async (name: string, change: (parts: Parts) => unknown, type = 'A'): Promise<string> =>
    verdictOf(await validating({ anchors: wild.anchors, clock, upstream: changing(wild, change) }).ask(name, type));
  const nothing = (): void => undefined;
  const isAbout = ({ question }: Parts, what: string): boolean => question.includes(what);
  t.equal(await asked('x.wild.example.', nothing), 'secure');
  t.equal(
    await asked('x.wild.example.', parts => isAbout(parts, '\x01x') && parts.authority.splice(0)),
    'nsec_missing',
    'RFC 4035 §5.3.4',
  );
  t.equal(await asked('nobody.example.', nothing), 'secure');
  t.equal(
    await asked(
      'nobody.example.',
      parts => isAbout(parts, 'nobody') && without(parts.authority, each => each.type === TYPE.NSEC),
    ),
    'bogus',
    'signatures without their records',
  );
  t.equal(
    await asked('www.example.', parts => {
      if (isAbout(parts, 'www')) parts.rcode = 3;
    }),
    'bogus',
    'data, and NXDOMAIN',
  );
  t.equal(
    await asked('www.example.', parts => {
      if (isAbout(parts, 'www')) parts.rcode = 6;
    }),
    'bogus',
  );
  const stranger = {
    owner: Buffer.from('\x07example\0'),
    type: TYPE.NS,
    ttlSec: 300,
    rdata: Buffer.from('\x02ns\x04evil\0'),
  };
  const withStranger = validating({
    anchors: wild.anchors,
    clock,
    upstream: changing(wild, parts => isAbout(parts, 'www') && parts.authority.push(stranger)),
  });
  const answer = await withStranger.ask('www.example.');
  t.match(
    answer,
    { at: 'answer', entry: { verdict: 'secure', answers: 2, authority: 0 } },
    'unsigned NS records do not stay: AD would speak of them',
  );
  t.equal(
    await asked(
      'www.example.',
      parts => isAbout(parts, 'www') && parts.authority.push({ ...stranger, type: TYPE.TXT }),
    ),
    'secure',
    'nor do others',
  );
});

await t.test('what could not be fetched is not remembered as bogus', async t => {
  const clock = fakeClock(NOW_MS);
  let reachable = false;
  const world = validating({
    anchors: tree.anchors,
    clock,
    upstream: question =>
      !reachable && question.readUInt16BE(question.length - 4) === TYPE.DNSKEY ? undefined : honest(tree)(question),
  });
  t.equal(verdictOf(await world.ask('www.example.')), 'dnssec_indeterminate');
  reachable = true;
  t.equal(verdictOf(await world.ask('www.example.')), 'secure');
});

await t.test(
  'B17 row 13: KeyTrap: many keys of one tag, many signatures: a limit is met, and the loop is never held for 10 ms',
  async t => {
    for (const [keys, tags, signatures, limit] of [
      [40, 1, 40, 'dnskeys'],
      [12, 1, 40, 'key_tags'],
      [12, 3, 40, 'signatures'],
    ] as const) {
      const trap = keyTrap(keys, tags, signatures);
      const upstream: Upstream = question => trap.answer(queryFor(question));
      const ready = new Map<string, Buffer | undefined | Promise<Buffer | undefined>>();
      const atOnce: Upstream = (question, name) => {
        const key = question.toString('latin1');
        if (!ready.has(key)) ready.set(key, upstream(question, name));
        return ready.get(key);
      };
      let pauses = 0;
      const world = validating({
        anchors: trap.anchors,
        upstream: atOnce,
        clock: {
          ...systemClock,
          after(ms, then) {
            pauses++;
            return systemClock.after(ms, then);
          },
        },
      });
      let longestMs = 0;
      let last = performance.now();
      const watch = setInterval(() => {
        longestMs = Math.max(longestMs, performance.now() - last);
        last = performance.now();
      }, 1);
      const verdicts = await Promise.all(Array.from({ length: 30 }, async () => world.ask('www.trap.')));
      clearInterval(watch);
      t.ok(
        verdicts.every(each => verdictOf(each) === 'dnssec_limit'),
        `${keys} keys of ${tags} tags: ${verdicts.map(verdictOf)[0]}`,
      );
      t.ok(world.recorder.count('dnssecLimit', limit) > 0, limit);
      t.comment(`longest turn ${longestMs.toFixed(1)} ms, ${pauses} pauses`);
      // 30 questions of up to 32 checks, about 60 to a turn. (How long a turn takes is for a quiet machine to say.)
      if (limit === 'signatures') t.ok(pauses >= 10, `${pauses} pauses`);
    }
  },
);
