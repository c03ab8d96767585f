/** Request bodies as values. */

import { SluiceError } from '../../../proto/errors.js'
import type { ApiRequest } from './router.js'

/** The body as JSON, undefined for an empty one. @throws SluiceError `bad_request` */
export async function readJson(request: ApiRequest): Promise<unknown> {
  const text = await request.text()
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SluiceError('bad_request', `the body is not JSON: ${(cause as Error).message}`, { cause })
  }
}
