/** How the answer of `explain` looks in a terminal. */

/** The answer in words first, then the facts behind it. */
export function renderExplanation({ words, ...facts }: Record<string, unknown>, width = 80): string {
  const sentences = Array.isArray(words) ? words.flatMap((sentence) => wrap(String(sentence), width)) : []
  return [...sentences, ...(sentences.length > 0 ? [''] : []), ...renderFacts(facts)].join('\n')
}

/** Breaks between words; what follows on the next line is indented. */
function wrap(sentence: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of sentence.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line)
      line = `  ${word}`
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** Nested data as indented `name  value` lines. */
export function renderFacts(facts: Record<string, unknown>, indent = ''): string[] {
  const shown = Object.entries(facts).filter(([, value]) => !isEmpty(value))
  const width = Math.max(0, ...shown.filter(([, value]) => !isRecord(value)).map(([name]) => name.length))
  return shown.flatMap(([name, value]) => {
    if (isRecord(value)) return [`${indent}${name}`, ...renderFacts(value, `${indent}  `)]
    if (Array.isArray(value) && value.some(isRecord)) {
      return [`${indent}${name}`, ...value.flatMap((one) => renderItem(one, `${indent}  `))]
    }
    return [`${indent}${name.padEnd(width)}  ${Array.isArray(value) ? value.join(', ') : String(value)}`]
  })
}

function renderItem(item: unknown, indent: string): string[] {
  if (!isRecord(item)) return [`${indent}- ${String(item)}`]
  const [first, ...rest] = renderFacts(item, `${indent}  `)
  return [`${indent}- ${(first ?? '').trimStart()}`, ...rest]
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
