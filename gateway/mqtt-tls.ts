/** MQTT over TLS: a listener in front of the MQTT edge. */

import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer, type TlsOptions } from 'node:tls'
import { SluiceError } from '../proto/errors.js'
import type { MqttEdge } from './edge/mqtt/edge.js'
import { listenError } from './edge/server/listen-error.js'
import { type Listening, startListening } from './edge/server/listening.js'
import type { ServerTls } from './edge/server/server.js'

/** A client may take this long for its handshake, milliseconds. */
const HANDSHAKE_MS = 10_000

/** A listener that runs. */
export interface TlsListener {
  readonly port: number
  /** Takes no more connections; resolves when those that it took are gone. */
  close(): Promise<void>
}

/**
 * @param address port 0 for any free one
 * @throws SluiceError `conflict` with path `port` when the port is taken, `bad_request` with path `tls` for the files
 */
export async function listenMqttTls(
  edge: Pick<MqttEdge, 'acceptSocket' | 'acceptFailed'>,
  address: Pick<Listening, 'host' | 'port' | 'shared'>,
  tls: ServerTls,
): Promise<TlsListener> {
  const { host, port } = address
  const server = createTlsServer(await readFiles(tls))
  // A client that does not get through the handshake is nobody's loss; without a listener it is closed just so.
  server.on('secureConnection', (socket) => edge.acceptSocket(socket))
  await startListening(server, {
    ...address,
    refused: (error) => listenError(error, host, port),
    failed: (error) => edge.acceptFailed(error),
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

function createTlsServer(files: TlsOptions) {
  try {
    return createServer({ ...files, noDelay: true, handshakeTimeout: HANDSHAKE_MS })
  } catch (error) {
    throw badFiles(error)
  }
}

async function readFiles({ cert, key, passphrase }: ServerTls): Promise<TlsOptions> {
  try {
    const files = { cert: await readFile(cert), key: await readFile(key) }
    return passphrase === undefined ? files : { ...files, passphrase }
  } catch (error) {
    throw badFiles(error)
  }
}

function badFiles(error: unknown): SluiceError {
  return new SluiceError('bad_request', `the TLS certificate cannot be used: ${error}`, { path: 'tls', cause: error })
}
