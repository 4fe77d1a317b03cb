// DNS over HTTPS with one address, over scripted sessions and a fake clock.

import t from 'tap';

import type { ServerObserver } from '../../src/base/observer.js';
import type { Failure } from '../../src/base/outcome.js';
import type { Loss } from '../../src/upstream/transport.js';
import { HttpsTransport } from '../../src/upstream/https-transport.js';
import type { HttpsSessionTarget } from '../../src/upstream/https-session.js';
import { questionOf } from '../../src/wire/compose.js';
import { messageToText } from '../../src/wire/message.js';
import { TYPE } from '../../src/wire/rrtype.js';
import type { Ask } from '../../src/wire/upstream-query.js';
import { fakeClock } from '../fixtures/clock.js';
import { type FakeHttpsSession, fakeHttps, response } from '../fixtures/https-sessions.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';
import { wireName } from '../fixtures/records.js';

interface Waiting {
  readonly name: string;
  done: boolean;
  isSent: boolean;
}

const TARGET: HttpsSessionTarget = {
  address: '192.0.2.1',
  port: 443,
  security: { at: 'authenticated', name: 'dns.test', pins: [], pinPolicy: 'pin_and_pkix' },
  authority: 'dns.test',
  path: '/dns-query',
};

const askFor = (name: string): Ask => ({
  question: questionOf(wireName(name), TYPE.A),
  dnssecOk: false,
  checkingDisabled: false,
});

const LOSSES: Record<Loss, string> = {
  fault: '',
  closed: ' blameless',
  uncounted: ' uncounted',
  hang_up: ' hang-up',
  likely_reason: ' likely reason',
};

/** Makes a transport. `events` are short words for what its owner heard. */
function setUp({ probes = false } = {}) {
  const clock = fakeClock();
  const { dialHttps, sessions } = fakeHttps();
  const { observer, count } = recorder();
  const counts: ServerObserver = observer.server('one');
  const events: string[] = [];
  const failures: Failure[] = [];
  const transport = new HttpsTransport<Waiting>({ clock, dialHttps }, counts, TARGET, probes, {
    reply: (waiter, message, protocol) => {
      waiter.done = true;
      events.push(`reply ${waiter.name} ${protocol} ${messageToText(message)?.answers[0]?.ttl ?? ''}`.trim());
    },
    srttMs: undefined,
    lost: (waiter, why, loss) => {
      if (why !== undefined) failures.push(why);
      events.push(`lost ${waiter.name} ${why?.code ?? ''}${LOSSES[loss]}`);
    },
    suspect: waiter => void events.push(`suspect ${waiter.name}`),
    silent: () => void events.push('silent'),
    isTrusted: false,
    emptied: () => void events.push('emptied'),
    connected: () => void events.push('connected'),
    probed: answer => void events.push(`probed ${answer === undefined ? 'nothing' : 'answer'}`),
    failed: (code, detail) => void events.push(`failed ${code} ${detail}`),
  });
  const waiters: Waiting[] = [];
  return {
    clock,
    transport,
    sessions,
    events,
    failures,
    count,
    waiters,
    /** The session that was opened last. */
    get last(): FakeHttpsSession {
      const last = sessions.at(-1);
      if (last === undefined) throw new Error('nothing was dialled');
      return last;
    },
    ask(...names: string[]) {
      for (const name of names) {
        const waiter = { name, done: false, isSent: false };
        waiters.push(waiter);
        transport.ask(askFor(name), waiter, clock.monotonicMs());
      }
    },
  };
}

await t.test('queries wait for the handshake, then share one connection, in any order', t => {
  const one = setUp();
  one.ask('a.test', 'b.test');
  t.equal(one.sessions.length, 1);
  t.same(one.last.asked, [], 'no query leaves before the server was verified');
  t.equal(one.transport.isReady, false);
  one.last.connect();
  t.equal(one.transport.isReady, true);
  t.same(one.last.asked, ['a.test.', 'b.test.']);
  one.last.answer({ answers: 'b.test 60 A 192.0.2.7' }, 'b.test.');
  one.last.answer({ answers: 'a.test 60 A 192.0.2.7' });
  t.same(one.events, ['connected', 'reply b.test https 60', 'reply a.test https 60']);
  t.equal(one.count('upstreamQuery', 'one', 'https'), 2);
  t.end();
});

await t.test('RFC 8484 §4.1, RFC 8467: the id is 0, and the query is padded to 128 octets, without keepalive', t => {
  const one = setUp();
  one.ask('a.test', `${'long.'.repeat(30)}test`);
  one.last.connect();
  for (const { query } of one.last.waiting) {
    t.equal(query.readUInt16BE(0), 0);
    t.equal(query.length % 128, 0);
    const options = JSON.stringify(messageToText(query)?.additional);
    t.notMatch(options, /keepalive/i);
  }
  t.end();
});

