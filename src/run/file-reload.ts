// Reloads by themselves (`reload_on_change`): the configuration file and the files that it names are watched.

import type { Log } from '../base/ports.js';
import { watchFile } from '../os/file-watch.js';
import type { Plan } from './plan.js';
import { type Live, type Prepared, ready } from './reload.js';

/** What it works with. */
export interface FileReloadParts {
  readonly log: Log;
  /** The configuration file; undefined: there is none, and nothing to reload. */
  readonly file: string | undefined;
  /** Called when one of the files holds something else. */
  readonly changed: () => void;
}

/** Watches files, where the plan wants it. */
export class FileReload implements Live {
  static readonly options = ['reload_on_change'];
  readonly options = FileReload.options;
  private watches: readonly { readonly path: string; close(): void }[] = [];

  constructor(private readonly parts: FileReloadParts) {}

  prepare(next: Plan): Prepared {
    return ready(() => this.follow(next));
  }

  /** Watches the files of the plan that has come into force. */
  follow({ reloadOnChange, files }: Plan): void {
    const { file, changed } = this.parts;
    const wanted = reloadOnChange && file !== undefined ? [...new Set([file, ...files])] : [];
    const before = this.watches;
    this.watches = wanted.map(path => before.find(each => each.path === path) ?? this.watch(path, changed));
    for (const each of before) if (!this.watches.includes(each)) each.close();
  }

  /** Watches nothing more. */
  close(): void {
    for (const each of this.watches) each.close();
    this.watches = [];
  }

  private watch(path: string, changed: () => void): { readonly path: string; close(): void } {
    const watch = watchFile(path, changed, error =>
      this.parts.log.warn(
        { file: path },
        `${path} is not watched for changes (${error.message}); SIGHUP and "dotstub reload" work`,
      ),
    );
    return { path, close: () => watch.close() };
  }
}
