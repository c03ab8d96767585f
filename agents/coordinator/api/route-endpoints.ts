/** Endpoints about routes: read, plan, apply, roll back, history. */

import { SluiceError } from '../../../proto/errors.js'
import { readCount, readObject, readText } from '../../../proto/fields.js'
import type { ControlPlane } from '../control-plane.js'
import { type Rollouts, readRolloutPlan } from '../rollout.js'
import { type Author, type HistoryEntry, type RouteBook, routesFileOf } from '../route-book.js'
import { planRoutes } from '../route-plan.js'
import { formatProblem, type RoutesFile, readRoutesFile, routesJsonSchema } from '../routes-file.js'
import { ROOT } from '../routes-problem.js'
import type { RouteSpec } from '../table-builder.js'
import { readJson } from './request-body.js'
import type { ApiRequest, Endpoint } from './router.js'

/** What the route endpoints work on. */
export interface RouteEndpointOptions {
  readonly plane: ControlPlane
  readonly book: RouteBook
  readonly rollouts: Rollouts
  /** Resolves when the state is on disk. */
  readonly keep: () => Promise<void>
}

/** The endpoints. */
export function routeEndpoints({ plane, book, rollouts, keep }: RouteEndpointOptions): Endpoint[] {
  /** Puts routes in force for all gateways at once. @returns what is told about it */
  const put = async (spec: RouteSpec, how: () => HistoryEntry): Promise<object> => {
    rollouts.requireIdle()
    const unchanged = book.holds(spec)
    const entry = how()
    await keep()
    // The table has gone on since these routes came: the version is the one in force, `since` when they came.
    return unchanged ? { version: plane.table.version, unchanged, since: entry.version, diff: [] } : shown(entry)
  }
  return [
    {
      method: 'GET',
      path: '/v1/routes',
      handle: () => ({ version: book.current?.version ?? plane.table.version, ...routesFileOf(plane.spec) }),
    },
    {
      method: 'PUT',
      path: '/v1/routes',
      handle: async (request) => {
        const { spec, errors, warnings } = await readRoutes(request)
        if (spec === undefined) throw invalid(errors, request.query.get('file'))
        const author = authorOf(request, messageOf(request))
        const stages = request.query.get('stages')
        const plan = stages === null ? undefined : readRolloutPlan(stages, request.query.get('bake'))
        if (plan !== undefined && !book.holds(spec)) {
          const rollout = rollouts.begin(spec, author, plan)
          return { version: rollout.version, rollout, warnings }
        }
        return { ...(await put(spec, () => book.apply(spec, 'applied', author))), warnings }
      },
    },
    {
      method: 'POST',
      path: '/v1/routes/plan',
      handle: async (request) => {
        const { spec, errors, warnings } = await readRoutes(request)
        if (spec === undefined) return { version: plane.table.version, errors, warnings, exact: true, pools: {} }
        const plan = await planRoutes(plane, spec, warnings)
        return book.holds(spec) && plan.version === plane.table.version ? { ...plan, unchanged: true } : plan
      },
    },
    {
      method: 'POST',
      path: '/v1/routes/rollback',
      handle: async (request) => {
        const fields = readObject(await readJson(request), 'body')
        const version = readCount(fields.version, 'version', 1, Number.MAX_SAFE_INTEGER)
        const message = fields.message === undefined ? messageOf(request) : readText(fields.message, 'message', 1000)
        return put(book.entry(version).spec, () => book.rollback(version, authorOf(request, message)))
      },
    },
    { method: 'GET', path: '/v1/routes/history', handle: () => ({ versions: book.history.map(shown) }) },
    { method: 'GET', path: '/v1/routes/history/:version', handle: ({ params }) => whole(book, params.version ?? '') },
    { method: 'GET', path: '/v1/rollout', handle: () => ({ rollout: rollouts.view ?? null }) },
    {
      method: 'POST',
      path: '/v1/rollout/abort',
      handle: ({ who }) => ({ rollout: rollouts.abort(`aborted by ${who}`) }),
    },
    { method: 'GET', path: '/v1/routes/schema', open: true, handle: () => routesJsonSchema() },
  ]
}

/** Bodies: the file's text as YAML or plain text, its text as a JSON string, or its content as JSON. */
async function readRoutes(request: ApiRequest): Promise<RoutesFile> {
  const text = await request.text().catch((error: unknown) => {
    if (!(error instanceof SluiceError)) throw error
    // Too long, or no text: then that is what is wrong with the file.
    throw new SluiceError('invalid_routes', `the file cannot be read: ${error.message}`, { path: ROOT, cause: error })
  })
  if (request.contentType !== 'application/json') return readRoutesFile(text)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    // The reader of routes files tells line and column.
    return readRoutesFile(text)
  }
  return readRoutesFile(typeof body === 'string' ? body : text)
}

/** @param file how the caller calls what it sent */
function invalid(errors: RoutesFile['errors'], file: string | null): SluiceError {
  const lines = errors.map((problem) => {
    if (file !== null) return formatProblem(problem, file.slice(0, 256))
    const { path, line, column, message } = problem
    return `${path === ROOT ? 'the file' : path} ${message} (line ${line}, column ${column})`
  })
  return new SluiceError('invalid_routes', lines.join('\n'), { path: errors[0]?.path ?? ROOT })
}

function authorOf({ who }: ApiRequest, message: string | undefined): Author {
  return { who, ...(message === undefined ? {} : { message }) }
}

function messageOf({ query }: ApiRequest): string | undefined {
  const message = query.get('message')
  return message === null || message === '' ? undefined : readText(message, 'message', 1000)
}

function shown({ spec: _spec, ...entry }: HistoryEntry): Omit<HistoryEntry, 'spec'> {
  return entry
}

function whole(book: RouteBook, text: string): unknown {
  const { spec, ...entry } = book.entry(Number(text))
  return { ...entry, ...routesFileOf(spec) }
}