await t.test('a response that answers another question, or is no DNS response, is counted and lost', t => {
  const one = setUp();
  one.ask('a.test', 'b.test', 'c.test');
  one.last.connect();
  const [a, b] = one.last.waiting;
  if (a === undefined || b === undefined) throw new Error('nothing is waiting');
  one.last.end(response(responseTo(b.query)), 'a.test.');
  const otherId = responseTo(b.query);
  otherId.writeUInt16BE(4711, 0);
  one.last.end(response(otherId), 'b.test.');
  one.last.end(response(Buffer.alloc(0)), 'c.test.');
  t.same(one.events.slice(1), ['lost a.test parse', 'lost b.test parse', 'lost c.test parse']);
  t.equal(one.count('upstreamError', 'one', 'question_mismatch'), 1);
  t.equal(one.count('upstreamError', 'one', 'id_mismatch'), 2);
  t.end();
});

await t.test('RFC 8484 §5.1: the age of a response is taken off its TTLs, and not off the flags of EDNS', t => {
  const one = setUp();
  one.ask('a.test', 'b.test');
  one.last.connect();
  for (const { name, query } of [...one.last.waiting])
    one.last.end(
      response(responseTo(query, { answers: `${name} 60 A 192.0.2.7` }), { ageSec: name === 'a.test.' ? 50 : 90 }),
      name,
    );
  t.same(one.events.slice(1), ['reply a.test https 10', 'reply b.test https 0']);
  t.end();
});

await t.test('HTTP errors, redirections and other content: nobody is believed, and the words say what came', t => {
  const cases = [
    [{ status: 404 }, /HTTP status 404/],
    [{ status: 403 }, /HTTP status 403/],
    [
      { status: 302, location: 'http://portal.test/\u001b[31m' },
      /redirection to http:\/\/portal\.test\/\?\[31m, which is not followed/,
    ],
    [{ status: 301, location: `https://${'x'.repeat(1000)}` }, /redirection to https:\/\/x{92}, which/],
    [{ contentType: 'text/html; charset=utf-8' }, /content of type text\/html, not application\/dns-message/],
    [{ contentType: undefined }, /no content type/],
  ] as const;
  for (const [more, words] of cases) {
    const one = setUp();
    one.ask('a.test', 'b.test');
    one.last.connect();
    const [{ query } = { query: Buffer.alloc(0) }] = one.last.waiting;
    one.last.end(response(responseTo(query), more));
    t.match(one.events[1], /^failed http 192\.0\.2\.1 port 443: /, 'HTTPS does not work there');
    t.match(one.events[1], words);
    t.same(
      one.events.slice(2).toSorted(),
      ['emptied', 'lost a.test http', 'lost b.test http'],
      'no other query is sent',
    );
    t.equal(one.transport.usable, 0);
  }
  t.end();
});

await t.test('an HTTP error about one question, or at a busy moment, says nothing about the server', t => {
  for (const status of [400, 413, 429, 500, 502, 503, 504]) {
    const one = setUp();
    one.ask('a.test', 'b.test');
    one.last.connect();
    one.last.end(response(Buffer.alloc(0), { status }), 'a.test.');
    one.last.answer();
    t.same(one.events.slice(1), ['lost a.test http', 'reply b.test https'], `${status}`);
    t.match(one.failures[0]?.detail, new RegExp(`HTTP status ${status}`));
  }
  const later = setUp();
  later.ask('a.test', 'b.test');
  later.last.connect();
  later.last.answer();
  later.last.end(response(Buffer.alloc(0), { status: 404 }));
  t.same(later.events.slice(1), ['reply a.test https', 'lost b.test http'], 'nor does 404 after an answer');
  for (const name of ['c.test', 'd.test']) {
    later.ask(name);
    later.last.end(response(Buffer.alloc(0), { status: 404 }));
  }
  t.match(later.events.at(-3), /^failed http .*HTTP status 404/, 'unless it goes on');
  t.end();
});

await t.test('a content type is compared without case and parameters', t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  const [{ query } = { query: Buffer.alloc(0) }] = one.last.waiting;
  one.last.end(response(responseTo(query), { contentType: 'Application/DNS-Message; charset=x' }));
  t.same(one.events.slice(1), ['reply a.test https']);
  t.end();
});

