// A state_directory that cannot be written, and other failures of the system at the start, as the whole program has them.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t from 'tap';

import { tryAsk } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { mayMount } from '../fixtures/mounts.js';
import { dotstub, PROGRAM, startDotstub, temporaryDirectory } from '../fixtures/program.js';

const CLI = PROGRAM.at(-1) ?? '';

/** A file system that is read-only, with a file that the next process is to remove. */
const readOnly = (directory: string): readonly string[] => [
  ...['unshare', '-m', 'sh', '-c'],
  `mount -t tmpfs none "$0" && touch "$0/lists.compiled" "$0/cache.snapshot" && mount -o remount,ro "$0" && exec "$@"`,
  ...[directory, ...PROGRAM],
];

await t.test(
  'files that cannot be removed neither end the start nor stop a reload half way',
  { skip: !mayMount && 'needs root' },
  async t => {
    const [state, lists] = [temporaryDirectory(), temporaryDirectory()];
    const ads = join(lists.path, 'ads');
    writeFileSync(ads, 'ads.example');
    const port = await freePort();
    const common = `listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
state_directory: ${state.path}
cache: { persist: false }
control: { socket: ${join(lists.path, 'control.sock')} }
dnssec: { mode: off }
`;
    const running = await startDotstub(common, [], readOnly(state.path));
    t.teardown(async () => {
      await running.stop('SIGKILL');
      [state, lists].forEach(each => each.remove());
    });
    const ask = async (name: string) => (await tryAsk({ address: '127.0.0.1', port }, name))?.text.rcode;
    const reload = async (more: string): Promise<void> => {
      writeFileSync(running.configFile, common + more);
      const { code, stdout, stderr } = await dotstub(['reload', '--socket', join(lists.path, 'control.sock')]);
      t.equal(code, 0, stdout + stderr);
    };
    const local = 'local: { records: ["own.example. 300 A 192.0.2.1"] }\n';
    await reload(`lists: [{ name: ads, sources: ["${ads}"] }]\n`);
    t.equal(await ask('ads.example.'), 'NXDOMAIN');
    await reload(local);
    t.equal(await ask('own.example.'), 'NOERROR');
    t.match(running.log(), /cache\.snapshot cannot be removed \(the file system is read-only\)/);
    t.match(running.log(), /lists\.compiled cannot be removed \(the file system is read-only\)/);
    t.notMatch(running.log(), /nothing expected/);
    t.equal((await running.stop()).code, 0);
  },
);

await t.test('a failure of the system that ends the start is told, and is exit code 1', async t => {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const broken = join(directory.path, 'broken.mjs');
  writeFileSync(
    broken,
    `import os from 'node:os';
     let calls = 0;
     // The log asks first.
     os.hostname = () => {
       if (calls++ === 0) return 'here';
       throw Object.assign(new Error('uv_os_gethostname returned EMFILE'), { errno: -24, syscall: 'uv_os_gethostname' });
     };`,
  );
  const config = join(directory.path, 'dotstub.yaml');
  writeFileSync(config, `listen: ["127.0.0.1:${await freePort()}"]\nmetrics: { listen: off }\n`);
  const command = ['env', '-u', 'NODE_OPTIONS', process.execPath, '--import', broken, CLI];
  const { code, stdout } = await dotstub(['run', '--config', config], command);
  t.match(stdout, /a failure of the system that nothing expected ends the daemon: uv_os_gethostname returned EMFILE/);
  t.equal(code, 1);
});
