// What is deployed: configurations that are taken, commands that there are, units, images and manifests that agree with each
// other, alerts and panels about metrics that there are.

import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

import t from 'tap';
import { parse, parseAllDocuments } from 'yaml';

import { COMMANDS } from '../src/commands/all.js';
import { checkConfig, problemText } from '../src/config/check.js';
import {
  COUNTERS,
  GAUGES,
  HISTOGRAMS,
  type MetricRow,
  SERVER_COUNTERS,
  SERVER_HISTOGRAMS,
} from '../src/observe/catalogue.js';
import { networkMatcher } from '../src/policy/access.js';
import { isNoClusterName, routeOf } from '../src/policy/routes.js';
import { lowerCased, nameFromText } from '../src/wire/name.js';
import { planFor } from './fixtures/plans.js';

const at = (path: string): URL => new URL(`../${path}`, import.meta.url);
const text = (path: string): string => readFileSync(at(path), 'utf8');
const under = (folder: string): string[] => readdirSync(at(folder)).map(file => `${folder}/${file}`);
const { version } = JSON.parse(text('package.json')) as { version: string };

/** Problems, and options that do nothing. */
const complaints = (file: string, config: string): string[] => {
  const checked = checkConfig(config);
  return (checked.ok ? checked.warnings : checked.problems).map(problem => problemText(file, problem));
};

/** A manifest whose words in capitals are replaced as it says. */
const filledIn = (file: string): string =>
  text(`deploy/kubernetes/${file}`)
    .replaceAll('CLUSTER_DNS', '10.96.0.10')
    .replaceAll('NAMESPACES', 'prod, test')
    .replaceAll('NAMESPACE', 'prod')
    .replaceAll('REGISTRY', 'registry.example');

interface Probe {
  readonly httpGet?: { readonly host?: string; readonly path: string; readonly port: string };
  readonly exec?: { readonly command: readonly string[] };
}
interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly restartPolicy?: string;
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: unknown;
  readonly volumeMounts?: readonly { readonly name: string }[];
}
interface PodSpec {
  readonly automountServiceAccountToken?: boolean;
  readonly dnsConfig?: { readonly searches: readonly string[]; readonly options: readonly unknown[] };
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
}
interface Manifest {
  readonly file: string;
  readonly config: string;
  readonly pod: PodSpec;
  readonly dotstub: Container;
}

function manifest(file: string): Manifest {
  const [map, workload] = parseAllDocuments(filledIn(file)).map(
    each =>
      each.toJSON() as {
        readonly data?: Readonly<Record<string, string>>;
        readonly spec?: { readonly template: { readonly spec: PodSpec } };
      },
  );
  const pod = workload?.spec?.template.spec;
  const dotstub = [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])].find(({ name }) => name === 'dotstub');
  if (pod === undefined || dotstub === undefined) throw new Error(`${file} runs no dotstub`);
  return { file, config: map?.data?.['dotstub.yaml'] ?? '', pod, dotstub };
}

const sidecar = manifest('sidecar.yaml');
const nodeLocal = manifest('node-local.yaml');
const manifests = readdirSync(at('deploy/kubernetes')).map(manifest);

await t.test('every configuration is taken, and nothing in it is without effect', async t => {
  for (const file of ['config/container.yaml', 'deploy/compose/dotstub.yaml', 'deploy/openwrt/dotstub.yaml'])
    t.same(complaints(file, text(file)), [], file);
  for (const { file, config } of manifests) {
    t.not(config, '', file);
    t.same(complaints(file, config), [], file);
    t.notSame(complaints(file, config.replaceAll('10.96.0.10', 'CLUSTER_DNS')), [], 'the address is not forgotten');
  }
});

