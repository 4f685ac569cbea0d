// What went wrong and what is logged: error documents, log records on fd 4, and the console's methods, each
// in the form of AWS's client of the same Node.js version.

'use strict';

const fs = require('fs');
const { format, types } = require('util');

/** Whether this version's runtime has callbacks; the client for the later ones was written anew. */
const HAS_CALLBACKS = parseInt(process.versions.node, 10) < 24;

const RECORD_FD = 4;
// Most bytes of text in one datagram of fd 4; a longer text is cut up.
const RECORD_CHUNK = 65536;
// No UTF-16 unit takes more bytes than this in UTF-8.
const UTF8_MAX = 3;

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

function setCurrent(requestId, tenantId) {
  currentRequestId = requestId;
  currentTenantId = tenantId;
}

function logText(level, args) {
  sendRecord(`${new Date().toISOString()}\t${currentRequestId}\t${level}\t${format(...args)}\n`);
}

function logJson(level, args) {
  const record = { timestamp: new Date().toISOString(), level, requestId: currentRequestId };
  // AWS's newer client leaves it out
  if (HAS_CALLBACKS && currentTenantId !== undefined) {
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

module.exports = { Fault, HAS_CALLBACKS, UTF8_MAX, errorDocument, logFailure, patchConsole, setCurrent };
