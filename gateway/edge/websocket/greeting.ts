import { encodeFrame, encodeHeaders, FrameType } from '../../../proto/frame.js'
import type { DeviceSession } from '../../ports.js'

/** Makes WELCOME. All of it but the session's id and ack is the same for every device, so it is encoded once. */
export class Greeting {
  readonly #fresh: Uint8Array
  readonly #resumed: Uint8Array

  constructor(gatewayId: string) {
    this.#fresh = encodeHeaders({ gateway: gatewayId, resumed: 'false' })
    this.#resumed = encodeHeaders({ gateway: gatewayId, resumed: 'true' })
  }

  frame(session: DeviceSession): Uint8Array {
    const { id, uplinkAcked, resumed } = session
    const own = encodeFrame({ type: FrameType.WELCOME, ack: uplinkAcked, headers: { session: id } })
    const same = resumed ? this.#resumed : this.#fresh
    // Entries of a map may stand apart: Protobuf parsers merge them.
    const frame = new Uint8Array(own.length + same.length)
    frame.set(own)
    frame.set(same, own.length)
    return frame
  }
}
