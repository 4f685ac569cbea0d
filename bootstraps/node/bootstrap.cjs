// Lambkin's runtime client for managed Node.js runtimes (Node 14 to 26, standard library only).
//
// It answers invokes on the private channel (fd 3, see docs/internals/private-channel.md), sends log records
// on fd 4, and behaves towards the function as AWS's own client of the same Node.js version does: up to
// Node 22 with callbacks and an invoke that lasts until the event loop is empty (`CallbackInvoke`), from
// Node 24 on with async handlers only (`AsyncInvoke`).
//
// fd 3 is read and written synchronously: a warm invoke of a trivial function took a third of the CPU time
// that net.Socket needs (no streams, no epoll, no wake-up of the loop), and between two events there is
// nothing for the loop to do that could not wait: an idle environment is frozen anyway. Every event is read
// from a `setImmediate`, so timers and I/O left over by earlier invokes get their turn.
//
// Written in CommonJS, for a `.mjs` entry point costs some milliseconds more at start.

'use strict';

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { format, types } = require('util');

const CHANNEL_FD = 3;
const RECORD_FD = 4;
// Most bytes of text in one datagram of fd 4; a longer text is cut up.
const RECORD_CHUNK = 65536;
// What one read of fd 3 asks for; an event that is longer takes more reads.
const READ_SIZE = 65536;
// No UTF-16 unit takes more bytes than this in UTF-8.
const UTF8_MAX = 3;

const NODE_MAJOR = parseInt(process.versions.node, 10);
const HAS_CALLBACKS = NODE_MAJOR < 24;
// Earlier runtimes answer null for an async handler that never settles.
const REPORTS_UNSETTLED = NODE_MAJOR >= 18;
// The earlier ones were out of support before the change was announced.
const WARNS_OF_CALLBACKS = HAS_CALLBACKS && NODE_MAJOR >= 18;

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
// Where AWS's client for callbacks keeps what its log lines name; libraries read it.
const REQUEST_ID = Symbol.for('aws.lambda.runtime.requestId');
const TENANT_ID = Symbol.for('aws.lambda.runtime.tenantId');

const NODE_JS_EXIT =
  'The Lambda runtime client detected an unexpected Node.js exit code. This is most commonly caused by a ' +
  'Promise that was never settled. For more information, see ' +
  'https://nodejs.org/docs/latest/api/process.html#exit-codes';
const CALLBACKS_REMOVED =
  'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You ' +
  'need to modify this function to use a supported handler signature to use Node.js 24 or later. For more ' +
  'information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.';
const CALLBACKS_WILL_GO =
  'AWS Lambda plans to remove support for callback-based function handlers starting with Node.js 24. You will ' +
  'need to update this function to use an async handler to use Node.js 24 or later. For more information and ' +
  'to provide feedback on this change, see ' +
  'https://github.com/aws/aws-lambda-nodejs-runtime-interface-client/issues/137. To disable this warning, set ' +
  'the AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING environment variable.';
const UNREADABLE_ERROR =
  'callback called with Error argument, but there was a problem while retrieving one or more of its message, ' +
  'name, and stack';

// --------------------------------------------------------------------------------------------------- errors

/** A failure that has an error type of the platform rather than a class of the function. */
class Fault extends Error {
  constructor(kind, message) {
    super(message);
    if (HAS_CALLBACKS) {
      // not among the error's own properties, and in the stack's first line
      Object.defineProperty(this, 'name', { value: 'Runtime.' + kind });
      Error.captureStackTrace(this, Fault);
    } else {
      this.name = 'Runtime.' + kind;
    }
  }
}

function unhandledRejection(reason, promise) {
  const fault = new Fault('UnhandledPromiseRejection', typeof reason === 'symbol' ? String(reason) : reason);
  return Object.assign(fault, { reason, promise });
}

/** What an error document is made of; DEL is not wanted in it. */
function clean(text) {
  return text?.replace(/\x7f/g, '%7F');
}

function isError(value) {
  if (!HAS_CALLBACKS) {
    return value instanceof Error;
  }
  return (
    types.isNativeError(value) ||
    (value &&
      [value.name, value.message, value.stack].every((field) => typeof field === 'string' && field !== ''))
  );
}

