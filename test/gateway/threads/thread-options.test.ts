import t from 'tap'
import { optionsOfThread } from '../../../gateway/threads/thread-options.js'

const options = { id: 'g', region: 'r', host: '127.0.0.1', port: 1, mqttPort: 2 }
const start = (index: number, more: object) => ({
  index,
  peers: ['http://h:1', 'http://h:2', 'http://h:3'],
  peerPort: 1,
  options: { ...options, ...more },
})

t.test('each thread has its own folder, and its share of what is limited for the whole gateway', async (t) => {
  const thread = optionsOfThread(start(2, { data: '/d', websocket: { maxConnections: 100, maxFrame: 9 } }))
  t.equal(thread.data, '/d/thread-2')
  t.same(thread.websocket, { maxConnections: 34, maxFrame: 9 })
  t.equal(thread.id, 'g')
})

t.test('bridges run on the first thread alone', async (t) => {
  const bridges: [] = []
  t.equal(optionsOfThread(start(0, { bridges })).bridges, bridges)
  t.notOk('bridges' in optionsOfThread(start(1, { bridges })))
})
