// What requests of DNS over HTTPS want, and what their responses say.

import t from 'tap';

import { monoMs } from '../../src/base/time.js';
import {
  forwardedClient,
  freshSeconds,
  isThisMachine,
  messageReply,
  MOST_TARGET,
  readRequest,
  type RequestHead,
} from '../../src/listen/http-request.js';
import { RequestFields } from '../../src/listen/http2-fields.js';
import { Http2FrameReader } from '../../src/listen/http2-frames.js';
import { queryMessage } from '../fixtures/client.js';
import { type ResponseParts, responseTo } from '../fixtures/messages.js';

const composed = (parts: ResponseParts): Buffer => responseTo(queryMessage('www.example'), parts);

const head = (given: Partial<RequestHead>): RequestHead => ({
  ...{ method: 'GET', target: '/dns-query?dns=AAAA', contentType: undefined, contentEncoding: undefined },
  ...{ contentLength: undefined, forwardedFor: undefined, host: undefined },
  ...given,
});
const post = (given: Partial<RequestHead>): RequestHead =>
  head({ method: 'POST', target: '/dns-query', contentType: 'application/dns-message', ...given });

/** `message`, `body`, or the status. */
const read = (given: RequestHead, path = '/dns-query'): string => {
  const wanted = readRequest(given, path);
  return wanted.at === 'reply' ? String(wanted.reply.status) : wanted.at;
};

await t.test('each request wants a message, or gets the status that HTTP has for it', t => {
  const table: readonly (readonly [RequestHead, string])[] = [
    [head({}), 'message'],
    [head({ method: 'HEAD' }), 'message'],
    [head({ target: '/dns-query?a=b&dns=AAAA&c' }), 'message'],
    [head({ target: 'https://dns.example/dns-query?dns=AAAA' }), 'message'],
    [head({ target: '/dns-query?dns=AAAA#fragment' }), 'message'],
    [head({ target: '/dns-query?dns=AAA=' }), '400'],
    [head({ target: '/dns-query?dns=A+/A' }), '400'],
    [head({ target: '/dns-query?dns=AAA%3D' }), '400'],
    [head({ target: '/dns-query?dns=AAAAA' }), '400'],
    [head({ target: '/dns-query?dns=' }), '400'],
    [head({ target: '/dns-query?dns=AAAA&dns=AAAA' }), '400'],
    [head({ target: '/dns-query?DNS=AAAA' }), '400'],
    [head({ target: '/dns-query' }), '400'],
    [head({ target: '/dns-query/?dns=AAAA' }), '404'],
    [head({ target: '/dns-query?dns=%41A%5fA' }), 'message'],
    [head({ target: '/dns-query?%64ns=AAAA' }), 'message'],
    [head({ target: '/dns%2Dquer%79?dns=AAAA' }), 'message'],
    [head({ target: '/dns-query?dns=%41A%5fA&dns=AAAA' }), '400'],
    [head({ target: '/dns-query?dns=AA%2541' }), '400'],
    [head({ target: '/dns-query?dns=AAA%4' }), '400'],
    [head({ target: '/dns-query%3Fdns=AAAA' }), '404'],
    [head({ target: '//dns-query?dns=AAAA' }), '404'],
    [head({ target: '/../dns-query?dns=AAAA' }), '404'],
    [head({ target: '*' }), '404'],
    [head({ target: '' }), '404'],
    [head({ target: `/dns-query?dns=${'A'.repeat(MOST_TARGET)}` }), '414'],
    [head({ method: 'PUT' }), '405'],
    [head({ method: 'OPTIONS' }), '405'],
    [head({ method: 'get' }), '405'],
    [head({ target: '/' }), '200'],
    [head({ target: '/?dns=AAAA' }), '200'],
    [head({ target: '/', method: 'HEAD' }), '200'],
    [head({ target: '/', method: 'POST' }), '405'],
    [post({}), 'body'],
    [post({ contentType: 'Application/DNS-Message; charset=x' }), 'body'],
    [post({ contentLength: '65535' }), 'body'],
    [post({ contentLength: '65536' }), '413'],
    [post({ contentType: undefined }), '415'],
    [post({ contentType: 'application/json' }), '415'],
    [post({ contentEncoding: 'gzip' }), '415'],
    [post({ contentEncoding: 'Identity' }), 'body'],
  ];
  for (const [given, expected] of table)
    t.equal(read(given), expected, `${given.method} ${given.target.slice(0, 50)} ${given.contentType ?? ''}`);
  t.end();
});

await t.test('this machine has addresses and localhost, and no other name', t => {
  for (const host of ['127.0.0.1', '192.0.2.1:8053', '[::1]:443', '[2001:db8::1]', 'localhost', 'a.localhost:80'])
    t.ok(isThisMachine(host), host);
  for (const host of [
    'evil.example',
    'evil.example:8053',
    'notlocalhost',
    'localhost.example',
    '127.0.0.1.example',
    '',
  ])
    t.notOk(isThisMachine(host), host);
  t.notOk(isThisMachine(undefined));
  t.end();
});

