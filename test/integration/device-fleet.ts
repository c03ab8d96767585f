/** Many plain WebSocket devices that count: each sends 1, 2, 3 ... acknowledged, and checks every answer. */

import WebSocket from 'ws'
import { encodeFrame, FrameType, FrameView } from '../../proto/frame.js'
import type { Counted } from './counting-handler.js'

/** What one fleet saw. `doubled` counts answers that were not marked, `stateLost` workers that did not know how far the one before them was. */
export interface FleetReport {
  sent: number
  answered: number
  lost: number
  doubled: number
  marked: number
  reordered: number
  stateLost: number
  disconnects: number
  errors: string[]
}

class CountingDevice {
  readonly id: string
  readonly #socket: WebSocket
  readonly #view = new FrameView()
  sent = 0
  acked = 0
  highest = 0
  answered = 0
  doubled = 0
  marked = 0
  reordered = 0
  stateLost = 0
  disconnects = 0
  lastAnswer = 0
  longestSilence = 0
  closing = false
  readonly errors: string[] = []
  readonly open: Promise<void>

  constructor(url: string, id: string) {
    this.id = id
    this.#socket = new WebSocket(`${url}?device=${id}`)
    this.#socket.binaryType = 'nodebuffer'
    this.open = new Promise((resolve, reject) => {
      this.#socket.once('message', () => resolve())
      this.#socket.once('error', reject)
    })
    this.#socket.on('message', (data) => this.#take(data as Buffer))
    this.#socket.on('close', () => {
      if (!this.closing) this.disconnects++
    })
  }

  send(): void {
    this.sent++
    this.#socket.send(encodeFrame({ seq: this.sent, topic: 'count', payload: Buffer.from(String(this.sent)) }))
  }

  close(): void {
    this.closing = true
    this.#socket.close()
  }

  #take(data: Buffer): void {
    const view = this.#view
    if (!view.read(data)) return
    if (view.ack > this.acked) this.acked = view.ack
    if (view.type === FrameType.ERROR) this.errors.push(`${this.id}: ${JSON.stringify(view.headers())}`)
    if (view.type !== FrameType.DATA) return
    const now = performance.now()
    if (this.lastAnswer > 0) this.longestSilence = Math.max(this.longestSilence, now - this.lastAnswer)
    this.lastAnswer = now
    this.#judge(JSON.parse(Buffer.from(view.payload()).toString()) as Counted)
    this.#socket.send(encodeFrame({ type: FrameType.ACK, ack: view.seq }))
  }

  #judge({ n, count, redelivered }: Counted): void {
    this.answered++
    if (redelivered) this.marked++
    if (n <= this.highest) {
      if (!redelivered) this.doubled++
      return
    }
    if (n !== this.highest + 1) this.reordered++
    if (count !== n - 1) this.stateLost++
    this.highest = n
  }
}

export class DeviceFleet {
  readonly devices: CountingDevice[] = []
  #timer: NodeJS.Timeout | undefined

  /** Connects `count` devices, spread evenly over the gateways. */
  static async connect(urls: readonly string[], count: number, prefix = 'count'): Promise<DeviceFleet> {
    const fleet = new DeviceFleet()
    for (let i = 0; i < count; i++)
      fleet.devices.push(new CountingDevice(urls[i % urls.length] as string, `${prefix}-${i}`))
    await Promise.all(fleet.devices.map(({ open }) => open))
    return fleet
  }

  /** Every device sends `perSecond` frames a second from now on, spread evenly over time. */
  start(perSecond: number): void {
    const stepMs = 10
    const steps = Math.round(1000 / perSecond / stepMs)
    let step = 0
    this.#timer = setInterval(() => {
      for (let i = step % steps; i < this.devices.length; i += steps) this.devices[i]?.send()
      step++
    }, stepMs)
  }

  /** The longest time between two answers of any device since the last call, milliseconds. */
  takeLongestSilence(): number {
    let longest = 0
    for (const device of this.devices) {
      longest = Math.max(longest, device.longestSilence, performance.now() - device.lastAnswer)
      device.longestSilence = 0
    }
    return longest
  }

  /** Stops sending and waits until everything was acknowledged and answered, or `ms` are over. */
  async finish(ms: number): Promise<FleetReport> {
    clearInterval(this.#timer)
    const end = performance.now() + ms
    while (performance.now() < end && this.devices.some(({ sent, acked, highest }) => acked < sent || highest < sent))
      await new Promise((resolve) => setTimeout(resolve, 20))
    const sum = (read: (device: CountingDevice) => number) =>
      this.devices.reduce((all, device) => all + read(device), 0)
    return {
      sent: sum(({ sent }) => sent),
      answered: sum(({ answered }) => answered),
      lost: sum(({ sent, highest }) => sent - highest) + sum(({ sent, acked }) => sent - acked),
      doubled: sum(({ doubled }) => doubled),
      marked: sum(({ marked }) => marked),
      reordered: sum(({ reordered }) => reordered),
      stateLost: sum(({ stateLost }) => stateLost),
      disconnects: sum(({ disconnects }) => disconnects),
      errors: this.devices.flatMap(({ errors }) => errors).slice(0, 10),
    }
  }

  close(): void {
    clearInterval(this.#timer)
    for (const device of this.devices) device.close()
  }
}
