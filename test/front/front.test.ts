// The front with a pipeline of the test's: what it lets in, and what it puts into replies.

import t from 'tap';

import { failure } from '../../src/base/outcome.js';
import { ageSec, monoMs } from '../../src/base/time.js';
import { front, type FrontParts } from '../../src/front/front.js';
import { PacketCache, packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { PacketReplies } from '../../src/fastpath/ready-replies.js';
import { Answer } from '../../src/pipeline/answer.js';
import type { Client, Query } from '../../src/pipeline/query.js';
import { admitted } from '../../src/pipeline/stages/admitted.js';
import type { Resolve, Settle } from '../../src/pipeline/stage.js';
import { refuseAnyMessage } from '../../src/wire/reply.js';
import { scanResponse } from '../../src/wire/scan.js';
import { OPTION } from '../../src/wire/edns.js';
import { messageToText, type MessageText } from '../../src/wire/message.js';
import { queryMessage, REPORT } from '../fixtures/client.js';
import { fakeClock } from '../fixtures/clock.js';
import { responseTo } from '../fixtures/messages.js';
import { recorder } from '../fixtures/recorder.js';

const LOCAL: Client = { address: '127.0.0.1', port: 4000, family: 4, transport: 'udp' };
const GUEST: Client = { ...LOCAL, address: '192.0.2.2' };
const FAR: Client = { ...LOCAL, address: '192.0.2.1' };

function setUp(resolve: Resolve, maxInflight = 2000, maxPerClient = 0, late?: FrontParts['late']) {
  const clock = fakeClock();
  const { observer, count } = recorder();
  let note: FrontParts['noted'];
  const packets = new PacketCache(packetCacheMemory(1 << 16));
  const tested = front({
    get noted() {
      return note;
    },
    resolve,
    maxInflight,
    maxPerClient,
    late,
    allowed: () => true,
    ready: new PacketReplies(
      packets,
      () => ageSec(0),
      () => 0,
    ),
    classOf: ({ address }) => (address === GUEST.address ? 1 : 0),
    streamIdleMs: () => 10_000,
    observer,
    clock,
    ageNow: () => ageSec(0),
  });
  const raw = (message: Buffer, client: Client): Buffer | undefined => {
    let reply: Buffer | undefined;
    tested.handle(message, client, bytes => (reply = bytes && Buffer.from(bytes)));
    return reply;
  };
  const handle = (message: Buffer, client: Client = LOCAL): MessageText | undefined => {
    const reply = raw(message, client);
    return reply && messageToText(reply);
  };
  return {
    ...{ tested, clock, raw, handle, count, packets, forget: () => packets.clear() },
    noted: (to: FrontParts['noted']) => void (note = to),
  };
}
/** An answer of the cache that may be kept. */
function answerOf(query: Query): Answer {
  const message = responseTo(queryMessage('x.example'), { answers: 'x.example. 300 A 192.0.2.1' });
  const scan = scanResponse(message, query.type);
  if (scan === undefined) throw new Error('not a response');
  const limits = { minSec: 0, maxSec: 1000, negativeMaxSec: 1000 };
  const server = { id: 1, label: 'one' };
  const reply = { at: 'reply', message, scan, server, protocol: 'dot', authenticated: true } as const;
  const answer = Answer.replied('upstream', reply, query.type, limits, ageSec(0));
  if (answer.at === 'failure') throw new Error('not an answer');
  return Answer.cached(answer.entry);
}
const local: Resolve = (query, settle) => settle(Answer.local(refuseAnyMessage(query.question), ageSec(0)));

await t.test('a reply to a question of before ready replies were forgotten is given, and not kept', t => {
  const waiting: (() => void)[] = [];
  const { handle, packets } = setUp((query, settle) => void waiting.push(() => settle(answerOf(query))));
  handle(queryMessage('x.example'));
  packets.clear();
  waiting.shift()?.();
  t.equal(handle(queryMessage('x.example')), undefined, 'it is asked again');
  waiting.shift()?.();
  t.ok(handle(queryMessage('x.example')), 'and kept now');
  t.equal(waiting.length, 0);
  t.end();
});

await t.test('an answer that had to wait, say for its verdict, is as much older in the reply', t => {
  const { raw } = setUp((query, settle) => {
    const answer = answerOf(query);
    settle(answer.withEntry({ ...answer.entry, storedAt: ageSec(-3) }));
  });
  const ttlIn = (reply: Buffer | undefined): number | undefined => reply && messageToText(reply)?.answers[0]?.ttl;
  for (const which of ['the first', 'and a ready one'])
    t.equal(ttlIn(raw(queryMessage('x.example'), LOCAL)), 297, which);
  t.end();
});

await t.test('what a server has just sent is not kept ready: most names are asked for once', t => {
  const asked: Query[] = [];
  const { raw } = setUp((query, settle) => {
    asked.push(query);
    const { entry } = answerOf(query);
    settle(asked.length === 1 ? new Answer('upstream', entry, 1) : Answer.cached(entry));
  });
  for (let i = 0; i < 4; i++) t.ok(raw(queryMessage('x.example'), LOCAL));
  t.equal(asked.length, 2, 'the second time it is');
  t.end();
});

await t.test('a ready reply is for the group of the client that asked', t => {
  const classes: number[] = [];
  const { handle } = setUp((query, settle) => {
    classes.push(query.clientClass);
    settle(answerOf(query));
  });
  for (const client of [LOCAL, GUEST, FAR, GUEST, LOCAL]) t.ok(handle(queryMessage('x.example'), client));
  t.same(classes, [0, 1]);
  t.end();
});

await t.test('clients that want padding and those that want none share a ready reply', t => {
  const asked: Query[] = [];
  const { raw } = setUp((query, settle) => {
    asked.push(query);
    settle(answerOf(query));
  });
  const padded = queryMessage('x.example', { id: 1, options: [{ code: OPTION.PADDING, data: Buffer.alloc(9) }] });
  const plain = queryMessage('x.example', { id: 1 });
  const over = (transport: Client['transport']): Client => ({ ...LOCAL, transport });
  const first = raw(padded, over('tls'));
  const unpadded = raw(plain, over('tls'));
  t.equal(first?.length, 468);
  t.ok(unpadded !== undefined && unpadded.length < 100);
  t.same(raw(padded, over('tls')), first, 'as it was made the first time');
  t.same(raw(padded, over('https')), first);
  t.same(raw(padded, over('tcp')), unpadded, 'in cleartext it hides nothing');
  t.same(raw(padded, over('udp')), unpadded);
  t.equal(asked.length, 1);
  t.end();
});

await t.test('only loopback clients that ask for it are told where an answer came from', t => {
  const { handle } = setUp(local);
  t.equal(
    handle(queryMessage('x.example', { options: [REPORT] }))
      ?.option(OPTION.REPORT)
      ?.toString(),
    'source=local',
  );
  t.equal(handle(queryMessage('x.example'))?.option(OPTION.REPORT), undefined);
  t.equal(handle(queryMessage('x.example', { options: [REPORT] }), FAR)?.option(OPTION.REPORT), undefined);
  t.end();
});

await t.test('padding and keepalive only on the transports they are for', t => {
  const { handle } = setUp(local);
  const query = queryMessage('x.example', {
    options: [
      { code: OPTION.PADDING, data: Buffer.alloc(10) },
      { code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) },
    ],
  });
  const options = (transport: Client['transport']): boolean[] => {
    const text = handle(query, { ...LOCAL, transport });
    return [text?.option(OPTION.PADDING) !== undefined, text?.option(OPTION.TCP_KEEPALIVE) !== undefined];
  };
  t.same(options('udp'), [false, false]);
  t.same(options('tcp'), [false, true]);
  t.same(options('tls'), [true, true]);
  t.same(options('https'), [true, false]);
  t.end();
});