await t.test('where queries go to / itself, it is the page only without a query', t => {
  t.equal(read(head({ target: '/?dns=AAAA' }), '/'), 'message');
  t.equal(read(head({ target: '/dns-query?dns=AAAA' }), '/dns%2dquery'), 'message');
  t.equal(read(post({ target: '/' }), '/'), 'body');
  t.equal(read(head({ target: '/' }), '/'), '200');
  t.equal(read(head({ target: '/dns-query?dns=AAAA' }), '/'), '404');
  t.end();
});

await t.test('a response may be cached as long as the smallest TTL of its answers', t => {
  const a = 'www.example. 300 A 192.0.2.1\nwww.example. 60 A 192.0.2.2';
  const soa = 'example. 900 SOA ns.example. host.example. 1 2 3 4 120';
  const short = 'example. 30 SOA ns.example. host.example. 1 2 3 4 120';
  t.equal(freshSeconds(composed({ answers: a })), 60);
  t.equal(freshSeconds(composed({ answers: a, additional: 'x.example. 5 A 192.0.2.3' })), 60, 'only of answers');
  t.equal(freshSeconds(composed({ answers: a, authority: 'example. 7 NS ns.example.' })), 60);
  t.equal(freshSeconds(composed({ rcode: 3, authority: soa })), 120, 'MINIMUM');
  t.equal(freshSeconds(composed({ rcode: 3, authority: short })), 30, 'the TTL of the SOA record');
  t.equal(freshSeconds(composed({ authority: soa })), 120, 'no such type');
  t.equal(freshSeconds(composed({ answers: 'a.example. 40 CNAME b.example.', rcode: 3, authority: soa })), 40);
  t.equal(freshSeconds(composed({})), undefined, 'nothing says for how long there is nothing');
  t.equal(freshSeconds(composed({ rcode: 3, answers: a })), undefined);
  t.equal(freshSeconds(composed({ rcode: 2, answers: a })), undefined, 'SERVFAIL');
  t.equal(freshSeconds(composed({ rcode: 5 })), undefined, 'REFUSED');
  t.equal(freshSeconds(composed({ answers: a }).subarray(0, -30)), undefined, 'malformed');
  t.equal(freshSeconds(Buffer.alloc(3)), undefined);
  t.end();
});

await t.test('a failure is not stored, and where there are groups of clients, only the browser stores an answer', t => {
  const answer = composed({ answers: 'www.example. 300 A 192.0.2.1' });
  t.equal(messageReply(answer, true).cacheControl, 'max-age=300');
  t.equal(messageReply(answer, false).cacheControl, 'private, max-age=300');
  t.match(messageReply(composed({ rcode: 2 }), true), { status: 200, cacheControl: 'no-store' });
  t.end();
});

await t.test('the client is the last address that is no proxy, and nobody where there is no address', t => {
  const isProxy = (address: string): boolean => address.startsWith('10.') || address === '2001:db8::1';
  const table: Readonly<Record<string, string | undefined>> = {
    '192.0.2.1': '192.0.2.1',
    ' 192.0.2.1 ': '192.0.2.1',
    '192.0.2.9, 192.0.2.1': '192.0.2.1',
    '192.0.2.1,10.0.0.1, 2001:DB8:0::1': '192.0.2.1',
    'nonsense, 192.0.2.1': '192.0.2.1',
    '192.0.2.1, nonsense': undefined,
    'unknown, 10.0.0.1': undefined,
    '10.0.0.2, 10.0.0.1': '10.0.0.2',
    '::ffff:192.0.2.1': '192.0.2.1',
    '2001:DB8:0:0::2': '2001:db8::2',
    'fe80::1%eth0': undefined,
    '192.0.2.1:443': undefined,
    '': undefined,
    ',': undefined,
    [Array.from({ length: 40 }, () => '10.0.0.1').join(',')]: undefined,
  };
  for (const [text, expected] of Object.entries(table))
    t.equal(forwardedClient(text, isProxy), expected, JSON.stringify(text));
  t.end();
});

/** A frame of HTTP/2. */
const frame = (type: number, bytes = 0): Buffer =>
  Buffer.concat([Buffer.from([0, bytes >> 8, bytes & 255, type, 0, 0, 0, 0, 1]), Buffer.alloc(bytes, 3)]);
const NOW = monoMs(0);
const GREETING = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4)]);

