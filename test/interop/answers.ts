// The questions that every real server is asked through the daemon, about the zone of fixtures/servers.ts.

import type { Test } from 'tap';

import { ask, type At } from '../fixtures/client.js';

/** Asks for every kind of answer, and 300 at once. */
export async function everyKindOfAnswer(t: Test, at: At): Promise<void> {
  t.match((await ask(at, 'www.test')).text, { rcode: 'NOERROR', answers: [{ data: '192.0.2.80' }] });
  t.match((await ask(at, 'WwW.TeSt', { type: 'AAAA' })).text, {
    question: { name: 'WwW.TeSt.' },
    answers: [{ data: '2001:db8::80' }],
  });
  t.match((await ask(at, 'alias.test')).text.answers, [{ type: 'CNAME', data: 'www.test.' }, { type: 'A' }]);
  t.match((await ask(at, 'mail.test', { type: 'MX' })).text.answers, [{ data: '10 www.test.' }]);
  t.match((await ask(at, 'www.test', { type: 'HTTPS' })).text.answers, [{ data: '1 . alpn=h2 ipv4hint=192.0.2.80' }]);
  t.match((await ask(at, 'strange.test', { type: 'TYPE65280' })).text.answers, [{ data: '\\# 4 0a000001' }]);
  t.match((await ask(at, 'nobody.test')).text, { rcode: 'NXDOMAIN', authority: [{ type: 'SOA' }] });
  t.match((await ask(at, 'www.test', { type: 'MX' })).text, {
    rcode: 'NOERROR',
    answers: [],
    authority: [{ type: 'SOA' }],
  });
  const big = await ask(at, 'big.test', { type: 'TXT' });
  t.equal(big.transport, 'tcp');
  t.ok(big.message.length > 4000);
  const many = await Promise.all(Array.from({ length: 300 }, async (_, i) => ask(at, `n${i}.wild.test`)));
  t.equal(many.filter(({ text }) => text.answers[0]?.data === '192.0.2.99').length, 300, '300 at once');
  t.ok(
    (await Promise.all(Array.from({ length: 20 }, async (_, i) => ask(at, `n${i}.wild.test`)))).every(
      ({ ms }) => ms < 1000,
    ),
  );
}
