/** The shape of a routes file (docs: 'Routes file'). What spans several fields is checked in `routes-semantics.ts`. */

import { z } from 'zod'
import { createPattern } from '../../gateway/route/pattern.js'
import { SluiceError } from '../../proto/errors.js'
import { MAX_ID, MAX_TEXT } from '../../proto/fields.js'
import { POLICIES } from '../../proto/table.js'
import { isId } from '../../proto/table-check.js'
import { isTopicFilter } from '../../proto/topic.js'

/** Most pools, routes, and pools of one route. */
export const MAX_POOLS = 1000
export const MAX_ROUTES = 1000
export const MAX_TARGETS = 64
const MAX_HEADERS = 64
/** Deepest level of a topic that a key can name. */
const MAX_LEVELS = 128

const name = z
  .string()
  .max(MAX_ID, `must have at most ${MAX_ID} characters`)
  .refine(isId, 'must be 1 to 256 characters without control characters')

const regex = z.string().superRefine((source, context) => {
  try {
    createPattern(source)
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    context.addIssue({ code: 'custom', message: error.message })
  }
})

const text = z.string().max(MAX_TEXT, `must have at most ${MAX_TEXT} characters`)

const textForm = z
  .strictObject({
    exact: text.optional().describe('The whole value, as it stands.'),
    prefix: text.optional().describe('How the value begins.'),
    regex: regex
      .optional()
      .describe('Occurs anywhere in the value unless tied by ^ and $. No lookaround, no backreferences.'),
    present: z.boolean().optional().describe('Whether the attribute is there at all.'),
  })
  .refine((form) => Object.values(form).filter((value) => value !== undefined).length === 1, {
    message: 'must hold exactly one of exact, prefix, regex, present',
  })

const textMatch = z.union([text, textForm]).describe('A glob with * and ?, or one of exact, prefix, regex, present.')

const headers = z
  .record(z.string().min(1, 'a header needs a name').max(MAX_ID), textMatch)
  .refine((given) => Object.keys(given).length <= MAX_HEADERS, `must name at most ${MAX_HEADERS} headers`)

const match = z.strictObject({
  topic: z
    .string()
    .refine(isTopicFilter, 'must be an MQTT topic filter: + alone in its level, # alone in the last one')
    .optional()
    .describe('MQTT topic filter.'),
  type: z.enum(['data', 'publish']).optional().describe('Kind of frame.'),
  protocol: textMatch.optional(),
  gateway: textMatch.optional(),
  region: textMatch.optional(),
  device: textMatch.optional(),
  headers: headers.optional().describe('WebSocket upgrade headers and MQTT 5 user properties.'),
})

const target = z.strictObject({
  pool: name,
  weight: z
    .number()
    .min(0, 'must be at least 0')
    .max(1_000_000, 'must be at most 1000000')
    .optional()
    .describe("Share of the devices, relative to the route's other pools. 1 when left out."),
})

const route = z.strictObject({
  name: name.describe('Unique in the file.'),
  match: match.nullish().describe('All that is given must hold; nothing matches everything.'),
  to: z
    .array(target)
    .min(1, 'must name at least one pool')
    .max(MAX_TARGETS, `must name at most ${MAX_TARGETS} pools`)
    .describe('Where its frames go, decided by a hash of the device.'),
})

const pool = z.strictObject({
  policy: z.enum(POLICIES).optional().describe('consistent_hash when left out.'),
  key: z
    .string()
    .max(MAX_ID, `must have at most ${MAX_ID} characters`)
    .refine(isAffinityKey, `must be device, header:NAME, or topic:LEVELS with 1 to ${MAX_LEVELS} levels`)
    .optional()
    .describe('What is hashed to a slot: device (when left out), header:NAME or topic:LEVELS.'),
  maxLoad: z
    .number()
    .min(1, 'must be at least 1')
    .max(100, 'must be at most 100')
    .optional()
    .describe('No worker holds more than this times the mean. 1.25 when left out.'),
})

/** A whole routes file, before it is checked across its fields. */
export const routesSchema = z.strictObject({
  pools: z
    .record(name, pool.nullable())
    .refine((pools) => Object.keys(pools).length <= MAX_POOLS, `must hold at most ${MAX_POOLS} pools`)
    .describe('Groups of interchangeable workers.'),
  routes: z
    .array(route)
    .min(1, 'must hold at least one route')
    .max(MAX_ROUTES, `must hold at most ${MAX_ROUTES} routes`)
    .describe('The first one that matches wins.'),
})

export type RoutesInput = z.infer<typeof routesSchema>

function isAffinityKey(key: string): boolean {
  if (key === 'device' || /^header:[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(key)) return true
  const levels = /^topic:([1-9]\d{0,2})$/.exec(key)
  return levels !== null && Number(levels[1]) <= MAX_LEVELS
}

/** Keys that may stand in the record at `path`; undefined where any may (names of pools and headers). */
export function keysAt(path: readonly PropertyKey[]): readonly string[] | undefined {
  let schema: unknown = routesSchema
  for (const key of path) schema = childOf(schema, key)
  const shape = shapeOf(schema)
  return shape === undefined ? undefined : Object.keys(shape)
}

function childOf(schema: unknown, key: PropertyKey): unknown {
  const inner = bare(schema)
  if (inner instanceof z.ZodObject) return inner.shape[String(key)]
  if (inner instanceof z.ZodArray) return inner.element
  if (inner instanceof z.ZodRecord) return inner.valueType
  return undefined
}

function shapeOf(schema: unknown): Readonly<Record<string, unknown>> | undefined {
  const inner = bare(schema)
  return inner instanceof z.ZodObject ? inner.shape : undefined
}

/** The schema without "optional" and "nullable", and the record of a union. */
function bare(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return bare(schema.unwrap())
  if (schema instanceof z.ZodUnion) return schema.options.map(bare).find((option) => option instanceof z.ZodObject)
  return schema
}

/** JSON Schema (draft 2020-12) of a routes file, for editors. */
export function routesJsonSchema(): Record<string, unknown> {
  return { title: 'Sluice routes file', ...z.toJSONSchema(routesSchema, { io: 'input' }) }
}
