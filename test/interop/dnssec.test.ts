// Verdicts compared, question by question, with Unbound's: a world of zones signed and broken in many ways (signed-world.ts),
// served by NSD, resolved by an Unbound that validates nothing, which both ask over TLS. Debian packages: unbound nsd
// bind9-utils ldnsutils.

import t from 'tap';

import { ask, type At } from '../fixtures/client.js';
import { freePort } from '../fixtures/free-port.js';
import { startDotstub } from '../fixtures/program.js';
import { type Bench, bench, missing } from '../fixtures/servers.js';
import { QUESTIONS, recursor, serveWorld, signWorld, under, validatingUnbound, WORLD_PROGRAMS, ZONES } from '../fixtures/signed-world.js';

/** The program as a validating forwarder. */
async function validator(on: Bench, upstream: At, anchors: readonly string[], dnssec = ''): Promise<At & { log(): string }> {
  const port = await freePort();
  const program = await startDotstub(`
listen: ["127.0.0.1:${port}"]
metrics: { listen: off }
log: { level: debug, format: text }
upstream: { ca_file: ${on.caFile}, servers: [{ name: dns.test, addresses: ["127.0.0.1:${upstream.port}"] }] }
dnssec: { trust_anchors: [${anchors.map(each => JSON.stringify(each)).join(', ')}]${dnssec} }
`);
  on.onEnd(async () => void await program.stop());
  return { address: '127.0.0.1', port, log: program.log };
}

interface Verdict {
  readonly status: string;
  /** The answer section without signatures, for comparison. */
  readonly data: string;
  readonly why: string;
}

async function verdict(at: At, name: string, type: string): Promise<Verdict> {
  const { text } = await ask(at, name, { type, dnssec: true });
  return {
    status: `${text.rcode}${text.flags.includes('ad') ? ' secure' : ''}`,
    data: text.answers.filter(each => each.type !== 'RRSIG').map(each => `${each.name.toLowerCase()} ${each.type} ${each.data.toLowerCase()}`).sort().join('\n'),
    why: text.extendedErrors.map(({ infoCode, text: words }) => `${infoCode} ${words}`).join('; '),
  };
}

const AT_ONCE = 8;

/** A few at a time. */
async function eachOf<T>(all: readonly T[], then: (each: T) => Promise<void>): Promise<void> {
  const left = [...all].reverse();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let each = left.pop(); each !== undefined; each = left.pop()) await then(each);
  }));
}

await t.test('a world of zones', { skip: missing(...WORLD_PROGRAMS), timeout: 600_000 }, async t => {
  const on = bench(t);
  const anchors = await signWorld(on.path);
  const upstream = await recursor(on, await serveWorld(on, on.path));
  const theirs = await validatingUnbound(on, upstream, anchors, '  val-nsec3-keysize-iterations: "1024 50 2048 50 4096 50"');
  const ours = await validator(on, upstream, anchors, ', sha1: validate');
  const questions = ZONES.flatMap(({ name: zone }) => QUESTIONS.flatMap(([label, types]) =>
    types.split(' ').map(type => ({ name: under(label, zone), type }))));
  const counts = new Map<string, number>();
  const differences: string[] = [];
  await eachOf(questions, async ({ name, type }) => {
    const [mine, its] = await Promise.all([verdict(ours, name, type), verdict(theirs, name, type)]);
    counts.set(its.status, (counts.get(its.status) ?? 0) + 1);
    if (mine.status !== its.status || (mine.data !== its.data && its.status !== 'SERVFAIL')) {
      differences.push(`${name} ${type}: ${mine.status} (${mine.why}), Unbound ${its.status}${mine.status === its.status ? `\n${mine.data}\n--\n${its.data}` : ''}`);
    }
  });
  t.comment(`${ZONES.length} zones, ${questions.length} questions: ${[...counts].map(([status, count]) => `${count} ${status}`).join(', ')}`);
  t.same(differences, []);
});
