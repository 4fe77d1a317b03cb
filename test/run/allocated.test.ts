// Memory for the cache: as much as the check allows can be had, and where it cannot, that is an error in words.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { AnswerCache } from '../../src/cache/answers.js';
import { checkConfig } from '../../src/config/check.js';
import { packetCacheMemory } from '../../src/fastpath/packet-cache.js';
import { READY_SHARE } from '../../src/run/resolution.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, temporaryDirectory } from '../fixtures/program.js';
import { recorder } from '../fixtures/recorder.js';

await t.test('the largest cache that the check allows is one that the engine gives', async t => {
  const checked = checkConfig('cache: { size: 4GiB }');
  if (!checked.ok) throw new Error('refused');
  const { size } = checked.config.cache;
  t.equal(new AnswerCache(size, recorder().observer).entries, 0);
  t.ok(packetCacheMemory(size / READY_SHARE).byteLength > size / READY_SHARE / 2);
  t.match(checkConfig('cache: { size: 4.5GiB }'), { ok: false, problems: [{ path: 'cache.size' }] });
});

await t.test('a machine that does not give it gets an error, not a stack', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const file = join(directory.path, 'dotstub.yaml');
  writeFileSync(
    file,
    `cache: { size: 4GiB }
listen: ["127.0.0.1:${await freePort()}"]
metrics: { listen: off }
front: { threads: 0 }
control: { socket: ${directory.path}/control.sock }
state_directory: ${directory.path}
upstream: { servers: [{ name: dns.test, addresses: [127.0.0.1] }] }
`,
  );
  const cli = new URL('../../dist/cli.js', import.meta.url).pathname;
  // Node.js itself takes about 1 GiB of addresses.
  const command = ['sh', '-c', 'ulimit -v 3000000; exec "$0" "$@"', process.execPath, cli];
  const { code, stdout, stderr } = await dotstub(['run', '--config', file], command);
  t.equal(code, 1);
  t.match(stdout, /cache\.size: this process gets no \d+ MiB of memory \(.*\): set a smaller size/);
  t.equal(stderr, '');
});
