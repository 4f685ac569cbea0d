//! What the unit tests of all services share.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lambkin_core::blobs::BlobStore;
use lambkin_core::logs::StoreFuture;
use lambkin_core::metadata::StoreError;
use lambkin_model::{Caller, RequestContext};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A request of the root user of account 000000000000 in us-east-1.
pub(crate) fn context() -> RequestContext {
    context_of("000000000000", "us-east-1")
}

/// A request of an account's root user in a region.
pub(crate) fn context_of(account: &str, region: &str) -> RequestContext {
    RequestContext {
        request_id: "11111111-2222-4333-8444-555555555555".to_owned(),
        region: Arc::from(region),
        caller: Arc::new(Caller::root(account, "AKIAEXAMPLE")),
        endpoint: Arc::from("http://127.0.0.1:4566"),
        trace_id: None,
    }
}

/// A zip of the given files.
pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Bytes {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, SimpleFileOptions::default().unix_permissions(0o644)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner().into()
}

/// Blobs in memory.
#[derive(Debug, Default)]
pub(crate) struct MemBlobs(Mutex<BTreeMap<String, Bytes>>);

impl BlobStore for MemBlobs {
    fn put(&self, content: Bytes) -> StoreFuture<'_, String> {
        let name = crate::lambda::hex_sha256(&content);
        self.0.lock().unwrap().insert(name.clone(), content);
        Box::pin(std::future::ready(Ok(name)))
    }

    fn get<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let content = self.0.lock().unwrap().get(name).cloned().ok_or(StoreError::NotFound);
        Box::pin(std::future::ready(content))
    }

    fn path<'a>(&'a self, _: &'a str) -> StoreFuture<'a, PathBuf> {
        Box::pin(std::future::ready(Err(StoreError::NotFound)))
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, bool> {
        let was = self.0.lock().unwrap().remove(name).is_some();
        Box::pin(std::future::ready(Ok(was)))
    }

    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        let names = self.0.lock().unwrap().keys().cloned().collect();
        Box::pin(std::future::ready(Ok(names)))
    }
}
