import t from 'tap'
import { addCounts } from '../../gateway/counters.js'

t.test('what two edges count by the same name is added up', async (t) => {
  const mqtt = { connections: 3, droppedSlow: 5, sessions: 4 }
  const webSocket = { connections: 2, droppedSlow: 0, opened: 9 }
  t.same(addCounts(mqtt, webSocket), { connections: 5, droppedSlow: 5, sessions: 4, opened: 9 })
  t.same(mqtt, { connections: 3, droppedSlow: 5, sessions: 4 })
})
