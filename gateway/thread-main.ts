/** Runs one thread of a gateway: the file that the gateway's process forks. It ends when that process says so, or is gone. */

import { SluiceError } from '../proto/errors.js'
import type { Gateway } from './gateway.js'
import { collectStartGarbage, shapeYoungGeneration, tendYoungGeneration } from './heap.js'
import type { FromThread, ThreadStart, ToThread } from './threads/thread-message.js'
import { optionsOfThread } from './threads/thread-options.js'
import { ThreadPort } from './threads/thread-port.js'

shapeYoungGeneration()

const send = (message: FromThread): void => {
  if (process.connected) process.send?.(message, () => {})
}
const port = new ThreadPort({ send })
let gateway: Gateway | undefined

process.on('message', (message: ToThread) => {
  if (message.t === 'start') void start(message.start)
  else if (message.t === 'close') void close()
  else port.take(message)
})
// Signals reach the whole group, from a terminal or a service manager: the gateway's process decides what they mean.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
// Without the exit hooks: nobody reads what would still be said.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'))

send({ t: 'hello' })

async function start(begin: ThreadStart): Promise<void> {
  try {
    // Not before the heap has its shape.
    const { startInProcess } = await import('./in-process.js')
    gateway = await startInProcess({
      ...optionsOfThread(begin),
      thread: {
        index: begin.index,
        peers: begin.peers,
        peerPort: begin.peerPort,
        dial: port.dial,
        widen: (view) => port.widen(view),
      },
    })
    collectStartGarbage()
    tendYoungGeneration()
    send({ t: 'listening', urls: gateway.urls })
  } catch (error) {
    const code = error instanceof SluiceError ? error.code : 'internal'
    send({ t: 'failed', message: error instanceof Error ? error.message : String(error), code })
    setImmediate(() => process.exit(1))
  }
}

async function close(): Promise<void> {
  await gateway?.close()
  process.exit(0)
}
