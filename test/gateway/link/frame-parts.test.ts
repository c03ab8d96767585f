import fc from 'fast-check'
import t from 'tap'
import { writeFrameParts } from '../../../gateway/link/frame-parts.js'
import { FrameView } from '../../../proto/frame.js'
import { RecordBatch, RecordReader } from '../../../proto/link.js'

t.test('a frame written from its parts is read as it was, whatever its topic is made of', async (t) => {
  const part = fc.tuple(
    fc.constantFrom(0, 1),
    fc.oneof(fc.string({ minLength: 1 }), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 })),
    fc.uint8Array({ maxLength: 300 }),
  )
  fc.assert(
    fc.property(fc.array(part, { minLength: 1 }), (parts) => {
      const batch = new RecordBatch(16)
      for (const [i, [type, topic, payload]] of parts.entries()) writeFrameParts(batch, i + 1, type, topic, payload)
      let read = 0
      const view = new FrameView()
      const reader = new RecordReader((_kind, binding, bytes, start, end) => {
        const [type, topic, payload] = parts[read++] as (typeof parts)[number]
        if (binding !== read || !view.read(bytes, start, end)) throw new Error('not a frame')
        if (view.type !== type || view.topic() !== Buffer.from(topic).toString())
          throw new Error(`${view.topic()} read`)
        if (Buffer.compare(view.payload(), payload) !== 0) throw new Error('another payload read')
      })
      reader.push(batch.take())
      return read === parts.length
    }),
  )
  t.pass()
})
