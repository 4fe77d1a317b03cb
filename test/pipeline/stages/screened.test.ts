// Rebinding protection: which answers are changed, to what, and by which settings.

import t from 'tap';

import { ageSec } from '../../../src/base/time.js';
import { Answer, type Outcome } from '../../../src/pipeline/answer.js';
import { FLAG, writeHeader } from '../../../src/wire/header.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { scanResponse } from '../../../src/wire/scan.js';
import { describe } from '../../fixtures/described.js';
import { responseTo, type ResponseParts } from '../../fixtures/messages.js';
import { wireName } from '../../fixtures/records.js';
import { fakeUpstream, type Resolving, resolving, type Says } from '../../fixtures/resolving.js';
import { signedTree } from '../../fixtures/signed-records.js';
import { fakeClock } from '../../fixtures/clock.js';

const saying =
  (said: Readonly<Record<string, string | ResponseParts>>): Says =>
  (query, name) => {
    const about = said[name.toLowerCase()];
    return responseTo(query, typeof about === 'string' ? { answers: about } : (about ?? { rcode: 3 }));
  };

function protecting(says: Says, allow: readonly string[] = [], options = {}): Resolving {
  const it = resolving(says, options);
  it.settings.rebinding = { protect: true, allow: allow.map(wireName) };
  return it;
}

const shown = (outcome: Outcome | undefined): string => describe(outcome);
const BLOCKED = ' [15]';

await t.test('without protection, answers are given as they come', t => {
  const it = resolving(saying({ 'evil.example.': 'evil.example. 300 A 192.168.1.1' }));
  t.equal(shown(it.ask('evil.example.')[0]), 'NOERROR evil.example. 300 A');
  t.equal(it.recorder.count('screened'), 0);
  t.end();
});

await t.test('a private address of a public name is NODATA with a SOA and EDE 15, and counted', t => {
  const it = protecting(saying({ 'evil.example.': 'evil.example. 300 A 192.168.1.1\nevil.example. 300 A 10.0.0.1' }));
  t.equal(shown(it.ask('evil.example.')[0]), `NOERROR | evil.example. 60 SOA${BLOCKED}`);
  t.equal(it.recorder.count('screened'), 1);
  const [again] = it.ask('evil.example.');
  t.match(again, { origin: 'cache' });
  t.equal(shown(again), `NOERROR | evil.example. 60 SOA${BLOCKED}`, 'from the cache, too');
  t.equal(again instanceof Answer && again.mayBeKeptReady, false, 'and it is judged each time');
  t.end();
});

await t.test('a denial may be kept for a minute, and no longer than the address', async t => {
  const it = protecting(
    saying({ 'short.example.': 'short.example. 20 A 127.0.0.1', 'long.example.': 'long.example. 300 A 127.0.0.1' }),
  );
  const leftSec = (name: string): number => {
    const [outcome] = it.ask(name);
    const soaSec = Number(/ (\d+) SOA/.exec(shown(outcome))?.[1]);
    // The reply has so many seconds less.
    return outcome instanceof Answer ? soaSec - outcome.elapsedSec(ageSec(it.clock.monotonicMs() / 1000)) : NaN;
  };
  t.same([leftSec('short.example.'), leftSec('long.example.')], [20, 60]);
  await it.clock.advance(15_000);
  t.same([leftSec('short.example.'), leftSec('long.example.')], [5, 60]);
  await it.clock.advance(275_000);
  t.equal(leftSec('long.example.'), 10);
});

await t.test('of public and private addresses, the public ones are left', t => {
  const it = protecting(saying({ 'two.example.': 'two.example. 300 A 192.0.2.1\ntwo.example. 300 A 10.0.0.1' }));
  t.equal(shown(it.ask('two.example.')[0]), `NOERROR two.example. 300 A${BLOCKED}`);
  t.end();
});

