// A client of flood.ts, in a namespace of its own. `ask ADDRESS SECONDS`: 500 queries a second for ten names, and how long answers take.
// `flood ADDRESS SECONDS`: queries from 4,096 source addresses, as fast as two thousand at a time leave. Prints JSON.

import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';

import { queryMessage } from '../fixtures/client.js';

const [what = '', address = '', seconds = '1'] = process.argv.slice(2);
const until = performance.now() + Number(seconds) * 1000;

async function bound(at?: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  await new Promise<void>(resolve => socket.bind(0, at, resolve));
  return socket;
}

async function ask(): Promise<unknown> {
  const socket = await bound();
  const sentAt = new Map<number, number>();
  const times: number[] = [];
  socket.on('message', reply => {
    const id = reply.readUInt16BE(0);
    const at = sentAt.get(id);
    if (at === undefined) return;
    times.push(performance.now() - at);
    sentAt.delete(id);
  });
  let asked = 0;
  while (performance.now() < until) {
    const id = asked++ & 0xffff;
    sentAt.set(id, performance.now());
    socket.send(queryMessage('www.example', { id }), 53, address);
    await sleep(1);
  }
  await sleep(1000);
  socket.close();
  times.sort((a, b) => a - b);
  return {
    asked,
    lost: asked - times.length,
    medianMs: times[times.length >> 1],
    p99Ms: times[Math.floor(times.length * 0.99)],
  };
}

async function flood(): Promise<unknown> {
  const sockets: Socket[] = [];
  let [answers, refused, sent] = [0, 0, 0];
  for (let i = 0; i < 4096; i++) {
    const socket = await bound(`198.18.${i >> 8}.${i & 255}`);
    socket.on('message', reply => {
      if ((reply.readUInt16BE(2) & 15) === 5) refused++;
      else answers++;
    });
    sockets.push(socket);
  }
  const query = queryMessage('www.example', { id: 7 });
  const end = performance.now() + Number(seconds) * 1000;
  while (performance.now() < end) {
    for (let i = 0; i < 200; i++) sockets[sent++ % sockets.length]?.send(query, 53, address);
    // Some 20,000 a second.
    await sleep(10);
  }
  await sleep(500);
  for (const socket of sockets) socket.close();
  return { sent, answers, refused };
}

console.log(JSON.stringify(await (what === 'flood' ? flood() : ask())));
process.exit(0);
