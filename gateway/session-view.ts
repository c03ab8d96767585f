import type { SessionView } from '../proto/control.js'
import type { Session } from './session/session.js'

/** A session as `GET /v1/sessions/DEVICE` shows it. */
export function viewSession(session: Session, gateway: string): SessionView {
  const bindings: SessionView['bindings'] = {}
  for (const { pool, worker, slot, epoch } of session.bindings()) bindings[pool] = { worker, slot, epoch }
  return {
    device: session.device,
    session: session.id,
    gateway,
    protocol: session.protocol,
    since: new Date(session.since).toISOString(),
    attributes: { ...session.headers },
    bindings,
  }
}
