// The words of `dotstub explain`.

import t from 'tap';

import { explainCommand, type ExplainedBy } from '../../src/control/explain.js';
import { wireName } from '../fixtures/records.js';

/** What is said about a question that is answered so. */
async function answerLine(by: ExplainedBy): Promise<string> {
  const command = explainCommand((_type, question) => ({
    ...{ allowed: true, group: undefined, times: undefined, lists: [], exception: undefined, changes: [] },
    steps: [{ question, by }],
  }));
  const reply = await command.run(['www.example']);
  return (reply.ok ? reply.text : reply.problem)
    .split('\n')
    .filter(line => line.startsWith('answer'))
    .map(line => line.replace(/^answer +/, ''))
    .join('\n');
}

await t.test('each way to an answer has words of its own, which name who would be asked, and nobody else', async t => {
  const servers = ['dns.test'];
  const upstream = 'dns.test';
  const zone = wireName('cluster.local');
  const stale = 'while they do not answer, an expired answer is given (cache.serve_stale)';
  const unless = 'unless the store of the replicas has the answer (cache.shared): it was not looked at';
  const expected: readonly (readonly [ExplainedBy, string])[] = [
    [{ at: 'cache', leftSec: 7, upstream }, 'from the cache, for 7 s more; dns.test sent it'],
    [
      { at: 'restored', leftSec: 7, upstream },
      'from the cache, for 7 s more; dns.test sent it; it is from before the restart, and must be validated again',
    ],
    [{ at: 'stale', upstream }, 'from the cache, although it has expired (cache.serve_stale); dns.test sent it'],
    [{ at: 'denial' }, 'made of what its zone has proven about other names (cache.aggressive_nsec)'],
    [{ at: 'failure', leftSec: 7, words: 'no reply' }, 'the failure of a moment ago, for 7 s more: no reply'],
    [
      { at: 'no_cluster_name', zone },
      'made here: the cluster of the route for cluster.local. has no such name (routes[].kubernetes)',
    ],
    [{ at: 'upstream', servers, hasStale: false, isShared: false }, 'of dns.test, which would be asked'],
    [{ at: 'upstream', servers, hasStale: true, isShared: false }, `of dns.test, which would be asked; ${stale}`],
    [
      { at: 'upstream', servers, hasStale: true, isShared: true },
      `of dns.test, which would be asked, ${unless}; ${stale}`,
    ],
    [
      { at: 'route', zone, times: undefined, servers, hasStale: true },
      `of the route for cluster.local.: dns.test would be asked; ${stale}`,
    ],
    [
      { at: 'route', zone, times: 'mon,fri 08:00-18:00', servers, hasStale: false },
      'of the route for cluster.local. (at mon,fri 08:00-18:00): dns.test would be asked',
    ],
  ];
  for (const [by, words] of expected) t.equal(await answerLine(by), words);
});
