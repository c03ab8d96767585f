/** Follows a drain until nothing is left, with one live line on a terminal. */

import type { AdminClient } from './admin-client.js'
import { CliError } from './cli-error.js'
import type { StatusView } from './fleet-view.js'

const POLL_MS = 200
/** Without any progress for this long, in milliseconds, somebody has to look. */
const STUCK_MS = 60_000

/**
 * Resolves with 0 when the worker or gateway holds no session any more, or has left the fleet.
 * @throws CliError when the number of sessions does not change for a minute
 */
export async function followDrain(
  client: AdminClient,
  kind: 'workers' | 'gateways',
  id: string,
  quiet: boolean,
): Promise<number> {
  const live = !quiet && process.stderr.isTTY
  let last = -1
  let changed = Date.now()
  for (;;) {
    const status = (await client.get('/v1/status')) as StatusView
    const left = status[kind].find((one) => one.id === id)?.sessions ?? 0
    if (left !== last) changed = Date.now()
    last = left
    if (live) process.stderr.write(`\r\u001b[2K${left === 0 ? '' : `${id}: ${left} sessions left`}`)
    if (left === 0) return 0
    if (Date.now() - changed > STUCK_MS) {
      throw new CliError(`${id} still holds ${left} sessions, and none moved for a minute`, {
        fix: 'See `sluice moves` and `sluice status`; there may be nobody to take them.',
      })
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