/** The error document of what was thrown. */
function errorDocument(thrown) {
  try {
    if (isError(thrown)) {
      const { name, message, stack } = thrown;
      const trace = HAS_CALLBACKS || stack ? clean(stack).split('\n') : [];
      return { errorType: clean(name), errorMessage: clean(message), trace };
    }
    const errorMessage = HAS_CALLBACKS ? thrown.toString() : String(thrown);
    return { errorType: typeof thrown, errorMessage, trace: [] };
  } catch (_) {
    const document = { errorType: 'handled', errorMessage: UNREADABLE_ERROR };
    return HAS_CALLBACKS ? document : Object.assign(document, { trace: [] });
  }
}

/** `JSON.stringify` replacer that shows errors whole. */
function errorsWhole(_, value) {
  if (!(value instanceof Error)) {
    return value;
  }
  const { name: errorType, message: errorMessage, code, stack } = value;
  const fields = Object.assign({ errorType, errorMessage, code }, value);
  if (typeof stack === 'string') {
    fields.stack = stack.split('\n');
  }
  return fields;
}

/** The same for log records in JSON, where the fields have other names. */
function errorsOfLog(_, value) {
  if (!(value instanceof Error)) {
    return value;
  }
  return Object.assign(errorFields(value, value.stack), value);
}

function errorFields(error, stackUnlessText) {
  const { constructor, message: errorMessage, stack } = error;
  const errorType = constructor?.name ?? 'UnknownError';
  return { errorType, errorMessage, stackTrace: typeof stack === 'string' ? stack.split('\n') : stackUnlessText };
}

// ---------------------------------------------------------------------------------------------- log output

/** Sends a text on fd 4 as one log record; what cannot be sent goes to fd 1. */
function sendRecord(text) {
  try {
    if (text.length * UTF8_MAX < RECORD_CHUNK) {
      fs.writeSync(RECORD_FD, 'r' + text);
      return;
    }
    const data = Buffer.from(text);
    const [whole, part] = [Buffer.from('r'), Buffer.from('R')];
    let start = 0;
    while (data.length - start > RECORD_CHUNK) {
      let cut = start + RECORD_CHUNK;
      // not within a character: its later bytes are 10xxxxxx
      while ((data[cut] & 0xc0) === 0x80) {
        cut -= 1;
      }
      fs.writevSync(RECORD_FD, [part, data.subarray(start, cut)]);
      start = cut;
    }
    fs.writevSync(RECORD_FD, [whole, data.subarray(start)]);
  } catch (_) {
    try {
      fs.writeSync(1, text);
    } catch (_gone) {
      // nobody reads the output any more
    }
  }
}

const LOGS_JSON = (process.env.AWS_LAMBDA_LOG_FORMAT || '').toUpperCase() === 'JSON';
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'];

/** What log records name as the request; the clients differ on what that is during INIT. */
let currentRequestId = HAS_CALLBACKS ? undefined : '-';
let currentTenantId;

function logText(level, args) {
  sendRecord(`${new Date().toISOString()}\t${currentRequestId}\t${level}\t${format(...args)}\n`);
}

function logJson(level, args) {
  const record = { timestamp: new Date().toISOString(), level, requestId: currentRequestId };
  if (HAS_CALLBACKS ? currentTenantId !== undefined && currentTenantId !== null : currentTenantId) {
    record.tenantId = currentTenantId;
  }
  if (args.length === 1) {
    record.message = args[0];
    let text;
    try {
      text = JSON.stringify(record, errorsOfLog);
    } catch (_) {
      record.message = format(record.message);
      text = JSON.stringify(record);
    }
    sendRecord(text);
    return;
  }
  record.message = format(...args);
  const error = (HAS_CALLBACKS ? args : args.slice(1)).find((arg) => arg instanceof Error);
  if (error) {
    Object.assign(record, errorFields(error, []));
  }
  sendRecord(JSON.stringify(record));
}

