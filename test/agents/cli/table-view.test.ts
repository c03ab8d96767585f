import fc from 'fast-check'
import t from 'tap'
import { type Column, renderSpan, renderTable } from '../../../agents/cli/table-view.js'

interface Row {
  name: string
  count: number
}

const COLUMNS: Column<Row>[] = [
  { title: 'NAME', value: (row) => row.name, flexible: true },
  { title: 'COUNT', value: (row) => row.count, align: 'right' },
]

t.test('columns line up and numbers stand at the right edge', async (t) => {
  const text = renderTable(
    [
      { name: 'a', count: 5 },
      { name: 'longer', count: 1234 },
    ],
    COLUMNS,
  )
  t.equal(text, ['NAME    COUNT', 'a           5', 'longer   1234'].join('\n'))
})

t.test('a flexible column gives way before a line passes the width', async (t) => {
  const text = renderTable([{ name: 'x'.repeat(100), count: 7 }], COLUMNS, 20)
  const line = text.split('\n')[1] ?? ''
  t.equal(line.length, 20)
  t.match(line, /x…\s+7$/)
})

t.test('no line is ever wider than the width, whatever the cells hold', async () => {
  const row = fc.record({ name: fc.string({ maxLength: 200 }), count: fc.integer() })
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), fc.integer({ min: 20, max: 120 }), (rows, width) => {
      const lines = renderTable(rows, COLUMNS, width).split('\n')
      return lines.length === rows.length + 1 && lines.every((line) => line.length <= width)
    }),
  )
})

t.test('control characters of a name do not reach the terminal', async (t) => {
  const text = renderTable([{ name: '\u001b[2Jevil\n\u009b', count: 1 }], COLUMNS)
  t.match(text, /\?\[2Jevil\?\?/)
})

t.test('a missing value is a dash', async (t) => {
  t.equal(renderTable([{}], [{ title: 'X', value: () => undefined }]), 'X\n-')
})

t.test('spans take the largest unit that keeps two digits', async (t) => {
  const spans = [350, 12_000, 240_000, 3 * 3_600_000, 9 * 86_400_000, Number.NaN].map(renderSpan)
  t.same(spans, ['350 ms', '12 s', '4 min', '3 h', '9 d', '-'])
})
