/** Peers that are Node programs of a few lines: see ../peers/. */

import { fileURLToPath } from 'node:url'
import { freePort, PinnedProcess } from '../pinned-process.js'
import type { Contender } from './contender.js'

/** Starts a script of ../peers/ on a free port. */
export async function startPeer(
  script: string,
  cores: string | undefined,
  more: readonly string[] = [],
): Promise<{ port: number; process: PinnedProcess }> {
  const port = await freePort()
  const path = fileURLToPath(new URL(`../peers/${script}.js`, import.meta.url))
  const started = new PinnedProcess({ command: process.execPath, args: [path, String(port), ...more], cores })
  await started.listening(port)
  return { port, process: started }
}

function nodePeer(name: string, script: string, protocol: 'ws' | 'mqtt'): Contender {
  return {
    name,
    frames: false,
    missing: () => undefined,
    start: async (cores) => {
      const { port, process } = await startPeer(script, cores.server)
      const ports = protocol === 'ws' ? { ws: port, mqtt: 0 } : { ws: 0, mqtt: port }
      return { ...ports, pids: [process.pid], stop: () => process.stop() }
    },
  }
}

export const uws = nodePeer('uWS direct', 'uws-server', 'ws')
export const ws = nodePeer('ws direct', 'ws-server', 'ws')
/** Bounds, not servers: what is left when all that makes one is taken away. */
export const bareBroker = nodePeer('node:net, bare', 'bare-broker', 'mqtt')
export const bareRelay: Contender = {
  name: 'bare relay',
  frames: false,
  missing: () => undefined,
  start: async (cores) => {
    const behind = await startPeer('bare-relay', cores.rest)
    const { port, process } = await startPeer('bare-relay', cores.server, [String(behind.port)])
    const stop = async () => {
      await process.stop()
      await behind.process.stop()
    }
    return { ws: port, mqtt: 0, pids: [process.pid], stop }
  },
}
export const aedes = nodePeer('aedes', 'aedes-broker', 'mqtt')
