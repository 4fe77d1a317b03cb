// Changes signed answers in all the ways of fixtures/mutations.ts, and gives them to this validator and to Unbound, whose cache is
// flushed in between. If Unbound withholds AD, this validator must, too, unless what it relays is the truth: it leaves out what
// does not belong to the answer, where Unbound refuses all of it. MUTATIONS sets how many (5,000), and SEED which ones (1).
// Debian packages: unbound nsd bind9-utils ldnsutils.

import { isDeepStrictEqual } from 'node:util';

import t from 'tap';

import { systemClock } from '../../src/os/clock.js';
import type { Outcome } from '../../src/pipeline/answer.js';
import { questionOf } from '../../src/wire/compose.js';
import { idOf, writeHeader } from '../../src/wire/header.js';
import { lowerCased, nameToText } from '../../src/wire/name.js';
import { parseQuery } from '../../src/wire/query.js';
import { TYPE, typeFromText } from '../../src/wire/rrtype.js';
import { certificate } from '../fixtures/certificates.js';
import { exchangeTcp, queryMessage, tryAsk } from '../fixtures/client.js';
import { dotServer } from '../fixtures/dot-server.js';
import { dice, mutate, putTogether, takeApart } from '../fixtures/mutations.js';
import { bench, missing } from '../fixtures/servers.js';
import {
  QUESTIONS,
  recursor,
  serveWorld,
  signWorld,
  under,
  validatingUnbound,
  WORLD_PROGRAMS,
  ZONES,
} from '../fixtures/signed-world.js';
import { validating, verdictOf } from '../fixtures/validating.js';
import { wireName } from '../fixtures/records.js';

/** Types whose RDATA holds names, in which the case of letters does not count (RFC 4034 §6.2). */
const NAMES = new Set<number>([TYPE.CNAME, TYPE.DNAME, TYPE.NS, TYPE.SOA, TYPE.MX, TYPE.SRV, TYPE.RP, TYPE.NAPTR]);
/** RCODE and data of a message, without what may differ: letters, TTLs, signatures, and the order of records. */
function saidBy(message: Buffer): readonly string[] {
  const { answer, rcode } = takeApart(message);
  const data = answer
    .filter(({ type }) => type !== TYPE.RRSIG)
    .map(
      ({ owner, type, rdata }) =>
        `${lowerCased(owner).toString('latin1')} ${type} ${(NAMES.has(type) ? lowerCased(rdata) : rdata).toString('hex')}`,
    );
  return [`${rcode}`, ...new Set(data)].sort();
}
/** The same of an answer that was made of one. */
function said(outcome: Outcome): readonly string[] {
  if (outcome.at === 'failure') return [];
  const { octets, rcode, answers, authority } = outcome.entry;
  const message = Buffer.from(octets);
  writeHeader(message, 0, rcode, { questions: 1, answers, authority, additional: 0 });
  return saidBy(message);
}

const CASES = Number(process.env['MUTATIONS'] ?? 5000);
const SEED = Number(process.env['SEED'] ?? 1);
const NTH_TARGET = 4;

