/** Runs one gateway: in this process, or on several cores as threads. The files of the gateway that know of the process. */

import cluster from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { threadName } from '../proto/table.js'
import { Feed } from './control/feed.js'
import type { Gateway, GatewayUrls } from './gateway.js'
import { createLog, startInProcess } from './in-process.js'
import type { RunGatewayOptions, RunThreadsOptions } from './run-options.js'
import { createSystemClock } from './system-clock.js'
import { ControlRelay } from './threads/control-relay.js'
import type { FromThread } from './threads/thread-message.js'
import { type ThreadEvents, type ThreadProcess, ThreadSet } from './threads/thread-set.js'

export type { RunGatewayOptions, RunThreadsOptions } from './run-options.js'

/** A gateway that runs, whichever way. */
export interface RunningGateway {
  readonly id: string
  readonly urls: GatewayUrls
  /** Sessions that it holds. */
  readonly sessions: number
  close(): Promise<void>
}

/** How long threads may take to end, milliseconds. */
const CLOSE_MS = 2000

/** Starts a gateway in this process; it runs until it is closed. */
export async function runGateway(options: RunGatewayOptions): Promise<Gateway> {
  return startInProcess(withServer(options))
}

/**
 * Starts a gateway on several cores: a thread for each of `peerPorts`, each a process of its own that this one forks
 * and starts again when it dies. All of them take devices at `port` and `mqttPort`, which may not be 0.
 * @throws SluiceError `conflict` when a port is taken
 */
export async function runGatewayThreads(options: RunThreadsOptions): Promise<RunningGateway> {
  const { peerPorts, ...rest } = withServer(options)
  const { id, host, advertise = host, coordinator, token, logLevel = 'warn', tls } = rest
  const threads = peerPorts.length
  const log = createLog(logLevel, { gateway: id })
  const clock = createSystemClock()
  const name = advertise.includes(':') ? `[${advertise}]` : advertise
  // With NATS nobody dials.
  const peers = peerPorts.map((port) => `http${tls === undefined ? '' : 's'}://${name}:${port}`)
  let feed: Feed | undefined
  const relay = new ControlRelay({
    id,
    threads,
    report: (message) => feed?.send(message),
    connected: (up, detail) => {
      if (up) log.info({ coordinator: detail }, 'registered with the coordinator')
      else log.warn({ reason: detail }, 'the coordinator is away; serving the last table')
    },
  })
  const set = new ThreadSet({
    threads,
    relay,
    clock,
    log,
    fork: forkThread(id),
    startOf: (index) => ({ index, peers, peerPort: peerPorts[index] ?? 0, options: rest }),
  })
  const urls = await set.start()
  if (coordinator !== undefined) {
    const { region, location, capacity = 0, nats } = rest
    feed = new Feed({
      coordinator,
      register: {
        ...{ id, region, ...urls, capacity, pid: process.pid, incarnation: randomBytes(12).toString('base64url') },
        ...(nats === undefined ? { peers } : {}),
        ...(location === undefined ? {} : { location }),
      },
      clock,
      random: Math.random,
      events: relay,
      ...(token === undefined ? {} : { token }),
    })
  }
  return {
    id,
    urls,
    get sessions() {
      return relay.sessions
    },
    close: async () => {
      feed?.close()
      await set.close(CLOSE_MS)
    },
  }
}

/** Forks by `node:cluster`, which hands connections of a `node:net` listener to the threads in turn. */
function forkThread(id: string): (index: number, events: ThreadEvents) => ThreadProcess {
  const own = fileURLToPath(import.meta.url)
  const exec = own.replace(/main\.(js|ts)$/, 'thread-main.$1')
  cluster.schedulingPolicy = cluster.SCHED_RR
  return (index, events) => {
    // The argument is for people who look at the list of processes.
    cluster.setupPrimary({ exec, args: [threadName(id, index)], serialization: 'advanced' })
    const worker = cluster.fork()
    worker.on('message', (message: FromThread) => events.message(message))
    worker.on('error', () => {})
    worker.on('exit', (code: number | null, signal: string | null) =>
      events.exited(signal === null ? `exit code ${code}` : `signal ${signal}`),
    )
    return {
      pid: worker.process.pid ?? 0,
      send: (message) => {
        if (worker.isConnected()) worker.process.send(message, () => {})
      },
      kill: () => void worker.process.kill('SIGKILL'),
    }
  }
}

function withServer<T extends RunGatewayOptions>(options: T): T {
  const wanted = process.env.SLUICE_HTTP
  const prefer = options.prefer ?? (wanted === 'uws' || wanted === 'node' ? wanted : undefined)
  return prefer === undefined ? options : { ...options, prefer }
}
