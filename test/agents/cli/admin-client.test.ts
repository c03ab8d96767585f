import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createAdminClient } from '../../../agents/cli/admin-client.js'
import { CliError, ExitCode } from '../../../agents/cli/cli-error.js'

async function serve(t: Test, answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function failure(call: Promise<unknown>): Promise<CliError> {
  try {
    await call
  } catch (error) {
    if (error instanceof CliError) return error
    throw error
  }
  throw new Error('the call was expected to fail')
}

t.test('an answer comes back as it is, with the token and the body sent along', async (t) => {
  const coordinator = await serve(t, async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    response.end(
      JSON.stringify({ method: request.method, url: request.url, body, authorization: request.headers.authorization }),
    )
  })
  const client = createAdminClient({ coordinator: `${coordinator}/`, token: 's3cret' })
  t.same(await client.send('PUT', '/v1/workers/w/weight', { weight: 2 }), {
    ...{ method: 'PUT', url: '/v1/workers/w/weight', body: '{"weight":2}', authorization: 'Bearer s3cret' },
  })
})

t.test('nobody listening exits with 4 and names the flag', async (t) => {
  const error = await failure(createAdminClient({ coordinator: 'http://127.0.0.1:1' }).get('/v1/status'))
  t.equal(error.exitCode, ExitCode.UNREACHABLE)
  t.match(error.message, /127\.0\.0\.1:1 cannot be reached/)
  t.match(error.fix, /--coordinator/)
})

t.test('of several coordinators the next one is asked when one is not there', async (t) => {
  const coordinator = await serve(t, (request, response) => response.end(JSON.stringify(request.method)))
  const gone = createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const { port } = gone.address() as AddressInfo
  gone.close()
  await once(gone, 'close')
  const client = createAdminClient({ coordinator: `http://127.0.0.1:${port}, ${coordinator}` })
  t.equal(await client.get('/v1/status'), 'GET')
  t.equal(await client.send('PUT', '/v1/routes', {}), 'PUT', 'a write that cannot have been done is tried elsewhere')
})

t.test('a write that may have been done is not asked of a second coordinator', async (t) => {
  let asked = 0
  const dying = await serve(t, (request) => void request.socket.destroy())
  const other = await serve(t, (_request, response) => {
    asked++
    response.end('{}')
  })
  const client = createAdminClient({ coordinator: `${dying},${other}` })
  const error = await failure(client.send('POST', '/v1/workers/w/drain'))
  t.equal(error.exitCode, ExitCode.UNREACHABLE)
  t.equal(asked, 0)
  await client.get('/v1/status')
  t.equal(asked, 1, 'a read is')
})

t.test('a coordinator that never answers is given up', async (t) => {
  const coordinator = await serve(t, () => {})
  const error = await failure(createAdminClient({ coordinator, timeoutMs: 50 }).get('/v1/status'))
  t.equal(error.exitCode, ExitCode.UNREACHABLE)
  t.match(error.message, /did not answer in time/)
})

t.test('the status decides the exit code, and path and message of the error body are shown', async (t) => {
  const coordinator = await serve(t, (request, response) => {
    response.statusCode = Number(request.url?.slice(1))
    response.end(
      JSON.stringify({ error: { code: 'invalid_routes', message: 'no such pool', path: 'routes[0].to[0].pool' } }),
    )
  })
  const client = createAdminClient({ coordinator })
  const codes = await Promise.all(
    ['/400', '/404', '/409', '/500'].map(async (path) => (await failure(client.get(path))).exitCode),
  )
  t.same(codes, [ExitCode.REFUSED, ExitCode.NOT_FOUND, ExitCode.REFUSED, ExitCode.FAILED])
  t.equal((await failure(client.get('/400'))).message, 'routes[0].to[0].pool: no such pool (invalid_routes)')
})

t.test('something that is not a coordinator is named as such', async (t) => {
  const coordinator = await serve(t, (_request, response) => response.end('<html>'))
  const error = await failure(createAdminClient({ coordinator }).get('/v1/status'))
  t.match(error.message, /not JSON/)
})

t.test('an address that is no URL is a usage error', async (t) => {
  const make = async () => createAdminClient({ coordinator: 'localhost:7000' })
  t.equal((await failure(make())).exitCode, ExitCode.USAGE)
})
