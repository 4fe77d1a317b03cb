// Explains who would answer a question, in the order of the stages (pipeline/resolver).

import type { Explain, Explained, ExplainedRule } from '../control/explain.js';
import { Answer } from '../pipeline/answer.js';
import { type Found, ruleOfAnswer } from '../pipeline/stages/listed.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import { routeOf } from '../policy/routes.js';
import { TYPE } from '../wire/rrtype.js';
import type { Clients } from './clients.js';
import type { ListService } from './list-service.js';
import type { Resolution } from './resolution.js';
import type { Upstreams } from './upstreams.js';

/** The parts that are asked. */
export interface ExplainingParts {
  readonly clients: Clients;
  readonly resolution: Resolution;
  readonly upstreams: Upstreams;
  readonly lists: ListService;
  readonly policy: ListPolicy;
}

/** Makes the function. */
export function explaining({ clients, resolution, upstreams, lists, policy }: ExplainingParts): Explain {
  const ruleOf = ({ choice, by }: Found): ExplainedRule => ({
    list: policy.lists.settings[choice.list]?.name ?? '',
    action: choice.action,
    source: lists.sourceText(choice.source),
    line: choice.line,
    by,
  });
  return (name, type, question, address) => {
    const clientClass = clients.classOf(address);
    const view = policy.viewOf(clientClass);
    const hasRoutes = clients.hasRoutes(clientClass);
    const own = policy.lists.ofName(view, name);
    const exception = own?.action === 'allow' ? ruleOf({ choice: own, by: '' }) : undefined;
    const decide = (): Explained => {
      if (type === TYPE.ANY) return { at: 'any' };
      if (resolution.portal.leftMs > 0 && resolution.portal.covers(name)) return { at: 'portal' };
      if (own !== undefined && exception === undefined) return { at: 'list', rule: ruleOf({ choice: own, by: '' }) };
      const cached = resolution.cachedEntry(question, hasRoutes);
      if (cached !== undefined) {
        const { entry, leftSec } = cached;
        const met =
          exception === undefined ? ruleOfAnswer(policy, view, question.length, Answer.cached(entry)) : undefined;
        if (met !== undefined && met.choice.action !== 'allow') return { at: 'list', rule: ruleOf(met) };
        return { at: 'cache', leftSec, upstream: entry.upstream };
      }
      const match = hasRoutes ? routeOf(upstreams.routes, name) : undefined;
      const labels = (servers: readonly { readonly label: string }[]): readonly string[] =>
        servers.map(each => each.label);
      return match === undefined
        ? { at: 'upstream', servers: labels(upstreams.asked.servers) }
        : { at: 'route', zone: match.zone, servers: labels(match.route.upstream().servers) };
    };
    const looked = policy.lists.settings.filter((_, i) => ((view.lists >>> i) & 1) !== 0).map(list => list.name);
    return { allowed: clients.mayAsk(address), group: view.group, lists: looked, exception, by: decide() };
  };
}
