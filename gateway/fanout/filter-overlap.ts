/**
 * True when some topic may match both filters. Says true in the doubtful case of `$` topics, which costs a subscriber
 * its native room and nothing else.
 */
export function filtersOverlap(a: string, b: string): boolean {
  const left = a.split('/')
  const right = b.split('/')
  const shared = Math.min(left.length, right.length)
  for (let i = 0; i < shared; i++) {
    const x = left[i]
    const y = right[i]
    if (x === '#' || y === '#') return true
    if (x !== '+' && y !== '+' && x !== y) return false
  }
  if (left.length === right.length) return true
  // 'a/#' matches 'a' itself [MQTT 5.0, 4.7.1.2].
  const longer = left.length > right.length ? left : right
  return longer.length === shared + 1 && longer[shared] === '#'
}
