// The table against a plain map, and hostile files. LISTS_RUNS sets how many files.

import fc from 'fast-check';
import t from 'tap';

import { LIST_FORMATS } from '../../../src/policy/lists/rule.js';
import { listsOf, verdict } from '../../fixtures/lists.js';

// With many files it takes minutes.
t.setTimeout(1_200_000);

const label = fc.stringMatching(/^[a-c][a-c0-9-]{0,2}$/);
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map(labels => labels.join('.'));

/** What is asked: exactly the rules of a list, one by one. */
function expected(rules: readonly { readonly name: string; readonly below: boolean }[], asked: string): boolean {
  return rules.some(rule => asked === rule.name || (rule.below && asked.endsWith(`.${rule.name}`)));
}

await t.test('a search finds exactly the names that are on the list, whatever else is there', async t => {
  const rules = fc.array(fc.record({ name, below: fc.boolean() }), { maxLength: 60 });
  const key = fc.record({ first: fc.integer(), second: fc.integer() });
  fc.assert(
    fc.property(
      rules,
      fc.array(name, { maxLength: 30 }),
      key,
      fc.integer({ min: 1, max: 50 }),
      (all, asked, key, bytes) => {
        const lists = listsOf(
          [{ text: all.map(each => (each.below ? `*.${each.name}` : each.name)).join('\n') }],
          bytes,
          key,
        );
        return asked.every(each => (verdict(lists, each) !== undefined) === expected(all, each));
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});

await t.test(
  'many names: each is found at its own line, others are not, and a name takes less than 20 octets',
  async t => {
    const COUNT = 50_000;
    const text = Array.from({ length: COUNT }, (_, i) => `n${i}.zone${i % 997}.example`).join('\n');
    const lists = listsOf([{ text }]);
    t.equal(lists.table.rules, COUNT);
    t.ok(lists.compiled.table.byteLength < 20 * COUNT, `${lists.compiled.table.byteLength / COUNT} octets`);
    for (let i = 0; i < COUNT; i += 7) {
      if (verdict(lists, `n${i}.zone${i % 997}.example`) !== `nxdomain list0:${i + 1}`) t.fail(`n${i}`);
      if (verdict(lists, `m${i}.zone${i % 997}.example`) !== undefined) t.fail(`m${i}`);
    }
  },
);

await t.test('a rule that a source has twice is in the table once, and that of two lists twice', async t => {
  t.equal(listsOf([{ text: 'a.example\nb.example\na.example' }]).table.rules, 2);
  t.equal(listsOf([{ text: 'a.example' }, { text: 'a.example' }]).table.rules, 2);
});

const piece = fc.oneof(
  fc.constantFrom(
    '||',
    '@@',
    '|',
    '^',
    '$important',
    '$client=',
    '$denyallow=',
    ',',
    '~',
    '##',
    '/',
    '*',
    '*.',
    '.',
    ' ',
  ),
  fc.constantFrom('\n', '\r\n', '\t', '#', '!', '0.0.0.0 ', ':: ', '127.0.0.1\t', '\0', '\xff', '\xef\xbb\xbf'),
  fc.constantFrom(
    '$ORIGIN x.',
    '$TTL 1h\n',
    '@ SOA a. b. 1 2 3 4 5\n',
    ' CNAME .',
    ' CNAME *.',
    ' A 192.0.2.1',
    '(',
    ')',
    '"',
    ';',
  ),
  fc.constantFrom(
    '.rpz-ip',
    '.rpz-nsdname',
    '24.0.2.0.192',
    '999.zz.zz.1',
    ' CNAME rpz-passthru.',
    ' TXT "',
    'rpz-tcp-only.',
  ),
  name,
  fc.string({ maxLength: 8 }),
  fc.constantFrom('a'.repeat(64), 'b.'.repeat(130), 'x'.repeat(9000)),
);
const file = fc.oneof(
  fc.array(piece, { maxLength: 60 }).map(pieces => Buffer.from(pieces.join(''), 'latin1')),
  fc.uint8Array({ maxLength: 300 }).map(octets => Buffer.from(octets)),
);

await t.test(
  'any file in any format: nothing throws, chunks make no difference, and told lines are lines of the file',
  async t => {
    const runs = Number(process.env['LISTS_RUNS'] ?? 3000);
    fc.assert(
      fc.property(file, fc.constantFrom(...LIST_FORMATS), fc.integer({ min: 1, max: 100 }), (text, format, bytes) => {
        const lists = listsOf([{ text, format }], bytes);
        const whole = listsOf([{ text, format }]);
        const [report] = lists.compiled.sources;
        verdict(lists, 'a.b.c');
        const told = report?.told ?? [];
        return (
          JSON.stringify(report) === JSON.stringify(whole.compiled.sources[0]) &&
          told.every(({ line, text: shown }) => line >= 1 && line <= (report?.lines ?? 0) && shown.length <= 80)
        );
      }),
      { numRuns: runs },
    );
    t.pass();
  },
);

await t.test('the time for a file grows with its size, whatever is in it', async t => {
  for (const text of ['(', '"', '@@||a^$', 'a.', '$client=a|', ' ', '0.0.0.0 ', '\n(', '\n"'])
    for (const format of LIST_FORMATS) {
      const octets = Buffer.from(text.repeat(200_000));
      const { user } = process.cpuUsage();
      listsOf([{ text: octets, format }]);
      t.ok(process.cpuUsage().user - user < 8e6, `${JSON.stringify(text)} as ${format}`);
    }
});
