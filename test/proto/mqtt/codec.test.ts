import fc from 'fast-check'
import mqttPacket from 'mqtt-packet'
import t from 'tap'
import { ConnectRefused, readConnect } from '../../../proto/mqtt/connect.js'
import { Cursor } from '../../../proto/mqtt/cursor.js'
import { Ack, readAck, readDisconnect, readSubscribe, readUnsubscribe } from '../../../proto/mqtt/decode.js'
import * as encode from '../../../proto/mqtt/encode.js'
import { MqttError, PacketType, Reason } from '../../../proto/mqtt/packet.js'
import { type Properties, readProperties } from '../../../proto/mqtt/properties.js'
import { PacketReader, type PacketSink, PublishView } from '../../../proto/mqtt/reader.js'
import { readText } from '../../../proto/mqtt/text.js'

const hex = (text: string): Buffer => Buffer.from(text.replace(/ /g, ''), 'hex')
const bodyOf = (packet: Buffer): [Buffer, number, number] => {
  let at = 1
  while ((packet[at++] as number) >= 0x80);
  return [packet, at, packet.length]
}
const reasonOf = (run: () => unknown): number | string => {
  try {
    run()
  } catch (error) {
    if (error instanceof ConnectRefused) return `connack ${error.version} ${error.code}`
    if (error instanceof MqttError) return error.silent ? 'silent' : error.reason
    throw error
  }
  return 'ok'
}

interface Seen {
  type: number
  topic?: string
  payload?: string
  qos?: number
  id?: number
}

class Collector implements PacketSink {
  readonly seen: Seen[] = []
  refuse = 0
  publish(view: PublishView): boolean {
    if (this.refuse-- > 0) return false
    const topic = readText(view.bytes, view.topicStart, view.topicEnd)
    this.seen.push({ type: 3, topic, payload: view.payload().toString('hex'), qos: view.qos, id: view.packetId })
    return true
  }
  packet(type: number): boolean {
    this.seen.push({ type })
    return true
  }
}

const reader = (sink: PacketSink, version: 4 | 5): PacketReader => {
  const made = new PacketReader(sink, 1 << 20, new PublishView())
  made.version = version
  return made
}

const topicText = fc.stringMatching(/^[a-zA-Z0-9/ äß漢𠀀$_-]{1,40}$/u)
const binary = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))

t.test('encodes the golden vectors of the specification', async (t) => {
  const to = (bytes: Buffer): string => bytes.toString('hex')
  t.equal(to(encode.encodeConnack(4, true, 0)), '20020100')
  t.equal(to(encode.encodeConnack(5, false, 0x84)), '2003008400')
  t.equal(
    to(encode.encodeConnack(5, false, 0, { topicAliasMaximum: 10, receiveMaximum: 20 })),
    '200900000622000a210014',
  )
  t.equal(to(encode.encodeSuback(4, 0x1234, [0, 1, 0x80])), '90051234000180')
  t.equal(to(encode.encodeSuback(5, 0x1234, [2])), '900412340002')
  t.equal(to(encode.encodeUnsuback(4, 1, [0])), 'b0020001')
  t.equal(to(encode.encodeUnsuback(5, 1, [0x11])), 'b004000100' + '11')
  t.equal(to(encode.encodeDisconnect(0x8e)), 'e0018e')
  t.equal(to(encode.encodeDisconnect(0x9d, { serverReference: 'a' })), 'e0069d041c000161')
  const fields = { topic: 'a/b', payload: Buffer.from('hi'), retain: true, properties: { payloadFormat: 1 } }
  t.equal(to(encode.encodePublish(false, { ...fields, qos: 0 }).bytes), '3107' + '0003612f62' + '6869')
  const five = encode.encodePublish(true, { ...fields, qos: 1 })
  t.equal(to(five.bytes), '330c' + '0003612f62' + '0000' + '020101' + '6869')
  t.equal(five.idAt, 7)
  const ack = Buffer.alloc(5)
  t.equal(encode.writeAck(ack, 0, PacketType.PUBREL, 0x0102, 0), 4)
  t.equal(to(ack.subarray(0, 4)), '62020102')
  t.equal(encode.writeAck(ack, 0, PacketType.PUBACK, 0x0102, 0x10), 5)
  t.equal(to(ack), '4003010210')
})

