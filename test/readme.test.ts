// The README and docs/ say what is so: their commands run, their links lead somewhere, their configurations are taken, and what
// status can say is explained.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

import t from 'tap';

import { COMMANDS } from '../src/commands/all.js';
import { FIRST_CONFIG } from '../src/commands/installation.js';
import { checkConfig, problemText } from '../src/config/check.js';
import { OPTIONS } from '../src/config/options.js';
import { version } from '../src/version.js';
import { commandsOf, DOCUMENTS, documentText, inlineCommandsOf } from './fixtures/documents.js';
import type { Step } from './fixtures/errand.js';
import { cannotVisit, visit } from './fixtures/newcomers.js';
import { missing } from './fixtures/servers.js';

const manifest = JSON.parse(documentText('package.json')) as {
  readonly files: readonly string[];
  readonly engines: { readonly node: string };
  readonly scripts: Readonly<Record<string, string>>;
};
const CONFIG = '/etc/dotstub/dotstub.yaml';
const CI = documentText('.ci/run');

/** How the test treats a command of the documents. */
type Treatment =
  /** It is run as it is written, or as `run` says, and succeeds. `says`: what it prints. */
  | { readonly run?: string; readonly says?: RegExp; readonly code?: readonly number[]; readonly needs?: string }
  /** It goes on until `end`. */
  | { readonly run?: string; readonly until: string }
  /** It is not run. */
  | { readonly not: string };

const ROOT = 'changes the system: takes root, and a systemd that runs';
const DOCKER = 'takes Docker, and images from a registry';
const CLUSTER = 'takes a cluster';
const PACKAGES = 'installs packages of a distribution';
const BUILDS = 'test/interop/package.test.ts builds and runs the packages';
const LAN = 'looks at the network that the reader is in';
const NODEJS_ORG = 'fetches from nodejs.org';
const OF_CI = '.ci/run runs it';

/** The answers of the stand-ins in fixtures/newcomer.ts. */
const ADDRESS = /192\.0\.2\.80/;

/** A daemon that runs with the file that `install` writes stands in for the service. */
const SERVICE = `mkdir -p /run/dotstub /var/lib/dotstub /etc/dotstub
cat >${CONFIG} <<'END'
${FIRST_CONFIG}END
exec dotstub run --config ${CONFIG}`;

