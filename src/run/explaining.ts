// Explains who would answer a question: what the stages decide (pipeline/decision), with the names of lists and servers.

import { isIPv6 } from '../base/address.js';
import { failure } from '../base/outcome.js';
import type { Overview } from '../base/overview.js';
import { type Schedule, scheduleText } from '../base/schedule.js';
import { designationWords, unverifiedWords } from '../control/designation.js';
import type { Explain, Explained, ExplainedBy, ExplainedRule } from '../control/explain.js';
import { decide, type DecisionStep } from '../pipeline/decision.js';
import { Query } from '../pipeline/query.js';
import type { DecidingStage } from '../pipeline/resolver.js';
import type { Found } from '../pipeline/stages/listed.js';
import { routeFor } from '../pipeline/stages/routed.js';
import { isAboutResolver } from '../policy/own-designation.js';
import type { ListPolicy } from '../policy/lists/list-policy.js';
import { questionName, typeOfQuestion } from '../wire/compose.js';
import { FLAG } from '../wire/header.js';
import { lowerCased } from '../wire/name.js';
import { cacheKey } from '../wire/query.js';
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
  readonly overview: () => Overview;
}

/** What is told about our own listeners, if that is the question. */
function ofOurselves(question: Buffer, by: DecidingStage, overview: () => Overview): ExplainedBy | undefined {
  if (by !== 'special_names' || !isAboutResolver(nameInQuestion(question), typeOfQuestion(question))) return undefined;
  const { designation } = overview();
  const words = [designationWords(designation), unverifiedWords(designation)].flatMap(each => each ?? []);
  return { at: 'designation', words: words.join('; ') };
}

const nameInQuestion = (question: Buffer): string => lowerCased(questionName(question)).toString('latin1');

const timesText = (schedule: Schedule | undefined): string | undefined => schedule && scheduleText(schedule);

/** Makes the function. */
export function explaining({ clients, resolution, upstreams, lists, policy, overview }: ExplainingParts): Explain {
  const ruleOf = ({ choice, by }: Found): ExplainedRule => ({
    list: policy.lists.settings[choice.list]?.name ?? '',
    action: choice.action,
    source: lists.sourceText(choice.source),
    line: choice.line,
    by,
  });
  return (type, question, { address, at }) => {
    const clientClass = clients.classOf({ address, at });
    const query = Query.from(
      {
        ...{ id: 0, flags: FLAG.RD, question, type, opt: undefined, recurse: true, dnssecOk: false },
        ...{ checkingDisabled: false, key: cacheKey(question, false) },
      },
      { address, port: 0, family: isIPv6(address) ? 6 : 4, transport: 'udp', at },
      clientClass,
      clients.routesOf(clientClass),
    );
    const found: ExplainedBy[] = [];
    const { steps, changedBy, rules } = decide(resolution.deciding, query, (asked, settle) => {
      const finding = resolution.look(asked);
      if (finding.at !== 'servers') {
        const { outcome, ...by } = finding;
        found.push(by);
        return settle(outcome);
      }
      const { hasStale, isShared } = finding;
      const match = routeFor(upstreams.routes, asked);
      const { servers } = match === undefined ? upstreams.asked : match.route.upstream();
      const labels = servers.map(each => each.label);
      found.push(
        match === undefined
          ? { at: 'upstream', servers: labels, hasStale, isShared }
          : {
              at: 'route',
              zone: match.zone,
              times: timesText(upstreams.scheduleOf(match.route)),
              servers: labels,
              hasStale,
            },
      );
      settle(failure('not_ready'));
    });
    const exception = rules.find(each => each.choice.action === 'allow');
    const rule = rules.find(each => each.choice.action !== 'allow');
    const byStage = (stage: DecidingStage): ExplainedBy =>
      stage === 'list' && rule !== undefined ? { at: 'rule', rule: ruleOf(rule) } : { at: stage };
    const explained = ({ question: asked, by }: DecisionStep): Explained => ({
      question: asked,
      by:
        by === 'found'
          ? (found.shift() ?? { at: 'upstream', servers: [], hasStale: false, isShared: false })
          : (ofOurselves(asked, by, overview) ?? byStage(by)),
    });
    const view = policy.viewOf(clientClass);
    return {
      allowed: clients.mayAsk(address),
      group: view.group,
      times: timesText(policy.scheduleOf(clientClass)),
      lists: policy.lists.settings.filter((_, i) => ((view.lists >>> i) & 1) !== 0).map(list => list.name),
      exception: exception && ruleOf(exception),
      steps: steps.map(explained),
      changes: changedBy.map(byStage),
    };
  };
}
