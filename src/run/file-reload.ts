// Automatic reloads (`reload_on_change`): watches the configuration file and the files that it names.

import type { Log } from '../base/ports.js';
import { type FileWatch, watchFiles } from '../os/file-watch.js';
import { pairFiles } from './listener-pairs.js';
import type { Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** The parts that it uses. */
export interface FileReloadParts {
  readonly log: Log;
  /** The configuration file; undefined: there is none, and nothing to reload. */
  readonly file: string | undefined;
  /** Called when the contents of a file have changed. */
  readonly changed: () => void;
}

/** Watches files, if the plan says so. */
export class FileReload implements Live {
  static readonly options = ['reload_on_change'];
  readonly options = FileReload.options;
  private watch: FileWatch | undefined;

  constructor(private readonly parts: FileReloadParts) {}

  prepare(next: Plan): Prepared {
    return ready(() => this.follow(next));
  }

  /** Watches the files of the plan that has come into force. */
  follow(plan: Plan): void {
    const { file } = this.parts;
    const { reloadOnChange } = plan;
    if (!reloadOnChange || file === undefined) return this.close();
    this.watch ??= watchFiles([], {
      changed: () => this.parts.changed(),
      trouble: (directory, { message }) => this.trouble(directory, message),
    });
    // Those of listeners come into force by themselves (run/certificates).
    const others = pairFiles(plan);
    this.watch.follow([...new Set([file, ...plan.files.filter(path => !others.has(path))])]);
  }

  /** Stops watching. */
  close(): void {
    this.watch?.close();
    this.watch = undefined;
  }

  private trouble(directory: string, message: string): void {
    const words = 'its files are looked at every minute; SIGHUP and "dotstub reload" work';
    this.parts.log.warn({ directory }, `${directory} is not watched for changes (${message}): ${words}`);
  }
}
