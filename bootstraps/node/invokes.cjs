// From an event to its answer. Up to Node 22 an invoke may last until the event loop is empty
// (`CallbackInvoke`), from Node 24 on handlers are async functions only (`AsyncInvoke`); handlers that write
// their response to a stream are `StreamingInvoke`.

'use strict';

const { receive, sendBytes, sendError, sendFrame } = require('./channel.cjs');
const { Fault, HAS_CALLBACKS, errorDocument, logFailure, setCurrent } = require('./records.cjs');

// Earlier runtimes answer null for an async handler that never settles.
const REPORTS_UNSETTLED = parseInt(process.versions.node, 10) >= 18;

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
// Where AWS's client for callbacks keeps what its log lines name; libraries read it.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const TENANT_ID = Symbol.for('aws.lambda.runtime.tenantId');

const NODE_JS_EXIT =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a ' +
  'Promise that was never settled. For more information, see ' +
  'https://nodejs.org/docs/latest/api/process.html#exit-codes';

// -------------------------------------------------------------------------------------------------- context

function parseContext(text, name, header) {
  try {
    return text === undefined || (text === '' && !HAS_CALLBACKS) ? undefined : JSON.parse(text);
  } catch (error) {
    throw HAS_CALLBACKS
      ? new Error(`Cannot parse ${name} as json: ${error}`)
      : new Fault('PlatformError', `Failed to parse ${header} as JSON: ${error.message}`);
  }
}

const functionName = process.env.AWS_LAMBDA_FUNCTION_NAME;
const functionVersion = process.env.AWS_LAMBDA_FUNCTION_VERSION;
const memoryLimitInMB = process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE;
const logGroupName = process.env.AWS_LAMBDA_LOG_GROUP_NAME;
const logStreamName = process.env.AWS_LAMBDA_LOG_STREAM_NAME;

// The order of a context's fields is that of AWS's clients: functions print and compare contexts as JSON.

function contextFields(head) {
  return {
    functionVersion,
    functionName,
    memoryLimitInMB,
    logGroupName,
    logStreamName,
    clientContext: parseContext(head.client, 'ClientContext', 'lambda-runtime-client-context'),
    identity: parseContext(head.identity, 'CognitoIdentity', 'lambda-runtime-cognito-identity'),
    invokedFunctionArn: head.arn,
    awsRequestId: head.id,
    tenantId: head.tenant,
    getRemainingTimeInMillis: () => head.deadline - Date.now(),
  };
}

function asyncContext(head) {
  return {
    clientContext: parseContext(head.client, 'ClientContext', 'lambda-runtime-client-context'),
    identity: parseContext(head.identity, 'CognitoIdentity', 'lambda-runtime-cognito-identity'),
    invokedFunctionArn: head.arn,
    awsRequestId: head.id,
    tenantId: head.tenant,
    xRayTraceId: head.trace,
    getRemainingTimeInMillis: () => head.deadline - Date.now(),
    functionName,
    functionVersion,
    memoryLimitInMB,
    logGroupName,
    logStreamName,
  };
}

/** JSON of a response. */
function encode(response) {
  let text;
  try {
    text = JSON.stringify(response === undefined ? null : response);
  } catch (_) {
    const message = 'Unable to stringify response body';
    throw HAS_CALLBACKS ? new Error(message) : new Fault('JSONStringifyError', message);
  }
  if (text === undefined) {
    // a function or a symbol: AWS's client fails to hand it on
    throw new TypeError('Wrong arguments');
  }
  return text;
}

// -------------------------------------------------------------------------------------------------- invokes

const state = {
  /** Reports an error that no handler caught, while something is under way that can fail. */
  fail: null,
  /** What happens when the event loop has nothing left to do. */
  whenEmpty: null,
  /** `awslambda.InvokeStore`. */
  store: null,
};

/** An invoke on the runtimes with callbacks (Node 22 and before). */
class CallbackInvoke {
  constructor(receiver, next) {
    this.receiver = receiver;
    this.next = next;
    this.answered = false;
    this.completed = false;
    this.waitsForEmptyLoop = true;
  }

  /** Sends an error document unless there was an answer. */
  sendFailure(thrown) {
    if (!this.answered) {
      this.answered = true;
      state.fail = null;
      // AWS's client names no error type to the platform here
      sendError('E', '', errorDocument(thrown));
      return true;
    }
    return false;
  }

  fail(thrown) {
    logFailure('Invoke Error', thrown);
    if (this.sendFailure(thrown)) {
      this.next();
    }
  }