t.test('reads what mqtt-packet writes, in any cut of the stream', async (t) => {
  const publish = fc.record({
    topic: topicText,
    payload: binary,
    qos: fc.constantFrom(0, 1, 2),
    id: fc.integer({ min: 1, max: 65535 }),
  })
  const property = fc.property(
    fc.array(publish, { maxLength: 8 }),
    fc.constantFrom(4, 5),
    fc.infiniteStream(fc.integer({ min: 1, max: 40 })),
    (list, version, cuts) => {
      const stream = Buffer.concat(
        list.map(({ topic, payload, qos, id }) =>
          mqttPacket.generate(
            { cmd: 'publish', topic, payload, qos: qos as 0, dup: false, retain: false, messageId: id },
            { protocolVersion: version },
          ),
        ),
      )
      const sink = new Collector()
      const parser = reader(sink, version as 4 | 5)
      for (let at = 0; at < stream.length; ) {
        const size = cuts.next().value as number
        parser.receive(stream.subarray(at, at + size))
        at += size
      }
      t.same(
        sink.seen,
        list.map(({ topic, payload, qos, id }) => ({
          type: 3,
          topic,
          payload: payload.toString('hex'),
          qos,
          id: qos === 0 ? 0 : id,
        })),
      )
      t.equal(parser.waiting, 0)
    },
  )
  fc.assert(property, { numRuns: 200 })
})

t.test('writes what mqtt-packet reads', async (t) => {
  const user = fc.array(fc.tuple(topicText, topicText), { maxLength: 4 })
  fc.assert(
    fc.property(topicText, binary, fc.constantFrom(0, 1, 2), fc.boolean(), user, (topic, payload, qos, v5, pairs) => {
      const properties: Properties = pairs.length === 0 ? {} : { user: pairs, messageExpiry: 7, contentType: topic }
      const { bytes, idAt } = encode.encodePublish(v5, { topic, payload, qos: qos as 0, retain: true, properties })
      if (idAt > 0) bytes.writeUInt16BE(77, idAt)
      const found: mqttPacket.Packet[] = []
      const parser = mqttPacket.parser({ protocolVersion: v5 ? 5 : 4 })
      parser.on('packet', (packet) => found.push(packet))
      parser.parse(bytes)
      const [packet] = found as mqttPacket.IPublishPacket[]
      t.equal(packet?.topic, topic)
      t.same(packet?.payload, payload)
      t.equal(packet?.qos, qos)
      t.equal(packet?.retain, true)
      if (qos > 0) t.equal(packet?.messageId, 77)
      if (v5 && pairs.length > 0) t.equal(packet?.properties?.messageExpiryInterval, 7)
    }),
    { numRuns: 200 },
  )
})

t.test('reads CONNECT with all its fields as mqtt-packet wrote it', async (t) => {
  fc.assert(
    fc.property(
      topicText,
      fc.boolean(),
      fc.integer({ min: 0, max: 65535 }),
      binary,
      fc.constantFrom(4, 5),
      (clientId, clean, keepalive, payload, version) => {
        const bytes = mqttPacket.generate({
          cmd: 'connect',
          protocolId: 'MQTT',
          protocolVersion: version as 4,
          clientId,
          clean,
          keepalive,
          username: 'user',
          password: payload,
          will: { topic: 'will/topic', payload, qos: 1, retain: true, properties: { willDelayInterval: 5 } },
          properties: { sessionExpiryInterval: 9, userProperties: { a: ['1', '2'], b: '3' } },
        })
        const packet = readConnect(0, ...bodyOf(bytes))
        t.match(packet, { version, clean, keepAlive: keepalive, clientId, username: 'user' })
        t.same(packet.password, payload)
        t.match(packet.will, { topic: 'will/topic', qos: 1, retain: true })
        t.same(packet.will?.payload, payload)
        if (version === 5) {
          t.equal(packet.properties.sessionExpiry, 9)
          t.equal(packet.will?.properties.willDelay, 5)
          t.same(packet.properties.user, [
            ['a', '1'],
            ['a', '2'],
            ['b', '3'],
          ])
        }
      },
    ),
    { numRuns: 100 },
  )
})

