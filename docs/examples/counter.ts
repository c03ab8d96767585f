// A worker that counts the messages of each device, and keeps counting when the device's session moves.
import type { WorkerHandler } from 'sluice/worker'

export default {
  open(session) {
    session.data = 0
  },
  frame(session, frame) {
    session.data = (session.data as number) + 1
    frame.reply(`message ${session.data} from ${session.device}: ${Buffer.from(frame.payload)}`)
  },
  // The session moves to another worker: the count goes with it.
  detach: (session) => Buffer.from(String(session.data)),
  attach(session, state) {
    session.data = Number(Buffer.from(state))
  },
} satisfies WorkerHandler
