// Many clients at once, and one that opens too many connections.

import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import t from 'tap';

import { framed } from '../../src/wire/frame.js';
import { ask, queryMessage } from '../fixtures/client.js';
import { HOSTS, setting } from '../fixtures/daemon.js';

const CLIENTS = 40;
const EACH = 20;
const MORE = 9200;
const CAP = 1000;

async function open(port: number, from: string): Promise<Socket | undefined> {
  return new Promise(resolve => {
    const socket = connect({ host: '127.0.0.1', port, localAddress: from }, () => resolve(socket));
    socket.on('error', () => resolve(undefined));
  });
}

for (const [host, front] of Object.entries(HOSTS)) {
  await t.test(
    `B17 row 14, ${host}: 10,000 TCP clients, idle, and a reader that does not read: the caps hold, UDP does not notice`,
    async t => {
      const { at, metric } = await setting(t, { front });
      await ask(at, 'www.example');
      const sockets: Socket[] = [];
      for (let client = 0; client < CLIENTS; client++) {
        const opened = await Promise.all(
          Array.from({ length: EACH }, async () => open(at.port, `127.0.1.${client + 1}`)),
        );
        sockets.push(...opened.filter(each => each !== undefined));
      }
      t.equal(sockets.length, CLIENTS * EACH);
      const counted = async (): Promise<number> => (await metric('dotstub_client_connections{proto="tcp"}')) ?? 0;
      // A connection may be established before it is accepted.
      for (let tries = 0; tries < 100 && (await counted()) < CLIENTS * EACH; tries++) await sleep(20);
      t.equal(await counted(), CLIENTS * EACH);
      const own = sockets.slice(0, EACH);
      const oneMore = await open(at.port, '127.0.1.1');
      const cut = (): number => own.filter(each => each.destroyed).length;
      for (const each of own) each.resume();
      for (let tries = 0; tries < 100 && cut() === 0; tries++) await sleep(20);
      t.equal(cut(), 1, 'the idlest of an address makes room for one more from there');
      t.equal(await counted(), CLIENTS * EACH);

      // The rest of ten thousand connections. The cap is a thousand in all, and connections beyond it are closed. One host is enough,
      // because all three share the code for TCP.
      for (let client = 0; host === 'front thread' && client < MORE / EACH; client++) {
        const opened = await Promise.all(
          Array.from({ length: EACH }, async () => open(at.port, `127.0.${2 + (client >> 7)}.${1 + (client & 127)}`)),
        );
        sockets.push(...opened.filter(each => each !== undefined));
        if (client % 46 === 0 && (await counted()) > CAP) t.fail('more connections than the cap');
      }
      // Idle connections are closed after 10 s meanwhile.
      t.ok((await counted()) <= CAP);

      const slow = await open(at.port, '127.0.1.1');
      const query = framed(queryMessage('www.example'));
      for (let i = 0; i < 2000; i++) slow?.write(query);
      const waits: number[] = [];
      for (let i = 0; i < 200; i++) waits.push((await ask(at, 'www.example')).ms);
      const worst = Math.max(...waits);
      // A minute and a half would be a stall. A busy machine is faster than that.
      t.ok(worst < 500, `UDP answered within ${worst.toFixed(0)} ms`);
      for (const each of [...sockets, oneMore, slow]) each?.destroy();
    },
  );
}
