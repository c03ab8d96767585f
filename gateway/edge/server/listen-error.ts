import { createServer } from 'node:net'
import { SluiceError } from '../../../proto/errors.js'

/** What is wrong with listening there, from the system's error. `path` is `port` when the port is at fault, else `host`. */
export function listenError(error: unknown, host: string, port: number): SluiceError {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  if (code === 'EADDRINUSE')
    return new SluiceError('conflict', `port ${port} on ${host} is taken by another process`, {
      path: 'port',
      cause: error,
    })
  if (code === 'EACCES')
    return new SluiceError('bad_request', `port ${port} needs more rights than this process has; take one above 1023`, {
      path: 'port',
      cause: error,
    })
  const reason = code ?? String(error)
  return new SluiceError('bad_request', `cannot listen on ${host}: ${reason}`, { path: 'host', cause: error })
}

/** Throws unless `port` is a whole number from 0 to 65535. uWebSockets.js would take it modulo 65536. */
export function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new SluiceError('bad_request', `port ${port} is not a whole number from 0 to 65535`, { path: 'port' })
}

/** uWebSockets.js only says that listening failed. Trying the same with `node:net` tells why. */
export function findListenError(host: string, port: number): Promise<SluiceError> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', (error) => resolve(listenError(error, host, port)))
    probe.listen({ host, port, exclusive: true }, () => {
      // It works now: whoever held the port has let go in between, or holds it with SO_REUSEPORT.
      probe.close(() => resolve(listenError({ code: 'EADDRINUSE' }, host, port)))
    })
  })
}
