import type { Qos } from '../../../proto/mqtt/packet.js'
import type { Message } from '../../ports.js'

/** The connection, as its session sees it. */
export interface Outlet {
  /** Most deliveries at QoS 1 and 2 in flight. */
  readonly window: number
  /** True while more should not be written: the socket is slow. */
  readonly congested: boolean
  /**
   * @param packetId 0 at QoS 0
   * @returns false when the message is larger than the client takes
   */
  sendPublish(
    message: Message,
    qos: Qos,
    retain: boolean,
    ids: readonly number[] | undefined,
    packetId: number,
    dup: boolean,
  ): boolean
  /** PUBREC, PUBREL or PUBCOMP. */
  acknowledge(type: number, packetId: number): void
  /** The client confirmed workers' frames up to this seq. */
  confirmed(seq: number): void
  /** Another connection of the same client takes over. */
  takenOver(clean: boolean): void
  /** The queue is full; the connection ends, the session stays. */
  overflow(): void
}
