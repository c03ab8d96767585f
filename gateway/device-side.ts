/** The device side of a gateway: the WebSocket and the MQTT edge, and the addresses they listen on. */

import { addCounts } from './counters.js'
import type { Drain } from './drain.js'
import { createMqttEdge, type MqttEdge } from './edge/mqtt/edge.js'
import { createMqttEndpoint } from './edge/mqtt/websocket.js'
import type { HttpServer } from './edge/server/server.js'
import { CONNECT_PATH, createWebSocketEdge, type WebSocketEdge } from './edge/websocket/edge.js'
import type { GatewayOptions } from './gateway-options.js'
import type { GatewayStore } from './gateway-store.js'
import { listenMqttTls, type TlsListener } from './mqtt-tls.js'
import type { PeerSide } from './peer-side.js'
import type { SessionTable } from './session/session-table.js'
import type { TurnEnd } from './turn-end.js'

/** Where a running gateway is reached. */
export interface GatewayUrls {
  readonly http: string
  readonly ws: string
  readonly mqtt: string
}

export interface DeviceSideParts {
  readonly server: HttpServer
  readonly sessions: SessionTable
  readonly peers: Pick<PeerSide, 'fanout' | 'claims'>
  readonly drain: Drain
  readonly store: GatewayStore | undefined
  readonly turn: TurnEnd
}

export class DeviceSide {
  readonly mqtt: MqttEdge
  readonly #webSocket: WebSocketEdge
  readonly #options: GatewayOptions
  readonly #server: HttpServer
  #mqttTls: TlsListener | undefined

  constructor(options: GatewayOptions, parts: DeviceSideParts) {
    this.#options = options
    this.#server = parts.server
    this.mqtt = joinMqtt(options, parts)
    this.#webSocket = joinWebSocket(options, parts)
    this.#server.websocket(CONNECT_PATH, this.#webSocket)
    this.#server.websocket('/mqtt', createMqttEndpoint(this.mqtt))
  }

  get counters(): Readonly<Record<string, number>> {
    return addCounts({ ...this.mqtt.counters }, { ...this.#webSocket.counters })
  }

  /** @throws SluiceError `conflict` naming the port that is taken */
  async listen(): Promise<GatewayUrls> {
    const { host, port, mqttPort, advertise = host, tls, thread } = this.#options
    const shared = thread !== undefined
    const httpPort = await this.#server.listen(host, port)
    if (tls !== undefined) this.#mqttTls = await listenMqttTls(this.mqtt, { host, port: mqttPort, shared }, tls)
    const mqtt = this.#mqttTls?.port ?? (await this.mqtt.listen(host, mqttPort, shared))
    const s = tls === undefined ? '' : 's'
    const name = advertise.includes(':') ? `[${advertise}]` : advertise
    return {
      http: `http${s}://${name}:${httpPort}`,
      ws: `ws${s}://${name}:${httpPort}${CONNECT_PATH}`,
      mqtt: `mqtt${s}://${name}:${mqtt}`,
    }
  }

  /**
   * Runs `fn`, and writes what it brought for WebSocket devices. To MQTT clients nothing leaves before the store has this
   * turn's changes.
   */
  together(fn: () => void): void {
    this.#webSocket.together(fn)
  }

  /** Ends the MQTT connections and its listeners; the HTTP server is its owner's. */
  async close(): Promise<void> {
    const ended = this.#mqttTls?.close()
    await this.mqtt.close()
    await ended
  }
}

function joinMqtt(options: GatewayOptions, { sessions, peers, drain, store, turn }: DeviceSideParts): MqttEdge {
  const { clock, log, newId, random, mqtt = {}, mqttRules } = options
  const { fanout, claims } = peers
  return createMqttEdge({
    host: sessions,
    fanout,
    clock,
    log,
    newId,
    random,
    admit: ({ device, attributes, clean }) => {
      drain.refuse('mqtt')
      return claims.claim({ device, attributes, protocol: 'mqtt', resume: undefined, mqtt: clean ? 'end' : 'take' })
    },
    ...(mqttRules === undefined ? {} : { rules: mqttRules }),
    turn: turn.run,
    accepted: turn.accepted,
    options: mqtt,
    ...(store === undefined ? {} : { journal: store.sessions }),
  })
}

function joinWebSocket(options: GatewayOptions, { sessions, peers, drain, store }: DeviceSideParts): WebSocketEdge {
  const { id, clock, log, random, websocket = {} } = options
  const { fanout, claims } = peers
  return createWebSocketEdge({
    host: sessions,
    fanout,
    clock,
    log,
    gatewayId: id,
    admit: () => drain.refuse('websocket'),
    // Named one by one: after a spread V8 makes a hidden class for each object, and there is one for each connect.
    claim: ({ device, attributes, resume }) => claims.claim({ device, protocol: 'websocket', attributes, resume }),
    disconnected: (subscriber) => fanout.disconnected(subscriber),
    connected: (subscriber) => fanout.connected(subscriber),
    ...(store === undefined ? {} : { beforeAcks: () => store.sessions.commit() }),
    random,
    options: websocket,
  })
}
