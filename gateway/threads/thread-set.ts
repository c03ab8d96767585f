/** The threads of one gateway, each a process of its own: started, joined to the relay, started again when one dies, ended. */

import { SluiceError } from '../../proto/errors.js'
import type { GatewayLog } from '../gateway-options.js'
import type { Clock } from '../ports.js'
import type { ControlRelay } from './control-relay.js'
import type { FromThread, Subject, ThreadStart, ThreadUrls, ToThread } from './thread-message.js'

/** What happens to a thread's process. */
export interface ThreadEvents {
  message(message: FromThread): void
  /** It is gone. @param how `signal SIGKILL`, `exit code 1` */
  exited(how: string): void
}

/** A thread's process. Sending to one that is gone does nothing. */
export interface ThreadProcess {
  readonly pid: number
  send(message: ToThread): void
  kill(): void
}

export interface ThreadSetOptions {
  readonly threads: number
  /** Starts the process of a thread; events come later than this returns. */
  readonly fork: (index: number, events: ThreadEvents) => ThreadProcess
  readonly startOf: (index: number) => ThreadStart
  readonly relay: ControlRelay
  readonly clock: Clock
  readonly log: GatewayLog
}

/** How long a thread may take to say something about itself, milliseconds. */
const ANSWER_MS = 1000
/** One that lived for less than this is started again after a pause that doubles, milliseconds. */
const STABLE_MS = 5000
const FIRST_PAUSE_MS = 250
const MAX_PAUSE_MS = 5000

interface Running {
  readonly index: number
  readonly child: ThreadProcess
  readonly since: number
  readonly gone: Promise<void>
  /** Its present line; 0 for none. */
  line: number
  readonly asked: Map<number, (body: unknown) => void>
}

export class ThreadSet {
  readonly #options: ThreadSetOptions
  readonly #running: (Running | undefined)[]
  readonly #pauses: number[]
  readonly #cancels = new Map<number, () => void>()
  #closing = false
  #number = 0

  constructor(options: ThreadSetOptions) {
    this.#options = options
    this.#running = Array.from({ length: options.threads }, () => undefined)
    this.#pauses = Array.from({ length: options.threads }, () => 0)
  }

  /**
   * Resolves when every thread listens.
   * @throws SluiceError what the first thread that failed said
   */
  async start(): Promise<ThreadUrls> {
    const started = this.#running.map(
      (_, index) => new Promise<ThreadUrls>((resolve, reject) => this.#run(index, { resolve, reject })),
    )
    try {
      const [first] = await Promise.all(started)
      if (first === undefined) throw new SluiceError('bad_request', 'a gateway needs a thread', { path: 'threads' })
      return first
    } catch (error) {
      await this.close(0)
      throw error
    }
  }

  /** Process ids by number; 0 where a thread is not there. */
  get pids(): number[] {
    return this.#running.map((thread) => thread?.child.pid ?? 0)
  }

  /** Ends all threads in good order; kills those that are left after `limitMs`. */
  async close(limitMs: number): Promise<void> {
    this.#closing = true
    for (const cancel of this.#cancels.values()) cancel()
    const left = this.#running.filter((thread) => thread !== undefined)
    for (const { child } of left) child.send({ t: 'close' })
    const cancel = this.#options.clock.after(limitMs, () => {
      for (const { child } of left) child.kill()
    })
    await Promise.all(left.map(({ gone }) => gone))
    cancel()
  }

  #run(index: number, started?: { resolve(urls: ThreadUrls): void; reject(error: Error): void }): void {
    const { fork, clock } = this.#options
    let leave: () => void = () => {}
    const child = fork(index, {
      message: (message) => {
        if (message.t === 'hello') child.send({ t: 'start', start: this.#options.startOf(index) })
        else if (message.t === 'listening') started?.resolve(message.urls)
        else if (message.t === 'failed') this.#failed(index, message, started?.reject)
        else this.#take(thread, message)
      },
      exited: (how) => {
        started?.reject(new SluiceError('unavailable', `thread ${index} ended with ${how} before it listened`))
        leave()
        this.#exited(thread, how)
      },
    })
    const gone = new Promise<void>((resolve) => {
      leave = resolve
    })
    const thread: Running = { index, child, since: clock.now(), gone, line: 0, asked: new Map() }
    this.#running[index] = thread
  }

  #failed(index: number, { message, code }: { message: string; code: string }, reject?: (error: Error) => void): void {
    this.#options.log.error({ thread: index, code }, message)
    reject?.(new SluiceError(code === 'conflict' ? 'conflict' : 'unavailable', message))
  }

  #exited(thread: Running, how: string): void {
    const { index } = thread
    this.#running[index] = undefined
    for (const answer of thread.asked.values()) answer(undefined)
    this.#options.relay.closed(index, true)
    if (this.#closing) return
    const { clock, log } = this.#options
    const stable = clock.now() - thread.since >= STABLE_MS
    const pause = stable ? 0 : (this.#pauses[index] ?? 0)
    this.#pauses[index] = stable ? 0 : Math.min(MAX_PAUSE_MS, Math.max(FIRST_PAUSE_MS, pause * 2))
    log.error({ thread: index, how, pause }, 'a thread died; it is started again')
    this.#cancels.get(index)?.()
    this.#cancels.set(
      index,
      clock.after(pause, () => this.#run(index)),
    )
  }

  #take(thread: Running, message: FromThread): void {
    switch (message.t) {
      case 'dial':
        this.#dialed(thread, message.line)
        break
      case 'send':
        if (message.line === thread.line) this.#options.relay.message(thread.index, message.bytes)
        break
      case 'hang_up':
        if (message.line === thread.line) this.#options.relay.closed(thread.index, false)
        break
      case 'ask':
        void this.#tell(thread, message.id, message.subject)
        break
      case 'answer':
        thread.asked.get(message.id)?.(message.body)
        break
      default:
        break
    }
  }

  #dialed(thread: Running, line: number): void {
    thread.line = line
    this.#options.relay.dialed(thread.index, {
      open: () => thread.child.send({ t: 'open', line }),
      receive: (bytes) => thread.child.send({ t: 'receive', line, bytes }),
      lost: (reason) => thread.child.send({ t: 'lost', line, reason }),
    })
  }

  async #tell(asker: Running, id: number, subject: Subject): Promise<void> {
    const bodies = await Promise.all(this.#running.map((thread) => this.#question(thread, subject)))
    asker.child.send({ t: 'told', id, bodies })
  }

  /** What one thread says; undefined when it is not there or does not answer. */
  #question(thread: Running | undefined, subject: Subject): Promise<unknown> {
    if (thread === undefined) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const id = ++this.#number
      const cancel = this.#options.clock.after(ANSWER_MS, () => settle(undefined))
      const settle = (body: unknown) => {
        cancel()
        thread.asked.delete(id)
        resolve(body)
      }
      thread.asked.set(id, settle)
      thread.child.send({ t: 'question', id, subject })
    })
  }
}
