// What stands between the dialer and its user where TLSA records decide: conversations with a fake dialer under a fake
// clock, and TLS sessions with a real server.

import { X509Certificate } from 'node:crypto';

import t, { type Test } from 'tap';

import type { Dial, DialTarget, StreamEvents, UnprovedPeer } from '../../src/base/ports.js';
import { failure } from '../../src/base/outcome.js';
import { type WallMs } from '../../src/base/time.js';
import { systemRandom } from '../../src/os/clock.js';
import { daneDial } from '../../src/upstream/dane-dial.js';
import type { ProvenAnswer, ProvenLookup } from '../../src/upstream/dane-lookup.js';
import { dialer } from '../../src/upstream/dial.js';
import { type NetworkMemory, networkMemory } from '../../src/upstream/memory.js';
import { questionOf } from '../../src/wire/compose.js';
import { framed } from '../../src/wire/frame.js';
import { certificate, type Identity } from '../fixtures/certificates.js';
import { type FakeClock, fakeClock, fakeRandom } from '../fixtures/clock.js';
import { dotServer } from '../fixtures/dot-server.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';
import { recordedLog } from '../fixtures/recorder.js';

const TARGET: DialTarget = { address: '127.0.0.1', port: 853, security: { at: 'dane', name: 'dns.example' } };
const OWNER = '_853._tcp.dns.example.';

const derOf = ({ cert }: Identity): Buffer => new X509Certificate(cert).raw;
const rdataOf = ({ pin }: Identity): Buffer =>
  Buffer.concat([Buffer.from('030101', 'hex'), Buffer.from(pin, 'base64')]);
const one = certificate({ common: 'one' });
const two = certificate({ common: 'two' });
const secure = (ttlSec: number, ...of: Identity[]): ProvenAnswer => ({ at: 'secure', rdata: of.map(rdataOf), ttlSec });

/** One stream of the fake dialer. */
interface Opened {
  readonly events: StreamEvents;
  readonly sent: Buffer[];
  closed: boolean;
  /** What became of it: until when it is accepted, or why it is refused. */
  verdict: WallMs | string | undefined;
  /** The handshake is over, and the server has this key. */
  shows(identity: Identity): void;
}

interface Playing {
  readonly dial: Dial;
  readonly opened: Opened[];
  readonly clock: FakeClock;
  readonly memory: NetworkMemory;
  /** The lookups that wait for their answer. */
  readonly lookups: ((answer: ProvenAnswer) => void)[];
  /** Events of the user. */
  readonly events: string[];
  open(): void;
}

function playing(): Playing {
  const clock = fakeClock();
  const memory = networkMemory(() => clock.wallMs());
  const opened: Opened[] = [];
  const inner: Dial = (_target, events) => {
    const stream: Opened = {
      events,
      sent: [],
      closed: false,
      verdict: undefined,
      shows(identity) {
        const peer: UnprovedPeer = {
          chain: [derOf(identity)],
          pkixProblem: 'DEPTH_ZERO_SELF_SIGNED_CERT',
          send: bytes => void stream.sent.push(Buffer.from(bytes)),
          accept(until) {
            stream.verdict = until;
            events.connected({ authenticated: true, resumed: false });
          },
          refuse(detail) {
            stream.verdict = detail;
            events.closed({ code: 'tls_verify', detail });
          },
        };
        events.unproved?.(peer);
      },
    };
    opened.push(stream);
    const close = (): void => void (stream.closed = true);
    return {
      send: bytes => void stream.sent.push(Buffer.from(bytes)),
      acknowledge: () => undefined,
      close,
      destroy: close,
    };
  };
  const lookups: ((answer: ProvenAnswer) => void)[] = [];
  // As validation does, it asks over the stream, and goes on when that has ended.
  const lookup: ProvenLookup = (name, type, over, settle) => {
    let isSettled = false;
    const take = (answer: ProvenAnswer): void => {
      if (isSettled) return;
      isSettled = true;
      settle(answer);
    };
    lookups.push(take);
    over.exchange({ question: questionOf(name, type), dnssecOk: true, checkingDisabled: true }, type, reply => {
      if (reply.at === 'failure') take(failure('dnssec_indeterminate', reply.detail));
    });
  };
  const dial = daneDial(inner, { clock, random: fakeRandom(), log: recordedLog(), memory, lookup });
  const events: string[] = [];
  const open = (): void =>
    void dial(TARGET, {
      connected: () => void events.push('connected'),
      bytes: chunk => void events.push(`bytes ${chunk.length}`),
      closed: why => void events.push(`closed: ${why?.detail ?? 'in good order'}`),
    });
  return { dial, opened, clock, memory, lookups, events, open };
}

