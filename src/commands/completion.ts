// `dotstub completion`: completion scripts for shells, made from the table of commands.

import { parseArguments } from './arguments.js';
import { type Command, UsageError } from './command.js';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/**
 * Makes the command.
 * @param all all commands, including this one
 */
export const completion = (all: () => Promise<readonly Command[]>): Command => ({
  name: 'completion',
  usage: `completion ${SHELLS.join('|')}`,
  summary: 'print a script that completes commands in a shell',
  details: `  bash    dotstub completion bash > /etc/bash_completion.d/dotstub
  zsh     dotstub completion zsh > "\${fpath[1]}/_dotstub"
  fish    dotstub completion fish > ~/.config/fish/completions/dotstub.fish`,
  words: SHELLS,
  async run(args) {
    const {
      positionals: [wanted],
    } = parseArguments(args, {}, 1);
    const shell = SHELLS.find(each => each === wanted);
    if (shell === undefined) throw new UsageError(`for which shell? There are ${SHELLS.join(', ')}`);
    process.stdout.write(SCRIPTS[shell](await all()));
    return 0;
  },
});

/** The options of a command, read from its help. */
export const optionsOf = ({ details }: Command): string[] => [
  ...new Set([...details.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, option]) => option ?? '')),
  '--help',
];

/** The words that may follow a command. */
const wordsOf = (command: Command): string[] => [...(command.words ?? []), ...optionsOf(command)];

/** Quotes text for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const SCRIPTS: Readonly<Record<Shell, (commands: readonly Command[]) => string>> = {
  bash: commands => `# bash completion for dotstub
_dotstub() {
  local word=\${COMP_WORDS[COMP_CWORD]} words
  if [ "\${COMP_WORDS[COMP_CWORD-1]}" = --config ] || [ "\${COMP_WORDS[COMP_CWORD-1]}" = --socket ]; then
    COMPREPLY=($(compgen -f -- "$word"))
    return
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='${commands.map(({ name }) => name).join(' ')} --help --version'
  else
    case \${COMP_WORDS[1]} in
${commands.map(each => `      ${each.name}) words='${wordsOf(each).join(' ')}' ;;`).join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  if [ \${#COMPREPLY[@]} -eq 0 ]; then COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -o filenames -F _dotstub dotstub
`,
  zsh: commands => `#compdef dotstub
_dotstub() {
  local -a commands
  commands=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary.replaceAll(':', '\\:')}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  case $words[2] in
${commands.map(each => `    ${each.name}) _alternative 'words:word:(${wordsOf(each).join(' ')})' 'files:file:_files' ;;`).join('\n')}
  esac
}
_dotstub "$@"
`,
  fish: commands => `# fish completion for dotstub
complete -c dotstub -n __fish_use_subcommand -f
${commands.map(({ name, summary }) => `complete -c dotstub -n __fish_use_subcommand -f -a ${name} -d ${quoted(summary)}`).join('\n')}
${commands
  .flatMap(each => [
    ...(each.words ?? []).map(
      word => `complete -c dotstub -n '__fish_seen_subcommand_from ${each.name}' -f -a ${word}`,
    ),
    ...optionsOf(each).map(
      option => `complete -c dotstub -n '__fish_seen_subcommand_from ${each.name}' -l ${option.slice(2)}`,
    ),
  ])
  .join('\n')}
`,
};
