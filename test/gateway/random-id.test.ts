import t from 'tap'
import { createIdMaker } from '../../gateway/random-id.js'

t.test('ids have 16 characters of base64url, and none comes twice', async (t) => {
  const next = createIdMaker()
  const ids = Array.from({ length: 2000 }, next)
  t.equal(new Set(ids).size, ids.length)
  for (const id of ids) t.match(id, /^[A-Za-z0-9_-]{16}$/)
  t.equal(ids.filter((id) => /^A+$/.test(id)).length, 0, 'none of what was handed out already')
})
