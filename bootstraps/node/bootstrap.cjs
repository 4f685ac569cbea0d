// Lambkin's runtime client for managed Node.js runtimes (Node 14 to 26, standard library only).
//
// It answers invokes on the private channel (fd 3, see docs/internals/private-channel.md), sends log records
// on fd 4, and behaves towards the function as AWS's own client of the same Node.js version does. This file
// is INIT: it loads the handler. `invokes.cjs` is what comes after.
//
// Written in CommonJS, for an entry point that is an ES module costs some milliseconds more at start.

'use strict';

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');
const { sendError } = require('./channel.cjs');
const { HIGH_WATER_MARK, STREAMING, isAsync, isStreaming, serve, state } = require('./invokes.cjs');
const { Fault, HAS_CALLBACKS, errorDocument, logFailure, patchConsole } = require('./records.cjs');

// The earlier ones were out of support before the change was announced.
const WARNS_OF_CALLBACKS = HAS_CALLBACKS && parseInt(process.versions.node, 10) >= 18;

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

// ------------------------------------------------------------------------------------------------- globals

/** `awslambda.InvokeStore` of the runtimes without callbacks. */
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
    state.store = new InvokeStore();
    global.awslambda.InvokeStore = state.store;
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
  if (!HAS_CALLBACKS) {
    // `/app.handler` is in the function's folder
    folder = folder.replace(/\/$/, '');
  }
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

function unhandledRejection(reason, promise) {
  const fault = new Fault('UnhandledPromiseRejection', typeof reason === 'symbol' ? String(reason) : reason);
  return Object.assign(fault, { reason, promise });
}

/** Ends the process with what nobody caught, as the runtimes with callbacks do. */
function catchTheRest() {
  const end = (heading, error, status) => {
    logFailure(heading, error);
    if (state.fail) {
      state.fail(error);
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
    state.fail = failInit;
    catchTheRest();
    // AWS's client waits at the top level of its module; for that Node has this exit status
    state.whenEmpty = () => process.exit(13);
  }
  process.on('beforeExit', () => {
    if (state.whenEmpty) {
      state.whenEmpty();
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
  serve(handler);
}

main();
