// What operators reach for beside control.test.ts: the query log, top, log level, metrics, health, drain, a file that is
// watched, and completion.

import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import t, { type Test } from 'tap';

import { authority, certificate } from '../fixtures/certificates.js';
import { ask } from '../fixtures/client.js';
import { answering } from '../fixtures/daemon.js';
import { dotServer } from '../fixtures/dot-server.js';
import { freePort } from '../fixtures/free-port.js';
import { dotstub, type RunningProgram, startDotstub, temporaryDirectory } from '../fixtures/program.js';
import { until } from '../fixtures/until.js';

const ca = authority();
const server = await dotServer({
  identity: certificate({ common: 'x', names: ['dns.test'], issuer: ca }),
  handler: answering('www.example. 300 A 192.0.2.80'),
});
const directory = temporaryDirectory();
writeFileSync(join(directory.path, 'ca.pem'), ca.cert);
t.teardown(async () => {
  await server.close();
  directory.remove();
});

interface Running {
  readonly daemon: RunningProgram;
  readonly at: { readonly address: string; readonly port: number };
  tell(...args: string[]): ReturnType<typeof dotstub>;
}

async function running(t: Pick<Test, 'teardown'>, more: string, metrics = 'off'): Promise<Running> {
  const port = await freePort();
  const daemon = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: "${metrics}" }
upstream: { ca_file: ${join(directory.path, 'ca.pem')}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${server.port}"] }] }
${more}`);
  t.teardown(async () => daemon.child.exitCode === null && daemon.stop());
  return {
    daemon,
    at: { address: '127.0.0.1', port },
    tell: async (...args) => dotstub([...args, '--socket', daemon.controlSocket]),
  };
}

await t.test('the query log: with all, with a hash for the client, with neither client nor name', async t => {
  for (const detail of ['full', 'hashed_client', 'no_name'] as const) {
    const file = join(directory.path, `${detail}.log`);
    const { at, daemon } = await running(t, `log: { queries: ${detail}, query_file: ${file} }`);
    await ask(at, 'www.example');
    await ask(at, 'WWW.example');
    await ask(at, 'nobody.example', { tcp: true });
    await ask(at, 'a.example', { type: 'AXFR' });
    const lines = (): Record<string, unknown>[] =>
      readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .filter(line => line !== '')
        .map(line => JSON.parse(line) as Record<string, unknown>);
    await until(() => lines().length === 4, 'four lines');
    const [first, again, missing, refused] = lines();
    t.match(first, {
      type: 'A',
      rcode: 'NOERROR',
      source: 'upstream',
      upstream: 'dns.test',
      verdict: 'unchecked',
      transport: 'udp',
    });
    t.match(again, { source: 'cache' }, 'what comes from cache, too');
    t.match(missing, { rcode: 'NXDOMAIN', transport: 'tcp' });
    t.match(refused, { rcode: 'NOTIMP', failure: 'meta_type', type: 'AXFR' });
    t.type(first?.['ms'], 'number');
    const names = [first, again].map(line => line?.['name']);
    const clients = [...new Set([first, again, missing, refused].map(line => line?.['client']))];
    if (detail === 'no_name') t.same([...names, ...clients], [undefined, undefined, undefined]);
    else t.same(names, ['www.example.', 'WWW.example.']);
    if (detail === 'full') t.same(clients, ['127.0.0.1']);
    if (detail === 'hashed_client') t.match(clients, [/^[\w-]{12}$/], 'one client, one hash');
    renameSync(file, `${file}.1`);
    daemon.child.kill('SIGUSR1');
    await until(() => daemon.log().includes('opening the query log anew'), 'word of it');
    await ask(at, 'www.example');
    await until(() => lines().length === 1, 'a line in the new file');
    t.equal(readFileSync(`${file}.1`, 'utf8').trim().split('\n').length, 4, 'none was lost on the way');
    await daemon.stop();
  }
});

await t.test('top: rates, servers, and names as far as they may be known', async t => {
  const quiet = await running(t, '');
  t.match(
    (await quiet.tell('top', '--once')).stdout,
    /privacy +strict: queries go over TLS[\s\S]*dns\.test +127\.0\.0\.1 +over TLS[\s\S]*Names and clients are not kept/,
  );
  const told = await running(t, `log: { queries: full, query_file: ${join(directory.path, 'top.log')} }`);
  const looks = { over: false };
  const top = told.tell('top', '--once').finally(() => (looks.over = true));
  let asked = 0;
  while (!looks.over) {
    await ask(told.at, 'www.example');
    asked++;
    await sleep(20);
  }
  const { stdout } = await top;
  t.match(stdout, /queries\/s +[1-9]/);
  t.match(stdout, /name +queries\nwww\.example\. +\d+/);
  t.match(stdout, /client +queries\n127\.0\.0\.1 +\d+/);
  t.match(JSON.parse((await told.tell('top', '--once', '--json')).stdout.split('\n')[0] ?? ''), {
    names: [['www.example.', Math.min(asked, 1000)]],
  });
});

await t.test('log level: changed while it runs', async t => {
  const { tell, daemon, at } = await running(t, '');
  t.match((await tell('log', 'level')).stdout, /"info" and graver/);
  t.match((await tell('log', 'level', 'error')).stdout, /"error" and graver/);
  t.equal((await tell('probe')).code, 0);
  t.notMatch(daemon.log(), 'connecting anew', 'of level info');
  t.match((await tell('log', 'level', 'loud')).stderr, /no level "loud"; there are: error, warn, info, debug/);
  t.match((await tell('log', 'colour')).stderr, 'log level');
  await ask(at, 'www.example');
});

await t.test('metrics and health', async t => {
  const { tell, at, daemon } = await running(t, '');
  t.match((await tell('metrics')).stdout, /^dotstub_upstream_mode\{mode="strict"\} 1$/m);
  const health = async (): Promise<string> => {
    const { code, stdout } = await dotstub(['health', '--server', `127.0.0.1:${at.port}`]);
    return `${code ?? ''} ${stdout.trim()}`;
  };
  t.equal(await health(), `0 127.0.0.1:${at.port} answers`);
  t.equal((await dotstub(['health', '--config', daemon.configFile])).code, 0);
  daemon.child.kill('SIGSTOP');
  t.equal(await health(), `1 127.0.0.1:${at.port} does not answer`);
  daemon.child.kill('SIGCONT');
  t.match(await health(), '0 ');
});

await t.test('drain: not ready at once, answers for a while, then ends, and only then the command', async t => {
  const metricsPort = await freePort();
  const { tell, at, daemon } = await running(t, '', `127.0.0.1:${metricsPort}`);
  const ready = async (): Promise<number> => (await fetch(`http://127.0.0.1:${metricsPort}/readyz`)).status;
  await ask(at, 'www.example');
  t.equal(await ready(), 200);
  t.match((await tell('drain', 'soon')).stderr, 'not allowed');
  const startedAt = performance.now();
  const drained = tell('drain', '2s');
  await until(async () => (await ready()) === 503, 'not ready');
  t.equal((await ask(at, 'www.example')).text.rcode, 'NOERROR');
  t.match(await drained, { code: 0, stdout: /answers for 2 s more/ });
  t.ok(performance.now() - startedAt >= 2000, 'the command waits');
  await until(() => daemon.child.exitCode !== null, 'the end');
  t.equal(daemon.child.exitCode, 0);
});

