/** What the SDK needs of the machine it runs on. Everything is injectable; nothing here is Node's alone. */

/** The part of the WHATWG WebSocket that the SDK uses; browsers, Node 22 and the `ws` package have it. */
export interface DeviceSocket {
  binaryType: string
  readonly readyState: number
  readonly bufferedAmount: number
  send(data: Uint8Array): void
  close(code?: number, reason?: string): void
  addEventListener(type: 'open' | 'error', listener: () => void): void
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void
  addEventListener(type: 'close', listener: (event: { code: number; reason: string }) => void): void
}

export interface Platform {
  /** Milliseconds that never go back. */
  now(): number
  /** Calls `fn` once after `ms`; the returned function cancels it. */
  after(ms: number, fn: () => void): () => void
  /** 0 to 1. */
  random(): number
  fetch(url: string, init: { signal: AbortSignal; cache: 'no-store'; mode?: 'no-cors' }): Promise<ProbeResponse>
  open(url: string): DeviceSocket
}

/** The part of a fetch Response that the SDK reads. */
export interface ProbeResponse {
  readonly ok: boolean
  readonly status: number
  readonly type: string
  json(): Promise<unknown>
  arrayBuffer(): Promise<ArrayBuffer>
}

type SocketClass = new (url: string) => DeviceSocket

/** The real one. Node 20 has no WebSocket of its own: there the `ws` package is loaded, which browsers' bundles leave out. */
export async function systemPlatform(): Promise<Platform> {
  const own = (globalThis as { WebSocket?: unknown }).WebSocket
  const Socket = (own ?? (await importNamed('ws')).WebSocket) as SocketClass
  return {
    now: () => performance.now(),
    after(ms, fn) {
      const timer = setTimeout(fn, ms)
      return () => clearTimeout(timer)
    },
    random: Math.random,
    fetch: (url, init) => fetch(url, init),
    open: (url) => new Socket(url),
  }
}

/** A bundler follows only literal names; this one is for Node alone. */
function importNamed(name: string): Promise<Record<string, unknown>> {
  return import(/* @vite-ignore */ /* webpackIgnore: true */ name)
}