await t.test(`${CASES} mutated answers`, { skip: missing(...WORLD_PROGRAMS), timeout: 3_600_000 }, async t => {
  const on = bench(t);
  const anchors = await signWorld(on.path);
  const behind = await recursor(on, await serveWorld(on, on.path));

  // The correct answers, by question in lower case.
  const truth = new Map<string, Promise<Buffer>>();
  const keyOf = (question: Buffer): string =>
    Buffer.concat([lowerCased(question.subarray(0, -4)), question.subarray(-4)]).toString('latin1');
  async function answerTo(question: Buffer): Promise<Buffer> {
    const key = keyOf(question);
    const known =
      truth.get(key) ??
      (async () => {
        const query = queryMessage(question.subarray(0, -4), {
          type: `TYPE${question.readUInt16BE(question.length - 4)}`,
          dnssec: true,
        });
        const [reply] = await exchangeTcp({ address: '127.0.0.1', port: behind.plainPort }, [query]);
        if (reply === undefined) throw new Error(`the recursor does not answer about ${nameToText(question)}`);
        return putTogether(takeApart(reply));
      })();
    truth.set(key, known);
    return known;
  }
  let forged: { readonly key: string; readonly message: Buffer } | undefined;
  const answer = async (question: Buffer): Promise<Buffer> =>
    forged?.key === keyOf(question) ? forged.message : answerTo(question);

  const server = await dotServer({
    identity: certificate({ common: 'x', names: ['dns.test'], issuer: on.ca }),
    handler: (query, session) => {
      const parsed = parseQuery(query);
      if (parsed.at !== 'query') return;
      void answer(parsed.query.question).then(message => {
        const reply = Buffer.from(message);
        reply.writeUInt16BE(idOf(query), 0);
        parsed.query.question.copy(reply, 12);
        session.reply(reply);
      });
    },
  });
  on.onEnd(async () => server.close());
  const unbound = await validatingUnbound(on, { address: '127.0.0.1', port: server.port }, anchors);

  const questions = ZONES.flatMap(({ name: zone }) =>
    QUESTIONS.flatMap(([label, types]) => types.split(' ').map(type => ({ name: under(label, zone), type }))),
  );
  const octetsOf = ({ name, type }: { name: string; type: string }): Buffer =>
    questionOf(wireName(name), typeFromText(type) ?? 0);
  /** Of what `validating` has asked. */
  const questionFrom = (asked: string): Buffer => {
    const [type = '', ...name] = asked.split(' ');
    return questionOf(Buffer.from(name.join(' '), 'latin1'), Number(type));
  };
  const fresh = () =>
    validating({
      anchors,
      upstream: answer,
      clock: systemClock,
      settings: { sha1: 'validate', maxNsec3Iterations: 150 },
    });
  const secure = new Map<string, readonly string[] | undefined>();

  const roll = dice(SEED);
  const lies: string[] = [];
  const strict: string[] = [];
  const counts = {
    'AD from both': 0,
    'AD from neither': 0,
    'AD from Unbound alone': 0,
    'AD from us alone': 0,
    'AD from us alone, for the truth': 0,
  };
  for (let cases = 0; cases < CASES;) {
    const question = questions[roll.below(questions.length)];
    const other = questions[roll.below(questions.length)];
    if (question === undefined || other === undefined) break;
    // An answer that is not secure from the start is not worth changing.
    const key = `${question.type} ${question.name}`;
    forged = undefined;
    if (!secure.has(key)) {
      const first = fresh();
      const usable = verdictOf(await first.ask(question.name, question.type)) === 'secure';
      // A DS that does not exist may have been queried speculatively. Only Unbound takes every label for a zone cut.
      const links = await Promise.all(
        first.asked.map(async each => ({
          each,
          found: takeApart(await answerTo(questionFrom(each))).answer.length > 0,
        })),
      );
      secure.set(key, usable ? links.filter(({ found }) => found).map(({ each }) => each) : undefined);
    }
    const asked = secure.get(key);
    if (asked === undefined) continue;
    cases++;
    // Mostly the answer itself is changed, sometimes one for the chain of trust.
    const target = roll.below(NTH_TARGET) === 0 ? asked[roll.below(asked.length)] : undefined;
    const changed = target === undefined ? octetsOf(question) : questionFrom(target);
    const parts = takeApart(await answerTo(changed));
    const what = mutate(parts, takeApart(await answerTo(octetsOf(other))), roll);
    forged = { key: keyOf(changed), message: putTogether(parts) };
    const outcome = await fresh().ask(question.name, question.type);
    const ours = verdictOf(outcome);
    await unbound.forget();
    // Unbound may take long for a bad answer. No answer counts as one without AD.
    const told = await tryAsk(unbound, question.name, {
      type: question.type,
      dnssec: true,
      timeoutMs: ours === 'secure' ? 10_000 : 1000,
    });
    const both = `${ours === 'secure' ? 'us' : ''} ${told?.text.flags.includes('ad') === true ? 'Unbound' : ''}`;
    const about = `case ${cases}: ${key}${target === undefined ? '' : ` (${target.slice(0, 3)}${nameToText(Buffer.from(target.slice(target.indexOf(' ') + 1), 'latin1'))})`}: ${what} [other: ${other.type} ${other.name}]: ${ours}, Unbound ${told?.text.rcode ?? 'silent'}`;
    if (both === 'us Unbound') counts['AD from both']++;
    else if (both === ' ') counts['AD from neither']++;
    else if (both === 'us ' && isDeepStrictEqual(said(outcome), saidBy(await answerTo(octetsOf(question)))))
      counts['AD from us alone, for the truth']++;
    else if (both === 'us ') {
      counts['AD from us alone']++;
      lies.push(about);
      t.comment(about);
    } else {
      counts['AD from Unbound alone']++;
      strict.push(about);
    }
  }
  t.comment(
    `${CASES} cases, seed ${SEED}: ${Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')}`,
  );
  if (process.env['SHOW'] !== undefined) for (const each of strict) t.comment(each);
  t.same(lies, []);
  t.ok(counts['AD from both'] > CASES / 100, 'harmless changes leave AD');
  t.ok(counts['AD from neither'] > CASES / 4, 'other changes remove it');
});
