// What RLIMIT_NOFILE leaves room for.

import t from 'tap';

import { connectionCaps, mostCaps, openFiles } from '../../src/os/limits.js';

const MOST = mostCaps(1000);

await t.test('with a high or unknown limit of open files, the caps are the most that is needed', t => {
  for (const limit of [3400, 65_536, 1_048_576, undefined])
    t.match(connectionCaps({ limit, open: 30 }, 1, 3, 1000), { caps: MOST, words: undefined }, `${limit}`);
  const spare = (limit: number): number => connectionCaps({ limit, open: 30 }, 1, 3, 1000).spare;
  t.equal(spare(65_536) - spare(3400), 65_536 - 3400);
  t.ok(spare(3400) >= 0);
  t.end();
});

await t.test('where they are few, all that may be open fits into them, and one sentence says so', t => {
  for (let limit = 80; limit < 3200; limit++) {
    const { caps, words = '' } = connectionCaps({ limit, open: 24 }, 1, 3, 1000);
    const numbers = [caps.tcp, caps.tls, caps.https, caps.http, caps.control, caps.upstream];
    const all = numbers.reduce((sum, each) => sum + each, 0);
    if (24 + all > limit - 20 || Math.min(...numbers) < 1) t.fail(`${limit}: ${JSON.stringify(caps)}`);
    if (!words.includes(`at most ${limit} files`) || !words.includes(`${caps.tcp} sessions of clients over TCP`))
      t.fail(words);
  }
  t.end();
});

await t.test('however few there are, something of everything is left', t => {
  for (const limit of [0, 10, 40, 64]) {
    const { caps } = connectionCaps({ limit, open: 30 }, 4, 4, 1000);
    t.same(caps, { tcp: 2, tls: 2, https: 2, http: 1, control: 1, upstream: 2 });
  }
  t.end();
});

await t.test('the limit in force is read from the system', { skip: process.platform !== 'linux' }, t => {
  const { limit, open } = openFiles();
  t.ok(limit === undefined || limit > open);
  t.ok(open > 3);
  t.end();
});
