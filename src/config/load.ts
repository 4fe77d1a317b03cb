// Reads a configuration file.

import { readFileSync } from 'node:fs';

import { wordsFor } from '../base/system-error.js';
import { checkConfig, type ConfigCheck, problemText } from './check.js';

/** Where the configuration of the installed daemon is. */
export const INSTALLED_CONFIG = '/etc/dotstub/dotstub.yaml';

/** Reads and checks a configuration file. A file that cannot be read is reported as a problem. */
export function loadConfig(file: string): ConfigCheck {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return { ok: false, problems: [{ path: '', words: wordsFor(error) }] };
  }
  return checkConfig(text);
}

/** All problems, one per line, and their number. */
export function problemReport(file: string, problems: Extract<ConfigCheck, { ok: false }>['problems']): string {
  const lines = problems.map(problem => problemText(file, problem));
  return [...lines, `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'} found`].join('\n');
}
