// Writes the schema as the example file, as JSON Schema for editors and as a page of tables, and a configuration as the file that
// produces it. The YAML is simple enough to be written without a library.

import { type Config, PRESETS, schema } from './schema.js';
import { changeOf } from './options.js';
import { presets } from './presets.js';
import type { Fields, ListRow, OptionRow, SchemaRow } from './shape.js';

const COMMENT_WIDTH = 110;

/** The complete example: every option with its help, what is allowed and its default. Without a default it is commented out. */
export function exampleFile(): string {
  return `# yaml-language-server: $schema=./dotstub.schema.json
#
# Every option of dotstub with its default. No option is required: an empty file is valid.
# Durations take ms, s, m, h, d; a bare number is seconds. Sizes take B, KiB, MiB, GiB; a bare number is bytes.
# Check a file with: dotstub check-config FILE
# A reload (SIGHUP, dotstub reload) brings changes into force, except where an option says "Needs a restart."

${exampleFields(schema, '')
  .join('\n')
  .replace(/\n{3,}/g, '\n\n')
  .trimEnd()}
`;
}

function exampleFields(rows: Fields, indent: string): string[] {
  return Object.entries(rows).flatMap(([key, row]) => {
    const comment = [...wrapped(helpText(row), indent), ...allowedLine(row, indent)];
    const gap = indent === '' ? [''] : [];
    return [...gap, ...comment, ...exampleValue(key, row, indent)];
  });
}

/** The help of a row, with a note if a change needs a restart. */
export const helpText = (row: SchemaRow): string =>
  'kind' in row && changeOf(row) === 'restart' ? `${row.help} Needs a restart.` : row.help;

function allowedLine(row: SchemaRow, indent: string): string[] {
  if (row.row === 'group' || row.row === 'groups') return [];
  return wrapped(`${row.row === 'list' ? 'Each: ' : ''}${row.kind.allowed}`, indent);
}

function exampleValue(key: string, row: SchemaRow, indent: string): string[] {
  switch (row.row) {
    case 'group':
      return [`${indent}${key}:`, ...exampleFields(row.fields, `${indent}  `)];
    case 'groups': {
      const fields = Object.entries(row.fields).flatMap(([name, field]) =>
        wrapped(
          `- ${name}: ${helpText(field)}${'kind' in field ? ` (${field.row === 'list' ? 'each ' : ''}${field.kind.allowed})` : ''}`,
          indent,
        ),
      );
      const sample = Object.entries(row.fields).map(
        ([name, field], i) =>
          `${indent}#   ${i === 0 ? '- ' : '  '}${exampleValue(name, field, '').join('').replace(/^# /, '')}`,
      );
      return [...fields, `${indent}# ${key}:`, ...sample];
    }
    case 'option':
      if (row.default !== undefined) return [`${indent}${key}: ${scalar(row.kind.write(row.default))}`];
      return [`${indent}# ${key}: ${scalar(row.kind.write(row.example))}`];
    case 'list': {
      const shown = row.default.length > 0 ? row.default : (row.example ?? []);
      const line = `${key}: [${shown.map(each => flowScalar(row.kind.write(each))).join(', ')}]`;
      return [`${indent}${row.default.length > 0 ? '' : '# '}${line}`];
    }
  }
}

/** Text as comment lines of at most COMMENT_WIDTH columns. */
function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && indent.length + 2 + line.length + 1 + word.length > COMMENT_WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map(each => `${indent}# ${each}`);
}

/** The file that produces a configuration. */
export const configFile = (config: Config): string => `${fieldLines(schema, config, '').join('\n')}\n`;

function fieldLines(rows: Fields, values: Readonly<Record<string, unknown>>, indent: string): string[] {
  return Object.entries(rows).flatMap(([key, row]) => {
    const value = values[key];
    if (value === undefined) return [];
    switch (row.row) {
      case 'group': {
        const lines = fieldLines(row.fields, asValues(value), `${indent}  `);
        return lines.length === 0 ? [] : [`${indent}${key}:`, ...lines];
      }
      case 'groups': {
        const entries = asList(value).map(each => fieldLines(row.fields, asValues(each), `${indent}    `));
        if (entries.length === 0) return [`${indent}${key}: []`];
        return [
          `${indent}${key}:`,
          ...entries.flatMap(([first = '', ...rest]) => [`${indent}  - ${first.trimStart()}`, ...rest]),
        ];
      }
      case 'list':
        return [
          `${indent}${key}: [${asList(value)
            .map(each => flowScalar(row.kind.write(each)))
            .join(', ')}]`,
        ];
      case 'option':
        return [`${indent}${key}: ${scalar(row.kind.write(value))}`];
    }
  });
}

// Config's type follows from the schema, but a walk over the schema loses it. These two check the value again.
function asValues(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError('a group holds fields');
  return Object.fromEntries(Object.entries(value));
}
function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('a list row holds a list');
  return value;
}

