/** A thread's own listener: the port that devices use leads to any thread, other threads and gateways need this one. */

import { createHttpServer } from './edge/server/create-server.js'
import { type HttpServer, json } from './edge/server/server.js'
import type { GatewayOptions } from './gateway-options.js'
import type { createPeerEndpoint } from './peer-endpoint.js'

/** @throws SluiceError `conflict` naming the port that is taken */
export async function listenForPeers(
  { host, prefer, log, clock, tls }: GatewayOptions,
  port: number,
  endpoint: ReturnType<typeof createPeerEndpoint>,
): Promise<HttpServer> {
  const server = await createHttpServer({
    log,
    clock,
    ...(prefer === undefined ? {} : { prefer }),
    ...(tls === undefined ? {} : { tls }),
  })
  server.websocket('/v1/peer', endpoint)
  server.route('GET', '/healthz', () => json(200, { status: 'ok' }))
  await server.listen(host, port)
  return server
}
