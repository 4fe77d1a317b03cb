// The `log` command of the control socket: what is logged from now on, until the next start.

import type { ControlCommand } from './server.js';

/** Levels, the gravest first. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A log whose level may be changed. */
export interface LevelledLog {
  level: LogLevel;
}

/** Makes the command. */
export const logCommand = (log: LevelledLog): ControlCommand => ({
  run([what = '', wanted]) {
    if (what !== 'level') return { ok: false, problem: `log ${what}: there is "log level [${LOG_LEVELS.join('|')}]"` };
    if (wanted !== undefined) {
      const level = LOG_LEVELS.find(each => each === wanted);
      if (level === undefined)
        return {
          ok: false,
          problem: `there is no level ${JSON.stringify(wanted)}; there are: ${LOG_LEVELS.join(', ')}`,
        };
      log.level = level;
    }
    return { ok: true, text: `The log has what is "${log.level}" and graver.`, data: { level: log.level } };
  },
});
