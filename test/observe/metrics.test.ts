// Metrics as a scraper sees them: formats, series that come and go with servers, gauges that are read from the overview.

import t from 'tap';

import type { Overview } from '../../src/base/overview.js';
import { wallMs } from '../../src/base/time.js';
import { COUNTERS, GAUGES, HISTOGRAMS, SERVER_COUNTERS, SERVER_HISTOGRAMS } from '../../src/observe/catalogue.js';
import { formFor, type Metrics, metrics } from '../../src/observe/metrics.js';
import { addressOverview, overviewOf, serverOverview } from '../fixtures/overview.js';

const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5';

function setUp(): Metrics & { seen: Overview; lines(accept?: string): Promise<string[]> } {
  const made = metrics({
    typeName: type => (type === 1 ? 'A' : `TYPE${type}`),
    rcodeName: rcode => (rcode === 0 ? 'NOERROR' : rcode === 2 ? 'SERVFAIL' : `RCODE${rcode}`),
    overview: () => tested.seen,
    fronts: () => [],
    wallMs: () => wallMs(5000),
  });
  const tested = {
    ...made,
    seen: overviewOf(),
    lines: async (accept?: string) => (await made.expose(formFor(accept))).body.split('\n'),
  };
  return tested;
}

await t.test('both formats, in both orders, again and again: every counter keeps its name', async t => {
  const counters = Object.keys({ ...COUNTERS, ...SERVER_COUNTERS });
  for (const order of [
    [undefined, OPEN_METRICS, undefined, OPEN_METRICS, OPEN_METRICS, undefined],
    [OPEN_METRICS, undefined, undefined, OPEN_METRICS, undefined],
  ]) {
    const { observer, expose } = setUp();
    observer.server('one');
    observer.ede(22);
    observer.listed('ads', 'nxdomain');
    const bodies = new Map<string | undefined, string[]>();
    for (const accept of order) {
      const { contentType, body } = await expose(formFor(accept));
      t.equal(
        contentType,
        accept === undefined
          ? 'text/plain; version=0.0.4; charset=utf-8'
          : 'application/openmetrics-text; version=1.0.0; charset=utf-8',
      );
      t.equal(body.endsWith('# EOF\n'), accept !== undefined);
      t.equal(body.split('# EOF').length, accept === undefined ? 1 : 2, 'once');
      const lines = body.split('\n');
      for (const name of [...counters.map(each => `dotstub_${each}`), 'process_cpu_seconds_total']) {
        t.ok(
          lines.some(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `)),
          name,
        );
        t.ok(lines.includes(`# TYPE ${accept === undefined ? name : name.replace(/_total$/, '')} counter`), name);
      }
      const names = lines.map(line => line.replace(/ [^ ]*$/, '')).filter(line => !line.startsWith('#'));
      bodies.set(accept, [...(bodies.get(accept) ?? []), names.filter(name => name.startsWith('dotstub_')).join('\n')]);
    }
    for (const all of bodies.values()) t.equal(new Set(all).size, 1, 'the same series each time');
  }
});

await t.test('scrapes at the same time do not disturb each other', async t => {
  const { expose } = setUp();
  const all = await Promise.all(
    [undefined, OPEN_METRICS, undefined, OPEN_METRICS].map(async each => expose(formFor(each))),
  );
  t.ok(all.every(({ body }) => /^dotstub_queries_total\{/m.test(body)));
});

await t.test('the first scrape is as good as the second: no value that is none', async t => {
  const { lines } = setUp();
  for (const accept of [undefined, undefined, OPEN_METRICS, OPEN_METRICS]) {
    const seen = await lines(accept);
    const lag = seen.filter(line => line.startsWith('nodejs_eventloop_lag_'));
    t.equal(lag.length, 8);
    t.same(
      seen.filter(line => / (NaN|[+-]?Inf\w*|9223372036\S*)$/.test(line)),
      [],
    );
  }
});

await t.test('the first scrape has the series of the second, also while the loop is busy', async t => {
  const { lines } = setUp();
  const busy = setInterval(() => {
    for (const until = performance.now() + 30; performance.now() < until;);
  }, 1);
  const namesOf = (seen: readonly string[]): string[] =>
    seen
      .map(line => line.replace(/ [^ ]*$/, ''))
      .filter(name => !name.startsWith('#') && !/nodejs_(gc|active)_/.test(name));
  const first = namesOf(await lines());
  t.same(
    namesOf(await lines()).filter(name => !first.includes(name)),
    [],
  );
  clearInterval(busy);
});

await t.test('no gauge of ours or of others has a name of a counter', async t => {
  const seen = await setUp().lines();
  t.same(
    seen.filter(line => / gauge$/.test(line) && line.includes('_total ')),
    [],
  );
});

await t.test('all series that can be foreseen are there at 0, in the catalogue and in the text', async t => {
  const { lines, observer } = setUp();
  observer.server('one');
  const seen = await lines();
  for (const name of Object.keys({ ...COUNTERS, ...GAUGES, ...HISTOGRAMS, ...SERVER_COUNTERS, ...SERVER_HISTOGRAMS }))
    t.ok(
      seen.some(line => line.startsWith(`# TYPE dotstub_${name} `)),
      name,
    );
  for (const line of [
    'dotstub_queries_total{proto="tls",family="6",type="other"} 0',
    'dotstub_responses_total{rcode="SERVFAIL",source="error"} 0',
    'dotstub_upstream_queries_total{upstream="one",proto="dot"} 0',
    'dotstub_upstream_errors_total{upstream="one",reason="tls_verify"} 0',
    'dotstub_upstream_request_duration_seconds_count{upstream="one"} 0',
    'dotstub_upstream_handshake_duration_seconds_bucket{le="+Inf",upstream="one"} 0',
    'dotstub_profile_transitions_total{from="probing",to="private"} 0',
  ])
    t.ok(seen.includes(line), line);
  t.notOk(seen.some(line => line.includes('from="probing",to="probing"')));
});

await t.test(
  'series of a server: made with it, shared with its successor, gone with the last of its label',
  async t => {
    const { lines, observer, glance } = setUp();
    const count = async (): Promise<number | undefined> => {
      const line = (await lines()).find(each =>
        each.startsWith('dotstub_upstream_queries_total{upstream="a",proto="dot"}'),
      );
      return line === undefined ? undefined : Number(line.split(' ').at(-1));
    };
    t.equal(await count(), undefined);
    const first = observer.server('a');
    first.query('dot');
    first.response(0, 0.01);
    first.connect(true, 0.02);
    first.error('shutdown');
    t.equal(await count(), 1);
    t.ok((await lines()).includes('dotstub_upstream_handshake_duration_seconds_count{upstream="a"} 1'));
    t.same(glance().connects, [{ upstream: 'a', made: 1, resumed: 1 }]);
    const successor = observer.server('a');
    first.end();
    first.end();
    successor.query('dot');
    t.equal(await count(), 2, 'one of two has ended, and was counted once');
    successor.end();
    t.equal(await count(), undefined);
    first.query('udp');
    t.equal(await count(), undefined, 'an answer that comes late brings nothing back');
    t.match(glance(), { encrypted: 2, cleartext: 1, connects: [] }, 'sums stay');
  },
);

await t.test('gauges are read from the overview, once for each scrape', async t => {
  const tested = setUp();
  const values = async (name: string): Promise<string[]> =>
    (await tested.lines()).filter(line => line.startsWith(`dotstub_${name}{`) || line.startsWith(`dotstub_${name} `));
  tested.seen = overviewOf({
    mode: 'encrypted',
    inflight: 7,
    sessions: { tcp: 2, tls: 3, https: 4 },
    clockIsSet: false,
    reload: { taken: false, takenMs: 9000 },
    trustAnchors: [{ tag: 20326, state: 'valid' }],
  });
  t.same(await values('inflight_queries'), ['dotstub_inflight_queries 7']);
  t.same(await values('client_connections'), [
    'dotstub_client_connections{proto="tcp"} 2',
    'dotstub_client_connections{proto="tls"} 3',
    'dotstub_client_connections{proto="https"} 4',
  ]);
  t.same(await values('cache_entries'), ['dotstub_cache_entries 3']);
  t.same(await values('clock_synchronized'), ['dotstub_clock_synchronized 0']);
  t.same(await values('config_last_reload_successful'), ['dotstub_config_last_reload_successful 0']);
  t.same(await values('config_last_reload_timestamp_seconds'), ['dotstub_config_last_reload_timestamp_seconds 9']);
  t.ok((await values('upstream_mode')).includes('dotstub_upstream_mode{mode="encrypted"} 1'));
  t.ok((await values('trust_anchor_state')).includes('dotstub_trust_anchor_state{key_tag="20326",state="valid"} 1'));
  t.match(await values('build_info'), [/version="1\.2\.3",node="[\d.]+",openssl=".*"\} 1/]);
  tested.seen = overviewOf({ servers: [] });
  t.same(await values('upstream_up'), [], 'what went away leaves');
  t.same(await values('trust_anchor_state'), []);
});

await t.test('upstream_up: one address that can be asked as the mode wants is enough', async t => {
  const tested = setUp();
  const up = async (...servers: Overview['servers']): Promise<string[]> => {
    tested.seen = overviewOf({ servers });
    return (await tested.lines()).filter(line => line.startsWith('dotstub_upstream_up{'));
  };
  const over = (...addresses: Parameters<typeof addressOverview>[0][]) =>
    serverOverview({ addresses: addresses.map(addressOverview) });
  const UP = ['dotstub_upstream_up{upstream="one"} 1'];
  const DOWN = ['dotstub_upstream_up{upstream="one"} 0'];
  t.same(await up(over({}, { state: 'failed', path: 'refuse' })), UP, 'one of two addresses is dead');
  t.same(await up(over({ state: 'failed', path: 'refuse' }, {})), UP, 'in any order');
  t.same(await up(over({ state: 'failed', path: 'refuse' })), DOWN);
  t.same(await up(over({ state: 'failed', path: 'tls' })), DOWN, 'it may be tried again, but was not reached');
  t.same(await up(over({ state: 'probing', path: 'tls' })), DOWN);
  t.same(await up(over({ state: 'failed', path: 'cleartext' })), UP, 'opportunistic on a network without TLS');
  t.same(await up(over({ state: 'looking', path: 'refuse', address: undefined })), DOWN);
  t.same(await up(over({ state: 'failed', path: 'refuse' }), { ...over({}), id: 2 }), UP, 'two servers of one label');
  t.same(await up(serverOverview(), { ...over({ path: 'cleartext' }), label: 'r', purpose: 'route' }), [
    ...UP,
    'dotstub_upstream_up{upstream="r"} 1',
  ]);
  t.ok((await tested.lines()).includes('dotstub_upstream_purpose{upstream="r",purpose="route"} 1'));
});
