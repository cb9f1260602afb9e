// Listening and telling: the vendor's on / once / off in all their forms, and event objects with a default behaviour.

class OtEvent {
  constructor(type, details = {}, cancelable = false) {
    Object.assign(this, details);
    this.type = type;
    this.cancelable = cancelable;
    this.target = null;
    this._prevented = false;
  }

  preventDefault() {
    if (this.cancelable) this._prevented = true;
  }

  isDefaultPrevented() {
    return this._prevented;
  }
}

class EventDispatcher {
  constructor() {
    this._handlers = new Map();
  }

  // on("name", handler, context), on("one two", handler), on({ one: handler, two: handler }, context)
  on(types, handler, context) {
    return this._add(types, handler, context, false);
  }

  once(types, handler, context) {
    return this._add(types, handler, context, true);
  }

  // off(), off("name"), off("one two", handler, context), off({ one: handler }, context)
  off(types, handler, context) {
    if (types === undefined || types === null) {
      const all = [...this._handlers.keys()];
      this._handlers.clear();
      for (const type of all) this._listenersChanged(type);
      return this;
    }
    for (const [type, wanted, owner] of pairs(types, handler, context)) {
      const kept = (this._handlers.get(type) ?? []).filter(
        (each) => (wanted && each.handler !== wanted) || (owner && each.context !== owner),
      );
      if (kept.length) this._handlers.set(type, kept);
      else this._handlers.delete(type);
      this._listenersChanged(type);
    }
    return this;
  }

  addEventListener(type, handler, context) {
    this.on(type, handler, context);
  }

  removeEventListener(type, handler, context) {
    this.off(type, handler, context);
  }

  _add(types, handler, context, once) {
    for (const [type, wanted, owner] of pairs(types, handler, context)) {
      if (typeof wanted !== "function") throw new TypeError(`the handler of "${type}" is not a function`);
      this._handlers.set(type, [...(this._handlers.get(type) ?? []), { handler: wanted, context: owner, once }]);
      this._listenersChanged(type);
    }
    return this;
  }

  _drop(type, entry) {
    const kept = (this._handlers.get(type) ?? []).filter((each) => each !== entry);
    if (kept.length) this._handlers.set(type, kept);
    else this._handlers.delete(type);
    this._listenersChanged(type);
  }

  _hears(type) {
    return this._handlers.has(type);
  }

  // A class that does work only while somebody listens overrides this.
  _listenersChanged() {}

  // Tell everybody, then do what the event does unless a handler prevented it. A handler that throws stops nobody else.
  _tell(event, byDefault = () => {}, name = event.type) {
    event.target ??= this;
    for (const each of this._handlers.get(name) ?? []) {
      if (each.once) this._drop(name, each);
      guarded(() => each.handler.call(each.context ?? this, event));
    }
    if (!event.isDefaultPrevented()) byDefault();
    return event;
  }
}

function pairs(types, handler, context) {
  if (typeof types === "object") return Object.entries(types).map(([type, each]) => [type, each, handler]);
  return types.trim().split(/\s+/).map((type) => [type, handler, context]);
}

// Run the page's code: its exceptions go where the page's exceptions go, and never break ours.
function guarded(run) {
  try {
    run();
  } catch (error) {
    reportError(error);
  }
}