await t.test('aliases are kept, and the denial is about their end', t => {
  const it = protecting(
    saying({ 'a.example.': 'a.example. 300 CNAME b.example.\nb.example. 300 CNAME c.other.\nc.other. 40 A 10.0.0.1' }),
  );
  t.equal(
    shown(it.ask('a.example.')[0]),
    `NOERROR a.example. 300 CNAME, b.example. 300 CNAME | c.other. 40 SOA${BLOCKED}`,
  );
  t.end();
});

await t.test('an SVCB or HTTPS record with such a hint is left out', t => {
  const it = protecting(
    saying({
      'svc.example.':
        'svc.example. 300 SVCB 1 . alpn=h2 ipv4hint=192.168.1.1\nsvc.example. 300 SVCB 2 . alpn=h2 ipv4hint=192.0.2.1',
      'bad.example.': 'bad.example. 300 SVCB 1 . ipv4hint=127.0.0.1',
    }),
  );
  t.equal(shown(it.ask('svc.example.', { type: 'SVCB' })[0]), `NOERROR svc.example. 300 SVCB${BLOCKED}`);
  t.equal(shown(it.ask('bad.example.', { type: 'SVCB' })[0]), `NOERROR | bad.example. 60 SOA${BLOCKED}`);
  t.end();
});

await t.test('other types of the name, and names without private addresses, are not touched', t => {
  const it = protecting(
    saying({ 'evil.example.': 'evil.example. 300 TXT "10.0.0.1"', 'good.example.': 'good.example. 300 A 192.0.2.1' }),
  );
  t.equal(shown(it.ask('evil.example.', { type: 'TXT' })[0]), 'NOERROR evil.example. 300 TXT');
  t.equal(shown(it.ask('good.example.')[0]), 'NOERROR good.example. 300 A');
  t.equal(shown(it.ask('nobody.example.')[0]), 'NXDOMAIN');
  t.equal(it.recorder.count('screened'), 0);
  t.end();
});

await t.test('rebinding.allow is about the name that is asked for, with all names below it', t => {
  const says = saying({
    'home.plex.direct.': 'home.plex.direct. 300 A 192.168.1.1',
    'plex.direct.': 'plex.direct. 300 A 192.168.1.1',
    'notplex.direct.': 'notplex.direct. 300 A 192.168.1.1',
    'corp.example.': 'corp.example. 300 CNAME lb.cloud.\nlb.cloud. 300 A 10.0.0.1',
    'evil.other.': 'evil.other. 300 CNAME home.plex.direct.\nhome.plex.direct. 300 A 192.168.1.1',
  });
  const it = protecting(says, ['plex.direct.', 'corp.example.']);
  t.equal(shown(it.ask('HOME.plex.direct.')[0]), 'NOERROR home.plex.direct. 300 A', 'in any letter case');
  t.equal(shown(it.ask('plex.direct.')[0]), 'NOERROR plex.direct. 300 A');
  t.match(shown(it.ask('notplex.direct.')[0]), BLOCKED);
  t.equal(shown(it.ask('corp.example.')[0]), 'NOERROR corp.example. 300 CNAME, lb.cloud. 300 A', 'wherever it leads');
  t.match(shown(it.ask('evil.other.')[0]), BLOCKED, 'an alias to an allowed name gains nothing');
  t.end();
});

await t.test('names of a route are exempt, from the cache, too', t => {
  const it = protecting(saying({}));
  const corp = fakeUpstream(saying({ 'nas.corp.': 'nas.corp. 300 A 10.0.0.1' }), 3);
  it.settings.routes = [{ zones: [wireName('corp.')], kubernetes: false, upstream: () => corp }];
  t.equal(shown(it.ask('nas.corp.')[0]), 'NOERROR nas.corp. 300 A');
  t.equal(shown(it.ask('nas.corp.')[0]), 'NOERROR nas.corp. 300 A');
  t.end();
});

await t.test('names of an open portal window are exempt: sign-in pages have private addresses', t => {
  const it = protecting(saying({}));
  it.network.says = saying({ 'portal.': 'portal. 300 A 192.168.1.1' });
  it.portal.start(60_000, [], { by: 'command' });
  t.equal(shown(it.ask('portal.')[0]), 'NOERROR portal. 0 A');
  t.end();
});

