// The configuration file of a running daemon. It is read again on request, and takes effect as a whole or not at all.

import type { Overview } from '../base/overview.js';
import type { Clock, Log } from '../base/ports.js';
import type { WallMs } from '../base/time.js';
import { type ConfigCheck, type GoodConfig, type Problem, problemText } from '../config/check.js';
import type { ControlReply } from '../control/protocol.js';
import { type Plan, planOf } from './plan.js';
import type { PlanFiles } from './plan-files.js';
import type { Reload, Reloaded } from './reload.js';
import { StartError } from './start-error.js';

/** The source of the configuration. */
export interface ConfigurationSource {
  /** Undefined: the daemon runs without a file, and there is nothing to reload. */
  readonly file: string | undefined;
  /** Reads and checks it. */
  load(): ConfigCheck;
}

/** The parts that it uses. */
export interface ConfigurationParts {
  readonly source: ConfigurationSource;
  readonly files: PlanFiles;
  readonly reload: Reload;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a plan has come into force. */
  readonly taken: (plan: Plan) => void;
}

/** The configuration file. */
export class Configuration {
  /** Whether the file was valid when it was last read. */
  private isTaken = true;
  /** When the configuration in force was taken over. */
  private takenAt: WallMs;
  /** The reload that is under way, or was last. */
  private last: Promise<unknown> = Promise.resolve();
  /** The reload that has not read the file yet: it does for all who ask until then. */
  private next: Promise<ControlReply> | undefined;
  /** The daemon stops: nothing is opened any more. */
  private closed = false;

  constructor(private readonly parts: ConfigurationParts) {
    this.takenAt = parts.clock.wallMs();
  }

  /** For the overview. */
  get state(): Overview['reload'] {
    return { taken: this.isTaken, takenMs: this.takenAt };
  }

  /** The plan in force. */
  get plan(): Plan {
    return this.parts.reload.plan;
  }

  /** Reads the file and takes it over. The result is logged, too. Never rejects because of the file. */
  async reload(): Promise<ControlReply> {
    if (this.next !== undefined) return this.next;
    const turn = this.last.then(async () => {
      this.next = undefined;
      return this.read();
    });
    this.next = turn;
    this.last = turn.catch(() => undefined);
    return turn;
  }

  /** Waits for the reload that is under way, and begins no other. */
  async close(): Promise<void> {
    this.closed = true;
    await this.last;
  }

  private async read(): Promise<ControlReply> {
    const { source, log } = this.parts;
    const { file } = source;
    if (this.closed) return { ok: false, problem: 'the daemon is stopping' };
    if (file === undefined) {
      const problem = 'nothing to reload: the daemon runs without a configuration file';
      log.info({}, problem);
      return { ok: false, problem };
    }
    const checked = source.load();
    if (!checked.ok) return this.refused(file, checked.problems);
    try {
      const { reload, files, clock, taken } = this.parts;
      const plan = planOf(checked.config, files, this.plan);
      const reloaded = await reload.take(plan);
      this.isTaken = true;
      this.takenAt = clock.wallMs();
      taken(plan);
      for (const each of checked.warnings) log.warn({ file }, problemText(file, each));
      return this.told(file, reloaded);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      return this.refused(file, placed(checked, error));
    }
  }

  private refused(file: string, problems: readonly Problem[]): ControlReply {
    const { log } = this.parts;
    this.isTaken = false;
    const lines = problems.map(problem => problemText(file, problem));
    for (const each of lines) log.error({ file }, each);
    const count = `${lines.length} ${lines.length === 1 ? 'problem' : 'problems'}`;
    const words = `${file} was not taken over (${count}): the configuration that runs stays`;
    log.error({ file, problems: lines.length }, words);
    return { ok: false, problem: [words, ...lines].join('\n') };
  }

  private told(file: string, { now, later }: Reloaded): ControlReply {
    const { log } = this.parts;
    const words = `${file} taken over${now.length === 0 ? '' : `: ${now.join(', ')}`}`;
    log.info({ file, options: now.join(' ') }, words);
    const waits = later.length === 0 ? undefined : `changed, but only in force after a restart: ${later.join(', ')}`;
    if (waits !== undefined) log.warn({ options: later.join(' ') }, waits);
    const text = [words, ...(waits === undefined ? [] : [waits])].join('\n');
    return { ok: true, text, data: { file, changed: now, after_restart: later } };
  }
}

/** The problems that keep a checked configuration from becoming a plan, such as files that cannot be read. */
export function planProblems(checked: GoodConfig, files: PlanFiles): readonly Problem[] {
  try {
    planOf(checked.config, files);
    return [];
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return placed(checked, error);
  }
}

/** The problems of an error, with their places in the file. */
export const placed = ({ placeOf }: GoodConfig, { problems }: StartError): readonly Problem[] =>
  problems.map(each => ({ ...each, ...placeOf(each.path) }));
