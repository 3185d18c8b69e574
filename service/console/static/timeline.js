// What was before each change of something, to undo and to redo it.

/** States of the past and of what was undone; the present one is with whoever changes it. */
export class Timeline {
  #past = [];
  #future = [];

  /** What was before a change that has just been made. */
  add(before) {
    this.#past.push(before);
    this.#future = [];
  }

  /** The state before `now`; to be asked for only while there is one. */
  undo(now) {
    this.#future.push(now);
    return this.#past.pop();
  }

  /** The state that was undone last. */
  redo(now) {
    this.#past.push(now);
    return this.#future.pop();
  }

  clear() {
    this.#past = [];
    this.#future = [];
  }

  get undoable() {
    return this.#past.length > 0;
  }

  get redoable() {
    return this.#future.length > 0;
  }
}
