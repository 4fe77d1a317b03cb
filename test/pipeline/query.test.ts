import t from 'tap';

import { Query } from '../../src/pipeline/query.js';
import { parseQuery } from '../../src/wire/query.js';
import { queryMessage } from '../fixtures/client.js';

const parsed = parseQuery(queryMessage('WwW.eXample', { type: 'TYPE65', dnssec: false }));
if (parsed.at !== 'query') throw new Error('not a query');
const query = Query.from(parsed.query, { address: '192.0.2.1', port: 5, family: 4, transport: 'tls' });

await t.test('a derived query differs in what was said, and in nothing else', t => {
  const fields = (each: Query): Record<string, unknown> => ({
    ...Object.fromEntries(Object.entries(each)),
    name: each.name,
    lowerCasedName: each.name,
  });
  const changes = { dnssecOk: true, checkingDisabled: true, avoid: [7], purpose: 'refresh' as const };
  t.same(fields(query.derive({})), fields(query));
  t.same(fields(query.derive(changes)), { ...fields(query), ...changes });
  for (const [name, value] of Object.entries(changes))
    t.same(fields(query.derive({ [name]: value })), { ...fields(query), [name]: value }, name);
  t.end();
});

await t.test('its name is in lower case, however it was sent; its question is as it was sent', t => {
  t.same(query.name, Buffer.from('\x03www\x07example\0'));
  t.match(query.question.toString('latin1'), /^\x03WwW\x07eXample/);
  t.end();
});
