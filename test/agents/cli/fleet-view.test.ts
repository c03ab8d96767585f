import t from 'tap'
import { renderGateways, renderStatus, renderWorkers, type StatusView } from '../../../agents/cli/fleet-view.js'

const STATUS: StatusView = {
  version: 7,
  gateways: [
    { id: 'gateway-1', region: 'eu-1', sessions: 20, tableVersion: 7, state: 'up', lastNack: null },
    {
      ...{ id: 'gateway-2', region: 'eu-1', sessions: 18, tableVersion: 6, state: 'up' },
      lastNack: {
        version: 7,
        code: 'table_rejected',
        message: 'pool a has no members and a very long explanation of why not',
      },
    },
  ],
  workers: [
    { id: 'worker-10', pool: 'b', sessions: 1, weight: 1, state: 'up' },
    { id: 'worker-2', pool: 'b', sessions: 2, weight: 1, state: 'draining' },
    { id: 'worker-1', pool: 'a', sessions: 3, weight: 0.5, state: 'up' },
  ],
}

t.test('the headline says which table counts, who is behind, and how many sessions there are', async (t) => {
  const [headline] = renderStatus(STATUS, 80).split('\n')
  t.equal(headline, 'Table 7, 1 of 2 gateways are behind. 38 sessions, 2 gateways, 3 workers.')
  const same = STATUS.gateways.map((gateway) => ({ ...gateway, tableVersion: 7 }))
  t.match(renderStatus({ ...STATUS, gateways: same }, 80), /^Table 7, served by every gateway\./)
})

t.test('a refused table is shown with its reason, within the width', async (t) => {
  const lines = renderGateways(STATUS.gateways, 80).split('\n')
  t.match(lines[2], /table 7: pool a has no members/)
  t.ok(lines.every((line) => line.length <= 80))
})

t.test('workers stand by pool, then by number', async (t) => {
  const ids = renderWorkers(STATUS.workers, 80)
    .split('\n')
    .slice(1)
    .map((line) => line.split(' ')[0])
  t.same(ids, ['worker-1', 'worker-2', 'worker-10'])
})

t.test('an empty fleet is told in words', async (t) => {
  t.match(
    renderStatus({ version: 1, gateways: [], workers: [] }, 80),
    /No gateway is registered\.\n\nNo worker is registered\./,
  )
})
