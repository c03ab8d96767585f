/** JSON over HTTP with bounds: of time, of bytes, and of trust. */

import { SluiceError } from '../../../proto/errors.js'

/** One call. */
export interface JsonCall {
  readonly fetch?: typeof fetch
  readonly url: string
  /** A body makes it a POST. */
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** Longest answer that is read whole, in bytes: 10,000 members with room. */
export const MAX_ANSWER = 16 * 1024 * 1024
/** How much of an error's text is told. */
const TOLD = 200

/**
 * Sends; the answer's body is still to be read. Redirects are not followed: a token goes to nobody else.
 * @throws SluiceError `unavailable` with the status and the beginning of the text, unless the status is 200
 */
export async function send({ fetch: call = fetch, url, body, headers, signal }: JsonCall): Promise<Response> {
  const response = await call(url, {
    signal,
    redirect: 'error',
    headers: { accept: 'application/json', ...headers },
    ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
  })
  if (response.status === 200) return response
  const text = await readText(response, 64 * 1024).catch(() => '')
  const told = text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim()
    .slice(0, TOLD)
  throw new HttpError(response.status, `HTTP status ${response.status}${told === '' ? '' : `: ${told}`}`)
}

/** An answer other than 200. */
export class HttpError extends SluiceError {
  readonly status: number

  constructor(status: number, message: string) {
    super('unavailable', message)
    this.status = status
  }
}

/** Reads an answer whole. @throws SluiceError `bad_request` when it is too long or not JSON */
export async function readJson(response: Response, limit = MAX_ANSWER): Promise<unknown> {
  const text = await readText(response, limit)
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SluiceError('bad_request', 'the answer is not JSON', { cause })
  }
}

async function readText(response: Response, limit: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of response.body ?? []) {
    length += chunk.length
    if (length > limit) throw new SluiceError('bad_request', `the answer is longer than ${limit} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Cuts a stream of JSON values, one on each line, and decodes them. @throws SluiceError `bad_request` */
export async function* readLines(response: Response, limit = MAX_ANSWER): AsyncGenerator<unknown> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of response.body ?? []) {
    rest += decoder.decode(chunk, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > limit) throw new SluiceError('bad_request', `a line of the answer is longer than ${limit}`)
    for (const line of lines) if (line.trim() !== '') yield parseLine(line)
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new SluiceError('bad_request', 'a line of the answer is not JSON', { cause })
  }
}
