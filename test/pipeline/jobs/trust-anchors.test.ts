// The keys of trust anchors are looked at when they are due, though nobody asks for anything.

import t from 'tap';

import { readAnchors } from '../../../src/dnssec/anchors.js';
import { trustPoints } from '../../../src/dnssec/rollover.js';
import { validator } from '../../../src/dnssec/validator.js';
import { negativeAnchors } from '../../../src/dnssec/negative.js';
import { Jobs } from '../../../src/pipeline/jobs/jobs.js';
import { trustAnchorJob } from '../../../src/pipeline/jobs/trust-anchors.js';
import type { Upstream } from '../../../src/upstream/pool.js';
import { ageSec, wallSec } from '../../../src/base/time.js';
import { failure } from '../../../src/base/outcome.js';
import { scanResponse } from '../../../src/wire/scan.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { fakeClock } from '../../fixtures/clock.js';
import { queryMessage } from '../../fixtures/client.js';
import { signedTree } from '../../fixtures/signed-records.js';

const NOW_MS = Date.UTC(2026, 2, 1);
const HOUR_MS = 3_600_000;

await t.test('looked at soon after the start, then when half the TTL is over, and an hour after a failure', async t => {
  const clock = fakeClock(NOW_MS);
  const tree = signedTree({ '.': { text: '' } }, NOW_MS / 1000);
  const points = trustPoints(readAnchors(tree.anchors));
  const nowSec = () => ageSec(clock.monotonicMs() / 1000);
  const made = validator({
    anchors: () => points.anchors,
    negative: negativeAnchors([], nowSec),
    settings: () => ({ sha1: 'insecure', maxNsec3Iterations: 50, clockNames: [] }),
    clockIsSet: () => undefined,
    built: wallSec(0),
    bytes: 1 << 16,
    onAnchorKeys: (...about) => void points.seen(...about),
  });
  let asked = 0;
  let reachable = true;
  const one = { id: 1, label: 'one' };
  const upstream: Upstream = {
    servers: [one],
    exchange(_ask, type, settle) {
      asked++;
      t.equal(type, TYPE.DNSKEY);
      const message = tree.answer(queryMessage('.', { type: 'DNSKEY', dnssec: true }));
      const scan = message && scanResponse(message, type);
      if (!reachable || message === undefined || scan === undefined) settle(failure('timeout'));
      else settle({ at: 'reply', message, scan, server: one, protocol: 'dot', authenticated: true });
    },
  };
  let validates = true;
  const jobs = new Jobs(clock);
  jobs.begin();
  jobs.add(
    trustAnchorJob({
      points: () => points,
      validator: made,
      upstream,
      validates: () => validates,
      clock,
      ageNow: nowSec,
    }),
  );
  t.equal(asked, 0, 'not at once');
  await clock.advance(31_000);
  t.equal(asked, 1);
  t.match(points.points, [{ keys: [{ state: 'valid' }], checked: NOW_MS / 1000 + 30 }]);
  await clock.advance(HOUR_MS);
  t.equal(asked, 2, 'the TTL is an hour: half of it is less than the least');
  reachable = false;
  await clock.advance(HOUR_MS);
  t.equal(asked, 3);
  t.equal(points.points[0]?.checked, Math.floor((NOW_MS + 30_000 + HOUR_MS) / 1000), 'the last success');
  await clock.advance(HOUR_MS);
  t.equal(asked, 4);
  validates = false;
  await clock.advance(3 * HOUR_MS);
  t.equal(asked, 4, 'nothing is validated: nothing is looked at');
  validates = true;
  jobs.lookAgain();
  await clock.advance(31_000);
  t.equal(asked, 5, 'it is validated again');
  jobs.close();
  await clock.advance(10 * HOUR_MS);
  t.equal(asked, 5, 'closed');
});
