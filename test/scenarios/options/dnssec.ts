// Options about validation, before signed zones.

import { FLAG, flagsOf } from '../../../src/wire/header.js';
import { TYPE } from '../../../src/wire/rrtype.js';
import { putTogether, takeApart } from '../../fixtures/mutations.js';
import type { Json, Rig, RigServer } from '../../fixtures/rig.js';
import { type SignedTree, signedTree, type Tree } from '../../fixtures/signed-records.js';
import type { Row } from './row.js';

const ZONES: Tree = {
  '.': { text: '' },
  'good.': { text: 'www.good. 300 A 192.0.2.1\n' },
  'bad.': { text: 'www.bad. 300 A 192.0.2.66\n' },
  'old.': { text: 'www.old. 300 A 192.0.2.3\n', sha1: true },
  'deep.': { text: 'www.deep. 300 A 192.0.2.4\n', nsec3: 20 },
};
const FORGED = { from: Buffer.from([192, 0, 2, 66]), to: Buffer.from([192, 0, 2, 67]) };
const NXDOMAIN = 3;

/** Answers of the tree, but for an address of `bad.` that somebody has changed. */
function forging(tree: SignedTree, query: Buffer): Buffer | undefined {
  const reply = tree.answer(query);
  const at = reply?.indexOf(FORGED.from) ?? -1;
  if (reply !== undefined && at !== -1) FORGED.to.copy(reply, at);
  return reply === undefined ? undefined : withNsec3(tree, query, reply);
}

/** A denial of `deep.` has all its NSEC3 records. */
function withNsec3(tree: SignedTree, query: Buffer, reply: Buffer): Buffer {
  if ((flagsOf(reply) & 15) !== NXDOMAIN || !query.includes('\x04deep\0')) return reply;
  const parts = takeApart(reply);
  const proofs = tree.records.filter(
    ({ type, rdata }) => type === TYPE.NSEC3 || (type === TYPE.RRSIG && rdata.readUInt16BE(0) === TYPE.NSEC3),
  );
  const changed = putTogether({ ...parts, authority: [...parts.authority, ...proofs] });
  query.copy(changed, 0, 0, 2);
  return changed;
}

interface Signed {
  readonly server: RigServer;
  readonly tree: SignedTree;
  /** A configuration with the server, the right anchors, and this. */
  with(dnssec: Json): Json;
}

async function signed(rig: Rig, change: (reply: Buffer) => Buffer = reply => reply): Promise<Signed> {
  // Where the clock is wrong, signatures are of the time that it should show.
  const tree = signedTree(ZONES, Math.max(rig.built, Math.floor(Date.now() / 1000)));
  const server = await rig.server('signed.test', {
    answer: query => {
      const reply = forging(tree, query);
      return reply === undefined ? undefined : change(reply);
    },
  });
  return {
    server,
    tree,
    with: dnssec => ({
      upstream: { servers: [server.entry] },
      dnssec: { mode: 'require', trust_anchors: tree.anchors, ...dnssec },
    }),
  };
}

/** What a client sees that wants to know about validation. */
const seen = async (rig: Rig, ...names: string[]): Promise<readonly string[]> =>
  Promise.all(names.map(async name => rig.answer(name, { dnssec: true })));

/** A row before the signed zones: what is seen of these names, and whether a name is asked for anew. */
const row = (
  option: string,
  values: readonly [unknown, unknown],
  names: readonly string[],
  expected: readonly [readonly string[], readonly string[]],
  more: { readonly title?: string; readonly change?: (reply: Buffer) => Buffer; readonly built?: number } = {},
): Row => ({
  title: `dnssec.${option}${more.title === undefined ? '' : `: ${more.title}`}`,
  options: [`dnssec.${option}`],
  cache: 'unseen',
  scene: async rig => {
    rig.built = more.built ?? 0;
    const world = await signed(rig, more.change);
    const take = (value: unknown): Json => world.with({ [option]: value === ANCHORS ? world.tree.anchors : value });
    return {
      before: take(values[0]),
      after: take(values[1]),
      facts: async () => ({ answers: await seen(rig, ...names), mode: rig.overview().dnssec }),
      expected: {
        before: { answers: expected[0], mode: modeAmong(option, values[0]) },
        after: { answers: expected[1], mode: modeAmong(option, values[1]) },
      },
    };
  },
});

