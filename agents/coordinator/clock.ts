/** Time and logging as the coordinator takes them, so that tests own both. */

/** Same shape as the gateways' clock. */
export interface Clock {
  /** Milliseconds that never go back: for intervals. */
  now(): number
  /** Milliseconds since 1970: for what people read and what is kept on disk. */
  wall(): number
  /** Calls `fn` once after `ms`; the returned function cancels it. */
  after(ms: number, fn: () => void): () => void
}

/** The process's own clock. */
export function createSystemClock(): Clock {
  return {
    now: () => performance.now(),
    wall: () => Date.now(),
    after(ms, fn) {
      const timer = setTimeout(fn, ms)
      return () => clearTimeout(timer)
    },
  }
}

/** What of a pino logger is used: fields first, then the message. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Says nothing. */
export const SILENT_LOG: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
