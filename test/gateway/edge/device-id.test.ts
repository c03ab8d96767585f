import { createHash } from 'node:crypto'
import t from 'tap'
import { deviceIdOf, isDerived, MAX_DEVICE_BYTES } from '../../../gateway/edge/device-id.js'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

t.test('a client id of up to 256 bytes is the device id', async (t) => {
  for (const id of [
    'c',
    'a'.repeat(85),
    'a'.repeat(86),
    'a'.repeat(256),
    'ä'.repeat(128),
    '~sha256:',
    'a\u0001b',
    '{}/+#',
  ]) {
    t.equal(deviceIdOf(id), id)
    t.notOk(isDerived(id))
  }
})

t.test('a longer one is known by its first 64 bytes and the SHA-256 of all of it', async (t) => {
  for (const id of ['a'.repeat(257), 'a'.repeat(65_535), `${'x'.repeat(64)}${'ä'.repeat(100)}`]) {
    const device = deviceIdOf(id)
    t.equal(device, `${id.slice(0, 64)}~sha256:${sha256(id)}`)
    t.ok(Buffer.byteLength(device) <= MAX_DEVICE_BYTES)
    t.ok(isDerived(device))
  }
  t.not(deviceIdOf('a'.repeat(257)), deviceIdOf('a'.repeat(258)))
})

t.test('no character of it is cut in two', async (t) => {
  for (const letter of ['ä', '€', '😀']) {
    for (let before = 0; before < 4; before++) {
      const id = 'x'.repeat(before) + letter.repeat(130)
      const [prefix = '', digest] = deviceIdOf(id).split('~sha256:')
      t.ok(id.startsWith(prefix), JSON.stringify(prefix))
      t.ok(Buffer.byteLength(prefix) > 60)
      t.equal(digest, sha256(id))
    }
  }
})

t.test('a client id that spells the device id of another client becomes a third one', async (t) => {
  const device = deviceIdOf('a'.repeat(300))
  const claimed = deviceIdOf(device)
  t.not(claimed, device)
  t.equal(claimed, `${device.slice(0, 64)}~sha256:${sha256(device)}`)
  t.not(deviceIdOf(claimed), claimed)
  const short = `~sha256:${'0'.repeat(64)}`
  t.equal(deviceIdOf(short), `${short.slice(0, 64)}~sha256:${sha256(short)}`, 'also without a prefix')
  for (const id of [`${device} `, device.toUpperCase(), device.slice(0, -1)]) t.equal(deviceIdOf(id), id)
})
