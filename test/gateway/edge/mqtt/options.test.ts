import t from 'tap'
import { MQTT_DEFAULTS, type MqttOptions, readMqttOptions } from '../../../../gateway/edge/mqtt/options.js'
import { SluiceError } from '../../../../proto/errors.js'

/** What a configuration file may bring: anything. */
const read = (given: Record<string, unknown>): MqttOptions => readMqttOptions(given as Partial<MqttOptions>)

const complaint = (given: Record<string, unknown>): SluiceError => {
  try {
    read(given)
  } catch (error) {
    if (error instanceof SluiceError) return error
  }
  throw new Error(`${JSON.stringify(given)} was taken`)
}

t.test('what is not given is the default, and the defaults pass', async (t) => {
  t.same(read({}), MQTT_DEFAULTS)
  t.same(read({ ...MQTT_DEFAULTS }), MQTT_DEFAULTS)
  t.match(read({ maxKeepAlive: 60, queueQos0: true }), { maxKeepAlive: 60, queueQos0: true, maxQueued: 1000 })
})

t.test('each number is refused outside of its range, by its name and with the range', async (t) => {
  for (const [name, usual] of Object.entries(MQTT_DEFAULTS)) {
    if (typeof usual !== 'number') continue
    for (const value of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 50, '10', null]) {
      const { code, path, message } = complaint({ [name]: value })
      t.same([code, path], ['bad_request', `mqtt.${name}`])
      t.match(message, /^mqtt\.\w+ must be a whole number from \d+ to \d+ \(.+\), not /, message)
    }
  }
})

t.test('the ends of a range are in it', async (t) => {
  for (const value of [1, 65_535]) t.equal(read({ receiveMaximum: value }).receiveMaximum, value)
  t.match(complaint({ receiveMaximum: 0 }).message, /from 1 to 65535 \(messages\), not 0/)
  t.match(complaint({ receiveMaximum: 65_536 }).message, /not 65536/)
  t.equal(read({ maxSessionExpiry: 0xffffffff }).maxSessionExpiry, 0xffffffff)
  t.match(complaint({ maxSessionExpiry: 2 ** 32 }).message, /from 0 to 4294967295/)
})

t.test('texts, flags and unknown names', async (t) => {
  t.match(complaint({ queueQos0: 'yes' }).message, /mqtt\.queueQos0 must be a boolean, not "yes"/)
  t.match(complaint({ responseInformation: 7 }).message, /must be a string, not 7/)
  t.match(complaint({ responseInformation: 'é'.repeat(600) }).message, /at most 1024 bytes long, not 1200/)
  t.match(complaint({ maxPackets: 5 }).message, /mqtt\.maxPackets there is no such option; there are maxPacket, /)
  t.match(complaint({ toString: 5 }).message, /no such option/)
})