t.test('refuses broken CONNECTs the way each version demands', async (t) => {
  const connect = (text: string, flags = 0): number | string => {
    const body = hex(text)
    return reasonOf(() => readConnect(flags, body, 0, body.length))
  }
  const v4 = '00044d515454 04'
  const v5 = '00044d515454 05'
  t.equal(connect(`${v4} 02 000a 0001 70`), 'ok')
  t.equal(connect(`${v4} 02 000a 0001 70`, 1), 'silent')
  t.equal(connect('00064d514973647003 01 000a 0001 70', 4), 'ok', '3.1 ignores reserved flags')
  t.equal(connect('00064d514973647004 00 000a 0001 70'), 'connack 4 1')
  t.equal(connect('00044d515454 06 00 000a 0001 70'), 'connack 5 132')
  t.equal(connect(`${v4} 02 000a 0001 70 00`), 'silent')
  t.equal(connect(`${v5} 02 000a 00 0001 70 00`), 'connack 5 129')
  t.equal(connect(`${v5} 02 000a 00 0001 07`), 'connack 5 133')
  t.equal(connect(`${v5} 02 000a 03 210000 0001 70`), 'connack 5 130')
  t.equal(connect(`${v5} 1e 000a 00 0001 70`), 'silent')
  t.equal(connect(`${v4} 42 000a 0001 70 0001 70`), 'silent')
  t.equal(connect(`${v5} 42 000a 00 0001 70 0001 70`), 'ok', '5.0 takes a password alone')
  t.equal(connect(`${v5} 06 000a 00 0001 70 00 0002 6100 0000`), 'silent', 'a will topic that is not text')
  t.equal(connect(`${v5} 06 000a 00 0001 70 00 0002 61`), 'connack 5 129', 'a will topic that is cut off')
  t.equal(connect(`${v5} 06 000a 00 0001 70 00 0002 612b 0000`), 'connack 5 129', 'a will topic with a wildcard')
})

t.test('a bridge says that it is one with the top bit of the protocol level, before MQTT 5', async (t) => {
  const bridge = (name: string, level: string): unknown => {
    const body = hex(`${name} ${level} 02 000a ${level.endsWith('5') ? '00' : ''} 0001 70`)
    try {
      const { version, bridge } = readConnect(0, body, 0, body.length)
      return [version, bridge]
    } catch (error) {
      return (error as { code?: number }).code
    }
  }
  const old = '00064d5149736470'
  const name = '00044d515454'
  t.same(bridge(old, '83'), [3, true])
  t.same(bridge(name, '84'), [4, true])
  t.same(bridge(old, '03'), [3, false])
  t.same(bridge(name, '04'), [4, false])
  t.same(bridge(name, '05'), [5, false])
  for (const level of ['83', '85', '80']) t.equal(bridge(name, level), Reason.UNSUPPORTED_VERSION, `MQTT ${level}`)
  t.equal(bridge(old, '84'), Reason.UNSUPPORTED_VERSION, 'MQIsdp 84')
})

t.test('properties are refused by kind of fault, bytes before meaning', async (t) => {
  const read = (packet: number, text: string): number | string => {
    const body = hex(text)
    return reasonOf(() => readProperties(new Cursor().set(body, 0, body.length), packet))
  }
  t.equal(read(PacketType.PUBLISH, '00'), 'ok')
  t.equal(read(PacketType.PUBLISH, '04 0101 0101'), Reason.PROTOCOL_ERROR, 'twice')
  t.equal(read(PacketType.PUBLISH, '02 0102'), Reason.PROTOCOL_ERROR, 'out of range')
  t.equal(read(PacketType.PUBLISH, '02 1701'), Reason.PROTOCOL_ERROR, 'stranger')
  t.equal(read(PacketType.SUBSCRIBE, '02 1701'), Reason.MALFORMED_PACKET, 'stranger in SUBSCRIBE')
  t.equal(read(PacketType.PUBLISH, '02 0401'), Reason.MALFORMED_PACKET, 'unknown')
  t.equal(read(PacketType.PUBLISH, '03 1701 01'), Reason.MALFORMED_PACKET, 'stranger, then cut off')
  t.equal(read(PacketType.SUBSCRIBE, '03 0b8000'), Reason.MALFORMED_PACKET, 'longer than needed')
  t.equal(read(PacketType.SUBSCRIBE, '02 0b00'), Reason.PROTOCOL_ERROR)
  t.equal(read(PacketType.PUBLISH, '05 0101'), Reason.MALFORMED_PACKET, 'longer than the packet')
})

