/** `sluice completion bash|zsh`: a script for the shell, made from the commands and flags themselves. */

import { Argument, Command } from 'commander'

/** @param program the whole command line; read when the command runs, so that it may still be growing now */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('print a completion script: `source <(sluice completion bash)`')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .action((shell: 'bash' | 'zsh') => {
      process.stdout.write(shell === 'bash' ? bash(program) : zsh(program))
    })
}

/** Every command path with the words that may follow it: `routes` to `get plan apply …`. */
function words(command: Command, path: readonly string[] = []): [string, string[]][] {
  const flags = command.options.flatMap((option) => (option.long ? [option.long] : []))
  const children = command.commands.map((child) => child.name())
  const own: [string, string[]] = [path.join(' '), [...children, ...flags, '--help']]
  return [own, ...command.commands.flatMap((child) => words(child, [...path, child.name()]))]
}

function bash(program: Command): string {
  const cases = words(program).map(([path, next]) => `    "${path}") words="${next.join(' ')}" ;;`)
  return `# Completion of sluice for bash.
_sluice() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" path="" words="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && break
    path="\${path:+$path }$word"
  done
  case "$previous" in
    --routes|--config|--handler|plan|apply|test|worker) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --data) COMPREPLY=($(compgen -d -- "$current")); return ;;
  esac
  while :; do
    case "$path" in
${cases.join('\n')}
    esac
    [[ -n $words || -z $path ]] && break
    if [[ $path == *" "* ]]; then path="\${path% *}"; else path=""; fi
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _sluice sluice
`
}

function zsh(program: Command): string {
  return `#compdef sluice
# Completion of sluice for zsh, by way of the one for bash.
autoload -U +X bashcompinit && bashcompinit
${bash(program)}`
}