await t.test('failures become RCODE and EDE as their row says, with the detail in the text', t => {
  const { handle, count } = setUp((_query, settle) =>
    settle(failure('tls_verify', 'the certificate is for a, not for b')),
  );
  t.match(handle(queryMessage('x.example')), {
    rcode: 'SERVFAIL',
    extendedErrors: [
      { infoCode: 22, text: 'the server could not be authenticated: the certificate is for a, not for b' },
    ],
  });
  t.match(handle(queryMessage('x.example', { edns: false })), { rcode: 'SERVFAIL', extendedErrors: [] });
  t.equal(count('failure', 'tls_verify'), 2);
  t.end();
});

await t.test('a query above the limit fails at once, and answers make room for new ones', t => {
  const waiting: Settle[] = [];
  const { tested, handle } = setUp(
    admitted((_query, settle) => waiting.push(settle)),
    2,
  );
  handle(queryMessage('a.example'));
  handle(queryMessage('b.example'));
  t.equal(tested.inflight, 2);
  t.match(handle(queryMessage('c.example')), {
    rcode: 'SERVFAIL',
    extendedErrors: [{ infoCode: 23, text: /too many/ }],
  });
  waiting[0]?.(failure('timeout'));
  t.equal(tested.inflight, 1);
  t.equal(handle(queryMessage('d.example')), undefined, 'taken, and waiting');
  t.equal(tested.inflight, 2);
  t.end();
});

