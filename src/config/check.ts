// Turns the text of a configuration file into a checked, frozen Config, or into a list of all its problems. Each problem has
// its line and column, the path of the option, the value found, and what is allowed.

import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from 'yaml';

import { visible } from '../base/visible.js';
import { type Clash, combinationProblems, withoutEffect } from './combinations.js';
import { nearest } from './nearest.js';
import { presets } from './presets.js';
import { type Config, PRESETS, schema } from './schema.js';
import type { Fields, GroupsRow, ListRow, OptionRow, SchemaRow } from './shape.js';

/** One problem in a configuration file. */
export interface Problem {
  /** Line and column count from 1. They are absent if the problem has no place in the file. */
  readonly line?: number;
  readonly column?: number;
  /** `cache.size`, `upstream.servers[0].name`; empty for the file as a whole. */
  readonly path: string;
  readonly words: string;
}

/** Where an option stands in a file. */
export type PlaceOf = (path: string) => Pick<Problem, 'line' | 'column'>;

/** A good configuration. */
export interface GoodConfig {
  readonly ok: true;
  readonly config: Config;
  /** What is allowed, but probably not meant: options that do nothing here, networks with host bits. */
  readonly warnings: readonly Problem[];
  readonly placeOf: PlaceOf;
}

/** The result of a check. */
export type ConfigCheck = GoodConfig | { readonly ok: false; readonly problems: readonly Problem[] };