await t.test('answered requests earn frames, and all others run out of them, however the octets are cut', t => {
  const octets = Buffer.concat([GREETING, ...Array.from({ length: 600 }, () => frame(6, 8))]);
  for (const cut of [1, 7, 9, 17, 4096]) {
    let passed = 0;
    const frames = new Http2FrameReader(({ payload }) => {
      passed++;
      t.ok(payload.length === 0 || payload.equals(Buffer.alloc(8, 3)));
      return undefined;
    });
    let code: number | undefined;
    for (let at = 0; at < octets.length && code === undefined; at += cut)
      code = frames.read(octets.subarray(at, at + cut), NOW);
    t.match({ passed, code }, { passed: 500, code: 11 }, `pieces of ${cut}`);
  }
  const greeted = (): Http2FrameReader => {
    const frames = new Http2FrameReader(() => undefined);
    frames.read(GREETING, NOW);
    return frames;
  };
  const steady = greeted();
  for (let i = 0; i < 5000; i++) {
    // HEADERS and WINDOW_UPDATE of a request.
    if (steady.read(Buffer.concat([frame(1, 300), frame(8, 4)]), NOW) !== undefined) t.fail(`${i}`);
    steady.earn(1);
  }
  const resets = greeted();
  let cancelled = 0;
  while (resets.read(Buffer.concat([frame(1, 30), frame(3, 4)]), NOW) === undefined) cancelled++;
  t.equal(cancelled, 99, 'requests that are cancelled at once');
  let answered = 0;
  const crossing = new Http2FrameReader(({ type, stream }) => {
    if (type === 1) crossing.earn(stream);
    return undefined;
  });
  crossing.read(GREETING, NOW);
  while (answered < 1000 && crossing.read(Buffer.concat([frame(1, 30), frame(3, 4)]), NOW) === undefined) answered++;
  t.equal(answered, 99, 'also if they are answered meanwhile');
  const other = (): Http2FrameReader => {
    const frames = new Http2FrameReader(({ type, stream }) => {
      if (type === 1) frames.earn(stream);
      return undefined;
    });
    frames.read(GREETING, NOW);
    return frames;
  };
  const twice = other();
  let reads = 0;
  while (reads < 1000 && twice.read(Buffer.concat([frame(1), frame(3, 4), frame(3, 4)]), NOW) === undefined) reads++;
  t.equal(reads, 55, 'what it earned is taken back once');
  const crossed = other();
  for (let i = 0; i < 1000; i++) {
    if (crossed.read(frame(1), NOW) !== undefined) t.fail(`answered within the read: ${i}`);
    if (crossed.read(frame(3, 4), NOW) !== undefined) t.fail(`and cancelled in the next: ${i}`);
  }
  const crowded = other();
  const many = Buffer.concat(Array.from({ length: 400 }, () => frame(1)));
  t.equal(crowded.read(many, NOW), undefined);
  t.equal(crowded.read(many, NOW), undefined, 'so many answers earn what they cost');
  t.equal(crowded.read(Buffer.concat([many, many, many]), NOW), 11, 'more in one read do not');
  const late = greeted();
  for (let i = 0; i < 1000; i++) {
    late.read(frame(1, 30), NOW);
    late.earn(1);
    if (late.read(frame(3, 4), NOW) !== undefined) t.fail(`cancelled behind its answer: ${i}`);
  }
  const patient = greeted();
  for (let second = 0; second < 1000; second += 1)
    for (let i = 0; i < 15; i++)
      if (patient.read(Buffer.concat([frame(1, 30), frame(3, 4)]), monoMs(1000 * second)) !== undefined)
        t.fail(`cancelled after a while, in second ${second}`);
  const talkative = greeted();
  let blocks = 0;
  while (talkative.spendFields(1 << 15) === undefined) blocks++;
  t.equal(blocks, 7, 'header fields cost by their octets');
  t.end();
});

await t.test('a frame that is too large, or not the first that must come, ends the connection', t => {
  const read = (octets: Buffer): number | undefined => new Http2FrameReader(() => undefined).read(octets, NOW);
  t.equal(read(Buffer.concat([GREETING, Buffer.from([0, 0x40, 1, 0, 0, 0, 0, 0, 1])])), 6, 'before its octets come');
  t.equal(read(Buffer.concat([GREETING, frame(0, 1 << 14)])), undefined);
  t.equal(read(Buffer.concat([GREETING.subarray(0, 24), frame(6, 8)])), 1);
  const acknowledged = frame(4);
  acknowledged[4] = 1;
  t.equal(read(Buffer.concat([GREETING.subarray(0, 24), acknowledged])), 1);
  t.equal(read(Buffer.from('PRI * HTTP/1.1')), 1);
  t.end();
});

await t.test('of header fields that are too large, no more is looked at', t => {
  const fields = new RequestFields();
  fields.add(':method', 'GET');
  fields.add('x-large', 'a'.repeat(20_000));
  t.equal(fields.isTooLarge, true);
  fields.add('x-malformed', 'a\r\nb');
  t.match(fields.head, { method: 'GET' }, 'it gets 431');
  t.equal(fields.areTrailers, false);
  t.end();
});