/** Makes the console's level methods write log records, as far as the level asks for them. */
function patchConsole() {
  const log = LOGS_JSON ? logJson : logText;
  const wanted = LEVELS.indexOf((process.env.AWS_LAMBDA_LOG_LEVEL || '').toUpperCase());
  LEVELS.forEach((level, index) => {
    // a message is always there, if only undefined
    const write = (message, ...more) => log(level, [message, ...more]);
    console[level.toLowerCase()] = index >= wanted ? write : () => {};
  });
  console.log = console.info;
}

/** Logs a failure of the function. */
function logFailure(heading, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(HAS_CALLBACKS ? thrown : String(thrown));
  if (LOGS_JSON) {
    console.error(error);
    return;
  }
  let text;
  try {
    text = JSON.stringify(error, errorsWhole);
  } catch (_) {
    text = JSON.stringify(errorDocument(error));
  }
  console.error(heading, '\t' + text);
}

// -------------------------------------------------------------------------------------- the private channel

// Both directions use it: an event is taken out before the handler runs, an answer put in after it.
const buffer = Buffer.allocUnsafeSlow(READ_SIZE);

/** Writes `buffer` up to `end`, or another buffer whole. */
function writeAll(data, end) {
  let start = 0;
  while (start < end) {
    start += fs.writeSync(CHANNEL_FD, data, start, end - start);
  }
}

/** Sends one frame whose content is a text. */
function sendFrame(kind, text) {
  buffer[4] = kind.charCodeAt(0);
  if (text.length * UTF8_MAX <= READ_SIZE - 5) {
    const size = buffer.write(text, 5);
    buffer.writeUInt32LE(size + 1, 0);
    writeAll(buffer, size + 5);
  } else {
    sendBytes(kind, Buffer.from(text));
  }
}

/** Sends one frame whose content is bytes. */
function sendBytes(kind, content) {
  buffer[4] = kind.charCodeAt(0);
  buffer.writeUInt32LE(content.length + 1, 0);
  writeAll(buffer, 5);
  writeAll(content, content.length);
}

/** Sends an `E` or `F` frame. */
function sendError(kind, errorType, document) {
  const name = Buffer.from(errorType || '').subarray(0, 0xffff);
  const size = Buffer.alloc(2);
  size.writeUInt16LE(name.length, 0);
  sendBytes(kind, Buffer.concat([size, name, Buffer.from(JSON.stringify(document))]));
}

function read(into, start, end) {
  const count = fs.readSync(CHANNEL_FD, into, start, end - start, null);
  if (count === 0) {
    // the environment ends: no listener of the function has a say in it
    process.reallyExit(0);
  }
  return count;
}

/** Waits for the next event and hands it to `take` as `(head, event text)`. */
function receive(take) {
  let have = read(buffer, 0, READ_SIZE);
  while (have < 4) {
    have += read(buffer, have, 4);
  }
  const end = 4 + buffer.readUInt32LE(0);
  let frame = buffer;
  if (end > READ_SIZE) {
    frame = Buffer.allocUnsafeSlow(end);
    buffer.copy(frame, 0, 0, have);
  }
  while (have < end) {
    have += read(frame, have, end);
  }
  // length, type byte, u32 length of the head, head, event
  const split = 9 + frame.readUInt32LE(5);
  const head = JSON.parse(frame.toString('utf8', 9, split));
  if (head.trace) {
    process.env._X_AMZN_TRACE_ID = head.trace;
  } else {
    delete process.env._X_AMZN_TRACE_ID;
  }
  currentRequestId = head.id;
  currentTenantId = head.tenant;
  take(head, frame.toString('utf8', split, end));
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
    throw new TypeError('A string was expected');
  }
  return text;
}

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

const FUNCTION = {
  functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
  functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
  memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
  logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
  logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
};

function invokeFields(head) {
  const deadline = head.deadline;
  const fields = {
    clientContext: parseContext(head.client, 'ClientContext', 'lambda-runtime-client-context'),
    identity: parseContext(head.identity, 'CognitoIdentity', 'lambda-runtime-cognito-identity'),
    invokedFunctionArn: head.arn,
    awsRequestId: head.id,
    tenantId: head.tenant,
  };
  if (!HAS_CALLBACKS) {
    fields.xRayTraceId = head.trace;
  }
  fields.getRemainingTimeInMillis = () => deadline - Date.now();
  return fields;
}

// -------------------------------------------------------------------------------------------------- invokes

