/** The built-in handler: sends back what comes, on the same topic, acknowledged when it came acknowledged. */

import type { WorkerHandler, WorkerSession } from './handler.js'
import type { WorkerFrame } from './worker-frame.js'

export const echo: WorkerHandler = {
  frame(session, frame) {
    // An MQTT device can only publish; a WebSocket device's PUBLISH is for the subscribers, not for an answer.
    if (frame.type === 'publish' && session.protocol !== 'mqtt') return
    if (!frame.reply(frame.payload) && frame.seq > 0) return answerLater(session, frame)
  },
}

/** Holds the session's next frames until there is room, so that an acknowledged answer is never dropped. */
async function answerLater(session: WorkerSession, frame: WorkerFrame): Promise<void> {
  do {
    await session.drained()
    if (frame.reply(frame.payload)) return
  } while (session.open)
}
