/** Where a device is, asked of the gateways. */

import type { SessionView } from '../../proto/control.js'
import { SluiceError } from '../../proto/errors.js'
import { readObject, readText } from '../../proto/fields.js'
import type { ControlPlane } from './control-plane.js'

/** How long the gateways may take to look. */
const DEADLINE_MS = 2000

/**
 * The session of a device: the newest, while two gateways still hold one each.
 * @returns undefined when no gateway has one
 * @throws SluiceError `unavailable` when no gateway has one, but not all answered
 */
export async function findSession(plane: ControlPlane, device: string): Promise<SessionView | undefined> {
  const ids = plane.connectedGateways
  const answers = await Promise.allSettled(ids.map((id) => plane.ask(id, { what: 'session', device }, DEADLINE_MS)))
  const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? readSession(answer.value, device) : []))
  const newest = found.sort((a, b) => (a.since < b.since ? 1 : -1))[0]
  if (newest !== undefined) return newest
  const silent = ids.filter((_, i) => answers[i]?.status === 'rejected')
  if (silent.length === 0) return undefined
  throw new SluiceError(
    'unavailable',
    `nobody else knows ${JSON.stringify(device)}, and ${silent.join(', ')} did not answer`,
    {
      retryAfterMs: 1000,
    },
  )
}

/** One session, or none when the answer is empty or not about this device. */
function readSession(body: unknown, device: string): SessionView[] {
  if (body === undefined || body === null) return []
  try {
    const fields = readObject(body, 'session')
    if (readText(fields.device, 'device', 4096) !== device) return []
    readText(fields.since, 'since')
    readObject(fields.bindings, 'bindings')
    return [body as SessionView]
  } catch {
    return []
  }
}
