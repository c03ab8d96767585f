/** Devices that do a round trip all the time, in a thread of their own: what the crowd costs its process is not theirs. */

import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { encodeFrame, FrameType } from '../../../proto/frame.js'
import { type DeviceEvents, StormDevice } from './storm-device.js'
import { type Quantiles, Times } from './times.js'

const PROBE_EVERY_MS = 20

/** The thread, from outside. */
export class ProbeThread {
  readonly #worker: Worker

  private constructor(worker: Worker) {
    this.#worker = worker
  }

  static async start(url: string, count: number): Promise<ProbeThread> {
    const thread = new ProbeThread(new Worker(new URL(import.meta.url), { workerData: { url, count } }))
    await thread.take()
    return thread
  }

  /** What was measured since the last call. */
  take(): Promise<Quantiles> {
    return new Promise((resolve, reject) => {
      this.#worker.once('message', resolve)
      this.#worker.once('error', reject)
      this.#worker.postMessage('take')
    })
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }
}

class Probes {
  readonly #devices: StormDevice[] = []
  readonly #url: URL
  readonly #count: number
  #timer: NodeJS.Timeout | undefined
  #times = new Times()

  constructor(url: URL, count: number) {
    this.#url = url
    this.#count = count
  }

  async start(): Promise<void> {
    let greeted = 0
    await new Promise<void>((resolve, reject) => {
      const events: DeviceEvents = {
        frame: (_device, view) => {
          if (view.type === FrameType.WELCOME && ++greeted === this.#count) resolve()
          if (view.type === FrameType.DATA)
            this.#times.add(performance.now() - Buffer.from(view.payload()).readDoubleLE())
        },
        refused: () => reject(new Error('a probe was refused')),
        closed: () => reject(new Error('a probe was disconnected')),
      }
      for (let i = 0; i < this.#count; i++) {
        const device = new StormDevice(`probe-${i}`, events)
        this.#devices.push(device)
        device.connect(this.#url)
      }
    })
    let next = 0
    this.#timer = setInterval(() => {
      const payload = Buffer.alloc(8)
      payload.writeDoubleLE(performance.now())
      this.#devices[next++ % this.#count]?.send(encodeFrame({ topic: 'probe', payload }))
    }, PROBE_EVERY_MS / 4)
  }

  /** What was measured since the last call. */
  take(): Quantiles {
    const { quantiles } = this.#times
    this.#times = new Times()
    return quantiles
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const device of this.#devices) device.destroy()
  }
}

if (!isMainThread && workerData?.count !== undefined) {
  const probes = new Probes(new URL(workerData.url), workerData.count)
  const started = probes.start()
  parentPort?.on('message', () => void started.then(() => parentPort?.postMessage(probes.take())))
}