const ANCHORS = 'the right ones';
const modeAmong = (option: string, value: unknown): unknown => (option === 'mode' ? value : 'require');

/** A server that says of everything that it has checked it. */
function withAd(reply: Buffer): Buffer {
  reply.writeUInt16BE(flagsOf(reply) | FLAG.AD, 2);
  return reply;
}

/** A server that leaves out all signatures and proofs. */
function stripped(reply: Buffer): Buffer {
  const parts = takeApart(reply);
  const plain = (all: typeof parts.answer): typeof parts.answer =>
    all.filter(({ type }) => type !== TYPE.RRSIG && type !== TYPE.NSEC && type !== TYPE.NSEC3);
  const made = putTogether({ ...parts, answer: plain(parts.answer), authority: plain(parts.authority) });
  reply.copy(made, 0, 0, 2);
  return made;
}

const OTHER_ANCHORS = signedTree({ '.': { text: '' } }, Math.floor(Date.now() / 1000)).anchors;
const GOOD = 'NOERROR ad 192.0.2.1';
const YEARS_SEC = 100_000_000;

/** Names in the same gap of a signed zone, and how many of them reach a server. */
const AGGRESSIVE: Row = {
  title: 'cache.aggressive_nsec',
  options: ['cache.aggressive_nsec'],
  cache: 'unseen',
  scene: async rig => {
    const { server, with: take } = await signed(rig);
    return {
      before: take({}),
      after: { ...take({}), cache: { aggressive_nsec: false } },
      facts: async () => {
        await rig.answer(rig.fresh('good'), { dnssec: true });
        const names = [rig.fresh('good'), rig.fresh('good')];
        const answers = await seen(rig, ...names);
        return { answers, asked: names.filter(name => server.asked.includes(name)).length };
      },
      expected: {
        before: { answers: ['NXDOMAIN ad', 'NXDOMAIN ad'], asked: 0 },
        after: { answers: ['NXDOMAIN ad', 'NXDOMAIN ad'], asked: 2 },
      },
    };
  },
};

/** The rows. */
export const DNSSEC: readonly Row[] = [
  AGGRESSIVE,
  row(
    'mode',
    ['require', 'off'],
    ['www.good', 'www.bad'],
    [
      [GOOD, 'SERVFAIL'],
      ['NOERROR 192.0.2.1', 'NOERROR 192.0.2.67'],
    ],
    { title: 'require and off' },
  ),
  row('mode', ['off', 'trust_ad'], ['www.good'], [['NOERROR 192.0.2.1'], [GOOD]], {
    title: 'off and trust_ad',
    change: withAd,
  }),
  row('mode', ['require', 'prefer'], ['www.good'], [['SERVFAIL'], ['NOERROR 192.0.2.1']], {
    title: 'require and prefer, with a server that strips signatures',
    change: stripped,
  }),
  row('trust_anchors', [ANCHORS, OTHER_ANCHORS], ['www.good'], [[GOOD], ['SERVFAIL']]),
  row(
    'negative_trust_anchors',
    [[], ['bad']],
    ['www.good', 'www.bad'],
    [
      [GOOD, 'SERVFAIL'],
      [GOOD, 'NOERROR 192.0.2.67'],
    ],
  ),
  row(
    'sha1',
    ['insecure', 'validate'],
    ['www.good', 'www.old'],
    [
      [GOOD, 'NOERROR 192.0.2.3'],
      [GOOD, 'NOERROR ad 192.0.2.3'],
    ],
  ),
  row(
    'max_nsec3_iterations',
    [50, 10],
    ['www.good', 'missing.deep'],
    [
      [GOOD, 'NXDOMAIN ad'],
      [GOOD, 'NXDOMAIN'],
    ],
  ),
  row('ntp_names', [['good'], ['old']], ['www.good'], [['NOERROR 192.0.2.1'], ['SERVFAIL']], {
    built: Math.floor(Date.now() / 1000) + YEARS_SEC,
  }),
  {
    title: 'dnssec.mode: what was checked before counts no more, whatever it was',
    options: ['dnssec.mode'],
    cache: 'forgotten',
    scene: async () => ({
      before: {},
      after: { dnssec: { mode: 'trust_ad' } },
      facts: async () => undefined,
      expected: { before: undefined, after: undefined },
    }),
  },
];