/** A YAML scalar: plain if all readers agree on it, else quoted. */
function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z0-9/][A-Za-z0-9_./-]*(:\d+)?$/.test(value) &&
    !/^(true|false|null|[\d.]+|0[xo].*|\d+e\d+)$/i.test(value)
    ? value
    : JSON.stringify(value);
}

/** A YAML scalar inside [ ], where some readers take a colon for a mapping. */
const flowScalar = (value: string | number | boolean): string =>
  typeof value === 'string' && value.includes(':') ? JSON.stringify(value) : scalar(value);

/** JSON Schema (draft 2020-12) for editors. */
export function jsonSchema(): string {
  return `${JSON.stringify(
    {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'dotstub configuration',
      ...objectSchema(schema),
    },
    undefined,
    2,
  )}\n`;
}

const objectSchema = (rows: Fields): Record<string, unknown> => ({
  type: 'object',
  additionalProperties: false,
  properties: Object.fromEntries(Object.entries(rows).map(([key, row]) => [key, rowSchema(row)])),
});

function rowSchema(row: SchemaRow): Record<string, unknown> {
  switch (row.row) {
    case 'group':
      return { description: row.help, ...objectSchema(row.fields) };
    case 'groups':
      return { description: row.help, type: 'array', maxItems: row.most, items: objectSchema(row.fields) };
    case 'list':
      return {
        ...about(row),
        type: 'array',
        maxItems: row.most,
        items: row.kind.schema,
        default: row.default.map(each => row.kind.write(each)),
      };
    case 'option':
      return {
        ...about(row),
        ...row.kind.schema,
        ...(row.default === undefined ? {} : { default: row.kind.write(row.default) }),
      };
  }
}

const about = (row: OptionRow<unknown, unknown> | ListRow<unknown>): Record<string, unknown> => ({
  description: `${helpText(row)} Allowed: ${row.kind.allowed}.`,
});

/** docs/options.md: all options, and what the presets set. */
export const optionsPage = (): string => `# Options

Written by "npm run render" from the schema. The file is YAML, so it may be JSON. No option is required: an empty file is
valid. Durations take ms, s, m, h or d; a bare number is seconds. Sizes take B, KiB, MiB or GiB; a bare number is bytes.

The column "change" says what brings a changed value into force: a reload, or a restart. The rows without it have no
effect of their own yet, or only choose defaults.

${optionSections().join('\n\n')}

## Presets

A preset sets these defaults. Values in the file override them.

${presetTable()}
`;

/** A table of the options that are in no group, then a section for each group. */
function optionSections(): string[] {
  const heading = ['option', 'default', 'change', 'what it does, and what is allowed'];
  const rows: Fields = schema;
  const alone = Object.entries(rows).filter(([, row]) => row.row === 'option' || row.row === 'list');
  const sections = Object.entries(rows).flatMap(([key, row]) =>
    row.row === 'group' || row.row === 'groups'
      ? [`## ${key}`, row.help, markdownTable([heading, ...tableRows({ [key]: row }, '')])]
      : [],
  );
  return [markdownTable([heading, ...tableRows(Object.fromEntries(alone), '')]), ...sections];
}

/** What the presets set, and what counts without one. Empty cells: left out. */
function presetTable(): string {
  const defaults = new Map(tableRows(schema, '').map(([name = '', fallback = '']) => [name, fallback]));
  const paths = new Set(PRESETS.flatMap(preset => Object.keys(presets[preset])));
  return markdownTable([
    ['option', 'without a preset', ...PRESETS],
    ...[...paths].map(path => {
      const name = `\`${path}\``;
      const fallback = defaults.get(name) ?? '';
      const cells = PRESETS.map(preset => {
        const value = presets[preset][path];
        if (value === undefined) return fallback;
        return `\`${Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? value : JSON.stringify(value)}\``;
      });
      return [name, fallback, ...cells];
    }),
  ]);
}

/** A table; the first row is the heading. */
function markdownTable([heading = [], ...rows]: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell => cell.replace(/\|/g, '\\|')).join(' | ')} |`;
  return [line(heading), `|${'---|'.repeat(heading.length)}`, ...rows.map(line)].join('\n');
}

/** What brings a change into force; empty for options that have no effect of their own. */
function changeCell(row: OptionRow<unknown, unknown> | ListRow<unknown>): string {
  const change = changeOf(row);
  return change === 'defaults' ? '' : change;
}

function tableRows(rows: Fields, path: string): string[][] {
  return Object.entries(rows).flatMap(([key, row]) => {
    const name = path === '' ? key : `${path}.${key}`;
    if (row.row === 'group') return tableRows(row.fields, name);
    if (row.row === 'groups') return tableRows(row.fields, `${name}[]`);
    const fallback =
      row.row === 'list'
        ? row.default.map(each => row.kind.write(each)).join(', ')
        : row.default === undefined
          ? ''
          : String(row.kind.write(row.default));
    return [
      [
        `\`${name}\``,
        fallback === '' ? '' : `\`${fallback}\``,
        changeCell(row),
        `${row.help} (${row.row === 'list' ? 'each ' : ''}${row.kind.allowed})`,
      ],
    ];
  });
}