/** Ends the invoke under way with an error; set while one is. For errors that no handler caught. */
let failInvoke = null;
/** What happens when the event loop has nothing left to do. */
let whenEmpty = null;

/** An invoke on the runtimes with callbacks (Node 22 and before). */
class CallbackInvoke {
  constructor(handler, next) {
    this.handler = handler;
    this.next = next;
    this.answered = false;
    this.completed = false;
    this.waitsForEmptyLoop = true;
  }

  /** Sends an error document unless there was an answer. */
  sendFailure(thrown) {
    if (!this.answered) {
      this.answered = true;
      failInvoke = null;
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
      failInvoke = null;
      sendFrame('A', text);
      this.next();
    }
  }

  /** `callback(error, response)`: a response is sent once the loop is empty, if the context says so. */
  callback(error, response) {
    whenEmpty = null;
    if (error !== undefined && error !== null) {
      this.fail(error);
    } else if (this.waitsForEmptyLoop) {
      whenEmpty = () => setImmediate(() => this.complete(response));
    } else {
      this.complete(response);
    }
  }

  /** `context.done(error, response)` and its like: a response is sent at once. */
  done(error, response) {
    whenEmpty = null;
    if (error !== undefined && error !== null) {
      this.fail(error);
    } else {
      this.complete(response);
    }
  }

  /** The loop is empty, and nobody has said how the invoke ended. */
  abandoned() {
    this.completed = true;
    if (REPORTS_UNSETTLED && isAsync(this.handler)) {
      this.fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    } else if (!this.answered) {
      this.answered = true;
      failInvoke = null;
      sendFrame('A', 'null');
      this.next();
    }
  }