await t.test('the server says how many requests it takes: the others wait their turn, with a bound', t => {
  const one = setUp();
  one.ask('a.test', 'b.test', 'c.test');
  one.last.connect();
  t.equal(one.last.asked.length, 3);
  one.last.limit(1);
  one.ask('d.test', 'e.test');
  t.equal(one.last.asked.length, 3, 'more are under way than allowed');
  one.last.answer();
  one.last.answer();
  t.equal(one.last.asked.length, 3);
  one.last.answer();
  t.same(one.last.asked.slice(3), ['d.test.'], 'one at a time');
  for (let i = 0; i < 8192; i++) one.ask('x.test');
  t.same(one.events.at(-1), 'lost x.test overload');
  t.end();
});

await t.test('a server that takes no requests is not usable, once what it has taken is answered', t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  one.last.limit(0);
  one.ask('b.test');
  one.last.answer();
  t.same(one.events.slice(1), [
    'reply a.test https',
    'failed http 192.0.2.1 port 443: the server takes no requests',
    'lost b.test http',
    'emptied',
  ]);
  t.end();
});

await t.test('a silent session is found out although its queries were answered elsewhere', async t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  await one.clock.advance(100);
  for (const each of one.waiters) each.done = true;
  await one.clock.advance(1100);
  t.same(one.events.slice(1), ['silent']);
  await one.clock.advance(2500);
  t.same(one.events.slice(2), ['failed timeout 192.0.2.1 port 443: the connection fell silent', 'emptied']);
});

await t.test('before the server says how many requests it takes, 100 are under way at most', t => {
  const one = setUp();
  one.ask(...Array.from({ length: 150 }, (_, i) => `n${i}.test`));
  one.last.connect();
  t.equal(one.last.asked.length, 100);
  one.last.limit(120);
  t.equal(one.last.asked.length, 120);
  t.end();
});

await t.test('REFUSED_STREAM and GOAWAY: what the server has not processed may be asked again', t => {
  const one = setUp();
  one.ask('a.test', 'b.test', 'c.test');
  one.last.connect();
  one.last.end({ at: 'unprocessed' }, 'a.test.');
  t.same(one.events.slice(1), ['lost a.test closed blameless']);
  const [first] = one.sessions;
  first?.leave();
  one.ask('d.test');
  t.equal(one.sessions.length, 2, 'the next query opens another connection');
  first?.end({ at: 'unprocessed' }, 'c.test.');
  t.equal(first?.closed, undefined, 'what the server has taken is waited for');
  first?.answer({}, 'b.test.');
  t.same(one.events.slice(2), ['lost c.test closed blameless', 'reply b.test https']);
  t.equal(first?.closed, 'closed');
  t.end();
});

await t.test('what is refused while the server answers others, or as it leaves in good order, is no send', t => {
  const one = setUp();
  one.ask('a.test', 'b.test');
  one.last.connect();
  one.last.answer({}, 'a.test.');
  one.last.end({ at: 'unprocessed' }, 'b.test.');
  one.ask('c.test', 'd.test');
  one.last.end({ at: 'unprocessed' }, 'c.test.');
  one.last.leave();
  one.last.end({ at: 'unprocessed' }, 'd.test.');
  t.same(one.events.slice(1), [
    'reply a.test https',
    'lost b.test closed uncounted',
    'lost c.test closed blameless',
    'lost d.test closed uncounted',
    'emptied',
  ]);
  t.end();
});

await t.test(
  'a session that ends: its queries may be asked again; one that never answered counts against the server',
  t => {
    const one = setUp();
    one.ask('a.test', 'b.test');
    one.last.connect();
    one.last.answer();
    one.last.fail();
    t.same(one.events.slice(1), ['reply a.test https', 'lost b.test closed uncounted', 'emptied']);
    one.ask('c.test');
    one.last.connect();
    one.last.fail();
    t.same(one.events.slice(5), [
      'failed closed 192.0.2.1 port 443: closed by the server',
      'lost c.test closed blameless',
      'emptied',
    ]);
    one.ask('d.test');
    one.last.fail('tls_verify', '192.0.2.1 port 443: its certificate has expired');
    t.same(one.events.slice(8), [
      'failed tls_verify 192.0.2.1 port 443: its certificate has expired',
      'lost d.test tls_verify',
      'emptied',
    ]);
    t.end();
  },
);

