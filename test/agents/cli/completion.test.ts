import { spawnSync } from 'node:child_process'
import type { Command } from 'commander'
import t from 'tap'
import { createProgram } from '../../../agents/cli/program.js'

function script(shell: string): string {
  const written: string[] = []
  const write = process.stdout.write
  process.stdout.write = ((text: string) => written.push(text) > 0) as typeof write
  try {
    createProgram('main.js', '0.0.0').parse(['completion', shell], { from: 'user' })
  } finally {
    process.stdout.write = write
  }
  return written.join('')
}

/** What bash would offer after these words. */
function complete(...words: string[]): string[] {
  const array = words.map((word) => `'${word}'`).join(' ')
  const ask = `COMP_WORDS=(${array}); COMP_CWORD=${words.length - 1}; _sluice; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', `${script('bash')}\n${ask}`], { encoding: 'utf8' })
  if (stderr !== '') throw new Error(stderr)
  return stdout.split('\n').filter((word) => word !== '')
}

t.test('bash offers commands, then their own commands, then flags', async (t) => {
  t.same(complete('sluice', 'sta'), ['status'])
  t.same(complete('sluice', 'routes', 'roll'), ['rollback'])
  t.same(complete('sluice', 'up', '--gateway-p'), ['--gateway-port'])
  t.same(complete('sluice', 'workers', 'drain', 'worker-1', '--no'), ['--no-wait'])
})

t.test('zsh gets the same through its bash compatibility', async (t) => {
  t.match(script('zsh'), /^#compdef sluice\n.*bashcompinit/s)
})

t.test('every command describes itself and its flags', async (t) => {
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)]
  for (const command of all(createProgram('main.js', '0.0.0'))) {
    t.not(command.description(), '', command.name())
    for (const option of command.options) t.not(option.description, '', `${command.name()} ${option.long}`)
  }
})
