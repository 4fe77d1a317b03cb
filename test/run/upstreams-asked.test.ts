// All servers under one owner: what reaches every pool, whatever it is for.

import t from 'tap';

import type { Failure } from '../../src/base/outcome.js';
import { wallMs } from '../../src/base/time.js';
import { checkConfig } from '../../src/config/check.js';
import { planOf } from '../../src/run/plan.js';
import type { FileContents } from '../../src/run/plan-files.js';
import { Upstreams } from '../../src/run/upstreams.js';
import { networkMemory } from '../../src/upstream/memory.js';
import type { Upstream, UpstreamReply } from '../../src/upstream/pool.js';
import { TYPE } from '../../src/wire/rrtype.js';
import { fakeClock, fakeRandom } from '../fixtures/clock.js';
import { fakeNetwork } from '../fixtures/network.js';
import { recordedLog, recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

const TEXT = `
upstream: { servers: [{ name: dns.test, addresses: [192.0.2.1] }] }
routes: [{ zones: [home.arpa], resolvers: [192.0.2.2] }]
`;

/** The servers of a plan, over a fake network. */
function upstreams() {
  const clock = fakeClock();
  const network = fakeNetwork();
  network.datagram = () => new Promise(() => undefined);
  const checked = checkConfig(TEXT);
  if (!checked.ok) throw new Error('not a configuration');
  let looks = 0;
  const emptyFile = (path: string): FileContents => ({ path, octets: Buffer.alloc(0), digest: '' });
  const files = {
    systemRoots: () => undefined,
    checkRoots: () => undefined,
    checkPair: () => undefined,
    checkPq: () => undefined,
  };
  const tested = new Upstreams(
    {
      clock,
      random: fakeRandom(),
      log: recordedLog(),
      observer: recorder().observer,
      memory: networkMemory(() => wallMs(0)),
      dialer: () => network.dial,
      dialDatagram: network.dialDatagram,
      systemResolvers: () => ['192.0.2.3'],
      searchDomains: () => [],
      announcedResolvers: () => [],
      look: () => void looks++,
      exchanged: () => undefined,
    },
    planOf(checked.config, { ...files, read: emptyFile, readSecret: emptyFile }),
  );
  /** Asks, and gives what came of it so far. */
  const ask = (of: Upstream): (UpstreamReply | Failure)[] => {
    const outcomes: (UpstreamReply | Failure)[] = [];
    const question = Buffer.concat([wireName('x.home.arpa'), Buffer.from([0, 1, 0, 1])]);
    of.exchange({ question, dnssecOk: false, checkingDisabled: false }, TYPE.A, each => outcomes.push(each));
    return outcomes;
  };
  return { tested, ask, looks: () => looks };
}

await t.test('whoever is asked, the network is looked at before: it may be another one', t => {
  const { tested, ask, looks } = upstreams();
  const [route] = tested.routes;
  if (route === undefined) throw new Error('no route');
  for (const [purpose, of] of Object.entries({
    main: () => tested.asked,
    route: () => route.upstream(),
    portal: () => tested.portalResolvers,
  })) {
    const before = looks();
    ask(of());
    t.ok(looks() > before, purpose);
  }
  tested.close();
  t.end();
});

await t.test(
  'what the portal was asked is handed back when its window closes, and there is another pool by then',
  t => {
    const { tested, ask } = upstreams();
    const before = tested.portalResolvers;
    let now: Upstream | undefined;
    before.exchange(
      {
        question: Buffer.concat([wireName('x.'), Buffer.from([0, 1, 0, 1])]),
        dnssecOk: false,
        checkingDisabled: false,
      },
      TYPE.A,
      () => void (now = tested.portalResolvers),
    );
    tested.closePortal();
    t.ok(now !== undefined && now !== before);
    const [outcome] = ((): (UpstreamReply | Failure)[] => {
      const outcomes = ask(tested.portalResolvers);
      tested.close();
      return outcomes;
    })();
    t.match(outcome, { code: 'handed_back' }, 'at the end all are handed back');
    t.end();
  },
);
