import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import t from 'tap'
import { covers, createAccess } from '../../../../gateway/edge/mqtt/access.js'
import type { Verdict } from '../../../../gateway/edge/mqtt/authentication.js'
import { createScram, scramKeys } from '../../../../gateway/edge/mqtt/scram.js'
import { SluiceError } from '../../../../proto/errors.js'
import { Reason } from '../../../../proto/mqtt/packet.js'
import { RawClient, startBench } from './harness.js'

const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
const NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'

/** The client of RFC 7677 section 3: user `user`, password `pencil`. */
function proofFor(first: string, challenge: string, password: string): { final: string; signature: string } {
  const salted = pbkdf2Sync(password, SALT, 4096, 32, 'sha256')
  const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
  const clientKey = hmac(salted, 'Client Key')
  const stored = createHash('sha256').update(clientKey).digest()
  const bare = `c=biws,r=${/r=([^,]+)/.exec(challenge)?.[1]}`
  const message = `${first.slice(3)},${challenge},${bare}`
  const signature = hmac(stored, message)
  const proof = clientKey.map((byte, i) => byte ^ (signature[i] as number))
  return {
    final: `${bare},p=${Buffer.from(proof).toString('base64')}`,
    signature: `v=${hmac(hmac(salted, 'Server Key'), message).toString('base64')}`,
  }
}

async function scramBench(verdict?: () => Verdict) {
  const keys = await scramKeys('pencil', SALT, 4096)
  const method = createScram({
    keys: async (name) => (name === 'user' ? keys : undefined),
    nonce: () => Buffer.from(NONCE),
    ...(verdict && { verdict }),
  })
  return startBench({ methods: [method] })
}

const FIRST = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO'

/** Says the first two steps; returns the client and what its second answer has to be. */
async function begin(port: number, password: string, method = 'SCRAM-SHA-256') {
  const client = await RawClient.open(port, 5)
  const properties = { authenticationMethod: method, authenticationData: Buffer.from(FIRST) }
  client.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 5,
    clean: true,
    clientId: 's',
    keepalive: 0,
    properties,
  })
  const answer = (await client.next(method === 'SCRAM-SHA-256' ? 'auth' : 'connack')) as {
    reasonCode: number
    properties: { authenticationData: Buffer }
  }
  if (method !== 'SCRAM-SHA-256') return { client, answer, final: '', signature: '' }
  return { client, answer, ...proofFor(FIRST, answer.properties.authenticationData.toString(), password) }
}

const continues = (data: string, reasonCode = 0x18) =>
  ({
    cmd: 'auth',
    reasonCode,
    properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: Buffer.from(data) },
  }) as const

t.test('SCRAM-SHA-256 proves both sides, and again while connected', async (t) => {
  const bench = await scramBench()
  const { client, answer, final, signature } = await begin(bench.port, 'pencil')
  t.equal(answer.reasonCode, Reason.CONTINUE_AUTHENTICATION)
  client.send(continues(final))
  const connack = (await client.next('connack')) as { reasonCode: number; properties: { authenticationData: Buffer } }
  t.equal(connack.reasonCode, 0)
  t.equal(connack.properties.authenticationData.toString(), signature)
  client.send(continues(FIRST, 0x19))
  const challenge = (await client.next('auth')) as unknown as { properties: { authenticationData: Buffer } }
  const again = proofFor(FIRST, challenge.properties.authenticationData.toString(), 'pencil')
  client.send(continues(again.final))
  t.match(await client.next('auth'), { reasonCode: 0 })
  await client.nothing()
  client.send(continues(FIRST, 0x19))
  await client.next('auth')
  client.send(continues(proofFor(FIRST, challenge.properties.authenticationData.toString(), 'wrong').final))
  t.equal(await client.ended(), Reason.NOT_AUTHORIZED)
  await bench.close()
})

t.test('a wrong password, an unknown method and AUTH out of place are refused', async (t) => {
  const bench = await scramBench()
  const { client, final } = await begin(bench.port, 'wrong')
  client.send(continues(final))
  t.match(await client.next('connack'), { reasonCode: Reason.NOT_AUTHORIZED })
  t.match((await begin(bench.port, '', 'X')).answer, { reasonCode: Reason.BAD_AUTHENTICATION_METHOD })
  const plain = await bench.client({ clientId: 'plain' })
  plain.send(continues(FIRST))
  t.equal(await plain.ended(), Reason.PROTOCOL_ERROR)
  await bench.close()
})

