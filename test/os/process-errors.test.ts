// What nobody catches, in real processes: failures of the system are outlived, broken invariants end the process.

import { spawn } from 'node:child_process';

import t from 'tap';

const SOURCES = new URL('../../src/os/', import.meta.url);

/** Runs a script after the handlers were installed. */
async function run(script: string): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(
    process.execPath,
    [
      '--import=tsx',
      '--input-type=module',
      '--eval',
      `const { handleProcessErrors } = await import(${JSON.stringify(new URL('process-errors.ts', SOURCES).href)});
       const { logger } = await import(${JSON.stringify(new URL('../observe/log.ts', SOURCES).href)});
       const counts = [];
       handleProcessErrors({ log: logger({ level: 'info', format: 'json' }, process.stdout), counted: code => counts.push(code) });
       process.on('exit', () => console.log('counted ' + counts.join(' ')));
       ${script}`,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const code = await new Promise<number | null>(resolve => child.on('close', resolve));
  return { code, out, err };
}

/** Says so some time after a failure was counted. */
const STILL_HERE = `const each = setInterval(() => {
  if (counts.length > 0) clearInterval(each);
  if (counts.length > 0) console.log('still here');
}, 50);`;

const SYSTEM = {
  'a socket that nobody listens to': `
    const { connect } = await import('node:net');
    connect('/nowhere.sock');`,
  'an exception of a system call in a timer': `
    const { readFileSync } = await import('node:fs');
    setTimeout(() => readFileSync('/nowhere'), 1);`,
  'a promise that is rejected': `
    const { readFile } = await import('node:fs/promises');
    void readFile('/nowhere');`,
  'no descriptors left for the interfaces': `
    setTimeout(() => { throw Object.assign(new Error('uv_interface_addresses returned EMFILE'), { code: 'ENOENT', errno: -24, syscall: 'uv_interface_addresses' }); });`,
};
for (const [what, script] of Object.entries(SYSTEM)) {
  await t.test(`the process outlives a failure of the system: ${what}`, async t => {
    const { code, out } = await run(`${script}\n${STILL_HERE}`);
    t.equal(code, 0);
    t.match(out, /"level":"error".*"syscall":.*"stack":.*"msg":"a failure of the system that nothing expected: /);
    t.match(out, /still here\ncounted ENOENT\n$/);
  });
}

const BROKEN = {
  'an exception in a timer': `setTimeout(() => { throw new TypeError('impossible'); });`,
  'an exception in a handler of a socket': `
    const { createSocket } = await import('node:dgram');
    const socket = createSocket('udp4');
    socket.on('message', () => { throw new TypeError('impossible'); });
    socket.bind(0, '127.0.0.1', () => socket.send('x', socket.address().port, '127.0.0.1'));`,
  'a promise that is rejected': `void Promise.reject(new TypeError('impossible'));`,
  'a promise that is rejected with no error': `void Promise.reject('impossible');`,
  'a thread that breaks': `
    const { FrontWorkers } = await import(${JSON.stringify(new URL('../fastpath/threads.ts', SOURCES).href)});
    const script = new URL('data:text/javascript,' + encodeURIComponent(
      "import { parentPort } from 'node:worker_threads';" +
      "parentPort.postMessage('started'); setTimeout(() => { throw Object.assign(new TypeError('impossible'), { errno: -24, syscall: 'poll' }); }, 50);"));
    const workers = new FrontWorkers(1, script);
    await workers.started;
    workers.allServe();`,
  'the thread of sessions breaks': `
    const { SessionThread } = await import(${JSON.stringify(new URL('../run/session-thread.ts', SOURCES).href)});
    const libc = { eventfd: () => 99, wake() {}, close() {} };
    const script = new URL('data:text/javascript,' + encodeURIComponent(
      "import { parentPort } from 'node:worker_threads';" +
      "parentPort.postMessage({ at: 'started' }); parentPort.on('message', () => parentPort.postMessage({ at: 'working' }));" +
      "setTimeout(() => { throw Object.assign(new TypeError('impossible'), { errno: -24, syscall: 'poll' }); }, 200);"));
    const thread = new SessionThread('tls', script);
    await thread.open({ log: {}, libc, front: {}, turns: {} }, {});`,
  'the thread of sessions tells of what nothing has caught': `
    const { SessionThread } = await import(${JSON.stringify(new URL('../run/session-thread.ts', SOURCES).href)});
    const libc = { eventfd: () => 99, wake() {}, close() {} };
    const script = new URL('data:text/javascript,' + encodeURIComponent(
      "import { parentPort } from 'node:worker_threads';" +
      "parentPort.postMessage({ at: 'started' }); parentPort.on('message', () => { parentPort.postMessage({ at: 'working' });" +
      "setTimeout(() => parentPort.postMessage({ at: 'uncaught', error: new TypeError('impossible'), fields: undefined }), 100); });"));
    const thread = new SessionThread('tls', script);
    await thread.open({ log: {}, libc, front: {}, turns: {} }, {});`,
};
const module = (path: string): string => JSON.stringify(new URL(path, SOURCES).href);
const THROWING = `
    const front = { handle() { throw new TypeError('impossible'); }, inflight: 0, stop() {} };
    const observer = new Proxy({}, { get: () => () => {} });`;
const ON_TRANSPORTS = {
  'while a query over TCP is handled': `${THROWING}
    const { tcpListener } = await import(${module('../listen/stream.ts')});
    const { SessionTable } = await import(${module('../listen/sessions.ts')});
    const { connect } = await import('node:net');
    const { Memory } = await import(${module('../listen/memory.ts')});
    const { Turns } = await import(${module('../listen/turns.ts')});
    const clock = { monotonicMs: () => 0, after: () => () => {} };
    const table = new SessionTable({ clock, observer, max: 1000 });
    const listener = tcpListener({ front, observer, table, mayAsk: () => true, memory: new Memory(), turns: new Turns() });
    await listener.set([{ address: '127.0.0.1', port: 0 }]);
    connect(listener.bound[0].port, '127.0.0.1', function () { this.write(Buffer.from([0, 1, 0])); });`,
  ...Object.fromEntries(
    ['auto', 'dgram'].map(io => [
      `while a query over UDP is handled (front.io ${io})`,
      `${THROWING}
    const { openDatagramHost } = await import(${module('../fastpath/datagram-host.ts')});
    const { packetCacheMemory } = await import(${module('../fastpath/packet-cache.ts')});
    const { SharedNetworks } = await import(${module('../policy/shared-networks.ts')});
    const { RateLimit } = await import(${module('../policy/rate-limit.ts')});
    const { ServerCookies } = await import(${module('../policy/server-cookies.ts')});
    const key = Buffer.alloc(16);
    const admission = {
      networks: SharedNetworks.memory([]), limits: RateLimit.memory(key), cookies: ServerCookies.memory(key),
    };
    const { loadLibc } = await import(${module('libc.ts')});
    const { createSocket } = await import('node:dgram');
    const libc = loadLibc();
    const host = await openDatagramHost({
      addresses: [{ address: '127.0.0.1', port: 0 }], io: '${io}', threads: 0, libc: 'unavailable' in libc ? undefined : libc,
      admission, packets: packetCacheMemory(1 << 16), front, observer,
      ageNow: () => 0, monotonicMs: () => 0, wallSec: () => 0, log: {},
    });
    createSocket('udp4').send('x', host.bound[0].port, '127.0.0.1');`,
    ]),
  ),
};
for (const [what, script] of Object.entries({ ...BROKEN, ...ON_TRANSPORTS })) {
  await t.test(`a broken invariant ends the process with its stack: ${what}`, async t => {
    const { code, out, err } = await run(`${script}\nsetTimeout(() => console.log('still here'), 3000);`);
    t.equal(code, 1);
    t.match(out, /"level":"error".*impossible/, 'in the log');
    t.match(err, /dotstub is broken and ends .*\n(.|\n)*impossible/, 'and on standard error');
    t.notMatch(out, 'still here');
  });
}
