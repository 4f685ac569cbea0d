// The private channel: frames on fd 3 (see docs/internals/private-channel.md).
//
// It is read and written synchronously. That takes no more CPU time per invoke than net.Socket does (55 to
// 65 us against 62 to 73 us for a trivial function on a loaded machine), `net` and `stream` need not be loaded,
// and between two events there is nothing for the event loop to do that could not wait: an idle environment
// is frozen anyway.

'use strict';

const fs = require('fs');
const { UTF8_MAX } = require('./records.cjs');

const CHANNEL_FD = 3;
// What one read asks for; an event that is longer takes more reads.
const READ_SIZE = 65536;

// Length, type byte and number of the event.
const PREFIX = 9;
// Of the event under way, as the server sent it.
let number = 0;

// Both directions use it: an event is taken out before the handler runs, an answer put in after it.
const buffer = Buffer.allocUnsafeSlow(READ_SIZE);

/** Writes `buffer` up to `end`, or another buffer whole. */
function writeAll(data, end) {
  let start = 0;
  while (start < end) {
    start += fs.writeSync(CHANNEL_FD, data, start, end - start);
  }
}

/** Writes what stands before `length` bytes of content. */
function putPrefix(into, kind, length) {
  into.writeUInt32LE(length + PREFIX - 4, 0);
  into[4] = kind.charCodeAt(0);
  into.writeUInt32LE(number, 5);
}

/** Sends one frame whose content is a text. */
function sendFrame(kind, text) {
  if (text.length * UTF8_MAX <= READ_SIZE - PREFIX) {
    const size = buffer.write(text, PREFIX);
    putPrefix(buffer, kind, size);
    writeAll(buffer, size + PREFIX);
  } else {
    sendBytes(kind, Buffer.from(text));
  }
}

/** Sends one frame whose content is bytes. */
function sendBytes(kind, content) {
  putPrefix(buffer, kind, content.length);
  writeAll(buffer, PREFIX);
  writeAll(content, content.length);
}

/**
 * Sends a part of a streamed answer without holding up the event loop while the reader is slow. Nothing else
 * may be sent before `callback(error)` is called.
 */
function sendPart(content, callback) {
  const head = Buffer.allocUnsafe(PREFIX);
  putPrefix(head, 'C', content.length);
  const write = (start) => {
    const rest =
      start < head.length
        ? [head.subarray(start), content]
        : [content.subarray(start - head.length)];
    fs.writev(CHANNEL_FD, rest, (error, written) => {
      if (error || start + written === head.length + content.length) {
        callback(error);
      } else {
        write(start + written);
      }
    });
  };
  write(0);
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
  // length, type byte, u32 number, u32 length of the head, head, event
  number = frame.readUInt32LE(5);
  const split = PREFIX + 4 + frame.readUInt32LE(PREFIX);
  const head = JSON.parse(frame.toString('utf8', PREFIX + 4, split));
  take(head, frame.toString('utf8', split, end));
}

module.exports = { receive, sendBytes, sendError, sendFrame, sendPart };
