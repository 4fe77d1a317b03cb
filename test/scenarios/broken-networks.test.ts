// Broken networks, each with the program as a process in it: the finding that names what is wrong and who is to blame, and
// that no surface calls fine what another does not. The namespaces are needed for port 53 and for /etc/resolv.conf.

import { execFile, execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import t, { type Test } from 'tap';

import type { Finding, FindingId } from '../../src/base/overview.js';
import { temporaryDirectory } from '../fixtures/program.js';

/** Other users than root can have namespaces, too, where the system allows that. */
const UNSHARE = ['--mount', '--net', ...(process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'])];

function whyNot(): string | false {
  try {
    execFileSync('unshare', [...UNSHARE, 'sh', '-c', 'ip link set lo up && mount -t tmpfs none /run'], {
      stdio: 'ignore',
    });
    return false;
  } catch {
    return 'needs namespaces and ip';
  }
}

interface Seen {
  readonly answers: readonly string[];
  readonly findings: readonly Finding[];
  readonly status: string;
  readonly health: string;
  readonly page: { readonly findings: readonly Finding[]; readonly health: string };
  readonly ready: string;
  readonly metrics: readonly string[];
  readonly log: string;
}

async function seen(t: Test, situation: string): Promise<Seen> {
  const directory = temporaryDirectory();
  t.teardown(() => directory.remove());
  const resolvConf = join(directory.path, 'resolv.conf');
  // As after "dotstub install": programs ask the daemon, which finds the network's resolver where NetworkManager keeps it.
  writeFileSync(resolvConf, 'nameserver 127.0.0.1\n');
  const script = `
    set -e
    ip link set lo up
    mount --bind ${resolvConf} /etc/resolv.conf
    mount -t tmpfs none /run
    mkdir /run/NetworkManager
    echo nameserver 127.0.0.2 > /run/NetworkManager/no-stub-resolv.conf
    exec ${process.execPath} --import=tsx test/scenarios/broken-network.ts "${situation}"`;
  const out = await new Promise<string>(resolve => {
    execFile('unshare', [...UNSHARE, 'sh', '-c', script], { timeout: 90_000 }, (_error, stdout, stderr) =>
      resolve(stdout + stderr),
    );
  });
  const line = out.split('\n').find(each => each.startsWith('{"answers"'));
  if (line === undefined) throw new Error(out);
  return JSON.parse(line) as Seen;
}

/** Those of the machine that the test runs on. */
const OF_THE_MACHINE: ReadonlySet<string> = new Set(['clock', 'neighbours', 'search', 'unwritten']);

interface Row {
  readonly network: string;
  /** The answers about five names. */
  readonly answers: RegExp;
  /** The findings, the gravest first, and what they say. */
  readonly says: readonly (readonly [FindingId, RegExp])[];
  readonly isReady: boolean;
}

const ROWS: readonly Row[] = [
  {
    network: 'strips',
    answers: /^NOERROR 192\.0\.2\.\d$/,
    says: [
      ['unvalidated', /^nothing is validated: .* 127\.0\.0\.2$/],
      ['cleartext', /^names go in cleartext to 127\.0\.0\.2, which cannot be asked over TLS/],
    ],
    isReady: true,
  },
  {
    network: 'servfail',
    answers: /^SERVFAIL$/,
    says: [
      ['errors', /^127\.0\.0\.2 answers SERVFAIL to everything/],
      ['cleartext', /./],
    ],
    isReady: false,
  },
  {
    network: 'refused',
    answers: /^SERVFAIL$/,
    says: [
      ['errors', /^127\.0\.0\.2 answers REFUSED to everything/],
      ['cleartext', /./],
    ],
    isReady: false,
  },
  {
    network: 'nxdomain',
    answers: /^NXDOMAIN$/,
    says: [
      ['denials', /^127\.0\.0\.2 says of every name that it does not exist/],
      ['unvalidated', /./],
      ['cleartext', /./],
    ],
    isReady: false,
  },
  {
    network: 'silence',
    answers: /^SERVFAIL$/,
    says: [['silent', /^no server answers \(127\.0\.0\.2\), and the last \d+ questions were lost/]],
    isReady: false,
  },
  {
    network: 'portal',
    answers: /^NOERROR 10\.0\.0\.1$/,
    says: [
      ['unvalidated', /./],
      ['one_address', /^127\.0\.0\.2 gave the address 10\.0\.0\.1 for the last \d+ names, as captive portals do/],
      ['cleartext', /./],
    ],
    isReady: true,
  },
  {
    network: 'port 853 blocked',
    answers: /^NOERROR 192\.0\.2\.\d$/,
    says: [['cleartext', /^names go in cleartext to 127\.0\.0\.2, which cannot be asked over TLS/]],
    isReady: true,
  },
  {
    network: 'wrong certificate',
    answers: /^SERVFAIL$/,
    says: [['unreached', /^no server is reached \(dns\.test: the server could not be authenticated: /]],
    isReady: false,
  },
  {
    network: 'bogus',
    answers: /^SERVFAIL$/,
    says: [['bogus', /^the last \d+ answers of dns\.test have failed validation/]],
    isReady: false,
  },
  {
    network: 'strict, strips',
    answers: /^SERVFAIL$/,
    says: [['signatures_missing', /^nothing is validated: .* dns\.test, so that signed names fail/]],
    isReady: false,
  },
  { network: 'fine', answers: /^NOERROR 192\.0\.2\.\d$/, says: [], isReady: true },
];

/** Counts go on between two looks. */
const uncounted = (text: string): string => text.replace(/\d+/g, '#');

const skip = whyNot();
t.jobs = 2;
// Twelve programs, on whatever machine.
t.setTimeout(300_000);

const rows = ROWS.map(async ({ network, answers, says, isReady }) =>
  t.test(`the network "${network}" is named, on every surface`, { skip, buffered: true }, async t => {
    const found = await seen(t, network);
    for (const each of found.answers) t.match(each, answers);
    const own = found.findings.filter(({ id }) => !OF_THE_MACHINE.has(id));
    t.same(new Set(own.map(({ id }) => id)), new Set(says.map(([id]) => id)), 'these, and no others');
    for (const [id, words] of says) {
      const one = own.find(each => each.id === id);
      t.match(one?.words, words);
      t.type(one?.advice, 'string', 'and what to do');
    }
    agree(t, found, isReady);
  }),
);

await t.test('a clock that is wrong is named, and time servers still resolve', { skip, buffered: true }, async t => {
  const found = await seen(t, 'wrong clock');
  t.match(
    found.findings.find(({ id }) => id === 'clock'),
    { words: /^the clock is wrong \(200\d-/, advice: /set it/ },
  );
  agree(t, found, !found.findings.some(({ level }) => level === 'down'));
});
await Promise.all(rows);

/** All surfaces say the same. */
function agree(t: Test, { findings, status, health, page, ready, metrics, log }: Seen, isReady: boolean): void {
  const troubles = findings.filter(({ level }) => level !== 'note');
  for (const { words, advice } of findings) {
    t.ok(uncounted(status).includes(uncounted(words)), `status: ${words}`);
    t.ok(advice === undefined || status.includes(advice));
  }
  for (const { words } of troubles) {
    t.ok(uncounted(health).includes(uncounted(words)), 'dotstub health');
    t.ok(uncounted(page.health).includes(uncounted(words)), 'the page');
  }
  t.equal(status.includes('nothing is wrong'), troubles.length === 0);
  t.equal(page.health === 'nothing is wrong', troubles.length === 0);
  t.same(
    page.findings.map(({ id }) => id),
    findings.map(({ id }) => id),
  );
  t.equal(uncounted(ready), isReady ? '# ready\n' : uncounted(`503 not ready: ${troubles[0]?.words ?? ''}\n`));
  t.equal(metrics.length, findings.length);
  if (troubles.some(({ id }) => id === 'unvalidated')) t.match(log, 'leaves DNSSEC signatures out of its answers');
}
