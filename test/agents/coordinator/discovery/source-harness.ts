/** What tests of a source need: a log that can be read, lists that can be waited for, free ports. */

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { Test } from 'tap'
import { type Clock, createSystemClock } from '../../../../agents/coordinator/clock.js'
import type { DiscoveredMember, Discovery, SourceContext } from '../../../../agents/coordinator/discovery/discovery.js'

/** Waiting for longer than this is a failure. */
const LIMIT_MS = 10_000

/** Every wait of the source is a fraction of what it asked for, so that tests see back-offs without sitting through them. */
export function fasterClock(factor: number): Clock {
  const clock = createSystemClock()
  return { ...clock, after: (ms, fn) => clock.after(ms / factor, fn) }
}

export class SourceHarness {
  readonly context: SourceContext
  readonly logged: { level: string; message: string; fields: object }[] = []
  /** Each list as it came. */
  readonly lists: (readonly DiscoveredMember[])[] = []
  #wake: (() => void)[] = []

  constructor(clock: Clock = createSystemClock()) {
    const line = (level: string) => (fields: object, message: string) => {
      this.logged.push({ level, message, fields })
      this.#look()
    }
    const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
    this.context = { clock, random: () => 0.5, log }
  }

  /** Starts a source that ends with the test. */
  run(t: Test, source: Discovery): void {
    t.teardown(() => source.close())
    source.start((members) => {
      this.lists.push(members)
      this.#look()
    })
  }

  get links(): string[] | undefined {
    return this.lists.at(-1)?.map(({ link }) => link)
  }

  get warnings(): string[] {
    return this.logged.filter(({ level }) => level === 'warn').map(({ message }) => message)
  }

  /** Waits until the newest list has exactly these links. */
  async untilLinks(...links: string[]): Promise<readonly DiscoveredMember[]> {
    const wanted = JSON.stringify(links)
    await this.until(
      () => JSON.stringify(this.links) === wanted,
      () => `links ${wanted}, not ${JSON.stringify(this.links)}`,
    )
    return this.lists.at(-1) ?? []
  }

  async untilLogged(pattern: RegExp): Promise<void> {
    await this.until(
      () => this.logged.some(({ message }) => pattern.test(message)),
      () => `a line like ${pattern}`,
    )
  }

  async until(passes: () => boolean, what: () => string): Promise<void> {
    const limit = Date.now() + LIMIT_MS
    while (!passes()) {
      if (Date.now() > limit) throw new Error(`waited in vain for ${what()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50)
        this.#wake.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  #look(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
