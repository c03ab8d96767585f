/** What a frame is made of (proto/frame.proto). */

/** Values of `Frame.type`. */
export const FrameType = {
  DATA: 0,
  PUBLISH: 1,
  SUBSCRIBE: 2,
  UNSUBSCRIBE: 3,
  ACK: 4,
  WELCOME: 5,
  GOAWAY: 6,
  ERROR: 7,
} as const
export type FrameType = (typeof FrameType)[keyof typeof FrameType]

/** A frame to encode. Absent fields take the proto3 default and cost no bytes. */
export interface FrameFields {
  type?: FrameType
  seq?: number
  ack?: number
  topic?: string
  payload?: Uint8Array
  headers?: Readonly<Record<string, string>>
  redelivered?: boolean
}
