// Tickets and the verdicts that belong to them.

import { connect, createServer, type AddressInfo } from 'node:net';

import fc from 'fast-check';
import t from 'tap';

import { wallMs } from '../../src/base/time.js';
import { systemClock } from '../../src/os/clock.js';
import { dialer } from '../../src/upstream/dial.js';
import { Tickets } from '../../src/upstream/tickets.js';
import { authority, certificate } from '../fixtures/certificates.js';
import { dotServer } from '../fixtures/dot-server.js';

const DAY_MS = 86_400_000;

await t.test('property: each session comes back once, with the verdict of its own handshake', async t => {
  const step = fc.oneof(
    fc.record({ at: fc.constant('put' as const), who: fc.nat(1), proved: fc.boolean(), days: fc.nat(2) }),
    fc.record({ at: fc.constant('take' as const), who: fc.nat(1) }),
    fc.record({ at: fc.constant('drop' as const), who: fc.nat(1) }),
    fc.record({ at: fc.constant('wait' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let now = 0;
      const tickets = new Tickets(() => wallMs(now));
      const put: { session: string; proved: boolean; who: number; untilMs: number }[] = [];
      for (const [i, each] of steps.entries()) {
        if (each.at === 'wait') now += DAY_MS / 2;
        else if (each.at === 'drop') {
          tickets.drop(`${each.who}`);
          for (let k = put.length - 1; k >= 0; k--) if (put[k]?.who === each.who) put.splice(k, 1);
        } else if (each.at === 'put') {
          const untilMs = now + each.days * DAY_MS;
          const verdict = { at: 'accepted', authenticated: each.proved, warning: undefined, untilMs: wallMs(untilMs) };
          tickets.put(`${each.who}`, Buffer.from(`${i}`), { ...verdict, at: 'accepted' });
          put.push({ session: `${i}`, proved: each.proved, who: each.who, untilMs: Math.min(untilMs, now + DAY_MS) });
        } else {
          const taken = tickets.take(`${each.who}`);
          const at = put.findIndex(({ session }) => session === taken?.session.toString());
          const [known] = at === -1 ? [] : put.splice(at, 1);
          if (taken === undefined) continue;
          if (known?.proved !== taken.verdict.authenticated || known.who !== each.who || known.untilMs <= now)
            return false;
        }
      }
      return true;
    }),
  );
  t.pass();
});

await t.test(
  'encrypted mode, in any order: what a server proved never counts for who came between, nor the reverse',
  async t => {
    const ca = authority();
    const genuine = certificate({ common: 'x', names: ['dns.test'], issuer: ca });
    const interceptor = certificate({ common: 'x', names: ['dns.test'] });
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      const [honest, between] = await Promise.all(
        [genuine, interceptor].map(async identity =>
          dotServer({ identity, handler: (query, session) => session.reply(query), tls: { maxVersion } }),
        ),
      );
      let intercepted = false;
      const way = createServer(client => {
        const server = connect((intercepted ? between : honest)?.port ?? 0, '127.0.0.1');
        client.on('error', () => server.destroy()).pipe(server);
        server.on('error', () => client.destroy()).pipe(client);
      });
      await new Promise<void>(resolve => void way.listen(0, '127.0.0.1', resolve));
      const { port } = way.address() as AddressInfo;
      let resumptions = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.boolean(), { minLength: 3, maxLength: 10 }), async order => {
          const dial = dialer({ ca: ca.cert, client: undefined, clock: systemClock });
          for (const isIntercepted of order) {
            intercepted = isIntercepted;
            const security = { at: 'encrypted', name: 'dns.test' } as const;
            const authenticated = await new Promise<boolean | string>(resolve => {
              let proved = false;
              const stream = dial(
                { address: '127.0.0.1', port, security },
                {
                  connected: info => {
                    proved = info.authenticated;
                    if (info.resumed) resumptions++;
                  },
                  bytes: () => {
                    stream.close();
                    resolve(proved);
                  },
                  closed: why => resolve(why?.detail ?? 'closed'),
                },
              );
              stream.send(Buffer.from([0, 1, 42]));
            });
            if (authenticated !== !isIntercepted) return false;
          }
          return true;
        }),
        { numRuns: 15 },
      );
      t.ok(resumptions > 10, `${maxVersion}: sessions were resumed`);
      await new Promise(resolve => {
        way.close(resolve);
        void honest?.close();
        void between?.close();
      });
    }
  },
);
