// The front with a pipeline of the test's: what it lets in, and what it puts into replies.

import t from 'tap';

import { failure } from '../../src/base/outcome.js';
import { front } from '../../src/front/front.js';
import { PacketCache, packetCacheMemory } from '../../src/front/packet-cache.js';
import type { Client, Resolve, Settle } from '../../src/pipeline/stage.js';
import { refuseAnyMessage } from '../../src/wire/reply.js';
import { OPTION } from '../../src/wire/edns.js';
import { messageToText, type MessageText } from '../../src/wire/message.js';
import { queryMessage, REPORT } from '../fixtures/client.js';
import { fakeClock } from '../fixtures/clock.js';
import { recorder } from '../fixtures/recorder.js';

const LOCAL: Client = { address: '127.0.0.1', port: 4000, family: 4, transport: 'udp' };
const FAR: Client = { ...LOCAL, address: '192.0.2.1' };

function setUp(resolve: Resolve, maxInflight = 2000) {
  const { observer, count } = recorder();
  const tested = front({
    resolve,
    maxInflight,
    allowed: () => true,
    packets: new PacketCache(packetCacheMemory(1 << 16)),
    streamIdleMs: 10_000,
    observer,
    clock: fakeClock(),
    nowSec: () => 0,
  });
  const handle = (message: Buffer, client: Client = LOCAL): MessageText | undefined => {
    let reply: Buffer | undefined;
    tested.handle(message, client, bytes => (reply = bytes));
    return reply && messageToText(reply);
  };
  return { tested, handle, count };
}
const local: Resolve = (query, settle) => settle({ at: 'local', message: refuseAnyMessage(query.question) });

await t.test('where an answer came from is told to loopback clients that ask, and to nobody else', t => {
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

await t.test('one query more than may wait is told so at once, and room is made by answers', t => {
  const waiting: Settle[] = [];
  const { tested, handle, count } = setUp((_query, settle) => waiting.push(settle), 2);
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
  t.equal(count('inflight', 1), 3);
  t.equal(count('inflight', -1), 1);
  t.end();
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