t.test('the stored keys are those of RFC 7677', async (t) => {
  const { storedKey, serverKey } = await scramKeys('pencil', SALT, 4096)
  t.equal(Buffer.from(storedKey).toString('base64'), 'WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=')
  t.equal(Buffer.from(serverKey).toString('base64'), 'wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=')
})

t.test('passwords are asked about, also later, and what a verdict allows holds', async (t) => {
  let answer: (verdict: Verdict) => void = () => {}
  const access = createAccess({ subscribe: { allow: ['only/#'] } }, 'x')
  const bench = await startBench({
    authenticate: ({ username, password }) => {
      if (username === 'bad') return { accepted: false, reason: Reason.BAD_USER_NAME_OR_PASSWORD, message: 'no' }
      if (username === 'throws') throw new Error('down')
      if (username === 'late')
        return new Promise((resolve) => {
          answer = resolve
        })
      return { accepted: Buffer.from(password ?? []).toString() === 'pw', reason: 0x87, message: '', access } as Verdict
    },
  })
  const code = async (version: 4 | 5, username: string): Promise<number | undefined> => {
    const { connack } = await bench.client({
      protocolVersion: version,
      clientId: username,
      username,
      password: Buffer.from('pw'),
    })
    return version === 5 ? connack?.reasonCode : connack?.returnCode
  }
  t.equal(await code(5, 'bad'), Reason.BAD_USER_NAME_OR_PASSWORD)
  t.equal(await code(4, 'bad'), 4)
  t.equal(await code(5, 'throws'), Reason.SERVER_UNAVAILABLE)
  const good = await bench.client({ clientId: 'good', username: 'good', password: Buffer.from('pw') })
  t.equal(await good.subscribe('only/this'), 0)
  t.equal(await good.subscribe('other'), Reason.NOT_AUTHORIZED)
  const late = await RawClient.open(bench.port, 4)
  // A PINGREQ right behind the CONNECT waits for the verdict as well.
  late.raw('1015 0004 4d515454 04 82 0000 0003 616263 0004 6c617465 c000')
  await good.nothing()
  answer({ accepted: true })
  await late.next('connack')
  await late.next('pingresp')
  late.destroy()
  await bench.close()
})

t.test('one filter covers another exactly when it matches all that the other does', async (t) => {
  for (const [rule, filter] of [
    ['#', '+/+'],
    ['a/#', 'a'],
    ['a/#', 'a/+/b'],
    ['+', 'a'],
    ['a/+', 'a/+'],
    ['a/b', 'a/b'],
  ]) {
    t.ok(covers(rule as string, filter as string), `${rule} covers ${filter}`)
  }
  for (const [rule, filter] of [
    ['+', '#'],
    ['a', '+'],
    ['a/+', 'a/#'],
    ['a/b', 'a'],
    ['a', 'a/b'],
    ['a/+/c', 'a/#'],
  ]) {
    t.notOk(covers(rule as string, filter as string), `${rule} does not cover ${filter}`)
  }
})

t.test('a client id with wildcards does not widen a rule about its own topics', async (t) => {
  const rules = { publish: { allow: ['own/%c/#'] } }
  t.equal(createAccess(rules, 'me').publish('own/me/x'), 0)
  t.equal(createAccess(rules, '+').publish('own/me/x'), Reason.NOT_AUTHORIZED)
})

t.test('the gateway itself may refuse a device, at once or later, or let it in later', async (t) => {
  const gates = new Map<string, () => Promise<void> | undefined>([
    [
      'now',
      () => {
        throw new SluiceError('draining')
      },
    ],
    ['later', () => Promise.reject(new SluiceError('overloaded'))],
    ['good', () => Promise.resolve()],
  ])
  const asked: string[] = []
  const bench = await startBench({
    authenticate: async () => ({ accepted: true, attributes: { role: 'meter' } }),
    admit: ({ device, clean }) => {
      asked.push(`${device} ${clean}`)
      return gates.get(device)?.()
    },
  })
  t.equal((await bench.client({ clientId: 'now' })).connack?.reasonCode, Reason.USE_ANOTHER_SERVER)
  t.equal((await bench.client({ clientId: 'later' })).connack?.reasonCode, Reason.SERVER_BUSY)
  t.equal((await bench.client({ clientId: 'later', protocolVersion: 4 })).connack?.returnCode, 3)
  const good = await bench.client({ clientId: 'good', clean: false, properties: { userProperties: { site: 'north' } } })
  await good.nothing()
  t.same(bench.host.of('good').request.attributes, { site: 'north', role: 'meter' })
  t.same(asked, ['now true', 'later true', 'later true', 'good false'])
  await bench.close()
})
