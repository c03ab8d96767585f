/** Sluice as people run it: a coordinator, a gateway and a worker with the built-in echo, each its own process. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PinnedProcess, sleep } from '../pinned-process.js'
import type { Contender, Cores, Running } from './contender.js'

const CLI = fileURLToPath(new URL('../../../agents/cli/main.js', import.meta.url))
/** How long the routing table and the links may take, in milliseconds. */
const READY_MS = 15_000
const SCRAPE_MS = 1000

/** What differs between Sluice's rows. */
export interface SluiceVariant {
  readonly name?: string
  /** A routes file's text; without one everything goes to the one pool. */
  readonly routes?: string
  readonly gatewayFlags?: readonly string[]
  /** A configuration file's text for the gateway. */
  readonly config?: string
  /** Read /metrics every second, as Prometheus would every fifteen. */
  readonly scraped?: boolean
}

/** Messages between devices stay on the gateway, as on a broker; DATA goes to the pool. */
export const BROKER_ROUTES = `pools:
  default: { policy: consistent_hash, key: device }
routes:
  - { name: data, match: { type: data }, to: [{ pool: default }] }
`

export function sluice(variant: SluiceVariant = {}): Contender {
  return {
    name: variant.name ?? 'Sluice',
    frames: true,
    missing: () => undefined,
    start: (cores) => start(variant, cores),
  }
}

async function start(variant: SluiceVariant, cores: Cores): Promise<Running> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  const roles: PinnedProcess[] = []
  const role = async (name: string, args: readonly string[], on: string | undefined) => {
    const process_ = new PinnedProcess({ command: process.execPath, args: [CLI, name, ...args, '--json'], cores: on })
    roles.push(process_)
    return { pid: process_.pid, ready: JSON.parse(await process_.firstLine()) as Record<string, string> }
  }
  let scraping: NodeJS.Timeout | undefined
  const stop = async () => {
    clearInterval(scraping)
    await Promise.all(roles.map((one) => one.stop()))
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const routesFlag = await fileFlag('--routes', join(folder, 'routes.yaml'), variant.routes)
    const configFlag = await fileFlag('--config', join(folder, 'gateway.yaml'), variant.config)
    const coordinator = await role('coordinator', ['--port', '0', '--data', folder, ...routesFlag], cores.rest)
    const to = ['--coordinator', coordinator.ready.url as string]
    await role('worker', ['echo', ...to], cores.rest)
    const ports = ['--port', '0', '--mqtt-port', '0']
    const gateway = await role(
      'gateway',
      [...ports, ...to, ...configFlag, ...(variant.gatewayFlags ?? [])],
      cores.server,
    )
    await ready(gateway.ready.http as string)
    if (variant.scraped) scraping = setInterval(() => void scrape(gateway.ready.http as string), SCRAPE_MS)
    const port = (url: string | undefined) => Number(new URL(url as string).port)
    return { ws: port(gateway.ready.ws), mqtt: port(gateway.ready.mqtt), pids: [gateway.pid], stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function fileFlag(flag: string, path: string, text: string | undefined): Promise<string[]> {
  if (text === undefined) return []
  await writeFile(path, text)
  return [flag, path]
}

async function scrape(http: string): Promise<void> {
  // The gateway may be on its way out.
  await fetch(`${http}/metrics`).then(
    (answer) => answer.text(),
    () => '',
  )
}

async function ready(http: string): Promise<void> {
  const deadline = Date.now() + READY_MS
  for (;;) {
    const answer = await fetch(`${http}/readyz`)
    if (answer.ok) return
    if (Date.now() > deadline) throw new Error(`the gateway is not ready: ${await answer.text()}`)
    await sleep(50)
  }
}