/** A problem as `file:line:column: path: words`, the form that compilers use and editors understand. */
export function problemText(file: string, { line, column, path, words }: Problem): string {
  const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`;
  return visible(path === '' ? `${place}: ${words}` : `${place}: ${path}: ${words}`);
}

/** Bounds the work for a file that is not a configuration. */
const MAX_FILE_CHARACTERS = 1 << 20;

/** The configuration of an empty file. */
export function defaultConfig(): Config {
  const checked = checkConfig('');
  if (!checked.ok) throw new Error(`the defaults are wrong: ${JSON.stringify(checked.problems)}`);
  return checked.config;
}

/** Checks the text of a configuration file (YAML, so JSON too). */
export function checkConfig(text: string): ConfigCheck {
  if (text.length > MAX_FILE_CHARACTERS) {
    return {
      ok: false,
      problems: [
        { path: '', words: `the file has ${text.length} characters; at most ${MAX_FILE_CHARACTERS} are read` },
      ],
    };
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  if (document.errors.length > 0) {
    return {
      ok: false,
      problems: document.errors.map(error => {
        const { line, col } = lines.linePos(error.pos[0]);
        return { line, column: col, path: '', words: `not valid YAML: ${error.message}` };
      }),
    };
  }

  const reader = new Reader(document, lines, text);
  const root = reader.fields(schema, document.contents, '');
  const { problems, warnings } = reader;
  if (problems.length > 0) return { ok: false, problems: problems.sort(inFileOrder) };
  // The cast is true: the reader has filled every field of the schema with a value of its row's kind, as Config says.
  const config = deepFreeze(root) as unknown as Config;
  const placeOf: PlaceOf = path => reader.placeOf(path);
  const placed = ({ path, words }: Clash): Problem => ({ path, words, ...placeOf(path) });
  const clashes = combinationProblems(config).map(placed);
  if (clashes.length > 0) return { ok: false, problems: clashes };
  const idle = withoutEffect(config, path => reader.isGiven(path)).map(placed);
  return { ok: true, config, warnings: [...warnings, ...idle].sort(inFileOrder), placeOf };
}

const inFileOrder = (a: Problem, b: Problem): number =>
  (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

type Values = Record<string, unknown>;

/** Walks the schema and a YAML document together. */
class Reader {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  /** Where each option stands, by its path. */
  private readonly places = new Map<string, { line: number; column: number }>();
  /** Defaults of the preset that the file chooses, by dotted path. */
  private preset: Readonly<Record<string, unknown>> = {};

  constructor(
    private readonly document: Document,
    private readonly lines: LineCounter,
    private readonly text: string,
  ) {}

  /** Whether the file has an option, a group or an entry of a list. */
  isGiven(path: string): boolean {
    return this.places.has(path);
  }

  /** Where an option stands, else the nearest group or list around it. */
  placeOf(path: string): { line?: number; column?: number } {
    for (let at = path; at !== ''; at = at.replace(/(\[\d+\]|(^|\.)[^.[]+)$/, '')) {
      const place = this.places.get(at);
      if (place !== undefined) return place;
    }
    return {};
  }

  /** Reads the rows of a group from a mapping. A missing mapping means all defaults. */
  fields(rows: Fields, input: unknown, path: string): Values {
    const node = this.resolved(input);
    const present = new Map<string, unknown>();
    if (isMap(node)) this.collect(node, rows, path, present);
    else if (node !== undefined && !(isScalar(node) && node.value === null)) {
      this.report(node, path, `must hold ${Object.keys(rows).join(', ')}; found ${this.shown(node)}`);
    }
    // The preset comes first: it changes the defaults of the other options.
    if (path === '') this.choosePreset(present.get('preset'));
    return Object.fromEntries(
      Object.entries(rows).map(([key, row]) => [
        key,
        this.row(row, present.get(key), path === '' ? key : `${path}.${key}`),
      ]),
    );
  }

  private collect(map: YAMLMap, rows: Fields, path: string, present: Map<string, unknown>): void {
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? String(key.value) : '';
      const full = path === '' ? name : `${path}.${name}`;
      if (present.has(name)) {
        this.report(key, full, `given twice; it is in line ${this.places.get(full)?.line ?? 0} already. Allowed: once`);
        continue;
      }
      if (Object.hasOwn(rows, name)) {
        present.set(name, value ?? undefined);
        this.remember(key, full);
        continue;
      }
      const known = Object.keys(rows);
      const near = nearest(name, known);
      this.report(
        key,
        full,
        `no such option${near === undefined ? '.' : `; did you mean ${near}?`} Allowed here: ${known.join(', ')}`,
      );
    }
  }

  private choosePreset(node: unknown): void {
    const value = scalarValue(this.resolved(node));
    const name = PRESETS.find(each => each === value);
    if (name !== undefined) this.preset = presets[name];
  }

  private row(row: SchemaRow, input: unknown, path: string): unknown {
    const node = this.resolved(input);
    switch (row.row) {
      case 'group':
        return this.fields(row.fields, node, path);
      case 'groups':
        return this.groups(row, node, path);
      case 'list':
        return this.list(row, node, path);
      case 'option':
        return this.option(row, node, path);
    }
  }

  private option(row: OptionRow<unknown, unknown>, node: unknown, path: string): unknown {
    const fallback = this.preset[path];
    if (node === undefined) {
      if (fallback === undefined) return row.default;
      const preset = row.kind.read(fallback);
      if (!preset.ok) throw new Error(`preset value of ${path}: ${preset.problem}`);
      return preset.value;
    }
    return this.value(row.kind, node, path);
  }

  private value(kind: OptionRow<unknown, unknown>['kind'], node: unknown, path: string): unknown {
    const read = kind.read(scalarValue(node));
    if (read.ok) {
      if (read.warning !== undefined) this.warnings.push(this.problemAt(node, path, read.warning));
      return read.value;
    }
    this.report(node, path, `${this.shown(node)} is not allowed (${read.problem}). Allowed: ${kind.allowed}`);
    return undefined;
  }

  private list(row: ListRow<unknown>, node: unknown, path: string): readonly unknown[] {
    if (node === undefined) {
      const fallback = this.preset[path];
      if (!Array.isArray(fallback)) return row.default;
      return fallback.map(each => {
        const read = row.kind.read(each);
        if (!read.ok) throw new Error(`preset value of ${path}: ${read.problem}`);
        return read.value;
      });
    }
    const items = this.items(row, node, path, `a list of at most ${row.most}, each ${row.kind.allowed}`);
    return items.map((item, i) => {
      this.remember(item, `${path}[${i}]`);
      return this.value(row.kind, item, `${path}[${i}]`);
    });
  }

  private groups(row: GroupsRow<Fields>, node: unknown, path: string): readonly unknown[] {
    if (node === undefined) return [];
    const items = this.items(
      row,
      node,
      path,
      `a list of at most ${row.most} entries with ${Object.keys(row.fields).join(', ')}`,
    );
    return items.map((item, i) => {
      this.remember(item, `${path}[${i}]`);
      return this.fields(row.fields, item, `${path}[${i}]`);
    });
  }

  private items(row: ListRow<unknown> | GroupsRow<Fields>, node: unknown, path: string, allowed: string): unknown[] {
    if (!isSeq(node)) {
      this.report(node, path, `${this.shown(node)} is not allowed (not a list). Allowed: ${allowed}`);
      return [];
    }
    if (node.items.length > row.most) {
      this.report(node, path, `${node.items.length} entries are not allowed. Allowed: ${allowed}`);
      return [];
    }
    return node.items.map(item => this.resolved(item));
  }

  private resolved(input: unknown): unknown {
    return isAlias(input) ? input.resolve(this.document) : (input ?? undefined);
  }

  /** A value as an error shows it: on one line, cut to SHOWN_CHARACTERS. Aliases are not expanded. */
  private shown(node: unknown): string {
    const source =
      isMap(node) || isSeq(node)
        ? this.text.slice(node.range?.[0], node.range?.[1])
        : JSON.stringify(scalarValue(node) ?? null);
    const text = source === 'null' ? 'nothing' : source.trim().replace(/\s+/g, ' ');
    return text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text;
  }

  private remember(node: unknown, path: string): void {
    const offset = offsetOf(node);
    if (offset === undefined) return;
    const { line, col } = this.lines.linePos(offset);
    this.places.set(path, { line, column: col });
  }

  private report(node: unknown, path: string, words: string): void {
    this.problems.push(this.problemAt(node, path, words));
  }

  private problemAt(node: unknown, path: string, words: string): Problem {
    const offset = offsetOf(node);
    if (offset === undefined) return { path, words, ...this.placeOf(path) };
    const { line, col } = this.lines.linePos(offset);
    return { line, column: col, path, words };
  }
}

function offsetOf(node: unknown): number | undefined {
  return isScalar(node) || isMap(node) || isSeq(node) ? node.range?.[0] : undefined;
}

/** The value of a scalar; undefined, which no kind accepts, for any other node. */
const scalarValue = (node: unknown): unknown => (isScalar(node) ? node.value : undefined);

const SHOWN_CHARACTERS = 60;

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const each of Object.values(value)) deepFreeze(each);
  }
  return value;
}