  complete(response) {
    if (this.completed) {
      console.error(
        'Invocation has already been reported as done. Cannot call complete more than once per invocation.',
      );
      return;
    }
    this.completed = true;
    const text = encode(response);
    if (!this.answered) {
      this.answered = true;
      state.fail = null;
      sendFrame('A', text);
      this.next();
    }
  }

  /** `callback(error, response)`: a response is sent once the loop is empty, if the context says so. */
  callback(error, response) {
    state.whenEmpty = null;
    if (error !== undefined && error !== null) {
      this.fail(error);
    } else if (this.waitsForEmptyLoop) {
      state.whenEmpty = () => setImmediate(() => this.complete(response));
    } else {
      this.complete(response);
    }
  }

  /** `context.done(error, response)` and its like: a response is sent at once. */
  done(error, response) {
    state.whenEmpty = null;
    if (error !== undefined && error !== null) {
      this.fail(error);
    } else {
      this.complete(response);
    }
  }

  /** The loop is empty, and nobody has said how the invoke ended. */
  abandoned() {
    this.completed = true;
    if (REPORTS_UNSETTLED && isAsync(this.receiver.handler)) {
      this.fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    } else if (!this.answered) {
      this.answered = true;
      state.fail = null;
      sendFrame('A', 'null');
      this.next();
    }
  }

  run(head, event) {
    global[REQUEST_ID] = head.id;
    global[TENANT_ID] = head.tenant;
    state.fail = (thrown) => this.sendFailure(thrown);
    state.whenEmpty = () => this.abandoned();
    let finished = false;
    const once = (end) => (one, two) => {
      if (!finished) {
        end(one, two);
        finished = true;
      }
    };
    const callback = once((error, response) => this.callback(error, response));
    const invoke = this;
    const context = {
      get callbackWaitsForEmptyEventLoop() {
        return invoke.waitsForEmptyLoop;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        invoke.waitsForEmptyLoop = value;
      },
      succeed: once((response) => this.done(null, response)),
      fail: once((error) => this.done(error === undefined || error === null ? 'handled' : error, null)),
      done: once((error, response) => this.done(error, response)),
    };
    try {
      const value = JSON.parse(event);
      const result = this.receiver.handler(value, Object.assign(context, contextFields(head)), callback);
      if (isThenable(result)) {
        result.then(context.succeed, context.fail).catch(context.fail);
      }
    } catch (error) {
      callback(error);
    }
  }
}

/** An invoke on the runtimes without callbacks (Node 24 and later). */
class AsyncInvoke {
  constructor(receiver, next, turn) {
    this.receiver = receiver;
    this.next = turn;
    this.ended = false;
  }

  run(head, event) {
    if (state.store) {
      state.store.begin(head);
    }
    const context = asyncContext(head);
    state.whenEmpty = () => fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    const succeed = (response) => this.end(() => this.succeed(response));
    const fail = (error) => this.end(() => this.fail(error));
    let result;
    try {
      result = this.receiver.handler(JSON.parse(event), context);
    } catch (error) {
      fail(error);
      return;
    }
    if (isThenable(result)) {
      Promise.resolve(result).then(succeed, fail);
    } else {
      succeed(result);
    }
  }

  /** The answer waits for one turn of the loop, so that a rejection nobody handles still counts. After that
   * the next event can be taken at once. */
  end(answer) {
    state.whenEmpty = null;
    if (!this.ended) {
      this.ended = true;
      setImmediate(answer);
    }
  }

  succeed(response) {
    let text;
    try {
      text = encode(response);
    } catch (error) {
      this.fail(error);
      return;
    }
    sendFrame('A', text);
    this.next();
  }

  fail(thrown) {
    logFailure('Invoke Error', thrown);
    // as above, no error type
    sendError('E', '', errorDocument(thrown));
    this.next();
  }
}

/** An invoke of a handler that writes its response to a stream. */
class StreamingInvoke {
  constructor(receiver, next) {
    this.receiver = receiver;
    this.next = next;
    this.waitsForEmptyLoop = HAS_CALLBACKS;
    this.answered = false;
    this.stream = null;
  }

  context(head) {
    if (!HAS_CALLBACKS) {
      return asyncContext(head);
    }
    const invoke = this;
    const context = {
      get callbackWaitsForEmptyEventLoop() {
        return invoke.waitsForEmptyLoop;
      },
      set callbackWaitsForEmptyEventLoop(value) {
        invoke.waitsForEmptyLoop = value;
      },
    };
    return Object.assign(context, contextFields(head));
  }

