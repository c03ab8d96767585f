/** The machine that the figures come from. */

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { arch, availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { loadUws } from '../../gateway/edge/server/uws-server.js'
import type { Cores } from './contenders/contender.js'
import { isInstalled } from './pinned-process.js'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly node: string
  /** What the gateway's HTTP and WebSocket server stands on here. */
  readonly edge: string
  readonly cpuFlavour: string
  readonly virtual: boolean
  readonly pinned: boolean
  /** Load average of the last minute, before the bench began. */
  readonly load: number
}

export async function describeMachine(): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: `Linux ${release()}`,
    node: process.version,
    edge: await edgeLibrary(),
    cpuFlavour: arch(),
    virtual: /\bhypervisor\b/.test(readText('/proc/cpuinfo')),
    pinned: isInstalled('taskset') && availableParallelism() > 1,
    load: loadavg()[0] ?? 0,
  }
}

/** The first core is the server's; everything else shares the others. */
export function divideCores(cores: number): Cores {
  if (cores < 2) return { server: undefined, rest: undefined }
  return { server: '0', rest: cores === 2 ? '1' : `1-${cores - 1}` }
}

async function edgeLibrary(): Promise<string> {
  const version = (name: string) =>
    (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version
  try {
    await loadUws()
    return `uWebSockets.js ${version('uWebSockets.js')}`
  } catch {
    return `ws ${version('ws')} (uWebSockets.js does not load here)`
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
