import t from 'tap';

import { logger } from '../../src/observe/log.js';

function logged(options: Parameters<typeof logger>[0], isTTY = false): string[] {
  const lines: string[] = [];
  const log = logger(options, { isTTY, write: text => lines.push(text) });
  log.debug({ a: 1 }, 'details');
  log.warn({ upstream: 'dns.test', reason: 'timeout' }, 'no answer');
  return lines;
}

await t.test('JSON lines, one per event, with level as a word and time in UTC', t => {
  const [line = '', ...rest] = logged({ level: 'info', format: 'auto' });
  t.same(rest, [], 'below the level nothing is written');
  t.match(JSON.parse(line), {
    level: 'warn',
    upstream: 'dns.test',
    reason: 'timeout',
    msg: 'no answer',
    time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
  });
  t.ok(line.endsWith('\n'));
  t.end();
});

await t.test('text for people', t => {
  t.match(
    logged({ level: 'debug', format: 'text' })[1],
    /^\d\d:\d\d:\d\d WARN {2}no answer upstream=dns\.test reason=timeout\n$/,
  );
  t.match(logged({ level: 'info', format: 'auto' }, true)[0], /\x1b\[33mWARN/, 'in colour on a terminal');
  t.end();
});
