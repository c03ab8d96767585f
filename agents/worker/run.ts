/** `sluice worker ./handler.ts`: a worker as a process of its own. */

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { SluiceError } from '../../proto/errors.js'
import { echo } from './echo.js'
import type { WorkerHandler } from './handler.js'
import { createWorker, type Worker, type WorkerOptions } from './mod.js'

export interface RunOptions extends Omit<WorkerOptions, 'handler'> {
  /** `echo`, or the path of a .js, .mjs or .ts file whose default export is the handler. */
  handler: string
  /** Where signals come from; `process` by default. */
  signals?: Pick<NodeJS.Process, 'once'>
  /** Ends the process; `process.exit` by default. */
  exit?: (code: number) => void
  /** How long a drain may take on SIGTERM before the worker stops anyway, in milliseconds; 30,000 by default. */
  drainMs?: number
}

/**
 * Loads the handler and starts a worker. SIGTERM drains it first, SIGINT stops it at once; both exit with 0.
 * @throws SluiceError naming the file and the fix when the handler cannot be loaded, and as `createWorker` does
 */
export async function runWorker(options: RunOptions): Promise<Worker> {
  const { handler, signals = process, exit = process.exit, drainMs = 30_000, ...rest } = options
  const worker = await createWorker({ ...rest, handler: await loadHandler(handler) })
  const stop = async (): Promise<void> => {
    await worker.close()
    exit(0)
  }
  signals.once('SIGTERM', () => {
    const timer = setTimeout(stop, drainMs)
    void worker.drain().then(() => {
      clearTimeout(timer)
      return stop()
    })
  })
  signals.once('SIGINT', () => void stop())
  return worker
}

/**
 * The handler of that name: `echo`, or what a file default-exports.
 * @throws SluiceError `not_found` or `bad_request`, naming the file
 */
export async function loadHandler(name: string): Promise<WorkerHandler> {
  if (name === 'echo') return echo
  const file = resolve(name)
  if (!existsSync(file)) {
    throw new SluiceError(
      'not_found',
      `handler ${name}: there is no such file. Give 'echo' or the path of a .js or .ts file.`,
      { path: name },
    )
  }
  const found = defaultExport(await importFile(file, name))
  if (found === undefined) {
    throw new SluiceError(
      'bad_request',
      `handler ${name}: the file has no default export. End it with 'export default { frame(session, frame) { … } }'.`,
      { path: name },
    )
  }
  if (!isHandler(found)) {
    throw new SluiceError(
      'bad_request',
      `handler ${name}: the default export has no frame(session, frame) function, or a part of it is not a function.`,
      { path: name },
    )
  }
  return found
}

async function importFile(file: string, name: string): Promise<unknown> {
  const url = pathToFileURL(file).href
  try {
    if (!/\.[cm]?ts$/.test(file)) return await import(url)
    // Loaded only for TypeScript: it costs 50 ms and 15 MB.
    const { tsImport } = await import('tsx/esm/api')
    return await tsImport(url, import.meta.url)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new SluiceError('bad_request', `handler ${name} cannot be loaded: ${why}`, { path: name, cause })
  }
}

/** A CommonJS file that was compiled from an ES module has its default one level deeper. */
function defaultExport(module: unknown): unknown {
  const found = (module as { default?: unknown }).default
  const deeper = (found as { default?: unknown } | undefined)?.default
  return isHandler(found) || deeper === undefined ? found : deeper
}

function isHandler(value: unknown): value is WorkerHandler {
  if (typeof value !== 'object' || value === null) return false
  const parts = value as Record<string, unknown>
  if (typeof parts.frame !== 'function') return false
  return ['open', 'close', 'detach', 'attach'].every(
    (name) => parts[name] === undefined || typeof parts[name] === 'function',
  )
}
