/**
 * What the interoperability tests of Eclipse Paho (client_test.py, client_test5.py) ask of a server, against the product
 * as a user configures it for them: docs/mqtt.md has the same file.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type mqttPacket from 'mqtt-packet'
import { startProduct } from '../../../integration/product.js'
import { RawClient } from './harness.js'

export const PAHO_CONFIG = `gateway:
  mqtt:
    maxKeepAlive: 60
  mqttRules:
    subscribe: { deny: [test/nosubscribe], reason: 128 }
`

/** Publications are for subscribers only: a worker's answers would be messages that the tests do not expect. */
export const PAHO_ROUTES = `pools:
  default: { policy: consistent_hash }
routes:
  - { name: data, match: { type: data }, to: [{ pool: default }] }
`

export interface Broker {
  /** A client that has read its CONNACK. */
  client(options?: Partial<mqttPacket.IConnectPacket>): Promise<RawClient>
  /** A client that has sent nothing yet. */
  open(): Promise<RawClient>
  stop(): Promise<void>
}

/** Starts `sluice up` with one gateway; clients speak this version unless they say another one. */
export async function startBroker(version: 4 | 5): Promise<Broker> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-interop-'))
  const config = join(folder, 'sluice.yaml')
  writeFileSync(config, PAHO_CONFIG)
  const routes = join(folder, 'routes.yaml')
  writeFileSync(routes, PAHO_ROUTES)
  const one = ['--gateways', '1', '--workers', '1']
  const up = await startProduct(...one, '--data', folder, '--config', config, '--routes', routes)
  const port = Number(new URL(up.gateways[0]?.mqtt ?? '').port)
  const clients: RawClient[] = []
  const open = async (spoken: number = version): Promise<RawClient> => {
    const client = await RawClient.open(port, spoken)
    clients.push(client)
    return client
  }
  return {
    open,
    async client(options = {}) {
      const client = await open(options.protocolVersion ?? version)
      client.send(connectPacket(version, options))
      client.connack = (await client.next('connack')) as mqttPacket.IConnackPacket
      return client
    },
    async stop() {
      for (const client of clients) client.destroy()
      await up.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

export function connectPacket(
  version: number,
  options: Partial<mqttPacket.IConnectPacket> = {},
): mqttPacket.IConnectPacket {
  const usual = { protocolId: 'MQTT', protocolVersion: version, clean: true, clientId: 'c', keepalive: 0 }
  return { cmd: 'connect', ...usual, ...options } as mqttPacket.IConnectPacket
}

/** Publishes at each QoS and completes the exchanges. */
export async function publishEach(client: RawClient, topics: readonly string[], retain = false): Promise<void> {
  for (const [i, topic] of topics.entries()) {
    const qos = (i % 3) as 0 | 1 | 2
    client.publish(topic, `qos ${qos}`, qos, { messageId: i + 1, retain })
    if (qos === 1) await client.next('puback')
    if (qos === 2) await completeQos2(client, i + 1)
  }
}

/** The publisher's half of a QoS 2 exchange after its PUBLISH. */
export async function completeQos2(client: RawClient, messageId: number): Promise<void> {
  await client.next('pubrec')
  client.send({ cmd: 'pubrel', messageId })
  await client.next('pubcomp')
}

/** The next message, acknowledged. */
export async function receive(client: RawClient): Promise<mqttPacket.IPublishPacket> {
  const got = await client.nextPublish()
  const { messageId } = got
  if (messageId === undefined) return got
  if (got.qos === 1) client.send({ cmd: 'puback', messageId })
  if (got.qos === 2) {
    client.send({ cmd: 'pubrec', messageId })
    await client.next('pubrel')
    client.send({ cmd: 'pubcomp', messageId })
  }
  return got
}

export async function receiveAll(client: RawClient, count: number): Promise<mqttPacket.IPublishPacket[]> {
  const got: mqttPacket.IPublishPacket[] = []
  while (got.length < count) got.push(await receive(client))
  await client.nothing()
  return got
}