await t.test('every command that is run somewhere is one', async t => {
  const files = [
    'Dockerfile',
    'README.md',
    'deploy/openwrt/dotstub.init',
    'deploy/openwrt/README.md',
    ...under('deploy/kubernetes'),
    ...under('systemd'),
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

await t.test('no registry is asked for a package or an image of ours: there is none', async t => {
  const files = ['Dockerfile', 'README.md', 'SECURITY.md', 'CONTRIBUTING.md', ...under('systemd'), ...under('man')];
  const deployed = ['compose', 'kubernetes', 'openwrt', 'prometheus'].flatMap(folder => under(`deploy/${folder}`));
  for (const file of [...files, ...deployed, 'src/commands/install.ts']) {
    const written = text(file);
    t.notMatch(written, /np[mx] (?:install |i |exec )?(?:-g |--global )?dotstub(?![-.\w/])/, `${file}: a package`);
    t.notMatch(written, /docker (?:pull|run)[^\n]* (?:docker\.io\/)?dotstub/, `${file}: an image`);
    for (const [, image = ''] of written.matchAll(/^\s*(?:- )?image: (\S+)/gm))
      t.match(image, /^(?:(?:REGISTRY|localhost|registry\.example)\/[a-z]+|busybox):\d+(?:\.\d+)+$/, `${file}: by tag`);
  }
  t.match(parse(text('deploy/compose/compose.yaml')), { services: { dotstub: { build: {}, pull_policy: 'build' } } });
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

await t.test('the init script and the program of OpenWrt are shell scripts', async t => {
  for (const file of ['deploy/openwrt/dotstub.init', 'deploy/openwrt/dotstub'])
    execFileSync('sh', ['-n', at(file).pathname]);
  t.match(text('deploy/openwrt/dotstub.init'), /start_service[\s\S]*reload_service/);
  const [, node = '', script = ''] = /exec (\S+) (\S+)/.exec(text('deploy/openwrt/dotstub')) ?? [];
  const steps = text('deploy/openwrt/README.md');
  t.match(steps, `tar -xz -C /opt/dotstub`);
  t.equal(node, '/opt/dotstub/bin/node', 'where the steps put it');
  t.equal(script, '/opt/dotstub/node_modules/dotstub/dist/cli.js', 'where npm puts it');
  t.match(steps, `dotstub-${version}.tgz`);
});

await t.test('the image: no root, no capability, a health check, a supported Node.js, labels, the licence', async t => {
  const dockerfile = text('Dockerfile');
  t.match(dockerfile, /^ARG BASE=node:24-bookworm-slim$/m, 'the base is an argument');
  t.match(dockerfile, /^USER 65532:65532$/m);
  t.match(dockerfile, /^HEALTHCHECK .*"health"/m);
  t.match(dockerfile, /^STOPSIGNAL SIGTERM$/m);
  t.match(dockerfile, /npm run --silent package -- \$\{TARGETARCH\} --tree /, 'what is in the archive');
  t.match(dockerfile, /\/LICENSE \S*\/LICENCES\.txt /);
  t.notMatch(dockerfile.slice(dockerfile.indexOf('FROM scratch')), /^RUN /m, 'there is no shell in it');
  const { description, license } = JSON.parse(text('package.json')) as { description: string; license: string };
  const labels = Object.fromEntries(
    [...dockerfile.matchAll(/org\.opencontainers\.image\.(\w+)="([^"$]*)"/g)].map(([, key = '', value = '']) => [
      key,
      value,
    ]),
  );
  t.match(labels, { title: 'dotstub', description, version, licenses: license });
  const ignored = text('.dockerignore').split('\n');
  for (const [, from = ''] of dockerfile.matchAll(/^COPY (?!--)(.*) \S+$/gm))
    for (const path of from.split(' '))
      t.ok(ignored.includes(`!${path.split('/')[0] ?? ''}`), `${path} is in the context`);
  t.match(parse(text('deploy/compose/compose.yaml')), {
    services: { dotstub: { read_only: true, cap_drop: ['ALL'] } },
  });
});

await t.test('the image: the licences of the libraries that are copied into it', async t => {
  const image = text('Dockerfile').slice(text('Dockerfile').indexOf('FROM scratch'));
  const copied = [...image.matchAll(/^COPY --from=libraries ((?:.*\\\n)*.*)$/gm)].flatMap(([, paths = '']) =>
    paths.split(/[\s\\]+/),
  );
  // The loader, libc, libdl, libm and libpthread are glibc; libgcc_s and libstdc++ are of GCC.
  const libraries = copied.filter(path => path.includes('-linux-gnu/')).map(path => path.replace(/^.*\//, ''));
  for (const each of libraries)
    t.match(each, /^(?:ld-linux-\*|libc|libdl|libm|libpthread|libgcc_s|libstdc\+\+)\.so\./, 'it has a licence below');
  for (const [path, place] of [
    ['/usr/share/doc/libc6/copyright', '/usr/share/doc/libc6/'],
    ['/usr/share/doc/gcc-*-base/copyright', '/usr/share/doc/libstdc++6/'],
  ] as const)
    t.ok(image.includes(`COPY --from=libraries ${path} ${place}\n`), path);
  // What Debian's own files refer to, where this is Debian.
  for (const each of ['libc6', 'libstdc++6']) {
    const file = `/usr/share/doc/${each}/copyright`;
    if (!existsSync(file)) continue;
    const named = readFileSync(file, 'utf8').matchAll(/\/usr\/share\/common-licenses\/[A-Z]+-[0-9.]*\d/g);
    for (const [license] of named) t.ok(copied.includes(license), license);
  }
});

await t.test('pods: images of this version, ports, volumes and commands that there are, and no token', async t => {
  for (const { file, config, pod, dotstub } of manifests) {
    t.equal(pod.automountServiceAccountToken, false, `${file}: no service account token`);
    t.equal(dotstub.image, `registry.example/dotstub:${version}`, file);
    const ports = dotstub.ports?.map(({ name }) => name) ?? [];
    const probes = [dotstub.startupProbe, dotstub.livenessProbe, dotstub.readinessProbe];
    t.ok(dotstub.startupProbe !== undefined && dotstub.livenessProbe !== undefined, file);
    for (const probe of probes) {
      if (probe?.httpGet !== undefined) t.ok(ports.includes(probe.httpGet.port), `${file}: ${probe.httpGet.port}`);
      if (probe?.exec !== undefined) t.ok((probe.exec.command[2] ?? '') in COMMANDS, file);
    }
    const volumes = pod.volumes.map(({ name }) => name).toSorted();
    t.same(dotstub.volumeMounts?.map(({ name }) => name).toSorted(), volumes, `${file}: all volumes are mounted`);
    const { listeners } = planFor(config);
    t.equal(listeners.metrics?.address, '0.0.0.0', `${file}: Prometheus reaches it`);
    t.equal(dotstub.ports?.find(({ name }) => name === 'metrics')?.containerPort, listeners.metrics?.port);
  }
});

await t.test('the sidecar is native, and its readiness does not depend on servers outside the cluster', async t => {
  const { pod, dotstub } = sidecar;
  t.equal(pod.initContainers[0], dotstub);
  t.equal(dotstub.restartPolicy, 'Always');
  t.notOk(pod.containers.some(({ name }) => name === 'dotstub'));
  t.equal(dotstub.readinessProbe, undefined);
  for (const probe of [dotstub.startupProbe, dotstub.livenessProbe]) t.equal(probe?.httpGet?.path, '/livez');
  t.equal(dotstub.lifecycle, undefined, 'it would be drained while the application ends');
});

await t.test('names of the cluster, also with one dot, are asked of the cluster or of nobody', async t => {
  for (const { file, config } of manifests) {
    const { routes } = planFor(config);
    /** Where a name goes. */
    const goes = (name: string): string => {
      const wire = lowerCased(nameFromText(name) ?? Buffer.alloc(1));
      const match = routeOf(routes, wire);
      if (match === undefined) return 'out';
      return match.route.kubernetes && isNoClusterName(wire, match.zone) ? 'nowhere' : 'cluster';
    };
    t.equal(goes('postgres.prod'), 'nowhere', `${file}: a service that does not exist`);
    t.equal(goes('postgres.prod.svc.cluster.local'), 'cluster', file);
    t.equal(goes('www.example.com.cluster.local'), 'nowhere', file);
    t.equal(goes('10.0.96.10.in-addr.arpa'), 'cluster', file);
    t.equal(goes('www.example.com'), 'out', file);
  }
  const { dnsConfig } = sidecar.pod;
  t.same(dnsConfig?.options, [{ name: 'ndots', value: '2' }], 'with one dot, the search list comes first');
  t.same(dnsConfig?.searches, ['prod.svc.cluster.local', 'svc.cluster.local', 'cluster.local']);
});

await t.test('on every node: pods of all kinds of networks may ask, at an address that is made before', async t => {
  const { allow, listeners } = planFor(nodeLocal.config);
  const mayAsk = networkMatcher(allow);
  for (const pod of ['10.1.2.3', '172.20.0.1', '192.168.7.7', '100.64.3.4', '100.127.255.254', 'fd00::1', 'fe80::1'])
    t.ok(mayAsk(pod), pod);
  for (const stranger of ['192.0.2.1', '100.128.0.1', '100.63.255.255', '2001:db8::1', '172.32.0.1'])
    t.notOk(mayAsk(stranger), stranger);
  const [address] = listeners.addresses;
  t.match(nodeLocal.pod.initContainers[0]?.command?.at(-1), `ip address add ${address?.address ?? ''}/32`);
});

await t.test('panels, alerts and their tests name metrics, labels and values that there are', async t => {
  const histograms: Readonly<Record<string, MetricRow>> = { ...HISTOGRAMS, ...SERVER_HISTOGRAMS };
  const others: Readonly<Record<string, MetricRow>> = { ...COUNTERS, ...SERVER_COUNTERS, ...GAUGES };
  const perServer = { ...SERVER_COUNTERS, ...SERVER_HISTOGRAMS };
  const rowOf = (name: string): MetricRow | undefined =>
    others[name] ?? histograms[name.replace(/_(bucket|sum|count)$/, '')];
  const files = ['deploy/grafana/dashboard.json', ...under('deploy/prometheus')];
  for (const file of files) {
    // Quotes in JSON are escaped.
    const written = text(file).replaceAll('\\"', '"');
    let seen = 0;
    for (const [, name = '', selector = ''] of written.matchAll(/\bdotstub_([a-z_]+)(?:\{([^}]*)\})?/g)) {
      seen++;
      const row = rowOf(name);
      if (row === undefined) {
        t.fail(`${file}: there is no dotstub_${name}`);
        continue;
      }
      for (const [, label = '', value = ''] of selector.matchAll(/([a-z_]+)=~?"([^"]*)"/g)) {
        if (label === 'instance' || (label === 'upstream' && name.replace(/_(bucket|sum|count)$/, '') in perServer))
          continue;
        const values = row.labels[label];
        t.ok(values !== undefined, `${file}: dotstub_${name} has no label ${label}`);
        if (values === undefined || values.length === 0) continue;
        for (const each of value.split('|')) t.ok(values.includes(each), `${file}: ${name}: ${label}="${each}"`);
      }
    }
    t.ok(seen > 10, `${file} names metrics`);
  }
});

await t.test('every alert is expected to fire in the tests beside it, and to be silent in others', async t => {
  const expected = text('deploy/prometheus/rules.test.yaml');
  const alerts = [...text('deploy/prometheus/rules.yaml').matchAll(/alert: (\w+)/g)].map(([, name = '']) => name);
  t.ok(alerts.length >= 10);
  for (const alert of alerts) t.match(expected, new RegExp(`labels: '[^']*alertname="${alert}"`), alert);
  t.ok(/exp_samples: \[\]/.test(expected));
});

await t.test('the package holds what "install" needs', async t => {
  const { files } = JSON.parse(text('package.json')) as { files: string[] };
  for (const needed of ['dist', 'config', 'systemd', 'man', 'deploy']) t.ok(files.includes(needed), needed);
});
