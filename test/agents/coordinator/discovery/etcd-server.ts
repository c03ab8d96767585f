/** A real etcd for tests: its own ports and directory, started and stopped by the test. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from './source-harness.js'

export const hasEtcd = spawnSync('etcd', ['--version']).status === 0

/** Keys and values of etcd's JSON gateway. */
export const b64 = (text: string): string => Buffer.from(text).toString('base64')

export class Etcd {
  readonly #directory = mkdtempSync(join(tmpdir(), 'sluice-etcd-'))
  #client = 0
  #peer = 0
  #process: ChildProcess | undefined

  static async start(t: Test): Promise<Etcd> {
    const etcd = new Etcd()
    etcd.#client = await freePort()
    etcd.#peer = await freePort()
    t.teardown(async () => {
      await etcd.stop()
      rmSync(etcd.#directory, { recursive: true, force: true })
    })
    await etcd.start()
    return etcd
  }

  get url(): string {
    return `http://127.0.0.1:${this.#client}`
  }

  async start(): Promise<void> {
    const peer = `http://127.0.0.1:${this.#peer}`
    const flags = {
      'data-dir': this.#directory,
      'listen-client-urls': this.url,
      'advertise-client-urls': this.url,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `default=${peer}`,
      // A directory of its own in a temporary place, thrown away afterwards.
      'unsafe-no-fsync': 'true',
    }
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
    let child = spawn('etcd', args, { stdio: 'ignore' })
    await Promise.race([once(child, 'exit'), this.#ready(() => child.exitCode !== null)])
    if (child.exitCode !== null) {
      child = spawn(
        'etcd',
        args.filter((arg) => !arg.includes('no-fsync')),
        { stdio: 'ignore' },
      )
      await this.#ready(() => child.exitCode !== null)
    }
    this.#process = child
  }

  async stop(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async call(path: string, body: object, token?: string): Promise<Record<string, unknown>> {
    const headers = token === undefined ? {} : { authorization: token }
    const response = await fetch(`${this.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`)
    return (await response.json()) as Record<string, unknown>
  }

  put(key: string, value: string, more: object = {}): Promise<Record<string, unknown>> {
    return this.call('/v3/kv/put', { key: b64(key), value: b64(value), ...more })
  }

  delete(key: string): Promise<Record<string, unknown>> {
    return this.call('/v3/kv/deleterange', { key: b64(key) })
  }

  async #ready(ended: () => boolean): Promise<void> {
    for (let left = 400; left > 0 && !ended(); left--) {
      const well = await fetch(`${this.url}/health`).then(
        (response) => response.ok,
        () => false,
      )
      if (well) return
      await new Promise((resolve) => setTimeout(resolve, 25))
    }
  }
}
