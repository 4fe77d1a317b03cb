// The steps of "dotstub install" and of its undoing, and their words, so that they can be shown before anything is done.

/** One step. */
export type Step =
  /** `keep`: an existing file stays. */
  | {
      readonly does: 'write';
      readonly path: string;
      readonly text: string;
      readonly why: string;
      readonly keep?: true;
      readonly executable?: true;
    }
  | { readonly does: 'remove'; readonly path: string; readonly why: string }
  /** Keeps what is at `path` as `to`, a link as a link to the same file; does nothing if it is ours. */
  | { readonly does: 'save'; readonly path: string; readonly to: string; readonly why: string }
  /** Undoes `save`. */
  | { readonly does: 'restore'; readonly path: string; readonly from: string; readonly why: string }
  /** Makes the resolv.conf at `path` name dotstub, and keeps what else it says when its turn comes. */
  | { readonly does: 'point'; readonly path: string; readonly why: string }
  /** Adds lines at the end of a file of somebody else, between two marks; in place of those that are there already. */
  | { readonly does: 'block'; readonly path: string; readonly text: string; readonly why: string }
  /** Takes the lines out again, and removes the file if nothing else is in it. */
  | { readonly does: 'unblock'; readonly path: string; readonly why: string }
  | RunStep
  /** Finds out whether the file at `path` is a configuration without errors. */
  | { readonly does: 'check'; readonly path: string; readonly why: string }
  /** Finds out whether another program has port 53. */
  | { readonly does: 'free'; readonly why: string }
  /** Sends the daemon a query that it answers by itself. */
  | { readonly does: 'ask'; readonly why: string }
  /** Asks the daemon for a name that only a server can tell, and tells by which way the answer came. */
  | { readonly does: 'prove'; readonly why: string }
  /** Resolves a name as programs do. */
  | { readonly does: 'resolve'; readonly why: string };

/** A command. */
export interface RunStep {
  readonly does: 'run';
  readonly command: readonly string[];
  readonly why: string;
  /**
   * What follows if a later step fails. A command: it undoes this one. `again`: once the files are as they were, this
   * command is run again, because it makes a program read them.
   */
  readonly undo?: readonly string[] | 'again';
  /** Links that it makes or removes. If a later step fails, they are as they were. */
  readonly links?: readonly string[];
  /** Units that it starts, by systemctl. If a later step fails, those that ran before are started anew, and others stopped. */
  readonly starts?: readonly string[];
}

/** The first words of every file that is written. */
export const MARK = '# Written by "dotstub install"';

/** The lines around a block in a file of somebody else. */
export const BLOCK = {
  first: `${MARK}; "dotstub uninstall" removes all up to the end of this block.`,
  last: '# End of what "dotstub install" has written',
};

/** A step in words. */
export function stepText(step: Step): string {
  switch (step.does) {
    case 'write':
      return `write ${step.path}${step.keep === true ? ' if it is not there' : ''}: ${step.why}`;
    case 'remove':
      return `remove ${step.path}: ${step.why}`;
    case 'save':
      return `keep ${step.path} as ${step.to}: ${step.why}`;
    case 'restore':
      return `bring ${step.from} back to ${step.path}: ${step.why}`;
    case 'point':
      return `write ${step.path}: ${step.why}`;
    case 'block':
      return `add lines to ${step.path}: ${step.why}`;
    case 'unblock':
      return `take our lines out of ${step.path}: ${step.why}`;
    case 'run':
      return `run ${step.command.join(' ')}: ${step.why}`;
    case 'check':
      return `check ${step.path}: ${step.why}`;
    case 'free':
      return `see who has port 53: ${step.why}`;
    case 'ask':
      return `ask dotstub for something that it knows: ${step.why}`;
    case 'prove':
      return `ask dotstub for a name: ${step.why}`;
    case 'resolve':
      return `resolve a name as programs do: ${step.why}`;
  }
}
