import fc from 'fast-check';
import t from 'tap';

import { readDesignations } from '../../src/wire/designation.js';
import { queryMessage } from '../fixtures/client.js';
import { responseTo } from '../fixtures/messages.js';

const query = queryMessage('_dns.resolver.arpa', { type: 'SVCB' });
const read = (...rdata: string[]) =>
  readDesignations(
    responseTo(query, { answers: rdata.map(each => `_dns.resolver.arpa. 300 SVCB ${each}`).join('\n') }),
  );

await t.test('places for DNS over TLS, best first; other protocols are left out', t => {
  t.same(
    read(
      '2 b.example. alpn=dot',
      '1 a.example. alpn=h2,dot port=8853 ipv4hint=192.0.2.1,192.0.2.2',
      '1 doh.example. alpn=h2 key7=2f',
    ),
    {
      designations: [
        { priority: 1, name: 'a.example', port: 8853, https: undefined, addresses: ['192.0.2.1', '192.0.2.2'] },
        { priority: 2, name: 'b.example', port: 853, https: undefined, addresses: [] },
      ],
      ttlSec: 300,
    },
  );
  t.end();
});

/** The value of dohpath, as the presentation format of an unknown key. */
const dohpath = (template: string): string => `key7=${Buffer.from(template).toString('hex')}`;

await t.test('RFC 9461 §5: places for DNS over HTTPS, after all for DNS over TLS; the path is the one for POST', t => {
  const found = read(
    `1 doh.example. alpn=h2,h3 ${dohpath('/dns-query{?dns}')} ipv4hint=192.0.2.3`,
    `2 both.example. alpn=dot,h2 ${dohpath('/q?a=b{&dns}')}`,
    `3 other.example. alpn=h2 port=8443 ${dohpath('/x/{+dns}')}`,
  );
  t.same(
    found?.designations.map(({ name, port, https }) => [name, port, https]),
    [
      ['both.example', 853, { port: 443, path: '/q?a=b' }],
      ['doh.example', undefined, { port: 443, path: '/dns-query' }],
      ['other.example', undefined, { port: 8443, path: '/x/' }],
    ],
  );
  t.end();
});

await t.test('a template that is no path with the variable dns, or another HTTP, is left out', t => {
  const templates = [
    '/dns-query',
    'dns-query{?dns}',
    '//elsewhere.example/{?dns}',
    'https://elsewhere.example/{?dns}',
    '/a b{?dns}',
    '/a\r\nx: y{?dns}',
    '/{?other}',
    `/${'x'.repeat(300)}{?dns}`,
    '/{{?dns}',
  ];
  for (const template of templates)
    t.same(read(`1 a.example. alpn=h2 ${dohpath(template)}`)?.designations, [], JSON.stringify(template));
  t.same(read(`1 a.example. alpn=h3 ${dohpath('/{?dns}')}`)?.designations, [], 'HTTP/3 is not spoken');
  t.same(
    read(...Array.from({ length: 20 }, (_, i) => `${i + 1} n${i}.example. alpn=h2 ${dohpath('/q{?dns}')}`))
      ?.designations.length,
    4,
    'bounded',
  );
  t.end();
});

await t.test('aliases, the root as target, port 0 and what needs more than is understood are left out', t => {
  t.same(
    read(
      '0 a.example. alpn=dot',
      '1 . alpn=dot',
      '1 a.example. alpn=dot port=0',
      '1 a.example. alpn=dot key0=0009',
      '1 a.example.',
    )?.designations,
    [],
  );
  t.same(
    read('1 a.example. alpn=dot key9=00', '1 b.example. key0=00010003 alpn=dot')?.designations.map(({ name }) => name),
    ['a.example', 'b.example'],
    'what is not mandatory may be unknown',
  );
  t.equal(
    read(...Array.from({ length: 20 }, (_, i) => `${i + 1} n${i}.example. alpn=dot`))?.designations.length,
    4,
    'bounded',
  );
  t.end();
});

await t.test('any octets: never an error, never an address that is not in them', t => {
  const good = responseTo(query, { answers: '_dns.resolver.arpa. 300 SVCB 1 a.example. alpn=dot ipv4hint=192.0.2.1' });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.nat(good.length),
      (changes, cut) => {
        const message = Buffer.from(good.subarray(0, Math.max(cut, good.length - (cut % 8))));
        for (const [at, octet] of changes) if (at < message.length) message[at] = octet;
        const found = readDesignations(message);
        return (
          found === undefined ||
          found.designations.every(
            ({ port, https, addresses }) => (port ?? https?.port ?? 0) > 0 && addresses.length <= 4,
          )
        );
      },
    ),
    { numRuns: 5000 },
  );
  for (let end = 0; end < good.length; end++) readDesignations(good.subarray(0, end));
  t.end();
});
