// The list of options (config/options), and what the documents say about changing one.

import t from 'tap';

import { defaultConfig } from '../../src/config/check.js';
import { OPTIONS, optionText } from '../../src/config/options.js';
import { exampleFile, jsonSchema, optionsPage } from '../../src/config/render.js';
import { configurationManual } from '../fixtures/manual.js';

const NOTE = 'Needs a restart.';

/** The cells of the rows in docs/options.md, by option; a list of groups has one entry per field. */
const cells = new Map(
  optionsPage()
    .replace(/^## Presets[^]*/m, '')
    .split('\n')
    .filter(line => line.startsWith('| `'))
    .map(line => {
      const [, path = '', , change = ''] = line.split(/(?<!\\)\|/).map(cell => cell.trim());
      return [path.replaceAll('`', ''), change] as const;
    }),
);

await t.test('every option has a value in every configuration, as text', async t => {
  t.ok(OPTIONS.length > 40);
  for (const { path } of OPTIONS) t.type(optionText(defaultConfig(), path), 'string', path);
  t.equal(optionText(defaultConfig(), 'cache.size'), String(16 * 1024 ** 2));
  t.equal(optionText(defaultConfig(), 'preset'), '', 'an option without a value');
});

await t.test('docs/options.md says for each option whether a change needs a reload or a restart', async t => {
  for (const { path, change } of OPTIONS) {
    const expected = change === 'defaults' ? '' : change;
    const fields = [...cells].filter(([cell]) => cell === path || cell.startsWith(`${path}[].`));
    t.ok(fields.length > 0, path);
    for (const [cell, text] of fields) t.equal(text, expected, cell);
  }
  t.equal(cells.get('preset'), '', 'a preset only chooses defaults of others');
  t.ok([...cells.values()].includes('restart'));
});

await t.test('example file, manual and JSON schema note a restart exactly where an option needs one', async t => {
  const needed = OPTIONS.filter(({ change }) => change === 'restart').length;
  const notes = (text: string): number => text.replace(/\n *# /g, ' ').split(NOTE).length - 1;
  t.equal(notes(exampleFile()), needed + 1, 'one for each option, and one in the heading');
  t.equal(notes(configurationManual('0.0.0')), needed + 1);
  t.equal(notes(jsonSchema()), needed);
});
