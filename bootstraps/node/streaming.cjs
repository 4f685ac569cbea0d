// The stream that a handler with `awslambda.streamifyResponse` writes to. Loaded at the first such invoke.
//
// What is written goes to the caller as it comes, or, where the caller wants a whole response, is collected.

'use strict';

const { Writable } = require('stream');
const { sendPart } = require('./channel.cjs');
const { Fault } = require('./records.cjs');

// Keeps the event loop busy while the handler has not ended its stream: the function then times out.
const FOREVER_MS = 0x7fffffff;

class ResponseStream extends Writable {
  constructor(highWaterMark, passesOn) {
    super({ highWaterMark });
    this._passesOn = passesOn;
    this._passing = false;
    this._cut = false;
    this._chunks = [];
    this._started = false;
    this._failed = false;
    this._onBeforeFirstWrite = undefined;
    this._ended = new Promise((resolve, reject) => {
      this.on('finish', resolve);
      this.on('error', reject);
      this.on('close', () => {
        if (!this.writableFinished) {
          reject(new Error('Response stream is not finished.'));
        }
      });
    });
    // the handler's own error comes first
    this._ended.catch(() => {
      this._failed = true;
    });
  }

  /** Only a streamed response has a content type: a buffered one is bytes. */
  setContentType(_contentType) {
    if (this._started) {
      throw new Fault('InvalidStreamingOperation', 'Cannot set content-type, too late.');
    }
  }

  write(chunk, encoding, callback) {
    let data = chunk;
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
      data = JSON.stringify(data);
    }
    this._start();
    return super.write(data, encoding, callback);
  }

  _start() {
    if (!this._started) {
      this._started = true;
      if (typeof this._onBeforeFirstWrite === 'function') {
        this._onBeforeFirstWrite((head) => super.write(head));
      }
    }
  }

  _write(chunk, _encoding, callback) {
    if (!this._passesOn) {
      this._chunks.push(chunk);
      callback();
    } else if (chunk.length === 0) {
      callback();
    } else {
      this._passing = true;
      sendPart(chunk, (error) => {
        this._passing = false;
        callback(error);
      });
    }
  }

  /** Waits until the handler has ended the stream. */
  async ended() {
    const busy = setInterval(() => {}, FOREVER_MS);
    try {
      await this._ended;
    } finally {
      clearInterval(busy);
    }
  }

  /** Calls back when what was written has been passed on, whatever became of the handler. */
  settle(callback) {
    if (!this._passesOn || this._failed || this.writableFinished || this.destroyed) {
      callback();
    } else {
      this._ended.then(callback, callback);
      if (!this.writableEnded) {
        this._cut = true;
        this.end();
      }
    }
  }

  /** Whether a part is on its way, so that nothing else can be sent. */
  isPassing() {
    return this._passing;
  }

  /** What was collected so far. */
  bytes() {
    return Buffer.concat(this._chunks);
  }

  /** Whether the handler has ended the stream, nothing is wrong with it, and all of it is ready to be answered. */
  isComplete() {
    return this.writableEnded && !this._cut && !this._failed && (!this._passesOn || this.writableFinished);
  }
}

module.exports = { ResponseStream };
