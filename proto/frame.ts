/**
 * `sluice.v1.Frame`: read by {@link FrameView}, written by {@link encodeFrame} and, piece by piece, by the functions
 * beside it. The generated codec in `proto/generated/` is the reference; test/proto/frame.test.ts holds both together.
 */

export {
  APPENDIX_SIZE,
  appendAck,
  appendRedelivered,
  appendSeq,
  encodeFrame,
  encodeHeaders,
  frameHeadSize,
  writeFrameHead,
} from './frame-encoder.js'
export { type FrameFields, FrameType } from './frame-fields.js'
export { FrameView } from './frame-view.js'
export { varintSize, writeVarint } from './varint.js'
