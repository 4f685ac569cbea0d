//! Blobs: immutable byte strings named by their SHA-256, e.g. function packages.

use std::path::PathBuf;

use bytes::Bytes;

use crate::logs::StoreFuture;

/// Durable blobs, named by the SHA-256 of their content in 64 lower-case hexadecimal digits. A name in any
/// other form is one that is not there.
pub trait BlobStore: Send + Sync + 'static {
    /// Stores `content` and answers its name, when it is on disk. Storing what is there already is no error.
    fn put(&self, content: Bytes) -> StoreFuture<'_, String>;
    /// Content of a blob, whole; [`StoreError::NotFound`](crate::metadata::StoreError::NotFound) if it is not
    /// there.
    fn get<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes>;
    /// A local file with a blob's content, to be read and not changed;
    /// [`StoreError::NotFound`](crate::metadata::StoreError::NotFound) if it is not there. The file stays until
    /// [`BlobStore::delete`]; who has it open can read on after that.
    fn path<'a>(&'a self, name: &'a str) -> StoreFuture<'a, PathBuf>;
    /// Deletes a blob; `false` if it was not there. The caller keeps this apart from a `put` of the same
    /// content.
    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, bool>;
    /// Names of all blobs, sorted.
    fn list(&self) -> StoreFuture<'_, Vec<String>>;
}
