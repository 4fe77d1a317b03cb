// The `lists` command of the control socket: what lists there are, and pauses.

import type { ListsOverview } from '../base/overview.js';
import { durationText } from '../base/rates.js';
import { visible } from '../base/visible.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import { durationMs } from './duration.js';
import type { ControlReply } from './protocol.js';
import type { ControlCommand } from './server.js';

/** The parts that the command uses. */
export interface ListsParts {
  readonly overview: ListsOverview;
  /** Fetches and reads lists now. @param name undefined: all. @returns what could not be done */
  refresh(name: string | undefined): Promise<readonly string[]>;
  /** Pauses or resumes. */
  paused(change: (policy: ListPolicy) => void): void;
  hasGroup(name: string): boolean;
}

const DAY_MS = 86_400_000;
const GROUP_OPTION = '--client-group';

/** Makes the command. */
export const listsCommand = (parts: ListsParts): ControlCommand => ({
  async run([what = 'status', ...words]) {
    const { group, rest } = groupOf(words);
    if (group !== undefined && !parts.hasGroup(group))
      return { ok: false, problem: `there is no group ${JSON.stringify(group)} in clients` };
    switch (what) {
      case 'status':
        return told(parts.overview);
      case 'refresh':
        return refreshed(parts, rest[0]);
      case 'pause': {
        const forMs = durationMs(rest[0] ?? '');
        if (forMs === undefined || forMs < 1000 || forMs > DAY_MS)
          return {
            ok: false,
            problem: `lists pause needs a duration such as 5m, 1s to 1d${rest[0] === undefined ? '' : `; ${rest[0]} is none`}`,
          };
        parts.paused(policy => policy.pause(group, forMs));
        return told(parts.overview);
      }
      case 'resume':
        parts.paused(policy => policy.resume(group));
        return told(parts.overview);
      default:
        return { ok: false, problem: `lists ${what}: there are status, refresh, pause and resume` };
    }
  },
});

/** Takes the option with the group out of the words. */
function groupOf(words: readonly string[]): { readonly group: string | undefined; readonly rest: readonly string[] } {
  const at = words.indexOf(GROUP_OPTION);
  return at === -1 ? { group: undefined, rest: words } : { group: words[at + 1] ?? '', rest: words.toSpliced(at, 2) };
}

async function refreshed(parts: ListsParts, name: string | undefined): Promise<ControlReply> {
  const { lists } = parts.overview;
  if (name !== undefined && !lists.some(list => list.name === name)) {
    const names = lists.length === 0 ? 'none' : lists.map(list => list.name).join(', ');
    return { ok: false, problem: `there is no list ${JSON.stringify(name)}; there are: ${names}` };
  }
  const problems = await parts.refresh(name);
  return problems.length > 0 ? { ok: false, problem: problems.join('\n') } : told(parts.overview);
}

const ageText = (ageMs: number | undefined): string =>
  ageMs === undefined ? '' : `, checked ${durationText(Math.round(ageMs / 1000)) || 'just now'} ago`;

function told(seen: ListsOverview): ControlReply {
  const { lists, paused, bytes } = seen;
  if (lists.length === 0) return { ok: true, text: 'There is no list (lists in the configuration).', data: seen };
  const lines = [
    `${lists.reduce((sum, { rules }) => sum + rules, 0)} rules in ${(bytes / 2 ** 20).toFixed(1)} MiB`,
    ...paused.map(
      ({ group, leftMs }) => `paused for ${group ?? 'everybody'}: ${durationText(Math.ceil(leftMs / 1000))} more`,
    ),
    ...lists.flatMap(({ name, action, rules, sources }) => [
      `${name}: ${rules} rules, ${action}`,
      ...sources.flatMap(({ source, rules: own, ageMs, skipped, problem }) => [
        `  ${source}: ${own} rules${ageText(ageMs)}`,
        ...skipped.map(({ why, count }) => `    ${count} lines are not used: ${why}`),
        ...(problem === undefined ? [] : [`    ${problem}${own > 0 ? '; its rules of before are in force' : ''}`]),
      ]),
    ]),
  ];
  return { ok: true, text: lines.map(visible).join('\n'), data: seen };
}
