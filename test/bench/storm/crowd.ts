import { FrameType, type FrameView } from '../../../proto/frame.js'
import { type DeviceEvents, StormDevice } from './storm-device.js'
import { Times } from './times.js'

const STORM_LIMIT_MS = 60_000
/** What the device SDK waits at most before its first attempt. */
const FIRST_WAIT_MS = 200

/** The devices that lose their gateway. */
export class Crowd {
  readonly #devices: StormDevice[]
  readonly #waiting = new Set<StormDevice>()
  #url: URL
  #stormAt = 0
  #settled: () => void = () => {}
  readonly back = new Times()
  resumed = 0
  refused = 0

  constructor(count: number, url: URL) {
    this.#url = url
    const events: DeviceEvents = {
      frame: (device, view) => this.#greeted(device, view),
      refused: (device, retryMs) => {
        this.refused++
        setTimeout(() => device.connect(this.#url), retryMs * (0.5 + Math.random()))
      },
      closed: (device) => {
        this.#waiting.add(device)
        setTimeout(() => device.connect(this.#url), FIRST_WAIT_MS * Math.random())
      },
    }
    this.#devices = Array.from({ length: count }, (_, i) => new StormDevice(`storm-${i}`, events))
  }

  get lost(): number {
    return this.#waiting.size
  }

  /** All connect, a few hundred at a time. */
  async gather(): Promise<void> {
    for (const device of this.#devices) {
      this.#waiting.add(device)
      device.connect(this.#url)
      while (this.#waiting.size > 200) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    await this.#all(STORM_LIMIT_MS)
  }

  /** Their gateway is killed: resolves when all are back at `url`. */
  async storm(url: URL, kill: () => void): Promise<void> {
    this.#url = url
    this.refused = 0
    this.#stormAt = performance.now()
    for (const device of this.#devices) this.#waiting.add(device)
    kill()
    await this.#all(STORM_LIMIT_MS)
  }

  stop(): void {
    for (const device of this.#devices) device.destroy()
  }

  #greeted(device: StormDevice, view: FrameView): void {
    if (view.type !== FrameType.WELCOME) return
    const { session = '', resumed } = view.headers()
    device.session = session
    if (this.#stormAt > 0) {
      this.back.add(performance.now() - this.#stormAt)
      if (resumed === 'true') this.resumed++
    }
    this.#waiting.delete(device)
    if (this.#waiting.size === 0) this.#settled()
  }

  async #all(ms: number): Promise<void> {
    if (this.#waiting.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#settled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
