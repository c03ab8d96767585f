/** The coordinator's HTTP API, as commands use it: every failure becomes a message that says what to do. */

import { hostname, userInfo } from 'node:os'
import { CliError, ExitCode } from './cli-error.js'

/** Options that every command which talks to a coordinator has. */
export interface AdminOptions {
  /** Base URL; of several coordinators with commas between: the first that can be reached answers. */
  readonly coordinator: string
  /** Bearer token of the admin API. */
  readonly token?: string
  /** Milliseconds before the call is given up; 10 s unless said otherwise. */
  readonly timeoutMs?: number
}

/** Calls of one coordinator. */
export interface AdminClient {
  readonly url: string
  get(path: string): Promise<unknown>
  send(method: 'POST' | 'PUT', path: string, body?: unknown): Promise<unknown>
}

/** @throws CliError (usage) when the URL is not http or https */
export function createAdminClient(options: AdminOptions): AdminClient {
  const bases = options.coordinator.split(',').map((url) => baseUrl(url.trim()))
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const { response, base } = await requestAny(bases, method, path, body, options)
    const text = await response.text()
    if (!response.ok) throw refusal(response.status, text, `${method} ${path}`)
    try {
      return text === '' ? undefined : JSON.parse(text)
    } catch (cause) {
      throw new CliError(`${base} answered ${method} ${path} with something that is not JSON`, {
        fix: 'Is this the address of a Sluice coordinator? Set it with --coordinator URL or SLUICE_COORDINATOR.',
        cause,
      })
    }
  }
  return { url: bases[0] as string, get: (path) => call('GET', path), send: call }
}

function baseUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CliError(`--coordinator ${text} is not a URL`, {
      exitCode: ExitCode.USAGE,
      fix: 'Write it as http://HOST:PORT, for example http://127.0.0.1:7000.',
    })
  }
  return url.href.replace(/\/+$/, '')
}

/** The first coordinator that can be reached answers. What may have been done already is not asked of a second one. */
async function requestAny(
  bases: readonly string[],
  method: string,
  path: string,
  body: unknown,
  options: AdminOptions,
): Promise<{ response: Response; base: string }> {
  for (const [i, base] of bases.entries()) {
    try {
      return { response: await request(base, method, path, body, options), base }
    } catch (error) {
      const refused = (error as { cause?: { cause?: { code?: string } } }).cause?.cause?.code === 'ECONNREFUSED'
      if (i === bases.length - 1 || (method !== 'GET' && !refused)) throw error
    }
  }
  throw new CliError('no coordinator was named', { exitCode: ExitCode.USAGE })
}

async function request(
  base: string,
  method: string,
  path: string,
  body: unknown,
  options: AdminOptions,
): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', 'x-sluice-user': userName() }
  if (options.token !== undefined) headers.authorization = `Bearer ${options.token}`
  if (body !== undefined) headers['content-type'] = 'application/json'
  try {
    return await fetch(base + path, {
      method,
      headers,
      signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  } catch (cause) {
    throw unreachable(base, cause)
  }
}

/** Who is asking, for the coordinator's history. Headers carry ASCII only. */
function userName(): string {
  try {
    return `${userInfo().username}@${hostname()}`.replace(/[^\x21-\x7e]/g, '?')
  } catch {
    // A container may run as a user id without a name.
    return `unknown@${hostname()}`
  }
}

function unreachable(base: string, cause: unknown): CliError {
  const inner = (cause as { cause?: { code?: string } }).cause?.code ?? (cause as { name?: string }).name ?? 'error'
  const why =
    inner === 'TimeoutError' ? 'it did not answer in time' : inner === 'ECONNREFUSED' ? 'nothing listens there' : inner
  return new CliError(`the coordinator at ${base} cannot be reached: ${why}`, {
    exitCode: ExitCode.UNREACHABLE,
    fix: 'Start one with `sluice up`, or name another with --coordinator URL or SLUICE_COORDINATOR.',
    cause,
  })
}

function refusal(status: number, text: string, what: string): CliError {
  const { code, message, path } = errorBody(text)
  const exitCode = status === 404 ? ExitCode.NOT_FOUND : status >= 500 ? ExitCode.FAILED : ExitCode.REFUSED
  const reason = message ?? `${what} was answered with HTTP status ${status}`
  const at = path === undefined || reason.includes(path) ? '' : `${path}: `
  const fix =
    status === 401 || status === 403
      ? 'Give the admin token with --token or SLUICE_TOKEN.'
      : status === 503
        ? 'It may pass: try again in a few seconds.'
        : undefined
  const told = code === undefined || reason.includes('\n') ? '' : ` (${code})`
  return new CliError(`${at}${reason}${told}`, {
    exitCode,
    ...(fix === undefined ? {} : { fix }),
  })
}

function errorBody(text: string): { code?: string; message?: string; path?: string } {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: string; message?: string; path?: string } }
    return error ?? {}
  } catch {
    return {}
  }
}
