// What is deployed: configurations that are taken, commands that there are, units and images that agree with each other.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

import t from 'tap';
import { parseAllDocuments } from 'yaml';

import { COMMANDS } from '../src/commands/all.js';
import { checkConfig, problemText } from '../src/config/check.js';

const at = (path: string): URL => new URL(`../${path}`, import.meta.url);
const text = (path: string): string => readFileSync(at(path), 'utf8');
const taken = (file: string, config: string): string[] => {
  const checked = checkConfig(config);
  return checked.ok ? [] : checked.problems.map(problem => problemText(file, problem));
};

await t.test('every configuration is taken', async t => {
  for (const file of ['config/container.yaml', 'deploy/compose/dotstub.yaml', 'deploy/openwrt/dotstub.yaml'])
    t.same(taken(file, text(file)), [], file);
  for (const file of readdirSync(at('deploy/kubernetes'))) {
    const documents = parseAllDocuments(text(`deploy/kubernetes/${file}`)).map(
      each => each.toJSON() as { kind: string; data?: Record<string, string> },
    );
    const [map] = documents;
    t.equal(map?.kind, 'ConfigMap', file);
    const config = map?.data?.['dotstub.yaml'] ?? '';
    t.match(config, 'CLUSTER_DNS');
    t.same(taken(file, config.replaceAll('CLUSTER_DNS', '10.96.0.10')), [], file);
    t.notSame(taken(file, config), [], 'and nobody forgets to put in the address');
  }
});

await t.test('every command that is run somewhere is one', async t => {
  const files = [
    'Dockerfile',
    'README.md',
    'deploy/openwrt/dotstub.init',
    'deploy/openwrt/README.md',
    ...readdirSync(at('deploy/kubernetes')).map(file => `deploy/kubernetes/${file}`),
    ...readdirSync(at('systemd')).map(file => `systemd/${file}`),
  ];
  let seen = 0;
  for (const file of files) {
    for (const [, command = ''] of text(file).matchAll(/(?:cli\.js"?,? "?|(?:env |`|^\s*)dotstub )([a-z][a-z-]+)/gm)) {
      seen++;
      t.ok(command in COMMANDS, `${file}: ${command}`);
    }
  }
  t.ok(seen > 20);
});

await t.test('the init script of OpenWrt is a shell script', async t => {
  execFileSync('sh', ['-n', at('deploy/openwrt/dotstub.init').pathname]);
  t.match(text('deploy/openwrt/dotstub.init'), /start_service[\s\S]*reload_service/);
});

await t.test(
  'a configuration with errors leaves port 53 open, and the service gets it however it is started',
  async t => {
    const service = text('systemd/dotstub.service');
    // systemd closes a socket for good when its service has reached this limit.
    t.match(service, /^StartLimitIntervalSec=0$/m);
    t.match(service, /^RestartPreventExitStatus=2$/m);
    t.match(
      service,
      /^ExecStopPost=.* 2 .*sleep [1-9]/m,
      'a pause: queries in the socket would start it again at once',
    );
    t.match(service, /^Requires=dotstub\.socket$/m);
    t.match(service, /^Sockets=dotstub\.socket$/m);
    t.match(text('systemd/dotstub.socket'), /^FreeBind=yes$/m, 'open even without IPv6');
  },
);

await t.test('no code reads what the unit hides of /proc', async t => {
  t.match(text('systemd/dotstub.service'), /^ProcSubset=pid$/m);
  const source = readdirSync(at('src'), { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'));
  const hidden = source.flatMap(file =>
    [...text(`src/${file}`).matchAll(/['"`]\/proc\/(?!self\/)[^'"`]*/g)].map(([path]) => `${file}: ${path}`),
  );
  t.same(hidden, []);
});

await t.test('the image: no root, no capability, a health check', async t => {
  const dockerfile = text('Dockerfile');
  t.match(dockerfile, /^ARG BASE=node:\d+(\.\d+)*-bookworm-slim$/m, 'the base is an argument, and pinned');
  t.match(dockerfile, /^USER 65532:65532$/m);
  t.match(dockerfile, /^HEALTHCHECK .*"health"/m);
  t.match(dockerfile, /^STOPSIGNAL SIGTERM$/m);
  const compose = (
    parseAllDocuments(text('deploy/compose/compose.yaml'))[0]?.toJSON() as {
      services: { dotstub: Record<string, unknown> };
    }
  ).services.dotstub;
  t.match(compose, { read_only: true, cap_drop: ['ALL'] });
});

await t.test('the package holds what "install" needs', async t => {
  const { files } = JSON.parse(text('package.json')) as { files: string[] };
  for (const needed of ['dist', 'config', 'systemd', 'man', 'deploy']) t.ok(files.includes(needed), needed);
});