await t.test('what is answered at once is never refused, however many wait, and a query takes one place', t => {
  const waiting: (() => void)[] = [];
  const { tested, handle } = setUp(
    (query, settle) => {
      if (query.name.includes('known')) return local(query, settle);
      // A query may ask for something else before it is answered: it has its place already.
      const refusal = query.refusedToWait() ?? query.about(Buffer.from('\x01y\0')).refusedToWait();
      if (refusal !== undefined) return settle(refusal);
      waiting.push(() => settle(query.asking(28).refusedToWait() ?? answerOf(query)));
    },
    3,
    2,
  );
  handle(queryMessage('a.example'));
  t.equal(tested.inflight, 1);
  handle(queryMessage('b.example'));
  t.match(handle(queryMessage('c.example')), { extendedErrors: [{ text: /of this client/ }] });
  handle(queryMessage('d.example'), FAR);
  t.match(handle(queryMessage('e.example'), GUEST), { extendedErrors: [{ text: /^too many queries are waiting/ }] });
  for (const client of [LOCAL, GUEST, FAR])
    t.match(handle(queryMessage('known.example'), client), { rcode: 'NOERROR' });
  for (const each of waiting) each();
  t.equal(tested.inflight, 0);
  t.end();
});

await t.test('what one client has left in the sockets may wait beside its share, and takes no place of others', t => {
  const waiting: Settle[] = [];
  const { tested, handle } = setUp(
    admitted((_query, settle) => waiting.push(settle)),
    ...([4, 2, { most: 3, untilMs: monoMs(10_000) }] as const),
  );
  const refused = { rcode: 'SERVFAIL', extendedErrors: [{ text: /of this client/ }] };
  for (let i = 0; i < 5; i++) t.equal(handle(queryMessage(`late${i}.example`)), undefined, 'its share, and three');
  t.match(handle(queryMessage('new.example')), refused, 'that is what may be late');
  for (let i = 0; i < 2; i++) t.equal(handle(queryMessage(`other${i}.example`), FAR), undefined, 'others have room');
  t.match(handle(queryMessage('third.example'), GUEST), {
    extendedErrors: [{ text: /^too many queries are waiting/ }],
  });
  t.equal(tested.inflight, 7);
  // The late ones among them: their places are not given again.
  for (const settle of waiting.splice(2, 3)) settle(failure('timeout'));
  t.equal(tested.inflight, 4);
  t.match(handle(queryMessage('again.example')), { rcode: 'SERVFAIL' });
  for (const settle of waiting.splice(0)) settle(failure('timeout'));
  t.equal(tested.inflight, 0);
  for (let i = 0; i < 2; i++) t.equal(handle(queryMessage(`next${i}.example`)), undefined);
  t.match(handle(queryMessage('over.example')), refused);
  t.end();
});

await t.test('after some time, no query counts as late', async t => {
  const { clock, handle } = setUp(
    admitted(() => undefined),
    ...([2, 1, { most: 9, untilMs: monoMs(10_000) }] as const),
  );
  for (let i = 0; i < 2; i++) t.equal(handle(queryMessage(`late${i}.example`)), undefined);
  await clock.advance(10_000);
  t.match(handle(queryMessage('new.example')), { extendedErrors: [{ text: /of this client/ }] });
});

await t.test('while stopping, what comes new is refused', t => {
  const { tested, handle } = setUp(local);
  tested.stop();
  t.match(handle(queryMessage('x.example')), {
    rcode: 'SERVFAIL',
    extendedErrors: [{ text: 'the daemon is stopping' }],
  });
  t.end();
});

