// The stream that a handler with `awslambda.streamifyResponse` writes to. Loaded at the first such invoke.
//
// For now every invoke is a buffered one: what is written is collected and answered as a whole, which is what
// a caller of Invoke gets from AWS too. Passing chunks on as they come needs another `_write` here and frames
// for them; nothing else knows how the bytes travel.

'use strict';

const { Writable } = require('stream');
const { Fault } = require('./records.cjs');

// Keeps the event loop busy while the handler has not ended its stream: the function then times out.
const FOREVER_MS = 0x7fffffff;

class ResponseStream extends Writable {
  constructor(highWaterMark) {
    super({ highWaterMark });
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
    this._chunks.push(chunk);
    callback();
  }

  /** All bytes, once the handler has ended the stream. */
  async collected() {
    const busy = setInterval(() => {}, FOREVER_MS);
    try {
      await this._ended;
    } finally {
      clearInterval(busy);
    }
    return this.bytes();
  }

  /** What was written so far. */
  bytes() {
    return Buffer.concat(this._chunks);
  }

  /** Whether the handler has ended the stream, and nothing is wrong with it. */
  isComplete() {
    return this.writableEnded && !this._failed;
  }
}

module.exports = { ResponseStream };