await t.test('the settings in force at the reply decide, in both directions, for answers in the cache', t => {
  const it = resolving(saying({ 'nas.example.': 'nas.example. 300 A 10.0.0.1' }));
  const settings = (protect: boolean, ...allow: string[]): string => {
    it.settings.rebinding = { protect, allow: allow.map(wireName) };
    return shown(it.ask('nas.example.')[0]);
  };
  t.equal(settings(false), 'NOERROR nas.example. 300 A');
  t.match(settings(true), BLOCKED);
  t.equal(settings(true, 'example.'), 'NOERROR nas.example. 300 A');
  t.match(settings(true), BLOCKED);
  t.equal(settings(false), 'NOERROR nas.example. 300 A');
  t.equal(it.upstream.asked.length, 1, 'the answer of the server was kept as it came');
  t.end();
});

await t.test(
  'what is changed is never AD, and loses the signatures over what was changed; the rest keeps its verdict',
  async t => {
    const nowMs = Date.UTC(2026, 2, 1);
    const tree = signedTree(
      {
        '.': { text: '' },
        'example.': {
          text:
            'private.example. 300 A 10.0.0.1\nboth.example. 300 A 10.0.0.1\nboth.example. 300 A 192.0.2.1\n' +
            'public.example. 300 A 192.0.2.1\nalias.example. 300 CNAME private.example.\n',
        },
      },
      nowMs / 1000,
    );
    const it = protecting(query => tree.answer(query) ?? responseTo(query, { rcode: 2 }), [], {
      anchors: tree.anchors,
      clock: fakeClock(nowMs),
    });
    const verdict = async (name: string, type?: string): Promise<string> => {
      const outcomes = it.ask(name, type === undefined ? {} : { type });
      for (let i = 0; i < 1000 && outcomes.length === 0; i++) await new Promise(resolve => setImmediate(resolve));
      const [outcome] = outcomes;
      return `${outcome?.at === 'answer' ? outcome.entry.verdict : ''}: ${shown(outcome)}`;
    };
    for (const times of ['asked', 'cached']) {
      t.equal(
        await verdict('public.example.'),
        'secure: NOERROR public.example. 300 A, public.example. 300 RRSIG',
        times,
      );
      t.equal(await verdict('private.example.'), `unchecked: NOERROR | private.example. 60 SOA${BLOCKED}`, times);
      t.equal(await verdict('both.example.'), `unchecked: NOERROR both.example. 300 A${BLOCKED}`, times);
      t.equal(
        await verdict('alias.example.'),
        `unchecked: NOERROR alias.example. 300 CNAME, alias.example. 300 RRSIG | private.example. 60 SOA${BLOCKED}`,
        times,
      );
    }
  },
);

await t.test('additional records with private addresses are left out without a word about the answer', t => {
  const it = protecting(
    saying({
      'mail.example.': {
        answers: 'mail.example. 300 MX 10 mx.example.',
        additional: 'mx.example. 300 A 10.0.0.1',
      },
    }),
  );
  const [outcome] = it.ask('mail.example.', { type: 'MX' });
  t.match(shown(outcome), /^NOERROR mail\.example\. 300 MX/);
  t.equal(outcome?.at === 'answer' && outcome.entry.additional, 0);
  t.end();
});

await t.test('a changed answer is a whole message', t => {
  const it = protecting(saying({ 'two.example.': 'two.example. 300 A 192.0.2.1\ntwo.example. 300 A 10.0.0.1' }));
  const [outcome] = it.ask('two.example.');
  if (outcome?.at !== 'answer') throw new Error('no answer');
  const { octets, answers, authority, additional, ttlOffsets } = outcome.entry;
  t.equal(ttlOffsets.length, answers + authority + additional);
  writeHeader(octets, 0, FLAG.QR, { questions: 1, answers, authority, additional });
  t.match(scanResponse(octets, TYPE.A), { answers: 1, ttlOffsets: Array.from(ttlOffsets) });
  t.end();
});
