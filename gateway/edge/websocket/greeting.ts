import { appendAck, encodeFrame, FrameType } from '../../../proto/frame.js'
import type { DeviceSession } from '../../ports.js'

/** Room for `ack`: a tag and 8 bytes. */
const ACK_ROOM = 9

/** A WELCOME for everybody whose session id has the length of `blank`: the id is written over it, an ack behind it. */
interface Template {
  readonly frame: Uint8Array
  /** The frame with room for an ack. */
  readonly room: Uint8Array
  readonly idAt: number
  readonly blank: string
}

/** Makes WELCOME. All of it but the session's id and ack is the same for every device, so it is encoded once. */
export class Greeting {
  readonly #gateway: string
  #fresh: Template
  #resumed: Template

  constructor(gatewayId: string) {
    this.#gateway = gatewayId
    this.#fresh = this.#template('', false)
    this.#resumed = this.#template('', true)
  }

  /**
   * @param session its id is ASCII, as what makes session ids makes them
   * @returns bytes that the next call writes over
   */
  frame({ id, uplinkAcked, resumed }: DeviceSession): Uint8Array {
    const { frame, room, idAt } = this.#templateFor(id, resumed)
    for (let i = 0; i < id.length; i++) frame[idAt + i] = id.charCodeAt(i)
    if (uplinkAcked === 0) return frame
    // Behind the other fields: Protobuf parsers take them in any order.
    return room.subarray(0, appendAck(room, frame.length, uplinkAcked))
  }

  #templateFor(id: string, resumed: boolean): Template {
    const known = resumed ? this.#resumed : this.#fresh
    if (known.blank.length === id.length) return known
    const made = this.#template('\0'.repeat(id.length), resumed)
    if (resumed) this.#resumed = made
    else this.#fresh = made
    return made
  }

  #template(blank: string, resumed: boolean): Template {
    // The id comes first among the headers; in front of it stands its length, which is not 0.
    const headers = { session: blank, gateway: this.#gateway, resumed: String(resumed) }
    const encoded = encodeFrame({ type: FrameType.WELCOME, headers })
    const room = Buffer.alloc(encoded.length + ACK_ROOM)
    room.set(encoded)
    return { frame: room.subarray(0, encoded.length), room, idAt: room.indexOf(blank), blank }
  }
}