const streamOf = ({ opened }: Playing, number: number): Opened => {
  const stream = opened[number];
  if (stream === undefined) throw new Error(`stream ${number} was not opened`);
  return stream;
};

function proved(t: Test, play: Playing, ttlSec = 300): Opened {
  play.open();
  const stream = streamOf(play, play.opened.length - 1);
  stream.shows(one);
  t.equal(play.lookups.length, 1);
  play.lookups.shift()?.(secure(ttlSec, one));
  return stream;
}

await t.test('the user hears of a connection when its server is proved, and the verdict ends with the records', t => {
  const play = playing();
  const stream = proved(t, play);
  t.same(play.events, ['connected']);
  t.equal(stream.verdict, play.clock.wallMs() + 300_000);
  t.equal(play.memory.tlsa(OWNER)?.untilMs, stream.verdict);
  t.end();
});

await t.test('kept records prove a server without a question, until their time is over', async t => {
  const play = playing();
  const untilMs = proved(t, play).verdict;
  play.open();
  streamOf(play, 1).shows(one);
  t.same([streamOf(play, 1).verdict, streamOf(play, 1).sent], [untilMs, []]);
  for (const each of play.opened) each.events.closed(undefined);
  await play.clock.advance(300_000);
  play.open();
  streamOf(play, 2).shows(one);
  t.same([streamOf(play, 2).verdict, streamOf(play, 2).sent.length], [undefined, 1], 'asked again');
});

await t.test('another key: the records of now decide, not those that are kept', t => {
  const play = playing();
  proved(t, play);
  play.open();
  streamOf(play, 1).shows(two);
  t.same(play.events, ['connected']);
  play.lookups.shift()?.(secure(300, two));
  t.same(play.events, ['connected', 'connected']);
  play.open();
  streamOf(play, 2).shows(one);
  play.lookups.shift()?.(secure(300, two));
  t.match(streamOf(play, 2).verdict, /no TLSA record .* matches/);
  t.match(play.events.at(-1), /closed: no TLSA record/);
  t.end();
});

await t.test('refusals are passed on, and change nothing that is kept', t => {
  const play = playing();
  proved(t, play);
  const before = play.memory.tlsa(OWNER);
  for (const [answer, words] of [
    [failure('signature_expired', 'x'), /are bogus: a signature has expired: x/],
    [failure('dnssec_indeterminate', 'x'), /were not received/],
    [{ at: 'insecure' }, /not signed/],
  ] as const) {
    play.open();
    const stream = streamOf(play, play.opened.length - 1);
    stream.shows(two);
    play.lookups.shift()?.(answer);
    t.match(stream.verdict, words);
  }
  t.equal(play.memory.tlsa(OWNER), before);
  t.end();
});

await t.test('records without a TTL are kept for a minute, and those with a long one for a day', t => {
  const short = playing();
  t.equal(proved(t, short, 0).verdict, short.clock.wallMs() + 60_000);
  const long = playing();
  t.equal(proved(t, long, 604_800).verdict, long.clock.wallMs() + 86_400_000);
  t.end();
});

await t.test('a stream that ends before the proof ends its questions, and is reported once', t => {
  const play = playing();
  play.open();
  const stream = streamOf(play, 0);
  stream.shows(one);
  stream.events.closed({ code: 'tls_verify', detail: 'closed before its TLSA records came' });
  t.same(play.events, ['closed: closed before its TLSA records came']);
  t.end();
});

await t.test('octets before the proof never reach the user, late answers to own questions do not either', t => {
  const play = playing();
  play.open();
  const stream = streamOf(play, 0);
  stream.shows(one);
  const query = (stream.sent[0] ?? Buffer.alloc(0)).subarray(2);
  const stranger = framed(queryMessage('www.example'));
  stream.events.bytes(stranger);
  // The end of a message that began before the proof.
  stream.events.bytes(stranger.subarray(0, 5));
  play.lookups.shift()?.(secure(300, one));
  t.same(play.events, ['connected']);
  stream.events.bytes(Buffer.concat([stranger.subarray(5), framed(responseTo(query)), stranger]));
  t.same(play.events, ['connected', `bytes ${stranger.length}`, `bytes ${stranger.length}`]);
  stream.events.bytes(Buffer.alloc(3));
  t.equal(play.events.at(-1), 'bytes 3', 'from now on octets pass as they come');
  t.end();
});

