/** One storm, from the fleet's start to its end. */

import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Product, startProduct } from '../../integration/product.js'
import { Crowd } from './crowd.js'
import { ProbeThread } from './probes.js'
import type { Quantiles } from './times.js'

export interface StormOptions {
  readonly devices: number
  /** Devices on the other gateway that measure. */
  readonly probes?: number
  /** `websocket.connectsPerSecond` of the gateways; their default when absent. */
  readonly rate?: number
}

/** Times in milliseconds. */
export interface StormResult {
  readonly devices: number
  readonly connectMs: number
  readonly before: Quantiles
  readonly during: Quantiles
  /** From the kill until a device was greeted again. */
  readonly back: Quantiles
  readonly resumed: number
  /** Attempts that were answered 503. */
  readonly refused: number
  /** Devices that never came back. */
  readonly lost: number
}

/** Starts a fleet of its own, and stops it. */
export async function runStorm({ devices, probes = 20, rate }: StormOptions): Promise<StormResult> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-storm-'))
  const config = join(dir, 'storm.json')
  const websocket = rate === undefined ? {} : { connectsPerSecond: rate }
  writeFileSync(config, JSON.stringify({ gateway: { websocket } }))
  const product = await startProduct('--gateways', '2', '--workers', '1', '--config', config)
  try {
    return await measure(product, devices, probes)
  } finally {
    await product.stop()
    await rm(dir, { recursive: true, force: true })
  }
}

async function measure(product: Product, devices: number, count: number): Promise<StormResult> {
  const [dying, other] = product.gateways
  if (dying === undefined || other === undefined) throw new Error('two gateways are needed')
  const probes = await ProbeThread.start(other.ws, count)
  const crowd = new Crowd(devices, new URL(dying.ws))
  try {
    const began = performance.now()
    await crowd.gather()
    const connectMs = Math.round(performance.now() - began)
    await probes.take()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const before = await probes.take()
    await crowd.storm(new URL(other.ws), () => process.kill(dying.pid, 'SIGKILL'))
    const during = await probes.take()
    const { resumed, refused, lost } = crowd
    return { devices, connectMs, before, during, back: crowd.back.quantiles, resumed, refused, lost }
  } finally {
    await probes.stop()
    crowd.stop()
  }
}
