import type { Message } from '../../ports.js'

/** A QoS 2 message from the client between its PUBLISH and its PUBCOMP. */
export class Received {
  readonly packetId: number
  /** Hash of topic and payload: tells a repetition from a reused identifier. */
  readonly hash: number
  /** Uplink seq whose processing PUBREC waits for; 0 when it is done. */
  seq: number
  /** Seen again on this connection. */
  repeats = 0
  /** What goes to the fan-out at PUBREL; undefined once it did, or when nothing is to. */
  held: Message | undefined
  /** Its place in the store while it is held there, 0 for none. */
  stored = 0
  /** The fan-out still delivers it. */
  handing = false
  /** PUBREC left: the message is ours. */
  acked = false
  /** PUBREL came. */
  released = false
  /** The client waits for PUBREC, or for PUBCOMP after PUBREL, on this connection. */
  due = false
  /** Its PUBLISH came on this connection: it counts for the receive maximum. */
  open = false

  constructor(packetId: number, hash: number, seq: number) {
    this.packetId = packetId
    this.hash = hash
    this.seq = seq
  }
}