  async run(head, event) {
    if (HAS_CALLBACKS) {
      global[REQUEST_ID] = head.id;
      global[TENANT_ID] = head.tenant;
      state.fail = (thrown) => this.sendFailure(thrown);
    } else if (state.store) {
      state.store.begin(head);
    }
    state.whenEmpty = () => this.fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    try {
      const { ResponseStream } = require('./streaming.cjs');
      this.stream = new ResponseStream(highWaterMark(this.receiver.handler), head.stream === true);
      const result = this.receiver.handler(JSON.parse(event), this.stream, this.context(head));
      if (!isThenable(result)) {
        const message = 'Streaming does not support non-async handlers.';
        throw HAS_CALLBACKS ? message : new Error(message);
      }
      if ((await result) !== undefined) {
        console.warn('Streaming handlers ignore return values.');
      }
      await this.stream.ended();
      if (this.waitsForEmptyLoop) {
        state.whenEmpty = () => setImmediate(() => this.succeed());
      } else {
        this.succeed();
      }
    } catch (error) {
      this.fail(error);
    }
  }

  succeed() {
    if (!this.answered) {
      this.answered = true;
      state.fail = state.whenEmpty = null;
      // of a streamed answer this is the end
      sendBytes('A', this.stream.bytes());
      this.next();
    }
  }

  /** Sends an error document unless there was an answer, or a part of one is on its way. */
  sendFailure(thrown) {
    if (this.stream && this.stream.isPassing()) {
      return false;
    }
    if (!this.answered && this.stream && this.stream.isComplete()) {
      // the response was there before the failure
      this.answered = true;
      state.fail = state.whenEmpty = null;
      sendBytes('A', this.stream.bytes());
      return true;
    }
    if (!this.answered) {
      this.answered = true;
      state.fail = state.whenEmpty = null;
      const document = errorDocument(thrown);
      // unlike those of other handlers, the error of a stream has its type beside it
      sendError('E', document.errorType, document);
      return true;
    }
    return false;
  }

  fail(thrown) {
    logFailure('Invoke Error', thrown);
    const send = () => {
      if (this.sendFailure(thrown)) {
        this.next();
      }
    };
    if (this.stream) {
      this.stream.settle(send);
    } else {
      send();
    }
  }
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

function isAsync(handler) {
  return handler.constructor?.name === 'AsyncFunction';
}

function isStreaming(handler) {
  const mark = handler[STREAMING];
  if (mark === undefined || mark === null || mark === false || (!HAS_CALLBACKS && !mark)) {
    return false;
  }
  if (mark !== 'response') {
    throw new Fault('MalformedStreamingHandler', 'Only response streaming is supported.');
  }
  return true;
}

function highWaterMark(handler) {
  const mark = parseInt(handler[HIGH_WATER_MARK], 10);
  return isNaN(mark) ? undefined : mark;
}

/**
 * What handlers are called on. Stack traces show its class as "at Runtime.handler", as they do on AWS.
 */
function receiverOf(handler, Invoke) {
  class Runtime {}
  class BufferedInvokeProcessor {}
  class StreamingInvokeProcessor {}
  const Newer = Invoke === StreamingInvoke ? StreamingInvokeProcessor : BufferedInvokeProcessor;
  return Object.assign(HAS_CALLBACKS ? new Runtime() : new Newer(), { handler });
}

/** Takes events for ever. */
function serve(handler) {
  const Invoke = isStreaming(handler) ? StreamingInvoke : HAS_CALLBACKS ? CallbackInvoke : AsyncInvoke;
  const receiver = receiverOf(handler, Invoke);
  const take = (head, event) => {
    if (head.trace) {
      process.env._X_AMZN_TRACE_ID = head.trace;
    } else {
      delete process.env._X_AMZN_TRACE_ID;
    }
    setCurrent(head.id, head.tenant);
    new Invoke(receiver, next, turn).run(head, event);
  };
  const turn = () => {
    receive(take);
  };
  // from the loop, so that timers and I/O left over by earlier invokes get their turn
  const next = () => {
    setImmediate(turn);
  };
  // a rejection that nobody handles still is a failure of INIT
  setImmediate(() => {
    state.fail = state.whenEmpty = null;
    sendFrame('R', '');
    turn();
  });
}

module.exports = { HIGH_WATER_MARK, STREAMING, isAsync, isStreaming, serve, state };
