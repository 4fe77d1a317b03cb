// The other thread of packet-cache.test.ts: reads as fast as it can, and checks every octet that names an answer.
import { register } from 'tsx/esm/api';
import { workerData, parentPort } from 'node:worker_threads';

register();
const { PacketCache, room } = await import('../../src/fastpath/packet-cache.ts');
const { FastQuery } = await import('../../src/fastpath/fast-query.ts');
const { queryMessage } = await import('../fixtures/client.ts');

const cache = new PacketCache(workerData.memory);
const fast = new FastQuery();
const out = room(2048);
const queries = Array.from({ length: 8 }, (_, n) => queryMessage(`n${n}.example`, { edns: false }));
let found = 0;
let wrong = 0;
while (Atomics.load(workerData.stop, 0) === 0) {
  for (const [n, query] of queries.entries()) {
    fast.read(query, 0, query.length, false);
    if (!cache.find(fast, 0)) continue;
    const bytes = cache.replyBytes;
    if (!cache.copyTo(out, 0, query, 0, fast.questionBytes, 0)) continue;
    Atomics.store(workerData.stop, 1, ++found);
    if (
      out.octets.readUInt32BE(bytes - 4) !== 0x01010101 * (n + 1) ||
      !out.octets.subarray(12, 12 + fast.questionBytes).equals(query.subarray(12))
    )
      wrong++;
  }
}
parentPort.postMessage({ found, wrong });
