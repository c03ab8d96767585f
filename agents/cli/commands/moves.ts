/** `sluice moves`: sessions on the move, and what moved lately. */

import { Command } from 'commander'
import type { MoveReceipt } from '../../../proto/control.js'
import { type AdminOptions, createAdminClient } from '../admin-client.js'
import { withAdminFlags } from '../flags.js'
import { outputWidth, print } from '../print.js'
import { type Column, renderSpan, renderTable } from '../table-view.js'

interface Move {
  readonly id: string | number
  readonly cause: string
  readonly pool: string
  readonly planned: number
  readonly done: number
  readonly failed: number
  readonly startedAt: string | number
  readonly finishedAt?: string | number | null
  readonly receipts?: readonly MoveReceipt[]
}

interface Budget {
  readonly perSecond: number
  readonly inFlight: number
  readonly paused: boolean
}

interface MovesAnswer {
  readonly running: readonly Move[]
  readonly recent: readonly Move[]
}

const COLUMNS: readonly Column<Move>[] = [
  { title: 'MOVE', value: (row) => row.id },
  { title: 'POOL', value: (row) => row.pool, flexible: true },
  { title: 'DONE', value: (row) => `${row.done}/${row.planned}`, align: 'right' },
  { title: 'FAILED', value: (row) => row.failed, align: 'right' },
  {
    title: 'TOOK',
    value: (row) => renderSpan(millis(row.finishedAt ?? Date.now()) - millis(row.startedAt)),
    align: 'right',
  },
  { title: 'PAUSE', value: (row) => medianPause(row.receipts ?? []), align: 'right' },
  { title: 'CAUSE', value: (row) => row.cause, flexible: true },
]

export function movesCommand(): Command {
  const command = new Command('moves').description('sessions that are being moved, and the moves before')
  command.addCommand(budgetCommand('pause', 'begin no further move; those under way finish', 'PUT', { paused: true }))
  command.addCommand(budgetCommand('resume', 'go on after a pause', 'PUT', { paused: false }))
  command.addCommand(
    budgetCommand('abort', 'call off what has not begun; those sessions stay until the next table', 'POST'),
  )
  return withAdminFlags(command).action(async (flags: AdminOptions & { json: boolean }) => {
    const moves = (await createAdminClient(flags).get('/v1/moves')) as MovesAnswer
    print(flags.json, moves, ({ running, recent }) => {
      const parts = [
        ...(running.length > 0
          ? ['Running:', renderTable(running, COLUMNS, outputWidth()), '']
          : ['Nothing is being moved.']),
        ...(recent.length > 0 ? ['Before:', renderTable(recent, COLUMNS, outputWidth())] : []),
      ]
      return parts.join('\n')
    })
  })
}

/** Changes how fast sessions may move, in the whole fleet. */
function budgetCommand(name: string, description: string, method: 'PUT' | 'POST', body?: object): Command {
  const path = method === 'PUT' ? '/v1/moves/budget' : '/v1/moves/abort'
  return withAdminFlags(new Command(name).description(description)).action(
    async (flags: AdminOptions & { json: boolean }) => {
      const budget = (await createAdminClient(flags).send(method, path, body)) as Budget
      print(flags.json, budget, ({ perSecond, inFlight, paused }) =>
        paused ? 'Moves are paused.' : `Up to ${perSecond} sessions a second move, ${inFlight} at once.`,
      )
    },
  )
}

const millis = (time: string | number) => (typeof time === 'number' ? time : Date.parse(time))

function medianPause(receipts: readonly MoveReceipt[]): string | undefined {
  if (receipts.length === 0) return undefined
  const pauses = receipts.map((receipt) => receipt.pauseMs).sort((a, b) => a - b)
  return `${(pauses[pauses.length >> 1] ?? 0).toFixed(1)} ms`
}
