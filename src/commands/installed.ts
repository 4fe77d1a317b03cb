// The daemon that a command is meant for, if nothing else is said: the installed one.

import { existsSync } from 'node:fs';

import { type ConfigCheck, checkConfig } from '../config/check.js';
import { INSTALLED_CONFIG, loadConfig } from '../config/load.js';

/**
 * The configuration of the daemon: that of FILE, else the one that "dotstub install" puts in place, else the defaults.
 * The installed file is passed over if it has errors: a daemon may still run with what was in it before.
 */
export function configurationOf(file: string | undefined): ConfigCheck {
  if (file !== undefined) return loadConfig(file);
  const installed = existsSync(INSTALLED_CONFIG) ? loadConfig(INSTALLED_CONFIG) : undefined;
  return installed?.ok === true ? installed : checkConfig('');
}
