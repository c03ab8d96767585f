import t from 'tap'
import { renderLogLine } from '../../../agents/cli/log-line.js'

t.test('a JSON record becomes its message with the fields that matter', async (t) => {
  const record = { level: 40, time: 1, gateway: 'gateway-1', worker: 'worker-2', reason: 'reset', msg: 'link down' }
  t.equal(renderLogLine(JSON.stringify(record)), 'warning: link down (worker worker-2, reason reset)')
  t.equal(renderLogLine('{"level":30,"msg":"hello"}'), 'hello')
  t.equal(renderLogLine('{"level":50,"msg":"no","n":{"a":1}}'), 'error: no (n {"a":1})')
})

t.test('anything else stays as it is', async (t) => {
  for (const line of ['', 'plain text', '{"broken', '{"json":"but no log"}', '[1]']) t.equal(renderLogLine(line), line)
})
