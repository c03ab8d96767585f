/**
 * A worker for the handoff tests: counts the frames of each session in order and answers each with what it saw.
 * The count travels with the session; a worker that got none starts from what it is given first.
 */

import type { WorkerHandler } from '../../agents/worker/mod.js'

const counts = new Map<string, number>()

/** One answer: `n` is the frame's counter, `count` the state before it (0: none). */
export interface Counted {
  n: number
  count: number
  redelivered: boolean
  pid: number
}

const handler: WorkerHandler = {
  frame(session, frame) {
    const n = Number(Buffer.from(frame.payload).toString())
    const count = counts.get(session.id) ?? 0
    counts.set(session.id, Math.max(n, count))
    const seen: Counted = { n, count, redelivered: frame.redelivered, pid: process.pid }
    session.send(Buffer.from(JSON.stringify(seen)), { acked: true })
  },
  detach(session) {
    const count = counts.get(session.id)
    counts.delete(session.id)
    return Buffer.from(String(count ?? 0))
  },
  attach(session, state) {
    counts.set(session.id, Number(Buffer.from(state).toString()))
  },
  close(session) {
    counts.delete(session.id)
  },
}

export default handler
