/**
 * What discovery needs of etcd v3, over the JSON gateway that every server has: range, watch, and logging in
 * (https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/). Keys and values are base64, numbers of 64 bits are texts.
 */

import { SluiceError } from '../../../proto/errors.js'
import { readList, readObject } from '../../../proto/fields.js'
import { withDeadline } from './deadline.js'
import type { SourceContext } from './discovery.js'
import { HttpError, readJson, readLines, send } from './http-json.js'

/** A key and its value, both base64. */
export interface EtcdPair {
  readonly key: string
  readonly value: unknown
}

/** How long a question that does not wait for anything may take, in milliseconds. */
const ASK_MS = 5000

/** Asks one server at a time, the next one after a failure. */
export class EtcdClient {
  readonly #urls: readonly string[]
  readonly #user: string | undefined
  readonly #context: SourceContext
  #at = 0
  #token: string | undefined

  /** @param user `NAME:PASSWORD` */
  constructor(urls: readonly string[], user: string | undefined, context: SourceContext) {
    this.#urls = urls.map((url) => url.replace(/\/+$/, ''))
    this.#user = user
    this.#context = context
  }

  /**
   * All keys that begin with `prefix`, as of one revision.
   * @throws SluiceError; the next call asks the next server
   */
  range(prefix: string, limit: number, signal: AbortSignal): Promise<{ revision: number; pairs: EtcdPair[] }> {
    return this.#orNext(async () => {
      const answer = await this.#ask('/v3/kv/range', { ...keysOf(prefix), limit: String(limit) }, signal)
      const { header, kvs, more } = readObject(answer, 'the answer')
      if (more === true) {
        this.#context.log.warn(
          { prefix, limit },
          `there are more than ${limit} keys under ${prefix}; the others are left out`,
        )
      }
      const pairs = readList(kvs ?? [], 'kvs', limit).map((pair, i): EtcdPair => {
        const { key, value } = readObject(pair, `kvs[${i}]`)
        return { key: String(key), value }
      })
      return { revision: revisionOf(header), pairs }
    })
  }

  /**
   * Watches from a revision on, for `ms` at most. Resolves when that time is over, or the revision was compacted away:
   * then everything has to be read again.
   * @throws SluiceError when the stream cannot be had or breaks
   */
  watch(
    prefix: string,
    revision: number,
    ms: number,
    signal: AbortSignal,
    onEvents: (events: unknown) => void,
  ): Promise<void> {
    return this.#orNext(async () => {
      const over = new AbortController()
      const stop = (): void => over.abort()
      const cancel = this.#context.clock.after(ms, stop)
      signal.addEventListener('abort', stop)
      try {
        signal.throwIfAborted()
        await this.#stream(prefix, revision, over.signal, onEvents)
      } catch (error) {
        if (!over.signal.aborted || signal.aborted) throw error
      } finally {
        cancel()
        signal.removeEventListener('abort', stop)
        over.abort()
      }
    })
  }

  async #stream(
    prefix: string,
    revision: number,
    signal: AbortSignal,
    onEvents: (events: unknown) => void,
  ): Promise<void> {
    const create = { ...keysOf(prefix), start_revision: String(revision) }
    const response = await this.#send('/v3/watch', { create_request: create }, signal)
    for await (const line of readLines(response)) {
      const { result, error } = readObject(line, 'the answer')
      if (error !== undefined && error !== null)
        throw new SluiceError('unavailable', `the watch failed: ${messageOf(error)}`)
      const { events, canceled, compact_revision, cancel_reason } = readObject(result, 'result')
      if (compact_revision !== undefined) return
      if (canceled === true) throw new SluiceError('unavailable', `the watch was ended: ${String(cancel_reason)}`)
      if (events !== undefined) onEvents(events)
    }
    throw new SluiceError('unavailable', 'the server ended the watch')
  }

  async #ask(path: string, body: object, signal: AbortSignal): Promise<unknown> {
    return withDeadline(this.#context.clock, signal, ASK_MS, async (inner) =>
      readJson(await this.#send(path, body, inner)),
    )
  }

  async #send(path: string, body: object, signal: AbortSignal): Promise<Response> {
    if (this.#user !== undefined && this.#token === undefined) this.#token = await this.#logIn(this.#user, signal)
    return this.#post(path, body, signal).catch((error: unknown) => {
      // Tokens end, and a server that restarted knows none of them: the next call logs in again.
      if (error instanceof HttpError) this.#token = undefined
      throw error
    })
  }

  async #logIn(user: string, signal: AbortSignal): Promise<string> {
    const colon = user.indexOf(':')
    const body = { name: user.slice(0, colon), password: user.slice(colon + 1) }
    const { token } = readObject(await readJson(await this.#post('/v3/auth/authenticate', body, signal)), 'the answer')
    if (typeof token !== 'string') throw new SluiceError('unavailable', 'logging in gave no token')
    return token
  }

  #post(path: string, body: object, signal: AbortSignal): Promise<Response> {
    const { fetch } = this.#context
    return send({
      ...(fetch === undefined ? {} : { fetch }),
      url: `${this.#urls[this.#at] as string}${path}`,
      body,
      headers: this.#token === undefined ? {} : { authorization: this.#token },
      signal,
    })
  }

  async #orNext<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.#at = (this.#at + 1) % this.#urls.length
      throw error
    }
  }
}

/** The range of all keys with a prefix ends before the prefix with its last byte that can be counted up, counted up. */
function keysOf(prefix: string): { key: string; range_end: string } {
  const key = Buffer.from(prefix)
  const end = Buffer.from(prefix)
  let length = end.length
  while (length > 0 && end[length - 1] === 0xff) length--
  if (length > 0) end[length - 1] = (end[length - 1] as number) + 1
  // Nothing can be counted up: to the end of all keys, which is written as one zero byte.
  const rangeEnd = length === 0 ? Buffer.from([0]) : end.subarray(0, length)
  return { key: key.toString('base64'), range_end: rangeEnd.toString('base64') }
}

function revisionOf(header: unknown): number {
  const revision = Number(readObject(header, 'header').revision)
  if (!Number.isSafeInteger(revision) || revision < 1)
    throw new SluiceError('bad_request', 'the answer names no revision', { path: 'header.revision' })
  return revision
}

function messageOf(error: unknown): string {
  const { message } = readObject(error, 'error')
  return String(message ?? 'no reason given').slice(0, 200)
}