/** Every command of the documents, in the order in which they are run. `end` ends those that go on. */
const TREATMENTS: readonly (readonly [name: string, treatment: Treatment] | 'end')[] = [
  // Try it. The network's resolver leaves signatures out; whether that is accepted is not for this test to say.
  ['npm install && npm start', { run: 'npm start', until: 'status page and metrics on http://127.0.0.1:9153/' }],
  ['node dist/cli.js query example.com', { code: [0, 1], says: /example\.com/ }],
  ['dig @127.0.0.1 -p 5300 example.com', { says: /status: (?:NOERROR|SERVFAIL)/, needs: 'dig' }],
  'end',
  ['npm run demo', { says: /in cleartext: none/ }],

  // The package.
  ['npm install && npm pack', { run: 'npm pack', says: new RegExp(`dotstub-${version}\\.tgz`) }],
  ['npm install && npm run package', { not: BUILDS }],
  ['sudo apt install ./packages/dotstub_0.1.0_amd64.deb', { not: PACKAGES }],
  ['sudo tar -xzf packages/dotstub-0.1.0-linux-x64.tar.gz -C /opt', { not: BUILDS }],
  ['sudo ln -s /opt/dotstub-0.1.0-linux-x64/bin/dotstub /usr/local/bin/dotstub', { not: BUILDS }],
  ['npm run package -- arm64', { not: BUILDS }],
  ['docker build --platform linux/arm64', { not: DOCKER }],
  ['sudo apt purge dotstub', { not: PACKAGES }],
  ['sudo apt remove dotstub', { not: PACKAGES }],
  ['sudo dotstub install --dry-run', { not: 'dotstub install --dry-run is run' }],
  ['sudo npm install -g ./dotstub-0.1.0.tgz', { says: /added \d+ packages/ }],
  ['dotstub --version', { says: new RegExp(`^${version.replaceAll('.', '\\.')}\\b|\\b${version}`) }],
  ['dotstub run dns.quad9.net', { until: 'listening on 127.0.0.1:5300' }],
  'end',

  // The service.
  ['dotstub install --dry-run', { says: /would write \/etc\/dotstub\/dotstub\.yaml/ }],
  ['sudo dotstub install', { run: SERVICE, until: 'listening on 127.0.0.1:53 (TCP)' }],
  ["sudo tee /etc/dotstub/dotstub.yaml <<'END'", {}],
  ['dotstub check-config --leaks /etc/dotstub/dotstub.yaml', { says: /^portal\.names: .*(?![^]*every name)/ }],
  // The trust anchors of the zones that stand in for the internet. systemd runs this command of the unit.
  ['sudo systemctl reload dotstub', { run: `echo "$TRUST_ANCHORS" >>${CONFIG} && dotstub reload --config ${CONFIG}` }],
  ['dotstub query example.com', { says: /192\.0\.2\.80[^]*DNS over TLS[^]*DNSSEC secure/ }],
  ['dotstub status', { says: /strict: queries go over TLS, to servers that have proved who they are/ }],
  ['dotstub trace example.com', { says: /secure/ }],
  ['dotstub trace NAME', { run: 'dotstub trace example.com', says: /secure/ }],
  ['dotstub explain NAME [TYPE]', { run: 'dotstub explain example.com', says: /answer +/ }],
  [
    'dotstub explain NAME --client ADDRESS',
    { run: 'dotstub explain example.com --client 127.0.0.1', says: /answer +/ },
  ],
  ['dotstub lists', { run: 'dotstub lists status', says: /no list/ }],
  ['dotstub lists status', { says: /no list/ }],
  ['dotstub lists refresh', { says: /no list/ }],
  ['dotstub lists pause 5m', { says: /no list/ }],
  ['dotstub lists resume', { says: /no list/ }],
  ['dotstub trace NAME [TYPE]', { run: 'dotstub trace example.com AAAA', says: /secure/ }],
  ['dotstub query NAME', { run: 'dotstub query example.com', says: ADDRESS }],
  ['dotstub query NAME [TYPE]', { run: 'dotstub query example.com AAAA', says: /2001:db8::80/ }],
  ['dig @192.168.1.2 example.com', { run: 'dig @127.0.0.1 example.com', says: ADDRESS, needs: 'dig' }],
  ['dotstub check-config FILE', { run: `dotstub check-config ${CONFIG}`, says: /name: dns\.quad9\.net/ }],
  ['dotstub check-config /etc/dotstub/dotstub.yaml', { says: /name: dns\.quad9\.net/ }],
  ['dotstub check-config --leaks FILE', { run: `dotstub check-config --leaks ${CONFIG}`, says: /portal\.names/ }],
  ['dotstub upstreams', { says: /dns\.quad9\.net +9\.9\.9\.9 port 853 +over TLS +proved/ }],
  ['dotstub top', { run: 'dotstub top --once', says: /queries\/s/ }],
  ['dotstub health', { run: `dotstub health --config ${CONFIG}`, says: /127\.0\.0\.1:53 answers/ }],
  ['dotstub metrics', { says: /^dotstub_upstream_up\{.*\} 1$/m }],
  ['dotstub trust-anchor status', { says: /^\. /m }],
  ['dotstub pins HOST', { run: 'dotstub pins dns.quad9.net --at 9.9.9.9', says: /sha256\// }],
  ['dotstub pins NAME', { run: 'dotstub pins dns.quad9.net --at 9.9.9.9', says: /_853\._tcp\.dns\.quad9\.net/ }],
  ['dotstub nta add NAME [1d]', { run: 'dotstub nta add example.net' }],
  ['dotstub nta add NAME 1d', { run: 'dotstub nta add example.org 1d', says: /example\.org/ }],
  ['dotstub portal start', { says: /window is open/ }],
  ['dotstub portal stop', { says: /window is closed/ }],
  ['dotstub probe', {}],
  ['dotstub reload', { run: `dotstub reload --config ${CONFIG}` }],
  ['dotstub completion bash', { says: /complete/ }],
  ['dotstub status --json', { says: /"privacy":"authenticated"/ }],
  ['dotstub cache', { run: 'dotstub cache stats', says: /answers in/ }],
  [
    'sudo dotstub certificate self-signed dns.home.arpa --address 192.168.1.2 --out /etc/dotstub',
    { says: /certificate: \/etc\/dotstub\/certificate\.pem/ },
  ],
  [
    'dotstub certificate self-signed NAME',
    { run: 'd=$(mktemp -d); dotstub certificate self-signed dns.test --out "$d" && rm -r "$d"', says: /listen_tls:/ },
  ],
  ['dotstub phone', { code: [1], says: /listens for neither TLS nor HTTPS[^]*to do: set listen_tls/ }],
  ['dotstub certificate', { run: 'dotstub certificate --help', says: /self-signed NAME/ }],
  ['dotstub explain _dns.resolver.arpa SVCB', { says: /answer +made here: clients are told/ }],
  ["ss -lnup 'sport = :53'", { says: /:53/, needs: 'ss' }],
  ['dotstub drain', { run: 'dotstub drain 1s', says: /Not ready/ }],
  ['dotstub drain 5s', { not: 'the one before has ended the daemon' }],
  ['dotstub run --config FILE', { not: 'the service has run so' }],
  'end',

  // Not here.
  ['sudo dotstub uninstall', { not: ROOT }],
  ['sudo /usr/bin/dotstub install', { not: ROOT }],
  ['dotstub install', { not: ROOT }],
  ['dotstub uninstall', { not: ROOT }],
  ['sudo systemctl restart dotstub', { not: ROOT }],
  ['sudo systemctl edit dotstub.socket', { not: ROOT }],
  ['sudo systemctl enable --now dotstub-tls.socket', { not: ROOT }],
  ['sudo systemctl enable --now dotstub-https.socket', { not: ROOT }],
  ['sudo npm uninstall -g dotstub', { not: 'the tests that follow need the program' }],
  ['LAN_ADDRESS=192.168.1.2 docker compose -f deploy/compose/compose.yaml up -d', { not: DOCKER }],
  ['docker build -t dotstub .', { not: DOCKER }],
  ['docker run --rm -p 127.0.0.1:5300:5300/udp -p 127.0.0.1:5300:5300/tcp dotstub', { not: DOCKER }],
  ['docker build -t registry.example/dotstub:0.1.0 .', { not: DOCKER }],
  ['docker push registry.example/dotstub:0.1.0', { not: DOCKER }],
  ["kubectl -n kube-system get service kube-dns -o jsonpath='{.spec.clusterIP}'", { not: CLUSTER }],
  ['apk add nodejs npm', { not: PACKAGES }],
  ['curl -fO https://nodejs.org/dist/latest-v24.x/SHASUMS256.txt', { not: NODEJS_ORG }],
  [
    "curl -fO https://nodejs.org/dist/latest-v24.x/$(grep -o 'node-v.*-linux-x64.tar.xz' SHASUMS256.txt)",
    { not: NODEJS_ORG },
  ],
  ['sha256sum --check --ignore-missing SHASUMS256.txt', { not: NODEJS_ORG }],
  ['sudo tar -xJf node-v24.*-linux-x64.tar.xz -C /usr/local --strip-components=1 --no-same-owner', { not: NODEJS_ORG }],
  ['resolvectl status', { not: LAN }],
  ['resolvectl dns', { not: LAN }],
  ['resolvectl dns LINK ""', { not: ROOT }],
  ['resolvectl domain LINK ""', { not: ROOT }],
  ['sudo rdisc6 -1 eth0', { not: LAN }],
  ["sudo tcpdump -ni any 'port 53 or port 5353 or port 5355' and not net 127.0.0.0/8", { not: LAN }],
  ['nmcli connection modify CONNECTION ipv4.ignore-auto-dns yes ipv6.ignore-auto-dns yes', { not: ROOT }],
  ['nmcli connection up CONNECTION', { not: ROOT }],
  ['timedatectl set-ntp true', { not: ROOT }],
  ["uci add_list dhcp.lan.dns='fd00::2'", { not: 'takes OpenWrt' }],
  ['uci commit dhcp && service odhcpd restart', { not: 'takes OpenWrt' }],
  ['npm install && npm test', { not: OF_CI }],
  ['npm run interop', { not: OF_CI }],
  ['npm run bench', { not: 'takes an hour, and a machine of its own' }],
];

const written = DOCUMENTS.flatMap(document => [...commandsOf(document), ...inlineCommandsOf(document)]);

await t.test('every command of the README and docs/ is run by this test, or has its reason in it', async t => {
  const treated = new Set(TREATMENTS.flatMap(each => (each === 'end' ? [] : [each[0]])));
  const fenced = DOCUMENTS.flatMap(commandsOf);
  t.ok(fenced.length > 40);
  for (const { document, name } of written) t.ok(treated.has(name), `${document}: ${name}`);
  for (const name of treated) t.ok(written.some(each => each.name === name) || name.startsWith('dotstub '), name);
});

await t.test('the README says how the tests are run, as CI runs them', async t => {
  t.match(documentText('README.md'), /^npm install && npm test /m);
  t.match(CI, /^npm ci /m);
  t.match(CI, /^suite test npm test$/m);
  for (const script of ['interop', 'lint', 'demo']) t.match(CI, `npm run ${script}`);
  t.ok('test' in manifest.scripts);
});

await t.test('the README is short: 200 lines, and 120 columns outside of tables and links', async t => {
  t.ok(documentText('README.md').trimEnd().split('\n').length <= 200);
  for (const document of DOCUMENTS.filter(each => each !== 'docs/options.md'))
    for (const line of documentText(document).split('\n'))
      t.ok(line.length <= 120 || /^(?:\||!\[)/.test(line), `${document}: ${line}`);
});

/** The anchor that a heading gets on GitHub and on npm's site. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');
const anchorsOf = (document: string): Set<string> =>
  new Set([...documentText(document).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => anchorOf(heading)));

await t.test('every link leads to a file of the project, and to a heading in it', async t => {
  let seen = 0;
  for (const document of [...DOCUMENTS, 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'])
    for (const [, target = ''] of documentText(document).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (target.startsWith('https://')) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? document : join(dirname(document), path);
      seen++;
      t.ok(existsSync(new URL(`../${file}`, import.meta.url)), `${document}: ${target}`);
      if (anchor !== undefined) t.ok(anchorsOf(file).has(anchor), `${document}: ${target}`);
    }
  t.ok(seen > 30);
  t.ok(manifest.files.includes('docs'), 'the package has the pages that the README leads to');
});

await t.test('every configuration in the documents is taken', async t => {
  let seen = 0;
  for (const document of DOCUMENTS)
    for (const [, text = ''] of documentText(document).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)) {
      const checked = checkConfig(text);
      seen++;
      t.same(checked.ok ? [] : checked.problems.map(problem => problemText(document, problem)), []);
    }
  t.ok(seen > 4);
});

await t.test('every subcommand in the documents is one', async t => {
  for (const { document, name } of written) {
    const command = /^(?:sudo )?dotstub ([a-z][a-z-]+)/.exec(name)?.[1];
    if (command !== undefined) t.ok(command in COMMANDS, `${document}: ${command}`);
  }
});

await t.test('the documents name the oldest Node.js that the package takes', async t => {
  const oldest = /^>=(\d+\.\d+)$/.exec(manifest.engines.node)?.[1] ?? '';
  for (const document of ['README.md', 'docs/install.md', 'CONTRIBUTING.md'])
    t.match(documentText(document), `${oldest} or newer`, document);
});

await t.test(
  'nothing in the documents is installed from a registry under our name, which is not ours there',
  async t => {
    for (const document of DOCUMENTS)
      t.notMatch(
        documentText(document),
        /npm (?:install|i) -g dotstub(?!-)|npx dotstub|docker (?:pull|run) (?:\S+\/)?dotstub/,
      );
  },
);

/** The short names of what the health line can say; empty: this version gives none. */
const FINDINGS = [
  ...(/export const FINDINGS = \[([^\]]*)\]/.exec(documentText('src/base/overview.ts'))?.[1] ?? '').matchAll(
    /'(\w+)'/g,
  ),
].map(([, id = '']) => id);

await t.test(
  'everything that the health line can say has a row in the README and in docs/health.md',
  { skip: FINDINGS.length === 0 ? 'findings have no short names here' : false },
  async t => {
    for (const document of ['README.md', 'docs/health.md']) {
      const cells = documentText(document)
        .split('\n')
        .filter(line => line.startsWith('|'))
        .map(line => line.split('|')[1] ?? '');
      for (const id of FINDINGS)
        t.ok(
          cells.some(cell => cell.includes(`\`${id}\``)),
          `${document}: ${id}`,
        );
    }
  },
);

await t.test('the statement about privacy names what writes names to a disk', async t => {
  for (const option of ['cache.persist', 'log.queries', 'log.dnstap']) {
    t.ok(OPTIONS.some(({ path }) => path === option));
    for (const document of ['README.md', 'docs/privacy.md']) t.match(documentText(document), option, document);
  }
});

/** The step for a treatment; undefined: it is not run here. */
function stepOf(name: string, treatment: Treatment): Step | undefined {
  if ('not' in treatment) return undefined;
  const run = treatment.run ?? written.find(command => command.name === name)?.text;
  if (run === undefined) return undefined;
  if ('until' in treatment) return { name, run, until: treatment.until };
  return treatment.needs === undefined || missing(treatment.needs) === false ? { name, run } : undefined;
}

await t.test('the commands of the README and docs/ do what they say', { skip: await cannotVisit() }, async t => {
  const steps = TREATMENTS.flatMap(each => (each === 'end' ? [{ end: true } as const] : (stepOf(...each) ?? [])));
  const outcomes = new Map((await visit(steps)).map(outcome => [outcome.name, outcome]));
  for (const each of TREATMENTS) {
    if (each === 'end' || stepOf(...each) === undefined) continue;
    const [name, treatment] = each;
    const { code, output } = outcomes.get(name) ?? { code: null, output: 'it was not run' };
    if ('not' in treatment) continue;
    if ('until' in treatment) t.ok(output.includes(treatment.until), `${name} goes on`, { output });
    else {
      t.ok(
        (treatment.code ?? [0]).some(allowed => allowed === code),
        `${name} ends with ${String(code)}\n${output}`,
      );
      if (treatment.says !== undefined) t.match(output, treatment.says, name);
    }
  }
});
