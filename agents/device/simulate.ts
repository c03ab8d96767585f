/**
 * Simulated devices for `sluice device` and `sluice up --devices N`: half on WebSocket through this SDK, half on MQTT,
 * each sending a small reading every so often and counting the answers. Node only; prints nothing.
 */

import mqtt, { type MqttClient } from 'mqtt'
import { findCandidates } from './candidates.js'
import type { Device } from './device.js'
import { connect } from './mod.js'
import { DEFAULT_DEVICE_LIMITS } from './options.js'
import { type Platform, systemPlatform } from './platform.js'

export interface SimulateOptions {
  bootstrap: readonly string[]
  /** Devices in all; the odd one out is a WebSocket one. */
  count: number
  /** Readings that each device sends in a second; 0.5 by default. */
  rate?: number
  /** Ids are PREFIX-1, PREFIX-2, …; `device` by default. */
  prefix?: string
  token?: string
  /** 4 is MQTT 3.1.1; 5 by default. */
  mqttVersion?: 4 | 5
  /** Devices that connect at the same time; the rest follow as these are done. */
  connecting?: number
}

/** Totals since the start. */
export interface SimulationStats {
  /** Devices that are connected now. */
  connected: number
  sent: number
  /** Answers of workers. */
  answered: number
  errors: number
  reconnects: number
}

export interface Simulation {
  stats(): SimulationStats
  close(): Promise<void>
}

interface SimulatedDevice {
  readonly up: boolean
  /** Sends one reading. */
  send(reading: string): void
  close(): Promise<void>
}

/**
 * Starts the devices; resolves when each one connected, or is trying again after a first failure.
 * @throws SluiceError `unavailable` when no bootstrap URL answers
 */
export async function simulateDevices(options: SimulateOptions): Promise<Simulation> {
  const { count, rate = 0.5, prefix = 'device', connecting = 50 } = options
  const platform = await systemPlatform()
  const mqttUrls = count > 1 ? await findMqtt(platform, options.bootstrap) : []
  const counters = { sent: 0, answered: 0, errors: 0, reconnects: 0 }
  const devices: SimulatedDevice[] = []
  const timers: NodeJS.Timeout[] = []
  let next = 0
  const connectSome = async (): Promise<void> => {
    while (next < count) {
      const at = next++
      const id = `${prefix}-${at + 1}`
      const url = at % 2 === 1 ? mqttUrls[(at >> 1) % Math.max(1, mqttUrls.length)] : undefined
      const device =
        url === undefined ? await overWebSocket(id, options, counters) : await overMqtt(id, url, options, counters)
      devices.push(device)
      startReadings(device, rate, platform.random, counters, timers)
    }
  }
  await Promise.all(Array.from({ length: Math.min(connecting, count) }, connectSome))
  return {
    stats: () => ({ connected: devices.filter(({ up }) => up).length, ...counters }),
    async close() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all(devices.map((device) => device.close()))
    },
  }
}

type Counters = Omit<SimulationStats, 'connected'>

/** Starts somewhere in its interval, so that the devices do not send all at once. Its timers go into `timers`. */
function startReadings(
  device: SimulatedDevice,
  rate: number,
  random: () => number,
  counters: Counters,
  timers: NodeJS.Timeout[],
): void {
  if (!(rate > 0)) return
  let number = 0
  const send = () => {
    if (!device.up) return
    counters.sent++
    device.send(JSON.stringify({ n: ++number, celsius: Math.round(180 + random() * 60) / 10 }))
  }
  const everyMs = 1000 / rate
  timers.push(setTimeout(() => timers.push(setInterval(send, everyMs)), random() * everyMs))
}

/** Where MQTT devices connect: every gateway that the bootstrap URLs list. */
async function findMqtt(platform: Platform, bootstrap: readonly string[]): Promise<string[]> {
  const limits = { ...DEFAULT_DEVICE_LIMITS, candidates: 100 }
  const found = await findCandidates(platform, bootstrap, undefined, limits)
  return found.flatMap(({ mqtt: url }) => (url === undefined ? [] : [url]))
}

async function overWebSocket(id: string, options: SimulateOptions, counters: Counters): Promise<SimulatedDevice> {
  const { bootstrap, token } = options
  const device: Device = await connect({ bootstrap, device: id, ...(token !== undefined && { token }) })
  const failed = () => {
    counters.errors++
  }
  device.on('error', failed)
  device.on('data', () => {
    counters.answered++
  })
  device.on('state', (state) => {
    if (state === 'connecting') counters.reconnects++
  })
  return {
    get up() {
      return device.state === 'connected'
    },
    send: (reading) => void device.send(reading, { topic: `devices/${id}/reading` }).catch(failed),
    close: async () => device.close(),
  }
}

async function overMqtt(
  id: string,
  url: string,
  options: SimulateOptions,
  counters: Counters,
): Promise<SimulatedDevice> {
  const { token, mqttVersion = 5 } = options
  const password = token === undefined ? {} : { username: id, password: token }
  const client: MqttClient = mqtt.connect(url, {
    clientId: id,
    protocolVersion: mqttVersion,
    reconnectPeriod: 1000,
    ...password,
  })
  const topic = `devices/${id}/reading`
  const failed = () => {
    counters.errors++
  }
  client.on('error', failed)
  client.on('message', () => {
    counters.answered++
  })
  client.on('reconnect', () => {
    counters.reconnects++
  })
  await new Promise<void>((resolve) => {
    client.once('connect', () => client.subscribe(`${topic}/reply`, () => resolve()))
    client.once('close', () => resolve())
  })
  return {
    get up() {
      return client.connected
    },
    send: (reading) =>
      void client.publish(topic, reading, { qos: 0 }, (error) => {
        if (error) failed()
      }),
    close: () => client.endAsync(true),
  }
}
