/** What a gateway keeps in its data folder besides the table: MQTT sessions, their queues, retained messages. */

import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { MqttJournal } from './edge/mqtt/edge.js'
import { createLmdbStore } from './edge/mqtt/lmdb-store.js'
import { createSessionJournal } from './edge/mqtt/session-journal.js'
import { createRetainedEntries } from './edge/mqtt/store.js'
import type { RetainedJournal } from './fanout/retained.js'
import type { Clock } from './ports.js'

export interface GatewayStore {
  readonly sessions: MqttJournal
  readonly retained: RetainedJournal
  close(): Promise<void>
}

/** Opens the store of gateway `id` below `data`, which is made when it is not there. */
export async function openGatewayStore(data: string, id: string, clock: Clock): Promise<GatewayStore> {
  await mkdir(data, { recursive: true, mode: 0o700 })
  const store = createLmdbStore(join(data, `${id}.store`))
  const sessions = createSessionJournal(store, clock)
  return {
    sessions,
    retained: createRetainedEntries(store, (topic) => createHash('sha256').update(topic).digest('hex')),
    close: () => {
      sessions.commit()
      return store.close()
    },
  }
}