t.test(
  'acknowledgements, SUBSCRIBE, UNSUBSCRIBE and DISCONNECT are exact about length, flags and reasons',
  async (t) => {
    const ack = new Ack()
    const read = (version: 3 | 4 | 5, type: number, flags: number, text: string): number | string => {
      const body = hex(text)
      return reasonOf(() => readAck(ack, version, type, flags, body, 0, body.length))
    }
    t.equal(read(4, 4, 0, '0102'), 'ok')
    t.equal(ack.packetId, 0x102)
    t.equal(read(4, 4, 0, '010200'), Reason.MALFORMED_PACKET)
    t.equal(read(5, 4, 0, '010210'), 'ok')
    t.equal(ack.reason, 0x10)
    t.equal(read(5, 4, 0, '01021000'), 'ok')
    t.equal(read(5, 4, 0, '0102 92'), Reason.PROTOCOL_ERROR, 'a reason of PUBREL')
    t.equal(read(5, 6, 2, '0102 92'), 'ok')
    t.equal(read(5, 6, 0, '0102'), Reason.MALFORMED_PACKET, 'PUBREL without its flag')
    t.equal(read(3, 6, 0, '0102'), 'ok', 'MQTT 3.1 does not look at it')
    t.equal(read(5, 4, 0, '0000'), Reason.PROTOCOL_ERROR)
    t.equal(read(5, 4, 0, '01'), Reason.MALFORMED_PACKET)
    const sub = (version: 4 | 5, text: string): number | string => {
      const body = hex(text)
      return reasonOf(() => readSubscribe(version, 2, body, 0, body.length))
    }
    t.equal(sub(4, '1234 0001 70 01'), 'ok')
    t.equal(sub(4, '1234 0001 70 04'), Reason.MALFORMED_PACKET)
    t.equal(sub(5, '1234 00 0001 70 2e'), 'ok')
    t.equal(sub(5, '1234 00 0001 70 30'), Reason.MALFORMED_PACKET)
    t.equal(sub(5, '1234 00'), Reason.MALFORMED_PACKET)
    t.equal(sub(5, '0000 00 0001 70 00'), Reason.MALFORMED_PACKET)
    const body = hex('0001 00 0001 70 0002 2f61')
    t.same(readUnsubscribe(5, 2, body, 0, body.length), { packetId: 1, filters: ['p', '/a'] })
    t.equal(
      reasonOf(() => readDisconnect(5, 0, hex('8e'), 0, 1)),
      Reason.PROTOCOL_ERROR,
      'a code for servers only',
    )
    t.equal(
      reasonOf(() => readDisconnect(5, 0, hex('04'), 0, 1)),
      'ok',
    )
    t.equal(
      reasonOf(() => readDisconnect(4, 0, hex('00'), 0, 1)),
      Reason.MALFORMED_PACKET,
    )
  },
)

t.test('text is refused for surrogates, overlong forms, controls and non-characters only', async (t) => {
  const read = (text: string): number | string => {
    const bytes = hex(text)
    return reasonOf(() => readText(bytes, 0, bytes.length))
  }
  for (const bad of [
    '00',
    '01',
    '1f',
    '7f',
    'c280',
    'c29f',
    'c080',
    'e08080',
    'eda080',
    'efbfbf',
    'efb790',
    'f4908080',
    'f0808080',
    'c3',
    'e282',
    '80',
    'ff',
  ])
    t.equal(read(bad), Reason.MALFORMED_PACKET, bad)
  for (const good of ['', '20', '7e', 'c2a0', 'e28a82', 'f0aa9b94', 'efbbbf', 'f48fbfbd'])
    t.equal(read(good), 'ok', good)
  fc.assert(fc.property(topicText, (text) => readText(Buffer.from(text), 0, Buffer.byteLength(text)) === text))
})