await t.test('a file that is watched, also behind links that are exchanged', async t => {
  // As Kubernetes shows a ConfigMap: file -> ..data/file, and ..data -> a directory by date.
  const map = join(directory.path, 'map');
  const put = (version: string, text: string): void => {
    mkdirSync(join(map, version), { recursive: true });
    writeFileSync(join(map, version, 'dotstub.yaml'), text);
    symlinkSync(version, join(map, 'next'));
    renameSync(join(map, 'next'), join(map, '..data'));
  };
  const { daemon } = await running(t, '');
  const text = `${readFileSync(daemon.configFile, 'utf8').replace(/127\.0\.0\.1:\d+"\]\nmetrics/, `127.0.0.1:${await freePort()}"]\nmetrics`)}\nreload_on_change: true\n`;
  put('one', text);
  symlinkSync('..data/dotstub.yaml', join(map, 'dotstub.yaml'));
  t.equal(readlinkSync(join(map, '..data')), 'one');
  const { spawn } = await import('node:child_process');
  const child = spawn(
    process.execPath,
    [new URL('../../dist/cli.js', import.meta.url).pathname, 'run', '--config', join(map, 'dotstub.yaml')],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  t.teardown(() => child.kill());
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  await until(() => log.includes('(TCP)'), 'listening');
  put('two', `${text}log: { level: debug }\n`);
  await until(() => log.includes('taken over: log.level'), 'the change');
  put('three', `${text}nonsense: 1\n`);
  await until(() => log.includes('nonsense: no such option'), 'what is wrong with it');
});

await t.test('completion: commands, and what may follow them', async t => {
  const { stdout } = await dotstub(['completion', 'bash']);
  const complete = async (...words: string[]): Promise<string> =>
    new Promise(resolve => {
      const file = join(directory.path, 'completion.bash');
      writeFileSync(file, stdout);
      execFile(
        'bash',
        [
          '-c',
          `. ${file}; COMP_WORDS=(${words.map(word => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _dotstub; echo "\${COMPREPLY[*]}"`,
        ],
        (_error, out) => resolve(out.trim()),
      );
    });
  t.equal(await complete('dotstub', 'tr'), 'trust-anchor trace');
  t.equal(await complete('dotstub', 'log', 'l'), 'level');
  t.equal(await complete('dotstub', 'query', '--d'), '--dnssec');
  t.match((await dotstub(['completion', 'zsh'])).stdout, /^#compdef dotstub[\s\S]*'nta:take a subtree as unsigned/);
  t.match(
    (await dotstub(['completion', 'fish'])).stdout,
    "complete -c dotstub -n '__fish_seen_subcommand_from query' -l tcp",
  );
  t.equal((await dotstub(['completion', 'csh'])).code, 2);
});
