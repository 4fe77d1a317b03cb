// The schema, written out: as the example file, as JSON Schema for editors, as the README's table; and an effective
// configuration as the file that would bring it about. The YAML written here is simple enough to write by hand.

import { type Config, schema } from './schema.js';
import type { Fields, ListRow, OptionRow, Row } from './shape.js';

const COMMENT_WIDTH = 110;

/** The complete example: every option with its help, what is allowed, and its default (commented out where it has none). */
export function exampleFile(): string {
  return `# yaml-language-server: $schema=./dotstub.schema.json
#
# Every option of dotstub with its default. Nothing has to be set: an empty file is a good one.
# Durations take ms, s, m, h, d, and a bare number is seconds; sizes take B, KiB, MiB, GiB, and a bare number is bytes.
# Check a file with: dotstub check-config FILE

${exampleFields(schema, '')
  .join('\n')
  .replace(/\n{3,}/g, '\n\n')
  .trimEnd()}
`;
}

function exampleFields(rows: Fields, indent: string): string[] {
  return Object.entries(rows).flatMap(([key, row]) => {
    const comment = [...wrapped(row.help, indent), ...allowedLine(row, indent)];
    const gap = indent === '' ? [''] : [];
    return [...gap, ...comment, ...exampleValue(key, row, indent)];
  });
}

function allowedLine(row: Row, indent: string): string[] {
  if (row.row === 'group' || row.row === 'groups') return [];
  const built = row.built === false ? ' (not built yet: checked, without effect)' : '';
  return wrapped(`${row.row === 'list' ? 'Each: ' : ''}${row.kind.allowed}${built}`, indent);
}

function exampleValue(key: string, row: Row, indent: string): string[] {
  switch (row.row) {
    case 'group':
      return [`${indent}${key}:`, ...exampleFields(row.fields, `${indent}  `)];
    case 'groups': {
      const fields = Object.entries(row.fields).flatMap(([name, field]) =>
        wrapped(
          `- ${name}: ${field.help}${'kind' in field ? ` (${field.row === 'list' ? 'each ' : ''}${field.kind.allowed})` : ''}`,
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

/** Text as comment lines. */
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

/** An effective configuration as a file. */
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

// Config's type follows from the schema, but a walk over the schema can not carry it along; these look again.
function asValues(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError('a group holds fields');
  return Object.fromEntries(Object.entries(value));
}
function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('a list row holds a list');
  return value;
}

/** A YAML scalar: plain where that can only be read one way, else quoted. */
function scalar(value: string | number | boolean): string {
  if (typeof value !== 'string') return String(value);
  return /^[A-Za-z0-9/][A-Za-z0-9_./-]*(:\d+)?$/.test(value) &&
    !/^(true|false|null|[\d.]+|0[xo].*|\d+e\d+)$/i.test(value)
    ? value
    : JSON.stringify(value);
}
// Inside [ ] a colon may start a mapping for some readers.
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

function rowSchema(row: Row): Record<string, unknown> {
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
  description: `${row.help} Allowed: ${row.kind.allowed}.`,
});

/** The README's table of options, Markdown. */
export function optionTable(): string {
  const lines = tableRows(schema, '').map(cells => `| ${cells.map(cell => cell.replace(/\|/g, '\\|')).join(' | ')} |`);
  return ['| option | default | what it does, and what is allowed |', '|---|---|---|', ...lines].join('\n');
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
    const built = row.built === false ? ' *Not built yet.*' : '';
    return [
      [
        `\`${name}\``,
        fallback === '' ? '' : `\`${fallback}\``,
        `${row.help}${built} (${row.row === 'list' ? 'each ' : ''}${row.kind.allowed})`,
      ],
    ];
  });
}
