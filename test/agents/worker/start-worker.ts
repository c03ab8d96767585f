/** A worker with a coordinator of its own, stopped when the test ends. */

import type { Test } from 'tap'
import { createWorker, type Worker, type WorkerHandler, type WorkerOptions } from '../../../agents/worker/mod.js'
import { CoordinatorEnd } from './coordinator-end.js'

export interface LogLine {
  level: 'info' | 'warn' | 'error'
  fields: object
  message: string
}

export interface Started {
  worker: Worker
  coordinator: CoordinatorEnd
  log: LogLine[]
}

export async function startWorker(
  t: Test,
  handler: WorkerHandler,
  more: Partial<WorkerOptions> = {},
): Promise<Started> {
  const coordinator = await CoordinatorEnd.start()
  t.teardown(() => coordinator.close())
  const log: LogLine[] = []
  const line = (level: LogLine['level']) => (fields: object, message: string) =>
    void log.push({ level, fields, message })
  const worker = await createWorker({
    ...{ coordinator: coordinator.url, pool: 'default', id: 'w-1', handler },
    ...{ log: { info: line('info'), warn: line('warn'), error: line('error') }, ...more },
  })
  t.teardown(() => worker.close())
  return { worker, coordinator, log }
}

/** A promise and its ends. */
export function deferred<T = void>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: Error) => void
} {
  let resolve: (value: T) => void = () => undefined
  let reject: (error: Error) => void = () => undefined
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
