/** `sluice top`: the fleet, drawn again every second. */

import { Command } from 'commander'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { describeError } from '../cli-error.js'
import { withAdminFlags } from '../flags.js'
import { renderStatus, type StatusView } from '../fleet-view.js'
import { outputWidth } from '../print.js'

const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'
const ALTERNATE = '\u001b[?1049h\u001b[?25l'
const BACK = '\u001b[?25h\u001b[?1049l'

interface TopFlags extends AdminOptions {
  readonly json: boolean
  readonly interval: number
  readonly count?: number
}

export function topCommand(): Command {
  const command = new Command('top')
    .description('a live view of the fleet; Ctrl-C ends it')
    .option('--interval <seconds>', 'time between two looks', Number, 1)
    .option('--count <n>', 'end after this many looks', Number)
  return withAdminFlags(command).action(top)
}

async function top(flags: TopFlags): Promise<void> {
  const client = createAdminClient(flags)
  // The first look fails like any other command; later ones show what is wrong and go on.
  let status = (await client.get('/v1/status')) as StatusView
  const screen = process.stdout.isTTY && !flags.json
  const stopped = new Promise<void>((stop) => process.once('SIGINT', stop))
  if (screen) process.stdout.write(ALTERNATE)
  let problem = ''
  try {
    for (let look = 1; ; look++) {
      show(flags, status, problem, screen)
      if (flags.count !== undefined && look >= flags.count) return
      if ((await pause(flags.interval * 1000, stopped)) === 'stopped') return
      const next = await client.get('/v1/status').then(
        (value) => ({ status: value as StatusView, problem: '' }),
        (error: unknown) => ({ status, problem: describeError(error) }),
      )
      ;({ status, problem } = next)
    }
  } finally {
    if (screen) process.stdout.write(BACK)
  }
}

function show(flags: TopFlags, status: StatusView, problem: string, screen: boolean): void {
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(status)}\n`)
    return
  }
  const text = `${problem === '' ? '' : `${problem}\n\n`}${renderStatus(status, outputWidth())}`
  if (!screen) {
    process.stdout.write(`${text}\n\n`)
    return
  }
  // Drawn over the last picture line by line: nothing flickers.
  const lines = text.split('\n').slice(0, (process.stdout.rows ?? 24) - 1)
  process.stdout.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}\n`).join('')}${CLEAR_BELOW}`)
}

async function pause(ms: number, stopped: Promise<void>): Promise<'stopped' | 'time'> {
  let timer: NodeJS.Timeout | undefined
  const time = new Promise<'time'>((resolve) => {
    timer = setTimeout(() => resolve('time'), ms)
  })
  const outcome = await Promise.race([time, stopped.then(() => 'stopped' as const)])
  clearTimeout(timer)
  return outcome
}
