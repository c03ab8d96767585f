/** A signal that fires with another one, or when time is up. */

import { SluiceError } from '../../../proto/errors.js'
import type { Clock } from '../clock.js'

/**
 * Runs `work` with a signal that fires with `outer` or after `ms`.
 * @throws SluiceError `unavailable` when time was up; what `work` throws
 */
export async function withDeadline<T>(
  clock: Clock,
  outer: AbortSignal,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController()
  const abort = (): void => inner.abort(outer.reason)
  const cancel = clock.after(ms, () => inner.abort(new SluiceError('unavailable', `no answer within ${ms} ms`)))
  outer.addEventListener('abort', abort)
  try {
    outer.throwIfAborted()
    return await work(inner.signal)
  } finally {
    cancel()
    outer.removeEventListener('abort', abort)
  }
}