await t.test(
  'a stalled stream holds nobody up: a question of our own finds the connection alive, and the request is given up',
  async t => {
    const one = setUp();
    one.ask('stalled.test');
    one.last.connect();
    for (let ms = 0; ms < 5250; ms += 250) {
      await one.clock.advance(250);
      one.last.answer({}, '.');
      if (ms === 2000) {
        one.ask('quick.test');
        one.last.answer({}, 'quick.test.');
      }
    }
    const own = one.last.asked.filter(name => name === '.').length;
    t.ok(own > 3, 'while it waits, it asks for the root');
    t.ok(own < 12, 'not too often');
    t.same(one.events.slice(1), ['reply quick.test https', 'lost stalled.test timeout'], 'nothing is suspect');
    t.same(one.last.cancelled, ['stalled.test.'], 'the server hears of it');
    t.equal(one.sessions.length, 1);
  },
);

await t.test('a query that was answered elsewhere is cancelled, sent or not', async t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  one.last.limit(1);
  one.ask('b.test');
  for (const each of one.waiters) each.done = true;
  await one.clock.advance(300);
  t.same(one.last.cancelled, ['a.test.']);
  t.same(one.last.asked, ['a.test.']);
  t.same(one.events.slice(1), []);
});

await t.test('a stalled session: silence to the root makes it suspect after 1 s, and closes it 3 s later', async t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  await one.clock.advance(900);
  t.same(one.last.asked, ['a.test.', '.']);
  t.same(one.events.slice(1), []);
  await one.clock.advance(350);
  t.same(one.events.slice(1), ['silent', 'suspect a.test']);
  t.equal(one.transport.isReady, false);
  one.ask('b.test');
  t.equal(one.sessions.length, 2, 'the next query uses another connection');
  one.last.connect();
  one.last.answer();
  await one.clock.advance(2000);
  t.same(one.events.slice(5), ['failed timeout 192.0.2.1 port 443: the connection fell silent', 'lost a.test timeout']);
  t.equal(one.sessions[0]?.closed, 'destroyed');
});

await t.test(
  'a front end that shows signs of life and answers nothing is suspect, and closed when its requests are given up',
  async t => {
    const one = setUp();
    one.ask('a.test');
    one.last.connect();
    const [first] = one.sessions;
    for (let ms = 0; ms < 1500; ms += 100) {
      first?.speak();
      await one.clock.advance(100);
    }
    t.same(one.events.slice(1), ['silent', 'suspect a.test']);
    for (let ms = 0; ms < 10_000; ms += 100) {
      first?.speak();
      await one.clock.advance(100);
    }
    t.equal(first?.closed, 'closed');
  },
);

await t.test('an idle connection is kept warm for a minute after the last query, then closed', async t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  one.last.answer();
  for (let s = 0; s < 60; s += 2) {
    await one.clock.advance(2000);
    if (one.last.waiting.length > 0) one.last.answer();
  }
  t.equal(one.last.closed, undefined);
  t.match(one.last.asked.slice(1), ['.'], 'by asking what every resolver knows');
  await one.clock.advance(20_000);
  t.equal(one.last.closed, 'closed');
  t.same(one.events.at(-1), 'emptied');
  t.equal(one.clock.pending, 0, 'no timer is left');
});

await t.test('opportunistic mode: a connection is trusted after the answer to a probe', t => {
  const one = setUp({ probes: true });
  one.transport.connect();
  one.last.connect({ authenticated: false });
  t.same(one.events, ['connected']);
  one.last.answer();
  t.same(one.events, ['connected', 'probed answer']);
  const odd = setUp({ probes: true });
  odd.transport.connect();
  odd.last.connect();
  odd.last.end(response(Buffer.alloc(0), { status: 404 }));
  t.match(odd.events[1], /^failed http .*404/);
  t.same(odd.events.slice(2), ['emptied'], 'one failure is told once');
  t.end();
});

await t.test('close finishes what is under way and opens nothing; destroy hands everything back', t => {
  const one = setUp();
  one.ask('a.test');
  one.last.connect();
  one.transport.close();
  one.ask('b.test');
  t.same(one.events.slice(1), ['lost b.test  blameless']);
  one.last.answer();
  t.same(one.events.slice(2), ['reply a.test https', 'emptied']);
  const two = setUp();
  two.ask('a.test');
  two.last.connect();
  two.transport.destroy();
  t.same(two.events.slice(1), ['lost a.test  blameless', 'emptied']);
  t.equal(two.last.closed, 'closed');
  t.end();
});

await t.test('after retire and reset, the next query opens another connection', t => {
  for (const how of ['retire', 'reset'] as const) {
    const one = setUp();
    one.ask('a.test');
    one.last.connect();
    one.last.answer();
    one.transport[how]();
    t.equal(one.sessions[0]?.closed, 'closed', how);
    one.ask('b.test');
    t.equal(one.sessions.length, 2, how);
  }
  t.end();
});