await t.test('records are refreshed before their end, over a stream of their own, while a stream is open', async t => {
  const play = playing();
  const stream = proved(t, play);
  await play.clock.advance(284_000);
  t.equal(play.opened.length, 1);
  await play.clock.advance(1000);
  t.equal(play.opened.length, 2);
  streamOf(play, 1).shows(one);
  play.lookups.shift()?.(secure(600, one, two));
  t.equal(streamOf(play, 1).closed, true);
  t.same(play.memory.tlsa(OWNER)?.untilMs, play.clock.wallMs() + 600_000);
  t.same(play.events, ['connected'], 'the user hears nothing of that');
  await play.clock.advance(600_000 - 15_000);
  t.equal(play.opened.length, 3, 'and again');
  streamOf(play, 2).events.connected({ authenticated: true, resumed: true });
  play.lookups.shift()?.(secure(600, one));
  t.equal(streamOf(play, 2).closed, true, 'over a resumed session, too');
  stream.events.closed(undefined);
  await play.clock.advance(10 * 600_000);
  t.equal(play.opened.length, 3, 'without a stream nothing is refreshed');
  t.equal(play.clock.pending, 0);
});

await t.test('a refresh that fails leaves the records until their end, and is tried again', async t => {
  const play = playing();
  proved(t, play);
  await play.clock.advance(285_000);
  streamOf(play, 1).events.closed({ code: 'connect', detail: 'refused' });
  t.equal(play.memory.tlsa(OWNER)?.records.length, 1);
  await play.clock.advance(15_000);
  t.equal(play.memory.tlsa(OWNER), undefined);
  await play.clock.advance(600_000);
  t.equal(play.opened.length, 2, 'the next handshake asks anyway');
  play.open();
  streamOf(play, 2).shows(one);
  play.lookups.shift()?.(secure(60, one));
  await play.clock.advance(60_000);
  t.equal(play.opened.length, 4, 'and then they are refreshed again');
});

await t.test('a refresh that gets no answer ends after its time', async t => {
  const play = playing();
  proved(t, play);
  await play.clock.advance(285_000);
  streamOf(play, 1).shows(one);
  await play.clock.advance(5000);
  t.equal(streamOf(play, 1).closed, true);
});

await t.test('other targets pass', t => {
  const play = playing();
  let connected = 0;
  play.dial(
    { ...TARGET, security: { at: 'cleartext' } },
    { connected: () => connected++, bytes: () => undefined, closed: () => undefined },
  );
  t.equal(streamOf(play, 0).events.unproved, undefined);
  streamOf(play, 0).events.connected({ authenticated: false, resumed: false });
  t.equal(connected, 1);
  t.end();
});

await t.test('a dialer whose user cannot look TLSA records up refuses', async t => {
  const server = await dotServer({ identity: one, handler: () => t.fail('it was asked') });
  t.teardown(async () => server.close());
  const detail = await new Promise<string | undefined>(resolve => {
    dialer({ ca: undefined, client: undefined, clock: fakeClock(Date.now()) })(
      { ...TARGET, port: server.port },
      { connected: () => resolve('connected'), bytes: () => undefined, closed: why => resolve(why?.detail) },
    );
  });
  t.match(detail, /nobody here can look its TLSA records up/);
});

await t.test('a TLS session is resumed only as long as the records hold that its server was proved by', async t => {
  const identity = certificate({ common: 'one' });
  const server = await dotServer({ identity, handler: (query, session) => session.reply(query) });
  t.teardown(async () => server.close());
  const clock = fakeClock(Date.now());
  const memory = networkMemory(() => clock.wallMs());
  let lookups = 0;
  const lookup: ProvenLookup = (_name, _type, _over, take) => {
    lookups++;
    take(secure(300, identity));
  };
  const dial = daneDial(dialer({ ca: undefined, client: undefined, clock }), {
    ...{ clock, memory, lookup },
    ...{ random: systemRandom(), log: recordedLog() },
  });
  const target: DialTarget = { ...TARGET, port: server.port };
  const once = async (): Promise<string> =>
    new Promise(resolve => {
      let told = '';
      const stream = dial(target, {
        connected: ({ resumed }) => void (told = resumed ? 'resumed' : 'full'),
        bytes: () => {
          // After an answer the tickets have arrived, too.
          stream.close();
          resolve(told);
        },
        closed: why => resolve(why?.detail ?? 'closed'),
      });
      stream.send(framed(queryMessage('www.example')));
    });
  t.equal(await once(), 'full');
  t.equal(await once(), 'resumed');
  clock.setWall(clock.wallMs() + 299_000);
  t.equal(await once(), 'resumed');
  clock.setWall(clock.wallMs() + 2000);
  t.equal(await once(), 'full');
  t.equal(lookups, 2);
});