t.test('a sink that refuses a PUBLISH is offered it again, and nothing is lost or reordered', async (t) => {
  const sink = new Collector()
  const parser = reader(sink, 4)
  const one = (n: number): Buffer =>
    encode.encodePublish(false, { topic: `t${n}`, payload: Buffer.alloc(n), qos: 0, retain: false, properties: {} })
      .bytes
  sink.refuse = 2
  parser.receive(Buffer.concat([one(1), one(2).subarray(0, 3)]))
  parser.receive(Buffer.concat([one(2).subarray(3), one(3)]))
  t.same(sink.seen, [])
  t.ok(parser.waiting > 0)
  parser.resume()
  t.same(sink.seen, [], 'refused again')
  parser.resume()
  t.same(
    sink.seen.map((p) => p.topic),
    ['t1', 't2', 't3'],
  )
})

t.test('the size limit counts the fixed header and acts before the body is there', async (t) => {
  const parser = new PacketReader(new Collector(), 10, new PublishView())
  parser.version = 5
  t.doesNotThrow(() => parser.receive(hex('30 08 0001 61 00 11223344')))
  t.equal(
    reasonOf(() => parser.receive(hex('30 09'))),
    Reason.PACKET_TOO_LARGE,
  )
  const fresh = new PacketReader(new Collector(), 10, new PublishView())
  t.equal(
    reasonOf(() => fresh.receive(Buffer.from('GET / HTTP/1.1'))),
    'silent',
  )
  fresh.version = 4
  t.equal(
    reasonOf(() => fresh.receive(hex('30 80 80 80 80 01'))),
    'silent',
  )
})

t.test('random and mutated bytes end in an MqttError or in packets, never in anything else', async (t) => {
  const seeds = [
    hex('101300044d51545405c2000a03210014 0001 70'),
    hex('3211 0005746f706963 1234 0201 01 6869 686968'),
    hex('8209 1234 020b01 0001 70 01'),
    hex('a208 0001 00 0003 612f62'),
    hex('6203 0001 92'),
    hex('e006 00 05 1100000001'),
  ]
  const step = (bytes: Buffer, type: number, flags: number, start: number, end: number): void => {
    if (type === 1) readConnect(flags, bytes, start, end)
    else if (type === 8) readSubscribe(5, flags, bytes, start, end)
    else if (type === 10) readUnsubscribe(5, flags, bytes, start, end)
    else if (type === 14) readDisconnect(5, flags, bytes, start, end)
    else if (type >= 4 && type <= 7) readAck(new Ack(), 5, type, flags, bytes, start, end)
  }
  const sink: PacketSink = {
    publish(view) {
      readText(view.bytes, view.topicStart, view.topicEnd)
      readProperties(new Cursor().set(view.bytes, view.propertiesStart, view.payloadStart), PacketType.PUBLISH)
      return view.payload().length >= 0
    },
    packet(type, flags, bytes, start, end) {
      step(bytes, type, flags, start, end)
      return true
    },
  }
  const mutation = fc.record({ seed: fc.nat(seeds.length - 1), at: fc.nat(40), byte: fc.nat(255), cut: fc.nat(40) })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), mutation), (input) => {
      let bytes: Buffer
      if (input instanceof Uint8Array) bytes = Buffer.from(input)
      else {
        bytes = Buffer.from(seeds[input.seed] as Buffer)
        bytes[input.at % bytes.length] = input.byte
        if (input.cut < bytes.length)
          bytes = Buffer.concat([bytes.subarray(0, input.cut), bytes.subarray(input.cut + 1)])
      }
      t.type(reasonOf(() => reader(sink, 5).receive(bytes)) !== '', 'boolean')
    }),
    { numRuns: 5000, seed: 20260101 },
  )
})
