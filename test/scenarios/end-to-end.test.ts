// The whole daemon with real sockets and a real TLS server, as a client sees it.

import tap, { type Test } from 'tap';

import { OPTION } from '../../src/wire/edns.js';
import { FLAG, flagsOf } from '../../src/wire/header.js';
import { dialDatagram } from '../../src/upstream/plain.js';
import { messageToText } from '../../src/wire/message.js';
import { ask, exchangeTcp, exchangeUdp, queryMessage, REPORT, tryAsk } from '../fixtures/client.js';
import { answering, setting as settingWith, HOSTS, type SettingOptions } from '../fixtures/daemon.js';
import { certificate } from '../fixtures/certificates.js';
import { responseTo } from '../fixtures/messages.js';

for (const [host, front] of Object.entries(HOSTS)) {
  await tap.test(host, async t => scenarios(t, async (on, options) => settingWith(on, { front, ...options })));
}

async function scenarios(
  t: Test,
  setting: (t: Test, options?: SettingOptions) => ReturnType<typeof settingWith>,
): Promise<void> {
  await t.test(
    'an address is answered from upstream, then from cache in any case of letters, with a decreasing TTL',
    async t => {
      const { at, upstream } = await setting(t);
      t.match(await ask(at, 'www.example', { options: [REPORT] }), {
        text: { rcode: 'NOERROR', answers: [{ data: '192.0.2.80', ttl: 300 }], flags: ['qr', 'rd', 'ra'] },
      });
      await new Promise(resolve => setTimeout(resolve, 1100));
      const again = await ask(at, 'wWw.ExAmPle', { options: [REPORT] });
      t.equal(again.report.get('source'), 'cache');
      t.match(again.text, { question: { name: 'wWw.ExAmPle.' }, answers: [{ data: '192.0.2.80', ttl: 299 }] });
      t.equal(upstream.queries, 1);
    },
  );

  await t.test('aliases, NXDOMAIN, NODATA, unknown types and wildcards are answered', async t => {
    const { at } = await setting(t);
    t.match((await ask(at, 'alias.example')).text.answers, [{ type: 'CNAME' }, { type: 'A' }]);
    t.match((await ask(at, 'nobody.example')).text, {
      rcode: 'NXDOMAIN',
      answers: [],
      authority: [{ type: 'SOA', ttl: 300 }],
    });
    t.match((await ask(at, 'www.example', { type: 'MX' })).text, {
      rcode: 'NOERROR',
      answers: [],
      authority: [{ type: 'SOA' }],
    });
    t.match((await ask(at, 'strange.example', { type: 'TYPE65280' })).text.answers, [{ data: '\\# 4 0a000001' }]);
    t.match((await ask(at, 'any.wild.example')).text.answers, [{ data: '192.0.2.99' }]);
  });

  await t.test('negative answers come from cache, too', async t => {
    const { at, upstream } = await setting(t);
    await ask(at, 'nobody.example');
    t.match(await ask(at, 'nobody.example', { options: [REPORT] }), { text: { rcode: 'NXDOMAIN' } });
    t.equal(upstream.queries, 1);
  });

  await t.test('one cached answer serves clients with and without DO; CD has its own', async t => {
    const { at, upstream } = await setting(t, {
      handler: (query, session) =>
        session.reply(
          responseTo(query, {
            answers: `www.example. 300 A 192.0.2.${session.socket.destroyed ? 0 : query.length % 200}`,
          }),
        ),
    });
    for (const options of [
      {},
      { dnssec: true },
      { flags: FLAG.RD | FLAG.CD },
      { dnssec: true, flags: FLAG.RD | FLAG.CD },
    ]) {
      await ask(at, 'www.example', options);
      await ask(at, 'www.example', options);
    }
    t.equal(upstream.queries, 2);
  });

  await t.test('the AD bit of a server is not passed on, because nothing was validated here', async t => {
    const { at } = await setting(t, {
      handler: (query, session) =>
        session.reply(responseTo(query, { answers: 'www.example. 60 A 192.0.2.1', flags: FLAG.AD | FLAG.AA })),
    });
    const told = await ask(at, 'www.example', { flags: FLAG.RD | FLAG.AD, dnssec: true });
    t.equal(flagsOf(told.message) & (FLAG.AD | FLAG.AA), 0);
  });

  await t.test('an answer of 4 KB has TC over UDP with question and OPT only, and is whole over TCP', async t => {
    const { at } = await setting(t);
    const cut = await ask(at, 'big.example', { type: 'TXT', retryTruncated: false });
    t.match(cut.text, { flags: ['qr', 'tc', 'rd', 'ra'], answers: [] });
    t.ok(cut.message.length < 100);
    const whole = await ask(at, 'big.example', { type: 'TXT' });
    t.equal(whole.transport, 'tcp');
    t.ok(whole.message.length > 4000);
    t.match(whole.text.answers, [{ type: 'TXT' }]);
    const classic = await ask(at, 'big.example', { type: 'TXT', edns: false, retryTruncated: false });
    t.equal(classic.message.readUInt16BE(10), 0, 'no OPT for a client without EDNS');
  });

  await t.test('100 clients with one question cause one query upstream', async t => {
    const { at, upstream, metric } = await setting(t, {
      handler: (query, session) => void setTimeout(answering(), 100, query, session),
    });
    const told = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => ask(at, i % 2 === 0 ? 'www.example' : 'WWW.EXAMPLE')),
    );
    t.ok(
      told.every(
        ({ text }, i) =>
          text.answers[0]?.data === '192.0.2.80' &&
          text.question?.name === (i % 2 === 0 ? 'www.example.' : 'WWW.EXAMPLE.'),
      ),
    );
    t.equal(upstream.queries, 1);
    t.equal(await metric('dotstub_coalesced_queries_total'), 99);
  });

  await t.test('queries of one turn of the event loop leave in few writes, each padded to 128 octets', async t => {
    const sizes = new Set<number>();
    const answer = answering();
    const { at, upstream } = await setting(t, {
      handler(query, session) {
        sizes.add(query.length);
        answer(query, session);
      },
    });
    await ask(at, 'www.example');
    const before = upstream.reads;
    await exchangeTcp(
      at,
      Array.from({ length: 50 }, (_, i) => queryMessage(`n${i}.wild.example`)),
    );
    t.equal(upstream.queries, 51);
    t.ok(upstream.reads - before <= 3, `${upstream.reads - before} reads`);
    t.same([...sizes], [128]);
  });

  await t.test('EDNS options of clients do not go upstream', async t => {
    let seen: Buffer | undefined;
    const { at } = await setting(t, {
      handler(query, session) {
        seen = query;
        answering()(query, session);
      },
    });
    await ask(at, 'www.example', {
      options: [
        { code: OPTION.COOKIE, data: Buffer.alloc(8, 0xcc) },
        { code: OPTION.CLIENT_SUBNET, data: Buffer.from('00011800c00002', 'hex') },
        { code: 65001, data: Buffer.from('x') },
        REPORT,
      ],
    });
    const text = messageToText(seen ?? Buffer.alloc(0));
    t.equal(text?.option(OPTION.CLIENT_SUBNET)?.toString('hex'), '00010000', 'our own, which hides the client');
    for (const code of [OPTION.COOKIE, 65001, OPTION.REPORT]) t.equal(text?.option(code), undefined, `option ${code}`);
    t.ok(text?.option(OPTION.PADDING));
  });

  await t.test('TCP: 200 pipelined queries are answered in the order of their answers', async t => {
    const answer = answering();
    const { at } = await setting(t, {
      handler: (query, session) =>
        void setTimeout(answer, messageToText(query)?.question?.name === 'n0.wild.example.' ? 300 : 0, query, session),
    });
    const replies = await exchangeTcp(
      at,
      Array.from({ length: 200 }, (_, i) => queryMessage(`n${i}.wild.example`, { id: i })),
    );
    t.equal(replies.length, 200);
    t.equal(new Set(replies.map(reply => reply.readUInt16BE(0))).size, 200);
    t.not(replies[0]?.readUInt16BE(0), 0, 'the slow one does not delay the others');
  });

  await t.test('RFC 7828: a client that sends the keepalive option gets one, over TCP only', async t => {
    const { at } = await setting(t);
    const options = [{ code: OPTION.TCP_KEEPALIVE, data: Buffer.alloc(0) }];
    const overTcp = await ask(at, 'www.example', { tcp: true, options });
    t.same(overTcp.text.option(OPTION.TCP_KEEPALIVE), Buffer.from([0, 100]), '10 s in units of 100 ms');
    t.equal((await ask(at, 'www.example', { options })).text.option(OPTION.TCP_KEEPALIVE), undefined);
    t.equal((await ask(at, 'www.example', { tcp: true })).text.option(OPTION.TCP_KEEPALIVE), undefined);
  });

  await t.test(
    'malformed and unsupported queries get FORMERR, NOTIMP, BADVERS or REFUSED, and ANY follows RFC 8482',
    async t => {
      const { at, upstream } = await setting(t);
      const rcodeOf = async (message: Buffer): Promise<string | undefined> => {
        const reply = await exchangeUdp(at, message);
        return reply && messageToText(reply)?.rcode;
      };
      const patched = (at: number, value: number): Buffer => {
        const message = queryMessage('www.example');
        message.writeUInt16BE(value, at);
        return message;
      };
      t.equal(await rcodeOf(queryMessage('www.example').subarray(0, 20)), 'FORMERR');
      t.equal(await rcodeOf(patched(2, 4 << 11)), 'NOTIMP');
      t.equal(await rcodeOf(queryMessage('example', { type: 'AXFR' })), 'NOTIMP');
      t.equal(await rcodeOf(patched(27, 3)), 'REFUSED', 'CHAOS');
      const version1 = queryMessage('www.example');
      version1[version1.length - 5] = 1;
      t.equal(await rcodeOf(version1), 'BADVERS');
      t.match((await ask(at, 'www.example', { type: 'ANY' })).text.answers, [{ type: 'HINFO', data: '"RFC8482" ""' }]);
      t.equal(upstream.queries, 0, 'none of these goes upstream');
    },
  );

  await t.test('RD=0 is answered only from cache, and only for clients in access.snoop', async t => {
    const { at } = await setting(t, { config: 'access: { snoop: [127.0.0.1] }' });
    t.match((await ask(at, 'www.example', { flags: 0 })).text, { rcode: 'REFUSED' });
    await ask(at, 'www.example');
    t.match((await ask(at, 'www.example', { flags: 0 })).text, { rcode: 'NOERROR', answers: [{ type: 'A' }] });
    const closed = await setting(t);
    await ask(closed.at, 'www.example');
    t.match((await ask(closed.at, 'www.example', { flags: 0 })).text, {
      rcode: 'REFUSED',
      extendedErrors: [{ infoCode: 18 }],
    });
  });

  await t.test('a client outside access.allow gets REFUSED with EDE 18 over UDP, and no connection', async t => {
    const { at, metric, upstream } = await setting(t, { config: 'access: { allow: [10.0.0.0/8] }' });
    t.match((await ask(at, 'www.example')).text, { rcode: 'REFUSED', extendedErrors: [{ infoCode: 18 }] });
    t.equal(await tryAsk(at, 'www.example', { tcp: true }), undefined);
    t.equal(await metric('dotstub_acl_refused_total'), 1);
    t.equal(await metric('dotstub_dropped_total{reason="not_allowed"}'), 1);
    t.equal(upstream.queries, 0);
  });

  await t.test(
    'a certificate for another name gives SERVFAIL with the reason as EDE, and no query is sent',
    async t => {
      const { at, upstream, log } = await setting(t, {
        identity: ca => certificate({ common: 'x', names: ['other.test'], issuer: ca }),
      });
      const told = await ask(at, 'www.example');
      t.match(told.text, {
        rcode: 'SERVFAIL',
        extendedErrors: [{ infoCode: 22, text: /the certificate is for other\.test, not for dns\.test/ }],
      });
      t.equal(upstream.queries, 0);
      t.match(log.lines.join('\n'), /for other\.test, not for dns\.test/);
    },
  );

  await t.test("the server's EDE of a failure reaches the client", async t => {
    const { at } = await setting(t, {
      handler: (query, session) =>
        session.reply(
          responseTo(query, { rcode: 2, options: [{ code: OPTION.EDE, data: Buffer.from('\0\x06bad signature') }] }),
        ),
    });
    t.match((await ask(at, 'www.example')).text, {
      rcode: 'SERVFAIL',
      extendedErrors: [{ infoCode: 6, text: 'bad signature' }],
    });
  });

  await t.test('when the server closes with 50 queries waiting, all are answered over one new connection', async t => {
    const answer = answering();
    const { at, upstream } = await setting(t, {
      handler(query, session) {
        if (session.number > 1) answer(query, session);
        else if (upstream.queries === 50) session.reset();
      },
    });
    const told = await Promise.all(Array.from({ length: 50 }, async (_, i) => ask(at, `n${i}.wild.example`)));
    t.ok(told.every(({ text }) => text.rcode === 'NOERROR'));
    t.equal(upstream.connections, 2);
  });

  await t.test('a question that a server never answers does not delay others', async t => {
    const answer = answering();
    const { at } = await setting(t, {
      handler: (query, session) =>
        messageToText(query)?.question?.name === 'never.example.' ? undefined : answer(query, session),
    });
    const never = tryAsk(at, 'never.example');
    await ask(at, 'www.example');
    const told = await ask(at, 'fresh.wild.example');
    t.ok(told.ms < 1000);
    t.match((await never)?.text, { rcode: 'SERVFAIL', extendedErrors: [{ infoCode: 23 }] });
  });

  await t.test('clients over IPv6 are answered', async t => {
    const { at } = await setting(t, { listen: '::1' });
    t.match((await ask(at, 'www.example')).text.answers, [{ data: '192.0.2.80' }]);
    t.match((await ask(at, 'www.example', { tcp: true })).text.answers, [{ data: '192.0.2.80' }]);
  });

  await t.test('a wildcard listener answers from the address that the query was sent to', async t => {
    const { at, daemon } = await setting(t, { listen: '0.0.0.0' });
    t.ok(daemon.overview().listening.some(({ transport }) => transport === 'udp'));
    t.match((await ask(at, 'www.example')).text.answers, [{ data: '192.0.2.80' }]);
    // A connected socket receives from 127.0.0.7 only. All of 127/8 is local, but these addresses are not on an interface, so the
    // listener cannot bind them one by one.
    if (daemon.overview().listening.every(({ address }) => address === '0.0.0.0')) {
      for (const name of ['www.example', 'www.example', 'alias.example']) {
        t.type(
          await dialDatagram({ address: '127.0.0.7', port: at.port }, queryMessage(name), () => true, 2000),
          Buffer,
          `${name}, from cache or not`,
        );
      }
    }
  });

  await t.test('every series is in the metrics from the start, in both formats', async t => {
    const { daemon } = await setting(t);
    const scrape = async (accept: string): Promise<Response> =>
      fetch(`http://127.0.0.1:${daemon.web?.port ?? 0}/metrics`, { headers: { accept } });
    const classic = await (await scrape('*/*')).text();
    for (const series of [
      'dotstub_queries_total{proto="udp",family="4",type="A"} 0',
      'dotstub_responses_total{rcode="SERVFAIL",source="error"} 0',
      'dotstub_upstream_connects_total{upstream="dns.test",resumed="true"} 0',
      'dotstub_cleartext_queries_total{reason="bootstrap"} 0',
      'dotstub_cache_hits_total{kind="positive"} 0',
      'dotstub_upstream_errors_total{upstream="dns.test",reason="tls_verify"} 0',
      'dotstub_upstream_responses_total{upstream="dns.test",rcode="SERVFAIL"} 0',
      'dotstub_inflight_queries 0',
      'dotstub_cache_entries 0',
    ])
      t.ok(classic.includes(`${series}\n`), series);
    const open = await scrape('application/openmetrics-text');
    t.match(open.headers.get('content-type'), /openmetrics/);
    t.match(await open.text(), /# EOF\n$/);
  });

  await t.test('queries are counted in the metrics', async t => {
    const { at, metric } = await setting(t);
    await ask(at, 'www.example');
    await ask(at, 'www.example');
    await ask(at, 'nobody.example', { tcp: true });
    t.equal(await metric('dotstub_queries_total{proto="udp",family="4",type="A"}'), 2);
    t.equal(await metric('dotstub_queries_total{proto="tcp",family="4",type="A"}'), 1);
    t.equal(await metric('dotstub_responses_total{rcode="NOERROR",source="cache"}'), 1);
    t.equal(await metric('dotstub_responses_total{rcode="NXDOMAIN",source="upstream"}'), 1);
    t.equal(await metric('dotstub_upstream_connects_total{upstream="dns.test",resumed="false"}'), 1);
    t.equal(await metric('dotstub_upstream_authenticated{upstream="dns.test"}'), 1);
    t.equal(await metric('dotstub_cache_entries'), 2);
    t.equal(await metric('dotstub_request_duration_seconds_count{source="cache"}'), 1);
    t.ok(((await metric('dotstub_request_duration_seconds_sum{source="cache"}')) ?? 0) > 0, 'it takes some time');
  });

  await t.test('/livez is always good, /readyz while a server can be reached', async t => {
    const { at, daemon, upstream } = await setting(t);
    const status = async (path: string): Promise<number> =>
      (await fetch(`http://127.0.0.1:${daemon.web?.port ?? 0}${path}`)).status;
    t.equal(await status('/livez'), 200);
    t.equal(await status('/readyz'), 200);
    await upstream.close();
    await ask(at, 'www.example');
    t.equal(await status('/readyz'), 503);
    t.equal(await status('/livez'), 200);
    t.equal(await status('/nothing'), 404);
  });
}
