/** What YAML allows and a routes file does not: values with tags, keys that are no words, one name written in two ways. */

import { type Document, isMap, isPair, isScalar, isSeq, type Node, visit, type YAMLMap } from 'yaml'
import type { Finding, Path } from './routes-problem.js'

/** A finding with the place in the text, which cannot be found by such keys. */
export interface Oddity extends Finding {
  readonly offset: number
}

const PLAIN_TAGS = /^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/

/** All of them, in the order of the text. */
export function findOddities(document: Document): Oddity[] {
  const found: Oddity[] = []
  visit(document, {
    Node: (_, node, ancestors) => {
      const { tag, range } = node as Node & { tag?: string }
      if (tag !== undefined && !PLAIN_TAGS.test(tag)) {
        const message = `has the tag ${tag.replace('tag:yaml.org,2002:', '!!')}; only texts, numbers, lists and records are read`
        found.push({ path: pathOf([...ancestors, node]), offset: range?.[0] ?? 0, message })
        return visit.SKIP
      }
      if (isMap(node)) found.push(...oddKeys(node, pathOf([...ancestors, node])))
      return undefined
    },
  })
  return found
}

function oddKeys(map: YAMLMap, path: Path): Oddity[] {
  const seen = new Set<string>()
  return map.items.flatMap(({ key }) => {
    const offset = (key as Node | null)?.range?.[0] ?? map.range?.[0] ?? 0
    if (!isScalar(key)) return [{ path, offset, message: 'has a key that is a list or a record; keys are words' }]
    const name = String(key.value)
    if (seen.has(name)) return [{ path: [...path, name], offset, message: 'is there twice: with and without quotes' }]
    seen.add(name)
    return []
  })
}

/** @param chain nodes and pairs from the document down */
function pathOf(chain: readonly unknown[]): Path {
  return chain.flatMap((part, i): Path => {
    if (isPair(part)) return isScalar(part.key) ? [String(part.key.value)] : []
    const parent = chain[i - 1]
    return isSeq(parent) ? [parent.items.indexOf(part)] : []
  })
}
