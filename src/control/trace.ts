// The `trace` command of the control socket: validates a question step by step from the trust anchor down, without the
// caches.

import { failureRow, failureWords } from '../base/outcome.js';
import { visible } from '../base/visible.js';
import { nameText } from '../dnssec/name.js';
import type { Traced } from '../pipeline/trace.js';
import { edeToText } from '../wire/ede.js';
import { nameFromText } from '../wire/name.js';
import { rcodeToText } from '../wire/rcode.js';
import { typeFromText } from '../wire/rrtype.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

/** Makes the command. */
export const traceCommand = (trace: (name: Buffer, type: number) => Promise<Traced>): ControlCommand => ({
  async run([nameArg = '', typeArg = 'A']) {
    const name = nameFromText(nameArg);
    const type = typeFromText(typeArg);
    if (name === undefined) return { ok: false, problem: `${JSON.stringify(nameArg)} is not a domain name` };
    if (type === undefined) return { ok: false, problem: `${JSON.stringify(typeArg)} is not a record type` };
    return told(`${nameText(name.toString('latin1'))} ${typeArg.toUpperCase()}`, await trace(name, type));
  },
});

function told(what: string, { steps, outcome, questions, ms }: Traced): ControlReply {
  const lines = steps.map(({ zone, words }) => ({ zone: nameText(zone), words }));
  const width = Math.min(40, Math.max(...lines.map(({ zone }) => zone.length)));
  const end =
    outcome.at === 'failure'
      ? {
          verdict: 'bogus',
          rcode: rcodeToText(failureRow(outcome.code).rcode),
          reason: failureWords(outcome),
          ede: failureRow(outcome.code).ede,
        }
      : {
          verdict: outcome.entry.verdict,
          rcode: rcodeToText(outcome.entry.rcode),
          upstream: outcome.entry.upstream,
          protocol: outcome.entry.protocol,
          ede: outcome.entry.extendedErrors[0]?.infoCode,
          reason: outcome.entry.extendedErrors[0]?.text,
        };
  const verdict = outcome.at === 'failure' && outcome.code === 'dnssec_indeterminate' ? 'indeterminate' : end.verdict;
  const cost = `${questions} question${questions === 1 ? '' : 's'}, ${ms.toFixed(1)} ms`;
  return {
    ok: true,
    data: { question: what, steps: lines, ...end, verdict, questions, ms },
    text: [
      ...lines.map(({ zone, words }) => `${zone.padEnd(width)}  ${visible(words)}`),
      '',
      `${what}: ${verdict} (${end.rcode}${end.upstream === undefined ? '' : `, ${end.upstream} over ${end.protocol}`}; ${cost})`,
      ...(end.reason === undefined || end.reason === ''
        ? []
        : [visible(`${end.ede === undefined ? '' : `${edeToText(end.ede)}: `}${end.reason}`)]),
    ].join('\n'),
  };
}
