/**
 * A set of filters that knows which of them cover others: `a/#` covers `a`, `a/+` and `a/b/#`. Where one subscription
 * upstream is enough for several filters, the covered ones need none of their own.
 */

interface Node {
  readonly children: Map<string, Node>
  readonly parent: Node | undefined
  readonly level: string
  /** The filter that ends here. */
  filter: string | undefined
}

export class FilterCover {
  readonly #root: Node = { children: new Map(), parent: undefined, level: '', filter: undefined }

  add(filter: string): void {
    let node = this.#root
    for (const level of filter.split('/')) {
      let child = node.children.get(level)
      if (child === undefined) {
        child = { children: new Map(), parent: node, level, filter: undefined }
        node.children.set(level, child)
      }
      node = child
    }
    node.filter = filter
  }

  delete(filter: string): void {
    let node: Node | undefined = this.#root
    for (const level of filter.split('/')) node = node?.children.get(level)
    if (node?.filter === undefined) return
    node.filter = undefined
    while (node.parent !== undefined && node.filter === undefined && node.children.size === 0) {
      node.parent.children.delete(node.level)
      node = node.parent
    }
  }

  /** True when another filter of the set matches every topic that this one does. */
  covers(filter: string): boolean {
    return this.#isCovered(this.#root, filter, filter.split('/'), 0)
  }

  /** The filters of the set, other than `filter`, that match no topic that it does not. */
  narrower(filter: string): string[] {
    const found: string[] = []
    this.#collect(this.#root, filter.split('/'), 0, found)
    return found.filter((other) => other !== filter)
  }

  #isCovered(node: Node, filter: string, levels: readonly string[], at: number): boolean {
    const level = levels[at]
    // A wildcard in the first level does not match what starts with '$' [MQTT-4.7.2-1].
    const wild = at > 0 || level?.charCodeAt(0) !== 0x24
    const hash = wild ? node.children.get('#')?.filter : undefined
    if (hash !== undefined && hash !== filter) return true
    if (level === undefined) return node.filter !== undefined && node.filter !== filter
    if (level === '#') return false
    const same = node.children.get(level)
    if (same !== undefined && this.#isCovered(same, filter, levels, at + 1)) return true
    const plus = wild && level !== '+' ? node.children.get('+') : undefined
    return plus !== undefined && this.#isCovered(plus, filter, levels, at + 1)
  }

  #collect(node: Node, levels: readonly string[], at: number, into: string[]): void {
    const level = levels[at]
    if (level === undefined || level === '#') {
      if (node.filter !== undefined) into.push(node.filter)
      if (level === '#') for (const child of this.#wildChildren(node)) this.#everything(child, into)
    } else if (level !== '+') {
      const child = node.children.get(level)
      if (child !== undefined) this.#collect(child, levels, at + 1, into)
    } else {
      for (const child of this.#wildChildren(node)) if (child.level !== '#') this.#collect(child, levels, at + 1, into)
    }
  }

  #everything(node: Node, into: string[]): void {
    if (node.filter !== undefined) into.push(node.filter)
    for (const child of node.children.values()) this.#everything(child, into)
  }

  #wildChildren(node: Node): Node[] {
    const children = [...node.children.values()]
    return node === this.#root ? children.filter((child) => child.level.charCodeAt(0) !== 0x24) : children
  }
}
