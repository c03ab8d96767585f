import t from 'tap'
import { startBench } from './harness.js'

/**
 * What a connected client may not send, packet by packet, from the tables of MQTT 5.0: reserved flags (2.1.3), property
 * placement and repetition (2.2.2), reason codes of each packet (2.4), packets that only a server sends.
 */
const MALFORMED = [0x81]
const PROTOCOL = [0x82]
/** The specification names either, or leaves it open. */
const EITHER = [0x81, 0x82]

const REFUSED: readonly (readonly [what: string, hex: string, reasons: readonly number[]])[] = [
  ['packet type 0', '00 00', EITHER],
  ['CONNACK from a client', '20 03 00 00 00', PROTOCOL],
  ['SUBACK from a client', '90 04 0001 00 00', PROTOCOL],
  ['UNSUBACK from a client', 'b0 04 0001 00 00', PROTOCOL],
  ['PINGRESP from a client', 'd0 00', PROTOCOL],
  ...(['40', '50', '62', '70'] as const).flatMap((first) => {
    const name = { 40: 'PUBACK', 50: 'PUBREC', 62: 'PUBREL', 70: 'PUBCOMP' }[first]
    return [
      [`${name} with other flags`, `${first[0]}1 02 0001`, MALFORMED],
      [`${name} with all flags`, `${first[0]}f 02 0001`, MALFORMED],
      [`${name} without a whole identifier`, `${first} 01 00`, MALFORMED],
      [`${name} with identifier 0`, `${first} 02 0000`, EITHER],
      [`${name} with a reason code that no packet has`, `${first} 03 0001 55`, EITHER],
      [`${name} with a reason code of CONNACK`, `${first} 03 0001 84`, EITHER],
      [`${name} with a property of PUBLISH`, `${first} 07 0001 00 03 230001`, EITHER],
      [`${name} with a property that does not exist`, `${first} 06 0001 00 02 7f00`, MALFORMED],
      [`${name} with two reason strings`, `${first} 0c 0001 00 08 1f000161 1f000162`, PROTOCOL],
      [`${name} with more behind its properties`, `${first} 05 0001 00 00 00`, MALFORMED],
      [`${name} with properties longer than it`, `${first} 04 0001 00 05`, MALFORMED],
      [`${name} with a reason string that is not UTF-8`, `${first} 08 0001 00 04 1f0001ff`, MALFORMED],
    ] as const
  }),
  ['PUBREL without its flag', '60 02 0001', MALFORMED],
  ['PUBREL that found no subscribers', '62 03 0001 10', EITHER],
  ['PUBCOMP with a quota exceeded', '70 03 0001 97', EITHER],
  ['PUBACK that does not know the identifier', '40 03 0001 92', EITHER],
  ['PINGREQ with a body', 'c0 01 00', MALFORMED],
  ['PINGREQ with flags', 'c1 00', MALFORMED],
  ['UNSUBSCRIBE without its flag', 'a0 06 0001 00 0001 61', MALFORMED],
  ['UNSUBSCRIBE without a filter', 'a2 03 0001 00', EITHER],
  ['UNSUBSCRIBE with identifier 0', 'a2 06 0000 00 0001 61', EITHER],
  ['UNSUBSCRIBE with an empty filter', 'a2 05 0001 00 0000', EITHER],
  ['UNSUBSCRIBE with a filter that is none', 'a2 09 0001 00 0004 612f2b78', EITHER],
  ['UNSUBSCRIBE with a subscription identifier', 'a2 08 0001 02 0b01 0001 61', EITHER],
  ['UNSUBSCRIBE with a property length beyond it', 'a2 03 0001 7f', MALFORMED],
  ['DISCONNECT with flags', 'e1 00', MALFORMED],
  ['DISCONNECT with a reason code that does not exist', 'e0 01 05', EITHER],
  ['DISCONNECT with a reason code of servers', 'e0 01 8e', EITHER],
  ['DISCONNECT with two session expiries', 'e0 0c 00 0a 1100000001 1100000001', PROTOCOL],
  ['DISCONNECT with an expiry for a session that has none', 'e0 07 00 05 1100000001', PROTOCOL],
  ['DISCONNECT with more behind its properties', 'e0 03 00 00 00', MALFORMED],
  ['AUTH without a method in CONNECT', 'f0 00', PROTOCOL],
  ['AUTH with flags', 'f1 00', EITHER],
]

t.test(
  'what a client may not send ends its connection with the reason that the specification has for it',
  async (t) => {
    const bench = await startBench()
    for (const [what, hex, reasons] of REFUSED) {
      const client = await bench.client()
      client.raw(hex)
      const reason = await client.ended()
      t.ok(reasons.includes(reason), `${what}: 0x${reason.toString(16)}`)
    }
    await bench.close()
  },
)

t.test('what is unusual and allowed is taken', async (t) => {
  const bench = await startBench()
  const client = await bench.client()
  // Identifiers that the gateway does not know may repeat those from before a reconnect.
  client.raw('40 02 0001')
  client.raw('40 03 0001 10')
  client.raw('40 04 0001 00 00')
  client.raw('40 08 0001 80 04 1f000161')
  client.raw('50 03 0002 97')
  client.raw('70 03 0003 92')
  await client.nothing()
  client.raw('62 03 0004 92')
  t.match(await client.next('pubcomp'), { messageId: 4 })
  client.raw('62 0f 0005 00 0b 1f000161 26000162000163')
  t.match(await client.next('pubcomp'), { messageId: 5 })
  client.raw('a2 0d 0006 07 26000162000163 0001 61')
  t.match(await client.next('unsuback'), { messageId: 6 })
  client.raw('e0 02 04 00')
  t.equal(await client.ended(), -1)
  await bench.close()
})

t.test('before MQTT 5 the same packets end the connection without a word', async (t) => {
  const bench = await startBench()
  const old = [
    '00 00',
    '20 02 00 00',
    '90 03 0001 00',
    'b0 02 0001',
    'd0 00',
    '41 02 0001',
    '40 01 00',
    '40 03 0001 00',
  ]
  for (const hex of [...old, '60 02 0001', 'c0 01 00', 'c1 00', 'a0 05 0001 0001 61', 'a2 02 0001', 'e1 00', 'f0 00']) {
    const client = await bench.client({ protocolVersion: 4 })
    client.raw(hex)
    t.equal(await client.ended(), -1, hex)
  }
  await bench.close()
})
