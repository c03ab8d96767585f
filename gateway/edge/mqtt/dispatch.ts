/** What each packet of a connected client does, but for PUBLISH. */

import {
  Ack,
  checkPing,
  type ReasonPacket,
  readAck,
  readAuth,
  readDisconnect,
  readSubscribe,
  readUnsubscribe,
} from '../../../proto/mqtt/decode.js'
import { PINGRESP } from '../../../proto/mqtt/encode.js'
import { MqttError, malformed, PacketType, protocolError } from '../../../proto/mqtt/packet.js'
import { subscribe, unsubscribe } from './subscribing.js'
import type { UplinkOwner } from './uplink.js'

/** The connection of a client that was accepted. */
export interface Client extends UplinkOwner {
  /** True when its CONNECT named an authentication method. */
  readonly mayAuthenticate: boolean
  /** AUTH. @throws MqttError */
  authenticate(packet: ReasonPacket): void
  /** DISCONNECT. @throws MqttError */
  disconnected(packet: ReasonPacket): void
}

const ack = new Ack()

/** @throws MqttError for packets that break the protocol */
export function dispatch(client: Client, type: number, flags: number, bytes: Buffer, start: number, end: number): void {
  const { version } = client
  switch (type) {
    case PacketType.PUBACK:
    case PacketType.PUBREC:
    case PacketType.PUBREL:
    case PacketType.PUBCOMP:
      readAck(ack, version, type, flags, bytes, start, end)
      acknowledge(client, type)
      return
    case PacketType.SUBSCRIBE:
      subscribe(client, readSubscribe(version, flags, bytes, start, end), () => client.alive)
      return
    case PacketType.UNSUBSCRIBE:
      unsubscribe(client, readUnsubscribe(version, flags, bytes, start, end))
      return
    case PacketType.PINGREQ:
      checkPing(version, flags, start, end)
      client.batch.append(PINGRESP)
      return
    case PacketType.DISCONNECT:
      client.disconnected(readDisconnect(version, flags, bytes, start, end))
      return
    case PacketType.AUTH:
      // [MQTT-4.12.0-6]: whatever its bytes are.
      if (!client.mayAuthenticate) throw protocolError('AUTH without an authentication method')
      client.authenticate(readAuth(flags, bytes, start, end))
      return
    case PacketType.CONNECT:
      // [MQTT-3.1.0-2]
      throw protocolError('a second CONNECT')
    default:
      if (type !== PacketType.RESERVED && flags !== 0) throw malformed('reserved flags are set')
      throw protocolError('this packet is not for a client to send')
  }
}

function acknowledge(client: Client, type: number): void {
  const { session } = client
  const { packetId, reason } = ack
  if (type === PacketType.PUBREL) {
    session.receiving().release(packetId)
    return
  }
  let fault: number
  if (type === PacketType.PUBACK) fault = session.puback(packetId)
  else if (type === PacketType.PUBREC) fault = session.pubrec(packetId, reason)
  else fault = session.pubcomp(packetId)
  if (fault !== 0) throw new MqttError(fault, 'an acknowledgement of the wrong kind')
}
