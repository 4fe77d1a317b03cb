// Negative trust anchors: which one covers a name, and who may end which.

import t from 'tap';

import { ageSec, wallSec } from '../../src/base/time.js';
import { readAnchors } from '../../src/dnssec/anchors.js';
import { Budget } from '../../src/dnssec/budget.js';
import { Chain } from '../../src/dnssec/chain.js';
import { type Name, nameOf, nameText, parentOf, ROOT_NAME } from '../../src/dnssec/name.js';
import { type NegativeAnchors, negativeAnchors } from '../../src/dnssec/negative.js';
import { Verifier } from '../../src/dnssec/signature.js';
import { SpeculativeLookups } from '../../src/dnssec/speculative.js';
import { zoneTable } from '../../src/dnssec/zones.js';
import { ntaCommand } from '../../src/control/nta.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { wireName } from '../fixtures/records.js';

const HOUR = 3600;
const name = (text: string): Name => nameOf(wireName(text));

function table(...configured: string[]): { anchors: NegativeAnchors; pass(seconds: number): void } {
  let now = 0;
  return {
    anchors: negativeAnchors(configured.map(name), () => ageSec(now)),
    pass: seconds => void (now += seconds),
  };
}

const covering = (anchors: NegativeAnchors, text: string): string | undefined => {
  for (let each = name(text); ; each = parentOf(each)) {
    if (anchors.covers(name(text), each)) return nameText(each);
    if (each === ROOT_NAME) return undefined;
  }
};

await t.test('a configured and a temporary one at the same name are two: each ends by itself', async t => {
  const { anchors, pass } = table('broken.');
  t.ok(anchors.add(name('broken.'), HOUR));
  t.same(
    anchors.list.map(({ at }) => at),
    ['configured', 'temporary'],
  );
  t.equal(anchors.remove(name('broken.')), 'removed');
  t.equal(covering(anchors, 'www.broken.'), 'broken.', 'the configured one stays');
  t.ok(anchors.add(name('broken.'), HOUR));
  pass(HOUR);
  t.same(
    anchors.list.map(({ at }) => at),
    ['configured'],
  );
  t.equal(covering(anchors, 'www.broken.'), 'broken.', 'and outlives the end of the other');
  t.ok(anchors.add(name('broken.'), HOUR));
  t.same(anchors.configure([]).map(nameText), ['broken.']);
  t.equal(covering(anchors, 'www.broken.'), 'broken.', 'as the temporary one outlives the configured one');
  pass(HOUR);
  t.equal(covering(anchors, 'www.broken.'), undefined);
});

await t.test('only the configuration takes away what it has set, and the command says so', async t => {
  const { anchors } = table('broken.');
  t.equal(anchors.remove(name('broken.')), 'configured');
  t.equal(anchors.remove(name('other.')), 'none');
  t.equal(covering(anchors, 'broken.'), 'broken.');
  const changed: string[] = [];
  const command = ntaCommand(
    anchors,
    () => ageSec(0),
    each => void changed.push(nameText(each)),
  );
  t.match(await command.run(['remove', 'broken']), { ok: false, problem: /negative_trust_anchors and reload/ });
  t.same(changed, [], 'nothing is forgotten');
  t.match(await command.run(['add', 'broken', '1h']), {
    ok: true,
    text: /broken\. +configured\nbroken\. +for 3600 s more/,
  });
  t.match(await command.run(['remove', 'broken']), { ok: true, text: /^broken\. +configured$/ });
});

await t.test('the closest one covers a name, in whatever order they were set, and of whatever kind', async t => {
  const { anchors } = table('example.', 'b.a.example.');
  anchors.add(name('a.example.'), HOUR);
  t.equal(covering(anchors, 'x.b.a.example.'), 'b.a.example.');
  t.equal(covering(anchors, 'x.a.example.'), 'a.example.');
  t.equal(covering(anchors, 'x.example.'), 'example.');
  t.equal(covering(anchors, 'example.'), 'example.');
  t.equal(covering(anchors, 'xexample.'), undefined, 'not where names only end alike');
  anchors.add(name('local.'), HOUR);
  anchors.add(name('x.local.'), HOUR);
  t.equal(covering(anchors, 'www.x.local.'), 'x.local.', 'below a special name, too');
  t.equal(covering(table('.').anchors, 'www.example.'), '.', 'the root covers all');
});

await t.test(
  'RFC 7646 §2: a trust anchor between two negative ones has precedence over the upper one only',
  async t => {
    const DIGEST = 'ab'.repeat(32);
    const trusted = readAnchors([`. DS 1 8 2 ${DIGEST}`, `a.example. DS 2 8 2 ${DIGEST}`]);
    const { anchors: negative } = table('example.', 'b.a.example.');
    const zones = zoneTable(1 << 16);
    const chain = new Chain(
      { zones, verifier: new Verifier(), negative },
      {
        settings: { sha1: 'insecure', maxNsec3Iterations: 50, clockNames: [] },
        anchors: trusted,
        epoch: zones.epoch,
        budget: new Budget(),
        wallNow: wallSec(0),
        ageNow: ageSec(0),
        timeless: false,
        final: true,
        results: new Map(),
        note: undefined,
      },
    );
    const speculative = new SpeculativeLookups(zones, () => trusted, negative);
    for (const [text, unsigned] of [
      ['www.example.', true],
      ['www.a.example.', false],
      ['www.b.a.example.', true],
      ['www.other.', false],
    ] as const) {
      t.equal(chain.negative(name(text)) !== undefined, unsigned, text);
      t.equal(
        speculative.guess(name(text), TYPE.A, ageSec(0)).lookups.length === 0,
        unsigned,
        `${text}, speculatively`,
      );
    }
  },
);

await t.test('the temporary ones are bounded: one more is refused, and no other ends for it', async t => {
  const { anchors, pass } = table('configured.');
  for (let i = 0; i < 256; i++) if (!anchors.add(name(`z${i}.`), HOUR)) t.fail(`number ${i}`);
  t.notOk(anchors.add(name('more.'), HOUR));
  t.ok(anchors.add(name('z7.'), 2 * HOUR), 'an end can be changed');
  t.equal(covering(anchors, 'z0.'), 'z0.');
  t.equal(covering(anchors, 'configured.'), 'configured.');
  pass(HOUR);
  t.ok(anchors.add(name('more.'), HOUR), 'there is room when others have ended');
  t.equal(covering(anchors, 'z7.'), 'z7.');
});
