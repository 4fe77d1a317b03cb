// The `log` command of the control socket: shows or changes the log level, until the next start.

import type { ControlCommand } from './server.js';

/** Levels, the most severe first. */
export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A log with a level that may be changed. */
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