  run(head, event) {
    global[REQUEST_ID] = head.id;
    global[TENANT_ID] = head.tenant;
    failInvoke = (thrown) => this.sendFailure(thrown);
    whenEmpty = () => this.abandoned();
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
      const result = this.handler(value, Object.assign(context, FUNCTION, invokeFields(head)), callback);
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
  constructor(handler, next, turn) {
    this.handler = handler;
    this.next = turn;
    this.ended = false;
  }

  run(head, event) {
    if (invokeStore) {
      invokeStore.begin(head);
    }
    const context = Object.assign(invokeFields(head), FUNCTION);
    whenEmpty = () => fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    const succeed = (response) => this.end(() => this.succeed(response));
    const fail = (error) => this.end(() => this.fail(error));
    let result;
    try {
      result = this.handler(JSON.parse(event), context);
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
    whenEmpty = null;
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
  constructor(handler, next) {
    this.handler = handler;
    this.next = next;
    this.waitsForEmptyLoop = HAS_CALLBACKS;
    this.answered = false;
  }

  context(head) {
    const fields = Object.assign(invokeFields(head), FUNCTION);
    if (!HAS_CALLBACKS) {
      return fields;
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
    return Object.assign(context, fields);
  }

  async run(head, event) {
    if (HAS_CALLBACKS) {
      global[REQUEST_ID] = head.id;
      global[TENANT_ID] = head.tenant;
      failInvoke = (thrown) => this.sendFailure(thrown);
    } else if (invokeStore) {
      invokeStore.begin(head);
    }
    whenEmpty = () => this.fail(new Fault('NodeJsExit', NODE_JS_EXIT));
    try {
      const { ResponseStream } = require('./streaming.cjs');
      const stream = new ResponseStream(highWaterMark(this.handler), Fault);
      const result = this.handler(JSON.parse(event), stream, this.context(head));
      if (!isThenable(result)) {
        const message = 'Streaming does not support non-async handlers.';
        throw HAS_CALLBACKS ? message : new Error(message);
      }
      if ((await result) !== undefined) {
        console.warn('Streaming handlers ignore return values.');
      }
      const bytes = await stream.collected();
      if (this.waitsForEmptyLoop) {
        whenEmpty = () => setImmediate(() => this.succeed(bytes));
      } else {
        this.succeed(bytes);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  succeed(bytes) {
    if (!this.answered) {
      this.answered = true;
      failInvoke = whenEmpty = null;
      sendBytes('A', bytes);
      this.next();
    }
  }

  sendFailure(thrown) {
    if (!this.answered) {
      this.answered = true;
      failInvoke = whenEmpty = null;
      const document = errorDocument(thrown);
      // unlike those of other handlers, the error of a stream has its type beside it
      sendError('E', document.errorType, document);
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

/** Takes events for ever. */
function serve(handler) {
  const Invoke = isStreaming(handler) ? StreamingInvoke : HAS_CALLBACKS ? CallbackInvoke : AsyncInvoke;
  const take = (head, event) => {
    new Invoke(handler, next, turn).run(head, event);
  };
  const turn = () => {
    receive(take);
  };
  const next = () => {
    setImmediate(turn);
  };
  sendFrame('R', '');
  next();
}

// ------------------------------------------------------------------------------------------------- globals

/** `awslambda.InvokeStore` of the runtimes without callbacks. */
let invokeStore = null;

class InvokeStore {
  begin(head) {
    this.context = { [KEYS.REQUEST_ID]: head.id, [KEYS.X_RAY_TRACE_ID]: head.trace };
  }

  run(context, work) {
    this.context = context;
    return work();
  }

  getContext() {
    return this.context;
  }

  hasContext() {
    return this.context !== undefined;
  }

  isProtectedKey(key) {
    return Object.values(KEYS).includes(key);
  }

  get(key) {
    return this.context?.[key];
  }

  set(key, value) {
    if (this.isProtectedKey(key)) {
      throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    }
    this.context = this.context || {};
    this.context[key] = value;
  }

  getRequestId() {
    return this.get(KEYS.REQUEST_ID) ?? '-';
  }

  getXRayTraceId() {
    return this.get(KEYS.X_RAY_TRACE_ID);
  }

  getTenantId() {
    return this.get(KEYS.TENANT_ID);
  }
}

const KEYS = {
  REQUEST_ID: Symbol.for('_AWS_LAMBDA_REQUEST_ID'),
  X_RAY_TRACE_ID: Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID'),
  TENANT_ID: Symbol.for('_AWS_LAMBDA_TENANT_ID'),
};
InvokeStore.PROTECTED_KEYS = KEYS;

class HttpResponseStream {
  /** Puts status and headers of an HTTP response in front of what is written to `stream`. */
  static from(stream, prelude) {
    stream.setContentType('application/vnd.awslambda.http-integration-response');
    const head = JSON.stringify(prelude);
    stream._onBeforeFirstWrite = (write) => {
      write(head);
      write(new Uint8Array(8));
    };
    return stream;
  }
}

function defineGlobals() {
  if (['1', 'true'].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) {
    return;
  }
  global.awslambda = {
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (options && typeof options.highWaterMark === 'number') {
        handler[HIGH_WATER_MARK] = parseInt(options.highWaterMark, 10);
      }
      return handler;
    },
    HttpResponseStream,
  };
  if (!HAS_CALLBACKS) {
    invokeStore = new InvokeStore();
    global.awslambda.InvokeStore = invokeStore;
  }
}

// ---------------------------------------------------------------------------------------------------- INIT

// AWS's client is this file; "Require stack" in messages names it.
const requireAsAws = createRequire(path.join(process.env.LAMBDA_RUNTIME_DIR || __dirname, 'index.mjs'));

/** Whether the package that a folder belongs to has modules in its `.js` files. */
function isModulePackage(folder) {
  for (;;) {
    if (folder.endsWith('/node_modules')) {
      return false;
    }
    const file = path.join(folder, 'package.json');
    if (fs.existsSync(file)) {
      try {
        const description = JSON.parse(fs.readFileSync(file, 'utf8'));
        if (description) {
          return description.type === 'module';
        }
      } catch (error) {
        console.warn(`${file} cannot be read, it will be ignored for ES module detection purposes.`, error);
        return false;
      }
    }
    if (folder === '/') {
      return false;
    }
    folder = path.dirname(folder);
  }
}

async function loadModule(root, folder, name) {
  const file = path.resolve(root, folder, name);
  let kinds;
  if (HAS_CALLBACKS) {
    const hasModules = fs.existsSync(file + '.js') && isModulePackage(path.dirname(file));
    kinds = [['', false], ['.js', hasModules], ['.mjs', true], ['.cjs', false]];
  } else {
    kinds = ['', '.js', '.mjs', '.cjs'].map((extension) => [extension, true]);
  }
  for (const [extension, isModule] of kinds) {
    if (fs.existsSync(file + extension)) {
      const loaded = isModule ? await import(file + extension) : requireAsAws(file + extension);
      if (loaded) {
        return loaded;
      }
    }
  }
  const places = [root, HAS_CALLBACKS ? folder : path.join(root, folder)];
  return requireAsAws(requireAsAws.resolve(name, { paths: places }));
}

function find(module, name) {
  return name.split('.').reduce((found, key) => {
    if (HAS_CALLBACKS) {
      return found && found[key];
    }
    return found && typeof found === 'object' ? found[key] : undefined;
  }, module);
}

async function loadHandler(root, name) {
  if (name.includes('..')) {
    throw new Fault(
      'MalformedHandlerName',
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const base = path.basename(name);
  const match = /^([^.]*)\.(.*)$/.exec(base);
  if (!match) {
    throw new Fault('MalformedHandlerName', 'Bad handler');
  }
  const [, moduleName, exported] = match;
  let module;
  try {
    module = await loadModule(root, name.slice(0, name.indexOf(base)), moduleName);
  } catch (error) {
    if (error instanceof SyntaxError) {
      const fault = new Fault('UserCodeSyntaxError', String(error));
      if (!HAS_CALLBACKS) {
        fault.stack = error.stack;
      }
      throw fault;
    }
    if (error && error.code === 'MODULE_NOT_FOUND') {
      throw new Fault('ImportModuleError', String(error));
    }
    throw error;
  }
  let handler = find(module, exported);
  if (!handler && !HAS_CALLBACKS && typeof module === 'object' && module !== null && 'default' in module) {
    handler = find(module.default, exported);
  }
  if (!handler) {
    throw new Fault('HandlerNotFound', `${name} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new Fault('HandlerNotFound', `${name} is not a function`);
  }
  return handler;
}

/** Refuses handlers with a callback where there are none, or warns of them. */
function checkCallback(handler) {
  if (isStreaming(handler)) {
    return;
  }
  if (!HAS_CALLBACKS && handler.length >= 3) {
    throw new Fault('CallbackHandlerDeprecated', CALLBACKS_REMOVED);
  }
  const silenced = process.env.AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING !== undefined;
  if (WARNS_OF_CALLBACKS && !silenced && handler.length === 3 && !isAsync(handler)) {
    console.warn(CALLBACKS_WILL_GO);
  }
}

/** Reports a failure of INIT. */
function failInit(thrown) {
  const document = errorDocument(thrown);
  sendError('F', document.errorType, document);
}

/** Ends the process with what nobody caught, as the runtimes with callbacks do. */
function catchTheRest() {
  const end = (heading, error, status) => {
    logFailure(heading, error);
    if (failInvoke) {
      failInvoke(error);
    }
    process.exit(status);
  };
  process.on('uncaughtException', (error) => end('Uncaught Exception', error, 129));
  process.on('unhandledRejection', (reason, promise) => {
    end('Unhandled Promise Rejection', unhandledRejection(reason, promise), 128);
  });
}

async function main() {
  // as on AWS, whose entry point is an ES module
  process.mainModule = undefined;
  defineGlobals();
  patchConsole();
  if (HAS_CALLBACKS) {
    failInvoke = failInit;
    catchTheRest();
    // AWS's client waits at the top level of its module; for that Node has this exit status
    whenEmpty = () => process.exit(13);
  }
  process.on('beforeExit', () => {
    if (whenEmpty) {
      whenEmpty();
    }
  });
  let handler;
  try {
    handler = await loadHandler(process.env.LAMBDA_TASK_ROOT || process.cwd(), process.env._HANDLER || '');
    checkCallback(handler);
  } catch (error) {
    if (!HAS_CALLBACKS) {
      logFailure('Init Error', error);
      failInit(error);
    }
    // ends the process, with callbacks by way of `catchTheRest`
    process.nextTick(() => {
      throw error;
    });
    return;
  }
  failInvoke = whenEmpty = null;
  serve(handler);
}

main();
