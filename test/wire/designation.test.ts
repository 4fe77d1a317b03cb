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
        { priority: 1, name: 'a.example', port: 8853, addresses: ['192.0.2.1', '192.0.2.2'] },
        { priority: 2, name: 'b.example', port: 853, addresses: [] },
      ],
      ttlSec: 300,
    },
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
          found === undefined || found.designations.every(({ port, addresses }) => port > 0 && addresses.length <= 4)
        );
      },
    ),
    { numRuns: 5000 },
  );
  for (let end = 0; end < good.length; end++) readDesignations(good.subarray(0, end));
  t.end();
});
