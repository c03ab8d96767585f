import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { decodeTableFile, encodeTableFile, TableFile } from '../../../gateway/control/table-file.js'
import { SLOTS } from '../../../proto/hash.js'
import type { RoutingTable } from '../../../proto/table.js'

function table(version: number): RoutingTable {
  return {
    version,
    routes: [{ name: 'default', match: {}, to: [{ pool: 'default', weight: 1 }] }],
    pools: new Map([
      [
        'default',
        {
          name: 'default',
          policy: 'consistent_hash',
          key: 'device',
          maxLoad: 1.25,
          members: ['w1'],
          slots: new Uint16Array(SLOTS),
        },
      ],
    ]),
    workers: new Map([
      ['w1', { id: 'w1', pool: 'default', link: 'tcp://127.0.0.1:9000', weight: 1, state: 'up' as const }],
    ]),
    gateways: new Map(),
  }
}

t.test('a table comes back from its file as it was', async (t) => {
  const { table: back, savedAt } = decodeTableFile(encodeTableFile(table(7), 1234))
  t.equal(savedAt, 1234)
  t.same(back, table(7))
})

t.test('a file that was cut off or changed in any byte is refused', async (t) => {
  const bytes = encodeTableFile(table(7), 1234)
  for (let length = 0; length < bytes.length; length += 7)
    t.throws(() => decodeTableFile(bytes.subarray(0, length)), { code: 'table_rejected' })
  for (let at = 0; at < bytes.length; at += 11) {
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] as number) ^ 1
    t.throws(() => decodeTableFile(changed), { code: 'table_rejected' }, `byte ${at}`)
  }
})

t.test('of several tables saved at once the newest is on disk in the end', async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'sluice-')), 'deep', 'g1.table')
  const file = new TableFile(path)
  t.equal(await file.load(), undefined)
  await Promise.all([1, 2, 3, 4].map((version) => file.save(table(version), version)))
  t.equal((await file.load())?.table.version, 4)
})

t.test('a refused file is named', async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'sluice-')), 'g1.table')
  const file = new TableFile(path)
  await file.save(table(1), 1)
  const bytes = readFileSync(path)
  writeFileSync(path, bytes.subarray(0, bytes.length - 1))
  await t.rejects(file.load(), { code: 'table_rejected', message: new RegExp(path) })
})
