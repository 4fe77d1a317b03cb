// The time zone of the machine while it is set: in a mount namespace, in which /etc/localtime can be another one.

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';

import t from 'tap';

import { mayMount } from '../fixtures/mounts.js';
import { temporaryDirectory } from '../fixtures/program.js';

const ZONES = '/usr/share/zoneinfo';
const skip = !mayMount
  ? 'may not mount'
  : existsSync(`${ZONES}/Asia/Kolkata`) && existsSync(`${ZONES}/America/New_York`)
    ? false
    : 'not installed: tzdata';

/** What a process says about midnight of 1 January 1970 in UTC, before and after its machine gets another zone. */
async function hours(env: NodeJS.ProcessEnv): Promise<string> {
  const directory = temporaryDirectory();
  const { path } = directory;
  const child = `
    import { execFileSync } from 'node:child_process';
    import { TimeZone } from './src/os/time-zone.ts';
    const set = zone => execFileSync('ln', ['-sfn', '${ZONES}/' + zone, '/etc/localtime']);
    const shown = () => { zone.look(); const date = new Date(0); return date.getHours() + ':' + date.getMinutes(); };
    const zone = new TimeZone();
    const found = [shown()];
    for (const each of ['America/New_York', 'Asia/Kolkata']) { set(each); found.push(shown()); }
    execFileSync('rm', ['/etc/localtime']);
    found.push(shown(), shown());
    console.log(found.join(' '));`;
  const overlay = `-t tmpfs none ${path} && mkdir ${path}/up ${path}/work && mount -t overlay overlay -o lowerdir=/etc,upperdir=${path}/up,workdir=${path}/work /etc`;
  const script = `mount ${overlay} && ln -sfn ${ZONES}/Asia/Kolkata /etc/localtime && exec "$@"`;
  const node = [process.execPath, '--import=tsx', '--input-type=module', '--eval', child];
  const out = await new Promise<string>(resolve => {
    execFile('unshare', ['-m', 'sh', '-c', script, 'sh', ...node], { env, timeout: 30_000 }, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  directory.remove();
  return out.trim();
}

const env = { ...process.env };
delete env['TZ'];
delete env['NODE_OPTIONS'];

await t.test('dates follow the zone of the machine, with no zone at all they are in UTC', { skip }, async t => {
  t.equal(await hours(env), '5:30 19:0 5:30 0:0 0:0');
});

await t.test('a process with a zone of its own stays in it', { skip }, async t => {
  t.equal(await hours({ ...env, TZ: 'Asia/Kolkata' }), '5:30 5:30 5:30 5:30 5:30');
});