await t.test('at the end, what still waits is answered, and its answer of later goes nowhere', t => {
  const waiting: Settle[] = [];
  const { tested } = setUp((_query, settle) => void waiting.push(settle));
  const replies: (MessageText | undefined)[] = [];
  for (const client of [LOCAL, { ...LOCAL, transport: 'tls' } as const])
    tested.handle(queryMessage('x.example'), client, reply => replies.push(reply && messageToText(reply)));
  tested.giveUp(({ transport }) => transport === 'udp');
  t.equal(tested.inflight, 1);
  tested.giveUp(() => true);
  t.match(
    replies,
    [0, 1].map(() => ({ rcode: 'SERVFAIL', extendedErrors: [{ text: 'the daemon is stopping' }] })),
  );
  for (const settle of waiting) settle(failure('overload'));
  t.equal(replies.length, 2);
  t.equal(tested.inflight, 0);
  t.end();
});

await t.test('a failure that was kept counts as a failure, and says where it is from', t => {
  const { handle, count } = setUp((_query, settle) => settle({ ...failure('bogus', 'as found'), cached: true }));
  const text = handle(queryMessage('x.example', { options: [REPORT] }));
  t.match(text, { rcode: 'SERVFAIL', extendedErrors: [{ infoCode: 6, text: /as found/ }] });
  t.equal(text?.option(OPTION.REPORT)?.toString(), 'source=error&failure=bogus&verdict=bogus&origin=cache');
  t.equal(count('failure', 'bogus'), 1);
  t.equal(count('response', 2, 'error'), 1);
  t.end();
});

await t.test('an exception while an answer is handled is not swallowed, and leaves nothing counted', t => {
  const broken = new Answer('upstream', undefined as unknown as Answer['entry'], 1);
  const waiting: Settle[] = [];
  const { tested, handle } = setUp((_query, settle) => waiting.push(settle));
  for (const transport of ['udp', 'tcp', 'tls'] as const) {
    handle(queryMessage('x.example'), { ...LOCAL, transport });
    t.equal(tested.inflight, 1);
    t.throws(() => waiting.pop()?.(broken), TypeError, transport);
    t.equal(tested.inflight, 0, transport);
  }
  const atOnce = setUp((_query, settle) => settle(broken));
  t.throws(() => atOnce.handle(queryMessage('x.example')), TypeError);
  t.equal(atOnce.tested.inflight, 0);
  t.end();
});

await t.test('an answer that was asked for before all ready replies were forgotten is not kept ready', t => {
  let asked = 0;
  const waiting: (() => void)[] = [];
  const { handle, packets } = setUp((query, settle) => {
    asked++;
    if (asked === 1) waiting.push(() => settle(answerOf(query)));
    else settle(answerOf(query));
  });
  handle(queryMessage('x.example'));
  packets.clear();
  waiting.pop()?.();
  handle(queryMessage('x.example'));
  t.equal(asked, 2, 'something else may answer now');
  handle(queryMessage('x.example'));
  t.equal(asked, 2, 'and what it says is kept');
  t.end();
});

await t.test('while queries are noted, no ready replies are made: those would not be noted', t => {
  let asked = 0;
  const { tested, handle, noted } = setUp((query, settle) => {
    asked++;
    settle(answerOf(query));
  });
  t.ok(tested);
  noted(() => undefined);
  handle(queryMessage('x.example'));
  handle(queryMessage('x.example'));
  t.equal(asked, 2);
  noted(undefined);
  handle(queryMessage('x.example'));
  handle(queryMessage('x.example'));
  t.equal(asked, 3, 'read at each question');
  t.end();
});

await t.test('a reply to a query that came before ready replies were forgotten is not kept ready', t => {
  const waiting: (() => void)[] = [];
  let asked = 0;
  const { handle, forget } = setUp((query, settle) => {
    asked++;
    waiting.push(() => settle(answerOf(query)));
  });
  handle(queryMessage('x.example'));
  forget();
  waiting.pop()?.();
  handle(queryMessage('x.example'));
  t.equal(asked, 2, 'the rules for answers may be others now');
  waiting.pop()?.();
  t.match(handle(queryMessage('x.example')), { answers: [{ data: '192.0.2.1' }] });
  t.equal(asked, 2, 'and the next one is kept');
  t.end();
});
