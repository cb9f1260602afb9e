// How an asynchronous call tells its end: a completion handler as last argument, or a promise.
//
// The vendor has two forms of promise: methods that return one when no handler is given, and, on methods that return
// the object itself, a helper of the same name: `await session.connect.promise(token)`.

const exceptions = new EventDispatcher();

// Tell `OT.on("exception")` about an error, then give it to the page's handler.
function fail(callback, error, target) {
  log(WARN, `${error.name} (${error.code}): ${error.message}`);
  const details = { code: error.code, message: error.message, title: TITLE_OF[error.code] ?? "Error" };
  const event = new OtEvent("exception", details);
  event.target = target ?? OT;
  exceptions._tell(event);
  if (typeof callback === "function") guarded(() => callback(error));
}

function succeed(callback) {
  if (typeof callback === "function") guarded(() => callback(null));
}

// Answer by the handler when there is one, else by the promise: never by both, so that no rejection goes unhandled.
function settle(promise, callback) {
  if (typeof callback !== "function") return promise;
  promise.then((value) => guarded(() => callback(null, value)), (error) => fail(callback, error));
  return undefined;
}

// Give `owner[name]` its `.promise(...)`. `place` is where the completion handler stands among the arguments.
function withPromise(owner, name, place) {
  const method = owner[name].bind(owner);
  method.promise = (...args) => new Promise((resolve, reject) => {
    const given = Array.from({ length: place }, (_, index) => args[index]);
    let result;
    const done = (error) => (error ? reject(error) : resolve(result));
    // A failure can be told before the method has returned what a success resolves with.
    result = method(...given, (error) => queueMicrotask(() => done(error)));
  });
  owner[name] = method;
}
